//! Pooling, where it could not be fused into a convolution.

use super::check_len;
use crate::kernels::pool::{Source, average_row, max_row};
use crate::kernels::{halo, shared::for_each_chunk};
use crate::shape::{AveragePoolDims, BLOCK, Blocked, Layer, MaxPoolDims};
use crate::simd::Simd;
use crate::threads::Threads;

/// Max-pooling ([ONNX MaxPool](https://onnx.ai/onnx/operators/onnx__MaxPool.html)). NaN in a window makes its maximum NaN; padding is
/// never part of a window.
///
/// # Panics
/// When a buffer does not fit the layer.
pub fn max_pool<S: Simd, L: Layer<MaxPoolDims>>(
    simd: S,
    threads: &Threads,
    layer: L,
    input: &[f32],
    output: &mut [f32],
) {
    let dims = layer.dims().check();
    check_len("max_pool", "the input", input, dims.input.len(), dims.batch);
    check_len("max_pool", "the output", output, dims.output.len(), dims.batch);
    for_each_row(simd, threads, dims.input, dims.output, input, output, |source, row, target| {
        max_row(simd, dims.window, source, row, target);
    });
}

/// Average pooling ([ONNX AveragePool](https://onnx.ai/onnx/operators/onnx__AveragePool.html)): the sum of what the window holds, divided
/// by its number of values, with or without those in the padding.
///
/// # Panics
/// When a buffer does not fit the layer.
pub fn average_pool<S: Simd, L: Layer<AveragePoolDims>>(
    simd: S,
    threads: &Threads,
    layer: L,
    input: &[f32],
    output: &mut [f32],
) {
    let dims = layer.dims().check();
    check_len("average_pool", "the input", input, dims.input.len(), dims.batch);
    check_len("average_pool", "the output", output, dims.output.len(), dims.batch);
    for_each_row(simd, threads, dims.input, dims.output, input, output, |source, row, target| {
        average_row(simd, dims.window, |axis, index| dims.count(axis, index), source, row, target);
    });
}

/// Calls `body` for each row of each block of the output, with the block's input, and zeroes the halo.
#[inline(always)]
fn for_each_row<S: Simd>(
    simd: S,
    threads: &Threads,
    from: Blocked,
    to: Blocked,
    input: &[f32],
    output: &mut [f32],
    body: impl Fn(Source<'_>, usize, &mut [f32]) + Sync,
) {
    for_each_chunk(simd, threads, output, to.plane_stride(), |index, plane| {
        halo::clear_plane(to, plane);
        // Planes are counted over the whole batch, and an image has as many in both layouts.
        let values = &input[index * from.plane_stride() + from.origin()..(index + 1) * from.plane_stride()];
        let source =
            Source { values, row_stride: from.row_stride(), first_row: 0, height: from.height, width: from.width };
        for row in 0..to.height {
            let start = to.origin() + row * to.row_stride();
            body(source, row, &mut plane[start..start + to.width * BLOCK]);
        }
    });
}
