//! Pickles that are not state dicts: nothing in them is run.

use std::path::Path;
use std::time::{Duration, Instant};

use vgg_compiler::weights::WeightsError;
use vgg_compiler::weights::readers::{open, parse};

use super::support::fixture;

/// The begin of a legacy file.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.";

/// A legacy file whose object is this pickle.
fn legacy(object: &[u8]) -> Vec<u8> {
    [LEGACY, object, b"\x80\x02]."].concat()
}

/// A ZIP archive of stored records.
pub(crate) fn archive(records: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in records {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let sizes =
            [crc.sum().to_le_bytes(), (content.len() as u32).to_le_bytes(), (content.len() as u32).to_le_bytes()]
                .concat();
        let name_len = (name.len() as u16).to_le_bytes();
        let place = (bytes.len() as u32).to_le_bytes();
        directory.extend(
            [b"PK\x01\x02\0\0\0\0\0\0\0\0\0\0\0\0", &sizes[..], &name_len, &[0; 12], &place, name.as_bytes()].concat(),
        );
        bytes.extend(
            [b"PK\x03\x04\0\0\0\0\0\0\0\0\0\0", &sizes[..], &name_len, &[0; 2], name.as_bytes(), content].concat(),
        );
    }
    let count = (records.len() as u16).to_le_bytes();
    let end = [
        b"PK\x05\x06\0\0\0\0",
        &count[..],
        &count,
        &(directory.len() as u32).to_le_bytes(),
        &(bytes.len() as u32).to_le_bytes(),
        &[0; 2],
    ]
    .concat();
    [bytes, directory, end].concat()
}

fn refused(bytes: Vec<u8>) -> WeightsError {
    let begin = Instant::now();
    let error = parse(bytes.into(), Path::new("evil.pth")).expect_err("read");
    assert!(begin.elapsed() < Duration::from_secs(1), "{error}");
    assert!(error.help().is_some(), "{error}");
    error
}

/// A class or function by its name, applied to a text.
fn call(module: &str, name: &str) -> Vec<u8> {
    [b"\x80\x02c", module.as_bytes(), b"\n", name.as_bytes(), b"\nX\x02\x00\x00\x00id\x85R."].concat()
}

/// The head of a tensor of f32: the storage `0` of `len` elements, then its offset.
fn tensor(len: i32, rest: &[u8]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuJ".to_vec();
    pickle.extend(len.to_le_bytes());
    pickle.extend(b"tQ");
    pickle.extend(rest);
    pickle.extend(b"\x89}tRs.");
    pickle
}

