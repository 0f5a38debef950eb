//! Functions of each number, and activations that are joined.

use alloc::vec::Vec;

use super::Real;

/// `min(max, max(min, x))` of each value; NaN stays.
pub fn clip<T: Real>(input: &[T], min: f64, max: f64) -> Vec<T> {
    let (min, max) = (T::from_f64(min), T::from_f64(max));
    let clip = |x: T| {
        let x = if x < min { min } else { x };
        if x > max { max } else { x }
    };
    input.iter().map(|&x| clip(x)).collect()
}

/// `x` of each value that is not negative, `alpha * x` of all others; NaN stays.
pub fn leaky_relu<T: Real>(input: &[T], alpha: f64) -> Vec<T> {
    let (zero, alpha) = (T::from_f64(0.0), T::from_f64(alpha));
    input.iter().map(|&x| if x >= zero { x } else { alpha * x }).collect()
}

/// `1 / (1 + exp(-x))` of each value.
pub fn sigmoid<T: Real>(input: &[T]) -> Vec<T> {
    let (zero, one) = (T::from_f64(0.0), T::from_f64(1.0));
    input.iter().map(|&x| one / (one + (zero - x).exp())).collect()
}

/// The sums of two activations.
pub fn add<T: Real>(left: &[T], right: &[T]) -> Vec<T> {
    combine(left, right, |x, y| x + y)
}

/// The products of two activations.
pub fn mul<T: Real>(left: &[T], right: &[T]) -> Vec<T> {
    combine(left, right, |x, y| x * y)
}

fn combine<T: Real>(left: &[T], right: &[T], f: impl Fn(T, T) -> T) -> Vec<T> {
    assert_eq!(left.len(), right.len(), "the activations have different shapes");
    left.iter().zip(right).map(|(&x, &y)| f(x, y)).collect()
}

/// The images of all `inputs`, each with its number of values for one of the `batch` images, image by image behind each other: the
/// channels of all in plain `NCHW`.
pub fn concat<T: Real>(inputs: &[(&[T], usize)], batch: usize) -> Vec<T> {
    let mut result = Vec::with_capacity(inputs.iter().map(|(values, _)| values.len()).sum());
    for image in 0..batch {
        for (values, len) in inputs {
            assert_eq!(values.len(), len * batch, "an activation does not hold {batch} images");
            result.extend_from_slice(&values[image * len..(image + 1) * len]);
        }
    }
    result
}
