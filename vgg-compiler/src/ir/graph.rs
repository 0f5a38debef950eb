//! The graph: nodes in topological order, values between them, parameters beside them.

use super::op::Op;
use super::precision::Precision;
use super::shape::Shape;
use crate::preprocess::Preprocess;

/// Index of an activation in [`Graph::values`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub usize);

/// Index of a parameter in [`Graph::params`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamId(pub usize);

/// A network as ONNX operators. Every node has one output. Activations carry an implicit leading batch dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// The name of the network, a Rust identifier.
    pub name: String,
    /// What the author says about it.
    pub docs: Vec<String>,
    /// How images become its input, when that is known.
    pub preprocess: Option<Preprocess>,
    /// The network's input.
    pub input: ValueId,
    /// The network's outputs, at least one, each another activation.
    pub outputs: Vec<ValueId>,
    /// Activations: the input and the output of each node.
    pub values: Vec<Value>,
    /// Nodes, each after those whose output it reads.
    pub nodes: Vec<Node>,
    /// Parameters, in the order of the nodes that read them.
    pub params: Vec<Param>,
}

/// An activation.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Its name: that of the node that makes it, or of the input.
    pub name: String,
    /// Its shape. The input's is given, the others' are inferred by [`super::verify`].
    pub shape: Option<Shape>,
}

/// One operator applied to activations and parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The layer's name.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// The activations it reads.
    pub inputs: Vec<ValueId>,
    /// The parameters it reads, in the order of [`Op::param_suffixes`]. The scales of an int8 weight come last.
    pub params: Vec<ParamId>,
    /// The activation it makes.
    pub output: ValueId,
}

/// A trained tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// Its key in the canonical weights file, in torchvision's manner: `features.0.weight`.
    pub key: String,
    /// Its name in an ONNX graph, a C identifier: `conv1_1_weight`.
    pub name: String,
    /// Its extents.
    pub shape: Vec<usize>,
    /// Where its numbers come from.
    pub source: ParamSource,
}

impl Param {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How its numbers are written down.
    pub fn precision(&self) -> Precision {
        match self.source {
            ParamSource::Rounded(precision) => precision,
            ParamSource::Stored | ParamSource::FoldedBatchNorm { .. } | ParamSource::RowScales { .. } => Precision::F32,
        }
    }

    /// Bytes of its numbers.
    pub fn bytes(&self) -> usize {
        self.len() * self.precision().bytes()
    }

    /// Trained numbers in it: scales are none.
    pub fn trained(&self) -> usize {
        if matches!(self.source, ParamSource::RowScales { .. }) { 0 } else { self.len() }
    }
}

/// Where the numbers of a parameter come from.
#[derive(Debug, Clone, PartialEq)]
pub enum ParamSource {
    /// They are stored under the parameter's own key.
    Stored,
    /// They are stored under the parameter's own key, and rounded to this precision.
    Rounded(Precision),
    /// The scales of the rows of an int8 weight: the largest magnitude of each, by 127.
    RowScales {
        /// That weight.
        weight: Box<Param>,
    },
    /// A convolution's weight or bias with the batch normalisation behind it folded in:
    /// `w' = w * scale / sqrt(var + epsilon)`, `b' = (b - mean) * scale / sqrt(var + epsilon) + shift`.
    FoldedBatchNorm {
        /// Which of the two it is.
        role: FoldedRole,
        /// The convolution's weight and bias as declared.
        conv: [Box<Param>; 2],
        /// Scale, shift, running mean and running variance as declared.
        batch_norm: [Box<Param>; 4],
        /// Added to the variance.
        epsilon: f32,
    },
}

/// Which parameter of a convolution a folded one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoldedRole {
    /// The weight, OIHW.
    Weight,
    /// The bias.
    Bias,
}

impl Graph {
    /// The parameters as they were declared: those that a weights file of the network must hold, in the order of the layers.
    pub fn stored_params(&self) -> Vec<&Param> {
        let mut stored: Vec<&Param> = Vec::new();
        let mut add = |param| {
            if !stored.contains(&param) {
                stored.push(param);
            }
        };
        for param in &self.params {
            match &param.source {
                ParamSource::Stored | ParamSource::Rounded(_) => add(param),
                ParamSource::RowScales { .. } => {}
                ParamSource::FoldedBatchNorm { conv, batch_norm, .. } => {
                    conv.iter().chain(batch_norm).for_each(|origin| add(origin));
                }
            }
        }
        stored
    }

    /// Whether there are parameters that are not f32.
    pub fn is_rounded(&self) -> bool {
        self.params.iter().any(|param| param.precision() != Precision::F32)
    }

    /// The node that makes `value`, none for the input.
    pub fn producer(&self, value: ValueId) -> Option<usize> {
        self.nodes.iter().position(|node| node.output == value)
    }

    /// The nodes that read `value`.
    pub fn consumers(&self, value: ValueId) -> impl Iterator<Item = usize> + '_ {
        self.nodes.iter().enumerate().filter(move |(_, node)| node.inputs.contains(&value)).map(|(index, _)| index)
    }

    /// Makes every reader of `old` read `new`.
    pub fn replace_uses(&mut self, old: ValueId, new: ValueId) {
        for input in self.nodes.iter_mut().flat_map(|node| &mut node.inputs) {
            if *input == old {
                *input = new;
            }
        }
        for output in self.outputs.iter_mut().filter(|output| **output == old) {
            *output = new;
        }
    }

    /// Removes the values and parameters that no node, input or output names, and numbers the rest anew in node order.
    pub fn compact(&mut self) {
        let mut values = vec![None; self.values.len()];
        let mut kept_values = Vec::new();
        let mut keep_value = |id: ValueId, old: &[Value]| {
            *values[id.0].get_or_insert_with(|| {
                kept_values.push(old[id.0].clone());
                ValueId(kept_values.len() - 1)
            })
        };
        let mut params = vec![None; self.params.len()];
        let mut kept_params = Vec::new();
        self.input = keep_value(self.input, &self.values);
        for node in &mut self.nodes {
            for input in &mut node.inputs {
                *input = keep_value(*input, &self.values);
            }
            for param in &mut node.params {
                *param = *params[param.0].get_or_insert_with(|| {
                    kept_params.push(self.params[param.0].clone());
                    ParamId(kept_params.len() - 1)
                });
            }
            node.output = keep_value(node.output, &self.values);
        }
        for output in &mut self.outputs {
            *output = keep_value(*output, &self.values);
        }
        self.values = kept_values;
        self.params = kept_params;
    }
}
