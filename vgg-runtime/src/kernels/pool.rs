//! Pooling of one row of windows on blocked data.

use crate::shape::{BLOCK, PoolWindow};
use crate::simd::{Simd, load, store};

/// Rows of an image of `height` x `width` pixels of one block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    /// The values, from the first pixel of row `first_row` on.
    pub(crate) values: &'a [f32],
    /// Values from one row to the next.
    pub(crate) row_stride: usize,
    /// The row that `values` starts with.
    pub(crate) first_row: usize,
    /// Rows of the image.
    pub(crate) height: usize,
    /// Columns of the image.
    pub(crate) width: usize,
}

impl Source<'_> {
    #[inline(always)]
    fn row(&self, row: usize) -> &[f32] {
        &self.values[(row - self.first_row) * self.row_stride..]
    }
}

/// The maxima of the windows of row `row`, into `target` (8 values for each window).
pub(crate) fn max_row<S: Simd>(simd: S, window: PoolWindow, source: Source<'_>, row: usize, target: &mut [f32]) {
    simd.vectorize(
        #[inline(always)]
        || {
            let (top, bottom) = window.span(0, row, source.height);
            for (column, target) in target.chunks_exact_mut(BLOCK).enumerate() {
                let (left, right) = window.span(1, column, source.width);
                let mut max = simd.splat(f32::NEG_INFINITY);
                for y in top..bottom {
                    let pixels = &source.row(y)[left * BLOCK..right * BLOCK];
                    for at in (0..pixels.len()).step_by(BLOCK) {
                        max = simd.max(max, load(simd, pixels, at));
                    }
                }
                store(simd, max, target, 0);
            }
        },
    );
}

/// The averages of the windows of row `row`, into `target` (8 values for each window). `count` gives what a window counts for on each
/// axis.
pub(crate) fn average_row<S: Simd>(
    simd: S,
    window: PoolWindow,
    count: impl Fn(usize, usize) -> usize,
    source: Source<'_>,
    row: usize,
    target: &mut [f32],
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let (top, bottom) = window.span(0, row, source.height);
            for (column, target) in target.chunks_exact_mut(BLOCK).enumerate() {
                let (left, right) = window.span(1, column, source.width);
                let mut sum = simd.splat(0.0);
                for y in top..bottom {
                    let pixels = &source.row(y)[left * BLOCK..right * BLOCK];
                    // Rows are added up by themselves: a window as large as the image would else lose digits.
                    let mut line = simd.splat(0.0);
                    for at in (0..pixels.len()).step_by(BLOCK) {
                        line = simd.add(line, load(simd, pixels, at));
                    }
                    sum = simd.add(sum, line);
                }
                let count = (count(0, row) * count(1, column)) as f32;
                store(simd, simd.div(sum, simd.splat(count)), target, 0);
            }
        },
    );
}
