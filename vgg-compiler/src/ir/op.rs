//! The operators of the family, with the attribute names and the meaning that ONNX gives them.
//!
//! Source: <https://onnx.ai/onnx/operators/>, opset 17.

/// One operator and its attributes. Activations are NCHW, convolution weights OIHW, fully connected weights [out, in].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Op {
    /// Cross-correlation with bias: <https://onnx.ai/onnx/operators/onnx__Conv.html>. Parameters: weight, bias.
    Conv(Conv),
    /// `max(0, x)`: <https://onnx.ai/onnx/operators/onnx__Relu.html>.
    Relu,
    /// `min(max, max(min, x))`: <https://onnx.ai/onnx/operators/onnx__Clip.html>. From 0 to 6 it is known as ReLU6.
    Clip {
        /// The lower bound; -infinity for none.
        min: f32,
        /// The upper bound; +infinity for none.
        max: f32,
    },
    /// `x` where it is not negative, elsewhere `alpha * x`: <https://onnx.ai/onnx/operators/onnx__LeakyRelu.html>.
    LeakyRelu {
        /// The slope for negative numbers.
        alpha: f32,
    },
    /// `1 / (1 + exp(-x))`: <https://onnx.ai/onnx/operators/onnx__Sigmoid.html>.
    Sigmoid,
    /// The sum of two activations of one shape: <https://onnx.ai/onnx/operators/onnx__Add.html>.
    Add,
    /// The products of the elements of two activations of one shape: <https://onnx.ai/onnx/operators/onnx__Mul.html>.
    Mul,
    /// One activation after the other along the channels (or features):
    /// <https://onnx.ai/onnx/operators/onnx__Concat.html> with `axis = 1`.
    Concat,
    /// <https://onnx.ai/onnx/operators/onnx__MaxPool.html>.
    MaxPool(Pool),
    /// <https://onnx.ai/onnx/operators/onnx__AveragePool.html>.
    AveragePool {
        /// The window.
        pool: Pool,
        /// Whether the zeros of `pads` count in the divisor. What `ceil_mode` adds beyond them never counts.
        count_include_pad: bool,
    },
    /// The largest pixel of each channel: <https://onnx.ai/onnx/operators/onnx__GlobalMaxPool.html>.
    GlobalMaxPool,
    /// The mean of each channel: <https://onnx.ai/onnx/operators/onnx__GlobalAveragePool.html>.
    GlobalAveragePool,
    /// <https://onnx.ai/onnx/operators/onnx__LRN.html>.
    Lrn(Lrn),
    /// <https://onnx.ai/onnx/operators/onnx__BatchNormalization.html> with stored statistics, of each channel or feature.
    /// Parameters: weight (scale), bias, running mean, running variance.
    BatchNormalization {
        /// Added to the variance.
        epsilon: f32,
    },
    /// <https://onnx.ai/onnx/operators/onnx__Dropout.html>: the identity at inference.
    Dropout {
        /// Share dropped in training.
        ratio: f32,
    },
    /// <https://onnx.ai/onnx/operators/onnx__Flatten.html> with `axis = 1`: [N, C, H, W] to [N, C*H*W].
    Flatten,
    /// `x W^T + b`, that is <https://onnx.ai/onnx/operators/onnx__Gemm.html> with `transB = 1`. Parameters: weight, bias.
    Gemm {
        /// Outputs: rows of the weight.
        out_features: usize,
    },
    /// <https://onnx.ai/onnx/operators/onnx__Softmax.html> over the features.
    Softmax,
    /// The logarithm of softmax: <https://onnx.ai/onnx/operators/onnx__LogSoftmax.html> over the features.
    LogSoftmax,
}

/// Attributes of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv {
    /// Output channels: the first extent of the weight.
    pub out_channels: usize,
    /// Height and width of the kernel.
    pub kernel_shape: [usize; 2],
    /// Vertical and horizontal distance between windows.
    pub strides: [usize; 2],
    /// Zero rows and columns: top, left, bottom, right.
    pub pads: [usize; 4],
    /// Vertical and horizontal distance between the taps of the kernel, 1 for neighbours.
    pub dilations: [usize; 2],
    /// In how many groups of equal size the channels fall: each group of output channels reads its own group of input channels.
    pub group: usize,
}

impl Conv {
    /// A convolution of stride 1 without padding, dilation or groups.
    pub const fn new(out_channels: usize, kernel_shape: [usize; 2]) -> Self {
        Self { out_channels, kernel_shape, strides: [1, 1], pads: [0; 4], dilations: [1, 1], group: 1 }
    }

    /// Rows and columns from the first to the last tap of the kernel.
    pub const fn extent(&self) -> [usize; 2] {
        let [height, width] = self.kernel_shape;
        [
            height.saturating_sub(1).saturating_mul(self.dilations[0]).saturating_add(1),
            width.saturating_sub(1).saturating_mul(self.dilations[1]).saturating_add(1),
        ]
    }
}

/// Attributes of a pooling operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Height and width of the window.
    pub kernel_shape: [usize; 2],
    /// Vertical and horizontal distance between windows.
    pub strides: [usize; 2],
    /// Rows and columns that belong to no pixel: top, left, bottom, right. They never take part in a maximum or a sum.
    pub pads: [usize; 4],
    /// Whether the number of windows is rounded up.
    pub ceil_mode: bool,
}

/// Attributes of local response normalisation: `y = x / (bias + alpha / size * sum(x_j^2))^beta`, the sum over the
/// `size` channels around the element's own, those outside the tensor left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lrn {
    /// Channels in the window.
    pub size: usize,
    /// Scale of the mean square.
    pub alpha: f32,
    /// Exponent.
    pub beta: f32,
    /// Constant added before the power.
    pub bias: f32,
}

impl Op {
    /// The ONNX `op_type`.
    pub fn op_type(&self) -> &'static str {
        match self {
            Op::Conv(_) => "Conv",
            Op::Relu => "Relu",
            Op::Clip { .. } => "Clip",
            Op::LeakyRelu { .. } => "LeakyRelu",
            Op::Sigmoid => "Sigmoid",
            Op::Add => "Add",
            Op::Mul => "Mul",
            Op::Concat => "Concat",
            Op::MaxPool(_) => "MaxPool",
            Op::AveragePool { .. } => "AveragePool",
            Op::GlobalMaxPool => "GlobalMaxPool",
            Op::GlobalAveragePool => "GlobalAveragePool",
            Op::Lrn(_) => "LRN",
            Op::BatchNormalization { .. } => "BatchNormalization",
            Op::Dropout { .. } => "Dropout",
            Op::Flatten => "Flatten",
            Op::Gemm { .. } => "Gemm",
            Op::Softmax => "Softmax",
            Op::LogSoftmax => "LogSoftmax",
        }
    }

    /// How many activations the operator reads, when it has `arrived` of them: their number if it takes that many, or else the nearest one.
    pub fn arity(&self, arrived: usize) -> usize {
        match self {
            Op::Add | Op::Mul => 2,
            Op::Concat => arrived.max(1),
            _ => 1,
        }
    }

    /// The suffixes of this operator's parameters, in the order of its ONNX inputs after the first. They are torchvision's.
    pub fn param_suffixes(&self) -> &'static [&'static str] {
        match self {
            Op::Conv(_) | Op::Gemm { .. } => &["weight", "bias"],
            Op::BatchNormalization { .. } => &["weight", "bias", "running_mean", "running_var"],
            _ => &[],
        }
    }
}
