//! What a file is, by its first bytes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::error::Refusal;
use crate::weights::magic;

/// How much of a file is looked at.
const HEAD: u64 = 4096;

/// Whether the file at `path` begins as an ONNX model does. What is no regular file (a pipe would be waited for) or cannot be read does not.
pub fn is_onnx(path: &Path) -> bool {
    if !fs::metadata(path).is_ok_and(|kind| kind.is_file()) {
        return false;
    }
    head(path).is_ok_and(|head| magic::begins_as_onnx(&head))
}

/// How the file at `path` begins.
pub(super) fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(HEAD).read_to_end(&mut head)?;
    Ok(head)
}

/// Refuses a file that is something else.
pub(super) fn refuse_foreign(head: &[u8]) -> Result<(), Refusal> {
    if head.is_empty() {
        return Err(Refusal::damaged("expected an ONNX file, found an empty one"));
    }
    if magic::begins_as_onnx(head) {
        return Ok(());
    }
    if head.starts_with(b"version https://git-lfs") {
        let help = "fetch the file itself: `git lfs pull`";
        return Err(Refusal::new("expected an ONNX file, found a Git LFS pointer to one", help));
    }
    if let Some((found, _)) = magic::foreign(head) {
        let problem = format!("expected an ONNX file, found {found}");
        return Err(Refusal::new(problem, "give the path of the file that the exporter wrote"));
    }
    let text = std::str::from_utf8(head).map_or_else(|error| error.error_len().is_none(), |_| true);
    if text && !head.iter().any(|&byte| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r')) {
        let problem = "expected an ONNX file, found text";
        return Err(Refusal::new(problem, "a declaration in the notation has the extension .vgg"));
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    #[test]
    fn other_files_say_what_they_are() {
        let found = |head: &[u8]| refuse_foreign(head).unwrap_err().problem;
        assert_eq!(found(b""), "expected an ONNX file, found an empty one");
        assert_eq!(found(b"pub Tiny: 3 x 8 x 8 { fc-10 }\n"), "expected an ONNX file, found text");
        assert_eq!(found(b"PK\x03\x04...."), "expected an ONNX file, found a ZIP archive, as PyTorch and Keras write");
        assert_eq!(found(b"\x89HDF\r\n\x1a\n"), "expected an ONNX file, found an HDF5 file, as Keras writes");
        assert!(found(b"version https://git-lfs.github.com/spec/v1\n").contains("Git LFS"));
        assert!(refuse_foreign(b"\x08\x08\x12\x07pytorch").is_ok());
        assert!(refuse_foreign(b"\x08\x07\x3a\x80\x01").is_ok());
    }
}
