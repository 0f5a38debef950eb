//! The text form of a graph, stable from run to run: goldens and `--emit` use it.

use std::fmt::{self, Write};

use super::graph::{Graph, ParamSource};
use super::op::{Op, Pool};

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape =
            |id: super::ValueId| self.values[id.0].shape.map_or_else(|| "?".to_owned(), |shape| shape.to_string());
        let value = |id: super::ValueId| &self.values[id.0].name;
        writeln!(f, "graph {}({}: {}) {{", self.name, value(self.input), shape(self.input))?;
        for node in &self.nodes {
            let mut operands: Vec<String> = node.inputs.iter().map(|&id| format!("%{}", value(id))).collect();
            operands.extend(node.params.iter().map(|id| format!("@{}", self.params[id.0].key)));
            let mut attributes = String::new();
            write_attributes(&mut attributes, &node.op)?;
            let (output, op) = (value(node.output), node.op.op_type());
            writeln!(f, "  %{output}: {} = {op}({}){attributes}", shape(node.output), operands.join(", "))?;
        }
        let outputs: Vec<String> = self.outputs.iter().map(|&id| format!("%{}", value(id))).collect();
        writeln!(f, "  return {}", outputs.join(", "))?;
        writeln!(f, "}}")?;
        for param in &self.params {
            let source = match &param.source {
                ParamSource::Stored => String::new(),
                ParamSource::Rounded(precision) => format!(" = {precision}"),
                ParamSource::RowScales { weight } => format!(" = scales({})", weight.key),
                ParamSource::FoldedBatchNorm { conv, batch_norm, epsilon, .. } => {
                    format!(" = fold({}, {}, eps {epsilon})", conv[0].key, batch_norm[0].key)
                }
            };
            writeln!(f, "@{}: {:?} as {}{source}", param.key, param.shape, param.name)?;
        }
        Ok(())
    }
}

fn write_attributes(out: &mut String, op: &Op) -> fmt::Result {
    match op {
        Op::Conv(conv) => {
            write!(out, " kernel_shape={:?} strides={:?} pads={:?}", conv.kernel_shape, conv.strides, conv.pads)?;
            if conv.dilations != [1, 1] {
                write!(out, " dilations={:?}", conv.dilations)?;
            }
            if conv.group == 1 { Ok(()) } else { write!(out, " group={}", conv.group) }
        }
        Op::Clip { min, max } => write!(out, " min={min} max={max}"),
        Op::LeakyRelu { alpha } => write!(out, " alpha={alpha}"),
        Op::MaxPool(pool) => write_window(out, pool),
        Op::AveragePool { pool, count_include_pad } => {
            write_window(out, pool)?;
            if *count_include_pad { write!(out, " count_include_pad=1") } else { Ok(()) }
        }
        Op::Lrn(lrn) => write!(out, " size={} alpha={} beta={} bias={}", lrn.size, lrn.alpha, lrn.beta, lrn.bias),
        Op::BatchNormalization { epsilon } => write!(out, " epsilon={epsilon}"),
        Op::Dropout { ratio } => write!(out, " ratio={ratio}"),
        Op::Relu
        | Op::Sigmoid
        | Op::Add
        | Op::Mul
        | Op::Concat
        | Op::GlobalMaxPool
        | Op::GlobalAveragePool
        | Op::Flatten
        | Op::Gemm { .. }
        | Op::Softmax
        | Op::LogSoftmax => Ok(()),
    }
}

fn write_window(out: &mut String, pool: &Pool) -> fmt::Result {
    let Pool { kernel_shape, strides, pads, ceil_mode } = pool;
    let ceil_mode = u8::from(*ceil_mode);
    write!(out, " kernel_shape={kernel_shape:?} strides={strides:?} pads={pads:?} ceil_mode={ceil_mode}")
}
