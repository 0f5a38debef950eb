//! The session and the subcommands behind the `vgg` binary.
