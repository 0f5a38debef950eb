//! The transform of the weights, once, when they are packed.

use core::sync::atomic::{AtomicBool, Ordering};

use super::blocking::block_len;
use super::transform::{MAX_POINTS, MAX_TAPS, POINTS_F4, POINTS_F6, Span};
use super::{block_panels, depth, phases, taps, whole};
use crate::dispatch::{Isa, Program};
use crate::finite::all_finite;
use crate::kernels::shared::Disjoint;
use crate::memory::populate;
use crate::shape::{BLOCK, ConvDims, PANEL};
use crate::simd::Simd;
use crate::threads::{Threads, in_chunks};

/// Values of the transformed weights.
pub(crate) const fn packed_len(dims: ConvDims) -> usize {
    let points = whole(dims).points().len();
    points * points * depth(dims) * BLOCK * dims.panels() * PANEL
}

/// The matrix G for a kernel of `taps`: a row for each point of a whole span, the point at infinity last.
pub(super) fn kernel_transform(whole: Span, taps: usize) -> [[f64; MAX_TAPS]; MAX_POINTS] {
    let points: &[f64] = match whole {
        Span::FourOfF4 => &POINTS_F4,
        _ => &POINTS_F6,
    };
    let mut rows = [[0.0; MAX_TAPS]; MAX_POINTS];
    for (row, &p) in rows.iter_mut().zip(points) {
        let mut power = 1.0 / points.iter().filter(|&&q| q != p).map(|q| p - q).product::<f64>();
        for value in row.iter_mut().take(taps) {
            *value = power;
            power *= p;
        }
    }
    rows[points.len()][taps - 1] = 1.0;
    rows
}

/// Transforms `weight` (`OIHW`) into `packed`: `[block of panels][frequency][panel][depth][16]`, where a block has [`block_panels`] panels
/// and the depth runs over input blocks, phases and the channels of a block. The arithmetic is f64, products and sums rounded one by
/// one, so that every tier gives the same; each value is rounded once more in the end. Tells whether all of `weight` is finite; else
/// `packed` is of no use.
pub(crate) fn pack(dims: ConvDims, weight: &[[u8; 4]], packed: &mut [f32]) -> bool {
    Isa::widest().run(Packing { dims, weight, packed })
}

/// The packing of one layer, as a program over the instruction set.
pub(super) struct Packing<'a> {
    pub(super) dims: ConvDims,
    pub(super) weight: &'a [[u8; 4]],
    pub(super) packed: &'a mut [f32],
}

impl Program for Packing<'_> {
    type Output = bool;

    fn run<S: Simd>(self, simd: S) -> bool {
        let Self { dims, weight, packed } = self;
        let finite = AtomicBool::new(true);
        in_chunks(packed, block_len(dims), |block, values| {
            populate(values);
            if all_finite::<f32>(filters(dims, weight, block).as_flattened()) {
                pack_block(simd, dims, weight, block, values);
            } else {
                finite.store(false, Ordering::Relaxed);
            }
        });
        finite.into_inner()
    }
}

/// As [`pack`] for a `weight` that is known to be finite, on the threads of an inference. Allocates nothing.
#[cfg_attr(not(feature = "std"), allow(dead_code, reason = "only a program with `std` packs weights later"))]
pub(crate) fn pack_on<S: Simd>(simd: S, threads: &Threads, dims: ConvDims, weight: &[[u8; 4]], packed: &mut [f32]) {
    let (blocks, len) = (packed.len().div_ceil(block_len(dims)), packed.len());
    let packed = Disjoint::new(packed);
    threads.share(blocks, |_, block| {
        let range = block * block_len(dims)..len.min((block + 1) * block_len(dims));
        // SAFETY: each block occurs once, and blocks do not overlap.
        let values = unsafe { packed.part(range) };
        populate(values);
        pack_block(simd, dims, weight, block, values);
    });
}

/// Transforms the part of `weight` that belongs to a block of panels into its `values`.
pub(super) fn pack_block<S: Simd>(simd: S, dims: ConvDims, weight: &[[u8; 4]], block: usize, values: &mut [f32]) {
    let transform = kernel_transform(whole(dims), taps(dims));
    let own = filters(dims, weight, block);
    simd.vectorize(
        #[inline(always)]
        || match (whole(dims).points().len(), taps(dims)) {
            (6, 3) => transform_block::<6, 3>(dims, &transform, block, own, values),
            (8, 3) => transform_block::<8, 3>(dims, &transform, block, own, values),
            (8, 5) => transform_block::<8, 5>(dims, &transform, block, own, values),
            (points, taps) => unreachable!("no transform has {points} points and {taps} taps"),
        },
    );
}

