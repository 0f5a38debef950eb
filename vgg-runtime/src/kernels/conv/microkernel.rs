//! The register tile of a convolution: `MR` pixels times a panel of 16 output channels.
//!
//! As in a BLIS microkernel, each step of the reduction loads one row of the weight panel and multiplies it with one input
//! value of each pixel, broadcast straight from the activation: 6 x 16 takes 8 loads for 12 multiply-adds, so that arithmetic decides.
//! With channel-blocked input the taps of one kernel row are contiguous, so the reduction is a loop over runs:
//! input block x kernel row x (kernel column, channel in the block).

use core::ops::Range;

use super::ahead::Ahead;
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
    /// Values from the input of one output pixel to that of the next in its row.
    pub(super) pixel_stride: usize,
    /// Whether the sums start with the bias, or with what the previous run left in the output.
    pub(super) first: bool,
    /// Whether this is the last run and ReLU follows.
    pub(super) relu: bool,
}

impl Reduction {
    /// Values of the input from the first tap of a pixel to its last.
    fn reach(&self, block: usize) -> usize {
        (self.blocks - 1) * self.plane_stride + (self.rows - 1) * self.row_stride + self.columns * block
    }
}

/// The pixels to compute, and what they are computed from: slices that start at the first pixel (or its first tap).
pub(super) struct Pixels<'a> {
    /// Rows of pixels.
    pub(super) rows: usize,
    /// Pixels of a row.
    pub(super) columns: usize,
    /// Values from the input of one row of pixels to that of the next, and the same of the output.
    pub(super) row_strides: [usize; 2],
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

/// Computes `pixels`, in tiles that are as large and as equal as possible.
pub(super) fn pixels<S: Simd, const IN: usize>(simd: S, reduction: &Reduction, pixels: &mut Pixels<'_>) {
    let (rows, columns) = (pixels.rows, pixels.columns);
    if rows == 0 || columns == 0 {
        return;
    }
    let [input_len, output_len] = [reduction.pixel_stride, BLOCK].map(|step| (columns - 1) * step);
    let [input_row, output_row] = pixels.row_strides;
    assert!(
        pixels.input.len() >= (rows - 1) * input_row + input_len + reduction.reach(IN),
        "a tile reads beyond its input"
    );
    assert!(pixels.weights.len() >= reduction.blocks * reduction.rows * reduction.columns * IN * PANEL);
    let written = (rows - 1) * output_row + output_len + BLOCK;
    assert!(pixels.bias.len() >= PANEL && pixels.low.len() >= written);
    assert!(pixels.high.is_empty() || pixels.high.len() >= written);
    let tiles = |pixels: usize| pixels.div_ceil(S::TILE);
    // Tiles of several rows take an address for each pixel, which pays where rows are short and leave many registers idle.
    if rows > 1 && tiles(rows * columns) * 8 < tiles(columns) * rows * 7 {
        let count = rows * columns;
        let mut ahead = Ahead::new(tiles(count));
        each_size(count, S::TILE, |size, start, count| {
            with_rows!(size, S::TILE, MR => scattered::<S, IN, MR>(simd, reduction, start, count, pixels, &mut ahead));
        });
    } else {
        let mut ahead = Ahead::new(rows * tiles(columns));
        for row in 0..rows {
            each_size(columns, S::TILE, |size, start, count| {
                with_rows!(size, S::TILE, MR => strided::<S, IN, MR>(simd, reduction, [row, start], count, pixels, &mut ahead));
            });
        }
    }
}

/// Cuts `count` pixels into tiles of at most `largest`, of two sizes, and calls `body(size, first pixel, tiles)` for each of them.
fn each_size(count: usize, largest: usize, mut body: impl FnMut(usize, usize, usize)) {
    let tiles = count.div_ceil(largest);
    let (size, larger) = (count / tiles, count % tiles);
    if larger > 0 {
        body(size + 1, 0, larger);
    }
    body(size, larger * (size + 1), tiles - larger);
}

