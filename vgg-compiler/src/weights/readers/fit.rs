//! The layers of a file against those of a network: by their names, or else by their order and shapes.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::file::{Part, Role, SourceLayer, WeightsFile};
use crate::ir::{Node, Op, Param, ParamSource, Shape, TypedGraph};
use crate::weights::view::View;

/// A layer of a network that has weights.
pub(super) struct NetLayer<'a> {
    /// The layer's name: `conv1_1`.
    pub(super) name: &'a str,
    pub(super) weight: &'a Param,
    pub(super) bias: Option<&'a Param>,
    /// The batch normalisation behind it: scale, shift, mean, variance.
    pub(super) norm: Option<[&'a Param; 4]>,
    pub(super) epsilon: f32,
    /// The channels, height and width that are flattened before a fully connected layer.
    pub(super) flattened: Option<[usize; 3]>,
}

impl NetLayer<'_> {
    /// What precedes `.weight` in its key.
    pub(super) fn prefix(&self) -> &str {
        self.weight.key.strip_suffix(".weight").unwrap_or(&self.weight.key)
    }
}

/// The layers of `graph` that have weights, in their order. None when a batch normalisation stands where no layer with weights precedes
/// it.
pub(super) fn net_layers(graph: &TypedGraph) -> Option<Vec<NetLayer<'_>>> {
    let mut layers: Vec<NetLayer<'_>> = Vec::new();
    for node in &graph.nodes {
        let params: Vec<&Param> = node.params.iter().filter_map(|id| graph.params.get(id.0)).collect();
        match (&node.op, params.as_slice()) {
            (_, []) => {}
            (Op::BatchNormalization { epsilon }, &[scale, shift, mean, variance]) => {
                let layer = layers.last_mut().filter(|layer| layer.norm.is_none())?;
                layer.norm = Some([scale, shift, mean, variance]);
                layer.epsilon = *epsilon;
            }
            (_, &[weight, ref rest @ ..]) => {
                let mut layer = NetLayer {
                    name: &node.name,
                    weight,
                    bias: rest.first().copied(),
                    norm: None,
                    epsilon: 0.0,
                    flattened: flattened(graph, node),
                };
                if let ParamSource::FoldedBatchNorm { conv, batch_norm, epsilon, .. } = &weight.source {
                    let [weight, bias] = conv;
                    layer.weight = weight;
                    layer.bias = Some(bias);
                    layer.norm = Some(batch_norm.each_ref().map(|param| &**param));
                    layer.epsilon = *epsilon;
                }
                layers.push(layer);
            }
        }
    }
    Some(layers)
}

/// The image that is flattened into the input of `node`, with nothing between that has weights or mixes elements.
fn flattened(graph: &TypedGraph, node: &Node) -> Option<[usize; 3]> {
    let producer = |node: &Node| {
        let input = node.inputs.first()?;
        graph.nodes.iter().find(|producer| producer.output == *input)
    };
    let mut at = producer(node)?;
    // A chain is not longer than the network.
    for _ in 0..graph.nodes.len() {
        if matches!(at.op, Op::Flatten) {
            return match graph.shape(*at.inputs.first()?) {
                Shape::Image { channels, height, width } => Some([channels, height, width]),
                _ => None,
            };
        }
        if !matches!(at.op, Op::Dropout { .. } | Op::Relu) {
            return None;
        }
        at = producer(at)?;
    }
    None
}

/// How the layers of a file were found to be those of a network, most certain first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// By the keys of the network's parameters.
    Keys,
    /// By the names of the network's layers.
    Names,
    /// By their order, the shapes being the same.
    Order,
}

/// A layer of a file that has a weight, and the batch normalisation behind it.
pub(super) type Weighted<'a> = (&'a SourceLayer, Option<&'a SourceLayer>);

/// The layers of a file that are those of a network, in the network's order, and how they were found.
pub(super) fn pairs<'a>(file: &'a WeightsFile, net: &[NetLayer<'_>]) -> Option<(Match, Vec<Weighted<'a>>)> {
    let weighted = file.weighted();
    let find = |wanted: &str| weighted.iter().find(|(layer, _)| layer.name == wanted).copied();
    let all = |name: &dyn Fn(&NetLayer<'_>) -> String| {
        net.iter().map(|layer| find(&name(layer))).collect::<Option<Vec<_>>>().filter(|pairs| !pairs.is_empty())
    };
    if let Some(pairs) = all(&|layer| layer.prefix().to_owned()) {
        return Some((Match::Keys, pairs));
    }
    if let Some(pairs) = all(&|layer| layer.name.to_owned()) {
        return Some((Match::Names, pairs));
    }
    // A network of features alone takes them from a file that has a classifier as well.
    let features_only = net.iter().all(|layer| layer.weight.shape.len() == 4);
    if net.is_empty() || weighted.len() < net.len() || (weighted.len() > net.len() && !features_only) {
        return None;
    }
    let weighted: Vec<Weighted<'_>> = weighted.into_iter().take(net.len()).collect();
    (ordered(&weighted) || file.is_in_order()).then_some((Match::Order, weighted))
}

