//! What was asked for: a network as somebody wrote it down, each part with the place where it stands.
//!
//! [`ModelSpec`] is the parsed declaration. It is produced by the parser of the `vgg!` notation ([`parse`]), checked as a whole
//! ([`check`]: every mistake is reported, not only the first), and lowered to [`crate::ir::Graph`]. [`print`](mod@print) writes
//! it back, [`names`] and [`shape`] say what every layer is called and what arrives at it, and [`variants`] has the nine
//! built-in networks.

// What is read here comes from anyone.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable, clippy::indexing_slicing)
)]

use std::fmt;

use proc_macro2::Span;

use crate::preprocess::Preprocess;

pub mod check;
pub mod diagnostic;
pub mod limits;
pub mod names;
mod op;
pub mod parse;
pub mod print;
pub mod shape;
#[cfg(test)]
mod tests;
pub mod variants;

/// A name or a value together with the place where it was written.
#[derive(Debug, Clone)]
pub struct Spanned<T> {
    /// What was written.
    pub value: T,
    /// Where it was written.
    pub span: Span,
}

/// Two extents, height before width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Extent {
    /// The same extent in both directions.
    pub const fn square(side: usize) -> Self {
        Self { height: side, width: side }
    }

    /// The padding on each side that keeps the size of an image at stride 1, for an odd kernel of this extent: (k - 1) / 2.
    pub const fn same_pad(self) -> Self {
        Self { height: self.height.saturating_sub(1) / 2, width: self.width.saturating_sub(1) / 2 }
    }
}

/// As in the notation: `3`, or `3x5` (height x width).
impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.height == self.width {
            write!(f, "{}", self.height)
        } else {
            write!(f, "{}x{}", self.height, self.width)
        }
    }
}

/// One declared network.
#[derive(Debug, Clone)]
pub struct ModelSpec {
    /// Lines of the doc comment, without the leading space.
    pub docs: Vec<String>,
    /// The visibility of the generated type, as written.
    pub visibility: syn::Visibility,
    /// The name of the network: the generated type, and in snake case the stem of its files.
    pub name: Spanned<String>,
    /// Channels, height and width of one input image.
    pub input: InputSpec,
    /// How images become its input, when that is declared.
    pub preprocess: Option<Spanned<Preprocess>>,
    /// The rows of the table. A row is a block of the papers; its number, from 1, is part of the layer names.
    pub rows: Vec<Vec<LayerSpec>>,
}

impl ModelSpec {
    /// Declares how images become the input, in place of what was declared before.
    pub fn set_preprocess(&mut self, value: Preprocess) {
        let span = self.preprocess.as_ref().map_or_else(Span::call_site, |earlier| earlier.span);
        self.preprocess = Some(Spanned { value, span });
    }
}

/// Channels, height and width of one input image.
#[derive(Debug, Clone)]
pub struct InputSpec {
    /// Channels.
    pub channels: Spanned<usize>,
    /// Rows of pixels.
    pub height: Spanned<usize>,
    /// Columns of pixels.
    pub width: Spanned<usize>,
}

/// One entry of a row.
#[derive(Debug, Clone)]
pub struct LayerSpec {
    /// A name given by the author in place of the conventional one.
    pub label: Option<Spanned<String>>,
    /// What the layer computes.
    pub kind: LayerKind,
    /// The keyword of the layer.
    pub span: Span,
}

/// What a layer computes. Every modifier is present: the parser fills in the defaults of the papers.
#[derive(Debug, Clone, PartialEq)]
pub enum LayerKind {
    /// Convolution with bias: `conv3-64`, `conv11-64(stride 4, pad 0)`, `conv3-64(linear)`.
    Conv {
        /// Kernel extent.
        kernel: Extent,
        /// Output channels.
        filters: usize,
        /// Distance between windows, 1 by default.
        stride: Extent,
        /// Zero rows and columns on each side, (kernel - 1) / 2 by default.
        pad: Extent,
        /// Whether ReLU follows (after the batch norm, when there is one). `linear` says no.
        relu: bool,
    },
    /// Batch normalisation of the convolution before it: `bn`, `bn(eps 1e-3)`.
    BatchNorm {
        /// Added to the variance, 1e-5 by default.
        epsilon: f32,
    },
    /// Local response normalisation across channels: `lrn(size 5, alpha 5e-4, beta 0.75, k 2)`, which are the defaults.
    Lrn {
        /// Channels in the window.
        size: usize,
        /// Scale of the mean square, in the meaning of ONNX, Caffe and PyTorch: divided by `size` inside.
        alpha: f32,
        /// Exponent.
        beta: f32,
        /// Constant added before the power (ONNX `bias`).
        k: f32,
    },
    /// Max pooling: `maxpool`, `maxpool(3, stride 2, ceil)`.
    MaxPool(PoolSpec),
    /// Average pooling over the elements inside the image: `avgpool`, `avgpool(3, stride 2)`.
    AvgPool(PoolSpec),
    /// Fully connected layer: `fc-4096`, `fc-10(linear)`, `fc-10(relu)`.
    Fc {
        /// Outputs.
        units: usize,
        /// Whether ReLU follows: yes but for the last `fc`, unless `linear` or `relu` says otherwise.
        relu: bool,
    },
    /// Dropout, which does nothing at inference: `dropout`, `dropout(0.5)`.
    Dropout {
        /// Share of activations dropped in training, 0.5 by default.
        ratio: f32,
    },
    /// Softmax over the classes.
    Softmax,
}

impl LayerKind {
    /// Added to the variance of a batch norm unless it says otherwise, as in PyTorch.
    pub const DEFAULT_EPSILON: f32 = 1e-5;
    /// Channels in the window of an LRN.
    pub const DEFAULT_LRN_SIZE: usize = 5;
    /// Scale of an LRN, divided by the size inside: the 1e-4 of Krizhevsky et al. (2012), who do not divide, times 5.
    pub const DEFAULT_LRN_ALPHA: f32 = 5e-4;
    /// Exponent of an LRN.
    pub const DEFAULT_LRN_BETA: f32 = 0.75;
    /// Constant of an LRN. It is 1 by default in Caffe, ONNX and PyTorch, and 2 in all papers of this family.
    pub const DEFAULT_LRN_K: f32 = 2.0;
    /// Share of activations that a dropout drops.
    pub const DEFAULT_RATIO: f32 = 0.5;

    /// Whether the layer works on an image, and so belongs before the first fully connected one.
    pub fn is_spatial(&self) -> bool {
        matches!(
            self,
            Self::Conv { .. } | Self::BatchNorm { .. } | Self::Lrn { .. } | Self::MaxPool(_) | Self::AvgPool(_)
        )
    }

    /// Whether ReLU follows the layer.
    pub fn has_relu(&self) -> bool {
        matches!(self, Self::Conv { relu: true, .. } | Self::Fc { relu: true, .. })
    }
}

/// The window of a pooling layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSpec {
    /// Window extent, 2 by default.
    pub kernel: Extent,
    /// Distance between windows, 2 by default.
    pub stride: Extent,
    /// Rows and columns on each side that belong to no pixel, 0 by default. They are left out, not counted as zero.
    pub pad: Extent,
    /// Whether a last window that only partly covers the image counts (Caffe's rule).
    pub ceil: bool,
}

/// 2x2 windows without overlap or padding, rounded down.
impl Default for PoolSpec {
    fn default() -> Self {
        Self { kernel: Extent::square(2), stride: Extent::square(2), pad: Extent::square(0), ceil: false }
    }
}