/// Computes `count` tiles of `MR` neighbouring pixels of row `row`, the first at pixel `start`.
fn strided<S: Simd, const IN: usize, const MR: usize>(
    simd: S,
    reduction: &Reduction,
    [row, start]: [usize; 2],
    count: usize,
    pixels: &mut Pixels<'_>,
    ahead: &mut Ahead,
) {
    // With a constant stride one register addresses all pixels. The columns stay a loop: unrolled, the compiler keeps inputs that
    // neighbouring pixels share for later columns, and there are no registers for them.
    match reduction.pixel_stride {
        stride if stride == IN => in_row::<S, IN, MR, IN>(simd, reduction, [row, start], count, pixels, ahead),
        2 if IN == 1 => in_row::<S, IN, MR, 2>(simd, reduction, [row, start], count, pixels, ahead),
        4 if IN == 1 => in_row::<S, IN, MR, 4>(simd, reduction, [row, start], count, pixels, ahead),
        _ => in_row::<S, IN, MR, DYNAMIC>(simd, reduction, [row, start], count, pixels, ahead),
    }
}

/// In place of a constant: the value is that of the [`Reduction`].
const DYNAMIC: usize = 0;

/// Computes `count` tiles of `MR` neighbouring pixels of row `row`, the first at pixel `start`.
fn in_row<S: Simd, const IN: usize, const MR: usize, const STRIDE: usize>(
    simd: S,
    reduction: &Reduction,
    [row, start]: [usize; 2],
    count: usize,
    pixels: &mut Pixels<'_>,
    ahead: &mut Ahead,
) {
    assert!(STRIDE == DYNAMIC || STRIDE == reduction.pixel_stride);
    assert!(row < pixels.rows && start + count * MR <= pixels.columns);
    let [input_row, output_row] = pixels.row_strides.map(|stride| row * stride);
    let pointers = Pointers::new(pixels);
    simd.vectorize(
        #[inline(always)]
        || {
            let stride = if STRIDE == DYNAMIC { reduction.pixel_stride } else { STRIDE };
            for column in (start..start + count * MR).step_by(MR) {
                // SAFETY: `pixels` has checked the taps, the weights, the bias and the output of all pixels.
                unsafe {
                    let pointers = pointers.moved(input_row + column * stride, output_row + column * BLOCK);
                    tile::<S, IN, MR>(simd, reduction, Neighbours { stride }, pointers, streams::<IN>(ahead));
                }
            }
        },
    );
}

/// Computes `count` tiles of `MR` pixels, which follow each other across the rows, the first at pixel `start`.
fn scattered<S: Simd, const IN: usize, const MR: usize>(
    simd: S,
    reduction: &Reduction,
    start: usize,
    count: usize,
    pixels: &mut Pixels<'_>,
    ahead: &mut Ahead,
) {
    let (columns, [input_row, output_row]) = (pixels.columns, pixels.row_strides);
    assert!(start + count * MR <= pixels.rows * columns);
    let pointers = Pointers::new(pixels);
    simd.vectorize(
        #[inline(always)]
        || {
            for first in (start..start + count * MR).step_by(MR) {
                let mut places = Scattered { inputs: [0; MR], outputs: [0; MR] };
                for index in 0..MR {
                    let (row, column) = ((first + index) / columns, (first + index) % columns);
                    places.inputs[index] = row * input_row + column * reduction.pixel_stride;
                    places.outputs[index] = row * output_row + column * BLOCK;
                }
                // SAFETY: `pixels` has checked the taps, the weights, the bias and the output of all pixels.
                unsafe { tile::<S, IN, MR>(simd, reduction, places, pointers, streams::<IN>(ahead)) };
            }
        },
    );
}

/// The streams that the next tile asks for: none where weights are as few as those of a planar image.
#[inline(always)]
fn streams<const IN: usize>(ahead: &mut Ahead) -> Range<usize> {
    if IN == BLOCK { ahead.next() } else { 0..0 }
}

