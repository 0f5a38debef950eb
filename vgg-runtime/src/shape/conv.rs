//! Convolutions.

use super::{BLOCK, Blocked, PANEL, PoolWindow};

/// How a convolution is computed. The plan chooses; the kernels never guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Sums over kernel positions and input channels straight from the image. For every convolution.
    Direct,
    /// The matrix product of weights and pixels: for a 1x1 convolution of stride 1 without padding.
    Gemm,
    /// Winograd's F(4x4, 3x3): tiles of 4x4 outputs, 36 products for the 144 of direct summation. For a 3x3 convolution of stride 1, and
    /// for a 5x5 convolution of stride 2 as four of these. For a 5x5 convolution of stride 1 it is F(4x4, 5x5): 64 products for 400.
    WinogradF4,
    /// Winograd's F(6x6, 3x3): tiles of 6x6 outputs, 64 products for the 324 of direct summation. For a 3x3 convolution of stride 1, and
    /// for a 5x5 convolution of stride 2 as four of these.
    WinogradF6,
}

impl Algorithm {
    /// Whether the weights are transformed.
    pub const fn is_winograd(self) -> bool {
        matches!(self, Self::WinogradF4 | Self::WinogradF6)
    }
}

/// Convolution with bias, then optionally ReLU, then optionally max-pooling
/// ([ONNX Conv](https://onnx.ai/onnx/operators/onnx__Conv.html), group 1, dilation 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvDims {
    /// What is read; block 8 or 1. Its halo covers `pads`.
    pub input: Blocked,
    /// What is written, after the pool when there is one; block 8.
    pub output: Blocked,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Steps between output rows and columns.
    pub strides: [usize; 2],
    /// Top, left, bottom, right.
    pub pads: [usize; 4],
    /// Whether ReLU follows the bias.
    pub relu: bool,
    /// Max-pooling of the convolution's output, which then never exists in memory.
    pub pool: Option<PoolWindow>,
    /// How it is computed.
    pub algorithm: Algorithm,
    /// Images.
    pub batch: usize,
}

impl ConvDims {
    /// Rows of the convolution, before the pool.
    pub const fn conv_height(self) -> usize {
        (self.input.height + self.pads[0] + self.pads[2] - self.kernel[0]) / self.strides[0] + 1
    }

    /// Columns of the convolution, before the pool.
    pub const fn conv_width(self) -> usize {
        (self.input.width + self.pads[1] + self.pads[3] - self.kernel[1]) / self.strides[1] + 1
    }

    /// Weight panels: groups of 16 output channels.
    pub const fn panels(self) -> usize {
        self.output.channels.div_ceil(PANEL)
    }

    /// Values of one weight panel, with the padded input channels.
    pub const fn panel_len(self) -> usize {
        self.input.blocks() * self.block_len()
    }

    /// Values of one input block in a weight panel.
    pub const fn block_len(self) -> usize {
        self.kernel[0] * self.kernel[1] * self.input.block * PANEL
    }

    /// Multiply-adds of the batch, without padding channels.
    pub const fn macs(self) -> u64 {
        (self.conv_height() * self.conv_width()) as u64
            * (self.input.channels * self.output.channels) as u64
            * (self.kernel[0] * self.kernel[1] * self.batch) as u64
    }

    /// The dimensions themselves, if they fit together.
    ///
    /// # Panics
    /// When they do not.
    pub const fn check(self) -> Self {
        self.input.check();
        self.output.check_vector();
        let extents = [self.input.height, self.input.width];
        let convolved = [self.conv_height(), self.conv_width()];
        let mut axis = 0;
        while axis < 2 {
            assert!(self.kernel[axis] > 0 && self.strides[axis] > 0, "conv: the kernel or its stride is zero");
            assert!(
                extents[axis] + self.pads[axis] + self.pads[axis + 2] >= self.kernel[axis],
                "conv: the kernel is larger than the padded input"
            );
            assert!(self.pads[axis] <= self.input.halo[axis], "conv: the input's halo does not cover the padding");
            let reach = (convolved[axis] - 1) * self.strides[axis] + self.kernel[axis];
            assert!(
                reach <= self.pads[axis] + extents[axis] + self.input.halo[axis + 2],
                "conv: the input's halo does not cover the padding"
            );
            let expected = match self.pool {
                Some(window) => window.check().windows(axis, convolved[axis]),
                None => convolved[axis],
            };
            let written = if axis == 0 { self.output.height } else { self.output.width };
            assert!(written == expected, "conv: the output is not what the kernel and the pool give on this input");
            axis += 1;
        }
        match self.algorithm {
            Algorithm::Direct => {}
            Algorithm::Gemm => assert!(
                self.is_pointwise(),
                "conv: only a 1x1 convolution of stride 1 without padding is a matrix product"
            ),
            Algorithm::WinogradF4 | Algorithm::WinogradF6 => assert!(
                self.has_winograd_tiles() && self.input.block == BLOCK,
                "conv: these tiles of winograd's algorithm are for 3x3 convolutions of stride 1 and 5x5 convolutions of stride 2 \
                 (4x4 for 5x5 of stride 1, too) on images with a channel block of 8"
            ),
        }
        self
    }

    const fn has_winograd_tiles(self) -> bool {
        let ([height, width], [down, right]) = (self.kernel, self.strides);
        let four = matches!(self.algorithm, Algorithm::WinogradF4);
        height == width && down == right && matches!((height, down, four), (3, 1, _) | (5, 2, _) | (5, 1, true))
    }

    const fn is_pointwise(self) -> bool {
        let [top, left, bottom, right] = self.pads;
        self.kernel[0] == 1
            && self.kernel[1] == 1
            && self.strides[0] == 1
            && self.strides[1] == 1
            && top + left + bottom + right == 0
    }

    /// The same convolution over longer rows, when it is a matrix product whose pixels lie without gaps in input and output: then any row
    /// length that divides the pixels will do, and a long one is cut into nearly equal register tiles.
    pub(crate) const fn flattened(self) -> Self {
        const LONG: usize = 48;
        const LONGEST: usize = 512;
        let product = matches!(self.algorithm, Algorithm::Gemm);
        if !(product && self.pool.is_none() && self.input.is_dense() && self.output.is_dense()) {
            return self;
        }
        let pixels = self.input.height * self.input.width;
        let mut width = if pixels < LONG { pixels } else { LONG };
        while !pixels.is_multiple_of(width) {
            width += 1;
            if width > LONGEST {
                return self;
            }
        }
        let height = pixels / width;
        let input = Blocked { height, width, ..self.input };
        let output = Blocked { height, width, ..self.output };
        Self { input, output, ..self }
    }

    /// Blocks of 8 output channels that the panel `panel` holds: 1 or 2.
    pub(crate) const fn panel_blocks(self, panel: usize) -> usize {
        let left = self.output.channels - panel * PANEL;
        if left > BLOCK { 2 } else { 1 }
    }
}
