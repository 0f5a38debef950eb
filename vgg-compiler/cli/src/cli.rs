//! The command line as a whole: which subcommands there are, what they have in common, how the program ends.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::error::Error;
use crate::progress::Progress;
use crate::{bench, build, console, export, list, run, show, staging, verify, weights};

/// Compiles networks of the VGG family to ONNX and to standalone Rust, runs them, proves that both agree, and measures them.
#[derive(Debug, Parser)]
#[command(name = "vgg", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
MODEL is a built-in variant (`vgg list`) or the path of a .vgg or .onnx file. WEIGHTS is the path
of a .safetensors, .pth, .caffemodel, .mat, .h5 or .onnx file, or seeded[:N] for generated numbers,
the same on every machine; an .onnx model brings its own.

Exit status: 0 done; 1 a comparison was not met; 2 wrong usage; 3 an input was refused (model,
weights, image, array); 4 the system failed (disk, permission, a library that is not there); 130 interrupted.

Examples:
  vgg list
  vgg show vgg-d
  vgg export vgg-d --weights vgg16.safetensors -o vgg16.onnx
  vgg build vgg-d --weights vgg16.safetensors --out vgg16
  vgg run vgg-d --weights vgg16.safetensors --image cat.jpg --preprocess torchvision
  vgg verify vgg-d
  vgg bench vgg-d --against ort
  vgg weights convert vgg16.pth -o vgg16.safetensors --for vgg-d";

#[derive(Debug, Args)]
struct Global {
    /// Say nothing but errors: no progress, no remarks. What was asked for is still printed
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::Arguments),
    Show(show::Arguments),
    Export(export::Arguments),
    Build(build::Arguments),
    Run(run::Arguments),
    Verify(verify::Arguments),
    Bench(bench::Arguments),
    Weights(weights::Arguments),
}

/// Does what the command line `arguments` (the program's name first) asks for, and says how it ended.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // clap knows whether this is a mistake or the help that was asked for, and where each belongs.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    staging::clean_up_on_signals();
    match cli.command.execute(&cli.global) {
        Ok(status) => status,
        Err(error) => {
            console::report(&error);
            ExitCode::from(error.status() as u8)
        }
    }
}

impl Command {
    fn execute(&self, global: &Global) -> Result<ExitCode, Error> {
        let progress = Progress::stderr(global.quiet);
        match self {
            Self::List(arguments) => list::execute(arguments)?,
            Self::Show(arguments) => show::execute(arguments)?,
            Self::Export(arguments) => export::execute(arguments, &progress)?,
            Self::Build(arguments) => build::execute(arguments, &progress)?,
            Self::Run(arguments) => return run::execute(arguments, &progress),
            Self::Bench(arguments) => bench::execute(arguments, &progress)?,
            Self::Weights(arguments) => weights::execute(arguments, &progress)?,
            Self::Verify(arguments) => return verify::execute(arguments, &progress),
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_subcommand_has_examples_in_its_help() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:\n  vgg "), "{}", command.get_name());
        }
    }
}
