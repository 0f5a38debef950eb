//! The names of layers and of their parameters.
//!
//! Layers are named by the conventions of the papers and of Caffe (`conv1_1`, `relu1_1`, `pool1`, `fc6`, `drop6`, `prob`), or
//! by a label. Parameters have the keys that torchvision would give them: the place of the module in the `nn.Sequential`
//! called `features` or `classifier`.

use std::collections::BTreeMap;

use super::{LayerKind, LayerSpec, ModelSpec};

/// The names that belong to one entry of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerNames {
    /// The layer itself: its label, or its conventional name.
    pub name: String,
    /// The ReLU that follows a convolution (after the batch norm, when there is one) or a fully connected layer, when one does.
    pub relu: Option<String>,
    /// What the keys of its parameters begin with, such as `features.0`: convolutions and fully connected layers have
    /// `.weight` and `.bias`, a batch norm has `.running_mean` and `.running_var` too.
    pub key: Option<String>,
}

/// The names of every layer, row by row as in [`ModelSpec::rows`].
///
/// In row `b` (from 1) the `i`-th convolution is `conv{b}_{i}`, with `bn{b}_{i}` and `relu{b}_{i}`; its LRN is `norm{b}` and
/// its pool `pool{b}`, the second ones `norm{b}_2` and `pool{b}_2`. Fully connected layers are numbered on after the last row
/// that holds a convolution: with five such rows they are `fc6`, `fc7`, .., with `relu6` and `drop6`. A dropout before all of
/// them is named after its row. Softmax is `prob`.
pub fn layer_names(spec: &ModelSpec) -> Vec<Vec<LayerNames>> {
    let mut namer = Namer::new(spec);
    let mut all = Vec::with_capacity(spec.rows.len());
    for (row_index, row) in spec.rows.iter().enumerate() {
        namer.convs = 0;
        let mut names = Vec::with_capacity(row.len());
        for (index, layer) in row.iter().enumerate() {
            let previous = index.checked_sub(1).and_then(|before| row.get(before));
            names.push(namer.next(row_index + 1, layer, previous, row.get(index + 1)));
        }
        all.push(names);
    }
    all
}

/// The stem of the files of a network: its name in snake case, `vgg16` for `Vgg16` and `vgg_a_lrn` for `VggALrn`.
pub fn file_stem(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut stem = String::with_capacity(name.len() + 4);
    for (index, &c) in chars.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| chars.get(before));
        let after = chars.get(index + 1);
        // A capital begins a word after a small letter or digit, and before a small letter.
        let begins = c.is_uppercase()
            && before.is_some_and(|&b| b != '_' && (!b.is_uppercase() || after.is_some_and(|a| a.is_lowercase())));
        if begins {
            stem.push('_');
        }
        stem.extend(c.to_lowercase());
    }
    stem
}

/// What the names so far say about the next one.
struct Namer {
    /// Layers still to come that belong to `features`.
    features_left: usize,
    /// Modules in `features` and in `classifier` so far.
    features: usize,
    classifier: usize,
    /// Convolutions in this row so far.
    convs: usize,
    /// The number of the last fully connected layer, or of the last row with a convolution before there is one.
    fc: usize,
    any_fc: bool,
    /// How often each conventional name was used.
    used: BTreeMap<String, usize>,
}

impl Namer {
    fn new(spec: &ModelSpec) -> Self {
        let is_conv = |layer: &LayerSpec| matches!(layer.kind, LayerKind::Conv { .. });
        let layers = spec.rows.iter().flatten().enumerate();
        let last_spatial = layers.filter(|(_, layer)| layer.kind.is_spatial()).last().map_or(0, |(index, _)| index + 1);
        let conv_rows = spec.rows.iter().rposition(|row| row.iter().any(is_conv)).map_or(0, |row| row + 1);
        Self {
            features_left: last_spatial,
            features: 0,
            classifier: 0,
            convs: 0,
            fc: conv_rows,
            any_fc: false,
            used: BTreeMap::new(),
        }
    }

