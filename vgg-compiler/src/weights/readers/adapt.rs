//! The tensors of a file as those of a network: renamed, with the axes that the network has, batch normalisation kept or folded.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::file::{Part, Role, SourceLayer, WeightsFile};
use super::fit::{Match, NetLayer, net_layers, pairs, same_shape, weight_for};
use super::lineage::SourceFormat;
use super::names::is_counter;
use crate::ir::TypedGraph;
use crate::weights::error::WeightsError;
use crate::weights::tensors::{Tensor, Tensors};
use crate::weights::view::{ElementType, View};

/// The tensors of a file under the keys of a network.
#[derive(Debug, Clone)]
pub struct Adapted {
    /// The tensors. What the network has no use for is among them, so that it is reported.
    pub tensors: Tensors,
    /// What was done, a clause each.
    pub notes: Vec<String>,
    /// How the layers were found; none when the tensors were left as they are.
    pub how: Option<Match>,
    /// Whose conventions the file follows.
    pub source: SourceFormat,
    /// What speaks against the preprocessing of the network for these weights, a clause: see [`WeightsFile::doubt`].
    pub doubt: Option<String>,
}

/// Gives the tensors of `file` the names and shapes that `graph` needs. `origin` is the name of the file, for messages.
///
/// # Errors
///
/// When a tensor that is needed holds integers, or when the layers cannot be those of the network: everything that differs.
pub(super) fn adapt(file: &WeightsFile, graph: &TypedGraph, origin: &str) -> Result<Adapted, Vec<WeightsError>> {
    let net = net_layers(graph).unwrap_or_default();
    let Some((how, pairs)) = pairs(file, &net).filter(|(how, pairs)| {
        // Unfamiliar keys in another order than expected: better say which are missing.
        let misfits = net.iter().zip(pairs).filter(|(net, (layer, _))| !same_shape(net, layer)).count();
        file.is_in_order() || *how != Match::Order || 5 * misfits <= net.len()
    }) else {
        return match file.source {
            SourceFormat::Caffe | SourceFormat::MatConvNet | SourceFormat::Keras => {
                Err(vec![other_layers(file, &net, origin)])
            }
            _ => unchanged(file, origin),
        };
    };
    let mut adapter = Adapter {
        file,
        origin,
        how,
        tensors: Tensors::new(),
        used: BTreeSet::new(),
        errors: vec![],
        counts: Counts::default(),
    };
    let matched = pairs.len();
    for (net, (layer, norm)) in net.iter().zip(pairs) {
        adapter.layer(net, layer, norm);
    }
    let left_out = adapter.left_out(matched, &net);
    adapter.surplus();
    let Adapter { tensors, errors, counts, .. } = adapter;
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut notes = counts.notes(file, how);
    if !left_out.is_empty() {
        notes.push(format!("left out {}, which the network does not have", left_out.join(", ")));
    }
    Ok(Adapted { tensors, notes, how: Some(how), source: file.source, doubt: None })
}

/// The tensors under their own names.
pub(super) fn unchanged(file: &WeightsFile, origin: &str) -> Result<Adapted, Vec<WeightsError>> {
    let (mut tensors, mut errors) = (Tensors::new(), Vec::new());
    for tensor in file.tensors.iter().filter(|tensor| !is_counter(&tensor.name)) {
        if tensor.view.element().is_float() {
            tensors.insert(file.key(tensor).to_owned(), tensor.view.to_tensor());
        } else {
            let (key, dtype) = (tensor.name.clone(), tensor.view.element().to_string());
            errors.push(WeightsError::Dtype { path: origin.into(), key, dtype });
        }
    }
    let (notes, source) = (Vec::new(), file.source);
    if errors.is_empty() { Ok(Adapted { tensors, notes, how: None, source, doubt: None }) } else { Err(errors) }
}

fn other_layers(file: &WeightsFile, net: &[NetLayer<'_>], origin: &str) -> WeightsError {
    WeightsError::Layers {
        origin: origin.into(),
        found: file.weighted().iter().map(|(layer, _)| layer.name.clone()).collect(),
        expected: net.iter().map(|layer| layer.name.to_owned()).collect(),
    }
}

struct Adapter<'a> {
    file: &'a WeightsFile,
    origin: &'a str,
    how: Match,
    tensors: Tensors,
    /// Indices of the tensors of the file that were used.
    used: BTreeSet<usize>,
    errors: Vec<WeightsError>,
    counts: Counts,
}

/// What was done, and how often.
#[derive(Default)]
struct Counts {
    renamed: bool,
    reshaped: usize,
    flattened_hwc: Vec<String>,
    no_bias: usize,
    folded: usize,
    folded_epsilon: f32,
    epsilon: Option<(f32, f32)>,
    folded_already: bool,
    elements: BTreeMap<&'static str, usize>,
}

