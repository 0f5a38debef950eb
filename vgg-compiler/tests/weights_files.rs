//! Weight files that cannot be read: broken ones, other formats, other things than files.

mod common;

use std::fs;
use std::path::Path;

use common::normalised;
use vgg_compiler::weights::readers;
use vgg_compiler::weights::{Header, Weights, WeightsSource, canonical, lineage, parse, read, seeded};

/// The bytes of a file with this header and so many bytes of zeroes.
fn file(json: &str, data: usize) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

#[test]
fn broken_files_are_refused_with_their_reason() {
    let entry = |key: &str, shape: &str, begin: usize, end: usize| {
        format!(r#""{key}":{{"dtype":"F32","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
    };
    let a = entry("a", "[2]", 0, 8);
    let valid = file(&format!("{{{a}}}"), 8);
    assert!(parse(valid.clone().into(), Path::new("valid")).is_ok());
    let huge = |length: u64| [&length.to_le_bytes()[..], b"{}"].concat();
    let long = "k".repeat(1025);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "it has 0 bytes, not even the 8"),
        ("seven bytes", vec![0; 7], "it has 7 bytes"),
        ("header longer than the file", huge(1000), "its header should have 1000 bytes, but 2 follow"),
        ("header of 2^64 - 1 bytes", huge(u64::MAX), "its header should have 18446744073709551615 bytes, but 2 follow"),
        ("header of 2^63 bytes", huge(1 << 63), "its header should have 9223372036854775808 bytes"),
        (
            "header too long",
            file(&" ".repeat((16 << 20) + 1), 0),
            "its header has 16777217 bytes, more than the 16777216",
        ),
        ("no JSON", file("[1]", 0), "its header does not begin with `{`"),
        ("JSON cut off", file("{\"a\":", 0), "its header: tensor `a`: EOF while parsing"),
        ("not UTF-8", [&9u64.to_le_bytes()[..], b"{\"\xff\xff\":{}}"].concat(), "its header: "),
        ("data cut off", valid[..valid.len() - 1].to_vec(), "need 8 bytes of data, but the file has 7: it is cut off"),
        ("data with a tail", [&valid[..], b"x"].concat(), "need 8 bytes of data, but the file has 9"),
        ("key twice", file(&format!("{{{a},{}}}", entry("a", "[2]", 8, 16)), 16), "its header: `a` is declared twice"),
        (
            "metadata twice",
            file(&format!(r#"{{"__metadata__":{{}},"__metadata__":{{}},{a}}}"#), 8),
            "its header: `__metadata__` is declared twice",
        ),
        (
            "metadata key twice",
            file(&format!(r#"{{"__metadata__":{{"x":"1","x":"2"}},{a}}}"#), 8),
            "its header: `x` is declared twice",
        ),
        ("metadata of numbers", file(&format!(r#"{{"__metadata__":{{"x":1}},{a}}}"#), 8), "expected a string"),
        (
            "field twice",
            file(r#"{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 8),
            "tensor `a`: duplicate field `dtype`",
        ),
        (
            "unknown field",
            file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"stride":[1]}}"#, 8),
            "tensor `a`: unknown field `stride`",
        ),
        ("no shape", file(r#"{"a":{"dtype":"F32","data_offsets":[0,8]}}"#, 8), "tensor `a`: missing field `shape`"),
        (
            "negative extent",
            file(&format!("{{{}}}", entry("a", "[-2]", 0, 8)), 8),
            "tensor `a`: invalid value: integer `-2`",
        ),
        (
            "overlap",
            file(&format!("{{{a},{}}}", entry("b", "[2]", 4, 12)), 12),
            "tensor `b` claims bytes 4 to 12 of the data, which overlap",
        ),
        ("gap", file(&format!("{{{a},{}}}", entry("b", "[2]", 12, 20)), 20), "tensor `b` claims bytes 12 to 20"),
        (
            "ends before it begins",
            file(&format!("{{{}}}", entry("a", "[2]", 8, 0)), 8),
            "tensor `a` ends at byte 0, before",
        ),
        (
            "shape larger than its bytes",
            file(&format!("{{{}}}", entry("a", "[3]", 0, 8)), 8),
            "tensor `a` of shape [3] needs 12 bytes, but claims 8",
        ),
        (
            "shape that overflows",
            file(&format!("{{{}}}", entry("a", "[4294967296,4294967296]", 0, 8)), 8),
            "tensor `a` of shape [4294967296, 4294967296] is too large",
        ),
        (
            "control character",
            file(&format!("{{{}}}", entry(r"a\u0000", "[2]", 0, 8)), 8),
            r"the key `a\0` holds control",
        ),
        ("long key", file(&format!("{{{}}}", entry(&long, "[2]", 0, 8)), 8), "a key of 1025 bytes, more than the 1024"),
        (
            "terminal codes",
            file(r#"{"a":{"dtype":"F32","\u001b[31m":1}}"#, 0),
            "tensor `a`: unknown field `\u{fffd}[31m`",
        ),
        (
            "unknown type",
            file(r#"{"x":{"dtype":"G7","shape":[2],"data_offsets":[0,4]}}"#, 4),
            "tensor `x` holds G7 numbers, expected F32, F16, BF16 or F64",
        ),
        (
            "counter under another name",
            file(r#"{"x":{"dtype":"I64","shape":[],"data_offsets":[0,8]}}"#, 8),
            "tensor `x` holds I64 numbers, expected F32, F16, BF16 or F64",
        ),
    ];
    let mut failures = Vec::new();
    for (what, bytes, words) in cases {
        match parse(bytes.into(), Path::new("dir/w.safetensors")) {
            Ok(_) => failures.push(format!("{what}: read")),
            Err(error) => {
                let text = error.to_string();
                if !text.contains(words) || !text.starts_with("dir/w.safetensors: ") || error.help().is_none() {
                    failures.push(format!("{what}: {text}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_truncation_and_every_flipped_byte_of_the_header_is_survived() {
    let graph = normalised(true);
    let mut bytes = Vec::new();
    let weights = Weights::resolve(&graph, seeded(&graph, 1), "seeded").unwrap();
    canonical::write_to(&mut bytes, &graph, &weights, &mut |_| ()).unwrap();
    let path = Path::new("w.safetensors");
    for length in 0..bytes.len() {
        assert!(parse(bytes[..length].to_vec().into(), path).is_err(), "{length} bytes");
    }
    let whole = parse(bytes.clone().into(), path).unwrap();
    for position in 0..Header::new(&graph.params).bytes.len() {
        for flip in [1, 0x20, 0x80] {
            let mut changed = bytes.clone();
            changed[position] ^= flip;
            if let Ok(tensors) = parse(changed.into(), path) {
                let bytes: usize = tensors.values().map(|tensor| tensor.data.len()).sum();
                assert_eq!(bytes, whole.values().map(|tensor| tensor.data.len()).sum::<usize>(), "byte {position}");
            }
        }
    }
}

#[test]
fn other_formats_are_recognised_by_their_content() {
    let directory = tempfile::tempdir().unwrap();
    let cases: [(&str, &[u8], &str, &str); 8] = [
        ("vgg16.safetensors", b"PK\x03\x04\x00\x00\x08\x08\x00\x00\x00\x00", "a ZIP archive", "vgg weights convert"),
        ("old.pth", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "a PyTorch file", "vgg weights convert"),
        ("pickled.pth", b"\x80\x04\x95\x10\x00\x00", "a Python pickle that `torch.save` did not write", "torch.save"),
        ("keras.h5", b"\x89HDF\r\n\x1a\n\x00\x00\x00\x00", "an HDF5 file", "vgg weights convert"),
        ("vgg.mat", b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "a MATLAB file", "vgg weights convert"),
        ("new.mat", b"MATLAB 7.3 MAT-file, Platform: GLNXA64", "a MATLAB file of version 7.3", "-v7"),
        ("vgg.bin", b"\x08\x08\x12\x07pytorch:\x10\n\x04", "an ONNX model", "vgg weights convert"),
        ("a.npy", b"\x93NUMPY\x01\x00v\x00{", "a NumPy array", "safetensors.numpy"),
    ];
    for (name, bytes, found, help) in cases {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = read(&path).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("{}: this is {found}", path.display())), "{text}");
        assert!(error.help().unwrap().contains(help), "{:?}", error.help());
    }
}

/// Lengths of headers whose first bytes are those of pickles, of ONNX models and of compressed files.
#[test]
fn a_header_may_have_any_length() {
    for length in [640_usize, 896, 1152, 1408, 0x0108, 0x8b1f] {
        let json = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let bytes = file(&format!("{json:length$}"), 8);
        let read = readers::parse(bytes.into(), Path::new("a.safetensors")).unwrap();
        assert_eq!(read.tensors.len(), 1, "{length}");
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let error = read(directory.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{}: expected a file with weights, found a directory", directory.path().display())
    );
    let missing = directory.path().join("missing.safetensors");
    let error = read(&missing).unwrap_err();
    assert!(error.to_string().starts_with(&format!("{}: cannot read the weights: ", missing.display())), "{error}");
    let into = directory.path().join("missing").join("w.safetensors");
    let graph = normalised(true);
    let weights = Weights::resolve(&graph, seeded(&graph, 1), "seeded").unwrap();
    let error = canonical::write(&into, &graph, &weights, &mut |_| ()).unwrap_err();
    assert!(error.to_string().starts_with(&format!("{}: cannot write the weights: ", into.display())), "{error}");
}

/// The preprocessing stands in the metadata of the canonical file, and only there.
#[test]
fn the_header_says_how_images_become_the_input() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("w.safetensors");
    let mut graph = normalised(true).into_graph();
    graph.preprocess = Some(vgg_compiler::preprocess::preset("keras").unwrap().preprocess());
    let known = vgg_compiler::ir::verify(graph.clone()).unwrap();
    let weights = WeightsSource::Seeded(1).load(&known).unwrap();
    canonical::write(&path, &known, &weights, &mut |_| {}).unwrap();
    assert_eq!(lineage(&path).unwrap(), known.preprocess);
    assert_eq!(WeightsSource::File(path.clone()).load(&known).unwrap(), weights);
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.starts_with(&Header::of(&known).bytes));
    let text = r#"{"__metadata__":{"format":"pt","vgg.preprocessing":"bgr, range 255, mean 103.939 116.779 123.68, stretch, nearest, classes imagenet"},"#;
    assert!(bytes[8..].starts_with(text.as_bytes()));

    graph.preprocess = None;
    assert_eq!(Header::of(&graph), Header::new(&graph.params));
    // What is no safetensors file says nothing; its reader will say what it is.
    for content in [&b""[..], &[9, 0, 0, 0, 0, 0, 0, 0, b'{'], &[255; 40], b"\x02\0\0\0\0\0\0\0{}"] {
        fs::write(&path, content).unwrap();
        assert_eq!(lineage(&path).unwrap(), None);
    }
    let json = r#"{"__metadata__":{"vgg.preprocessing":"sepia"}}"#;
    let content = [&(json.len() as u64).to_le_bytes()[..], json.as_bytes()].concat();
    fs::write(&path, content).unwrap();
    let error = lineage(&path).unwrap_err().to_string();
    assert!(error.contains("`vgg.preprocessing` cannot be understood: unknown preprocessing `sepia`"), "{error}");
    assert!(lineage(directory.path().join("missing").as_path()).is_err());
}
