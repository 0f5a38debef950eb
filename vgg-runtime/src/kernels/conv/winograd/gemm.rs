//! The matrix products of a chunk: for each frequency, the transformed tiles times the transformed weights of some output channels.
//!
//! Unlike a general matrix product nothing is packed here: the input transform has written the tiles, and the packing at load the
//! weights, in the order in which the register tile reads them. The sum of each value runs over the input channels in their order.

use super::{Frequencies, Problem, depth};
use crate::kernels::conv::ahead::Ahead;
use crate::shape::{BLOCK, PANEL};
use crate::simd::Simd;

impl<S: Simd> Problem<'_, S> {
    /// Multiplies the tiles in `matrices` with the weights `[frequency][panel][input channel][16]`, into `products`
    /// (`[frequency][panel][tile][16]`).
    pub(super) fn multiply(
        &self,
        frequencies: &Frequencies,
        panels: usize,
        matrices: &[f32],
        weights: &[f32],
        products: &mut [f32],
    ) {
        let simd = self.simd;
        let (blocks, count) = (depth(self.dims), self.points() * self.points());
        let weights_len = blocks * BLOCK * PANEL;
        assert!(weights.len() >= count * panels * weights_len && matrices.len() >= count * frequencies.stride);
        assert!(products.len() >= count * frequencies.product_stride);
        assert!(frequencies.product_stride >= panels * frequencies.tiles * PANEL);
        assert!(frequencies.stride >= frequencies.tiles * blocks * BLOCK);
        let (matrices, weights, products) = (matrices.as_ptr(), weights.as_ptr(), products.as_mut_ptr());
        simd.vectorize(
            #[inline(always)]
            || {
                for frequency in 0..count {
                    let groups = frequencies.groups[usize::from(frequencies.classes[frequency])];
                    for panel in 0..panels {
                        // SAFETY: the asserts cover all frequencies and panels, and `groups` have no more than `frequencies.tiles` rows.
                        unsafe {
                            let matrix = matrices.add(frequency * frequencies.stride);
                            let weights = weights.add((frequency * panels + panel) * weights_len);
                            let products = products
                                .add(frequency * frequencies.product_stride + panel * frequencies.tiles * PANEL);
                            let split = groups.larger * (groups.size + 1);
                            let runs = [
                                (groups.size + 1, groups.larger, 0),
                                (groups.size, groups.count - groups.larger, split),
                            ];
                            let mut ahead = Ahead::new(groups.count);
                            for (size, count, row) in runs {
                                if count > 0 {
                                    let matrix = matrix.add(row * blocks * BLOCK);
                                    let products = products.add(row * PANEL);
                                    sized(simd, size, count, blocks, matrix, weights, products, &mut ahead);
                                }
                            }
                        }
                    }
                }
            },
        );
    }
}

/// Computes `count` groups of `size` rows.
///
/// # Safety
/// - As for [`tile`], for each of the groups, which follow each other in `matrix` and `products`.
#[inline(always)]
unsafe fn sized<S: Simd>(
    simd: S,
    size: usize,
    count: usize,
    blocks: usize,
    matrix: *const f32,
    weights: *const f32,
    products: *mut f32,
    ahead: &mut Ahead,
) {
    // SAFETY: passed on.
    unsafe { with_rows!(size, S::TILE, MR => run::<S, MR>(simd, count, blocks, matrix, weights, products, ahead)) }
}

/// Computes `count` groups of `MR` rows.
///
/// # Safety
/// - As for [`tile`], for each of the groups, which follow each other in `matrix` and `products`.
#[inline(always)]
unsafe fn run<S: Simd, const MR: usize>(
    simd: S,
    count: usize,
    blocks: usize,
    matrix: *const f32,
    weights: *const f32,
    products: *mut f32,
    ahead: &mut Ahead,
) {
    for group in 0..count {
        // SAFETY: the groups follow each other.
        unsafe {
            let matrix = matrix.add(group * MR * blocks * BLOCK);
            tile::<S, MR>(simd, blocks, matrix, weights, products.add(group * MR * PANEL), ahead.next());
        }
    }
}

/// `MR` rows times 16 columns.
///
/// # Safety
/// - `matrix` is valid for reads of `blocks * MR * 8` values, `weights` of `blocks * 8 * 16`.
/// - `products` is valid for writes of `MR * 16`.
#[inline(always)]
unsafe fn tile<S: Simd, const MR: usize>(
    simd: S,
    blocks: usize,
    mut matrix: *const f32,
    mut weights: *const f32,
    products: *mut f32,
    streams: core::ops::Range<usize>,
) {
    let next = weights.wrapping_add(blocks * BLOCK * PANEL);
    // SAFETY: the loops run over exactly the values that the caller promises.
    unsafe {
        let mut sums = [simd.splat_panel(0.0); MR];
        for block in 0..blocks {
            for stream in streams.clone() {
                simd.prefetch_far(next.wrapping_add((stream * blocks + block) * PANEL));
            }
            for channel in 0..BLOCK {
                let panel = simd.load_panel(weights);
                for (row, sum) in sums.iter_mut().enumerate() {
                    let value = simd.splat_panel(*matrix.add(row * BLOCK + channel));
                    *sum = simd.mul_add_panel(value, panel, *sum);
                }
                weights = weights.add(PANEL);
            }
            matrix = matrix.add(MR * BLOCK);
        }
        for (row, sum) in sums.iter().enumerate() {
            simd.store_panel(*sum, products.add(row * PANEL));
        }
    }
}
