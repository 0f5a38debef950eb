//! `vgg build`: a network as a standalone crate, with its weights and its ONNX file.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use vgg_compiler::ir::{Node, Op, Precision, TypedGraph, ValueId};
use vgg_compiler::onnx::{self, Batch, ExportOptions};
use vgg_compiler::rust::{
    EXPECTED_FILE, INPUT_FILE, MARKER, Network, ONNX_FILE, PackageOptions, RuntimeSource, WEIGHTS_FILE, is_crate_name,
    package,
};
use vgg_compiler::weights::{Weights, WeightsSource, canonical};
use vgg_compiler::{CompileOptions, Compiled};
use vgg_runtime::{npy, source};

use crate::error::Error;
use crate::export::{export_error, weights_error};
use crate::input::{Images, SEED};
use crate::lineage::{Asked, decide};
use crate::model::{Model, ModelArguments, load_weights, source_name, weights_source};
use crate::progress::{Progress, Unit};
use crate::reference;
use crate::staging::{Staging, same_file};
use crate::table::bytes;

/// Write a network as a standalone Rust crate, with its weights and its ONNX file
///
/// The crate depends on nothing but the copy of the runtime inside it and builds offline. It has the network's type, the
/// weights (weights.safetensors), `preprocess` for images where it is known how they become the input, the same network as ONNX (model.onnx, which points into the weights), an example that
/// takes NumPy arrays, and tests that compare it with outputs recorded in 64-bit arithmetic. The same command always writes
/// the same bytes. The directory appears whole or not at all.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vgg build vgg-d --weights vgg16.safetensors --out vgg16
  vgg build my-network.vgg --out my-network --name my_network --embed
  vgg build vgg-d --out vgg16 --precision int8
  cd vgg16 && cargo test --release")]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// The directory to make. One that is there must be empty, or --force be given
    #[arg(long, short, visible_alias = "output", value_name = "DIR")]
    out: PathBuf,
    /// A file with weights (.safetensors, .pth, .caffemodel, .mat, .h5, .onnx), or seeded[:N] for generated numbers [default: those of an .onnx model, or else seeded:0]
    #[arg(long, short)]
    weights: Option<OsString>,
    /// The name of the crate [default: that of the network in snake case: vgg_d]
    #[arg(long, value_name = "CRATE")]
    name: Option<String>,
    /// Images of one inference
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_batch)]
    batch: usize,
    /// How the weights of fully connected layers are kept: f32, f16, bf16 or int8 (rounded once, computed with as f32)
    #[arg(long, value_name = "P", default_value = "f32")]
    precision: Precision,
    /// Put the weights into the binary, up to 100 MB of them
    #[arg(long)]
    embed: bool,
    /// Replace a directory that an earlier `vgg build` wrote
    #[arg(long)]
    force: bool,
    /// Stop before the softmax
    #[arg(long)]
    logits: bool,
    /// Sum every convolution directly: several times slower, but off by a few times less than Winograd's algorithm
    #[arg(long)]
    exact: bool,
    #[command(flatten)]
    asked: Asked,
}

fn parse_batch(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(images @ 1..=MAX_BATCH) => Ok(images),
        _ => Err(format!("expected a number from 1 to {MAX_BATCH}")),
    }
}

/// More images at a time bring nothing, and a crate's input is one array.
const MAX_BATCH: usize = 1024;

/// The most that is put into a binary: rustc reads such files slowly and keeps them in memory several times.
pub const MAX_EMBEDDED: usize = 100_000_000;

/// Largest normwise error against the recorded output that a crate's tests accept: that of a chain of f32 sums.
const TOLERANCE: f64 = 1e-5;

/// The same where Winograd's algorithm takes part.
const WINOGRAD_TOLERANCE: f64 = 2e-5;

/// What the caller decides about a crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Its name; that of the network in snake case when there is none.
    pub name: Option<String>,
    /// Images of one inference.
    pub batch: usize,
    /// Whether the weights become part of the binary.
    pub embed: bool,
    /// Whether a crate that was generated before may be replaced.
    pub force: bool,
    /// Whether to stop before a final softmax.
    pub logits: bool,
    /// Whether every convolution is summed directly.
    pub exact: bool,
    /// How the weights of fully connected layers are kept.
    pub precision: Precision,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: None,
            batch: 1,
            embed: false,
            force: false,
            logits: false,
            exact: false,
            precision: Precision::F32,
        }
    }
}

pub(crate) fn execute(arguments: &Arguments, progress: &Progress) -> Result<(), Error> {
    let Arguments { model, out, weights, name, batch, embed, force, logits, exact, precision, asked } = arguments;
    let mut model = model.open()?;
    let source = weights_source(&model, weights.as_deref(), progress)?;
    decide(&mut model, &source, asked, progress)?;
    let options = Options {
        name: name.clone(),
        batch: *batch,
        embed: *embed,
        force: *force,
        logits: *logits,
        exact: *exact,
        precision: *precision,
    };
    build(&model, &source, out, &options, progress)?;
    progress.note(&format!("wrote {}; `cargo test --release` in it compares it with recorded outputs", out.display()));
    Ok(())
}

