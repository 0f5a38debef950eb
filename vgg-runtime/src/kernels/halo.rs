//! Halos: whoever writes an activation writes the zeroes around it, because the memory held something else before.

use core::ops::Range;

use crate::shape::Blocked;

/// The rows of a plane, counted with the halo, that belong to the image rows `rows`: also the halo above the first and below the last.
pub(crate) fn plane_rows(image: Blocked, rows: Range<usize>) -> Range<usize> {
    let first = if rows.start == 0 { 0 } else { image.halo[0] + rows.start };
    let last = if rows.end == image.height { image.padded_height() } else { image.halo[0] + rows.end };
    first..last
}

/// Zeroes the halo in `values`, which hold the rows `rows` (counted with the halo) of a plane.
pub(crate) fn clear(image: Blocked, rows: Range<usize>, values: &mut [f32]) {
    if image.is_dense() {
        return;
    }
    let inside = image.halo[0]..image.halo[0] + image.height;
    let (left, right) = (image.halo[1] * image.block, (image.halo[1] + image.width) * image.block);
    for (row, values) in rows.zip(values.chunks_exact_mut(image.row_stride())) {
        if inside.contains(&row) {
            values[..left].fill(0.0);
            values[right..].fill(0.0);
        } else {
            values.fill(0.0);
        }
    }
}

/// Zeroes the channels that fill up block `block` of an image, in the whole of its plane `plane`.
pub(crate) fn clear_filling(image: Blocked, block: usize, plane: &mut [f32]) {
    let lanes = image.channels - block * image.block;
    if lanes < image.block {
        for pixel in plane.chunks_exact_mut(image.block) {
            pixel[lanes..].fill(0.0);
        }
    }
}

/// Zeroes the halo of a whole plane.
pub(crate) fn clear_plane(image: Blocked, plane: &mut [f32]) {
    clear(image, 0..image.padded_height(), plane);
}
