//! Direct convolution: no transformed or unrolled copy of the input exists; the register tile reads the activation where it lies.
//!
//! A task is a band of output rows of one weight panel. Inside it the input blocks are cut into runs whose weights stay in the cache, and
//! the sums wait between two runs in the output (or in scratch memory, when a pool follows).

use core::ops::Range;

use super::epilogue::{Target, max_pool};
use super::microkernel::{self, Pixels, Reduction};
use crate::kernels::shared::Disjoint;
use crate::shape::{BLOCK, ConvDims, PANEL};
use crate::simd::Simd;
use crate::threads::{Threads, partition};

/// Sums of a band, at most: 64 KB, a part of the second-level cache that leaves room for weights and input.
const BAND_VALUES: usize = 16 * 1024;

/// Weights of a run of input blocks, at most: 64 KB.
const RUN_VALUES: usize = 16 * 1024;

/// Output rows of a band, at most, so that the sums of a panel stay in the cache.
const fn band_rows(dims: ConvDims) -> usize {
    let rows = BAND_VALUES / (PANEL * dims.conv_width());
    let rows = match dims.pool {
        Some(window) => (rows + window.strides[0]).saturating_sub(window.kernel[0]) / window.strides[0],
        None => rows,
    };
    if rows == 0 {
        1
    } else if rows > dims.output.height {
        dims.output.height
    } else {
        rows
    }
}

/// Values of scratch memory for each thread.
pub(crate) const fn scratch_len(dims: ConvDims) -> usize {
    match dims.pool {
        None => 0,
        Some(window) => {
            let rows = (band_rows(dims) - 1) * window.strides[0] + window.kernel[0];
            let height = dims.conv_height();
            PANEL * dims.conv_width() * if rows < height { rows } else { height }
        }
    }
}

/// Bands of an image: enough to keep the sums in the cache, and more if threads would go without.
fn bands(dims: ConvDims, threads: usize) -> usize {
    let least = dims.output.height.div_ceil(band_rows(dims));
    let tasks_each = dims.panels() * dims.batch;
    // The fewest bands for which no more than a tenth of the threads' time is idle.
    (least..=dims.output.height.min(least + threads))
        .find(|bands| {
            let tasks = bands * tasks_each;
            let slots = tasks.div_ceil(threads) * threads;
            (slots - tasks) * 10 <= slots
        })
        .unwrap_or(dims.output.height.min(least + threads))
}

/// Everything that the tasks of one convolution share.
struct Problem<'a, S> {
    simd: S,
    dims: ConvDims,
    input: &'a [f32],
    weights: &'a [f32],
    bias: &'a [f32],
}

/// The convolution `dims` of every image in `input`.
pub(crate) fn run<S: Simd>(
    simd: S,
    threads: &Threads,
    dims: ConvDims,
    input: &[f32],
    (weights, bias): (&[f32], &[f32]),
    output: &mut [f32],
    (scratch, scratch_stride): (&mut [f32], usize),
) {
    let dims = dims.flattened();
    let problem = Problem { simd, dims, input, weights, bias };
    let (panels, bands) = (dims.panels(), bands(dims, threads.count()));
    let output = Disjoint::new(output);
    let scratch = Disjoint::new(scratch);
    threads.share(dims.batch * bands * panels, |thread, task| {
        let own = thread * scratch_stride;
        // SAFETY: each thread has its own index, and the parts of two threads lie `scratch_stride` apart.
        let scratch = unsafe { scratch.part(own..own + scratch_len(dims)) };
        let (image, rest) = (task / (bands * panels), task % (bands * panels));
        let (band, panel) = (rest / panels, rest % panels);
        let rows = partition(dims.output.height, bands, band);
        // SAFETY: each task occurs once; two tasks differ in the image, the panel or the band, whose rows are disjoint.
        let target = unsafe { Target::new(dims, &output, image, panel, rows.clone()) };
        problem.task(image, panel, rows, target, scratch);
    });
}

impl<S: Simd> Problem<'_, S> {
    /// Computes the output rows `rows` of `panel` in image `image`.
    fn task(&self, image: usize, panel: usize, rows: Range<usize>, mut target: Target<'_>, scratch: &mut [f32]) {
        let height = rows.len();
        match self.dims.pool {
            None => {
                let [low, high] =
                    target.blocks.each_mut().map(|block| block.get_mut(target.origin..).unwrap_or_default());
                self.sums(image, panel, rows, low, high, target.row_stride);
            }
            Some(window) => {
                let (start, _) = window.span(0, rows.start, self.dims.conv_height());
                let (_, end) = window.span(0, rows.end - 1, self.dims.conv_height());
                let row_stride = self.dims.conv_width() * BLOCK;
                let (low, high) = scratch.split_at_mut((end - start) * row_stride);
                let high = if self.dims.panel_blocks(panel) == 2 { high } else { &mut [] };
                self.sums(image, panel, start..end, low, high, row_stride);
                max_pool(self.simd, self.dims, [low, high], start..end, &mut target, rows);
            }
        }
        target.clear_padding_channels(self.dims, panel, height);
    }

    /// Computes the rows `rows` of the convolution into the blocks `low` and `high`, which start at the first pixel.
    fn sums(
        &self,
        image: usize,
        panel: usize,
        rows: Range<usize>,
        low: &mut [f32],
        high: &mut [f32],
        row_stride: usize,
    ) {
        let (dims, input) = (self.dims, self.dims.input);
        let corner = input.origin() - dims.pads[0] * input.row_stride() - dims.pads[1] * input.block;
        let runs = input.blocks().div_ceil((RUN_VALUES / dims.block_len()).max(1));
        for run in 0..runs {
            let blocks = partition(input.blocks(), runs, run);
            let reduction = Reduction {
                blocks: blocks.len(),
                plane_stride: input.plane_stride(),
                rows: dims.kernel[0],
                row_stride: input.row_stride(),
                columns: dims.kernel[1],
                pixel_stride: dims.strides[1] * input.block,
                first: run == 0,
                relu: dims.relu && run + 1 == runs,
            };
            let first = image * input.len() + blocks.start * input.plane_stride() + corner;
            let weights = &self.weights[panel * dims.panel_len() + blocks.start * dims.block_len()..];
            let input_row = dims.strides[0] * input.row_stride();
            let mut pixels = Pixels {
                rows: rows.len(),
                columns: dims.conv_width(),
                row_strides: [input_row, row_stride],
                input: &self.input[first + rows.start * input_row..],
                weights,
                bias: &self.bias[panel * PANEL..],
                low: &mut *low,
                high: &mut *high,
            };
            if input.block == BLOCK {
                microkernel::pixels::<S, BLOCK>(self.simd, &reduction, &mut pixels);
            } else {
                microkernel::pixels::<S, 1>(self.simd, &reduction, &mut pixels);
            }
        }
    }
}
