//! The types of a plan: fused operations on placed buffers.

use crate::ir::{Lrn, ParamId, Pool, Shape, ValueId};

/// Channels of one block of the blocked layout NCHWc8: one vector of eight f32.
pub const BLOCK: usize = 8;

/// How a network is executed: steps in order, each reading one buffer and writing another.
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
    /// Shape of one output; the caller's buffer is NCHW or [N, features].
    pub output: Shape,
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
        self.steps.iter().all(|step| match &step.kind {
            StepKind::Conv(conv) => matches!(conv.algorithm, Algorithm::Direct | Algorithm::Gemm),
            _ => true,
        })
    }
}

/// One call of a kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The layer it is named after: the first of [`Step::layers`], or what a step of its own does (`pack`, `flatten`).
    pub name: String,
    /// The layers of the graph that it computes, in order. Empty when it only changes the layout.
    pub layers: Vec<String>,
    /// The value of the graph that its output holds.
    pub value: ValueId,
    /// What it computes.
    pub kind: StepKind,
    /// What it reads.
    pub input: Operand,
    /// What it writes.
    pub output: Operand,
}

/// Where a step reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// The caller's input, NCHW.
    Input,
    /// The caller's output.
    Output,
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
    /// ReLU on feature maps that could not become an epilogue.
    Relu {
        /// What is read.
        input: Blocked,
        /// What is written.
        output: Blocked,
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
    },
    /// ReLU on a vector that could not become an epilogue.
    FlatRelu {
        /// Its length.
        features: usize,
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
    /// Whether ReLU is part of the epilogue.
    pub relu: bool,
    /// The max pooling of the epilogue.
    pub pool: Option<Pool>,
    /// Weight OIHW and bias.
    pub params: [ParamId; 2],
    /// The algorithm.
    pub algorithm: Algorithm,
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
}

impl Algorithm {
    /// Its name in tables and plans.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Direct => "direct",
            Algorithm::Gemm => "gemm",
            Algorithm::WinogradF4 => "winograd-4x4",
            Algorithm::WinogradF6 => "winograd-6x6",
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
    /// The step that writes it.
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