/// Writes the crate of `model` with the weights of `source` as the directory `out`, whole or not at all.
///
/// # Errors
///
/// When the name is none for a crate, when there is something at `out` that may not be replaced, when the weights do not fit
/// or are too large to embed, when a file cannot be written.
pub fn build(
    model: &Model,
    source: &WeightsSource,
    out: &Path,
    options: &Options,
    progress: &Progress,
) -> Result<(), Error> {
    let name = crate_name(model, options)?;
    let target = target(out, options.force)?;
    let &Options { batch, logits, exact, precision, .. } = options;
    let compiled = model.compile(&CompileOptions { batch, logits, exact, precision })?;
    if options.embed {
        refuse_large(compiled.header().file_len())?;
    }
    let weights = load_weights(source, &compiled.graph, progress)?;
    let input = Images::generated(compiled.graph.input_shape(), options.batch, SEED);
    let recorded = record(&compiled.graph, &weights, &input, progress);
    let base = if compiled.plan.is_exact() { TOLERANCE } else { WINOGRAD_TOLERANCE };

    let writing = |error| Error::writing(out, &error);
    let mut staging = Staging::for_directory(&target).map_err(writing)?;
    let directory = staging.path().join(DIRECTORY);
    let package_options = PackageOptions { name, embed: options.embed, tolerance: base * recorded.factor };
    write_sources(&compiled, &package_options, &directory).map_err(|error| match error {
        Failure::Io(error) => writing(error),
        Failure::Other(error) => error,
    })?;
    write_weights(&compiled, &weights, &directory, progress).map_err(|error| weights_error(error, out))?;
    write_onnx(&compiled.graph, &weights, source_name(model, source), options, &directory)
        .map_err(|error| export_error(error, out))?;
    // Several outputs are recorded one after the other, as the crate gives them.
    let mut output_dims = compiled.graph.output_shape().dims();
    output_dims.insert(0, options.batch);
    if compiled.graph.outputs.len() > 1 {
        output_dims = vec![recorded.output.len()];
    }
    write_array(&directory.join(INPUT_FILE), &input.dims(), &input.values, out)?;
    write_array(&directory.join(EXPECTED_FILE), &output_dims, &recorded.output, out)?;
    staging.move_directory(DIRECTORY, &target).map_err(writing)
}

/// The name of the crate's directory while it is made.
const DIRECTORY: &str = "crate";

fn crate_name(model: &Model, options: &Options) -> Result<String, Error> {
    let name = options.name.clone().unwrap_or_else(|| model.file_stem());
    if is_crate_name(&name) {
        return Ok(name);
    }
    let error = Error::usage(format!(
        "`{name}` cannot be the name of a crate, expected a lower-case letter, then up to 63 lower-case letters, digits or \
         `_`, and no word that Rust reserves"
    ));
    Err(match options.name {
        Some(_) => error.with_help("choose another name, such as my_network"),
        None => error.with_help("give a name with --name"),
    })
}

/// The place of the crate, when it is free or may be replaced.
fn target(out: &Path, force: bool) -> Result<PathBuf, Error> {
    let target = fs::canonicalize(out).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => std::path::absolute(out),
        _ => Err(error),
    });
    let target = target.map_err(|error| Error::writing(out, &error))?;
    let shown = out.display();
    if target.file_name().is_none() || std::env::current_dir().is_ok_and(|current| same_file(&current, &target)) {
        return Err(Error::usage(format!(
            "{shown}: the directory is replaced as a whole, expected another than the current one"
        ))
        .with_help("give the name of a new directory"));
    }
    let entries = match fs::read_dir(&target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(target),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(Error::usage(format!("{shown}: expected a directory or nothing, found a file"))
                .with_help("give the name of a new directory"));
        }
        entries => entries.map_err(|error| Error::writing(out, &error))?,
    };
    if entries.count() == 0 {
        return Ok(target);
    }
    let generated = fs::read_to_string(target.join("Cargo.toml"))
        .is_ok_and(|manifest| manifest.lines().any(|line| line.trim_end() == MARKER));
    match (generated, force) {
        (true, true) => Ok(target),
        (true, false) => Err(Error::usage(format!("{shown}: there is a generated crate already"))
            .with_help("replace it with --force, or choose another directory")),
        (false, _) => Err(Error::usage(format!(
            "{shown}: the directory is not empty, and its Cargo.toml is not that of a generated crate"
        ))
        .with_help("choose another directory: --force replaces nothing but what an earlier `vgg build` wrote")),
    }
}

fn refuse_large(len: usize) -> Result<(), Error> {
    if len <= MAX_EMBEDDED {
        return Ok(());
    }
    Err(Error::usage(format!(
        "the weights have {}, expected at most {} to embed: rustc would take minutes and many times their size in memory",
        bytes(len as u64),
        bytes(MAX_EMBEDDED as u64)
    ))
    .with_help("leave --embed out: the crate then reads weights.safetensors when it starts"))
}