/// The weights of the output channels of a block of panels.
fn filters(dims: ConvDims, weight: &[[u8; 4]], block: usize) -> &[[u8; 4]] {
    let len = block_panels(dims) * PANEL * dims.input.channels * dims.kernel[0] * dims.kernel[1];
    &weight[block * len..weight.len().min((block + 1) * len)]
}

/// Transforms the `weight` of a block of panels into its `values`.
#[inline(always)]
fn transform_block<const POINTS: usize, const TAPS: usize>(
    dims: ConvDims,
    transform: &[[f64; MAX_TAPS]; MAX_POINTS],
    block: usize,
    weight: &[[u8; 4]],
    values: &mut [f32],
) {
    let panel_len = depth(dims) * BLOCK * PANEL;
    let panels = block_panels(dims).min(dims.panels() - block * block_panels(dims));
    for panel in 0..panels {
        let mut kernels = [[[0.0; PANEL]; TAPS]; TAPS];
        for index in 0..dims.input.channels * phases(dims) {
            let (channel, phase) = (index / phases(dims), index % phases(dims));
            gather(dims, weight, panel, channel, phase, &mut kernels);
            let place = (channel / BLOCK * phases(dims) + phase) * BLOCK + channel % BLOCK;
            for (row, coefficients) in transform.iter().enumerate().take(POINTS) {
                let mut sums = [[0.0; PANEL]; TAPS];
                for (column, sums) in sums.iter_mut().enumerate() {
                    combine::<TAPS>(coefficients, core::array::from_fn(|row| &kernels[row][column]), sums);
                }
                for (column, coefficients) in transform.iter().enumerate().take(POINTS) {
                    let at = ((row * POINTS + column) * panels + panel) * panel_len + place * PANEL;
                    let mut wide = [0.0; PANEL];
                    combine(coefficients, sums.each_ref(), &mut wide);
                    for (value, wide) in values[at..at + PANEL].iter_mut().zip(wide) {
                        // Weights near the largest f32 must not become infinite: padding is multiplied by them.
                        *value = (wide as f32).clamp(f32::MIN, f32::MAX);
                    }
                }
            }
        }
    }
}

/// The sum of the `terms`, each times its coefficient, for the channels of a panel.
#[inline(always)]
fn combine<const TAPS: usize>(coefficients: &[f64; MAX_TAPS], terms: [&[f64; PANEL]; TAPS], sums: &mut [f64; PANEL]) {
    for (lane, sum) in sums.iter_mut().enumerate() {
        *sum = coefficients[0] * terms[0][lane];
        for tap in 1..TAPS {
            *sum += coefficients[tap] * terms[tap][lane];
        }
    }
}

/// Writes to `kernels` the taps of one input channel that meet pixels of `phase`, for the output channels of a panel. Those that do not
/// exist are zero; the lanes of channels that do not exist are left as they are.
#[inline(always)]
fn gather<const TAPS: usize>(
    dims: ConvDims,
    weight: &[[u8; 4]],
    panel: usize,
    channel: usize,
    phase: usize,
    kernels: &mut [[[f64; PANEL]; TAPS]; TAPS],
) {
    let ([height, width], stride) = (dims.kernel, dims.strides[0]);
    let filter_len = dims.input.channels * height * width;
    let lanes = PANEL.min(weight.len() / filter_len - panel * PANEL);
    if stride > 1 {
        *kernels = [[[0.0; PANEL]; TAPS]; TAPS];
    }
    for lane in 0..lanes {
        let taps = &weight[(panel * PANEL + lane) * filter_len + channel * height * width..][..height * width];
        let value = |index: usize| f64::from(f32::from_le_bytes(taps[index]));
        if stride == 1 {
            assert!(taps.len() == TAPS * TAPS);
            for row in 0..TAPS {
                for column in 0..TAPS {
                    kernels[row][column][lane] = value(row * TAPS + column);
                }
            }
        } else {
            for y in (phase / stride..height).step_by(stride) {
                for x in (phase % stride..width).step_by(stride) {
                    kernels[y / stride][x / stride][lane] = value(y * width + x);
                }
            }
        }
    }
}
