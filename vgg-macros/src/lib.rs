//! The `vgg!` macro.
