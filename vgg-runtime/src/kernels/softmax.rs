//! Softmax of one image.

use crate::math;

/// `exp(x - max) / sum`, in f64 and from the first feature to the last. A NaN anywhere makes the sum, and so every output, NaN.
pub(crate) fn softmax(input: &[f32], output: &mut [f32]) {
    let max = input.iter().fold(f32::NEG_INFINITY, |max, &x| if max > x { max } else { x });
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
