//! Winograd's minimal filtering: F(4x4, 3x3), F(6x6, 3x3) and F(4x4, 5x5).
//!
//! Tiles of the input and kernels are transformed; then a convolution is one matrix product for each *frequency* (each pair of points of
//! the transform, see [`transform`]), and the products are transformed back. A tile of 6x6 outputs takes 64 multiplications for each pair
//! of channels where direct summation takes 324.
//!
//! A 5x5 convolution of stride 2 is the sum of four 3x3 convolutions of stride 1, one for each *phase*: the pixels of even or odd rows
//! and of even or odd columns, with the taps that meet them. So the phases are further input channels, the *depth* of the products.
//!
//! No whole-image copy in the transformed domain exists. Tiles are computed in chunks (see [`blocking`]):
//!
//! - with weights that stay in the cache, each thread takes chunks, all output channels of one before the next;
//! - with weights that come from memory, all threads transform one large chunk, then share the output channels, so that weights are read
//!   once.
//!
//! The sum of an output value runs over the input channels in their order, whatever the chunk or the thread. NaN or an infinity in the
//! input may reach every output of the tiles that read it, and overflow starts at smaller values than in direct summation.

mod blocking;
mod gemm;
mod input;
mod output;
mod tiles;
mod transform;
mod weights;

#[cfg(test)]
mod tests;

use core::ops::Range;

use self::blocking::{Blocking, Work};
use self::tiles::{Axis, CLASSES, Chunk, Groups};
use self::transform::{MAX_POINTS, Span};
use super::Weights;
use super::epilogue::{Target, max_pool};
use crate::kernels::shared::Disjoint;
use crate::shape::{Algorithm, BLOCK, ConvDims, PANEL};
use crate::simd::Simd;
use crate::threads::Threads;

pub(crate) use self::blocking::{can_wait, scratch_len};
#[cfg(feature = "std")]
pub(crate) use self::weights::pack_on;
pub(crate) use self::weights::{pack, packed_len};

/// Panels of output channels whose products are computed before they are transformed: fewer products stay in nearer caches, and with
/// little depth the tiles that each block of panels reads once more are few.
const fn block_panels(dims: ConvDims) -> usize {
    if depth(dims) * BLOCK <= 64 { 1 } else { 2 }
}

/// The span of a whole tile.
const fn whole(dims: ConvDims) -> Span {
    match (dims.algorithm, taps(dims)) {
        (Algorithm::WinogradF4, 3) => Span::FourOfF4,
        (Algorithm::WinogradF4, _) => Span::FourOfF4Taps5,
        _ => Span::SixOfF6,
    }
}

/// Taps along an axis that meet pixels of one phase, at most.
const fn taps(dims: ConvDims) -> usize {
    dims.kernel[0].div_ceil(dims.strides[0])
}

/// Phases of the pixels.
const fn phases(dims: ConvDims) -> usize {
    dims.strides[0] * dims.strides[1]
}

/// Blocks of input channels of all phases.
const fn depth(dims: ConvDims) -> usize {
    dims.input.blocks() * phases(dims)
}

/// The matrices of the frequencies of one chunk.
struct Frequencies {
    /// Values from the tiles of one frequency to those of the next.
    stride: usize,
    /// Values from the products of one frequency to those of the next.
    product_stride: usize,
    /// Tiles, and thus rows of the largest matrices.
    tiles: usize,
    /// The class of each frequency.
    classes: [u8; MAX_POINTS * MAX_POINTS],
    /// How the rows of the matrices of each class are cut into register tiles.
    groups: [Groups; CLASSES],
    /// For each point of the rows and of the columns, 1 if the last row or column of tiles has it, and else 0.
    row_present: [usize; MAX_POINTS],
    column_present: [usize; MAX_POINTS],
}

impl Frequencies {
    /// Where the values of a tile lie: for each point of its rows the offset behind the start of a column's values, given the offsets for
    /// each class; first for columns whose point the last column of tiles lacks, then for the others.
    #[inline(always)]
    fn places<const N: usize>(
        &self,
        points: [usize; N],
        row_stride: usize,
        classes: [usize; CLASSES],
    ) -> [[usize; N]; 2] {
        // Loops, since `array::map` may be a call, which returns its array through memory.
        let mut places = [[0; N]; 2];
        for (column, places) in places.iter_mut().enumerate() {
            for (place, row) in places.iter_mut().zip(points) {
                *place = row * row_stride + classes[(2 * self.row_present[row] + column) % CLASSES];
            }
        }
        places
    }
}

/// Everything that the threads of one convolution share.
struct Problem<'a, S> {
    simd: S,
    dims: ConvDims,
    rows: Axis,
    columns: Axis,
    /// Whether a pool of 2x2 windows is part of the output transform.
    pooled: bool,
    input: &'a [f32],
    weights: &'a Weights<'a>,
    bias: &'a [f32],
}

