//! Convolutions with groups or dilations: depthwise, and a sum over single numbers for all others.
//!
//! Groups of whole blocks of channels have no kernel here: each is a convolution of its own.

use core::ops::Range;

use crate::kernels::halo;
use crate::kernels::shared::{Disjoint, for_each_chunk};
use crate::shape::{BLOCK, GroupedConvDims};
use crate::simd::{Simd, load, store};
use crate::threads::Threads;

/// Pixels that share a load of weights.
const TILE: usize = 6;

/// Panels of eight output channels of a group.
pub(crate) const fn group_panels(dims: GroupedConvDims) -> usize {
    dims.group_outputs().div_ceil(BLOCK)
}

/// Weights of a panel.
pub(crate) const fn panel_len(dims: GroupedConvDims) -> usize {
    dims.group_inputs() * dims.kernel[0] * dims.kernel[1] * BLOCK
}

/// Cuts `pixels` into tiles of [`TILE`] and single pixels, and calls `$body` with the first pixel of each and their constant number.
macro_rules! for_each_tile {
    ($pixels:expr, $first:ident, $count:ident => $body:expr) => {{
        let (pixels, mut $first) = ($pixels, 0);
        while $first + TILE <= pixels {
            const $count: usize = TILE;
            $body;
            $first += TILE;
        }
        while $first < pixels {
            const $count: usize = 1;
            $body;
            $first += 1;
        }
    }};
}

/// Every channel by itself. Weights lie as `[channel / 8][row][column][8]`.
pub(crate) fn depthwise<S: Simd>(
    simd: S,
    threads: &Threads,
    dims: GroupedConvDims,
    input: &[f32],
    (weights, bias): (&[f32], &[f32]),
    output: &mut [f32],
) {
    let (from, to) = (dims.input, dims.output);
    let taps = dims.kernel[0] * dims.kernel[1];
    for_each_chunk(
        simd,
        threads,
        output,
        to.plane_stride(),
        #[inline(always)]
        |index, plane| {
            // Planes are counted over the whole batch, and an image has as many in both layouts.
            let source = &input[index * from.plane_stride()..][..from.plane_stride()];
            let block = index % to.blocks();
            let weights = &weights[block * taps * BLOCK..][..taps * BLOCK];
            let bias = load(simd, bias, block * BLOCK);
            halo::clear_plane(to, plane);
            for y in 0..to.height {
                let source = &source[dims.corner() + y * dims.strides[0] * from.row_stride()..];
                let target = &mut plane[to.origin() + y * to.row_stride()..][..to.width * BLOCK];
                for_each_tile!(to.width, first, COUNT => {
                    depthwise_tile::<S, COUNT>(simd, dims, &source[first * dims.strides[1] * BLOCK..], weights, bias, &mut target[first * BLOCK..]);
                });
            }
            halo::clear_filling(to, block, plane);
        },
    );
}

#[inline(always)]
fn depthwise_tile<S: Simd, const COUNT: usize>(
    simd: S,
    dims: GroupedConvDims,
    source: &[f32],
    weights: &[f32],
    bias: S::Vector,
    target: &mut [f32],
) {
    let mut sums = [bias; COUNT];
    for row in 0..dims.kernel[0] {
        for column in 0..dims.kernel[1] {
            let at = row * dims.dilations[0] * dims.input.row_stride() + column * dims.dilations[1] * BLOCK;
            let weight = load(simd, weights, (row * dims.kernel[1] + column) * BLOCK);
            for (pixel, sum) in sums.iter_mut().enumerate() {
                *sum = simd.mul_add(load(simd, source, at + pixel * dims.strides[1] * BLOCK), weight, *sum);
            }
        }
    }
    for (pixel, sum) in sums.into_iter().enumerate() {
        store(simd, if dims.relu { simd.relu(sum) } else { sum }, target, pixel * BLOCK);
    }
}

/// Everything that the tasks of one convolution share.
struct Problem<'a, S> {
    simd: S,
    dims: GroupedConvDims,
    input: &'a [f32],
    weights: &'a [f32],
    bias: &'a [f32],
}

/// Any groups and dilations. Weights lie as `[group][output / 8][input][row][column][8]`, where outputs and inputs are counted in their
/// group, and biases as `[group][output / 8][8]`. A task is a row of the output with all its channels, since a block of channels may
/// belong to several groups.
pub(crate) fn general<S: Simd>(
    simd: S,
    threads: &Threads,
    dims: GroupedConvDims,
    input: &[f32],
    (weights, bias): (&[f32], &[f32]),
    output: &mut [f32],
) {
    let problem = Problem { simd, dims, input, weights, bias };
    let output = Disjoint::new(output);
    let height = dims.output.height;
    threads.split(dims.batch * height, 1, |_, tasks| {
        simd.vectorize(
            #[inline(always)]
            || {
                for task in tasks {
                    let (image, y) = (task / height, task % height);
                    // SAFETY: each task occurs once, in one range.
                    unsafe { problem.row(image, y, &output) };
                }
            },
        );
    });
}

