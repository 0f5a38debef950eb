//! Layers from the keys of a state dict, which say what belongs together and in which order.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use super::file::{Container, Part, Role, SourceLayer, WeightsFile};
use super::lineage::SourceFormat;
use crate::weights::tensors::Tensors;
use crate::weights::view::SourceTensor;

/// What wrappers of PyTorch put before every key, and what the parts of larger networks call a VGG.
const PREFIXES: [&str; 9] =
    ["module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "encoder.", "vgg.", "state_dict."];

/// A file of tensors under PyTorch's names.
pub(super) fn state_dict(container: Container, tensors: Vec<SourceTensor>, notes: Vec<String>) -> WeightsFile {
    let prefix = common_prefix(&tensors);
    let layers = layers(&tensors, &prefix);
    let source = convention(&layers);
    WeightsFile { container, source, network: None, prefix, tensors, layers, lrn_layers: None, notes, preprocess: None }
}

/// The tensors that came with an ONNX model, as those of a file.
pub fn imported(tensors: &Tensors, notes: Vec<String>) -> WeightsFile {
    let tensors = tensors.iter().map(|(name, tensor)| SourceTensor { name: name.clone(), view: tensor.clone().into() });
    let mut file = state_dict(Container::Onnx, tensors.collect(), notes);
    // The importer gives torchvision's names to networks of any kind.
    file.source = SourceFormat::Unknown;
    file
}

/// The prefixes of wrappers that every tensor has.
pub(super) fn common_prefix(tensors: &[SourceTensor]) -> String {
    let mut common = String::new();
    let next = |common: &str| {
        PREFIXES.iter().find(|prefix| {
            tensors.iter().all(|tensor| {
                tensor
                    .name
                    .strip_prefix(common)
                    .is_some_and(|rest| rest.len() > prefix.len() && rest.starts_with(**prefix))
            })
        })
    };
    while let Some(prefix) = next(&common).filter(|_| !tensors.is_empty()) {
        common += prefix;
    }
    common
}

/// Whether a tensor is one of PyTorch's counters of batches, which no inference needs.
pub(in crate::weights) fn is_counter(name: &str) -> bool {
    name == "num_batches_tracked" || name.ends_with(".num_batches_tracked")
}

/// The layers of tensors under PyTorch's keys behind `prefix`, in the order of their names.
pub(super) fn layers(tensors: &[SourceTensor], prefix: &str) -> Vec<SourceLayer> {
    let mut groups: BTreeMap<&str, Vec<(&str, usize)>> = BTreeMap::new();
    for (index, tensor) in tensors.iter().enumerate().filter(|(_, tensor)| !is_counter(&tensor.name)) {
        let name = tensor.name.strip_prefix(prefix).unwrap_or(&tensor.name);
        let (layer, part) = name.rsplit_once('.').unwrap_or(("", name));
        groups.entry(layer).or_default().push((part, index));
    }
    let mut layers: Vec<SourceLayer> = groups
        .into_iter()
        .map(|(name, parts)| {
            let norm = parts.iter().any(|(part, _)| *part == "running_mean");
            let parts = parts.into_iter().filter_map(|(part, tensor)| {
                let role = match part {
                    "weight" if norm => Role::Scale,
                    "bias" if norm => Role::Shift,
                    "weight" => Role::Weight,
                    "bias" => Role::Bias,
                    "running_mean" => Role::Mean,
                    "running_var" => Role::Variance,
                    _ => return None,
                };
                Some((role, Part { tensor, view: tensors.get(tensor)?.view.clone() }))
            });
            SourceLayer { name: name.into(), parts: parts.collect(), epsilon: None }
        })
        .filter(|layer| !layer.parts.is_empty())
        .collect();
    layers.sort_by_cached_key(|layer| (section(&layer.name), natural(&layer.name)));
    layers
}

/// The part of a network that a layer belongs to by its name: features, classifier, the last layer.
fn section(name: &str) -> u8 {
    let first = name.split('.').next().unwrap_or_default();
    match first {
        "head" | "predictions" | "last_linear" | "logits" => 2,
        "pre_logits" | "classifier" | "classif" | "dense" => 1,
        _ if first.starts_with("fc") || first.starts_with("linear") => 1,
        _ => 0,
    }
}

/// A key to sort by in which numbers count as numbers: `features.2` comes before `features.10`.
pub(super) fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(letters);
        let digits = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (number, tail) = tail.split_at(digits);
        parts.push((word.to_owned(), number.parse().unwrap_or(0)));
        rest = tail;
    }
    parts
}

/// Whose names these layers have.
pub(super) fn convention(layers: &[SourceLayer]) -> SourceFormat {
    let has = |name: &str| layers.iter().any(|layer| layer.name == name);
    let begins = |prefix: &str| layers.iter().any(|layer| layer.name.starts_with(prefix));
    if begins("pre_logits.") || has("head.fc") {
        SourceFormat::Timm
    } else if has("classifier.1") && has("classifier.4") && has("classifier.6") && begins("features.") {
        SourceFormat::CaffeInTorch
    } else if begins("features.") {
        SourceFormat::Torchvision
    } else {
        SourceFormat::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_as_numbers() {
        let mut names = ["features.10", "conv", "features.2", "conv1_10", "conv1_9", "conv2_1", "features.2.0"];
        names.sort_by_cached_key(|name| natural(name));
        assert_eq!(names, ["conv", "conv1_9", "conv1_10", "conv2_1", "features.2", "features.2.0", "features.10"]);
    }
}
