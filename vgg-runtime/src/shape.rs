//! Descriptions of buffers and layers: plain values that can be constants.
//!
//! A kernel is written once, generic over [`Layer`]. Generated code passes a zero-sized type whose dimensions are constants (see
//! [`layer!`](crate::layer)), so that the compiler specialises the kernel; a program that learns its network at run time passes the
//! dimensions themselves.
//!
//! Every `check` here panics with the reason when a description is impossible. In a constant that panic is a compile error.

mod conv;
mod elementwise;
mod grouped;
mod pool;

pub use conv::{Algorithm, ConvDims};
pub use elementwise::{Activation, ActivationDims, AffineDims, Combination, CombineDims, ConcatDims};
pub use grouped::{GroupedAlgorithm, GroupedConvDims};
pub use pool::{AveragePoolDims, MaxPoolDims, PoolWindow};

/// Channels in one vector: the block of every activation except a planar network input.
pub const BLOCK: usize = 8;

/// Output channels in one weight panel of a convolution: two vectors.
pub const PANEL: usize = 2 * BLOCK;

/// A layer: a constant (zero-sized) or dynamic source of the dimensions `D`.
pub trait Layer<D: Copy>: Copy + Send + Sync {
    /// The dimensions.
    fn dims(self) -> D;
}

impl<D: Copy + Send + Sync> Layer<D> for D {
    #[inline(always)]
    fn dims(self) -> D {
        self
    }
}

/// Declares zero-sized layers with constant dimensions (`NAME::DIMS`), checked at compile time.
///
/// ```
/// use vgg_runtime::{SoftmaxDims, layer};
///
/// layer!(
///     /// The head of the network.
///     pub Prob: SoftmaxDims = SoftmaxDims { features: 1000, batch: 1 }
/// );
/// assert_eq!(Prob::DIMS.features, 1000);
/// ```
#[macro_export]
macro_rules! layer {
    ($($(#[$attribute:meta])* $visibility:vis $name:ident : $dims:ty = $value:expr);+ $(;)?) => {$(
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug)]
        $visibility struct $name;

        impl $name {
            /// The dimensions.
            pub const DIMS: $dims = <$dims>::check($value);
        }

        impl $crate::Layer<$dims> for $name {
            #[inline(always)]
            fn dims(self) -> $dims {
                const { Self::DIMS }
            }
        }
    )+};
}

/// A channel-blocked image with a halo: `[ceil(channels / block)][top + height + bottom][left + width + right][block]`.
///
/// Channels beyond `channels` in the last block and the whole halo hold 0.0. With `block` 1 this is planar `CHW` with a halo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Channels that carry data.
    pub channels: usize,
    /// Rows of the image, without the halo.
    pub height: usize,
    /// Columns of the image, without the halo.
    pub width: usize,
    /// Channels stored side by side: 8, or 1 for a planar network input.
    pub block: usize,
    /// Rows and columns of zeroes around the image: top, left, bottom, right (the order of ONNX `pads`).
    pub halo: [usize; 4],
}

impl Blocked {
    /// Blocks of channels.
    pub const fn blocks(self) -> usize {
        self.channels.div_ceil(self.block)
    }

    /// Rows with the halo.
    pub const fn padded_height(self) -> usize {
        self.halo[0] + self.height + self.halo[2]
    }

    /// Columns with the halo.
    pub const fn padded_width(self) -> usize {
        self.halo[1] + self.width + self.halo[3]
    }

    /// Values from one row to the next.
    pub const fn row_stride(self) -> usize {
        self.padded_width() * self.block
    }

    /// Values from one block of channels to the next.
    pub const fn plane_stride(self) -> usize {
        self.padded_height() * self.row_stride()
    }

    /// Values of one image.
    pub const fn len(self) -> usize {
        self.blocks() * self.plane_stride()
    }

    /// Whether an image holds no values at all.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Offset of the first pixel, behind the halo, from the start of a plane.
    pub const fn origin(self) -> usize {
        self.halo[0] * self.row_stride() + self.halo[1] * self.block
    }

