//! `vgg run --image`: files in, classes out.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};
use vgg_compiler::ir::{Shape, TypedGraph, ValueId};
use vgg_compiler::preprocess::{Colours, Filter, Mean, Preprocess, Resize};
use vgg_compiler::weights::WeightsSource;
use vgg_runtime::preprocess as rt;

use super::files::Files;
use super::runner::{Outputs, Runner, Settings};
use super::scores::{highest, probabilities, range};
use crate::console;
use crate::error::{Error, Status};
use crate::image::{self, Found, Picture};
use crate::labels::{Labels, labels};
use crate::lineage;
use crate::model::Model;
use crate::progress::{Progress, Unit};
use crate::table::{Align, Table};

/// Most images of one inference: enough that the fully connected layers read their weights seldom.
const BATCH: usize = 8;

/// What is to be done with the images.
pub(super) struct Job<'a> {
    pub(super) model: &'a Model,
    pub(super) graph: &'a TypedGraph,
    pub(super) source: &'a WeightsSource,
    pub(super) taps: &'a [ValueId],
    pub(super) files: &'a Files,
    /// The names of the classes that were asked for.
    pub(super) labels: Option<&'a OsStr>,
    /// The colour behind transparent pixels.
    pub(super) background: [u8; 3],
    /// How the network is run; the batch is decided here.
    pub(super) settings: Settings,
    /// How many classes are printed.
    pub(super) shown: Option<usize>,
    /// The beginning of the JSON document, when one is wanted.
    pub(super) json: Option<Value>,
}

/// An image that was computed.
struct Seen {
    path: PathBuf,
    width: usize,
    height: usize,
}

/// Runs the network on the images that `arguments` mean, and prints what it sees. The exit status tells of images that were refused.
pub(super) fn run(job: Job<'_>, arguments: &[PathBuf], progress: &Progress) -> Result<ExitCode, Error> {
    let Job { model, graph, source, taps, files, background, settings, shown, .. } = job;
    let preprocess = lineage::required(model)?;
    let classes = match graph.output_shape() {
        Shape::Flat { .. } => Some(graph.output_shape().len()),
        Shape::Image { .. } => None,
    };
    let labels = match (classes, job.labels) {
        (Some(classes), asked) => labels(asked, preprocess.classes, classes)?,
        (None, None) => None,
        (None, Some(_)) => {
            return Err(Error::usage(format!("--labels: `{}` gives images, not classes", model.name()))
                .with_help("leave --labels out"));
        }
    };
    let Found { files: paths, refused: mut all_refused } = image::find(arguments);
    files.check(model, source, &paths)?;
    all_refused.iter().for_each(|(_, error)| console::report(error));
    let step = step(preprocess, graph);
    let batch = paths.len().clamp(1, BATCH);
    let mut runner = Runner::new(graph, source, taps, Settings { batch, ..settings }, progress)?;
    let (mut seen, mut pending) = (Vec::new(), Vec::with_capacity(batch * step.len()));
    {
        let stage = progress.stage("running", paths.len() as u64, Unit::Items);
        for (index, path) in paths.into_iter().enumerate() {
            match image::read(&path, background).and_then(|picture| Ok((input(&step, &picture)?, picture))) {
                Ok((input, Picture { width, height, .. })) => {
                    pending.extend(input);
                    seen.push(Seen { path, width, height });
                }
                Err(error) => {
                    stage.aside(|| console::report(&error));
                    all_refused.push((path, error));
                }
            }
            if pending.len() == batch * step.len() {
                runner.push(&pending);
                pending.clear();
            }
            stage.at(index as u64 + 1);
        }
        if !pending.is_empty() {
            runner.push(&pending);
        }
    }
    let outputs = runner.finish();
    if !seen.is_empty() {
        files.write(&outputs, seen.len(), progress)?;
    }
    let results = Results { graph, outputs: &outputs, seen: &seen, labels: labels.as_ref(), shown: shown.unwrap_or(0) };
    if let Some(context) = job.json {
        console::print_json(&results.document(context, preprocess, &all_refused, files))?;
    } else if shown.is_some() && !seen.is_empty() {
        console::print(&results.text())?;
    }
    Ok(if all_refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(Status::Refused as u8) })
}

