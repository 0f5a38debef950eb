//! Every fixture cut off at every length and with bytes changed: an error or other numbers, never a panic, and at once.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use vgg_compiler::ir::TypedGraph;
use vgg_compiler::spec::parse::parse_preprocess;
use vgg_compiler::weights::lineage_with;
use vgg_compiler::weights::readers::parse;

use super::pickles::archive;
use super::support::{TINY, fixture, fixtures, graph};

/// Reads changed bytes to the end; what was read is of no interest.
fn survives(bytes: Vec<u8>, graph: &TypedGraph, what: &dyn Fn() -> String) {
    let len = bytes.len();
    let begin = Instant::now();
    if let Ok(file) = parse(bytes.into(), Path::new("changed")) {
        let held: usize = file.tensors.iter().map(|tensor| tensor.view.len()).sum();
        // Tensors may share their bytes, but none has more than the file unpacks to.
        assert!(held <= (64 << 20) + 16 * len * file.tensors.len(), "{}: {held} elements", what());
        let _ = file.adapt(graph, "changed");
    }
    assert!(begin.elapsed() < Duration::from_secs(1), "{}", what());
}

#[test]
fn every_file_cut_off_is_refused() {
    let graph = graph(TINY);
    for name in fixtures() {
        let whole = fs::read(fixture(&name)).unwrap();
        let Ok(file) = parse(whole.clone().into(), Path::new(&name)) else { continue };
        let complete = file.adapt(&graph, &name);
        let step = whole.len().div_ceil(1000).max(1);
        for len in (0..whole.len()).step_by(step) {
            let begin = Instant::now();
            let cut = parse(whole[..len].to_vec().into(), Path::new(&name));
            assert!(begin.elapsed() < Duration::from_secs(1), "{name}: {len} bytes");
            let text = match cut {
                Err(error) => {
                    assert!(error.help().is_some(), "{name}: {len} bytes: {error}");
                    error.to_string()
                }
                // Messages of Caffe and files of MATLAB do not tell their own length: what ends behind a layer is a network of
                // fewer layers, and what ends behind the layers has them all.
                Ok(file) => match (file.adapt(&graph, &name), &complete) {
                    (Ok(part), Ok(complete)) => {
                        assert!(part.tensors == complete.tensors, "{name}: {len} bytes were taken for the whole");
                        continue;
                    }
                    (Ok(_), Err(_)) => panic!("{name}: {len} bytes fit, the whole does not"),
                    (Err(errors), _) => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
                },
            };
            assert!(text.starts_with(&format!("{name}: ")), "{name}: {len} bytes: {text}");
        }
    }
}

#[test]
fn every_changed_byte_is_survived() {
    let graph = graph(TINY);
    for name in fixtures() {
        let whole = fs::read(fixture(&name)).unwrap();
        let step = whole.len().div_ceil(1000).max(1);
        for position in (0..whole.len()).step_by(step) {
            for change in [0x01, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[position] ^= change;
                survives(changed, &graph, &|| format!("{name}: byte {position} ^ {change:#x}"));
            }
        }
    }
}

/// The meta of a file of MatConvNet is read without its layers.
#[test]
fn a_changed_meta_is_survived() {
    for name in ["tiny-meta.mat", "tiny-meta-old.mat", "tiny-meta-net.mat"] {
        let (path, whole) = (fixture(name), fs::read(fixture(name)).unwrap());
        for position in (0..whole.len()).step_by(whole.len().div_ceil(500)) {
            let mut changed = whole.clone();
            changed[position] ^= 0x41;
            let cut = whole[..position].to_vec();
            for content in [changed, cut] {
                let begin = Instant::now();
                let found = lineage_with(&path, |_| Ok(content.into())).unwrap();
                assert!(begin.elapsed() < Duration::from_secs(1), "{name}: byte {position}");
                // What is taken can be written down.
                assert!(found.is_none_or(|known| parse_preprocess(&known.to_string()).is_ok()), "{name}: {position}");
            }
        }
    }
}

