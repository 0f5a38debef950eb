//! Between plain and blocked activations.

use super::halo;
use crate::shape::Blocked;

/// Writes block `block` of an image from its plain channels.
#[inline(always)]
pub(crate) fn pack_plane(shape: Blocked, block: usize, image: &[f32], plane: &mut [f32]) {
    halo::clear_plane(shape, plane);
    let pixels = shape.height * shape.width;
    let first = block * shape.block;
    for y in 0..shape.height {
        let start = shape.origin() + y * shape.row_stride();
        let row = &mut plane[start..start + shape.width * shape.block];
        if first + shape.block > shape.channels {
            row.fill(0.0);
        }
        for lane in 0..shape.block.min(shape.channels - first) {
            let from = (first + lane) * pixels + y * shape.width;
            let values = &image[from..from + shape.width];
            for (pixel, value) in row.chunks_exact_mut(shape.block).zip(values) {
                pixel[lane] = *value;
            }
        }
    }
}

/// Writes the plain channel `channel` of a blocked image.
#[inline(always)]
pub(crate) fn unpack_channel(shape: Blocked, channel: usize, image: &[f32], values: &mut [f32]) {
    let plane = channel / shape.block * shape.plane_stride() + shape.origin();
    let lane = channel % shape.block;
    for (y, values) in values.chunks_exact_mut(shape.width).enumerate() {
        let start = plane + y * shape.row_stride();
        let row = &image[start..start + shape.width * shape.block];
        for (value, pixel) in values.iter_mut().zip(row.chunks_exact(shape.block)) {
            *value = pixel[lane];
        }
    }
}
