//! `vgg run`: a network on images, in this process.

mod files;
mod images;
mod runner;
mod scores;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};
use vgg_compiler::ir::{Op, Precision, Shape, TypedGraph, ValueId};
use vgg_compiler::weights::WeightsSource;
use vgg_compiler::{CompileOptions, Compiled};
use vgg_runtime::{Isa, Threads};

use crate::console;
use crate::error::Error;
use crate::input::Images;
use crate::lineage::{Asked, decide};
use crate::model::{ModelArguments, weights_source};
use crate::progress::{Progress, Unit};
use crate::table::{Align, Table};
use files::Files;
pub use runner::{Outputs, Tap};
use runner::{Runner, Settings};
use scores::{highest, range};

/// Run a network on images, or on a NumPy array of inputs
///
/// Prints the classes of the highest scores for each image (those of equal scores in the order of their numbers), or for a
/// network that ends in feature maps their range. With --output the scores of all classes are written instead; --top asks
/// for both. The result does not depend on the number of threads, nor on how many images there are.
///
/// --image takes files as cameras and browsers write them, and says for each how probable its classes are (the softmax of the
/// scores, where the network does not end in one). How an image becomes the input (colour order, range, mean, size) is what
/// the declaration or the weights record, or what --preprocess says; where nothing is known nothing is guessed. An image that
/// cannot be read is reported, the others are computed, and the exit status is 3.
///
/// --tap LAYER writes what a layer computes to LAYER.npy, in the directory of --output or else in the current one: any layer
/// of `vgg show MODEL --json`, under its own name or that of the ONNX file. Nothing is fused across a tapped value.
///
/// Of a network with several outputs, the first is printed and written by --output; --tap writes the others, whose layers
/// `vgg show MODEL` names.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vgg run vgg-d --weights vgg16.safetensors --image cat.jpg --preprocess torchvision
  vgg run vgg-d --weights vgg16.safetensors --image photos '*.png' --top 1 --json
  vgg run vgg-d --weights vgg16.safetensors --input images.npy --output scores.npy --top 1
  vgg run my-network.vgg --input images.npy --tap conv1_1 --tap pool1 --json

With --input and --json (numbers that are not finite are null):
  {\"model\", \"weights\", \"input\": [N, C, H, W], \"precision\", \"threads\", \"isa\" (vector instructions),
   \"output\": [N, ..],
   \"images\": [{\"top\": [{\"index\", \"score\"}] (empty for feature maps), \"min\", \"max\", \"mean\"}],
   \"written\": path or null, \"taps\": [{\"name\", \"shape\": [N, ..], \"path\"}]}
With --image and --json:
  {\"model\", \"weights\", \"precision\", \"threads\", \"isa\", \"preprocessing\": {\"name\" (of a preset, or null), \"text\",
     \"colours\", \"range\", \"mean\": [..] or \"image\", \"std\": [..], \"resize\": shorter side or \"stretch\", \"filter\", \"classes\"},
   \"output\": [N, ..],
   \"images\": [{\"file\", \"width\", \"height\" (upright), \"top\": [{\"index\", \"score\", \"probability\",
               \"label\", \"synset\" (null where unknown)}], \"min\", \"max\", \"mean\"}],
   \"refused\": [{\"file\", \"error\"}], \"written\", \"taps\"}")]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// An array of inputs: little-endian f32, C order, shape [N, C, H, W] with any N
    #[arg(long, short, value_name = "X.npy", required_unless_present = "image", conflicts_with_all = ["image", "preprocess", "mean_image"])]
    input: Option<PathBuf>,
    /// Images: PNG, JPEG, WebP, BMP or GIF files, directories of them, or patterns such as 'photos/*.jpg'
    #[arg(long, value_name = "FILE", num_args = 1..)]
    image: Vec<PathBuf>,
    #[command(flatten)]
    asked: Asked,
    /// Names of the classes: imagenet, imagenet-ilsvrc, fashion-mnist, or a file of one a line [default: of a known preprocessing]
    #[arg(long, value_name = "NAME|FILE", conflicts_with = "input")]
    labels: Option<OsString>,
    /// The colour behind transparent pixels, as RRGGBB
    #[arg(long, value_name = "RRGGBB", default_value = "ffffff", value_parser = parse_colour, conflicts_with = "input")]
    background: [u8; 3],
    /// A file with weights (.safetensors, .pth, .caffemodel, .mat, .h5, .onnx), or seeded[:N] for generated numbers [default: those of an .onnx model, or else seeded:0]
    #[arg(long, short)]
    weights: Option<OsString>,
    /// Write the (first) output of the network as an array: [N, classes], or [N, C, H, W]
    #[arg(long, short, value_name = "Y.npy")]
    output: Option<PathBuf>,
    /// How many classes to print for each image [default: 5, and none with --output]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    top: Option<u32>,
    /// Write what this layer computes to LAYER.npy; may be given several times
    #[arg(long, value_name = "LAYER", num_args = 1..)]
    tap: Vec<String>,
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