/// Where the pixels of a tile lie, from the first value of its input and its output.
trait Places: Copy {
    /// Values to the first tap of a pixel.
    fn input(&self, pixel: usize) -> usize;
    /// Values to a pixel of the output.
    fn output(&self, pixel: usize) -> usize;
}

/// Pixels side by side.
#[derive(Clone, Copy)]
struct Neighbours {
    stride: usize,
}

impl Places for Neighbours {
    #[inline(always)]
    fn input(&self, pixel: usize) -> usize {
        pixel * self.stride
    }

    #[inline(always)]
    fn output(&self, pixel: usize) -> usize {
        pixel * BLOCK
    }
}

/// Pixels anywhere.
#[derive(Clone, Copy)]
struct Scattered<const MR: usize> {
    inputs: [usize; MR],
    outputs: [usize; MR],
}

impl<const MR: usize> Places for Scattered<MR> {
    #[inline(always)]
    fn input(&self, pixel: usize) -> usize {
        self.inputs[pixel]
    }

    #[inline(always)]
    fn output(&self, pixel: usize) -> usize {
        self.outputs[pixel]
    }
}

/// What a tile reads and writes: its first input, weight and bias, and its first output in the low and the high block of channels.
#[derive(Clone, Copy)]
struct Pointers {
    input: *const f32,
    weights: *const f32,
    bias: *const f32,
    low: *mut f32,
    high: Option<*mut f32>,
}

impl Pointers {
    fn new(pixels: &mut Pixels<'_>) -> Self {
        Self {
            input: pixels.input.as_ptr(),
            weights: pixels.weights.as_ptr(),
            bias: pixels.bias.as_ptr(),
            low: pixels.low.as_mut_ptr(),
            high: if pixels.high.is_empty() { None } else { Some(pixels.high.as_mut_ptr()) },
        }
    }

    /// # Safety
    /// - The buffers reach so far.
    #[inline(always)]
    unsafe fn moved(self, input: usize, output: usize) -> Self {
        // SAFETY: passed on.
        unsafe {
            Self {
                input: self.input.add(input),
                low: self.low.add(output),
                high: self.high.map(|high| high.add(output)),
                ..self
            }
        }
    }
}

/// Computes `MR` pixels.
///
/// # Safety
/// - For each pixel of `places`, the input is valid for reads of `reduction.reach(IN)` values, and `low`, and `high` if it exists, for
///   reads and writes of 8.
/// - `weights` is valid for reads of 16 values for each step of the reduction, and `bias` of 16. What follows the weights is asked for in
///   `streams`.
#[inline(always)]
unsafe fn tile<S: Simd, const IN: usize, const MR: usize>(
    simd: S,
    reduction: &Reduction,
    places: impl Places,
    Pointers { input, weights, bias, low, high }: Pointers,
    streams: Range<usize>,
) {
    let taps = reduction.blocks * reduction.rows * reduction.columns;
    let next = weights.wrapping_add(taps * IN * PANEL);
    let mut tap = 0;
    // SAFETY: all pointers stay inside what the caller promises: the loops run over exactly the blocks, rows, columns, channels and
    // pixels that it counted.
    unsafe {
        let mut sums = [simd.splat_panel(0.0); MR];
        if reduction.first {
            sums = [simd.load_panel(bias); MR];
        } else {
            for (pixel, sum) in sums.iter_mut().enumerate() {
                let low = simd.load(low.add(places.output(pixel)));
                let high = match high {
                    Some(high) => simd.load(high.add(places.output(pixel))),
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
                    for stream in streams.clone() {
                        simd.prefetch_far(next.wrapping_add((stream * taps + tap) * PANEL));
                    }
                    tap += 1;
                    for channel in 0..IN {
                        let panel = simd.load_panel(weights);
                        for (pixel, sum) in sums.iter_mut().enumerate() {
                            let value = simd.splat_panel(*input.add(places.input(pixel) + channel));
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
            simd.store(halves[0], low.add(places.output(pixel)));
            if let Some(high) = high {
                simd.store(halves[1], high.add(places.output(pixel)));
            }
        }
    }
}
