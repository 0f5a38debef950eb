//! The register tile of a convolution: `MR` neighbouring pixels times a panel of 16 output channels.
//!
//! As in a BLIS microkernel, each step of the reduction loads one row of the weight panel and multiplies it with one input
//! value of each pixel, broadcast straight from the activation: 6 x 16 takes 8 loads for 12 multiply-adds, so that arithmetic decides.
//! With channel-blocked input the taps of one kernel row are contiguous, so the reduction is a loop over runs:
//! input block x kernel row x (kernel column, channel in the block).

use crate::shape::{BLOCK, PANEL};
use crate::simd::Simd;

/// What is the same for all tiles of a convolution and one run of its input blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reduction {
    /// Input blocks that are added up.
    pub(super) blocks: usize,
    /// Values from one input block to the next.
    pub(super) plane_stride: usize,
    /// Rows of the kernel.
    pub(super) rows: usize,
    /// Values from one input row to the next.
    pub(super) row_stride: usize,
    /// Columns of the kernel.
    pub(super) columns: usize,
    /// Values from the input of one output pixel to that of the next.
    pub(super) pixel_stride: usize,
    /// Whether the sums start with the bias, or with what the previous run left in the output.
    pub(super) first: bool,
    /// Whether this is the last run and ReLU follows.
    pub(super) relu: bool,
}

impl Reduction {
    /// Values of the input from the first tap of the first pixel to the last tap of the last of `pixels`.
    fn input_len(&self, pixels: usize, block: usize) -> usize {
        (self.blocks - 1) * self.plane_stride
            + (self.rows - 1) * self.row_stride
            + (pixels - 1) * self.pixel_stride
            + self.columns * block
    }
}

/// One row of pixels: slices that start at the first pixel (or its first tap).
pub(super) struct Row<'a> {
    /// The input from the first tap on.
    pub(super) input: &'a [f32],
    /// The weight panel, from the first of the input blocks on.
    pub(super) weights: &'a [f32],
    /// The biases of the panel.
    pub(super) bias: &'a [f32],
    /// The output block of the panel's first eight channels.
    pub(super) low: &'a mut [f32],
    /// The output block of its other eight; empty where the panel is the last one and they do not exist.
    pub(super) high: &'a mut [f32],
}

/// Computes `pixels` pixels of a row, in tiles that are as large and as equal as possible.
pub(super) fn row<S: Simd, const IN: usize>(simd: S, reduction: &Reduction, pixels: usize, row: &mut Row<'_>) {
    let tiles = pixels.div_ceil(S::TILE);
    let (size, larger) = (pixels / tiles, pixels % tiles);
    if larger > 0 {
        sized::<S, IN>(simd, reduction, size + 1, 0, larger, row);
    }
    sized::<S, IN>(simd, reduction, size, larger * (size + 1), tiles - larger, row);
}

/// Computes `count` tiles of `size` pixels, the first at pixel `start`.
fn sized<S: Simd, const IN: usize>(
    simd: S,
    reduction: &Reduction,
    size: usize,
    start: usize,
    count: usize,
    row: &mut Row<'_>,
) {
    with_rows!(size, S::TILE, MR => strided::<S, IN, MR>(simd, reduction, start, count, row));
}

fn strided<S: Simd, const IN: usize, const MR: usize>(
    simd: S,
    reduction: &Reduction,
    start: usize,
    count: usize,
    row: &mut Row<'_>,
) {
    // With a constant stride one register addresses all pixels. The columns stay a loop: unrolled, the compiler keeps inputs that
    // neighbouring pixels share for later columns, and there are no registers for them.
    match reduction.pixel_stride {
        stride if stride == IN => tiles::<S, IN, MR, IN>(simd, reduction, start, count, row),
        2 if IN == 1 => tiles::<S, IN, MR, 2>(simd, reduction, start, count, row),
        4 if IN == 1 => tiles::<S, IN, MR, 4>(simd, reduction, start, count, row),
        _ => tiles::<S, IN, MR, DYNAMIC>(simd, reduction, start, count, row),
    }
}

/// In place of a constant: the value is that of the [`Reduction`].
const DYNAMIC: usize = 0;

