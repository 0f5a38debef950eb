//! Convolution with groups or dilations.

use super::check_len;
use crate::kernels::conv::{self, grouped};
use crate::shape::{GroupedAlgorithm, GroupedConvDims, Layer};
use crate::simd::Simd;
use crate::threads::Threads;
use crate::weights::{GroupedWeights, PackedGroupedConv};
use crate::workspace::Scratch;

/// Values of scratch memory that [`grouped_conv`] needs for each thread: what [`conv`](super::conv()) needs for one group, else 0.
pub const fn grouped_conv_scratch_len(dims: GroupedConvDims) -> usize {
    match dims.algorithm {
        GroupedAlgorithm::Each(algorithm) => conv::scratch_len(dims.group(algorithm)),
        GroupedAlgorithm::Depthwise | GroupedAlgorithm::General => 0,
    }
}

/// Convolution in groups with bias, then ReLU and max-pooling if the layer has them.
///
/// The sum of an output value starts with its bias and takes the taps in a fixed order: input channels, kernel rows, kernel columns; with
/// [`GroupedAlgorithm::Each`] that of [`conv`](super::conv()).
///
/// # Panics
/// When a buffer, the weights or the scratch memory do not fit the layer.
pub fn grouped_conv<S: Simd, L: Layer<GroupedConvDims>>(
    simd: S,
    threads: &Threads,
    layer: L,
    input: &[f32],
    weights: &PackedGroupedConv,
    output: &mut [f32],
    scratch: &mut Scratch,
) {
    let dims = layer.dims().check();
    let (from, to) = (dims.input, dims.output);
    check_len("grouped_conv", "the input", input, from.len(), dims.batch);
    check_len("grouped_conv", "the output", output, to.len(), dims.batch);
    match (dims.algorithm, weights.of(dims)) {
        (GroupedAlgorithm::Each(algorithm), GroupedWeights::Each(groups)) => {
            let own = dims.group(algorithm);
            for (input, output) in input.chunks_exact(from.len()).zip(output.chunks_exact_mut(to.len())) {
                let images = input.chunks_exact(own.input.len()).zip(output.chunks_exact_mut(own.output.len()));
                for ((input, output), weights) in images.zip(groups) {
                    let scratch = scratch.split(conv::scratch_len(own), threads);
                    conv::run(simd, threads, own, input, weights.of(simd, threads, own), output, scratch);
                }
            }
        }
        (GroupedAlgorithm::Depthwise, GroupedWeights::Together(weights, bias)) => {
            grouped::depthwise(simd, threads, dims, input, (weights, bias), output);
        }
        (GroupedAlgorithm::General, GroupedWeights::Together(weights, bias)) => {
            grouped::general(simd, threads, dims, input, (weights, bias), output);
        }
        _ => unreachable!("`of` has compared the weights with the layer"),
    }
}
