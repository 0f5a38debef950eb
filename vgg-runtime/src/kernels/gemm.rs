//! Fully connected layers: weights stay in rows as in the file, and every row is read once from start to end. Weights of two bytes or one
//! become f32 when they are loaded, exactly; all else is the same.
//!
//! A single image takes as long as reading the weights: twelve rows at a time (six of small numbers), far from each other, a vector of
//! each in turn, keep as many memory requests in flight as there can be. The eight lanes of a sum collect the features `lane, lane + 8,
//! lane + 16, ..` in this order for every tile, so that neither the batch nor the threads change a result.

use core::ops::Range;

use super::shared::Disjoint;
use crate::shape::{BLOCK, GemmDims};
use crate::simd::{Element, Simd};
use crate::threads::Threads;
use crate::weights::Rows;

/// Rows that are read at once for a single image: as many sums as fit the sixteen registers of AVX2 beside an input.
const STREAMS: usize = 12;

/// The same for weights of two bytes and of one, whose cache lines are in use for four steps and for eight: rows of a power of two of
/// bytes fall into one set of the first-level cache, which has eight ways or twelve.
const SMALL_STREAMS: usize = 6;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Bytes from a line of small weights that is read to the one that is asked for.
const AHEAD: usize = 8 * LINE;

/// Rows that threads share out at once, at least, where there are many: enough for streams that are long.
const LEAST_ROWS: usize = 96;

/// Images whose sums are kept at the same time.
const GROUP: usize = 32;

/// Features of a run, a multiple of 8: six rows of it fill 24 KB of a first-level cache of 32 KB or more.
const RUN: usize = 1024;

/// Everything that the threads of one layer share.
struct Problem<'a, S, W> {
    simd: S,
    dims: GemmDims,
    input: &'a [f32],
    rows: Rows<'a, W>,
    output: Disjoint<'a>,
}

/// The layer `dims` for every image in `input`.
pub(crate) fn run<S: Simd, W: Element>(
    simd: S,
    threads: &Threads,
    dims: GemmDims,
    input: &[f32],
    rows: Rows<'_, W>,
    output: &mut [f32],
) {
    let problem = Problem { simd, dims, input, rows, output: Disjoint::new(output) };
    threads.split(dims.out_features, LEAST_ROWS, |_, rows| {
        simd.vectorize(
            #[inline(always)]
            || problem.rows(rows),
        );
    });
}

