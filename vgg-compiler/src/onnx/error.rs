//! What can go wrong when a model is written.

use std::io;
use std::path::PathBuf;

use super::options::OPSETS;

/// Why no ONNX model was written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A version of the operator set that is not written.
    #[error("opset {arrived} cannot be written, expected {} to {}", OPSETS.start(), OPSETS.end())]
    Opset {
        /// The version asked for.
        arrived: u32,
    },
    /// A batch of no images, or of more than ONNX can count.
    #[error("a batch of {arrived} images, expected 1 to {}", i64::MAX)]
    Batch {
        /// The number asked for.
        arrived: usize,
    },
    /// A weights file that is not beside the model.
    #[error("`{name}` cannot be the weights file of a model, expected the plain name of a file beside it")]
    External {
        /// What was given.
        name: String,
    },
    /// A graph without its weights was asked for, and no file for them was named.
    #[error("a model without weights needs the name of the weights file that it points into")]
    NoExternal,
    /// A model of pixels was asked for, and it is not known what becomes of them.
    #[error("`{name}` is to take pixels, but its preprocessing is unknown")]
    Preprocess {
        /// The network.
        name: String,
    },
    /// A piece of metadata given twice.
    #[error("the metadata `{key}` is given twice")]
    Metadata {
        /// Its key.
        key: String,
    },
    /// More bytes than a protobuf message may have.
    #[error("the model would have {bytes} bytes, more than the {} that protobuf allows in a message", i32::MAX)]
    TooLarge {
        /// What it would have.
        bytes: u64,
    },
    /// The file cannot be written.
    #[error("{}: cannot write the ONNX model: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ExportError {
    /// What to do about it, unless the message says all.
    pub fn help(&self) -> Option<&'static str> {
        Some(match self {
            Self::Opset { .. } => "leave the opset out for 17, which every current runtime reads; 13 is for older ones",
            Self::Batch { .. } => "give the images of one inference, or a dynamic batch",
            Self::External { .. } | Self::NoExternal => "give a name like `model.safetensors`, without directories",
            Self::Preprocess { .. } => "declare it, as in `preprocess torchvision;`",
            Self::Metadata { .. } => "give every key once",
            Self::TooLarge { .. } => "keep the weights in their own file, as external data",
            Self::Io { .. } => return None,
        })
    }
}