#[test]
fn archives_that_lie_are_refused() {
    let good = archive(&[("a/data.pkl", b"\x80\x02}."), ("a/byteorder", b"little")]);
    let text = |bytes: Vec<u8>| parse(bytes.into(), Path::new("evil.pth")).unwrap_err().to_string();
    assert!(text(good.clone()).contains("it holds no dictionary of tensors"), "{}", text(good.clone()));

    // The length of the first record in the directory, its method, its checksum.
    let entry = good.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = good.clone();
        changed[entry + at..entry + at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let last = archive(&[("a/data.pkl", b"\x80\x02}."), ("a/data.pkl", b"\x80\x02}.")]);
    assert!(text(last).contains("the record `a/data.pkl` is in it twice"));
    assert!(text(with(20, &[0xff; 8])).contains("bytes are announced"), "{}", text(with(20, &[0xff; 8])));
    assert!(text(with(10, &[99])).contains("packed by the unknown method 99"));
    assert!(text(with(8, &[1])).contains("is encrypted"));
    assert!(text(with(16, &[9])).contains("the checksum of record `a/data.pkl` does not match"));
    assert!(text(with(42, &[7])).contains("the directory does not point to it"));
    let big = archive(&[("a/data.pkl", b"\x80\x02}."), ("a/byteorder", b"big")]);
    assert!(text(big).contains("its numbers are big-endian"));
    let arrays = archive(&[("weights.npy", b"")]);
    assert!(text(arrays).contains("this is an archive of NumPy arrays"));
}

#[test]
fn deflated_bombs_are_refused() {
    use std::io::Write;
    // Zeros shrink a thousandfold: 200 MiB in 200 kB.
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..200 {
        encoder.write_all(&zeros).unwrap();
    }
    let packed = encoder.finish().unwrap();
    let mut bytes = archive(&[("a/data.pkl", &packed)]);
    let entry = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    bytes[entry + 10] = 8;
    bytes[entry + 24..entry + 28].copy_from_slice(&(200u32 << 20).to_le_bytes());
    let begin = Instant::now();
    let error = parse(bytes.into(), Path::new("bomb.pth")).unwrap_err();
    assert!(
        error.to_string().contains("what it unpacks to or repeats is more than 16 times the file's length"),
        "{error}"
    );
    assert!(begin.elapsed() < Duration::from_secs(1));
}

#[test]
fn matlab_files_that_lie_are_refused() {
    use std::io::Write;
    let mut header = b"MATLAB 5.0 MAT-file".to_vec();
    header.resize(124, b' ');
    header.extend(b"\x00\x01IM");
    let element = |kind: u32, content: &[u8]| {
        let mut bytes = [&kind.to_le_bytes()[..], &(content.len() as u32).to_le_bytes(), content].concat();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    };
    let array = |class: u32, dims: &[i32], name: &[u8], rest: &[u8]| {
        let dims: Vec<u8> = dims.iter().flat_map(|extent| extent.to_le_bytes()).collect();
        let flags = [class.to_le_bytes(), [0; 4]].concat();
        element(14, &[element(6, &flags), element(5, &dims), element(1, name), rest.to_vec()].concat())
    };
    let refused = |content: &[u8]| {
        let begin = Instant::now();
        let error = parse([&header[..], content].concat().into(), Path::new("evil.mat")).unwrap_err();
        assert!(begin.elapsed() < Duration::from_secs(1) && error.help().is_some(), "{error}");
        error.to_string()
    };
    let packed = |content: &[u8]| {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(content).unwrap();
        let packed = encoder.finish().unwrap();
        [&15u32.to_le_bytes()[..], &(packed.len() as u32).to_le_bytes(), &packed].concat()
    };
    // Cells in cells, each with one cell.
    let mut deep = array(6, &[0, 0], b"", &element(9, b""));
    for _ in 0..100 {
        deep = array(1, &[1, 1], b"", &deep);
    }
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("deep cells", deep.clone(), "in each other"),
        ("deep cells, packed", packed(&deep), "in each other"),
        ("200 MiB of zeros", packed(&vec![0; 200 << 20]), "what it unpacks to or repeats is more than 16 times"),
        ("many cells", array(1, &[i32::MAX, i32::MAX], b"layers", b""), "arrays are announced"),
        ("many axes", array(6, &[1; 100], b"x", b""), "more than the 8 allowed"),
        ("large extents", array(7, &[i32::MAX; 4], b"x", &element(7, b"")), "too large to address"),
        ("negative extents", array(7, &[-1, 2], b"x", &element(7, b"")), "a negative extent"),
        ("fewer numbers than extents", array(7, &[4, 4], b"x", &element(7, &[0; 8])), "needs 64 bytes"),
        (
            "structures without end",
            array(2, &[i32::MAX, 9], b"x", &[element(5, &8i32.to_le_bytes()), element(1, b"weights\0")].concat()),
            "arrays are announced",
        ),
        ("packed in packed", packed(&packed(&deep)), "a compressed element of type 15"),
        (
            "not packed",
            [&15u32.to_le_bytes()[..], &8u32.to_le_bytes(), &[7; 8]].concat(),
            "its compressed data is damaged",
        ),
        ("other variables", array(7, &[1, 1], b"x", &element(7, &[0; 4])), "it has no variable `layers`"),
    ];
    for (what, content, words) in cases {
        let text = refused(&content);
        assert!(text.contains(words), "{what}: {text}");
    }
}