/// A colour as six hexadecimal digits.
fn parse_colour(text: &str) -> Result<[u8; 3], String> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    match u32::from_str_radix(digits, 16) {
        Ok(colour) if digits.len() == 6 && !digits.starts_with('+') => {
            let [_, red, green, blue] = colour.to_be_bytes();
            Ok([red, green, blue])
        }
        _ => Err("expected six hexadecimal digits, such as 808080".into()),
    }
}

/// How many classes are printed.
const TOP: usize = 5;

/// A number of threads, as `VGG_NUM_THREADS` has it.
pub(crate) fn parse_threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=1024) => Ok(threads),
        _ => Err("expected a number from 1 to 1024".into()),
    }
}

/// The threads that were asked for.
pub(crate) fn threads(asked: Option<usize>) -> Result<Threads, Error> {
    match asked {
        Some(count) => Ok(Threads::new(count)),
        None => Ok(Threads::from_env()?),
    }
}

/// Runs the network `graph` on `images`, and keeps what the layers `taps` compute. With `exact`, every convolution is summed directly.
///
/// # Errors
///
/// When there is no such layer, or the weights do not fit.
pub fn run(
    graph: &TypedGraph,
    source: &WeightsSource,
    images: &Images,
    taps: &[ValueId],
    threads: Threads,
    isa: Isa,
    exact: bool,
    progress: &Progress,
) -> Result<Outputs, Error> {
    let settings = Settings { batch: batch(images.count), threads, isa, exact };
    let mut runner = Runner::new(graph, source, taps, settings, progress)?;
    let stage = progress.stage("running", images.count as u64, Unit::Items);
    let batch = runner.batch();
    for (index, input) in images.values.chunks_exact(batch * images.shape.len()).enumerate() {
        runner.push(input);
        stage.at(((index + 1) * batch) as u64);
    }
    Ok(runner.finish())
}

/// Images of one inference: what divides `count` and lets the fully connected layers read their weights seldom.
fn batch(count: usize) -> usize {
    (1..=8).rev().find(|batch| count.is_multiple_of(*batch)).unwrap_or(1)
}

