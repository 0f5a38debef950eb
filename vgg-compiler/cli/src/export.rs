//! `vgg export`: a network as an ONNX file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use vgg_compiler::ir::Precision;
use vgg_compiler::onnx::{self, Batch, DEFAULT_OPSET, ExportError, ExportOptions, OPSETS, Outputs};
use vgg_compiler::weights::{WeightsError, WeightsSource, canonical};
use vgg_compiler::{CompileOptions, Compiled};

use crate::error::Error;
use crate::lineage::{Asked, decide, required};
use crate::model::{Model, ModelArguments, load_weights, source_name, weights_source};
use crate::progress::{Progress, Unit};
use crate::staging::{Staging, same_file};
use crate::table::bytes;

/// Write a network as an ONNX file
///
/// The graph is that of inference: no dropout, batch normalisation folded into the convolutions. Its metadata names the
/// network (vgg.network), the source of the weights (vgg.weights), and how images become the input (vgg.preprocessing), which
/// is `unknown` unless the declaration, the weights or --preprocess say. The file appears whole or not at all.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vgg export vgg-d --weights vgg16.safetensors -o vgg16.onnx
  vgg export vgg-a -o vgg11.onnx --external          (writes vgg11.safetensors, too)
  vgg export vgg-d -o vgg16.onnx --precision int8    (a third of the bytes)
  vgg export my-network.vgg -o my-network.onnx --batch dynamic --logits
  vgg export vgg-d --weights vgg16.safetensors -o vgg16.onnx --preprocess torchvision --preprocess-in-graph")]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// The ONNX file to write
    #[arg(long, short, visible_alias = "out", value_name = "F.onnx")]
    output: PathBuf,
    /// A file with weights (.safetensors, .pth, .caffemodel, .mat, .h5, .onnx), or seeded[:N] for generated numbers [default: those of an .onnx model, or else seeded:0]
    #[arg(long, short)]
    weights: Option<OsString>,
    /// Images of one inference, or `dynamic` for any number
    #[arg(long, value_name = "N|dynamic", default_value = "1", value_parser = parse_batch)]
    batch: Batch,
    /// Version of ONNX's standard operator set, 13 to 22
    #[arg(long, value_name = "N", default_value_t = DEFAULT_OPSET, value_parser = parse_opset)]
    opset: u32,
    /// Keep the weights in a file of their own, NAME.safetensors beside NAME.onnx, which the ONNX file points into
    #[arg(long)]
    external: bool,
    /// How the weights of fully connected layers are kept: f32, f16, bf16 or int8 (rounded once, computed with as f32)
    #[arg(long, value_name = "P", default_value = "f32")]
    precision: Precision,
    /// Stop before the softmax
    #[arg(long)]
    logits: bool,
    #[command(flatten)]
    asked: Asked,
    /// Let the model take RGB pixels, uint8 [N, H, W, 3] (grey: [N, H, W, 1]) of the input's size, in place of f32 [N, C, H, W]
    #[arg(long)]
    preprocess_in_graph: bool,
}

fn parse_opset(text: &str) -> Result<u32, String> {
    let opset = text.parse().ok().filter(|opset| OPSETS.contains(opset));
    opset.ok_or_else(|| format!("expected a number from {} to {}", OPSETS.start(), OPSETS.end()))
}

fn parse_batch(text: &str) -> Result<Batch, String> {
    match text.parse() {
        _ if text == "dynamic" => Ok(Batch::Dynamic),
        Ok(images @ 1..) if i64::try_from(images).is_ok() => Ok(Batch::Fixed(images)),
        _ => Err("expected a number of at least 1, or `dynamic`".into()),
    }
}

/// What the caller decides about an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Images of one inference.
    pub batch: Batch,
    /// Version of the standard operator set, one of [`OPSETS`].
    pub opset: u32,
    /// Whether the weights are kept in a file of their own.
    pub external: bool,
    /// Whether to stop before a final softmax.
    pub logits: bool,
    /// Whether the model takes pixels in place of the network's input.
    pub preprocess_in_graph: bool,
    /// How the weights of fully connected layers are kept.
    pub precision: Precision,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch: Batch::Fixed(1),
            opset: DEFAULT_OPSET,
            external: false,
            logits: false,
            preprocess_in_graph: false,
            precision: Precision::F32,
        }
    }
}

pub(crate) fn execute(arguments: &Arguments, progress: &Progress) -> Result<(), Error> {
    let Arguments { model, output, weights, batch, opset, external, logits, asked, preprocess_in_graph, precision } =
        arguments;
    let mut model = model.open()?;
    let source = weights_source(&model, weights.as_deref(), progress)?;
    decide(&mut model, &source, asked, progress)?;
    let options = Options {
        batch: *batch,
        opset: *opset,
        external: *external,
        logits: *logits,
        preprocess_in_graph: *preprocess_in_graph,
        precision: *precision,
    };
    let written = export(&model, &source, output, &options, progress)?;
    for path in written {
        let size = path.metadata().map(|found| format!(" ({})", bytes(found.len()))).unwrap_or_default();
        progress.note(&format!("wrote {}{size}", path.display()));
    }
    Ok(())
}

