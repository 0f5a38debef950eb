//! The text form of a network between the passes, for `--print-after`.

use std::fmt::{self, Write};

use super::error::printable;
use super::net::{Activation, Net, Op, ValueId, shown};
use crate::ir::Pool;

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |id: ValueId| {
            let name = self.values.get(id.0).map(|value| printable(&value.name)).unwrap_or_default();
            if name.is_empty() { format!("%{}", id.0) } else { format!("%{name}") }
        };
        writeln!(f, "network {}({}: {}) {{", printable(&self.name), value(self.input), shown(self.shape(self.input)))?;
        for node in &self.nodes {
            let inputs: Vec<String> = node.inputs.iter().map(|&input| value(input)).collect();
            let mut attributes = String::new();
            write_attributes(&mut attributes, &node.op)?;
            let (output, op) = (value(node.output), node.op.name());
            let names: Vec<String> = node.names.iter().map(|name| printable(name)).collect();
            let names = if names.is_empty() { String::new() } else { format!("  // {}", names.join(", ")) };
            let shape = shown(self.shape(node.output));
            writeln!(f, "  {output}: {shape} = {op}({}){attributes}{names}", inputs.join(", "))?;
        }
        let outputs: Vec<String> = self.outputs.iter().map(|&output| value(output)).collect();
        writeln!(f, "  return {}", outputs.join(", "))?;
        writeln!(f, "}}")?;
        self.notes.iter().try_for_each(|note| writeln!(f, "// {note}"))
    }
}

fn write_attributes(out: &mut String, op: &Op) -> fmt::Result {
    match op {
        Op::Conv(conv) => {
            let (strides, pads) = (conv.strides, conv.pads);
            write!(out, " weight={:?} strides={strides:?} pads={pads:?}", conv.shape)?;
            write!(out, " dilations={:?} group={}", conv.dilations, conv.group)
        }
        Op::Gemm(gemm) => write!(out, " weight={:?}", gemm.shape),
        Op::MatMul(weight) => write!(out, " weight={:?}", weight.shape),
        Op::Affine(affine) => match affine.axis {
            Some(axis) => write!(out, " constants={} axis={axis}", affine.scale.len()),
            None => write!(out, " constants={}", affine.scale.len()),
        },
        Op::Activation(Activation::Clip { min, max }) => write!(out, " min={min} max={max}"),
        Op::Activation(Activation::LeakyRelu { alpha }) => write!(out, " alpha={alpha}"),
        Op::Lrn(lrn) => write!(out, " size={} alpha={} beta={} bias={}", lrn.size, lrn.alpha, lrn.beta, lrn.bias),
        Op::MaxPool(pool) => write_window(out, pool),
        Op::AveragePool { pool, count_include_pad } => {
            write_window(out, pool)?;
            write!(out, " count_include_pad={}", u8::from(*count_include_pad))
        }
        Op::ReduceMean { axes, keep, .. } | Op::ReduceSum { axes, keep } => {
            write!(out, " axes={axes:?} keepdims={}", u8::from(*keep))
        }
        Op::Transpose(order) => write!(out, " perm={order:?}"),
        Op::Softmax { axes, .. } => write!(out, " axes={axes:?}"),
        Op::Pad { sides, value } => write!(out, " sides={sides:?} value={value}"),
        Op::Concat { axis } => write!(out, " axis={axis}"),
        Op::Gather { axes, shape, .. } => write!(out, " axes={axes:?} shape={shape:?}"),
        Op::Activation(Activation::Relu | Activation::Sigmoid)
        | Op::GlobalMaxPool
        | Op::Reshape
        | Op::Identity(_)
        | Op::Add
        | Op::Mul => Ok(()),
    }
}

fn write_window(out: &mut String, pool: &Pool) -> fmt::Result {
    let Pool { kernel_shape, strides, pads, ceil_mode } = pool;
    write!(out, " kernel_shape={kernel_shape:?} strides={strides:?} pads={pads:?} ceil_mode={}", u8::from(*ceil_mode))
}
