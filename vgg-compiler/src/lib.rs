//! The compiler of the VGG family.
#![forbid(unsafe_code)]

pub mod atomic;
pub mod ir;
pub mod onnx;
pub mod spec;
pub mod weights;
