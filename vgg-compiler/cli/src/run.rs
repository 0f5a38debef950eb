//! `vgg run`: a network on images, in this process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vgg_compiler::ir::{Op, Shape, TypedGraph, ValueId};
use vgg_compiler::plan::{self, PlanOptions};
use vgg_compiler::weights::WeightsSource;
use vgg_compiler::{CompileOptions, Compiled};
use vgg_runtime::{Isa, Threads, npy};

use crate::console;
use crate::error::Error;
use crate::export::refuse_input;
use crate::input::Images;
use crate::model::{Model, load_weights, weights_source};
use crate::progress::{Progress, Unit};
use crate::session::Session;
use crate::staging::{Staging, same_file};
use crate::table::{Align, Table};

/// Run a network on the images of a NumPy array
///
/// Prints the classes of the highest scores for each image (those of equal scores in the order of their numbers), or for a
/// network that ends in feature maps their range. With --output the scores of all classes are written instead; --top asks
/// for both. The result does not depend on the number of threads, nor on how many images there are.
///
/// --tap LAYER writes what a layer computes to LAYER.npy, in the directory of --output or else in the current one: any layer
/// of `vgg show MODEL --json`. Nothing is fused across a tapped value.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vgg run vgg-d --weights vgg16.safetensors --input images.npy
  vgg run vgg-d --weights vgg16.safetensors --input images.npy --output scores.npy --top 1
  vgg run my-network.vgg --input images.npy --tap conv1_1 --tap pool1 --json

With --json (numbers that are not finite are null):
  {\"model\", \"weights\", \"input\": [N, C, H, W], \"threads\", \"isa\" (vector instructions),
   \"output\": [N, ..],
   \"images\": [{\"top\": [{\"index\", \"score\"}] (empty for feature maps), \"min\", \"max\", \"mean\"}],
   \"written\": path or null, \"taps\": [{\"name\", \"shape\": [N, ..], \"path\"}]}")]
pub struct Arguments {
    /// A built-in variant (see `vgg list`) or the path of a .vgg or .onnx file
    model: OsString,
    /// Images: little-endian f32, C order, shape [N, C, H, W] with any N
    #[arg(long, short, value_name = "X.npy")]
    input: PathBuf,
    /// A file with weights (.safetensors, .pth, .caffemodel, .mat, .h5, .onnx), or seeded[:N] for generated numbers [default: those of an .onnx model, or else seeded:0]
    #[arg(long, short)]
    weights: Option<OsString>,
    /// Write the output of the network as an array: [N, classes], or [N, C, H, W]
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

/// What [`run()`] gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Outputs {
    /// Shape of the output of one image.
    pub shape: Shape,
    /// The output, one image after the other.
    pub values: Vec<f32>,
    /// The values that were asked for, in that order.
    pub taps: Vec<Tap>,
}

/// An intermediate value.
#[derive(Debug, Clone, PartialEq)]
pub struct Tap {
    /// The layer that makes it.
    pub name: String,
    /// Its shape for one image.
    pub shape: Shape,
    /// Its numbers, one image after the other.
    pub values: Vec<f32>,
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
    let weights = load_weights(source, graph, progress)?;
    let batch = batch(images.count);
    let plan = plan::plan(graph, &PlanOptions { batch, barriers: taps.to_vec(), exact })?;
    let mut session = Session::new(graph, plan, &weights, threads, isa)?;
    // The session has its own, packed.
    drop(weights);
    let tap = |&id: &ValueId| Tap { name: graph.values[id.0].name.clone(), shape: graph.shape(id), values: Vec::new() };
    let mut outputs = Outputs { shape: graph.output_shape(), values: Vec::new(), taps: taps.iter().map(tap).collect() };
    outputs.values.resize(images.count * outputs.shape.len(), 0.0);
    let stage = progress.stage("running", images.count as u64, Unit::Items);
    let inputs = images.values.chunks_exact(session.input_len());
    for (index, (input, output)) in inputs.zip(outputs.values.chunks_exact_mut(session.output_len())).enumerate() {
        session.run_observed(input, output, &mut |step, values| {
            // Steps without a layer only change the layout of a value that was seen before.
            if let Some(position) = taps.iter().position(|&id| id == step.value && !step.layers.is_empty()) {
                outputs.taps[position].values.extend_from_slice(values);
            }
        });
        stage.at(((index + 1) * batch) as u64);
    }
    Ok(outputs)
}

/// Images of one inference: what divides `count` and lets the fully connected layers read their weights seldom.
fn batch(count: usize) -> usize {
    (1..=8).rev().find(|batch| count.is_multiple_of(*batch)).unwrap_or(1)
}