/// Computes `count` tiles of `MR` pixels, the first at pixel `start`.
fn tiles<S: Simd, const IN: usize, const MR: usize, const STRIDE: usize>(
    simd: S,
    reduction: &Reduction,
    start: usize,
    count: usize,
    row: &mut Row<'_>,
) {
    let end = start + count * MR;
    assert!(STRIDE == DYNAMIC || STRIDE == reduction.pixel_stride);
    assert!(row.input.len() >= reduction.input_len(end, IN), "a tile reads beyond its input");
    assert!(row.weights.len() >= reduction.blocks * reduction.rows * reduction.columns * IN * PANEL);
    assert!(row.bias.len() >= PANEL && row.low.len() >= end * BLOCK);
    assert!(row.high.is_empty() || row.high.len() >= end * BLOCK);
    let high = if row.high.is_empty() { None } else { Some(row.high.as_mut_ptr()) };
    simd.vectorize(
        #[inline(always)]
        || {
            let pixel_stride = if STRIDE == DYNAMIC { reduction.pixel_stride } else { STRIDE };
            for pixel in (start..end).step_by(MR) {
                // SAFETY: the asserts above cover the taps, the weights, the bias and the output of the pixels start..end.
                unsafe {
                    tile::<S, IN, MR>(
                        simd,
                        reduction,
                        pixel_stride,
                        row.input.as_ptr().add(pixel * pixel_stride),
                        row.weights.as_ptr(),
                        row.bias.as_ptr(),
                        row.low.as_mut_ptr().add(pixel * BLOCK),
                        high.map(|high| high.add(pixel * BLOCK)),
                    );
                }
            }
        },
    );
}

/// Computes `MR` pixels.
///
/// # Safety
/// - `pixel_stride` is that of `reduction`.
/// - `input` is valid for reads of `reduction.input_len(MR, IN)` values.
/// - `weights` is valid for reads of 16 values for each step of the reduction, and `bias` of 16.
/// - `low`, and `high` if it exists, are valid for reads and writes of `8 * MR` values.
#[inline(always)]
unsafe fn tile<S: Simd, const IN: usize, const MR: usize>(
    simd: S,
    reduction: &Reduction,
    pixel_stride: usize,
    input: *const f32,
    weights: *const f32,
    bias: *const f32,
    low: *mut f32,
    high: Option<*mut f32>,
) {
    // SAFETY: all pointers stay inside what the caller promises: the loops run over exactly the blocks, rows, columns, channels and
    // pixels that it counted.
    unsafe {
        let mut sums = [simd.splat_panel(0.0); MR];
        if reduction.first {
            sums = [simd.load_panel(bias); MR];
        } else {
            for (pixel, sum) in sums.iter_mut().enumerate() {
                let low = simd.load(low.add(pixel * BLOCK));
                let high = match high {
                    Some(high) => simd.load(high.add(pixel * BLOCK)),
                    None => simd.splat(0.0),
                };
                *sum = simd.panel([low, high]);
            }
        }
        let mut weights = weights;
        for block in 0..reduction.blocks {
            for kernel_row in 0..reduction.rows {
                let mut input = input.add(block * reduction.plane_stride + kernel_row * reduction.row_stride);
                for _ in 0..reduction.columns {
                    for channel in 0..IN {
                        let panel = simd.load_panel(weights);
                        for (pixel, sum) in sums.iter_mut().enumerate() {
                            let value = simd.splat_panel(*input.add(pixel * pixel_stride + channel));
                            *sum = simd.mul_add_panel(value, panel, *sum);
                        }
                        weights = weights.add(PANEL);
                    }
                    input = input.add(IN);
                }
            }
        }
        for (pixel, sum) in sums.iter().enumerate() {
            let mut halves = simd.halves(*sum);
            if reduction.relu {
                halves = [simd.relu(halves[0]), simd.relu(halves[1])];
            }
            simd.store(halves[0], low.add(pixel * BLOCK));
            if let Some(high) = high {
                simd.store(halves[1], high.add(pixel * BLOCK));
            }
        }
    }
}
