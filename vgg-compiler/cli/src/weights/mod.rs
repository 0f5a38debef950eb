//! `vgg weights`: files with weights, looked at and converted.

mod convert;
mod identify;
mod inspect;
mod statistics;

use crate::error::Error;
use crate::progress::Progress;

pub use convert::convert;

/// Look at files with weights, and convert them to .safetensors
///
/// Files of PyTorch (.pth), Caffe (.caffemodel), MatConvNet (.mat), Keras (.h5, .keras), ONNX (.onnx) and safetensors are recognised
/// by their content. Nothing in them is run.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vgg weights inspect VGG_CNN_S.caffemodel
  vgg weights convert vgg16-397923af.pth -o vgg16.safetensors --for vgg-d")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Inspect(inspect::Arguments),
    Convert(convert::Arguments),
}

pub(crate) fn execute(arguments: &Arguments, progress: &Progress) -> Result<(), Error> {
    match &arguments.command {
        Command::Inspect(arguments) => inspect::execute(arguments, progress),
        Command::Convert(arguments) => convert::execute(arguments, progress),
    }
}
