//! The `vgg` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    vgg_cli::main(std::env::args_os())
}
