//! The compiler of the VGG family.
#![forbid(unsafe_code)]

pub mod atomic;
pub mod ir;
pub mod onnx;
pub mod passes;
pub mod plan;
pub mod rust;
pub mod spec;
pub mod weights;
