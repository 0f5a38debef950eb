//! What a file is, by its content.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

/// What the first bytes of a file say. Archives and messages have to be looked into for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Magic {
    /// A ZIP archive: of PyTorch, Keras or NumPy.
    Zip,
    /// A legacy file of PyTorch.
    TorchLegacy,
    Hdf5,
    Matlab5,
    /// An ONNX model, told by its first field.
    Onnx,
    /// What is not read, and what to do with it.
    Foreign {
        found: &'static str,
        help: &'static str,
    },
}

/// What MATLAB writes when it is asked for version 7.3.
const MATLAB_73: Magic = Magic::Foreign {
    found: "a MATLAB file of version 7.3",
    help: "save it again in MATLAB in the older format: `save('out.mat', '-struct', 'net', '-v7')`",
};

const PICKLE: &str = "when it is from PyTorch, save it again: `torch.save(state_dict, \"out.pth\")`; arrays of NumPy are saved \
    with `safetensors.numpy.save_file`";
const NUMPY: &str = "convert it in Python with `safetensors.numpy.save_file`";
const TAR: &str = "load it with PyTorch and save it again: \
    `torch.save(torch.load(\"in.pth\", map_location=\"cpu\"), \"out.pth\")`";
const UNPACK: &str = "unpack it first";
const FETCH: &str = "the address gave something else than the file: fetch it again, and compare its length";

const CONVERT: &str = "convert it: `vgg weights convert FILE -o F.safetensors --for MODEL`";

/// What `bytes` begin with; none for safetensors, for messages of Caffe, and for what is not known.
pub(super) fn magic(bytes: &[u8]) -> Option<Magic> {
    if begins_as_safetensors(bytes) {
        return None;
    }
    let begins = |magic: &[u8]| bytes.starts_with(magic);
    let at = |place: usize, magic: &[u8]| bytes.get(place..).is_some_and(|tail| tail.starts_with(magic));
    let foreign = |found, help| Some(Magic::Foreign { found, help });
    if begins(b"PK\x03\x04") || begins(b"PK\x05\x06") {
        return Some(Magic::Zip);
    }
    // Protocol 2, then the number 0x1950a86a20f9469cfc6c.
    if begins(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.") {
        return Some(Magic::TorchLegacy);
    }
    if begins(b"\x80") && bytes.get(1).is_some_and(|&protocol| (2..=5).contains(&protocol)) {
        return foreign("a Python pickle that `torch.save` did not write", PICKLE);
    }
    if begins(b"\x89HDF\r\n\x1a\n") {
        return Some(Magic::Hdf5);
    }
    if begins(b"MATLAB 7.3") || (begins(b"MATLAB") && at(512, b"\x89HDF\r\n\x1a\n")) {
        return Some(MATLAB_73);
    }
    // The signature of the byte order ends the header.
    if begins(b"MATLAB 5.0") || at(124, b"\x00\x01IM") || at(124, b"\x01\x00MI") {
        return Some(Magic::Matlab5);
    }
    if at(257, b"ustar") {
        return foreign("a tar archive, as PyTorch wrote before version 0.1.10", TAR);
    }
    if begins(b"\x93NUMPY") {
        return foreign("a NumPy array", NUMPY);
    }
    if begins(b"\x1f\x8b") || begins(b"\xfd7zXZ\0") || begins(b"BZh") || begins(b"\x28\xb5\x2f\xfd") {
        return foreign("a compressed file", UNPACK);
    }
    if begins(b"version https://git-lfs") {
        return foreign("a pointer of Git LFS in place of the file", "fetch the file itself: `git lfs pull`");
    }
    let text = bytes.trim_ascii_start();
    let page = [&b"<!DOCTYPE"[..], b"<!doctype", b"<html", b"<HTML", b"<?xml"];
    if page.iter().any(|begin| text.starts_with(begin)) {
        return foreign("a web page", FETCH);
    }
    if begins_as_onnx(bytes) {
        return Some(Magic::Onnx);
    }
    None
}

/// Whether `head` begins as safetensors: with the length of the header, which is less than 2^48, and its JSON. A length may look like the
/// first bytes of any other format.
pub(super) fn begins_as_safetensors(head: &[u8]) -> bool {
    head.get(6..9) == Some(b"\0\0{")
}

/// Whether `head` begins as an ONNX model does: with the version of the format, a small number, and another field of `ModelProto`; or, as
/// some writers have it, with an operator set. The extents of a blob of Caffe begin with a number as well, but their second field is one,
/// too.
pub(crate) fn begins_as_onnx(head: &[u8]) -> bool {
    match *head {
        [0x08, 1..=32, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42 | 0x72, ..] => true,
        // A message of a domain and a version, or of one of them.
        [0x42, length, 0x0a | 0x10, ..] => length < 64,
        _ => false,
    }
}

/// What a file of another format is, and what to do with it.
pub(crate) fn foreign(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    Some(match magic(bytes)? {
        Magic::Foreign { found, help } => (found, help),
        Magic::Zip => ("a ZIP archive, as PyTorch and Keras write", CONVERT),
        Magic::TorchLegacy => ("a PyTorch file", CONVERT),
        Magic::Hdf5 => ("an HDF5 file, as Keras writes", CONVERT),
        Magic::Matlab5 => ("a MATLAB file", CONVERT),
        Magic::Onnx => ("an ONNX model", CONVERT),
    })
}
