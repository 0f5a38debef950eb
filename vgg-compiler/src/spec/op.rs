//! What each layer of the notation is in ONNX.

use super::{Extent, LayerKind, PoolSpec};
use crate::ir::{Conv, Lrn, Op, Pool};

impl LayerKind {
    /// The operator of the layer itself, without the ReLU that may follow it.
    pub fn op(&self) -> Op {
        match *self {
            Self::Conv { kernel, filters, stride, pad, .. } => {
                Op::Conv(Conv { strides: pair(stride), pads: sides(pad), ..Conv::new(filters, pair(kernel)) })
            }
            Self::BatchNorm { epsilon } => Op::BatchNormalization { epsilon },
            Self::Lrn { size, alpha, beta, k } => Op::Lrn(Lrn { size, alpha, beta, bias: k }),
            Self::MaxPool(pool) => Op::MaxPool(window(pool)),
            Self::AvgPool(pool) => Op::AveragePool { pool: window(pool), count_include_pad: false },
            Self::Fc { units, .. } => Op::Gemm { out_features: units },
            Self::Dropout { ratio } => Op::Dropout { ratio },
            Self::Softmax => Op::Softmax,
        }
    }
}

fn pair(extent: Extent) -> [usize; 2] {
    [extent.height, extent.width]
}

fn sides(pad: Extent) -> [usize; 4] {
    [pad.height, pad.width, pad.height, pad.width]
}

fn window(pool: PoolSpec) -> Pool {
    Pool { kernel_shape: pair(pool.kernel), strides: pair(pool.stride), pads: sides(pool.pad), ceil_mode: pool.ceil }
}
