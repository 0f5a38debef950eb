//! The text form of a plan, stable from run to run.

use std::fmt;

use crate::ir::{Pool, Precision};

use super::step::{Activation, Blocked, Combination, ExecutionPlan, Layout, Operand, StepKind};

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
                if conv.dilations != [1, 1] {
                    write!(f, ", dilation {}", extents(conv.dilations))?;
                }
                if conv.group != 1 {
                    write!(f, ", {} groups", conv.group)?;
                }
                f.write_str(relu_after(conv.relu))?;
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
            StepKind::Activation { function, .. } => function.fmt(f),
            StepKind::Affine { relu, .. } => write!(f, "batch norm{}", relu_after(*relu)),
            StepKind::Combine { operation, relu, .. } => {
                let name = match operation {
                    Combination::Add => "add",
                    Combination::Mul => "mul",
                };
                write!(f, "{name}{}", relu_after(*relu))
            }
            StepKind::Concat { input, first, .. } => {
                write!(f, "concat from channel {first} to {}", first + input.channels - 1)
            }
            StepKind::Flatten { .. } => f.write_str("flatten"),
            StepKind::Gemm { in_features, out_features, relu, precision, .. } => {
                write!(f, "gemm {in_features} to {out_features}")?;
                if *precision != Precision::F32 {
                    write!(f, ", {precision}")?;
                }
                f.write_str(relu_after(*relu))
            }
            StepKind::Softmax { .. } => f.write_str("softmax"),
            StepKind::LogSoftmax { .. } => f.write_str("log softmax"),
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Activation::Relu => f.write_str("relu"),
            Activation::Clip { min, max } => write!(f, "clip {min} to {max}"),
            Activation::LeakyRelu { alpha } => write!(f, "leaky relu {alpha}"),
            Activation::Sigmoid => f.write_str("sigmoid"),
        }
    }
}

fn relu_after(relu: bool) -> &'static str {
    if relu { " + relu" } else { "" }
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
            Operand::Output(0) if self.outputs.len() == 1 => "output".to_owned(),
            Operand::Output(index) => format!("output {index}"),
            Operand::Buffer(index) => {
                let buffer = &self.buffers[index];
                format!("%{} @{}+{} ({})", buffer.name, buffer.offset, buffer.len, buffer.layout)
            }
        };
        for step in &self.steps {
            writeln!(f, "  {}: {}", step.name, step.kind)?;
            let inputs: Vec<String> = step.inputs.iter().map(|&input| operand(input)).collect();
            writeln!(f, "    {} -> {}", inputs.join(", "), operand(step.output))?;
        }
        writeln!(f, "}}")
    }
}
