//! The types of a plan: fused operations on placed buffers.

use crate::ir::{Lrn, ParamId, Pool, Precision, Shape, ValueId};

/// Channels of one block of the blocked layout NCHWc8: one vector of eight f32.
pub const BLOCK: usize = 8;

/// How a network is executed: steps in order, each reading one buffer or two and writing another.
///
/// Unlike a graph, a plan holds fused operations, layouts and addresses, and cannot be written as ONNX.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutionPlan {
    /// The name of the network.
    pub name: String,
    /// Images of one inference.
    pub batch: usize,
    /// Shape of one input image; the caller's buffer is NCHW.
    pub input: Shape,
    /// Shapes of the outputs; the caller's buffer holds each as NCHW or [N, features], one output after the other.
    pub outputs: Vec<Shape>,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// The activations between the steps.
    pub buffers: Vec<Buffer>,
    /// Size of the arena that holds all buffers, in f32.
    pub arena_len: usize,
}

impl ExecutionPlan {
    /// Whether every convolution is summed directly.
    pub fn is_exact(&self) -> bool {
        self.steps.iter().all(|step| match step.kind.algorithm() {
            Some(Algorithm::WinogradF4 | Algorithm::WinogradF6) => false,
            Some(Algorithm::Direct | Algorithm::Gemm | Algorithm::Depthwise | Algorithm::General) | None => true,
        })
    }

    /// Numbers of all outputs of one inference.
    pub fn output_len(&self) -> usize {
        self.outputs.iter().map(|output| self.batch * output.len()).sum()
    }

    /// Where the output `index` lies among the numbers of all outputs.
    pub fn output_range(&self, index: usize) -> std::ops::Range<usize> {
        let start = self.outputs[..index].iter().map(|output| self.batch * output.len()).sum();
        start..start + self.batch * self.outputs[index].len()
    }
}

/// One call of a kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The layer it is named after: the first of [`Step::layers`], or what a step of its own does (`pack`, `unpack`, `concat`).
    pub name: String,
    /// The layers of the graph that it computes, in order. Empty when it only changes the layout, or writes a part of a
    /// value that a later step completes.
    pub layers: Vec<String>,
    /// The value of the graph that its output holds, or holds a part of.
    pub value: ValueId,
    /// What it computes.
    pub kind: StepKind,
    /// What it reads: two operands of [`StepKind::Combine`], one of all others.
    pub inputs: Vec<Operand>,
    /// What it writes.
    pub output: Operand,
}

/// Where a step reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// The caller's input, NCHW.
    Input,
    /// One of the caller's outputs: index in [`ExecutionPlan::outputs`].
    Output(usize),
    /// A buffer of the arena: index in [`ExecutionPlan::buffers`].
    Buffer(usize),
}

