//! Networks of MatConvNet: a cell of layers, each a structure with its type, its name and its numbers.
//!
//! ```text
//! layers{i}.type, .name, .weights{1} (filters [height, width, in, out]), .weights{2} (biases)      since 1.0-beta17
//! layers{i}.filters, .biases                                                                       before
//! net.layers                                                                                       as `save net` gives it
//! ```
//!
//! Source: matlab/simplenn/vl_simplenn.m, vl_simplenn_tidy.m and matlab/vl_nnbnorm.m of vlfeat/matconvnet at 1e5ae7b7.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use bytes::Bytes;

use super::budget::Budget;
use super::file::{Container, Part, Role, SourceLayer, WeightsFile};
use super::lineage::SourceFormat;
use super::mat::{self, Array};
use super::meta::{Meta, meta};
use super::problem::Problem;
use crate::preprocess::Preprocess;
use crate::weights::tensors::Tensor;
use crate::weights::view::{SourceTensor, View};

const NOT_MATCONVNET: &str = "only networks of MatConvNet are read from MATLAB files; other arrays are written in Python with \
    `safetensors.numpy.save_file`";

/// The network in `data`.
pub(super) fn read(data: Bytes, budget: &mut Budget) -> Result<WeightsFile, Problem> {
    let variables = Variables(mat::read(data, |_| true, budget)?);
    let found = |name: &str| variables.find(name);
    let layers = match found("layers") {
        Some(Array::Cell(layers)) if found("params").is_none() => layers,
        Some(_) => {
            return Err(Problem::new(
                "it holds a network of MatConvNet's class DagNN",
                "take the network in the form of simplenn, or write its parameters with `safetensors.numpy.save_file`",
            ));
        }
        None => {
            return Err(Problem::new("it has no variable `layers`, as networks of MatConvNet have", NOT_MATCONVNET));
        }
    };
    let mut file = WeightsFile {
        container: Container::Matlab,
        source: SourceFormat::MatConvNet,
        network: None,
        prefix: String::new(),
        tensors: Vec::new(),
        layers: Vec::new(),
        lrn_layers: Some(0),
        notes: Vec::new(),
        preprocess: None,
    };
    for (index, layer) in layers.iter().enumerate() {
        let text = |field: &str| layer.field(field).and_then(Array::text);
        let kind = text("type").unwrap_or_default();
        let name = text("name").map_or_else(|| format!("layer{}", index + 1), str::to_owned);
        let numbers = numbers(layer);
        match (kind, numbers.as_slice()) {
            ("lrn" | "normalize", _) => file.lrn_layers = file.lrn_layers.map(|count| count + 1),
            ("bnorm", &[scale, shift, moments]) => norm(&mut file, name, scale, shift, moments)?,
            ("bnorm", _) => {
                return Err(Problem::new(
                    format!("its batch normalisation `{name}` has no moments"),
                    "the statistics are part of the layer after a training with a newer MatConvNet",
                ));
            }
            (_, []) => {}
            (_, &[filters, ref rest @ ..]) => {
                let mut layer = SourceLayer { name: name.clone(), ..SourceLayer::default() };
                let filters = Part { tensor: push(&mut file, &name, 1, filters), view: oihw(filters) };
                layer.parts.insert(Role::Weight, filters);
                for (index, bias) in rest.iter().enumerate() {
                    let part = Part { tensor: push(&mut file, &name, index + 2, bias), view: vector(bias) };
                    if index == 0 {
                        layer.parts.insert(Role::Bias, part);
                    }
                }
                file.layers.push(layer);
            }
        }
    }
    if file.tensors.is_empty() {
        return Err(Problem::new("its layers have no numbers", NOT_MATCONVNET));
    }
    let Meta { preprocess, notes } = variables.meta();
    file.preprocess = preprocess;
    file.notes = notes;
    Ok(file)
}