/// The convolution `dims` of every image in `input`.
pub(crate) fn run<S: Simd>(
    simd: S,
    threads: &Threads,
    dims: ConvDims,
    input: &[f32],
    (weights, bias): (&Weights<'_>, &[f32]),
    output: &mut [f32],
    (scratch, scratch_stride): (&mut [f32], usize),
) {
    assert!(matches!(weights, Weights::Packed(_)) || can_wait(dims), "the transform of these weights cannot wait");
    let whole = whole(dims);
    let rows = Axis { whole, outputs: dims.conv_height() };
    let columns = Axis { whole, outputs: dims.conv_width() };
    let blocking = Blocking::of(dims);
    let pooled = dims.pool.is_some() && !blocking.band;
    let problem = Problem { simd, dims, rows, columns, pooled, input, weights, bias };
    let works = blocking.works(dims, rows, columns, threads.count());
    let output = Disjoint::new(output);
    let blocks = dims.panels().div_ceil(block_panels(dims));
    if blocking.shared {
        let (matrices, own) = scratch.split_at_mut(blocking.matrices_len);
        let fresh_len = if can_wait(dims) { blocking::block_len(dims) } else { 0 };
        for index in 0..works.len() {
            let work = works.get(index);
            let frequencies = problem.frequencies(&work.chunk);
            let transformed = Disjoint::new(matrices);
            threads.split(depth(dims), 1, |_, blocks| {
                // SAFETY: each block occurs in one range, and the matrices are read after all have returned.
                unsafe { problem.transform_input(&work.chunk, &frequencies, blocks, &transformed) };
            });
            let own = Disjoint::new(own);
            let matrices = &*matrices;
            threads.split(blocks, 1, |thread, blocks| {
                let start = thread * scratch_stride;
                // SAFETY: each thread has its own index, and the parts of two threads lie `scratch_stride` apart.
                let own = unsafe { own.part(start..start + blocking.own_len + fresh_len) };
                let (own, fresh) = own.split_at_mut(blocking.own_len);
                // SAFETY: each block of panels occurs in one range.
                unsafe { problem.channels_of(&work, &frequencies, blocks, matrices, own, fresh, &output) };
            });
        }
    } else {
        let scratch = Disjoint::new(scratch);
        threads.share(works.len(), |thread, index| {
            let start = thread * scratch_stride;
            // SAFETY: each thread has its own index, and the parts of two threads lie `scratch_stride` apart.
            let scratch = unsafe { scratch.part(start..start + blocking.matrices_len + blocking.own_len) };
            let (matrices, own) = scratch.split_at_mut(blocking.matrices_len);
            let work = works.get(index);
            let frequencies = problem.frequencies(&work.chunk);
            let transformed = Disjoint::new(matrices);
            // SAFETY: the matrices belong to this thread, and each chunk occurs once.
            unsafe {
                problem.transform_input(&work.chunk, &frequencies, 0..depth(dims), &transformed);
                problem.channels_of(&work, &frequencies, 0..blocks, matrices, own, &mut [], &output);
            }
        });
    }
}

impl<S: Simd> Problem<'_, S> {
    /// Points of a whole tile along one axis.
    #[inline(always)]
    fn points(&self) -> usize {
        self.rows.whole.points().len()
    }

    fn frequencies(&self, chunk: &Chunk) -> Frequencies {
        let points = self.points();
        let mut classes = [0; MAX_POINTS * MAX_POINTS];
        let mut groups = [Groups::new(0, S::TILE); CLASSES];
        for row in 0..points {
            for column in 0..points {
                let class = chunk.class(row, column);
                classes[row * points + column] = class as u8;
                groups[class] = Groups::new(chunk.tiles_at(row, column), S::TILE);
            }
        }
        let tiles = chunk.tiles();
        Frequencies {
            stride: blocking::stride(tiles * depth(self.dims) * BLOCK),
            product_stride: blocking::stride(tiles * block_panels(self.dims) * PANEL),
            tiles,
            classes,
            groups,
            row_present: chunk.rows.present.map(usize::from),
            column_present: chunk.columns.present.map(usize::from),
        }
    }

    /// Computes the blocks of panels `blocks` of the tiles in `matrices`. Plain weights are transformed in `fresh`.
    ///
    /// # Safety
    /// - No other thread writes these blocks of the tiles of the chunk (or, with a band, of its output rows).
    unsafe fn channels_of(
        &self,
        work: &Work,
        frequencies: &Frequencies,
        blocks: Range<usize>,
        matrices: &[f32],
        own: &mut [f32],
        fresh: &mut [f32],
        output: &Disjoint<'_>,
    ) {
        let (dims, chunk) = (self.dims, &work.chunk);
        let count = self.points() * self.points();
        let (products, band) = own.split_at_mut(count * frequencies.product_stride);
        for block in blocks {
            let first = block * block_panels(dims);
            let panels = block_panels(dims).min(dims.panels() - first);
            let weights = match self.weights {
                Weights::Packed(weights) => &weights[first * count * depth(dims) * BLOCK * PANEL..],
                Weights::Plain(weight) => {
                    // The channels that fill up the last block are not written.
                    if !dims.input.channels.is_multiple_of(BLOCK) {
                        fresh.fill(0.0);
                    }
                    weights::pack_block(self.simd, dims, weight.as_slice().as_chunks().0, block, fresh);
                    &*fresh
                }
            };
            self.multiply(frequencies, panels, matrices, weights, products);
            match &work.outputs {
                // SAFETY: the caller keeps others away from these panels of the tiles.
                None => unsafe {
                    self.clear_halo(chunk, first, panels, output);
                    self.transform_output(chunk, frequencies, first, panels, products, output);
                },
                Some(outputs) => {
                    for panel in 0..panels {
                        let wanted = work.conv_rows.clone();
                        self.transform_band(chunk, frequencies, first, panel, products, wanted.clone(), band);
                        let half = wanted.len() * dims.conv_width() * BLOCK;
                        let (low, high) = band.split_at_mut(half);
                        let high = if dims.panel_blocks(first + panel) == 2 { &mut high[..half] } else { &mut [] };
                        // SAFETY: the caller keeps others away from these panels of the output rows.
                        let mut target =
                            unsafe { Target::new(dims, output, chunk.image, first + panel, outputs.clone()) };
                        max_pool(self.simd, dims, [low, high], wanted, &mut target, outputs.clone());
                    }
                }
            }
        }
    }
}