/// A preprocessing as the runtime does it.
fn step<'a>(preprocess: &'a Preprocess, graph: &TypedGraph) -> rt::Preprocess<'a> {
    let Preprocess { colours, range, mean, std, resize, filter, .. } = preprocess;
    let (height, width) = match graph.input_shape() {
        Shape::Image { height, width, .. } => (height, width),
        Shape::Flat { .. } => unreachable!("the input of a network is an image"),
    };
    rt::Preprocess {
        colours: match colours {
            Colours::Rgb => rt::Colours::Rgb,
            Colours::Bgr => rt::Colours::Bgr,
            Colours::Grey => rt::Colours::Grey,
        },
        white: range.white(),
        mean: match mean {
            Mean::Channels(mean) => mean,
            // Without its numbers nothing gets here.
            Mean::Image(image) => image.as_deref().unwrap_or_default(),
        },
        std,
        resize: match *resize {
            Resize::ShortSide(side) => rt::Resize::ShortSide(side),
            Resize::Stretch => rt::Resize::Stretch,
        },
        filter: match filter {
            Filter::Nearest => rt::Filter::Nearest,
            Filter::Bilinear => rt::Filter::Bilinear,
            Filter::Bicubic => rt::Filter::Bicubic,
        },
        height,
        width,
    }
}

fn input(step: &rt::Preprocess<'_>, picture: &Picture) -> Result<Vec<f32>, Error> {
    let mut input = vec![0.0; step.len()];
    step.apply(&picture.rgb, picture.width, picture.height, &mut input)?;
    Ok(input)
}

/// What is printed.
struct Results<'a> {
    graph: &'a TypedGraph,
    outputs: &'a Outputs,
    seen: &'a [Seen],
    labels: Option<&'a Labels>,
    shown: usize,
}

impl Results<'_> {
    /// The images with their outputs.
    fn images(&self) -> impl Iterator<Item = (&Seen, &[f32])> {
        self.seen.iter().zip(self.outputs.values.chunks_exact(self.outputs.shape.len()))
    }

    fn text(&self) -> String {
        let mut table = match self.outputs.shape {
            Shape::Flat { .. } => Table::new(&[
                ("image", Align::Left),
                ("class", Align::Right),
                ("probability", Align::Right),
                ("label", Align::Left),
            ]),
            Shape::Image { .. } => Table::new(&[
                ("image", Align::Left),
                ("shape", Align::Right),
                ("min", Align::Right),
                ("max", Align::Right),
                ("mean", Align::Right),
            ]),
        };
        for (seen, values) in self.images() {
            let name = shown(&seen.path);
            if let Shape::Image { .. } = self.outputs.shape {
                let mut row = vec![name, self.outputs.shape.to_string()];
                row.extend(range(values).map(|value| format!("{value:.6}")));
                table.row(row);
                continue;
            }
            let probabilities = probabilities(self.graph, values);
            for class in highest(values, self.shown) {
                let label = self.labels.and_then(|labels| labels.get(class));
                let label = label.map(|label| label.name.clone()).unwrap_or_default();
                table.row(vec![name.clone(), class.to_string(), format!("{:.6}", probabilities[class]), label]);
            }
        }
        table.render()
    }

    /// Adds the results to the object `context`.
    fn document(
        &self,
        mut context: Value,
        preprocess: &Preprocess,
        refused: &[(PathBuf, Error)],
        files: &Files,
    ) -> Value {
        let images: Vec<Value> = self
            .images()
            .map(|(seen, values)| {
                let best = match self.outputs.shape {
                    Shape::Flat { .. } => highest(values, self.shown),
                    Shape::Image { .. } => Vec::new(),
                };
                let probabilities = probabilities(self.graph, values);
                let top: Vec<Value> = best
                    .into_iter()
                    .map(|class| {
                        let label = self.labels.and_then(|labels| labels.get(class));
                        json!({
                            "index": class,
                            "score": values[class],
                            "probability": probabilities[class],
                            "label": label.map(|label| &label.name),
                            "synset": label.and_then(|label| label.synset.as_ref()),
                        })
                    })
                    .collect();
                let [min, max, mean] = range(values);
                json!({
                    "file": seen.path.display().to_string(), "width": seen.width, "height": seen.height,
                    "top": top, "min": min, "max": max, "mean": mean,
                })
            })
            .collect();
        let refused: Vec<Value> = refused
            .iter()
            .map(|(path, error)| json!({"file": path.display().to_string(), "error": error.to_string()}))
            .collect();
        let dims = |shape: Shape| std::iter::once(self.seen.len()).chain(shape.dims()).collect::<Vec<_>>();
        let written = |path: &Path| (!self.seen.is_empty()).then(|| path.display().to_string());
        let path = |name: &str| files.taps.iter().find(|(tap, _)| tap == name).and_then(|(_, path)| written(path));
        let taps: Vec<Value> = self
            .outputs
            .taps
            .iter()
            .map(|tap| json!({"name": tap.name, "shape": dims(tap.shape), "path": path(&tap.name)}))
            .collect();
        context["preprocessing"] = lineage::document(preprocess);
        context["output"] = json!(dims(self.outputs.shape));
        context["images"] = json!(images);
        context["refused"] = json!(refused);
        context["written"] = json!(files.output.as_deref().and_then(written));
        context["taps"] = json!(taps);
        context
    }
}

/// A path as a table shows it: nothing in it that a terminal would obey.
fn shown(path: &Path) -> String {
    path.display().to_string().chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
