//! The input transform: `B^T d B` of every tile of a chunk, into the rows of the matrices that [`super::gemm`] reads.
//!
//! The matrix of a frequency holds groups of rows (a register tile each), and a group is `[input block][row][8]`, so that the register
//! tile reads one contiguous run.

use super::tiles::{CLASSES, Chunk, Groups};
use super::transform::{Line, MAX_POINTS, Transform, line, with_transform};
use super::{Frequencies, Problem, depth, phases};
use crate::kernels::shared::Disjoint;
use crate::shape::BLOCK;
use crate::simd::Simd;

/// Tiles whose places are worked out together, once for all input blocks.
const RUN: usize = 16;

/// Intermediate values of one tile.
type Square<S> = [Line<S, MAX_POINTS>; MAX_POINTS];

/// A block of the depth: a block of input channels in one phase of the pixels.
#[derive(Clone, Copy)]
struct DepthPlace {
    /// Its index in the depth.
    block: usize,
    /// Values from the first of a tile in the first block to its first here.
    start: usize,
    /// Row and column of the phase.
    phase: [usize; 2],
}

/// One tile on its way to the matrices.
#[derive(Clone, Copy)]
struct Tile {
    /// Index of its row and column among the tiles of the image.
    row: usize,
    column: usize,
    /// Offset in the input of its first value in the first block.
    source: usize,
    /// Whether all the inputs that it reads exist, in every phase.
    inside: bool,
    /// For each class of frequencies: the first row of its group, the rows of the group, its row in the group.
    places: [[usize; 3]; CLASSES],
}

