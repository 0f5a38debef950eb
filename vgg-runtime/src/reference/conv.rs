//! Convolution.

use alloc::vec::Vec;
use core::ops::Range;

use super::{Nchw, Real};

/// The attributes of a convolution; pairs are (rows, columns).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Channels of the output.
    pub out_channels: usize,
    /// Extent of the kernel.
    pub kernel: [usize; 2],
    /// Step from one output pixel to the next.
    pub strides: [usize; 2],
    /// Top, left, bottom, right.
    pub pads: [usize; 4],
    /// Distance between the taps of the kernel.
    pub dilations: [usize; 2],
    /// Groups of channels: each group of output channels reads its own group of input channels.
    pub groups: usize,
}

impl Conv {
    /// A convolution of stride 1 without padding, dilation or groups.
    pub const fn new(out_channels: usize, kernel: [usize; 2]) -> Self {
        Self { out_channels, kernel, strides: [1, 1], pads: [0; 4], dilations: [1, 1], groups: 1 }
    }

    /// Rows (axis 0) or columns (axis 1) from the first to the last tap.
    const fn extent(self, axis: usize) -> usize {
        (self.kernel[axis] - 1) * self.dilations[axis] + 1
    }

    /// The shape of the output.
    pub const fn output(self, input: Nchw) -> Nchw {
        Nchw {
            batch: input.batch,
            channels: self.out_channels,
            height: (input.height + self.pads[0] + self.pads[2] - self.extent(0)) / self.strides[0] + 1,
            width: (input.width + self.pads[1] + self.pads[3] - self.extent(1)) / self.strides[1] + 1,
        }
    }
}

/// `y[n, o, i, j] = bias[o] + sum over c, k, l of weight[o, c, k, l] * x[n, first + c, i * stride + k * dilation - top, j * stride + l *
/// dilation - left]`, where pixels outside the image are skipped and `first` is the first channel of the group that `o` reads.
pub fn conv<T: Real>(input: &[T], shape: Nchw, weight: &[T], bias: &[T], attributes: Conv) -> Vec<T> {
    let [kernel_height, kernel_width] = attributes.kernel;
    shape.check(input);
    let groups = attributes.groups;
    assert!(
        shape.channels.is_multiple_of(groups) && attributes.out_channels.is_multiple_of(groups),
        "the channels fall into no {groups} groups"
    );
    let (channels, filters) = (shape.channels / groups, attributes.out_channels / groups);
    assert_eq!(weight.len(), attributes.out_channels * channels * kernel_height * kernel_width);
    assert_eq!(bias.len(), attributes.out_channels);
    let output = attributes.output(shape);
    let mut result = Vec::with_capacity(output.len());
    for image in input.chunks_exact(shape.features()) {
        let filter = weight.chunks_exact(channels * kernel_height * kernel_width).zip(bias);
        for (index, (kernels, &bias)) in filter.enumerate() {
            let read = &image[index / filters * channels * shape.pixels()..][..channels * shape.pixels()];
            for i in 0..output.height {
                let start = result.len();
                result.resize(start + output.width, bias);
                let row = &mut result[start..];
                for (channel, kernel) in
                    read.chunks_exact(shape.pixels()).zip(kernels.chunks_exact(kernel_height * kernel_width))
                {
                    for (k, weights) in kernel.chunks_exact(kernel_width).enumerate() {
                        let y =
                            (i * attributes.strides[0] + k * attributes.dilations[0]).wrapping_sub(attributes.pads[0]);
                        if y < shape.height {
                            add_row(row, &channel[y * shape.width..(y + 1) * shape.width], weights, attributes);
                        }
                    }
                }
            }
        }
    }
    result
}

/// Adds what one row of the input and one row of a kernel give to a row of the output.
fn add_row<T: Real>(row: &mut [T], input: &[T], weights: &[T], attributes: Conv) {
    let (stride, left) = (attributes.strides[1], attributes.pads[1]);
    for (l, &weight) in weights.iter().enumerate() {
        let l = l * attributes.dilations[1];
        let inside = columns(row.len(), input.len(), stride, left, l);
        if inside.is_empty() {
            continue;
        }
        let first = inside.start * stride + l - left;
        let pixels = &mut row[inside];
        if stride == 1 {
            for (y, &x) in pixels.iter_mut().zip(&input[first..]) {
                *y += weight * x;
            }
        } else {
            for (y, &x) in pixels.iter_mut().zip(input[first..].iter().step_by(stride)) {
                *y += weight * x;
            }
        }
    }
}

/// The output columns whose tap, `l` columns behind the first, lies inside the image.
fn columns(outputs: usize, width: usize, stride: usize, left: usize, l: usize) -> Range<usize> {
    let start = left.saturating_sub(l).div_ceil(stride);
    let end = (width + left).saturating_sub(l).div_ceil(stride).min(outputs);
    start..end.max(start)
}
