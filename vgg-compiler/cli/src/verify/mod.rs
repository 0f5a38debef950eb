//! `vgg verify`: a network against ONNX Runtime, layer by layer.

mod generated;
mod measure;
mod report;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use vgg_compiler::CompileOptions;
use vgg_compiler::ir::Precision;
use vgg_runtime::Isa;

pub use generated::{Array, run_generated};
pub use measure::{BOUND, rounding, rounding_bound, verify};
pub use report::{Generated, Layer, Report, Rounding};

use crate::console;
use crate::error::{Error, Status};
use crate::input::{Images, SEED};
use crate::model::{ModelArguments, weights_source};
use crate::progress::Progress;
use crate::run::{parse_threads, threads};

/// Compare a network with ONNX Runtime, layer by layer
///
/// The network is exported with the result of every layer as an output and run by ONNX Runtime, with its default
/// optimisations. It is run here twice: as it is planned, with convolution, ReLU and pooling fused, and with every value
/// stored. What was stored is compared: the difference of each layer may be 1e-5 of its result (‖a-b‖₂ / ‖b‖₂; for softmax,
/// this and twice what the scores differ by), and that of each output of the network at most 3e-5 of its largest number (for
/// softmax as much more as before). Both are twice as large where Winograd's algorithm takes part. With --quiet the exit
/// status alone speaks.
///
/// With --precision both sides compute with the same rounded weights. What the rounding itself costs is told as well: how far the
/// scores (before a softmax) are from those of the f32 weights, which may be 1e-3 (f16), 8e-3 (bf16) or 2e-2 (int8) of them
/// (‖a-b‖₂ / ‖b‖₂), and for how many images the best class is the same.
///
/// ONNX Runtime is the library that ORT_DYLIB_PATH names, or else the copy that `cargo xtask ort` has fetched into
/// target/python of this directory or one above it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vgg verify vgg-d
  vgg verify vgg-d --weights vgg16.safetensors --input images.npy --json
  vgg verify vgg-d --weights vgg16.safetensors --precision int8
  vgg verify my-network.vgg --weights my-network.safetensors --crate my-network

With --json, whether or not the bounds hold (figures that are not finite are null):
  {\"model\", \"weights\", \"input\": [N, C, H, W], \"ort_version\", \"threads\", \"isa\", \"precision\", \"pass\",
   \"max_abs\", \"max_rel\" (of the network's output, the largest of all outputs: max|a-b|, and
               max|a-b| / max|b|),
   \"normwise\" (‖a-b‖₂ / ‖b‖₂, the largest of all layers),
   \"layers\": [{\"name\", \"op\", \"shape\": [N, ..], \"max_abs\", \"max_rel\", \"normwise\"
               (the larger of the two runs), \"bound\" (of normwise), \"pass\",
               \"fused\": {\"max_abs\", \"max_rel\", \"normwise\"} of the run as planned, or null where
                        it stores no such value,
               \"in_file\" (what an ONNX file calls it)}],
   \"against_f32\": null or {\"max_abs\", \"max_rel\", \"normwise\" (of the scores of rounded weights to those of the f32 ones),
                         \"bound\" (of normwise), \"pass\", \"images\",
                         \"same_top1\" (images whose best class is the same; null for feature maps),
                         \"layers\": [{\"name\", \"normwise\"}] (of those that give vectors)},
   \"crate\": null or {\"max_abs\", \"max_rel\", \"normwise\", \"path\", \"bound\", \"pass\"}}")]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// A file with weights (.safetensors, .pth, .caffemodel, .mat, .h5, .onnx), or seeded[:N] for generated numbers [default: those of an .onnx model, or else seeded:0]
    #[arg(long, short)]
    weights: Option<OsString>,
    /// Images: little-endian f32, C order, shape [N, C, H, W] [default: one image of standard normal numbers]
    #[arg(long, short, value_name = "X.npy")]
    input: Option<PathBuf>,
    /// Build and run this crate, which `vgg build` has written, on the same input as well, with the weights that are in it
    #[arg(long = "crate", value_name = "DIR")]
    generated: Option<PathBuf>,
    /// Threads [default: VGG_NUM_THREADS, or else one for each physical core]
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    threads: Option<usize>,
    /// How the weights of fully connected layers are kept: f32, f16, bf16 or int8 (rounded once, computed with as f32)
    #[arg(long, value_name = "P", default_value = "f32")]
    precision: Precision,
    /// Sum every convolution directly: several times slower, but off by a few times less than Winograd's algorithm
    #[arg(long)]
    exact: bool,
    /// Stop before the softmax
    #[arg(long)]
    logits: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn execute(arguments: &Arguments, progress: &Progress) -> Result<ExitCode, Error> {
    let Arguments { model, weights, input, generated, threads: asked, exact, precision, logits, json } = arguments;
    let mut model = model.open()?;
    // No image becomes an input here.
    model.forget_preprocess();
    let graph = |precision: Precision| {
        let options = CompileOptions { logits: *logits, precision, ..CompileOptions::default() };
        model.compile(&options).map(|compiled| compiled.graph)
    };
    let whole = if *precision == Precision::F32 { None } else { Some(graph(Precision::F32)?) };
    let graph = graph(*precision)?;
    let source = weights_source(&model, weights.as_deref(), progress)?;
    let (threads, isa) = (threads(*asked)?, Isa::detect()?);
    let shape = graph.input_shape();
    let images = match input {
        Some(path) => Images::read(path, shape)?,
        None => Images::generated(shape, 1, SEED),
    };
    if let Some(directory) = generated {
        generated::check(directory)?;
    }
    let (mut report, expected) = verify(&graph, &source, &images, &threads, isa, *exact, progress)?;
    report.precision = *precision;
    if let Some(whole) = whole {
        report.rounding = rounding(&graph, &whole, *precision, &source, &images, &threads, isa, *exact, progress)?;
    }
    report.model = model.name().to_owned();
    for layer in &mut report.layers {
        layer.in_file = model.name_in_file(&layer.name);
    }
    if let Some(directory) = generated {
        let actual = run_generated(directory, &images, expected.len(), threads.count(), progress)?;
        let shapes: Vec<Vec<usize>> = graph.output_shapes().map(|shape| shape.dims()).collect();
        report.compare_generated(directory, &actual, &shapes, &expected)?;
    }
    if *json {
        console::print_json(&report.to_json())?;
    } else if !progress.is_silent() {
        console::print(&report.to_text())?;
    }
    if report.pass() {
        return Ok(ExitCode::SUCCESS);
    }
    console::report(&report.failure());
    Ok(ExitCode::from(Status::Comparison as u8))
}
