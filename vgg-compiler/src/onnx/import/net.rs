//! The network of a file: its operators on activations with the constants that they read, shapes known, layouts as in the file.
//!
//! [`read`](super::read) makes it, [`passes`](super::passes) bring it into the form that [`lower`](super::lower) takes. Unlike
//! [`crate::ir::Graph`] it has tensors of any rank with the batch as an axis, and its operators hold their numbers.

use std::collections::BTreeSet;
use std::ops::Range;

use bytes::Bytes;

use super::affine::Affine;
use super::constant::Constant;
use crate::ir::{Lrn, Pool};

/// Index of an activation in [`Net::values`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ValueId(pub(super) usize);

/// A network as a file has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Net {
    /// Of the graph.
    pub(super) name: String,
    /// What the author says about it.
    pub(super) docs: Vec<String>,
    /// The extent of the first axis of every activation: images of one inference, or [`OPEN`].
    pub(super) batch: usize,
    pub(super) input: ValueId,
    pub(super) outputs: Vec<ValueId>,
    pub(super) values: Vec<Value>,
    /// Each after those whose output it reads.
    pub(super) nodes: Vec<Node>,
    /// What was done to it, one clause each.
    pub(super) notes: BTreeSet<String>,
}

/// Stands for a batch that is open: a prime number, so that it is recognised in shapes that a file computes with it.
pub(super) const OPEN: usize = 2_147_483_647;

/// The extents of an activation, for messages.
pub(super) fn shown(shape: &[usize]) -> String {
    let extents: Vec<String> =
        shape.iter().map(|&extent| if extent == OPEN { "N".to_owned() } else { extent.to_string() }).collect();
    format!("[{}]", extents.join(", "))
}

/// An activation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Value {
    /// Its name in the file; empty for one that only passes have made.
    pub(super) name: String,
    /// With the batch.
    pub(super) shape: Vec<usize>,
}

/// One operator.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Names of the file's nodes that it computes, the last of which makes its output.
    pub(super) names: Vec<String>,
    pub(super) op: Op,
    pub(super) inputs: Vec<ValueId>,
    pub(super) output: ValueId,
}

/// What a node computes, with its constants. Axes count from the front.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Op {
    Conv(Conv),
    /// `x W^T + b`.
    Gemm(Gemm),
    /// `x W` with the constant [in, out].
    MatMul(Constant),
    Affine(Affine),
    Activation(Activation),
    Lrn(Lrn),
    MaxPool(Pool),
    AveragePool {
        pool: Pool,
        count_include_pad: bool,
    },
    /// Over rows and columns of [N, C, H, W].
    GlobalMaxPool,
    /// The mean over some axes, which are kept with extent 1 or go.
    ReduceMean {
        /// The operator that it was.
        op: &'static str,
        axes: Vec<usize>,
        keep: bool,
    },
    /// The sum in the same way.
    ReduceSum {
        axes: Vec<usize>,
        keep: bool,
    },
    /// The same elements under the extents of its output.
    Reshape,
    /// Axis `i` of the output is axis `order[i]` of the input.
    Transpose(Vec<usize>),
    /// Over all elements of these axes together.
    Softmax {
        axes: Range<usize>,
        log: bool,
    },
    /// Nothing, of the operator of that name.
    Identity(&'static str),
    /// Elements of `value` before and behind each axis.
    Pad {
        sides: Vec<[usize; 2]>,
        value: f32,
    },
    Concat {
        axis: usize,
    },
    /// The elements at `indices` of these axes, which are counted as one, under the extents `shape` in their place.
    Gather {
        /// The operator that it was.
        op: &'static str,
        axes: Range<usize>,
        indices: Vec<usize>,
        shape: Vec<usize>,
    },
    /// Of two activations of one shape.
    Add,
    /// Of two activations of one shape.
    Mul,
}

/// A convolution.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Conv {
    /// Of the weight: out, in / group, height, width.
    pub(super) shape: [usize; 4],
    pub(super) weight: Bytes,
    /// One for each output channel.
    pub(super) bias: Bytes,
    pub(super) strides: [usize; 2],
    /// Top, left, bottom, right.
    pub(super) pads: [usize; 4],
    pub(super) dilations: [usize; 2],
    pub(super) group: usize,
}

/// A fully connected layer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Gemm {
    /// Of the weight: out, in.
    pub(super) shape: [usize; 2],
    pub(super) weight: Bytes,
    /// One for each output.
    pub(super) bias: Bytes,
}

/// A function of each element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Activation {
    Relu,
    Clip { min: f32, max: f32 },
    LeakyRelu { alpha: f32 },
    Sigmoid,
}

impl Activation {
    /// Whether the order of two numbers is that of their images, so that the largest stays the largest.
    pub(super) fn keeps_order(self) -> bool {
        match self {
            Self::Relu | Self::Clip { .. } | Self::Sigmoid => true,
            Self::LeakyRelu { alpha } => alpha >= 0.0,
        }
    }
}

