//! The transform of the weights, once, when they are packed.

use super::transform::{MAX_POINTS, POINTS_F4, POINTS_F6};
use super::{PANELS, whole};
use crate::shape::{Algorithm, BLOCK, ConvDims, PANEL};

/// Values of the transformed weights.
pub(crate) const fn packed_len(dims: ConvDims) -> usize {
    let points = whole(dims.algorithm).points().len();
    points * points * dims.input.blocks() * BLOCK * dims.panels() * PANEL
}

/// The matrix G: a row for each point, the point at infinity last.
pub(super) fn kernel_transform(algorithm: Algorithm) -> [[f64; 3]; MAX_POINTS] {
    let points: &[f64] = match algorithm {
        Algorithm::WinogradF4 => &POINTS_F4,
        _ => &POINTS_F6,
    };
    let mut rows = [[0.0; 3]; MAX_POINTS];
    for (row, &p) in rows.iter_mut().zip(points) {
        let scale: f64 = points.iter().filter(|&&q| q != p).map(|q| p - q).product();
        *row = [1.0 / scale, p / scale, p * p / scale];
    }
    rows[points.len()] = [0.0, 0.0, 1.0];
    rows
}

/// Transforms `weight` (`OIHW`, finite) into `packed`: `[block of 4 panels][frequency][panel][input channel][16]`. The arithmetic is f64;
/// each value is rounded once.
pub(crate) fn pack(dims: ConvDims, weight: &[[u8; 4]], packed: &mut [f32]) {
    let transform = kernel_transform(dims.algorithm);
    let points = whole(dims.algorithm).points().len();
    let panel_len = dims.input.blocks() * BLOCK * PANEL;
    let block_len = PANELS * points * points * panel_len;
    for_each_chunk(packed, block_len, |block, values| {
        let first = block * PANELS;
        let panels = PANELS.min(dims.panels() - first);
        for panel in 0..panels {
            for channel in 0..dims.input.channels {
                let kernels = kernels(dims, weight, first + panel, channel);
                let mut rows = [[[0.0; PANEL]; 3]; MAX_POINTS];
                for (rows, coefficients) in rows.iter_mut().zip(&transform).take(points) {
                    for (column, sums) in rows.iter_mut().enumerate() {
                        for (lane, sum) in sums.iter_mut().enumerate() {
                            *sum = (0..3).map(|row| coefficients[row] * kernels[row * 3 + column][lane]).sum();
                        }
                    }
                }
                for (row, sums) in rows.iter().enumerate().take(points) {
                    for (column, coefficients) in transform.iter().enumerate().take(points) {
                        let frequency = row * points + column;
                        let at = (frequency * panels + panel) * panel_len + channel * PANEL;
                        for (lane, value) in values[at..at + PANEL].iter_mut().enumerate() {
                            let sum: f64 = (0..3).map(|column| coefficients[column] * sums[column][lane]).sum();
                            // Weights near the largest f32 must not become infinite: padding is multiplied by them.
                            *value = (sum as f32).clamp(f32::MIN, f32::MAX);
                        }
                    }
                }
            }
        }
    });
}

/// The nine taps of one input channel for the output channels of a panel; zero for those that do not exist.
fn kernels(dims: ConvDims, weight: &[[u8; 4]], panel: usize, channel: usize) -> [[f64; PANEL]; 9] {
    let mut kernels = [[0.0; PANEL]; 9];
    let channels = dims.input.channels;
    for lane in 0..PANEL.min(dims.output.channels - panel * PANEL) {
        let from = ((panel * PANEL + lane) * channels + channel) * 9;
        for (tap, bytes) in weight[from..from + 9].iter().enumerate() {
            kernels[tap][lane] = f64::from(f32::from_le_bytes(*bytes));
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