/// What a step computes.
#[derive(Debug, Clone, PartialEq)]
pub enum StepKind {
    /// NCHW to the blocked layout.
    Pack {
        /// What is written.
        output: Blocked,
    },
    /// Convolution with bias and its epilogue.
    Conv(ConvStep),
    /// Max pooling that could not become an epilogue.
    MaxPool {
        /// What is read.
        input: Blocked,
        /// What is written.
        output: Blocked,
        /// The window.
        pool: Pool,
    },
    /// Average pooling.
    AveragePool {
        /// What is read.
        input: Blocked,
        /// What is written.
        output: Blocked,
        /// The window.
        pool: Pool,
        /// Whether the zeros of the padding count in the divisor.
        count_include_pad: bool,
    },
    /// Local response normalisation across channels.
    Lrn {
        /// What is read.
        input: Blocked,
        /// What is written.
        output: Blocked,
        /// Its attributes.
        lrn: Lrn,
    },
    /// A function of each number that could not become an epilogue. A vector is a row of pixels, see [`Blocked::vector`].
    Activation {
        /// What is read.
        input: Blocked,
        /// What is written.
        output: Blocked,
        /// The function.
        function: Activation,
    },
    /// Batch normalisation that could not be folded: `x * scale + shift` with numbers for each channel, computed from the
    /// stored ones when they are loaded.
    Affine {
        /// What is read.
        input: Blocked,
        /// What is written.
        output: Blocked,
        /// Added to the variance.
        epsilon: f32,
        /// Whether ReLU is part of it.
        relu: bool,
        /// Scale, shift, mean and variance.
        params: [ParamId; 4],
    },
    /// Two activations of one shape, element by element. Vectors are rows of pixels, see [`Blocked::vector`].
    Combine {
        /// What is read.
        inputs: [Blocked; 2],
        /// What is written.
        output: Blocked,
        /// What is done.
        operation: Combination,
        /// Whether ReLU is part of it.
        relu: bool,
    },
    /// Copies an activation to some of the channels of another. The steps of one concatenation follow each other in the order
    /// of the channels. Vectors are images of one pixel.
    Concat {
        /// What is read.
        input: Blocked,
        /// What is written in part.
        output: Blocked,
        /// The channel of the output that the first one of the input becomes.
        first: usize,
    },
    /// The blocked layout to [N, C*H*W] in the order of channels, rows, columns.
    Flatten {
        /// What is read.
        input: Blocked,
    },
    /// A fully connected layer with bias and perhaps ReLU.
    Gemm {
        /// Inputs.
        in_features: usize,
        /// Outputs.
        out_features: usize,
        /// Whether ReLU is part of it.
        relu: bool,
        /// Weight [out, in] and bias.
        params: [ParamId; 2],
        /// The scales of the weight's rows, when it is int8.
        scale: Option<ParamId>,
        /// How the weight is written down.
        precision: Precision,
    },
    /// Softmax over the features.
    Softmax {
        /// Their number.
        features: usize,
    },
    /// The logarithm of softmax over the features.
    LogSoftmax {
        /// Their number.
        features: usize,
    },
}

impl StepKind {
    /// The algorithm, for a convolution.
    pub fn algorithm(&self) -> Option<Algorithm> {
        match self {
            StepKind::Conv(conv) => Some(conv.algorithm),
            _ => None,
        }
    }

    /// The parameters that it reads, in the order in which they are packed: of a fully connected layer the weight, the scales of its rows
    /// if it has such, and the bias.
    pub fn params(&self) -> Vec<ParamId> {
        match self {
            StepKind::Conv(conv) => conv.params.to_vec(),
            StepKind::Gemm { params: [weight, bias], scale, .. } => {
                [Some(*weight), *scale, Some(*bias)].into_iter().flatten().collect()
            }
            StepKind::Affine { params, .. } => params.to_vec(),
            _ => Vec::new(),
        }
    }
}

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// `max(0, x)`.
    Relu,
    /// `min(max, max(min, x))`.
    Clip {
        /// The lower bound.
        min: f32,
        /// The upper bound.
        max: f32,
    },
    /// `x` where it is not negative, elsewhere `alpha * x`.
    LeakyRelu {
        /// The slope for negative numbers.
        alpha: f32,
    },
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
}

/// What two numbers give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combination {
    /// Their sum.
    Add,
    /// Their product.
    Mul,
}

/// A convolution with its epilogue: bias, then ReLU, then max pooling.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvStep {
    /// What is read. Its halo holds the zeros of `pads`.
    pub input: Blocked,
    /// What is written, after pooling where there is any.
    pub output: Blocked,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Vertical and horizontal distance between windows.
    pub strides: [usize; 2],
    /// Zero rows and columns: top, left, bottom, right.
    pub pads: [usize; 4],
    /// Vertical and horizontal distance between the taps of the kernel.
    pub dilations: [usize; 2],
    /// Groups of channels. Where there are several, an algorithm that knows of none computes each by itself.
    pub group: usize,
    /// Whether ReLU is part of the epilogue.
    pub relu: bool,
    /// The max pooling of the epilogue.
    pub pool: Option<Pool>,
    /// Weight OIHW and bias.
    pub params: [ParamId; 2],
    /// The algorithm.
    pub algorithm: Algorithm,
}