/// What the crate's tests compare with.
struct Recorded {
    output: Vec<f32>,
    /// How many times the tolerance of a chain of convolutions is that of this output.
    factor: f64,
}

fn record(graph: &TypedGraph, weights: &Weights, input: &Images, progress: &Progress) -> Recorded {
    let stage = progress.stage("computing the expected output", graph.nodes.len() as u64, Unit::Items);
    let is_softmax = |node: &Node| matches!(node.op, Op::Softmax | Op::LogSoftmax);
    let scores: Vec<ValueId> = graph
        .nodes
        .iter()
        .filter(|node| graph.outputs.contains(&node.output) && is_softmax(node))
        .map(|node| node.inputs[0])
        .collect();
    let mut largest_score = None;
    let mut done = 0;
    let output = reference::evaluate(graph, weights, input.count, &input.values, &mut |node, values: &[f64]| {
        if scores.contains(&node.output) {
            let largest = largest_score.unwrap_or(0.0);
            largest_score = Some(values.iter().fold(largest, |most: f64, score| most.max(score.abs())));
        }
        done += 1;
        stage.at(done);
    });
    Recorded { output: output.into_iter().map(|value| value as f32).collect(), factor: tolerance_factor(largest_score) }
}

/// How much larger the tolerance of a crate's tests is than that of scores. The error of a probability relative to itself is up to twice the absolute error of the
/// scores it is made of, which grows with them.
fn tolerance_factor(largest_score: Option<f64>) -> f64 {
    let factor = largest_score.map_or(1.0, |score| (2.0 * score).max(1.0));
    // One digit: the recorded output may differ in its last bits from machine to machine, the source should not.
    factor.ceil()
}

/// A failure while the sources are written.
enum Failure {
    Io(io::Error),
    Other(Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn write_sources(compiled: &Compiled, options: &PackageOptions, directory: &Path) -> Result<(), Failure> {
    let header = compiled.header();
    let network = Network { graph: &compiled.graph, plan: &compiled.plan, header: &header };
    let runtime = RuntimeSource { manifest: source::MANIFEST, files: source::FILES };
    let files = package(network, options, runtime).map_err(|error| Failure::Other(error.into()))?;
    for file in files {
        let path = directory.join(file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, file.text)?;
    }
    Ok(())
}

fn write_weights(
    compiled: &Compiled,
    weights: &Weights,
    directory: &Path,
    progress: &Progress,
) -> Result<(), vgg_compiler::weights::WeightsError> {
    let stage = progress.stage(format!("writing {WEIGHTS_FILE}"), weights.total_bytes(), Unit::Bytes);
    canonical::write(&directory.join(WEIGHTS_FILE), &compiled.graph, weights, &mut |done| stage.at(done))
}

/// The model that points into the crate's weights, so that the numbers are on the disk once.
fn write_onnx(
    graph: &TypedGraph,
    weights: &Weights,
    source: String,
    options: &Options,
    directory: &Path,
) -> Result<(), onnx::ExportError> {
    let options = ExportOptions {
        batch: Batch::Fixed(options.batch),
        external: Some(WEIGHTS_FILE.to_owned()),
        weights: Some(source),
        ..ExportOptions::default()
    };
    onnx::write_model(&directory.join(ONNX_FILE), graph, weights, &options, &mut |_| {})
}

fn write_array(path: &Path, dims: &[usize], values: &[f32], out: &Path) -> Result<(), Error> {
    npy::write_f32(path, dims, values).map_err(|error| match error {
        vgg_runtime::Error::Io { source, .. } => Error::writing(out, &source),
        error => error.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tolerance_of_probabilities_follows_their_scores() {
        assert_eq!(tolerance_factor(None), 1.0);
        assert_eq!(tolerance_factor(Some(0.3)), 1.0);
        assert_eq!(tolerance_factor(Some(7.1)), 15.0);
    }

    #[test]
    fn only_free_places_and_generated_crates_are_taken() {
        let root = tempfile::tempdir().unwrap();
        let place = |name: &str| root.path().join(name);
        assert!(target(&place("new"), false).is_ok());
        fs::create_dir(place("empty")).unwrap();
        assert!(target(&place("empty"), false).is_ok());
        fs::write(place("file"), "").unwrap();
        assert!(target(&place("file"), true).is_err());
        fs::create_dir(place("other")).unwrap();
        fs::write(place("other/Cargo.toml"), "[package]\nname = \"x\"\n").unwrap();
        assert!(target(&place("other"), true).is_err());
        fs::write(place("other/Cargo.toml"), format!("[package]\n{MARKER}\n")).unwrap();
        assert!(target(&place("other"), false).is_err());
        assert!(target(&place("other"), true).is_ok());
        assert!(target(Path::new("."), true).is_err());
        assert!(target(Path::new("/"), true).is_err());
    }

    #[test]
    fn large_weights_are_not_embedded() {
        assert!(refuse_large(MAX_EMBEDDED).is_ok());
        let error = refuse_large(MAX_EMBEDDED + 1).unwrap_err();
        assert_eq!(error.status(), crate::Status::Usage);
    }
}