impl<S: Simd> Problem<'_, S> {
    /// Computes row `y` of the output of `image`, in all channels.
    ///
    /// # Safety
    /// - No other thread has a part of this row of this image (with the halo above the first row and below the last).
    #[inline(always)]
    unsafe fn row(&self, image: usize, y: usize, output: &Disjoint<'_>) {
        let (dims, to) = (self.dims, self.dims.output);
        let padded = halo::plane_rows(to, y..y + 1);
        for block in 0..to.blocks() {
            let plane = image * to.len() + block * to.plane_stride();
            // SAFETY: the caller keeps others away from this row, and this is its only part now.
            let rows =
                unsafe { output.part(plane + padded.start * to.row_stride()..plane + padded.end * to.row_stride()) };
            halo::clear(to, padded.clone(), rows);
            if (block + 1) * BLOCK > to.channels {
                rows.fill(0.0);
            }
        }
        let (outputs, panels) = (dims.group_outputs(), group_panels(dims));
        for group in 0..dims.groups {
            for panel in 0..panels {
                let index = group * panels + panel;
                let first = group * outputs + panel * BLOCK;
                let channels = first..first + BLOCK.min(outputs - panel * BLOCK);
                for_each_tile!(to.width, pixel, COUNT => {
                    let sums = self.tile::<COUNT>(image, group, index, y, pixel);
                    // SAFETY: the caller keeps others away from this row.
                    unsafe { self.write(image, y, pixel, channels.clone(), sums, output) };
                });
            }
        }
    }

    /// The outputs of `COUNT` pixels of row `y` in the panel `index` of all, which belongs to `group`.
    #[inline(always)]
    fn tile<const COUNT: usize>(
        &self,
        image: usize,
        group: usize,
        index: usize,
        y: usize,
        pixel: usize,
    ) -> [S::Vector; COUNT] {
        let (simd, dims, from) = (self.simd, self.dims, self.dims.input);
        let step = dims.strides[1] * from.block;
        let place = image * from.len() + dims.corner() + y * dims.strides[0] * from.row_stride() + pixel * step;
        let mut sums = [load(simd, self.bias, index * BLOCK); COUNT];
        let weights = &self.weights[index * panel_len(dims)..][..panel_len(dims)];
        let mut tap = 0;
        for channel in group * dims.group_inputs()..(group + 1) * dims.group_inputs() {
            let source = place + channel / from.block * from.plane_stride() + channel % from.block;
            for row in 0..dims.kernel[0] {
                for column in 0..dims.kernel[1] {
                    let weight = load(simd, weights, tap * BLOCK);
                    tap += 1;
                    let at =
                        source + row * dims.dilations[0] * from.row_stride() + column * dims.dilations[1] * from.block;
                    let values = &self.input[at..at + (COUNT - 1) * step + 1];
                    for (pixel, sum) in sums.iter_mut().enumerate() {
                        *sum = simd.mul_add(simd.splat(values[pixel * step]), weight, *sum);
                    }
                }
            }
        }
        if dims.relu {
            sums = sums.map(
                #[inline(always)]
                |sum| simd.relu(sum),
            );
        }
        sums
    }

    /// Writes `channels` of the pixels from `pixel` on.
    ///
    /// # Safety
    /// - As that of [`Problem::row`].
    #[inline(always)]
    unsafe fn write<const COUNT: usize>(
        &self,
        image: usize,
        y: usize,
        pixel: usize,
        channels: Range<usize>,
        sums: [S::Vector; COUNT],
        output: &Disjoint<'_>,
    ) {
        let to = self.dims.output;
        let start = image * to.len() + to.origin() + y * to.row_stride() + pixel * BLOCK;
        let place = |channel: usize| start + channel / BLOCK * to.plane_stride() + channel % BLOCK;
        if channels.len() == BLOCK && channels.start.is_multiple_of(BLOCK) {
            let at = place(channels.start);
            // SAFETY: the caller keeps others away from this row, and this is its only part now.
            let pixels = unsafe { output.part(at..at + COUNT * BLOCK) };
            for (index, sum) in sums.into_iter().enumerate() {
                store(self.simd, sum, pixels, index * BLOCK);
            }
            return;
        }
        for (index, sum) in sums.into_iter().enumerate() {
            let lanes = self.simd.lanes(sum);
            for (channel, value) in channels.clone().zip(lanes) {
                let at = place(channel) + index * BLOCK;
                // SAFETY: as above.
                let target = unsafe { output.part(at..at + 1) };
                target[0] = value;
            }
        }
    }
}
