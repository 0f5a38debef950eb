//! Local response normalisation.

use super::check_len;
use crate::kernels::lrn as kernel;
use crate::shape::{Layer, LrnDims};
use crate::simd::Simd;
use crate::threads::Threads;
use crate::workspace::Scratch;

/// Values of scratch memory that [`lrn`] needs for each thread: the squares of 8 pixels.
pub const fn lrn_scratch_len(dims: LrnDims) -> usize {
    kernel::scratch_len(dims)
}

/// Local response normalisation across channels; see [`LrnDims`] for the formula. The power is two square roots when `beta` is 0.75,
/// which it is in every published VGG.
///
/// # Panics
/// When a buffer or the scratch memory does not fit the layer.
pub fn lrn<S: Simd, L: Layer<LrnDims>>(
    simd: S,
    threads: &Threads,
    layer: L,
    input: &[f32],
    output: &mut [f32],
    scratch: &mut Scratch,
) {
    let dims = layer.dims().check();
    check_len("lrn", "the input", input, dims.input.len(), dims.batch);
    check_len("lrn", "the output", output, dims.output.len(), dims.batch);
    let scratch = scratch.split(kernel::scratch_len(dims), threads);
    kernel::run(simd, threads, dims, input, output, scratch);
}
