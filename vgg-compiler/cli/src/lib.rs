//! The session and the subcommands behind the `vgg` binary.
#![forbid(unsafe_code)]

pub mod reference;
pub mod session;
