//! The transform of the weights, once, when they are packed.

use super::transform::{MAX_POINTS, MAX_TAPS, POINTS_F4, POINTS_F6, Span};
use super::{PANELS, depth, phases, taps, whole};
use crate::shape::{BLOCK, ConvDims, PANEL};

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

/// Transforms `weight` (`OIHW`, finite) into `packed`: `[block of PANELS panels][frequency][panel][depth][16]`, where the depth runs over
/// input blocks, phases and the channels of a block. The arithmetic is f64; each value is rounded once.
pub(crate) fn pack(dims: ConvDims, weight: &[[u8; 4]], packed: &mut [f32]) {
    let (whole, taps) = (whole(dims), taps(dims));
    let transform = kernel_transform(whole, taps);
    let points = whole.points().len();
    let panel_len = depth(dims) * BLOCK * PANEL;
    let block_len = PANELS * points * points * panel_len;
    for_each_chunk(packed, block_len, |block, values| {
        let first = block * PANELS;
        let panels = PANELS.min(dims.panels() - first);
        for panel in 0..panels {
            for index in 0..dims.input.channels * phases(dims) {
                let (channel, phase) = (index / phases(dims), index % phases(dims));
                let kernels = kernels(dims, weight, first + panel, channel, phase);
                let mut rows = [[[0.0; PANEL]; MAX_TAPS]; MAX_POINTS];
                for (rows, coefficients) in rows.iter_mut().zip(&transform).take(points) {
                    for (column, sums) in rows.iter_mut().enumerate().take(taps) {
                        for (lane, sum) in sums.iter_mut().enumerate() {
                            *sum = (0..taps).map(|row| coefficients[row] * kernels[row][column][lane]).sum();
                        }
                    }
                }
                let place = (channel / BLOCK * phases(dims) + phase) * BLOCK + channel % BLOCK;
                for (row, sums) in rows.iter().enumerate().take(points) {
                    for (column, coefficients) in transform.iter().enumerate().take(points) {
                        let frequency = row * points + column;
                        let at = (frequency * panels + panel) * panel_len + place * PANEL;
                        for (lane, value) in values[at..at + PANEL].iter_mut().enumerate() {
                            let sum: f64 = (0..taps).map(|column| coefficients[column] * sums[column][lane]).sum();
                            // Weights near the largest f32 must not become infinite: padding is multiplied by them.
                            *value = (sum as f32).clamp(f32::MIN, f32::MAX);
                        }
                    }
                }
            }
        }
    });
}

/// The taps of one input channel that meet pixels of `phase`, for the output channels of a panel; zero for those that do not exist.
fn kernels(
    dims: ConvDims,
    weight: &[[u8; 4]],
    panel: usize,
    channel: usize,
    phase: usize,
) -> [[[f64; PANEL]; MAX_TAPS]; MAX_TAPS] {
    let mut kernels = [[[0.0; PANEL]; MAX_TAPS]; MAX_TAPS];
    let ([height, width], stride) = (dims.kernel, dims.strides[0]);
    for lane in 0..PANEL.min(dims.output.channels - panel * PANEL) {
        let from = ((panel * PANEL + lane) * dims.input.channels + channel) * height * width;
        for (row, y) in (phase / stride..height).step_by(stride).enumerate() {
            for (column, x) in (phase % stride..width).step_by(stride).enumerate() {
                kernels[row][column][lane] = f64::from(f32::from_le_bytes(weight[from + y * width + x]));
            }
        }
    }
    kernels
}

/// Calls `body(index, chunk)` for every chunk of `len` values, on all cores when there is much to do.
#[cfg(feature = "std")]
fn for_each_chunk(values: &mut [f32], len: usize, body: impl Fn(usize, &mut [f32]) + Sync) {
    /// Values for which starting a thread pays.
    const WORTHWHILE: usize = 1 << 20;
    let chunks = values.len().div_ceil(len);
    let threads = crate::threads::physical_cores().min(chunks).min(1 + values.len() / WORTHWHILE);
    std::thread::scope(|scope| {
        let (body, mut rest, mut first) = (&body, values, 0);
        for thread in 0..threads {
            let own = crate::threads::partition(chunks, threads, thread).len();
            let (part, others) = rest.split_at_mut((own * len).min(rest.len()));
            rest = others;
            let mut work =
                move || part.chunks_mut(len).enumerate().for_each(|(index, chunk)| body(first + index, chunk));
            if thread + 1 < threads {
                scope.spawn(work);
            } else {
                work();
            }
            first += own;
        }
    });
}

/// Calls `body(index, chunk)` for every chunk of `len` values.
#[cfg(not(feature = "std"))]
fn for_each_chunk(values: &mut [f32], len: usize, body: impl Fn(usize, &mut [f32])) {
    values.chunks_mut(len).enumerate().for_each(|(index, chunk)| body(index, chunk));
}