impl<'a> Adapter<'a> {
    fn layer(&mut self, net: &NetLayer<'_>, layer: &'a SourceLayer, norm: Option<&'a SourceLayer>) {
        self.counts.renamed |= layer.name != net.prefix();
        let Some(part) = layer.parts.get(&Role::Weight) else { return };
        let weight = weight_for(net, &part.view, self.file.is_hwc());
        if self.how != Match::Keys && weight.shape() != net.weight.shape {
            self.errors.push(WeightsError::LayerShape {
                origin: self.origin.into(),
                layer: net.name.into(),
                tensor: self.name(part),
                arrived: part.view.shape().to_vec(),
                expected: net.weight.shape.clone(),
            });
        }
        if part.view.shape() != weight.shape() {
            self.counts.reshaped += 1;
        }
        let [_, height, width] = net.flattened.unwrap_or_default();
        if self.file.is_hwc() && height * width > 1 && part.view.shape().len() == 2 {
            self.counts.flattened_hwc.push(layer.name.clone());
        }
        let bias = layer.parts.get(&Role::Bias);
        let channels = weight.shape().first().copied().unwrap_or(0);
        for (_, part) in norm.into_iter().flat_map(|norm| &norm.parts).filter(|(role, _)| **role != Role::Count) {
            if part.view.len() != channels {
                self.errors.push(WeightsError::LayerShape {
                    origin: self.origin.into(),
                    layer: net.name.into(),
                    tensor: self.name(part),
                    arrived: part.view.shape().to_vec(),
                    expected: vec![channels],
                });
            }
        }
        match (net.norm, norm) {
            (None, Some(norm)) => {
                let epsilon = norm.epsilon.unwrap_or(1e-5);
                self.counts.folded += 1;
                self.counts.folded_epsilon = epsilon;
                self.fold(net, &weight, part, bias, norm, epsilon);
                return;
            }
            (Some(keys), Some(norm)) => {
                self.used.extend(norm.parts.get(&Role::Count).map(|part| part.tensor));
                for (param, role) in keys.into_iter().zip([Role::Scale, Role::Shift, Role::Mean, Role::Variance]) {
                    let (key, found) = (param.key.clone(), norm.parts.get(&role));
                    match (role, found) {
                        (Role::Variance, Some(part)) if norm.epsilon.is_some_and(|epsilon| epsilon != net.epsilon) => {
                            let epsilon = norm.epsilon.unwrap_or(net.epsilon);
                            self.counts.epsilon = Some((epsilon, net.epsilon));
                            let shift = f64::from(epsilon) - f64::from(net.epsilon);
                            self.take(part);
                            self.tensors.insert(key, mapped(&part.view, |variance| variance + shift));
                        }
                        (_, Some(part)) => self.put(key, &part.view, part),
                        // Layers without factors or summands scale by 1 and add 0.
                        (Role::Scale, None) => self.constant(key, channels, 1.0),
                        (Role::Shift, None) => self.constant(key, channels, 0.0),
                        (_, None) => {}
                    }
                }
            }
            (Some(_), None) => self.counts.folded_already = true,
            (None, None) => {}
        }
        self.put(net.weight.key.clone(), &weight, part);
        match (net.bias, bias) {
            (Some(param), Some(part)) => self.put(param.key.clone(), &part.view, part),
            // Convolutions before a batch normalisation often have none.
            (Some(param), None) if norm.is_some() => {
                self.counts.no_bias += 1;
                self.constant(param.key.clone(), channels, 0.0);
            }
            _ => {}
        }
    }

