//! How it is computed: from a [`TypedGraph`] to an [`ExecutionPlan`] of fused, placed steps.
//!
//! The steps of planning, one file each:
//!
//! 1. `fuse`: `fuse_epilogue` groups the nodes that one kernel computes (bias, ReLU, max pooling).
//! 2. `select_algorithm`: how each convolution is computed.
//! 3. `layout`: `assign_layout` decides how each activation lies in memory; changes of layout become steps.
//! 4. `memory`: `plan_memory` finds when each buffer lives and gives it a place in one arena.

mod fuse;
mod layout;
mod memory;
mod print;
mod select_algorithm;
mod step;

pub use step::{
    Activation, Algorithm, BLOCK, Blocked, Buffer, Combination, ConvStep, ExecutionPlan, Layout, Operand, Step,
    StepKind,
};

use std::collections::BTreeMap;

use crate::ir::{Node, Op, Pool, TypedGraph, ValueId};
use fuse::Fused;

/// What may differ between two plans of one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanOptions {
    /// Images of one inference, at least 1.
    pub batch: usize,
    /// Values that must be stored as they are, so that they can be looked at: nothing is fused across them.
    pub barriers: Vec<ValueId>,
    /// Whether every convolution is summed directly, so that its error stays that of a sum of products.
    pub exact: bool,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self { batch: 1, barriers: Vec::new(), exact: false }
    }
}

/// Why a graph cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// An operator that the passes take away is still there.
    #[error("layer `{layer}` ({op}) has no kernel of its own; run `passes::prepare_for_inference` on the graph first")]
    Unprepared {
        /// The layer.
        layer: String,
        /// Its operator.
        op: &'static str,
    },
    /// A batch of no images.
    #[error("a batch of 0 images was asked for; the smallest is 1")]
    EmptyBatch,
    /// The activations do not fit the address space.
    #[error("the activations of a batch of {batch} are too large to address; ask for a smaller batch")]
    Overflow {
        /// Images of one inference.
        batch: usize,
    },
}

/// Plans the execution of `graph`.
pub fn plan(graph: &TypedGraph, options: &PlanOptions) -> Result<ExecutionPlan, PlanError> {
    if options.batch == 0 {
        return Err(PlanError::EmptyBatch);
    }
    let groups = fuse::fuse_epilogue(graph, &options.barriers)?;
    let layouts = layout::assign_layout(graph, &groups);
    let total: usize = layouts.values().map(Layout::len).fold(0, usize::saturating_add);
    if total.checked_mul(options.batch).is_none_or(|len| len > isize::MAX as usize / 8) {
        return Err(PlanError::Overflow { batch: options.batch });
    }
    let mut placement = Placement {
        graph,
        batch: options.batch,
        exact: options.exact,
        layouts,
        buffers: Vec::new(),
        steps: Vec::new(),
    };
    placement.pack();
    for group in &groups {
        placement.place(group);
    }
    let Placement { mut buffers, steps, .. } = placement.finish();
    let arena_len = memory::plan_memory(&steps, &mut buffers);
    Ok(ExecutionPlan {
        name: graph.name.clone(),
        batch: options.batch,
        input: graph.input_shape(),
        outputs: graph.output_shapes().collect(),
        steps,
        buffers,
        arena_len,
    })
}

/// The steps and buffers as they come into being.
struct Placement<'a> {
    graph: &'a TypedGraph,
    batch: usize,
    exact: bool,
    layouts: BTreeMap<ValueId, Layout>,
    buffers: Vec<Buffer>,
    steps: Vec<Step>,
}

