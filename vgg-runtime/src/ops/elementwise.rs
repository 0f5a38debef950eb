//! Operations on single numbers, and activations that are joined.

use super::check_len;
use crate::kernels::elementwise as kernel;
use crate::kernels::shared::for_each_chunk;
use crate::shape::{ActivationDims, AffineDims, CombineDims, ConcatDims, Layer};
use crate::simd::Simd;
use crate::threads::Threads;
use crate::weights::PackedAffine;

/// A function of each number.
///
/// # Panics
/// When a buffer does not fit the layer.
pub fn activation<S: Simd, L: Layer<ActivationDims>>(
    simd: S,
    threads: &Threads,
    layer: L,
    input: &[f32],
    output: &mut [f32],
) {
    let dims = layer.dims().check();
    check_len("activation", "the input", input, dims.input.len(), dims.batch);
    check_len("activation", "the output", output, dims.output.len(), dims.batch);
    for_each_chunk(
        simd,
        threads,
        output,
        dims.output.plane_stride(),
        #[inline(always)]
        |index, plane| kernel::activate(dims, index, input, plane),
    );
}

/// Batch normalisation with stored statistics, then ReLU if the layer has it. Products and sums are rounded one after the other on every
/// tier.
///
/// # Panics
/// When a buffer or the weights do not fit the layer.
pub fn affine<S: Simd, L: Layer<AffineDims>>(
    simd: S,
    threads: &Threads,
    layer: L,
    input: &[f32],
    weights: &PackedAffine,
    output: &mut [f32],
) {
    let dims = layer.dims().check();
    check_len("affine", "the input", input, dims.input.len(), dims.batch);
    check_len("affine", "the output", output, dims.output.len(), dims.batch);
    let (scale, shift) = weights.of(dims);
    for_each_chunk(
        simd,
        threads,
        output,
        dims.output.plane_stride(),
        #[inline(always)]
        |index, plane| kernel::affine(dims, index, input, (scale, shift), plane),
    );
}

/// Two activations, number by number, then ReLU if the layer has it.
///
/// # Panics
/// When a buffer does not fit the layer.
pub fn combine<S: Simd, L: Layer<CombineDims>>(
    simd: S,
    threads: &Threads,
    layer: L,
    inputs: [&[f32]; 2],
    output: &mut [f32],
) {
    let dims = layer.dims().check();
    check_len("combine", "the first input", inputs[0], dims.inputs[0].len(), dims.batch);
    check_len("combine", "the second input", inputs[1], dims.inputs[1].len(), dims.batch);
    check_len("combine", "the output", output, dims.output.len(), dims.batch);
    for_each_chunk(
        simd,
        threads,
        output,
        dims.output.plane_stride(),
        #[inline(always)]
        |index, plane| kernel::combine(dims, index, inputs, plane),
    );
}

/// Copies an activation to some channels of the output. One operand of a concatenation after the other, in the order of their channels,
/// writes the whole of it: an operand writes the halo of the blocks whose first channel is its own, and the last one what fills up the
/// last block.
///
/// # Panics
/// When a buffer does not fit the layer.
pub fn concat<S: Simd, L: Layer<ConcatDims>>(simd: S, threads: &Threads, layer: L, input: &[f32], output: &mut [f32]) {
    let dims = layer.dims().check();
    check_len("concat", "the input", input, dims.input.len(), dims.batch);
    check_len("concat", "the output", output, dims.output.len(), dims.batch);
    for_each_chunk(
        simd,
        threads,
        output,
        dims.output.plane_stride(),
        #[inline(always)]
        |index, plane| kernel::concat(dims, index, input, plane),
    );
}
