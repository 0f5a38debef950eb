//! What was asked for: a network as somebody wrote it down, each part with the place where it stands.
//!
//! [`ModelSpec`] is the parsed declaration. It is produced by the parser of the `vgg!` notation, checked as a whole (every
//! mistake is reported, not only the first), and lowered to [`crate::ir::Graph`].

use proc_macro2::Span;

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
    /// The rows of the table. A row is a block of the papers; its number, from 1, is part of the layer names.
    pub rows: Vec<Vec<LayerSpec>>,
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
