//! `vgg weights convert`: a file with weights as the canonical .safetensors file of a network.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use vgg_compiler::CompileOptions;
use vgg_compiler::weights::{WeightsSource, canonical};

use crate::error::Error;
use crate::export::{refuse_input, weights_error};
use crate::lineage::{Asked, decide};
use crate::model::{Model, file_source, load_weights};
use crate::progress::{Progress, Unit};
use crate::staging::Staging;
use crate::table::bytes;

/// Convert a file with weights to the .safetensors file of a network
///
/// Tensors get the names and the layout of the network's parameters; batch normalisation is folded in. What was done is said. The
/// order of colours is left as it is: see docs/weights.md. How images become the input is recorded when the declaration, the file or
/// --preprocess say. The file appears whole or not at all.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vgg weights convert vgg16-397923af.pth -o vgg16.safetensors --for vgg-d
  vgg weights convert VGG_CNN_S.caffemodel -o vgg_s.safetensors --for vgg-s --preprocess caffe-cnn
  vgg weights convert my.h5 -o my.safetensors --for my-network.vgg")]
pub(crate) struct Arguments {
    /// The file with weights: PyTorch, Caffe, MatConvNet, Keras, ONNX or safetensors
    file: PathBuf,
    /// The .safetensors file to write
    #[arg(long, short, visible_alias = "out", value_name = "F.safetensors")]
    output: PathBuf,
    /// The network: a built-in variant (see `vgg list`) or the path of a .vgg or .onnx file
    #[arg(long = "for", value_name = "MODEL")]
    model: OsString,
    #[command(flatten)]
    asked: Asked,
}

pub(crate) fn execute(arguments: &Arguments, progress: &Progress) -> Result<(), Error> {
    let Arguments { file, output, model, asked } = arguments;
    let mut model = Model::open(model)?;
    let source = file_source(file.clone(), progress)?;
    decide(&mut model, &source, asked, progress)?;
    convert(&model, &source, output, progress)?;
    let size = output.metadata().map(|found| format!(" ({})", bytes(found.len()))).unwrap_or_default();
    progress.note(&format!("wrote {}{size}", output.display()));
    Ok(())
}

/// Writes the weights of `source` for `model` at `output`, whole or not at all.
///
/// # Errors
///
/// When a file that is read would be overwritten, when the weights do not fit, when the file cannot be written.
pub fn convert(model: &Model, source: &WeightsSource, output: &Path, progress: &Progress) -> Result<(), Error> {
    refuse_input(output, model, source)?;
    let compiled = model.compile(&CompileOptions::default())?;
    let weights = load_weights(source, &compiled.graph, progress)?;
    let writing = |error| Error::writing(output, &error);
    let mut staging = Staging::for_file(output).map_err(writing)?;
    {
        let stage = progress.stage(format!("writing {}", output.display()), weights.total_bytes(), Unit::Bytes);
        let path = staging.path().join(WEIGHTS);
        canonical::write(&path, &compiled.graph, &weights, &mut |done| stage.at(done))
            .map_err(|error| weights_error(error, output))?;
    }
    staging.move_file(WEIGHTS, output).map_err(writing)
}

/// The name of the file while it is made.
const WEIGHTS: &str = "weights";
