//! Operations on flat activations.

use super::check_len;
use crate::kernels::{shared::for_each_chunk, softmax as kernel};
use crate::shape::{Layer, SoftmaxDims};
use crate::simd::Simd;
use crate::threads::Threads;

/// Softmax of each image ([ONNX Softmax](https://onnx.ai/onnx/operators/onnx__Softmax.html) over the last axis), with the maximum
/// subtracted first. The exponentials are added in f64, from the first feature to the last.
///
/// # Panics
/// When a buffer does not fit the layer.
pub fn softmax<S: Simd, L: Layer<SoftmaxDims>>(
    simd: S,
    threads: &Threads,
    layer: L,
    input: &[f32],
    output: &mut [f32],
) {
    for_each_image("softmax", simd, threads, layer.dims(), input, output, kernel::softmax);
}

/// The logarithm of softmax of each image ([ONNX LogSoftmax](https://onnx.ai/onnx/operators/onnx__LogSoftmax.html) over the last axis),
/// computed as [`softmax`] is, in f64.
///
/// # Panics
/// When a buffer does not fit the layer.
pub fn log_softmax<S: Simd, L: Layer<SoftmaxDims>>(
    simd: S,
    threads: &Threads,
    layer: L,
    input: &[f32],
    output: &mut [f32],
) {
    for_each_image("log_softmax", simd, threads, layer.dims(), input, output, kernel::log_softmax);
}

/// Calls `kernel` with each image and its output.
fn for_each_image<S: Simd>(
    operation: &'static str,
    simd: S,
    threads: &Threads,
    dims: SoftmaxDims,
    input: &[f32],
    output: &mut [f32],
    kernel: impl Fn(&[f32], &mut [f32]) + Sync,
) {
    let features = dims.check().features;
    check_len(operation, "the input", input, features, dims.batch);
    check_len(operation, "the output", output, features, dims.batch);
    for_each_chunk(simd, threads, output, features, |image, output| {
        kernel(&input[image * features..][..features], output);
    });
}
