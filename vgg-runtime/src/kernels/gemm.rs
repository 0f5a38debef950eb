//! Fully connected layers: weights stay in rows as in the file, and every row is read once from start to end.
//!
//! Reading several rows at once keeps several streams of memory requests in flight. The eight lanes of a sum collect the features
//! `lane, lane + 8, lane + 16, ..` in this order for every tile, so that neither the batch nor the partition changes a result.

use core::ops::Range;

use super::shared::Disjoint;
use crate::shape::{BLOCK, GemmDims};
use crate::simd::{Simd, load};
use crate::threads::{Threads, partition};

/// Images whose sums are kept at the same time.
const GROUP: usize = 16;

/// Features of a run, a multiple of 8: six rows of it fill 24 KB of a first-level cache of 32 KB or more.
const RUN: usize = 1024;

/// Everything that the threads of one layer share.
struct Problem<'a, S> {
    simd: S,
    dims: GemmDims,
    input: &'a [f32],
    weights: &'a [f32],
    bias: &'a [f32],
    output: Disjoint<'a>,
}

/// The layer `dims` for every image in `input`.
pub(crate) fn run<S: Simd>(
    simd: S,
    threads: &Threads,
    dims: GemmDims,
    input: &[f32],
    (weights, bias): (&[f32], &[f32]),
    output: &mut [f32],
) {
    let problem = Problem { simd, dims, input, weights, bias, output: Disjoint::new(output) };
    threads.run(|thread| {
        let rows = partition(dims.out_features, threads.count(), thread);
        simd.vectorize(
            #[inline(always)]
            || problem.rows(rows),
        );
    });
}

impl<S: Simd> Problem<'_, S> {
    /// The output rows `rows` of all images. A tile of 6 rows x 2 images has twelve sums in registers; one image alone takes 8 rows.
    #[inline(always)]
    fn rows(&self, rows: Range<usize>) {
        if self.dims.batch == 1 {
            self.tiles::<8>(rows, 0..1);
        } else {
            for start in (0..self.dims.batch).step_by(GROUP) {
                self.tiles::<6>(rows.clone(), start..self.dims.batch.min(start + GROUP));
            }
        }
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
            for ((target, sum), bias) in target.iter_mut().zip(sums).zip(&self.bias[row..row + ROWS]) {
                let y = simd.sum(*sum) + bias;
                *target = if self.dims.relu && 0.0 > y { 0.0 } else { y };
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
        let slice = |values: &'_ [f32], index: usize| -> *const f32 {
            values[index * features..(index + 1) * features][run.clone()].as_ptr()
        };
        let weights: [_; ROWS] = core::array::from_fn(|i| slice(self.weights, row + i));
        let inputs: [_; IMAGES] = core::array::from_fn(|i| slice(self.input, image + i));
        let mut local: [[S::Vector; ROWS]; IMAGES] = core::array::from_fn(|i| *sums[i]);
        let whole = run.len() / BLOCK * BLOCK;
        for at in (0..whole).step_by(BLOCK) {
            // SAFETY: every pointer is to `run.len()` values, and `at + 8 <= whole <= run.len()`.
            let inputs: [_; IMAGES] = core::array::from_fn(|i| unsafe { simd.load(inputs[i].add(at)) });
            for i in 0..ROWS {
                // SAFETY: as above.
                let weights = unsafe { simd.load(weights[i].add(at)) };
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
                    let weights = tail(simd, &self.weights[(row + i) * features..][rest.clone()]);
                    local[j][i] = simd.mul_add(weights, input, local[j][i]);
                }
            }
        }
        for (sums, local) in sums.into_iter().zip(local) {
            *sums = local;
        }
    }
}

/// Fewer than eight values, filled up with zeroes.
#[inline(always)]
fn tail<S: Simd>(simd: S, values: &[f32]) -> S::Vector {
    let mut padded = [0.0; BLOCK];
    padded[..values.len()].copy_from_slice(values);
    load(simd, &padded, 0)
}
