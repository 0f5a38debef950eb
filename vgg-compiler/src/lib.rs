//! The compiler of the VGG family.
#![forbid(unsafe_code)]

pub mod atomic;
mod compile;
pub mod ir;
mod lower;
pub mod onnx;
pub mod passes;
pub mod plan;
pub mod rust;
pub mod spec;
pub mod weights;

pub use compile::{CompileError, CompileOptions, Compiled, compile, expand};
pub use lower::lower;
