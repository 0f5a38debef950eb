//! The text form of a plan, stable from run to run.

use std::fmt;

use super::step::{Blocked, ExecutionPlan, Layout, Operand, StepKind};

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{} c{}", self.channels, self.height, self.width, self.block)?;
        if self.halo != [0; 4] {
            write!(f, " halo {:?}", self.halo)?;
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

impl fmt::Display for StepKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StepKind::Pack { .. } => f.write_str("pack"),
            StepKind::Conv(conv) => {
                let [kernel_height, kernel_width] = conv.kernel;
                write!(f, "conv {kernel_height}x{kernel_width} {}", conv.algorithm.name())?;
                if conv.strides != [1, 1] {
                    write!(f, " strides {:?}", conv.strides)?;
                }
                if conv.pads != [0; 4] {
                    write!(f, " pads {:?}", conv.pads)?;
                }
                f.write_str(if conv.relu { " +relu" } else { "" })?;
                match conv.pool {
                    Some(pool) => {
                        let [height, width] = pool.kernel_shape;
                        write!(f, " +maxpool {height}x{width} strides {:?}", pool.strides)?;
                        f.write_str(if pool.ceil_mode { " ceil" } else { "" })
                    }
                    None => Ok(()),
                }
            }
            StepKind::MaxPool { pool, .. } | StepKind::AveragePool { pool, .. } => {
                let name = if matches!(self, StepKind::MaxPool { .. }) { "maxpool" } else { "avgpool" };
                let [height, width] = pool.kernel_shape;
                write!(f, "{name} {height}x{width} strides {:?}", pool.strides)?;
                f.write_str(if pool.ceil_mode { " ceil" } else { "" })
            }
            StepKind::Lrn { lrn, .. } => {
                write!(f, "lrn size {} alpha {} beta {} bias {}", lrn.size, lrn.alpha, lrn.beta, lrn.bias)
            }
            StepKind::Relu { .. } | StepKind::FlatRelu { .. } => f.write_str("relu"),
            StepKind::Flatten { .. } => f.write_str("flatten"),
            StepKind::Gemm { in_features, out_features, relu, .. } => {
                write!(f, "gemm {in_features} -> {out_features}{}", if *relu { " +relu" } else { "" })
            }
            StepKind::Softmax { features } => write!(f, "softmax {features}"),
        }
    }
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