pub(crate) fn execute(arguments: &Arguments, progress: &Progress) -> Result<(), Error> {
    let Arguments { model, input, weights, output, top, tap, threads: asked, logits, json, exact } = arguments;
    let model = Model::open(model)?;
    let compiled = model.compile(&CompileOptions { logits: *logits, ..CompileOptions::default() })?;
    let taps = resolve(&compiled, tap)?;
    let graph = compiled.graph;
    let files = Files::new(output.as_deref(), tap);
    let source = weights_source(&model, weights.as_deref(), progress)?;
    files.check(&model, &source, input)?;
    let (threads, isa) = (threads(*asked)?, Isa::detect()?);
    let count = threads.count();
    let images = Images::read(input, graph.input_shape())?;
    let outputs = run(&graph, &source, &images, &taps, threads, isa, *exact, progress)?;
    files.write(&outputs, images.count, progress)?;

    let shown = top.map(|top| top as usize).or((output.is_none() || *json).then_some(TOP));
    if *json {
        let context = json!({
            "model": model.name(), "weights": source.to_string(), "input": images.dims(),
            "threads": count, "isa": isa.name(),
        });
        console::print_json(&document(context, &outputs, &files, images.count, shown.unwrap_or(TOP)))
    } else if let Some(shown) = shown {
        console::print(&text(&outputs, shown))
    } else {
        Ok(())
    }
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

/// The files that are written.
struct Files {
    output: Option<PathBuf>,
    /// Names of layers and the files of their values.
    taps: Vec<(String, PathBuf)>,
}

impl Files {
    fn new(output: Option<&Path>, taps: &[String]) -> Self {
        let directory = output.and_then(Path::parent).unwrap_or(Path::new(""));
        // Names of layers are C identifiers: nothing in them leads out of the directory.
        let tap = |name: &String| (name.clone(), directory.join(format!("{name}.npy")));
        Self { output: output.map(Path::to_owned), taps: taps.iter().map(tap).collect() }
    }

    /// Refuses to overwrite what is read, and to write two arrays to one file.
    fn check(&self, model: &Model, source: &WeightsSource, input: &Path) -> Result<(), Error> {
        for path in self.output.iter().chain(self.taps.iter().map(|(_, path)| path)) {
            refuse_input(path, model, source)?;
            if same_file(path, input) {
                return Err(Error::usage(format!("{}: the result would overwrite the input", path.display()))
                    .with_help("choose another name for the result"));
            }
        }
        match &self.output {
            Some(output) if self.taps.iter().any(|(_, path)| path == output) => {
                Err(Error::usage(format!("{}: the output and a tapped layer would be one file", output.display()))
                    .with_help("choose another name for the output"))
            }
            _ => Ok(()),
        }
    }

    fn write(&self, outputs: &Outputs, count: usize, progress: &Progress) -> Result<(), Error> {
        let write = |path: &Path, shape: Shape, values: &[f32]| {
            let dims: Vec<usize> = std::iter::once(count).chain(shape.dims()).collect();
            write_array(path, &dims, values)?;
            progress.note(&format!("wrote {}", path.display()));
            Ok::<(), Error>(())
        };
        for tap in &outputs.taps {
            if let Some((_, path)) = self.taps.iter().find(|(name, _)| name == &tap.name) {
                write(path, tap.shape, &tap.values)?;
            }
        }
        match &self.output {
            Some(path) => write(path, outputs.shape, &outputs.values),
            None => Ok(()),
        }
    }
}

/// Writes an array at `path`, whole or not at all.
fn write_array(path: &Path, dims: &[usize], values: &[f32]) -> Result<(), Error> {
    const NAME: &str = "array.npy";
    let writing = |error| Error::writing(path, &error);
    let mut staging = Staging::for_file(path).map_err(writing)?;
    npy::write_f32(&staging.path().join(NAME), dims, values).map_err(|error| match error {
        vgg_runtime::Error::Io { source, .. } => writing(source),
        error => error.into(),
    })?;
    staging.move_file(NAME, path).map_err(writing)
}

/// The indices of the `count` highest scores, the highest first; of equal ones the lowest index.
fn highest(scores: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order.truncate(count);
    order
}

/// Least, greatest and mean value.
fn range(values: &[f32]) -> [f64; 3] {
    let values = || values.iter().map(|&value| f64::from(value));
    let mean = values().sum::<f64>() / values().len().max(1) as f64;
    [values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max), mean]
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
    fn the_batch_divides_the_images() {
        for (count, expected) in [(1, 1), (2, 2), (7, 7), (8, 8), (1000, 8), (11, 1), (9, 3)] {
            assert_eq!(batch(count), expected, "{count}");
        }
    }

    #[test]
    fn the_highest_come_first_and_equal_ones_in_order() {
        assert_eq!(highest(&[0.1, 0.7, 0.7, 0.2], 3), [1, 2, 3]);
        assert_eq!(highest(&[1.0], 5), [0]);
    }
}