#[test]
fn messages_that_lie_are_refused() {
    let field = |tag: &[u8], content: &[u8]| {
        let mut bytes = tag.to_vec();
        let mut len = content.len();
        while len >= 0x80 {
            bytes.push(len as u8 | 0x80);
            len >>= 7;
        }
        bytes.push(len as u8);
        bytes.extend(content);
        bytes
    };
    let layer = |blob: &[u8]| {
        field(b"\xa2\x06", &[field(b"\x0a", b"fc6"), field(b"\x12", b"InnerProduct"), field(b"\x3a", blob)].concat())
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "a length of 2^63",
            [&layer(b"")[..], b"\xa2\x06\xff\xff\xff\xff\xff\xff\xff\xff\x7f"].concat(),
            "bytes are announced",
        ),
        (
            "extents beyond the numbers",
            layer(b"\x08\x01\x10\x01\x18\xff\xff\xff\xff\x07\x20\xff\xff\xff\xff\x07"),
            "blob 0 of layer `fc6`",
        ),
        (
            "negative extents",
            layer(b"\x08\x01\x10\x01\x18\x01\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
            "a negative extent",
        ),
        ("many axes", layer(&field(b"\x3a", &field(b"\x0a", &[1; 100]))), "more than the 8 axes"),
        ("many layers", layer(b"").repeat(5000), "more than the 4096 layers"),
        ("an unknown kind of field", [&layer(b"")[..], b"\xa2\x06\x01\x0f"].concat(), "a field of the unknown kind 7"),
    ];
    for (what, bytes, words) in cases {
        let begin = Instant::now();
        let error = parse(bytes.into(), Path::new("evil.caffemodel")).expect_err(what);
        assert!(begin.elapsed() < Duration::from_secs(1) && error.help().is_some(), "{what}");
        assert!(error.to_string().contains(words), "{what}: {error}");
    }
    let error = vgg_compiler::weights::readers::open(&fixture("mean.binaryproto")).unwrap_err();
    assert!(error.to_string().contains("a single blob of Caffe"), "{error}");
}

#[test]
fn hdf5_files_that_lie_are_refused() {
    let cases = [
        ("loop.h5", "its layers contain too many layers"),
        ("bomb.h5", "`conv2d/vars/0`: "),
        ("elsewhere.h5", ""),
        ("arrays.h5", "it has no layers, as files of Keras have"),
    ];
    for (name, words) in cases {
        let begin = Instant::now();
        let error = vgg_compiler::weights::readers::open(&fixture(name)).expect_err(name);
        assert!(begin.elapsed() < Duration::from_secs(1) && error.help().is_some(), "{name}");
        assert!(error.to_string().contains(words), "{name}: {error}");
    }
}