impl Op {
    /// Its name in ONNX, for messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Conv(_) => "Conv",
            Self::Gemm(_) => "Gemm",
            Self::MatMul(_) => "MatMul",
            Self::Affine(affine) => affine.op,
            Self::Activation(Activation::Relu) => "Relu",
            Self::Activation(Activation::Clip { .. }) => "Clip",
            Self::Activation(Activation::LeakyRelu { .. }) => "LeakyRelu",
            Self::Activation(Activation::Sigmoid) => "Sigmoid",
            Self::Lrn(_) => "LRN",
            Self::MaxPool(_) => "MaxPool",
            Self::AveragePool { .. } => "AveragePool",
            Self::GlobalMaxPool => "GlobalMaxPool",
            Self::ReduceMean { op, .. } => op,
            Self::ReduceSum { .. } => "ReduceSum",
            Self::Reshape => "Reshape",
            Self::Transpose(_) => "Transpose",
            Self::Softmax { log: false, .. } => "Softmax",
            Self::Softmax { log: true, .. } => "LogSoftmax",
            Self::Identity(name) => name,
            Self::Pad { .. } => "Pad",
            Self::Concat { .. } => "Concat",
            Self::Gather { op, .. } => op,
            Self::Add => "Add",
            Self::Mul => "Mul",
        }
    }
}

impl Net {
    /// The extents of an activation, the batch first.
    pub(super) fn shape(&self, value: ValueId) -> &[usize] {
        self.values.get(value.0).map_or(&[], |value| &value.shape)
    }

    /// A new activation.
    pub(super) fn add_value(&mut self, name: String, shape: Vec<usize>) -> ValueId {
        self.values.push(Value { name, shape });
        ValueId(self.values.len() - 1)
    }

    pub(super) fn note(&mut self, text: &str) {
        self.notes.insert(text.to_owned());
    }

    /// The node that makes `value`, none for the input.
    pub(super) fn producer(&self, value: ValueId) -> Option<usize> {
        self.nodes.iter().position(|node| node.output == value)
    }

    /// The node that reads `value`, when there is but one, it reads it once, and `value` is no output.
    pub(super) fn sole_reader(&self, value: ValueId) -> Option<usize> {
        let mut readers = self
            .nodes
            .iter()
            .enumerate()
            .flat_map(|(index, node)| node.inputs.iter().filter(|&&input| input == value).map(move |_| index));
        let first = readers.next()?;
        (readers.next().is_none() && !self.outputs.contains(&value)).then_some(first)
    }

    /// Makes every reader of `old` read `new`, and the outputs with them.
    pub(super) fn replace_uses(&mut self, old: ValueId, new: ValueId) {
        let inputs = self.nodes.iter_mut().flat_map(|node| &mut node.inputs);
        for value in inputs.chain(&mut self.outputs).filter(|value| **value == old) {
            *value = new;
        }
    }

    /// Lets everything that reads `value` read what `made` makes of `base`, one after the other, each with its shape.
    pub(super) fn put_in_place(&mut self, value: ValueId, base: ValueId, made: Vec<(Op, Vec<usize>)>) -> Option<()> {
        let at = self.producer(value)?;
        let names = self.nodes.get(at)?.names.clone();
        let mut last = base;
        // The original node stays until nobody reads it; its value gets a new maker.
        let mut place = at + 1;
        for (op, shape) in made {
            let output = self.add_value(String::new(), shape);
            self.nodes.insert(place, Node { names: names.clone(), op, inputs: vec![last], output });
            (last, place) = (output, place + 1);
        }
        for node in self.nodes.iter_mut().skip(place) {
            for input in node.inputs.iter_mut().filter(|input| **input == value) {
                *input = last;
            }
        }
        for output in self.outputs.iter_mut().filter(|output| **output == value) {
            *output = last;
        }
        Some(())
    }

    /// Removes a node of one input; its readers read that.
    pub(super) fn bypass(&mut self, index: usize) {
        if index >= self.nodes.len() {
            return;
        }
        let node = self.nodes.remove(index);
        if let Some(&input) = node.inputs.first() {
            // What comes out of the network keeps its name.
            if self.outputs.contains(&node.output) && !self.outputs.contains(&input) && input != self.input {
                let name = self.values.get(node.output.0).map(|value| value.name.clone());
                if let (Some(value), Some(name)) = (self.values.get_mut(input.0), name) {
                    value.name = name;
                }
            }
            self.replace_uses(node.output, input);
        }
    }

    /// Removes the node `index`, the only reader of the node `before`, which now makes its output and bears its names.
    pub(super) fn absorb(&mut self, before: usize, index: usize) {
        if index >= self.nodes.len() {
            return;
        }
        let removed = self.nodes.remove(index);
        if let Some(node) = self.nodes.get_mut(before) {
            node.output = removed.output;
            node.names.extend(removed.names);
        }
    }

    /// Operator and name of a node, for messages.
    pub(super) fn shown(&self, node: &Node) -> String {
        let own = self.values.get(node.output.0).map(|value| &value.name);
        let name = node.names.last().or(own).map(String::as_str).unwrap_or_default();
        format!("{} at node `{}`", node.op.name(), super::error::printable(name))
    }
}
