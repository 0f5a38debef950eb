//! The compiler of the VGG family.
#![forbid(unsafe_code)]

pub mod ir;
pub mod spec;
