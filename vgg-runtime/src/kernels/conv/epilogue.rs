//! What follows the sums of a convolution: they go straight to the output (bias and ReLU are part of the register tile), or through a
//! max-pool that reads a band of them from scratch memory.

use core::ops::Range;

use crate::kernels::{halo, pool, shared::Disjoint};
use crate::shape::{BLOCK, ConvDims};
use crate::simd::Simd;

/// A part of the output: some rows of the one or two blocks of a panel, halo included.
pub(super) struct Target<'a> {
    /// The rows of each block; empty where the second block does not exist.
    pub(super) blocks: [&'a mut [f32]; 2],
    /// Offset in `blocks` of the first pixel.
    pub(super) origin: usize,
    /// Values from one row to the next.
    pub(super) row_stride: usize,
}

impl<'a> Target<'a> {
    /// The output rows `rows` of `panel` in image `image`, with the halo zeroed.
    ///
    /// # Safety
    /// - No part of `output` that is alive at the same time has the same image and panel and overlapping rows.
    pub(super) unsafe fn new(
        dims: ConvDims,
        output: &'a Disjoint<'_>,
        image: usize,
        panel: usize,
        rows: Range<usize>,
    ) -> Self {
        let shape = dims.output;
        let row_stride = shape.row_stride();
        let padded = halo::plane_rows(shape, rows.clone());
        let origin = (shape.halo[0] + rows.start - padded.start) * row_stride + shape.halo[1] * BLOCK;
        let mut blocks: [&'a mut [f32]; 2] = [&mut [], &mut []];
        for (block, values) in blocks.iter_mut().enumerate().take(dims.panel_blocks(panel)) {
            let plane = image * shape.len() + (2 * panel + block) * shape.plane_stride();
            let range = plane + padded.start * row_stride..plane + padded.end * row_stride;
            // SAFETY: panels own their blocks, and the caller keeps the rows of a panel disjoint.
            *values = unsafe { output.part(range) };
            halo::clear(shape, padded.clone(), values);
        }
        Self { blocks, origin, row_stride }
    }

    /// Zeroes the channels of `rows` rows that fill up the last block. Their weights are zero, but zero times an infinite input is NaN.
    pub(super) fn clear_padding_channels(&mut self, dims: ConvDims, panel: usize, rows: usize) {
        let lanes = dims.output.channels % BLOCK;
        let last = dims.panel_blocks(panel) - 1;
        if lanes == 0 || 2 * panel + last + 1 < dims.output.blocks() {
            return;
        }
        for row in 0..rows {
            let start = self.origin + row * self.row_stride;
            let pixels = &mut self.blocks[last][start..start + dims.output.width * BLOCK];
            pixels.chunks_exact_mut(BLOCK).for_each(|pixel| pixel[lanes..].fill(0.0));
        }
    }
}

/// Max-pools the convolution rows `band` of a panel, which `sums` holds without gaps, into the rows `rows` of the output.
pub(super) fn max_pool<S: Simd>(
    simd: S,
    dims: ConvDims,
    sums: [&mut [f32]; 2],
    band: Range<usize>,
    target: &mut Target<'_>,
    rows: Range<usize>,
) {
    let Some(window) = dims.pool else { return };
    for (sums, target_block) in sums.into_iter().zip(&mut target.blocks) {
        if target_block.is_empty() {
            continue;
        }
        let source = pool::Source {
            values: sums,
            row_stride: dims.conv_width() * BLOCK,
            first_row: band.start,
            height: dims.conv_height(),
            width: dims.conv_width(),
        };
        for row in rows.clone() {
            let start = target.origin + (row - rows.start) * target.row_stride;
            let pixels = &mut target_block[start..start + dims.output.width * BLOCK];
            pool::max_row(simd, window, source, row, pixels);
        }
    }
}
