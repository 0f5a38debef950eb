//! `vgg bench`: how long a network takes, and how far the machine's own limits are.

mod measure;
mod memory;
mod report;
mod roofline;
mod serve;
mod statistics;

use std::ffi::OsString;
use std::path::PathBuf;

use vgg_compiler::ir::Precision;
use vgg_runtime::Isa;

pub use measure::{Options, bench};
pub use report::{Layer, NOISE, Peer, Report};
pub use roofline::{Bound, Limits, Work};
pub use statistics::Statistics;

use crate::console;
use crate::error::Error;
use crate::model::{ModelArguments, weights_source};
use crate::progress::Progress;
use crate::run::{parse_threads, threads};

/// Measure how long a network takes, step by step, against the machine's limits
///
/// The time of one inference is the median of many runs on generated images, after a few that do not count. Each step of the
/// plan has its own median, its rate of arithmetic (two operations for each multiply-accumulate of the layer), the rate at
/// which its parameters and activations move (each counted once), and its share of the machine's limit: the least time that
/// its arithmetic or its bytes can take, as a part of the time it took. Both limits, the peak of multiply-adds and the speed of
/// reading memory, are measured in the same process with the same threads. Activations that stay in caches can be faster
/// than memory: more than 100 % is possible.
///
/// Loading is from the weights file, as it lies in the system's cache, to a network that can compute; generated and rounded weights
/// are written to a temporary file first. The first inference transforms large weights as it goes, the second packs them. The peak of memory
/// is that after the second inference.
///
/// With --against ort ONNX Runtime computes the exported network in the same process, with as many threads, and the two take
/// turns run by run. It is the library that ORT_DYLIB_PATH names, or else the copy that `cargo xtask ort` has fetched into
/// target/python of this directory or one above it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vgg bench vgg-d
  vgg bench vgg-d --weights vgg16.safetensors --threads 1 --runs 31
  vgg bench vgg-d --precision int8
  vgg bench my-network.vgg --batch 8 --against ort --json

With --json (times in milliseconds; rates in 10^9 a second; numbers that are not finite are null):
  {\"model\", \"weights\", \"batch\", \"runs\", \"threads\", \"precision\" (of fully connected weights), \"isa\" (vector instructions),
   \"median_ms\", \"min_ms\", \"max_ms\", \"spread\" (10th to 90th percentile, as a part of the median),
   \"noisy\" (a spread above 0.1), \"images_per_second\",
   \"first_ms\", \"second_ms\" (the first inferences; the second packs large weights), \"load_ms\" (from the weights file),
   \"peak_rss_bytes\" (null where the system does not tell),
   \"limits\": {\"gflops\", \"gbytes_per_second\"},
   \"floor_ms\" (the least time that the limits allow), \"limit_percent\" (floor_ms / median_ms),
   \"layers\": the steps of the plan, in order: [{\"name\", \"layers\": [..], \"computes\", \"algorithm\",
               \"median_ms\", \"min_ms\", \"max_ms\", \"spread\", \"flops\", \"bytes\", \"gflops\", \"gbytes_per_second\",
               \"limit\": \"arithmetic\" or \"memory\", \"floor_ms\", \"limit_percent\",
               \"in_file\": [..] (nodes of an ONNX file that it begins with)}],
   \"ort\": null or {\"version\", \"median_ms\", \"min_ms\", \"max_ms\", \"spread\", \"noisy\", \"images_per_second\",
           \"first_ms\", \"load_ms\", \"ratio\" (its median / this one: above 1 it is slower)}}")]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// A file with weights (.safetensors, .pth, .caffemodel, .mat, .h5, .onnx), or seeded[:N] for generated numbers [default: those of an .onnx model, or else seeded:0]
    #[arg(long, short)]
    weights: Option<OsString>,
    /// Threads [default: VGG_NUM_THREADS, or else one for each physical core]
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    threads: Option<usize>,
    /// Runs that are measured
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: u32,
    /// Images of one inference
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// How the weights of fully connected layers are kept: f32, f16, bf16 or int8 (rounded once, computed with as f32)
    #[arg(long, value_name = "P", default_value = "f32")]
    precision: Precision,
    /// Sum every convolution directly: no transforms, which multiply less and round more
    #[arg(long)]
    exact: bool,
    /// Measure this as well, run by run in turns
    #[arg(long, value_name = "WHAT")]
    against: Option<Against>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Compute on these images whenever a line arrives on standard input: for `cargo xtask bench --peers`
    #[arg(long, value_name = "X.npy", hide = true, conflicts_with_all = ["runs", "batch", "against", "json"])]
    serve: Option<PathBuf>,
}

/// What a network can be measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Against {
    /// ONNX Runtime.
    Ort,
}

pub(crate) fn execute(arguments: &Arguments, progress: &Progress) -> Result<(), Error> {
    let Arguments { model, weights, threads: asked, runs, batch, exact, precision, against, json, serve } = arguments;
    let mut model = model.open()?;
    // No image becomes an input here.
    model.forget_preprocess();
    let source = weights_source(&model, weights.as_deref(), progress)?;
    let (threads, isa) = (threads(*asked)?, Isa::detect()?);
    if let Some(input) = serve {
        return serve::serve(&model, &source, input, &threads, isa, *exact, *precision, progress);
    }
    let options = Options {
        batch: *batch as usize,
        runs: *runs as usize,
        threads,
        isa,
        exact: *exact,
        precision: *precision,
        against_ort: *against == Some(Against::Ort),
    };
    let report = bench(&model, &source, &options, progress)?;
    if *json {
        let mut document = report.to_json();
        for layer in document["layers"].as_array_mut().into_iter().flatten() {
            let name = layer["name"].as_str().unwrap_or_default();
            layer["in_file"] = model.names_in_file(name).into();
        }
        console::print_json(&document)?;
    } else {
        console::print(&report.to_text())?;
    }
    if let Some(warning) = report.warning() {
        progress.note(&warning);
    }
    Ok(())
}
