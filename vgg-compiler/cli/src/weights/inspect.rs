//! `vgg weights inspect`: what is in a file with weights, and what network it fits.

use std::path::PathBuf;

use serde_json::{Value, json};
use vgg_compiler::onnx;
use vgg_compiler::weights::readers::{self, SourceFormat, WeightsFile};
use vgg_compiler::weights::{SourceTensor, WeightsSource};

use super::identify::{Fit, identify, outline};
use super::statistics::Statistics;
use crate::console;
use crate::error::Error;
use crate::lineage;
use crate::mapped;
use crate::progress::{Progress, Unit};
use crate::table::{Align, Table};

/// Show what is in a file with weights: names, shapes, statistics, and which network they fit
///
/// A file with NaN or infinities is shown, though no command computes with it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vgg weights inspect vgg16-397923af.pth
  vgg weights inspect imagenet-vgg-s.mat --json

With --json (numbers of tensors are null where a tensor has no finite element):
  {\"file\", \"format\", \"convention\" (whose names and layout), \"colour_order\" (of the published files of that kind, or null),
   \"preprocessing\" (what the file itself records, as `vgg show --json` has it, or null),
   \"network\" (as the file calls it, or null), \"layers\" (in the notation of .vgg files), \"notes\": [..],
   \"tensors\": [{\"name\", \"shape\": [..], \"dtype\", \"min\", \"max\", \"mean\", \"std\", \"not_finite\", \"denormal\"}],
   \"fits\": [{\"model\", \"certainty\": \"certain\"|\"likely\", \"reasons\": [..]}],
   \"closest\": {\"model\", \"same\" (layers), \"layers\", \"found\"} or null}")]
pub(crate) struct Arguments {
    /// The file with weights: PyTorch, Caffe, MatConvNet, Keras, ONNX or safetensors
    file: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn execute(arguments: &Arguments, progress: &Progress) -> Result<(), Error> {
    let Arguments { file: path, json } = arguments;
    let (file, preprocess) = if onnx::is_onnx(path) {
        let onnx::Imported { network, tensors, recognised, notes, .. } =
            onnx::import(path, &onnx::ImportOptions::default())?;
        let notes = std::iter::once(format!("recognised as {recognised}")).chain(notes).collect();
        (readers::imported(&tensors, notes), network.preprocess().cloned())
    } else {
        let mut file = readers::open(path)?;
        let recorded = match file.preprocess.take() {
            None => mapped::lineage(&WeightsSource::File(path.clone())),
            recorded => Ok(recorded),
        };
        // A file that no command computes with is shown.
        let recorded = recorded.unwrap_or_else(|error| {
            file.notes.push(error.to_string());
            None
        });
        (file, recorded)
    };
    let width = |tensor: &SourceTensor| tensor.view.element().width() as u64;
    let total = file.tensors.iter().map(|tensor| tensor.view.len() as u64 * width(tensor)).sum();
    let stage = progress.stage(format!("reading {}", path.display()), total, Unit::Bytes);
    let mut done = 0;
    let statistics: Vec<Statistics> = file
        .tensors
        .iter()
        .map(|tensor| {
            let statistics = Statistics::of(&tensor.view);
            done += statistics.count * width(tensor);
            stage.at(done);
            statistics
        })
        .collect();
    drop(stage);
    let (fits, closest) = identify(&file)?;
    if *json {
        let closest = closest.map(|(model, comparison)| {
            json!({"model": model, "same": comparison.same, "layers": comparison.layers, "found": comparison.found})
        });
        return console::print_json(&json!({
            "file": path.display().to_string(),
            "format": file.container.name(),
            "convention": file.source.name(),
            "colour_order": file.source.colour_order().map(|order| order.to_string()),
            "preprocessing": preprocess.as_ref().map(lineage::document),
            "network": file.network,
            "layers": outline(&file),
            "notes": file.notes,
            "tensors": file.tensors.iter().zip(&statistics).map(|(tensor, found)| document(tensor, found)).collect::<Vec<_>>(),
            "fits": fits.iter().map(|Fit { model, certainty, reasons, .. }| {
                json!({"model": model, "certainty": certainty.name(), "reasons": reasons})
            }).collect::<Vec<_>>(),
            "closest": closest,
        }));
    }
    let mut text = format!("{}: {}", path.display(), file.container);
    if let Some(network) = &file.network {
        text += &format!(", network `{}`", network.escape_debug());
    }
    text += &format!("\n\n{}\n", table(&file, &statistics));
    text += &format!("layers: {}\n", outline(&file));
    for note in &file.notes {
        text += &format!("note: {note}\n");
    }
    if file.source != SourceFormat::Unknown {
        text += &format!("convention: {}\n", file.source.name());
    }
    if let Some(preprocess) = &preprocess {
        text += &format!("preprocessing: {}\n", preprocess.described());
    }
    // What the file says itself counts, not what others of its kind are.
    let known = fits.first().map(|_| file.source).filter(|_| preprocess.is_none());
    for clause in
        known.and_then(SourceFormat::preprocessing).into_iter().chain(known.and_then(SourceFormat::class_order))
    {
        text += &format!("images: {clause}\n");
    }
    for Fit { model, certainty, reasons, .. } in &fits {
        text += &format!("fits {model} ({}): {}\n", certainty.name(), reasons.join("; "));
    }
    if fits.is_empty() && closest.as_ref().is_none_or(|(_, comparison)| comparison.same == 0) {
        text += "fits none of the built-in networks\n";
    } else if let Some((model, comparison)) = closest {
        text += &format!(
            "fits none of the built-in networks; the closest is {model}: {} of its {} layers have the shape of the file's, which \
             has {} layers with weights\n",
            comparison.same, comparison.layers, comparison.found
        );
    }
    let broken: u64 = statistics.iter().map(|found| found.not_finite).sum();
    if broken > 0 {
        text += &format!("{broken} numbers are NaN or infinite: no command computes with this file\n");
    }
    console::print(&text)
}

fn table(file: &WeightsFile, statistics: &[Statistics]) -> String {
    let mut table = Table::new(&[
        ("tensor", Align::Left),
        ("shape", Align::Left),
        ("type", Align::Left),
        ("min", Align::Right),
        ("max", Align::Right),
        ("mean", Align::Right),
        ("std", Align::Right),
        ("not finite", Align::Right),
        ("denormal", Align::Right),
    ]);
    let number = |value: f64| if value.is_nan() { String::new() } else { format!("{value:.4}") };
    let count = |count: u64| if count == 0 { String::new() } else { count.to_string() };
    for (SourceTensor { name, view }, found) in file.tensors.iter().zip(statistics) {
        let shape = view.shape().iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        table.row(vec![
            name.escape_debug().to_string(),
            shape,
            view.element().to_string(),
            number(found.min),
            number(found.max),
            number(found.mean),
            number(found.std),
            count(found.not_finite),
            count(found.denormal),
        ]);
    }
    table.render()
}

fn document(SourceTensor { name, view }: &SourceTensor, found: &Statistics) -> Value {
    let number = |value: f64| value.is_finite().then_some(value);
    json!({
        "name": name,
        "shape": view.shape(),
        "dtype": view.element().to_string(),
        "min": number(found.min),
        "max": number(found.max),
        "mean": number(found.mean),
        "std": number(found.std),
        "not_finite": found.not_finite,
        "denormal": found.denormal,
    })
}