impl ConvStep {
    /// Whether it has one group, whose taps are neighbours.
    pub fn is_plain(&self) -> bool {
        self.group == 1 && !matches!(self.algorithm, Algorithm::Depthwise | Algorithm::General)
    }
}

/// How a convolution is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Sums over kernel positions and input channels straight from the image.
    Direct,
    /// A 1x1 convolution of stride 1: the matrix product of weights and pixels.
    Gemm,
    /// Winograd's algorithm with tiles of 4x4 outputs: F(4x4, 3x3) for a 3x3 convolution of stride 1, and for a 5x5 convolution of
    /// stride 2 as four of these; F(4x4, 5x5) for a 5x5 convolution of stride 1.
    WinogradF4,
    /// Winograd's F(6x6, 3x3), for a 3x3 convolution of stride 1, and for a 5x5 convolution of stride 2 as four of these.
    WinogradF6,
    /// Every channel by itself, with a kernel of its own; with any dilation.
    Depthwise,
    /// Sums over input channels and kernel positions, one number at a time: any groups, any dilation.
    General,
}

impl Algorithm {
    /// Its name in tables and plans.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Direct => "direct",
            Algorithm::Gemm => "gemm",
            Algorithm::WinogradF4 => "winograd-4x4",
            Algorithm::WinogradF6 => "winograd-6x6",
            Algorithm::Depthwise => "depthwise",
            Algorithm::General => "general",
        }
    }
}

/// Feature maps in the blocked layout: `[N][C/block][top + H + bottom][left + W + right][block]`.
///
/// The halo is part of the buffer and holds zeros, so that a convolution reads its padding like any other pixel. Channels
/// are padded to a multiple of the block; those beyond C hold zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocked {
    /// C.
    pub channels: usize,
    /// H.
    pub height: usize,
    /// W.
    pub width: usize,
    /// Channels of one block: [`BLOCK`], or 1 for a network input of few channels.
    pub block: usize,
    /// Rows and columns around the image: top, left, bottom, right.
    pub halo: [usize; 4],
}

impl Blocked {
    /// A vector as a row of pixels of one channel: how operations on single numbers see it.
    pub const fn vector(features: usize) -> Self {
        Self { channels: 1, height: 1, width: features, block: 1, halo: [0; 4] }
    }

    /// A vector as an image of one pixel: how operations on channels see it.
    pub const fn pixel(features: usize) -> Self {
        Self { channels: features, height: 1, width: 1, block: 1, halo: [0; 4] }
    }

    /// Elements of one image.
    pub fn len(&self) -> usize {
        let [top, left, bottom, right] = self.halo;
        self.channels.next_multiple_of(self.block) * (top + self.height + bottom) * (left + self.width + right)
    }

    /// Whether there is no element at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How an activation lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Feature maps.
    Blocked(Blocked),
    /// A vector for each image, one after the other.
    Flat {
        /// Its length.
        features: usize,
    },
}

impl Layout {
    /// Elements of one image.
    pub fn len(&self) -> usize {
        match self {
            Layout::Blocked(blocked) => blocked.len(),
            Layout::Flat { features } => *features,
        }
    }

    /// Whether there is no element at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An activation in the arena.
#[derive(Debug, Clone, PartialEq)]
pub struct Buffer {
    /// The value of the graph that it holds.
    pub name: String,
    /// How it lies in memory.
    pub layout: Layout,
    /// Its first element in the arena, in f32.
    pub offset: usize,
    /// Its size for the whole batch, in f32.
    pub len: usize,
    /// The first step that writes it.
    pub written: usize,
    /// The last step that reads it.
    pub last_read: usize,
}

impl Buffer {
    /// Its place in the arena.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.len
    }
}
