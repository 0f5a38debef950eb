//! Operations on flat activations, `[batch][features]`.

use alloc::vec::Vec;

use super::{Nchw, Real};

/// The images as rows of features, channel by channel: in plain `NCHW` the values already lie so.
pub fn flatten<T: Real>(input: &[T], shape: Nchw) -> Vec<T> {
    shape.check(input);
    input.to_vec()
}

/// `y[n, o] = bias[o] + sum over i of weight[o, i] * x[n, i]`, with `bias.len()` outputs.
pub fn gemm<T: Real>(input: &[T], weight: &[T], bias: &[T]) -> Vec<T> {
    let features = weight.len() / bias.len();
    assert_eq!(weight.len(), features * bias.len(), "the weights are not whole rows");
    assert_eq!(input.len() % features, 0, "the input is not whole rows of {features} features");
    let mut result = Vec::with_capacity(input.len() / features * bias.len());
    for x in input.chunks_exact(features) {
        for (weights, &bias) in weight.chunks_exact(features).zip(bias) {
            result.push(weights.iter().zip(x).fold(bias, |sum, (&w, &x)| sum + w * x));
        }
    }
    result
}

/// `y[i] = exp(x[i] - max) / sum over j of exp(x[j] - max)` for each row of `features` values.
pub fn softmax<T: Real>(input: &[T], features: usize) -> Vec<T> {
    assert_eq!(input.len() % features, 0, "the input is not whole rows of {features} features");
    let mut result = Vec::with_capacity(input.len());
    for row in input.chunks_exact(features) {
        let max = row.iter().fold(T::from_f64(f64::NEG_INFINITY), |max, &x| if max > x { max } else { x });
        let start = result.len();
        let mut sum = T::from_f64(0.0);
        for &x in row {
            let power = (x - max).exp();
            sum += power;
            result.push(power);
        }
        for y in &mut result[start..] {
            *y = *y / sum;
        }
    }
    result
}

/// `y[i] = x[i] - max - ln(sum over j of exp(x[j] - max))` for each row of `features` values.
pub fn log_softmax<T: Real>(input: &[T], features: usize) -> Vec<T> {
    assert_eq!(input.len() % features, 0, "the input is not whole rows of {features} features");
    let mut result = Vec::with_capacity(input.len());
    for row in input.chunks_exact(features) {
        let max = row.iter().fold(T::from_f64(f64::NEG_INFINITY), |max, &x| if max > x { max } else { x });
        let mut sum = T::from_f64(0.0);
        for &x in row {
            sum += (x - max).exp();
        }
        result.extend(row.iter().map(|&x| x - max - sum.ln()));
    }
    result
}