    fn next(
        &mut self,
        row: usize,
        layer: &LayerSpec,
        previous: Option<&LayerSpec>,
        following: Option<&LayerSpec>,
    ) -> LayerNames {
        let label = layer.label.as_ref().map(|label| label.value.as_str());
        let (conventional, relu) = match &layer.kind {
            LayerKind::Conv { relu, .. } => {
                self.convs += 1;
                let number = format!("{row}_{}", self.convs);
                (format!("conv{number}"), relu.then(|| derived(label, "conv", "relu", &number)))
            }
            LayerKind::BatchNorm { .. } => {
                let conv = previous.and_then(|conv| conv.label.as_ref()).map(|label| label.value.as_str());
                let number = format!("{row}_{}", self.convs.max(1));
                (self.numbered(derived(conv, "conv", "bn", &number)), None)
            }
            LayerKind::Lrn { .. } => (self.numbered(format!("norm{row}")), None),
            LayerKind::MaxPool(_) | LayerKind::AvgPool(_) => (self.numbered(format!("pool{row}")), None),
            LayerKind::Fc { relu, .. } => {
                self.fc += 1;
                self.any_fc = true;
                let number = self.fc.to_string();
                (format!("fc{number}"), relu.then(|| derived(label, "fc", "relu", &number)))
            }
            LayerKind::Dropout { .. } => {
                let number = if self.any_fc { self.fc } else { row };
                (self.numbered(format!("drop{number}")), None)
            }
            LayerKind::Softmax => (self.numbered("prob".to_owned()), None),
        };
        let key = self.key(layer, previous, following);
        LayerNames { name: label.map_or(conventional, str::to_owned), relu, key }
    }

    /// `name`, or `name_2`, .. when it was used before.
    fn numbered(&mut self, name: String) -> String {
        let count = self.used.entry(name.clone()).or_default();
        *count += 1;
        if *count == 1 { name } else { format!("{name}_{count}") }
    }

    /// The key of the parameters, when the layer has any. Every module counts, with or without parameters; the ReLU of a
    /// convolution stands after its batch norm.
    fn key(
        &mut self,
        layer: &LayerSpec,
        previous: Option<&LayerSpec>,
        following: Option<&LayerSpec>,
    ) -> Option<String> {
        let (sequential, place) = match self.features_left.checked_sub(1) {
            Some(left) => {
                self.features_left = left;
                ("features", &mut self.features)
            }
            None => ("classifier", &mut self.classifier),
        };
        let has_relu = |layer: Option<&LayerSpec>| layer.is_some_and(|layer| layer.kind.has_relu());
        let is_bn = |layer: Option<&LayerSpec>| layer.is_some_and(|l| matches!(l.kind, LayerKind::BatchNorm { .. }));
        let (has_parameters, modules) = match &layer.kind {
            LayerKind::Conv { relu, .. } => (true, 1 + usize::from(*relu && !is_bn(following))),
            LayerKind::BatchNorm { .. } => (true, 1 + usize::from(has_relu(previous))),
            LayerKind::Fc { relu, .. } => (true, 1 + usize::from(*relu)),
            LayerKind::Lrn { .. } | LayerKind::MaxPool(_) | LayerKind::AvgPool(_) | LayerKind::Dropout { .. } => {
                (false, 1)
            }
            // torchvision's networks end in logits.
            LayerKind::Softmax => (false, 0),
        };
        let key = has_parameters.then(|| format!("{sequential}.{place}"));
        *place += modules;
        key
    }
}

/// The name of what belongs to a layer: from its label, with `own` at the front replaced by `other`, or else by convention.
fn derived(label: Option<&str>, own: &str, other: &str, number: &str) -> String {
    match label {
        None => format!("{other}{number}"),
        Some(label) => match label.strip_prefix(own) {
            Some(rest) => format!("{other}{rest}"),
            None => format!("{label}_{other}"),
        },
    }
}
