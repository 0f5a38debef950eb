//! What can go wrong outside a kernel: files, weights, environment variables.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

/// Why weights, a file or a setting was refused.
///
/// Kernels do not return errors: buffers of a wrong length are mistakes of the caller, and panic.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An operation on a file failed.
    #[cfg(feature = "std")]
    Io {
        /// What was tried, as in "read".
        action: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what its reader expects.
    #[cfg(feature = "std")]
    Format {
        /// The file.
        path: std::path::PathBuf,
        /// What was found, what was expected, what to do.
        reason: String,
    },
    /// The header of a weights file differs from the one that the network was compiled for.
    Header {
        /// Offset in the file of the first byte that differs.
        offset: usize,
        /// The text expected from there on, shortened.
        expected: String,
        /// The text found from there on, shortened.
        found: String,
    },
    /// Bytes are missing or left over.
    Length {
        /// What has the wrong length.
        what: &'static str,
        /// Bytes expected.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// The bytes of an image are not those of its extents.
    Image {
        /// Pixels of a row.
        width: usize,
        /// Rows.
        height: usize,
        /// Bytes found.
        found: usize,
    },
    /// A weight is NaN or infinite.
    NotFinite {
        /// Which tensor of the layer.
        what: &'static str,
        /// Index of the first such value in the tensor.
        index: usize,
        /// The value.
        value: f32,
    },
    /// An environment variable or setting has a value that cannot be used.
    Setting {
        /// The variable.
        name: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: String,
    },
    /// Any of the above, in a layer.
    Layer {
        /// The layer.
        layer: String,
        /// What went wrong there.
        source: Box<Error>,
    },
}

impl Error {
    /// The same error, naming the layer (or tensor) where it happened.
    pub fn in_layer(self, layer: impl Into<String>) -> Self {
        Self::Layer { layer: layer.into(), source: Box::new(self) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "std")]
            Self::Io { action, path, source } => write!(f, "cannot {action} {}: {source}", path.display()),
            #[cfg(feature = "std")]
            Self::Format { path, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Header { offset, expected, found } => write!(
                f,
                "the weights file is not the one this network was compiled for: at byte {offset} its header has `{found}` where \
                 `{expected}` was expected; use the file that was written with the network"
            ),
            Self::Length { what, expected, found } => write!(
                f,
                "{what} has {found} bytes where {expected} were expected; the file is cut short or belongs to another network"
            ),
            Self::Image { width, height, found } => write!(
                f,
                "the image has {found} bytes where {width} x {height} pixels of 3 bytes were expected; give all pixels as RGB, row \
                 after row"
            ),
            Self::NotFinite { what, index, value } => write!(
                f,
                "{what} holds {value} at index {index} where a finite number was expected; repair the weights before using them"
            ),
            Self::Setting { name, found, expected } => write!(f, "{name} is `{found}` where {expected} was expected"),
            Self::Layer { layer, source } => write!(f, "{layer}: {source}"),
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            #[cfg(feature = "std")]
            Self::Io { source, .. } => Some(source),
            Self::Layer { source, .. } => Some(source),
            _ => None,
        }
    }
}