    /// Whether there is no halo.
    pub const fn is_dense(self) -> bool {
        self.halo[0] == 0 && self.halo[1] == 0 && self.halo[2] == 0 && self.halo[3] == 0
    }

    /// The image itself, if it can exist.
    ///
    /// # Panics
    /// When an extent is zero or the block is neither 1 nor 8.
    pub const fn check(self) -> Self {
        assert!(self.channels > 0 && self.height > 0 && self.width > 0, "an image has no channels, rows or columns");
        assert!(self.block == 1 || self.block == BLOCK, "the channel block of an image is neither 1 nor 8");
        self
    }

    pub(crate) const fn check_vector(self) -> Self {
        self.check();
        assert!(self.block == BLOCK, "this layer reads and writes images with a channel block of 8 only");
        self
    }

    pub(crate) const fn same_image(self, other: Self) -> bool {
        self.channels == other.channels && self.height == other.height && self.width == other.width
    }
}

/// Local response normalisation across channels ([ONNX LRN](https://onnx.ai/onnx/operators/onnx__LRN.html)):
/// `y = x / (bias + alpha / size * sum)^beta`, where `sum` adds the squares of the channels `c - floor((size - 1) / 2)` to
/// `c + ceil((size - 1) / 2)` that exist.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LrnDims {
    /// What is read; block 8.
    pub input: Blocked,
    /// What is written: the same image, with a halo of its own.
    pub output: Blocked,
    /// Channels in the window.
    pub size: usize,
    /// Scale of the sum of squares, before the division by `size`.
    pub alpha: f32,
    /// Exponent.
    pub beta: f32,
    /// Constant added to the scaled sum (`k` in the AlexNet paper).
    pub bias: f32,
    /// Images.
    pub batch: usize,
}

impl LrnDims {
    /// The dimensions themselves, if they fit together.
    ///
    /// # Panics
    /// When they do not.
    pub const fn check(self) -> Self {
        self.input.check_vector();
        self.output.check_vector();
        assert!(self.input.same_image(self.output), "lrn: input and output are different images");
        assert!(self.size > 0, "lrn: the window has no channels");
        self
    }
}

/// Plain `NCHW` to blocked: the entrance of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackDims {
    /// What is written; block 8 or 1.
    pub output: Blocked,
    /// Images.
    pub batch: usize,
}

impl PackDims {
    /// The dimensions themselves, if they fit together.
    ///
    /// # Panics
    /// When they do not.
    pub const fn check(self) -> Self {
        self.output.check();
        self
    }

    /// Values of one plain image.
    pub const fn input_len(self) -> usize {
        self.output.channels * self.output.height * self.output.width
    }
}

/// Blocked to plain `CHW`: what a fully connected layer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlattenDims {
    /// What is read; block 8 or 1.
    pub input: Blocked,
    /// Images.
    pub batch: usize,
}

impl FlattenDims {
    /// The dimensions themselves, if they fit together.
    ///
    /// # Panics
    /// When they do not.
    pub const fn check(self) -> Self {
        self.input.check();
        self
    }

    /// Values of one flat image.
    pub const fn features(self) -> usize {
        self.input.channels * self.input.height * self.input.width
    }
}

/// Fully connected layer: `Y = X W^T + b`, then optionally ReLU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GemmDims {
    /// Values of one input image.
    pub in_features: usize,
    /// Values of one output image.
    pub out_features: usize,
    /// Whether ReLU follows.
    pub relu: bool,
    /// Images.
    pub batch: usize,
}

impl GemmDims {
    /// The dimensions themselves, if they fit together.
    ///
    /// # Panics
    /// When they do not.
    pub const fn check(self) -> Self {
        assert!(self.in_features > 0 && self.out_features > 0, "gemm: a side has no features");
        self
    }
}

/// Softmax over the features of each image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftmaxDims {
    /// Values of one image.
    pub features: usize,
    /// Images.
    pub batch: usize,
}

impl SoftmaxDims {
    /// The dimensions themselves, if they fit together.
    ///
    /// # Panics
    /// When they do not.
    pub const fn check(self) -> Self {
        assert!(self.features > 0, "softmax: there are no features");
        self
    }
}