impl<S: Simd> Problem<'_, S> {
    /// Transforms `blocks` of the depth of all tiles of `chunk`.
    ///
    /// # Safety
    /// - Nobody else writes the blocks `blocks` of `matrices`, or reads `matrices`, before this returns.
    pub(super) unsafe fn transform_input(
        &self,
        chunk: &Chunk,
        frequencies: &Frequencies,
        blocks: core::ops::Range<usize>,
        matrices: &Disjoint<'_>,
    ) {
        let simd = self.simd;
        let target = matrices.pointer(0..self.points() * self.points() * frequencies.stride);
        simd.vectorize(
            #[inline(always)]
            || {
                let mut square = [[simd.splat(0.0); MAX_POINTS]; MAX_POINTS];
                let mut staged = [0.0; MAX_POINTS * MAX_POINTS * BLOCK];
                let mut run = [Tile { row: 0, column: 0, source: 0, inside: false, places: [[0; 3]; CLASSES] }; RUN];
                let mut start = 0;
                while start < chunk.tiles() {
                    let run = &mut run[..RUN.min(chunk.tiles() - start)];
                    for (index, tile) in run.iter_mut().enumerate() {
                        *tile = self.place(chunk, frequencies, start + index);
                    }
                    let mut place = self.depth_place(blocks.start);
                    for block in blocks.clone() {
                        let next_place = self.depth_place(block + 1);
                        for (index, tile) in run.iter().enumerate() {
                            match run.get(index + 1) {
                                Some(next) => self.prefetch_tile(next, place.start),
                                None => self.prefetch_tile(&run[0], next_place.start),
                            }
                            // SAFETY: `target` holds the matrices of all frequencies, and the caller keeps others away from this block.
                            unsafe { self.transform_tile(tile, frequencies, place, &mut square, &mut staged, target) };
                        }
                        place = next_place;
                    }
                    start += run.len();
                }
            },
        );
    }

    /// Tile `index` of `chunk`.
    #[inline(always)]
    fn place(&self, chunk: &Chunk, frequencies: &Frequencies, index: usize) -> Tile {
        let input = self.dims.input;
        let (rest, column) = (index / chunk.columns.len, index % chunk.columns.len);
        let (image, row) = (rest / chunk.rows.len, rest % chunk.rows.len);
        let rows = chunk.places(image, row, column);
        let places = core::array::from_fn(|class| {
            let groups: Groups = frequencies.groups[class];
            let [first, size] = groups.of(rows[class]);
            [first, size, rows[class] - first]
        });
        let (row, column) = (chunk.rows.first + row, chunk.columns.first + column);
        let (y, x) = (self.rows.start(row), self.columns.start(column));
        let corner = input.origin() - self.dims.pads[0] * input.row_stride() - self.dims.pads[1] * BLOCK;
        Tile {
            row,
            column,
            source: (chunk.image + image) * input.len()
                + corner
                + y * self.dims.strides[0] * input.row_stride()
                + x * self.dims.strides[1] * BLOCK,
            inside: self.rows.span(row).outputs() <= self.rows.valid(row)
                && self.columns.span(column).outputs() <= self.columns.valid(column)
                // With a stride the last tiles reach beyond what the last taps meet.
                && (phases(self.dims) == 1 || row + 1 < self.rows.len() && column + 1 < self.columns.len()),
            places,
        }
    }

    /// Block `block` of the depth.
    #[inline(always)]
    fn depth_place(&self, block: usize) -> DepthPlace {
        let (input, [down, right]) = (self.dims.input, self.dims.strides);
        let (input_block, phase) = (block / (down * right), block % (down * right));
        let (y, x) = (phase / right, phase % right);
        DepthPlace {
            block,
            start: input_block * input.plane_stride() + y * input.row_stride() + x * BLOCK,
            phase: [y, x],
        }
    }

    /// Asks for what the transform of the block of the depth that starts at `start` reads of `tile`, but for the columns that its left
    /// neighbour has read.
    #[inline(always)]
    fn prefetch_tile(&self, tile: &Tile, start: usize) {
        const LINE: usize = 2 * BLOCK;
        let [down, right] = self.dims.strides;
        let row_stride = down * self.dims.input.row_stride();
        let lines = self.points() * right / 2;
        let mut source = self.input.as_ptr().wrapping_add(tile.source + start + LINE);
        for _ in 0..self.points() {
            for line in 0..lines {
                self.simd.prefetch(source.wrapping_add(line * LINE));
            }
            source = source.wrapping_add(row_stride);
        }
    }

    /// Transforms the block `place` of the depth of `tile`.
    ///
    /// # Safety
    /// - `target` is valid for writes of the matrices of all frequencies, and nobody else uses this block of them.
    #[inline(always)]
    unsafe fn transform_tile(
        &self,
        tile: &Tile,
        frequencies: &Frequencies,
        place: DepthPlace,
        square: &mut Square<S>,
        staged: &mut [f32; MAX_POINTS * MAX_POINTS * BLOCK],
        target: *mut f32,
    ) {
        let simd = self.simd;
        let input = self.dims.input;
        let [down, right] = self.dims.strides;
        let DepthPlace { block, start, phase: [y, x] } = place;
        let source = &self.input[tile.source + start..];
        let (rows, columns) = (self.rows.span(tile.row), self.columns.span(tile.column));
        let (height, width) = (rows.points().len(), columns.points().len());
        let (source, row_stride, step): (&[f32], usize, usize) = if tile.inside {
            (source, down * input.row_stride(), right * BLOCK)
        } else {
            // The outputs of the tile that exist read no input behind the image and its padding; the others may read zeroes.
            staged.fill(0.0);
            let [kernel_height, kernel_width] = self.dims.kernel;
            let valid_height = self.rows.valid(tile.row) + (kernel_height - 1 - y) / down;
            let valid_width = self.columns.valid(tile.column) + (kernel_width - 1 - x) / right;
            let rows = source.chunks(down * input.row_stride());
            for (to, from) in staged.chunks_exact_mut(MAX_POINTS * BLOCK).zip(rows).take(valid_height) {
                let pixels = from.chunks(right * BLOCK);
                for (to, from) in to.chunks_exact_mut(BLOCK).zip(pixels).take(valid_width) {
                    to.copy_from_slice(&from[..BLOCK]);
                }
            }
            (&staged[..], MAX_POINTS * BLOCK, BLOCK)
        };
        assert!(
            source.len() >= (height - 1) * row_stride + (width - 1) * step + BLOCK,
            "a tile reads beyond its input"
        );
        let source = Source { start: source.as_ptr(), row_stride, step };
        let blocks = depth(self.dims);
        let offsets = core::array::from_fn(|class| {
            let [first, size, row] = tile.places[class];
            (first * blocks + block * size + row) * BLOCK
        });
        // SAFETY: the assert covers the rows and columns of the spans; the target is passed on.
        unsafe {
            if rows == columns {
                // Most tiles: with the points of both axes known to the compiler, nothing is left of the loops.
                with_transform!(rows, T, N, M => {
                    transform_rows::<S, T, N, M>(simd, source, N, square);
                    self.transform_columns::<T, N, M>(&T::PLACES, frequencies, offsets, square, target);
                });
            } else {
                with_transform!(columns, T, N, M => transform_rows::<S, T, N, M>(simd, source, height, square));
                with_transform!(rows, T, N, M => {
                    self.transform_columns::<T, N, M>(columns.points(), frequencies, offsets, square, target);
                });
            }
        }
    }

    /// Transforms the columns of `square`, which belong to the points `points`, into the matrices.
    ///
    /// # Safety
    /// - `target` is valid for writes of the matrices of all frequencies, and the rows of a tile at `offsets` in them are nobody else's.
    #[inline(always)]
    unsafe fn transform_columns<T: Transform<N, M>, const N: usize, const M: usize>(
        &self,
        points: &[usize],
        frequencies: &Frequencies,
        offsets: [usize; CLASSES],
        square: &Square<S>,
        target: *mut f32,
    ) {
        let simd = self.simd;
        let places = frequencies.places(T::PLACES, self.points() * frequencies.stride, offsets);
        for (index, &column) in points.iter().enumerate() {
            let d: Line<S, N> = line(
                simd,
                #[inline(always)]
                // The index is below 8 anyway.
                |row| square[row][index % MAX_POINTS],
            );
            let target = target.wrapping_add(column * frequencies.stride);
            let places = &places[frequencies.column_present[column]];
            for (v, place) in T::input(simd, d).iter().zip(places) {
                // SAFETY: the tile has this frequency, so its row lies inside the matrix, which the caller gave whole.
                unsafe { simd.store(*v, target.add(*place)) };
            }
        }
    }
}

/// Where a tile reads its inputs.
#[derive(Clone, Copy)]
struct Source {
    start: *const f32,
    /// Values from one row to the next, and from one column to the next.
    row_stride: usize,
    step: usize,
}

/// Transforms the `height` rows of a tile into those of `square`.
///
/// # Safety
/// - `source` is valid for reads of 8 values for each of `height` rows and `N` columns.
#[inline(always)]
unsafe fn transform_rows<S: Simd, T: Transform<N, M>, const N: usize, const M: usize>(
    simd: S,
    source: Source,
    height: usize,
    square: &mut Square<S>,
) {
    for (row, to) in square.iter_mut().enumerate().take(height) {
        let d: Line<S, N> = line(
            simd,
            #[inline(always)]
            // SAFETY: row < height and column < N.
            |column| unsafe { simd.load(source.start.add(row * source.row_stride + column * source.step)) },
        );
        to[..N].copy_from_slice(&T::input(simd, d));
    }
}
