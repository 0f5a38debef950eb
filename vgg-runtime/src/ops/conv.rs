//! Convolution.

use super::check_len;
use crate::kernels::conv;
use crate::shape::{ConvDims, Layer};
use crate::simd::Simd;
use crate::threads::Threads;
use crate::weights::PackedConv;
use crate::workspace::Scratch;

/// Values of scratch memory that [`conv`] needs for each thread: with direct summation the sums of a band of rows of 16 channels when a
/// pool follows, else 0; with Winograd's algorithm the transformed tiles and products of a chunk, and room for some transformed weights.
pub const fn conv_scratch_len(dims: ConvDims) -> usize {
    conv::scratch_len(dims)
}

/// Convolution with bias, then ReLU and max-pooling if the layer has them.
///
/// With direct summation the sum of an output value starts with its bias and then takes the taps in a fixed order: blocks of input
/// channels, kernel rows, kernel columns, channels in the block. With Winograd's algorithm NaN or an infinity in the input may reach
/// every output of the tiles (of up to 6x6) that read it.
///
/// # Panics
/// When a buffer, the weights or the scratch memory do not fit the layer.
pub fn conv<S: Simd, L: Layer<ConvDims>>(
    simd: S,
    threads: &Threads,
    layer: L,
    input: &[f32],
    weights: &PackedConv,
    output: &mut [f32],
    scratch: &mut Scratch,
) {
    let dims = layer.dims().check();
    check_len("conv", "the input", input, dims.input.len(), dims.batch);
    check_len("conv", "the output", output, dims.output.len(), dims.batch);
    let scratch = scratch.split(conv::scratch_len(dims), threads);
    conv::run(simd, threads, dims, input, weights.of(simd, threads, dims), output, scratch);
}
