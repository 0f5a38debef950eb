//! Between plain and blocked activations.

use super::check_len;
use crate::kernels::{layout, shared::for_each_chunk};
use crate::shape::{FlattenDims, Layer, PackDims};
use crate::simd::Simd;
use crate::threads::Threads;

/// Plain `NCHW` to blocked.
///
/// # Panics
/// When a buffer does not fit the layer.
pub fn pack<S: Simd, L: Layer<PackDims>>(simd: S, threads: &Threads, layer: L, input: &[f32], output: &mut [f32]) {
    let dims = layer.dims().check();
    let shape = dims.output;
    check_len("pack", "the input", input, dims.input_len(), dims.batch);
    check_len("pack", "the output", output, shape.len(), dims.batch);
    for_each_chunk(
        simd,
        threads,
        output,
        shape.plane_stride(),
        #[inline(always)]
        |index, plane| {
            let (image, block) = (index / shape.blocks(), index % shape.blocks());
            layout::pack_plane(shape, block, &input[image * dims.input_len()..], plane);
        },
    );
}

/// Blocked to plain `NCHW`, which is also the flat order that a fully connected layer reads
/// ([ONNX Flatten](https://onnx.ai/onnx/operators/onnx__Flatten.html) with axis 1).
///
/// # Panics
/// When a buffer does not fit the layer.
pub fn flatten<S: Simd, L: Layer<FlattenDims>>(
    simd: S,
    threads: &Threads,
    layer: L,
    input: &[f32],
    output: &mut [f32],
) {
    let dims = layer.dims().check();
    let shape = dims.input;
    check_len("flatten", "the input", input, shape.len(), dims.batch);
    check_len("flatten", "the output", output, dims.features(), dims.batch);
    for_each_chunk(
        simd,
        threads,
        output,
        shape.height * shape.width,
        #[inline(always)]
        |index, values| {
            let (image, channel) = (index / shape.channels, index % shape.channels);
            layout::unpack_channel(shape, channel, &input[image * shape.len()..], values);
        },
    );
}