#[test]
fn names_that_weights_do_not_need_refuse_the_file() {
    let names = [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("__builtin__", "exec"),
        ("subprocess", "Popen"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("torch._utils", "_rebuild_tensor_v3"),
        ("collections", "OrderedDict.fromkeys"),
        ("numpy.core.multiarray", "_reconstruct"),
    ];
    for (module, name) in names {
        for bytes in [legacy(&call(module, name)), archive(&[("a/data.pkl", &call(module, name))])] {
            let text = refused(bytes).to_string();
            let expected =
                format!("it names `{module}.{name}`, which weights do not need; nothing of the file was run");
            assert!(text.starts_with("evil.pth: ") && text.contains(&expected), "{text}");
        }
    }
    // By the opcode of protocol 4, and with a name that a terminal would obey.
    let modern = b"\x80\x04\x8c\x05posix\x8c\x06system\x93.";
    assert!(refused(legacy(modern)).to_string().contains("it names `posix.system`"));
    let text = refused(legacy(&call("a\x1b[2J", "b"))).to_string();
    assert!(text.contains("a\u{fffd}[2J.b"), "{text}");
}

#[test]
fn other_objects_are_refused_with_what_to_do() {
    let refused = |name: &str| open(&fixture(name)).unwrap_err();
    let error = refused("whole-model.pth");
    assert!(error.to_string().contains("it holds a whole model, an object of the class `torch.nn.modules."), "{error}");
    assert!(error.help().unwrap().contains("model.state_dict()"), "{error}");
    let error = refused("script.pt");
    assert!(error.to_string().contains("it is a TorchScript archive"), "{error}");
    let error = refused("no-tensors.pth");
    assert!(error.to_string().contains("it holds no dictionary of tensors"), "{error}");
}

#[test]
fn pickles_that_lie_are_refused_at_once() {
    let many = |opcode: &[u8], count: usize| [b"\x80\x02", &opcode.repeat(count)[..], b"."].concat();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a text of 4 GB", b"\x80\x02X\xff\xff\xff\xffa.".to_vec(), "4294967295 bytes are announced"),
        ("a text of 2^64 bytes", b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffa.".to_vec(), "bytes are announced"),
        ("a list for an end", b"\x80\x02}".to_vec(), "its pickle ends before its end is marked"),
        ("protocol 0", b"(lp0\n.".to_vec(), "an opcode of protocol 0"),
        ("protocol 9", b"\x80\x09.".to_vec(), "protocol 9, expected 2 to 5"),
        ("empty stack", b"\x80\x02.".to_vec(), "an empty stack"),
        ("no mark", b"\x80\x02t.".to_vec(), "a mark is missing"),
        ("popping a mark", b"\x80\x02(\x85.".to_vec(), "an empty stack"),
        ("unknown memo", b"\x80\x02h\x07.".to_vec(), "nothing was remembered as 7"),
        ("an item for a number", b"\x80\x02K\x01K\x02a.".to_vec(), "no list"),
        ("a call of a number", b"\x80\x02K\x01)R.".to_vec(), "no function"),
        ("an instance", b"\x80\x02(ios\nsystem\n.".to_vec(), "running their classes"),
        ("a million lists", many(b"]", (1 << 20) + 1), "more than 1048576 values"),
        ("many marks", many(b"(", 1 << 20), "too many marks"),
        ("one value on the stack many times", many(b"2", 1 << 21), "an empty stack"),
        (
            "one value many times",
            [b"\x80\x02N", &b"2".repeat(1 << 21)[..], b"."].concat(),
            "too many values on the stack",
        ),
        ("a long pickle", [b"\x80\x02N", &b"N0".repeat(9 << 20)[..], b"."].concat(), "more than"),
        (
            "lists in lists, each twice",
            [b"\x80\x02]".to_vec(), b"q\x00]h\x00ah\x00a".repeat(10_000), b".".to_vec()].concat(),
            "it holds no dictionary of tensors",
        ),
        (
            "a dictionary in itself",
            b"\x80\x02}q\x00X\x05\0\0\0modelh\x00s.".to_vec(),
            "it holds no dictionary of tensors",
        ),
        ("a list in itself", b"\x80\x02]q\x00h\x00a.".to_vec(), "it holds no dictionary of tensors"),
        ("a tuple of a storage that is none", b"\x80\x02K\x01Q.".to_vec(), "no storage of a tensor"),
        ("a large tensor", tensor(4, b"K\x00J\xff\xff\xff\x7f\x85K\x01\x85"), "the storage `0` is missing"),
        ("negative extents", tensor(4, b"K\x00J\xff\xff\xff\xff\x85K\x01\x85"), "no numbers, or negative"),
        ("negative strides", tensor(4, b"K\x00K\x02\x85J\xff\xff\xff\xff\x85"), "no numbers, or negative"),
    ];
    for (what, pickle, words) in cases {
        let text = refused(legacy(&pickle)).to_string();
        assert!(text.contains(words), "{what}: {text}");
    }
}

#[test]
fn tensors_stay_within_their_storages() {
    let file =
        |len: i32, rest: &[u8], stored: &[u8]| archive(&[("a/data.pkl", &tensor(len, rest)), ("a/data/0", stored)]);
    // Two by two, transposed.
    let fine = file(4, b"K\x00K\x02K\x02\x86K\x01K\x02\x86", &[0; 16]);
    assert!(parse(fine.into(), Path::new("fine.pth")).is_ok());
    let cases: [(&str, i32, &[u8], usize, &str); 6] = [
        ("beyond the storage", 4, b"K\x00K\x05\x85K\x01\x85", 16, "needs 20 bytes, but its storage has 16"),
        ("strides beyond it", 4, b"K\x00K\x02\x85K\x04\x85", 16, "reaches beyond its 16 bytes"),
        ("an offset beyond it", 4, b"K\x05K\x01\x85K\x01\x85", 16, "has 16 bytes, fewer than it should have"),
        ("a storage that is short", 4, b"K\x00K\x04\x85K\x01\x85", 12, "has 12 bytes, fewer than it should have"),
        // One element repeated: a bomb of 2^62 bytes.
        (
            "one element as many",
            4,
            b"K\x00J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86K\x00K\x00\x86",
            16,
            "but its storage has 16",
        ),
        ("other axes than strides", 4, b"K\x00K\x02K\x02\x86K\x01\x85", 16, "has other axes than the strides"),
    ];
    for (what, len, rest, stored, words) in cases {
        let text = refused(file(len, rest, &vec![0; stored])).to_string();
        assert!(text.contains("tensor `w`: ") && text.contains(words), "{what}: {text}");
    }
}
