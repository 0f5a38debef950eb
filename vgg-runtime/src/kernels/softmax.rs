//! Softmax of one image, and its logarithm.

use crate::math;

/// `exp(x - max) / sum`, in f64 and from the first feature to the last. A NaN anywhere makes the sum, and so every output, NaN.
pub(crate) fn softmax(input: &[f32], output: &mut [f32]) {
    let max = max(input);
    let mut sum = 0.0;
    for (y, x) in output.iter_mut().zip(input) {
        let power = math::exp(f64::from(*x) - f64::from(max));
        sum += power;
        *y = power as f32;
    }
    for y in output {
        *y = (f64::from(*y) / sum) as f32;
    }
}

/// `x - max - ln(sum)`, with the sum as in [`softmax`].
pub(crate) fn log_softmax(input: &[f32], output: &mut [f32]) {
    let max = f64::from(max(input));
    let sum = input.iter().fold(0.0, |sum, &x| sum + math::exp(f64::from(x) - max));
    let log = math::ln(sum);
    for (y, &x) in output.iter_mut().zip(input) {
        *y = (f64::from(x) - max - log) as f32;
    }
}

fn max(input: &[f32]) -> f32 {
    input.iter().fold(f32::NEG_INFINITY, |max, &x| if max > x { max } else { x })
}