    /// `w * scale / sqrt(variance + epsilon)` and `(b - mean) * scale / sqrt(variance + epsilon) + shift`, in f64.
    fn fold(
        &mut self,
        net: &NetLayer<'_>,
        weight: &View,
        part: &'a Part,
        bias: Option<&'a Part>,
        norm: &'a SourceLayer,
        epsilon: f32,
    ) {
        let channels = weight.shape().first().copied().unwrap_or(0);
        let mut column = |part: Option<&'a Part>, default: f64| {
            let mut values = Vec::new();
            if let Some(part) = part {
                self.take(part);
                part.view.for_each(&mut |value| values.push(value));
            }
            values.resize(channels, default);
            values
        };
        let scale = column(norm.parts.get(&Role::Scale), 1.0);
        let shift = column(norm.parts.get(&Role::Shift), 0.0);
        let mean = column(norm.parts.get(&Role::Mean), 0.0);
        let variance = column(norm.parts.get(&Role::Variance), 1.0);
        let bias = column(bias, 0.0);
        self.take(part);
        self.used.extend(norm.parts.get(&Role::Count).map(|part| part.tensor));
        let factors: Vec<f64> = scale
            .iter()
            .zip(variance)
            .map(|(scale, variance)| scale / (variance + f64::from(epsilon)).sqrt())
            .collect();
        let per_channel = weight.len().checked_div(channels).unwrap_or(0);
        let mut position = 0usize;
        let scaled = mapped(weight, |value| {
            let channel = position.checked_div(per_channel).unwrap_or(0);
            position += 1;
            value * factors.get(channel).copied().unwrap_or(1.0)
        });
        let shifted: Vec<u8> = bias
            .iter()
            .zip(mean)
            .zip(&factors)
            .zip(shift)
            .flat_map(|(((bias, mean), factor), shift)| (((bias - mean) * factor + shift) as f32).to_le_bytes())
            .collect();
        self.tensors.insert(net.weight.key.clone(), scaled);
        if let Some(param) = net.bias {
            self.tensors.insert(param.key.clone(), Tensor { shape: vec![channels], data: shifted.into() });
        }
    }

    fn put(&mut self, key: String, view: &View, part: &Part) {
        self.take(part);
        self.tensors.insert(key, view.to_tensor());
    }

    fn constant(&mut self, key: String, channels: usize, value: f32) {
        let data: Bytes = value.to_le_bytes().repeat(channels).into();
        self.tensors.insert(key, Tensor { shape: vec![channels], data });
    }

    /// Marks a tensor of the file as used.
    fn take(&mut self, part: &Part) {
        self.used.insert(part.tensor);
        let name = match part.view.element() {
            ElementType::F32 => return,
            ElementType::F16 => "F16",
            ElementType::Bf16 => "BF16",
            ElementType::F64 => "F64",
            ElementType::Int(_) => {
                let (key, dtype) = (self.name(part), part.view.element().to_string());
                self.errors.push(WeightsError::Dtype { path: self.origin.into(), key, dtype });
                return;
            }
        };
        *self.counts.elements.entry(name).or_default() += 1;
    }

    fn name(&self, part: &Part) -> String {
        self.file.tensors.get(part.tensor).map(|tensor| tensor.name.clone()).unwrap_or_default()
    }

    /// When the network has no classifier: the layers of the file's classifier, which are left out.
    fn left_out(&mut self, matched: usize, net: &[NetLayer<'_>]) -> Vec<String> {
        let mut names = Vec::new();
        if net.iter().any(|layer| layer.weight.shape.len() != 4) {
            return names;
        }
        for (layer, norm) in self.file.weighted().into_iter().skip(matched) {
            for part in std::iter::once(layer).chain(norm).flat_map(|layer| layer.parts.values()) {
                self.used.insert(part.tensor);
            }
            names.push(format!("`{}`", layer.name));
        }
        names
    }

    /// Adds what the network has no use for under its own names.
    fn surplus(&mut self) {
        for (index, tensor) in self.file.tensors.iter().enumerate() {
            let key = self.file.key(tensor);
            if !self.used.contains(&index) && !is_counter(key) && !self.tensors.contains_key(key) {
                // What it holds does not matter: it is one too many.
                self.tensors.insert(key.to_owned(), Tensor { shape: tensor.view.shape().to_vec(), data: Bytes::new() });
            }
        }
    }
}

/// A view as f32 in C order, each element changed.
fn mapped(view: &View, mut change: impl FnMut(f64) -> f64) -> Tensor {
    let mut data = Vec::with_capacity(4 * view.len());
    view.for_each(&mut |value| data.extend_from_slice(&(change(value) as f32).to_le_bytes()));
    Tensor { shape: view.shape().to_vec(), data: data.into() }
}

impl Counts {
    fn notes(&self, file: &WeightsFile, how: Match) -> Vec<String> {
        let mut notes = Vec::new();
        match how {
            Match::Keys => {}
            Match::Names => notes.push("layers matched by name".into()),
            Match::Order => notes.push("layers matched by order, as their shapes agree and their names do not".into()),
        }
        if !file.prefix.is_empty() {
            notes.push(format!("`{}` taken off the names", file.prefix));
        }
        if file.source == SourceFormat::MatConvNet || file.source == SourceFormat::Keras {
            notes.push("filters [height, width, in, out] transposed to [out, in, height, width]".into());
        }
        if file.source == SourceFormat::Keras {
            notes.push("matrices [in, out] transposed to [out, in]".into());
        }
        if self.reshaped > 0 {
            notes.push(format!("{} weights stored as filters reshaped to matrices, or the reverse", self.reshaped));
        }
        if !self.flattened_hwc.is_empty() {
            notes.push(format!(
                "inputs of `{}` reordered from height, width, channel to channel, height, width",
                self.flattened_hwc.join("`, `")
            ));
        }
        if self.folded > 0 {
            notes.push(format!(
                "{} batch normalisations folded into their convolutions with epsilon {}, as the network has none",
                self.folded, self.folded_epsilon
            ));
        }
        if let Some((found, expected)) = self.epsilon {
            notes.push(format!("variances adjusted from epsilon {found} of the file to {expected} of the network"));
        }
        if self.folded_already {
            notes.push("the file has no batch normalisation: its weights are taken as folded already".into());
        }
        if self.no_bias > 0 {
            notes.push(format!("{} convolutions without a bias were given zeros", self.no_bias));
        }
        for (element, count) in &self.elements {
            let verb = if *element == "F64" { "rounded" } else { "widened" };
            notes.push(format!("{count} tensors of {element} {verb} to F32"));
        }
        notes
    }
}