impl<S: Simd, W: Element> Problem<'_, S, W> {
    /// The output rows `rows` of all images. A tile of 6 rows x 2 images has twelve sums in registers.
    #[inline(always)]
    fn rows(&self, rows: Range<usize>) {
        if self.dims.batch == 1 {
            let rest = if size_of::<W>() < size_of::<f32>() {
                self.streams::<SMALL_STREAMS>(rows)
            } else {
                self.streams::<STREAMS>(rows)
            };
            let rest = self.streams::<4>(rest);
            self.streams::<1>(rest);
        } else {
            for start in (0..self.dims.batch).step_by(GROUP) {
                self.tiles::<6>(rows.clone(), start..self.dims.batch.min(start + GROUP));
            }
        }
    }

    /// The output rows of the only image but for the last, fewer than `ROWS`, which are returned. The rows of one stream follow each other.
    #[inline(always)]
    fn streams<const ROWS: usize>(&self, rows: Range<usize>) -> Range<usize> {
        let distance = rows.len() / ROWS;
        for first in rows.start..rows.start + distance {
            let sums = self.stream::<ROWS>(first, distance);
            for (i, sum) in sums.into_iter().enumerate() {
                let row = first + i * distance;
                // SAFETY: a row belongs to one thread, and this thread has no other part of the output now.
                let target = unsafe { self.output.part(row..row + 1) };
                target[0] = self.finish(sum, row);
            }
        }
        rows.start + distance * ROWS..rows.end
    }

    /// The sums of `ROWS` rows, `distance` rows apart, for the only image.
    #[inline(always)]
    fn stream<const ROWS: usize>(&self, first: usize, distance: usize) -> [S::Vector; ROWS] {
        let (simd, features) = (self.simd, self.dims.in_features);
        let rows: [&[W]; ROWS] = core::array::from_fn(|i| self.row(first + i * distance));
        let weights = rows.map(<[W]>::as_ptr);
        let input = self.input[..features].as_ptr();
        let mut sums = [simd.splat(0.0); ROWS];
        let whole = features / BLOCK * BLOCK;
        let line = LINE / size_of::<W>();
        let lines = if size_of::<W>() < size_of::<f32>() { features / line * line } else { 0 };
        for start in (0..lines).step_by(line) {
            // So few bytes pass between two lines that the processor itself does not look far enough ahead.
            for row in weights {
                simd.prefetch(row.wrapping_add(start).wrapping_byte_add(AHEAD).cast());
            }
            for at in (start..start + line).step_by(BLOCK) {
                // SAFETY: every pointer is to `features` values, and `at + 8 <= lines <= features`.
                unsafe { self.step(&mut sums, weights, input, at) };
            }
        }
        for at in (lines..whole).step_by(BLOCK) {
            // SAFETY: every pointer is to `features` values, and `at + 8 <= whole <= features`.
            unsafe { self.step(&mut sums, weights, input, at) };
        }
        if whole < features {
            let input = tail(simd, &self.input[whole..features]);
            for (sum, row) in sums.iter_mut().zip(&rows) {
                *sum = simd.mul_add(tail(simd, &row[whole..]), input, *sum);
            }
        }
        sums
    }

    /// Adds to `sums` what the eight features from `at` on give.
    ///
    /// # Safety
    /// - Every pointer is valid for reads of 8 values from `at` on.
    #[inline(always)]
    unsafe fn step<const ROWS: usize>(
        &self,
        sums: &mut [S::Vector; ROWS],
        weights: [*const W; ROWS],
        input: *const f32,
        at: usize,
    ) {
        // SAFETY: the caller's promise.
        let input = unsafe { self.simd.load(input.add(at)) };
        for i in 0..ROWS {
            // SAFETY: the caller's promise.
            let weights = unsafe { W::load(self.simd, weights[i].add(at)) };
            sums[i] = self.simd.mul_add(weights, input, sums[i]);
        }
    }

    /// The weights of an output row.
    #[inline(always)]
    fn row(&self, row: usize) -> &[W] {
        let features = self.dims.in_features;
        &self.rows.weights[row * features..][..features]
    }

    /// The output of a row from its sum.
    #[inline(always)]
    fn finish(&self, sum: S::Vector, row: usize) -> f32 {
        let sum = self.simd.sum(sum);
        let y = if W::SCALED { sum * self.rows.scales[row] } else { sum } + self.rows.bias[row];
        if self.dims.relu && 0.0 > y { 0.0 } else { y }
    }

    #[inline(always)]
    fn tiles<const ROWS: usize>(&self, rows: Range<usize>, images: Range<usize>) {
        let whole = rows.start + rows.len() / ROWS * ROWS;
        for row in (rows.start..whole).step_by(ROWS) {
            self.tile::<ROWS>(row, images.clone());
        }
        for row in whole..rows.end {
            self.tile::<1>(row, images.clone());
        }
    }

    /// The `ROWS` rows from `row` on times a group of images. The rows are cut into runs that stay in the first-level cache, so that they
    /// come from memory once for all images.
    #[inline(always)]
    fn tile<const ROWS: usize>(&self, row: usize, images: Range<usize>) {
        let (simd, features) = (self.simd, self.dims.in_features);
        let mut sums = [[simd.splat(0.0); ROWS]; GROUP];
        for start in (0..features).step_by(RUN) {
            let run = start..features.min(start + RUN);
            let mut sums = sums.as_mut_slice();
            let mut image = images.start;
            while let [first, second, rest @ ..] = sums
                && image + 2 <= images.end
            {
                self.accumulate([first, second], row, image, run.clone());
                sums = rest;
                image += 2;
            }
            if let [last, ..] = sums
                && image < images.end
            {
                self.accumulate([last], row, image, run);
            }
        }
        for (image, sums) in images.zip(&sums) {
            let at = image * self.dims.out_features + row;
            // SAFETY: a row belongs to one thread, and this thread has no other part of the output now.
            let target = unsafe { self.output.part(at..at + ROWS) };
            for (i, (target, sum)) in target.iter_mut().zip(sums).enumerate() {
                *target = self.finish(*sum, row + i);
            }
        }
    }

    /// Adds to `sums` what the features `run` of the rows from `row` on and of the images from `image` on give.
    #[inline(always)]
    fn accumulate<const ROWS: usize, const IMAGES: usize>(
        &self,
        sums: [&mut [S::Vector; ROWS]; IMAGES],
        row: usize,
        image: usize,
        run: Range<usize>,
    ) {
        let (simd, features) = (self.simd, self.dims.in_features);
        let weights: [_; ROWS] = core::array::from_fn(|i| self.row(row + i)[run.clone()].as_ptr());
        let inputs: [_; IMAGES] =
            core::array::from_fn(|i| self.input[(image + i) * features..][..features][run.clone()].as_ptr());
        let mut local: [[S::Vector; ROWS]; IMAGES] = core::array::from_fn(|i| *sums[i]);
        let whole = run.len() / BLOCK * BLOCK;
        for at in (0..whole).step_by(BLOCK) {
            // SAFETY: every pointer is to `run.len()` values, and `at + 8 <= whole <= run.len()`.
            let inputs: [_; IMAGES] = core::array::from_fn(|i| unsafe { simd.load(inputs[i].add(at)) });
            for i in 0..ROWS {
                // SAFETY: as above.
                let weights = unsafe { W::load(simd, weights[i].add(at)) };
                for j in 0..IMAGES {
                    local[j][i] = simd.mul_add(weights, inputs[j], local[j][i]);
                }
            }
        }
        if whole < run.len() {
            let rest = run.start + whole..run.end;
            for j in 0..IMAGES {
                let input = tail(simd, &self.input[(image + j) * features..][rest.clone()]);
                for i in 0..ROWS {
                    let weights = tail(simd, &self.row(row + i)[rest.clone()]);
                    local[j][i] = simd.mul_add(weights, input, local[j][i]);
                }
            }
        }
        for (sums, local) in sums.into_iter().zip(local) {
            *sums = local;
        }
    }
}

/// Eight values at most, filled up with zeroes.
#[inline(always)]
fn tail<S: Simd, W: Element>(simd: S, values: &[W]) -> S::Vector {
    let mut padded = [W::default(); BLOCK];
    padded[..values.len()].copy_from_slice(values);
    // SAFETY: the array holds 8 values.
    unsafe { W::load(simd, padded.as_ptr()) }
}