/// How images become the input of the network in `data`, when its meta says so. Its numbers are not read where they are a variable of their own.
pub(super) fn lineage(data: Bytes, budget: &mut Budget) -> Result<Option<Preprocess>, Problem> {
    let wanted = |name: &str| matches!(name, "net" | "meta" | "normalization" | "classes");
    Ok(Variables(mat::read(data, wanted, budget)?).meta().preprocess)
}

/// The variables of a file.
struct Variables(Vec<(String, Array)>);

impl Variables {
    /// A part of the network: a variable of its own, or a field of `net`.
    fn find(&self, name: &str) -> Option<&Array> {
        let variable = |name: &str| self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value);
        variable(name).or_else(|| variable("net")?.field(name))
    }

    /// What it says of images: in `meta`, and before 1.0-beta17 beside the layers.
    fn meta(&self) -> Meta {
        let part = |name: &str| self.find("meta").and_then(|meta| meta.field(name)).or_else(|| self.find(name));
        meta(part("normalization"), part("classes"))
    }
}

/// The numbers of a layer, in the form of newer and older releases.
fn numbers(layer: &Array) -> Vec<&View> {
    match layer.field("weights") {
        Some(Array::Cell(weights)) => weights.iter().filter_map(Array::numbers).collect(),
        _ => ["filters", "biases"]
            .into_iter()
            .filter_map(|field| layer.field(field)?.numbers())
            .filter(|view| !view.is_empty())
            .collect(),
    }
}

fn push(file: &mut WeightsFile, layer: &str, index: usize, view: &View) -> usize {
    file.tensors.push(SourceTensor { name: format!("{layer}.weights{{{index}}}"), view: view.clone() });
    file.tensors.len() - 1
}

/// Filters [height, width, in, out] as [out, in, height, width]. MATLAB leaves trailing axes of extent 1 out.
fn oihw(filters: &View) -> View {
    let axes = filters.shape().len();
    let whole = filters.shape().iter().copied().chain([1; 4]).take(axes.max(4)).collect::<Vec<_>>();
    let last = axes.saturating_sub(1);
    let extents = whole.get(last..).unwrap_or_default();
    filters.split(last, extents).and_then(|view| view.permuted(&[3, 2, 0, 1])).unwrap_or_else(|| filters.clone())
}

/// A column or a row as a vector.
fn vector(view: &View) -> View {
    view.reshaped(&[view.len()]).unwrap_or_else(|| view.clone())
}

/// A batch normalisation: factors, summands, and moments [channel, 2] of means and of deviations with epsilon in them.
fn norm(file: &mut WeightsFile, name: String, scale: &View, shift: &View, moments: &View) -> Result<(), Problem> {
    let channels = scale.len();
    if moments.shape() != [channels, 2] {
        return Err(format!(
            "the moments of `{name}` have the extents {:?}, expected [{channels}, 2]",
            moments.shape()
        )
        .into());
    }
    let mut values = Vec::new();
    moments.for_each(&mut |value| values.push(value));
    let column = |change: &dyn Fn(&[f64; 2]) -> f64| {
        let data: Vec<u8> = values.as_chunks().0.iter().flat_map(|pair| (change(pair) as f32).to_le_bytes()).collect();
        View::from(Tensor { shape: vec![channels], data: data.into() })
    };
    let mut layer = SourceLayer { name: name.clone(), epsilon: Some(0.0), ..SourceLayer::default() };
    for (index, (role, view)) in [(Role::Scale, scale), (Role::Shift, shift)].into_iter().enumerate() {
        let part = Part { tensor: push(file, &name, index + 1, view), view: vector(view) };
        layer.parts.insert(role, part);
    }
    let tensor = push(file, &name, 3, moments);
    layer.parts.insert(Role::Mean, Part { tensor, view: column(&|&[mean, _]| mean) });
    layer.parts.insert(Role::Variance, Part { tensor, view: column(&|&[_, deviation]| deviation * deviation) });
    file.layers.push(layer);
    Ok(())
}
