//! Fully connected layers: weights stay in rows as in the file, and every row is read once from start to end.
//!
//! Reading several rows at once keeps several streams of memory requests in flight. The eight lanes of a sum collect the features
//! `lane, lane + 8, lane + 16, ..` in this order for every tile, so that neither the batch nor the partition changes a result.

use core::ops::Range;

use super::shared::Disjoint;
use crate::shape::{BLOCK, GemmDims};
use crate::simd::{Simd, load};
use crate::threads::{Threads, partition};

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
        let pairs = self.dims.batch / 2 * 2;
        if pairs > 0 {
            self.tiles::<6, 2>(rows.clone(), 0..pairs);
        }
        if pairs < self.dims.batch {
            self.tiles::<8, 1>(rows, pairs..self.dims.batch);
        }
    }

    #[inline(always)]
    fn tiles<const ROWS: usize, const IMAGES: usize>(&self, rows: Range<usize>, images: Range<usize>) {
        let whole = rows.start + rows.len() / ROWS * ROWS;
        for row in (rows.start..whole).step_by(ROWS) {
            for image in images.clone().step_by(IMAGES) {
                self.tile::<ROWS, IMAGES>(row, image);
            }
        }
        for row in whole..rows.end {
            for image in images.clone().step_by(IMAGES) {
                self.tile::<1, IMAGES>(row, image);
            }
        }
    }

    /// The rows from `row` on times the images from `image` on.
    #[inline(always)]
    fn tile<const ROWS: usize, const IMAGES: usize>(&self, row: usize, image: usize) {
        let (simd, features) = (self.simd, self.dims.in_features);
        let weights: [&[f32]; ROWS] =
            core::array::from_fn(|i| &self.weights[(row + i) * features..(row + i + 1) * features]);
        let inputs: [&[f32]; IMAGES] =
            core::array::from_fn(|i| &self.input[(image + i) * features..(image + i + 1) * features]);
        let mut sums = [[simd.splat(0.0); IMAGES]; ROWS];
        let whole = features / BLOCK * BLOCK;
        for at in (0..whole).step_by(BLOCK) {
            let inputs: [S::Vector; IMAGES] = core::array::from_fn(|i| {
                // SAFETY: each slice has `features` values, and `at + 8 <= whole <= features`.
                unsafe { simd.load(inputs[i].as_ptr().add(at)) }
            });
            for (sums, weights) in sums.iter_mut().zip(&weights) {
                // SAFETY: as above.
                let weights = unsafe { simd.load(weights.as_ptr().add(at)) };
                for (sum, input) in sums.iter_mut().zip(&inputs) {
                    *sum = simd.mul_add(weights, *input, *sum);
                }
            }
        }
        if whole < features {
            let inputs: [S::Vector; IMAGES] = core::array::from_fn(|i| tail(simd, &inputs[i][whole..]));
            for (sums, weights) in sums.iter_mut().zip(&weights) {
                let weights = tail(simd, &weights[whole..]);
                for (sum, input) in sums.iter_mut().zip(&inputs) {
                    *sum = simd.mul_add(weights, *input, *sum);
                }
            }
        }
        for i in 0..IMAGES {
            let at = (image + i) * self.dims.out_features + row;
            // SAFETY: a row belongs to one thread, and this thread has no other part of the output now.
            let target = unsafe { self.output.part(at..at + ROWS) };
            for (j, target) in target.iter_mut().enumerate() {
                let y = simd.sum(sums[j][i]) + self.bias[row + j];
                *target = if self.dims.relu && 0.0 > y { 0.0 } else { y };
            }
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