impl Placement<'_> {
    /// How operations on channels see `value`.
    fn blocked(&self, value: ValueId) -> Blocked {
        match self.layouts[&value] {
            Layout::Blocked(blocked) => blocked,
            Layout::Flat { features } => Blocked::pixel(features),
        }
    }

    /// How operations on single numbers see `value`.
    fn numbers(&self, value: ValueId) -> Blocked {
        match self.layouts[&value] {
            Layout::Blocked(blocked) => blocked,
            Layout::Flat { features } => Blocked::vector(features),
        }
    }

    fn is_flat(&self, value: ValueId) -> bool {
        matches!(self.layouts[&value], Layout::Flat { .. })
    }

    /// The buffer of `value`, made if it does not exist.
    fn buffer(&mut self, value: ValueId) -> Operand {
        let name = &self.graph.values[value.0].name;
        let index = self.buffers.iter().position(|buffer| &buffer.name == name).unwrap_or_else(|| {
            let layout = self.layouts[&value];
            let len = layout.len() * self.batch;
            self.buffers.push(Buffer { name: name.clone(), layout, offset: 0, len, written: 0, last_read: 0 });
            self.buffers.len() - 1
        });
        Operand::Buffer(index)
    }

    /// Where `value` is read from: flat input needs no change of layout.
    fn read(&mut self, value: ValueId) -> Operand {
        if value == self.graph.input && self.is_flat(value) { Operand::Input } else { self.buffer(value) }
    }

    /// Where `value` is written to: a flat output that no layer reads goes straight to the caller.
    fn write(&mut self, value: ValueId) -> Operand {
        match self.graph.outputs.iter().position(|&output| output == value) {
            Some(index) if self.is_flat(value) && self.graph.consumers(value).next().is_none() => {
                Operand::Output(index)
            }
            _ => self.buffer(value),
        }
    }

    /// Brings the caller's input into the layout that its readers want.
    fn pack(&mut self) {
        let value = self.graph.input;
        if !self.is_flat(value) {
            let output = self.buffer(value);
            let kind = StepKind::Pack { output: self.blocked(value) };
            self.steps.push(Step {
                name: "pack".into(),
                layers: Vec::new(),
                value,
                kind,
                inputs: vec![Operand::Input],
                output,
            });
        }
    }

    fn place(&mut self, group: &Fused<'_>) {
        let (from, to) = (group.inputs()[0], group.output());
        if group.node.op == Op::Concat {
            return self.concatenate(group.node);
        }
        let inputs: Vec<Operand> = group.inputs().iter().map(|&value| self.read(value)).collect();
        let output = self.write(to);
        let (source, target) = (self.blocked(from), self.blocked(to));
        let activation =
            |function| StepKind::Activation { input: self.numbers(from), output: self.numbers(to), function };
        let combination = |operation| StepKind::Combine {
            inputs: [self.numbers(group.inputs()[0]), self.numbers(group.inputs()[1])],
            output: self.numbers(to),
            operation,
            relu: group.relu(),
        };
        let kind = match group.node.op {
            Op::Conv(conv) => StepKind::Conv(ConvStep {
                input: source,
                output: target,
                kernel: conv.kernel_shape,
                strides: conv.strides,
                pads: conv.pads,
                dilations: conv.dilations,
                group: conv.group,
                relu: group.relu(),
                pool: group.pool(),
                params: [group.node.params[0], group.node.params[1]],
                algorithm: select_algorithm::select_algorithm(&conv, source, self.exact),
            }),
            Op::MaxPool(pool) => StepKind::MaxPool { input: source, output: target, pool },
            Op::AveragePool { pool, count_include_pad } => {
                StepKind::AveragePool { input: source, output: target, pool, count_include_pad }
            }
            Op::GlobalMaxPool => StepKind::MaxPool { input: source, output: target, pool: whole(source) },
            Op::GlobalAveragePool => {
                StepKind::AveragePool { input: source, output: target, pool: whole(source), count_include_pad: false }
            }
            Op::Lrn(lrn) => StepKind::Lrn { input: source, output: target, lrn },
            Op::BatchNormalization { epsilon } => StepKind::Affine {
                input: source,
                output: target,
                epsilon,
                relu: group.relu(),
                params: std::array::from_fn(|index| group.node.params[index]),
            },
            Op::Relu => activation(Activation::Relu),
            Op::Clip { min, max } => activation(Activation::Clip { min, max }),
            Op::LeakyRelu { alpha } => activation(Activation::LeakyRelu { alpha }),
            Op::Sigmoid => activation(Activation::Sigmoid),
            Op::Add => combination(Combination::Add),
            Op::Mul => combination(Combination::Mul),
            Op::Flatten => StepKind::Flatten { input: source },
            Op::Gemm { out_features } => StepKind::Gemm {
                in_features: source.channels,
                out_features,
                relu: group.relu(),
                params: [group.node.params[0], group.node.params[1]],
                scale: group.node.params.get(2).copied(),
                precision: self.graph.params[group.node.params[0].0].precision(),
            },
            Op::Softmax => StepKind::Softmax { features: source.channels },
            Op::LogSoftmax => StepKind::LogSoftmax { features: source.channels },
            // `fuse_epilogue` has refused the one, and the other is done above.
            Op::Dropout { .. } | Op::Concat => return,
        };
        let name = group.node.name.clone();
        self.steps.push(Step { name, layers: group.layers(), value: to, kind, inputs, output });
    }

    /// One copy for each operand of the concatenation `node`; the last one completes its value.
    fn concatenate(&mut self, node: &Node) {
        let (value, output) = (node.output, self.blocked(node.output));
        let mut first = 0;
        for (index, &from) in node.inputs.iter().enumerate() {
            let input = self.blocked(from);
            let last = index + 1 == node.inputs.len();
            let (name, layers) =
                if last { (node.name.clone(), vec![node.name.clone()]) } else { ("concat".into(), Vec::new()) };
            let kind = StepKind::Concat { input, output, first };
            let (inputs, output) = (vec![self.read(from)], self.write(value));
            self.steps.push(Step { name, layers, value, kind, inputs, output });
            first += input.channels;
        }
    }

    /// Gives the outputs that are not written yet back to the caller: feature maps as NCHW.
    fn finish(mut self) -> Self {
        for (index, &value) in self.graph.outputs.iter().enumerate() {
            let output = Operand::Output(index);
            if self.steps.iter().any(|step| step.output == output) {
                continue;
            }
            let inputs = vec![self.buffer(value)];
            let kind = StepKind::Flatten { input: self.blocked(value) };
            self.steps.push(Step { name: "unpack".into(), layers: Vec::new(), value, kind, inputs, output });
        }
        self
    }
}

/// The window of a pool over a whole image.
fn whole(image: Blocked) -> Pool {
    Pool { kernel_shape: [image.height, image.width], strides: [1, 1], pads: [0; 4], ceil_mode: false }
}

#[cfg(test)]
mod tests;
