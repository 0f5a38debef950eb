//! The compiler of the VGG family.
pub mod spec;
