//! Every fixture cut off at every length and with bytes changed: an error or other numbers, never a panic, and at once.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use vgg_compiler::ir::TypedGraph;
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
        if parse(whole.clone().into(), Path::new(&name)).is_err() {
            continue;
        }
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
                // A message of Caffe does not tell its own length: what ends behind a layer is a network of fewer layers.
                Ok(file) => {
                    let errors = file.adapt(&graph, &name).expect_err("a part of a file was taken for the whole");
                    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
                }
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
    assert!(error.to_string().contains("unpacks to more than 16 times the file's length"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(1));
}
