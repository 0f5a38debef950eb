//! ONNX files.
//!
//! [`write_model`] makes a message of a graph, lays it out as [`Piece`]s between which the weights stand, and writes
//! these one after the other: the weights are never copied. [`import()`] reads a file back into a declaration or a graph, and its weights.
//! The messages are [`messages`].
//!
//! Source: <https://onnx.ai/onnx/repo-docs/IR.html>.

mod error;
mod export;
mod import;
pub mod messages;
mod model;
mod options;
mod pieces;
mod pixels;

pub use error::ExportError;
pub use export::{graph_bytes, pieces, write_model};
pub use import::{
    Alias, ImportError, ImportOptions, Imported, Network, OwnChanges, SUPPORTED, import, is_onnx, pass_names,
};
pub use options::{Batch, DEFAULT_OPSET, ExportOptions, OPSETS, Outputs, ir_version};
pub use pieces::Piece;