pub(crate) fn execute(arguments: &Arguments, progress: &Progress) -> Result<ExitCode, Error> {
    let Arguments {
        model,
        input,
        image,
        weights,
        output,
        top,
        tap,
        threads: asked,
        logits,
        json,
        exact,
        precision,
        ..
    } = arguments;
    let mut model = model.open()?;
    let source = weights_source(&model, weights.as_deref(), progress)?;
    if input.is_none() {
        decide(&mut model, &source, &arguments.asked, progress)?;
    }
    let options = CompileOptions { logits: *logits, precision: *precision, ..CompileOptions::default() };
    let compiled = model.compile(&options)?;
    let tap: Vec<String> = tap.iter().map(|name| model.layer(name).to_owned()).collect();
    let taps = resolve(&compiled, &tap)?;
    let graph = compiled.graph;
    let files = Files::new(output.as_deref(), &tap);
    let shown = top.map(|top| top as usize).or((output.is_none() || *json).then_some(TOP));
    let (threads, isa) = (threads(*asked)?, Isa::detect()?);
    let count = threads.count();
    let Some(input) = input else {
        let context = json!({
            "model": model.name(), "weights": source.to_string(), "precision": precision.name(), "threads": count,
            "isa": isa.name(),
        });
        let job = images::Job {
            model: &model,
            graph: &graph,
            source: &source,
            taps: &taps,
            files: &files,
            labels: arguments.labels.as_deref(),
            background: arguments.background,
            settings: Settings { batch: 1, threads, isa, exact: *exact },
            shown,
            json: json.then_some(context),
        };
        return images::run(job, image, progress);
    };
    files.check(&model, &source, &[input])?;
    let images = Images::read(input, graph.input_shape())?;
    let outputs = run(&graph, &source, &images, &taps, threads, isa, *exact, progress)?;
    files.write(&outputs, images.count, progress)?;
    if *json {
        let context = json!({
            "model": model.name(), "weights": source.to_string(), "input": images.dims(),
            "precision": precision.name(), "threads": count, "isa": isa.name(),
        });
        console::print_json(&document(context, &outputs, &files, images.count, shown.unwrap_or(TOP)))?;
    } else if let Some(shown) = shown {
        console::print(&text(&outputs, shown))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The values of these names.
fn resolve(Compiled { graph, declared, .. }: &Compiled, names: &[String]) -> Result<Vec<ValueId>, Error> {
    let mut values = Vec::new();
    for name in names {
        let Some(node) = graph.nodes.iter().find(|node| &node.name == name) else {
            let error =
                Error::usage(format!("--tap: the network `{}` computes no layer `{name}` at inference", graph.name));
            if let Some(node) = declared.nodes.iter().find(|node| &node.name == name) {
                let before = declared.nodes.iter().find(|before| node.inputs.contains(&before.output));
                let before = before.map_or("input", |before| &before.name);
                return Err(match node.op {
                    Op::Dropout { .. } => error.with_help(format!("dropout does nothing at inference: tap `{before}`")),
                    _ => error.with_help(format!("it is folded into `{before}`: tap that")),
                });
            }
            let layers = graph.nodes.iter().map(|node| node.name.as_str());
            let nearest = layers.min_by_key(|layer| strsim::osa_distance(layer, name));
            let close = nearest.filter(|layer| strsim::osa_distance(layer, name) <= name.len().max(4) / 2);
            return Err(match close {
                Some(layer) => {
                    error.with_help(format!("did you mean `{layer}`? `vgg show MODEL --json` lists all layers"))
                }
                None => error.with_help("`vgg show MODEL --json` lists all layers"),
            });
        };
        if !values.contains(&node.output) {
            values.push(node.output);
        }
    }
    Ok(values)
}

fn text(outputs: &Outputs, shown: usize) -> String {
    let images = outputs.values.chunks_exact(outputs.shape.len()).enumerate();
    match outputs.shape {
        Shape::Flat { .. } => {
            let mut table = Table::new(&[("image", Align::Right), ("index", Align::Right), ("score", Align::Right)]);
            for (image, scores) in images {
                for index in highest(scores, shown) {
                    table.row(vec![image.to_string(), index.to_string(), format!("{:.6}", scores[index])]);
                }
            }
            table.render()
        }
        Shape::Image { .. } => {
            let columns = ["image", "shape", "min", "max", "mean"].map(|name| (name, Align::Right));
            let mut table = Table::new(&columns);
            for (image, values) in images {
                let mut row = vec![image.to_string(), outputs.shape.to_string()];
                row.extend(range(values).map(|value| format!("{value:.6}")));
                table.row(row);
            }
            table.render()
        }
    }
}

/// Adds the results to the object `context`.
fn document(mut context: Value, outputs: &Outputs, files: &Files, count: usize, shown: usize) -> Value {
    let dims = |shape: Shape| std::iter::once(count).chain(shape.dims()).collect::<Vec<_>>();
    let images: Vec<Value> = outputs
        .values
        .chunks_exact(outputs.shape.len())
        .map(|values| {
            let best = match outputs.shape {
                Shape::Flat { .. } => highest(values, shown),
                Shape::Image { .. } => Vec::new(),
            };
            let top: Vec<Value> = best.iter().map(|&index| json!({"index": index, "score": values[index]})).collect();
            let [min, max, mean] = range(values);
            json!({"top": top, "min": min, "max": max, "mean": mean})
        })
        .collect();
    let path = |name: &str| files.taps.iter().find(|(tap, _)| tap == name).map(|(_, path)| path.display().to_string());
    let taps: Vec<Value> = outputs
        .taps
        .iter()
        .map(|tap| json!({"name": tap.name, "shape": dims(tap.shape), "path": path(&tap.name)}))
        .collect();
    context["output"] = json!(dims(outputs.shape));
    context["images"] = json!(images);
    context["written"] = json!(files.output.as_ref().map(|path| path.display().to_string()));
    context["taps"] = json!(taps);
    context
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_six_digits() {
        assert_eq!(parse_colour("0a80ff"), Ok([10, 128, 255]));
        assert_eq!(parse_colour("#FFFFFF"), Ok([255; 3]));
        for wrong in ["", "fff", "0a80fg", "+a80ff", "0a80ff00", "white"] {
            assert!(parse_colour(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_batch_divides_the_images() {
        for (count, expected) in [(1, 1), (2, 2), (7, 7), (8, 8), (1000, 8), (11, 1), (9, 3)] {
            assert_eq!(batch(count), expected, "{count}");
        }
    }
}
