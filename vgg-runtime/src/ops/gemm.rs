//! Fully connected layers.

use super::check_len;
use crate::kernels::gemm as kernel;
use crate::shape::{GemmDims, Layer};
use crate::simd::{Element, Simd};
use crate::threads::Threads;
use crate::weights::PackedGemm;

/// `Y = X W^T + b`, then ReLU if the layer has it ([ONNX Gemm](https://onnx.ai/onnx/operators/onnx__Gemm.html) with `transB = 1`).
///
/// Weights of another type than f32 become f32, exactly, as they are read; int8 sums are multiplied by the scale of their row.
///
/// # Panics
/// When a buffer or the weights do not fit the layer.
pub fn gemm<S: Simd, L: Layer<GemmDims>, W: Element>(
    simd: S,
    threads: &Threads,
    layer: L,
    input: &[f32],
    weights: &PackedGemm<W>,
    output: &mut [f32],
) {
    let dims = layer.dims().check();
    check_len("gemm", "the input", input, dims.in_features, dims.batch);
    check_len("gemm", "the output", output, dims.out_features, dims.batch);
    kernel::run(simd, threads, dims, input, weights.of(dims), output);
}