/// Writes `model` with the weights of `source` at `output`, whole or not at all, and gives the files that were written.
///
/// # Errors
///
/// When a file that is read would be overwritten, when the weights do not fit, when a file cannot be written.
pub fn export(
    model: &Model,
    source: &WeightsSource,
    output: &Path,
    options: &Options,
    progress: &Progress,
) -> Result<Vec<PathBuf>, Error> {
    if options.preprocess_in_graph {
        required(model)?;
    }
    let weights_path = options.external.then(|| output.with_extension("safetensors"));
    let onnx_name = file_name(output)?;
    if weights_path.as_deref() == Some(output) {
        return Err(Error::usage(format!("{}: the model and its weights would be one file", output.display()))
            .with_help("give the ONNX file a name that ends in .onnx"));
    }
    for path in std::iter::once(output).chain(weights_path.as_deref()) {
        refuse_input(path, model, source)?;
    }
    let Compiled { graph, .. } = model.compile(&CompileOptions {
        logits: options.logits,
        precision: options.precision,
        ..CompileOptions::default()
    })?;
    let weights = load_weights(source, &graph, progress)?;

    let writing = |error| Error::writing(output, &error);
    let mut staging = Staging::for_file(output).map_err(writing)?;
    let external = weights_path.as_deref().map(file_name).transpose()?;
    if let Some(name) = &external {
        let total = weights.total_bytes();
        let stage = progress.stage(format!("writing {name}"), total, Unit::Bytes);
        let path = staging.path().join(WEIGHTS);
        canonical::write(&path, &graph, &weights, &mut |done| stage.at(done))
            .map_err(|error| weights_error(error, output))?;
    }
    let onnx_options = ExportOptions {
        opset: options.opset,
        batch: options.batch,
        external: external.clone(),
        outputs: Outputs::Final,
        weights: Some(source_name(model, source)),
        preprocess: options.preprocess_in_graph,
        metadata: Vec::new(),
    };
    {
        let total = if external.is_some() { 0 } else { weights.total_bytes() };
        let stage = progress.stage(format!("writing {onnx_name}"), total, Unit::Bytes);
        let path = staging.path().join(MODEL);
        onnx::write_model(&path, &graph, &weights, &onnx_options, &mut |done| stage.at(done))
            .map_err(|error| export_error(error, output))?;
    }
    // The model comes last: whoever sees it finds its weights.
    let mut written = Vec::new();
    if let Some(path) = weights_path {
        staging.move_file(WEIGHTS, &path).map_err(|error| Error::writing(&path, &error))?;
        written.push(path);
    }
    staging.move_file(MODEL, output).map_err(writing)?;
    written.push(output.to_owned());
    Ok(written)
}

/// The names of the files while they are made.
const WEIGHTS: &str = "weights";
const MODEL: &str = "model";

/// The error of a writer that knows only the place in the staging directory, with the place that was asked for.
pub(crate) fn weights_error(error: WeightsError, target: &Path) -> Error {
    match error {
        WeightsError::Write { source, .. } => Error::writing(target, &source),
        error => error.into(),
    }
}

/// As [`weights_error`], for the writer of models.
pub(crate) fn export_error(error: ExportError, target: &Path) -> Error {
    match error {
        ExportError::Io { source, .. } => Error::writing(target, &source),
        error @ ExportError::TooLarge { .. } => {
            Error::from(error).with_help("keep the weights in a file of their own: --external")
        }
        error => error.into(),
    }
}

/// The last part of a path to a file, which becomes part of the model when it names the weights.
fn file_name(path: &Path) -> Result<String, Error> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| {
        Error::usage(format!("{}: expected the path of a file whose name is UTF-8 text", path.display()))
            .with_help("give a path like model.onnx")
    })
}

/// Refuses to overwrite what is read.
pub(crate) fn refuse_input(path: &Path, model: &Model, source: &WeightsSource) -> Result<(), Error> {
    let weights = match source {
        WeightsSource::File(path) | WeightsSource::Imported { path, .. } => Some(path.as_path()),
        WeightsSource::Seeded(_) => None,
    };
    for (input, what) in [(model.path(), "model"), (weights, "weights")] {
        if input.is_some_and(|input| same_file(input, path)) {
            return Err(Error::usage(format!(
                "{}: the result would overwrite the {what} it is made of",
                path.display()
            ))
            .with_help("choose another name for the result"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_numbers_or_dynamic() {
        assert_eq!(parse_batch("dynamic"), Ok(Batch::Dynamic));
        assert_eq!(parse_batch("8"), Ok(Batch::Fixed(8)));
        for wrong in ["0", "-1", "any", "", "99999999999999999999"] {
            assert!(parse_batch(wrong).is_err(), "{wrong:?}");
        }
    }
}