/// Whether the order of the names is that of the network as far as shapes do not say: layers of the same shape may differ in numbers
/// alone.
fn ordered(layers: &[Weighted<'_>]) -> bool {
    let skeleton = |name: &str| name.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    let shape = |layer: &SourceLayer| layer.parts.get(&Role::Weight).map(|part| part.view.shape().to_vec());
    layers.iter().enumerate().all(|(index, (one, _))| {
        layers
            .iter()
            .skip(index + 1)
            .all(|(other, _)| shape(one) != shape(other) || skeleton(&one.name) == skeleton(&other.name))
    })
}

/// `weight` of a file as the weight of `layer`: with its shape if that can be, or else as it is.
pub(super) fn weight_for(layer: &NetLayer<'_>, weight: &View, hwc: bool) -> View {
    let wanted = layer.weight.shape.as_slice();
    let reordered = match (wanted, weight.shape()) {
        // Rows of a matrix in the order of height, width, channel.
        (&[_, inputs], &[_, found]) if hwc && found == inputs => layer
            .flattened
            .filter(|[_, height, width]| height * width > 1)
            .and_then(|[channels, height, width]| weight.split(1, &[height, width, channels])?.permuted(&[0, 3, 1, 2])),
        (&[_, channels, height, width], &[_, found]) if hwc && found == channels * height * width => {
            weight.split(1, &[height, width, channels]).and_then(|split| split.permuted(&[0, 3, 1, 2]))
        }
        _ => None,
    };
    let weight = reordered.as_ref().unwrap_or(weight);
    let outputs = weight.shape().first();
    if weight.shape() != wanted && outputs == wanted.first() && weight.shape().len() >= 2 {
        return weight.reshaped(wanted).unwrap_or_else(|| weight.clone());
    }
    weight.clone()
}

/// Whether `layer` of a file has the shape that `net` needs, in whichever form.
pub(super) fn same_shape(net: &NetLayer<'_>, layer: &SourceLayer) -> bool {
    let wanted = &net.weight.shape;
    layer.parts.get(&Role::Weight).is_some_and(|Part { view, .. }| {
        view.shape() == wanted
            || (view.shape().first() == wanted.first()
                && view.shape().len() != wanted.len()
                && view.len() == net.weight.len())
    })
}

/// How the layers of a file compare with those of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Layers with weights of the network.
    pub layers: usize,
    /// Of these, as many as have the shape of the file's layer at the same place.
    pub same: usize,
    /// Layers with weights of the file.
    pub found: usize,
    /// How the layers are found; none when they cannot be those of the network.
    pub how: Option<Match>,
    /// The classes of the file, when nothing but the last layer has another shape than the network's.
    pub classes: Option<usize>,
    /// Whether the file has batch normalisation and the network has none.
    pub to_fold: bool,
    /// Local response normalisations of the file and of the network, when the file says and they differ.
    pub lrn: Option<(usize, usize)>,
}

/// Compares the layers of `file` with those of `graph`.
pub(super) fn compare(file: &WeightsFile, graph: &TypedGraph) -> Option<Comparison> {
    let net = net_layers(graph).filter(|net| !net.is_empty())?;
    let weighted = file.weighted();
    let agree = |(net, (layer, _)): (&NetLayer<'_>, &(&SourceLayer, _))| same_shape(net, layer);
    let same = net.iter().zip(&weighted).filter(|&pair| agree(pair)).count();
    let whole = same == net.len() && weighted.len() == net.len();
    let but_last = weighted.len() == net.len() && net.iter().zip(&weighted).take(net.len() - 1).all(agree);
    let last = weighted.last().and_then(|(layer, _)| layer.parts.get(&Role::Weight)).map(|part| part.view.shape());
    let inputs = net.last().and_then(|layer| layer.weight.shape.get(1)).copied();
    let classes = match last {
        Some(&[classes, found, ref rest @ ..]) if but_last && !whole => {
            (Some(found * rest.iter().product::<usize>()) == inputs).then_some(classes)
        }
        _ => None,
    };
    let how = pairs(file, &net).filter(|_| whole || classes.is_some()).map(|(how, _)| how);
    let lrn = graph.nodes.iter().filter(|node| matches!(node.op, Op::Lrn(_))).count();
    Some(Comparison {
        layers: net.len(),
        same,
        found: weighted.len(),
        how,
        classes,
        to_fold: net.iter().all(|layer| layer.norm.is_none()) && weighted.iter().any(|(_, norm)| norm.is_some()),
        lrn: file.lrn_layers.filter(|&found| found != lrn).map(|found| (found, lrn)),
    })
}
