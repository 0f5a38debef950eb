//! Why an ONNX file is not taken.

use std::io;
use std::path::PathBuf;

/// Why an ONNX file was refused.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file, or one that it points to, cannot be read.
    #[error("{}: cannot read the file: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no ONNX file, or a network outside the family.
    #[error("{}: {problem}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What was found, what was expected, and at which node.
        problem: String,
        /// What to do.
        help: String,
    },
}

impl ImportError {
    /// What to do about it, unless the message says all.
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::Read { .. } => None,
            Self::Refused { help, .. } => Some(help),
        }
    }
}

/// A refusal before the file's name is put to it.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) problem: String,
    pub(super) help: String,
}

impl Refusal {
    pub(super) fn new(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self { problem: problem.into(), help: help.into() }
    }

    /// The file contradicts itself.
    pub(super) fn damaged(problem: impl Into<String>) -> Self {
        Self::new(problem, "the file is damaged or not valid ONNX: write it anew, and check it with `onnx.checker`")
    }

    /// The network is not of the family, or not yet.
    pub(super) fn unsupported(problem: impl Into<String>) -> Self {
        Self::new(
            problem,
            "docs/onnx-import.md lists what is compiled; export the network in inference mode, or cut this part off with \
             `onnx.utils.extract_model`",
        )
    }
}

/// A name from a file with nothing in it that a terminal would obey, shortened.
pub(super) fn printable(text: &str) -> String {
    clean(text.char_indices().nth(80).and_then(|(end, _)| text.get(..end)).unwrap_or(text))
}

/// A text from a file with nothing in it that a terminal would obey.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
