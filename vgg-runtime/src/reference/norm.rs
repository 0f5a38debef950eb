//! Normalisations and ReLU.

use alloc::vec::Vec;

use super::{Nchw, Real};

/// `if 0 > x { 0 } else { x }` of each value: NaN and -0.0 stay.
pub fn relu<T: Real>(input: &[T]) -> Vec<T> {
    let zero = T::from_f64(0.0);
    input.iter().map(|&x| if zero > x { zero } else { x }).collect()
}

/// The attributes of [ONNX LRN](https://onnx.ai/onnx/operators/onnx__LRN.html).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lrn {
    /// Channels in the window.
    pub size: usize,
    /// Scale of the sum of squares, divided by `size`.
    pub alpha: f64,
    /// Exponent.
    pub beta: f64,
    /// What is added to the scaled sum.
    pub bias: f64,
}

/// `y[c] = x[c] / (bias + alpha / size * sum of x[i]^2)^beta`, over the channels `c - floor((size - 1) / 2) <= i <= c + ceil((size - 1) / 2)`
/// that exist.
pub fn lrn<T: Real>(input: &[T], shape: Nchw, attributes: Lrn) -> Vec<T> {
    shape.check(input);
    let Lrn { size, alpha, beta, bias } = attributes;
    let (before, after) = ((size - 1) / 2, size / 2);
    let mut result = Vec::with_capacity(input.len());
    for image in input.chunks_exact(shape.features()) {
        for c in 0..shape.channels {
            for pixel in 0..shape.pixels() {
                let mut sum = T::from_f64(0.0);
                for i in c.saturating_sub(before)..(c + after + 1).min(shape.channels) {
                    let x = image[i * shape.pixels() + pixel];
                    sum += x * x;
                }
                let base = T::from_f64(bias) + T::from_f64(alpha / size as f64) * sum;
                result.push(image[c * shape.pixels() + pixel] / base.pow(T::from_f64(beta)));
            }
        }
    }
    result
}

/// `y = scale * (x - mean) / sqrt(variance + epsilon) + bias` with one number of each for a channel.
pub fn batch_normalization<T: Real>(
    input: &[T],
    shape: Nchw,
    scale: &[T],
    bias: &[T],
    mean: &[T],
    variance: &[T],
    epsilon: f64,
) -> Vec<T> {
    shape.check(input);
    let mut result = Vec::with_capacity(input.len());
    for (plane, values) in input.chunks_exact(shape.pixels()).enumerate() {
        let c = plane % shape.channels;
        let deviation = (variance[c] + T::from_f64(epsilon)).pow(T::from_f64(0.5));
        result.extend(values.iter().map(|&x| scale[c] * ((x - mean[c]) / deviation) + bias[c]));
    }
    result
}
