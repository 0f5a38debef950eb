//! Convolutions with groups or dilations.

use super::{Algorithm, BLOCK, Blocked, ConvDims, PoolWindow};

/// How a convolution with groups or dilations is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupedAlgorithm {
    /// Each group as a convolution of its own: for groups of whole blocks of channels, without dilation.
    Each(Algorithm),
    /// Every channel by itself, for one input and one output channel in a group, on images with a channel block of 8.
    Depthwise,
    /// Sums over input channels and kernel positions. For every convolution, without a pool.
    General,
}

/// Convolution with bias in groups: each group of output channels reads the group of input channels of the same number
/// ([ONNX Conv](https://onnx.ai/onnx/operators/onnx__Conv.html)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupedConvDims {
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
    /// Steps between the rows and columns of the kernel.
    pub dilations: [usize; 2],
    /// Groups of channels.
    pub groups: usize,
    /// Whether ReLU follows the bias.
    pub relu: bool,
    /// Max-pooling of the convolution's output, with [`GroupedAlgorithm::Each`] alone.
    pub pool: Option<PoolWindow>,
    /// How it is computed.
    pub algorithm: GroupedAlgorithm,
    /// Images.
    pub batch: usize,
}

impl GroupedConvDims {
    /// Input channels of a group.
    pub const fn group_inputs(self) -> usize {
        self.input.channels / self.groups
    }

    /// Output channels of a group.
    pub const fn group_outputs(self) -> usize {
        self.output.channels / self.groups
    }

    /// One group of one image as a convolution of its own, computed by `algorithm`.
    pub const fn group(self, algorithm: Algorithm) -> ConvDims {
        ConvDims {
            input: Blocked { channels: self.group_inputs(), ..self.input },
            output: Blocked { channels: self.group_outputs(), ..self.output },
            kernel: self.kernel,
            strides: self.strides,
            pads: self.pads,
            relu: self.relu,
            pool: self.pool,
            algorithm,
            batch: 1,
        }
    }

    /// Offset of the first tap of the first output pixel from the start of a plane of the input.
    pub(crate) const fn corner(self) -> usize {
        self.input.origin() - self.pads[0] * self.input.row_stride() - self.pads[1] * self.input.block
    }

    /// The dimensions themselves, if they fit together.
    ///
    /// # Panics
    /// When they do not.
    pub const fn check(self) -> Self {
        let (input, output) = (self.input.check(), self.output.check_vector());
        assert!(
            self.groups > 0
                && input.channels.is_multiple_of(self.groups)
                && output.channels.is_multiple_of(self.groups),
            "grouped conv: the channels do not fall into groups"
        );
        match self.algorithm {
            GroupedAlgorithm::Each(algorithm) => {
                assert!(
                    self.dilations[0] == 1 || self.kernel[0] == 1,
                    "grouped conv: a group of its own has no dilation"
                );
                assert!(
                    self.dilations[1] == 1 || self.kernel[1] == 1,
                    "grouped conv: a group of its own has no dilation"
                );
                assert!(
                    self.groups == 1
                        || self.group_inputs().is_multiple_of(input.block)
                            && self.group_outputs().is_multiple_of(BLOCK),
                    "grouped conv: the channels of a group of its own do not fill blocks"
                );
                self.group(algorithm).check();
                return self;
            }
            GroupedAlgorithm::Depthwise => assert!(
                self.group_inputs() == 1 && self.group_outputs() == 1 && input.block == BLOCK,
                "grouped conv: depthwise is one channel in a group, with a channel block of 8"
            ),
            GroupedAlgorithm::General => {}
        }
        assert!(self.pool.is_none(), "grouped conv: only groups of their own have a pool");
        let (read, written) = ([input.height, input.width], [output.height, output.width]);
        let mut axis = 0;
        while axis < 2 {
            assert!(
                self.kernel[axis] > 0 && self.strides[axis] > 0 && self.dilations[axis] > 0,
                "grouped conv: the kernel, its stride or its dilation is zero"
            );
            let extent = (self.kernel[axis] - 1) * self.dilations[axis] + 1;
            let padded = read[axis] + self.pads[axis] + self.pads[axis + 2];
            assert!(padded >= extent, "grouped conv: the kernel is larger than the padded input");
            assert!(
                written[axis] == (padded - extent) / self.strides[axis] + 1,
                "grouped conv: the output is not what the kernel gives on this input"
            );
            let reach = (written[axis] - 1) * self.strides[axis] + extent;
            assert!(
                self.pads[axis] <= input.halo[axis] && reach <= self.pads[axis] + read[axis] + input.halo[axis + 2],
                "grouped conv: the input's halo does not cover the padding"
            );
            axis += 1;
        }
        self
    }
}
