//! The generated code of one network, as a module.
#![allow(unreachable_pub, dead_code, reason = "the code is written for a crate of its own")]

#[rustfmt::skip]
pub mod model;
#[rustfmt::skip]
pub mod names;
