//! The text form of a plan, stable from run to run.

use std::fmt;

use crate::ir::Pool;

use super::step::{Blocked, ExecutionPlan, Layout, Operand, StepKind};

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{} c{}", self.channels, self.height, self.width, self.block)?;
        if self.halo != [0; 4] {
            write!(f, " halo {}", sides(self.halo))?;
        }
        Ok(())
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layout::Blocked(blocked) => blocked.fmt(f),
            Layout::Flat { features } => write!(f, "{features}"),
        }
    }
}

/// What the step computes, as the layer table shows it.
impl fmt::Display for StepKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StepKind::Pack { .. } => f.write_str("pack"),
            StepKind::Conv(conv) => {
                let [height, width] = conv.kernel;
                write!(f, "conv {height}x{width} {}", conv.algorithm.name())?;
                if conv.strides != [1, 1] {
                    write!(f, ", stride {}", extents(conv.strides))?;
                }
                if conv.pads != [0; 4] {
                    write!(f, ", pad {}", sides(conv.pads))?;
                }
                f.write_str(if conv.relu { " + relu" } else { "" })?;
                conv.pool.iter().try_for_each(|pool| write_pool(f, " + maxpool", pool))
            }
            StepKind::MaxPool { pool, .. } => write_pool(f, "maxpool", pool),
            StepKind::AveragePool { pool, count_include_pad, .. } => {
                write_pool(f, "avgpool", pool)?;
                f.write_str(if *count_include_pad { ", padding counted" } else { "" })
            }
            StepKind::Lrn { lrn, .. } => {
                write!(f, "lrn size {}, alpha {}, beta {}, bias {}", lrn.size, lrn.alpha, lrn.beta, lrn.bias)
            }
            StepKind::Relu { .. } | StepKind::FlatRelu { .. } => f.write_str("relu"),
            StepKind::Flatten { .. } => f.write_str("flatten"),
            StepKind::Gemm { in_features, out_features, relu, .. } => {
                write!(f, "gemm {in_features} to {out_features}{}", if *relu { " + relu" } else { "" })
            }
            StepKind::Softmax { .. } => f.write_str("softmax"),
            StepKind::LogSoftmax { .. } => f.write_str("log softmax"),
        }
    }
}

fn write_pool(f: &mut fmt::Formatter<'_>, name: &str, pool: &Pool) -> fmt::Result {
    let [height, width] = pool.kernel_shape;
    write!(f, "{name} {height}x{width}, stride {}", extents(pool.strides))?;
    if pool.pads != [0; 4] {
        write!(f, ", pad {}", sides(pool.pads))?;
    }
    f.write_str(if pool.ceil_mode { ", ceil" } else { "" })
}

/// `2`, or `2x1` (height x width).
fn extents([height, width]: [usize; 2]) -> String {
    if height == width { height.to_string() } else { format!("{height}x{width}") }
}

/// `1`, or `1 0 2 0` (top, left, bottom, right).
fn sides(sides: [usize; 4]) -> String {
    let [top, left, bottom, right] = sides;
    if sides == [top; 4] { top.to_string() } else { format!("{top} {left} {bottom} {right}") }
}

impl fmt::Display for ExecutionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "plan {} batch {} arena {} f32 {{", self.name, self.batch, self.arena_len)?;
        let operand = |operand: Operand| match operand {
            Operand::Input => "input".to_owned(),
            Operand::Output => "output".to_owned(),
            Operand::Buffer(index) => {
                let buffer = &self.buffers[index];
                format!("%{} @{}+{} ({})", buffer.name, buffer.offset, buffer.len, buffer.layout)
            }
        };
        for step in &self.steps {
            writeln!(f, "  {}: {}", step.name, step.kind)?;
            writeln!(f, "    {} -> {}", operand(step.input), operand(step.output))?;
        }
        writeln!(f, "}}")
    }
}
