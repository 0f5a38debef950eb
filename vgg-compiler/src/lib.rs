//! The compiler of the VGG family.
#![forbid(unsafe_code)]

pub mod ir;
pub mod passes;
pub mod plan;
pub mod spec;
