//! Pooling.

use alloc::vec::Vec;

use super::{Nchw, Real};
use crate::shape::PoolWindow;

/// The shape of a pool's output.
pub const fn pooled(input: Nchw, window: PoolWindow) -> Nchw {
    Nchw { height: window.windows(0, input.height), width: window.windows(1, input.width), ..input }
}

/// The greatest value of each window; NaN if the window holds one.
pub fn max_pool<T: Real>(input: &[T], shape: Nchw, window: PoolWindow) -> Vec<T> {
    pool(input, shape, window, |_, _, values| {
        let mut max = T::from_f64(f64::NEG_INFINITY);
        for x in values {
            // A NaN is equal to nothing, itself included.
            let max_is_nan = max.partial_cmp(&max).is_none();
            max = if max > x || max_is_nan { max } else { x };
        }
        max
    })
}

/// The sum of each window divided by the number of its values: those inside the image or, with `count_include_pad`, those inside the
/// padded image.
pub fn average_pool<T: Real>(input: &[T], shape: Nchw, window: PoolWindow, count_include_pad: bool) -> Vec<T> {
    let extents = [shape.height, shape.width];
    pool(input, shape, window, |i, j, values| {
        let (mut sum, mut inside) = (T::from_f64(0.0), 0);
        for x in values {
            sum += x;
            inside += 1;
        }
        let padded = |axis: usize, index: usize| {
            let start = index * window.strides[axis];
            (start + window.kernel[axis]).min(extents[axis] + window.pads[axis] + window.pads[axis + 2]) - start
        };
        let count = if count_include_pad { padded(0, i) * padded(1, j) } else { inside };
        sum / T::from_f64(count as f64)
    })
}

/// Calls `reduce(row, column, values)` for each window, with its values inside the image.
fn pool<T: Real>(
    input: &[T],
    shape: Nchw,
    window: PoolWindow,
    reduce: impl Fn(usize, usize, &mut dyn Iterator<Item = T>) -> T,
) -> Vec<T> {
    shape.check(input);
    let output = pooled(shape, window);
    let mut result = Vec::with_capacity(output.len());
    for channel in input.chunks_exact(shape.pixels()) {
        for i in 0..output.height {
            let (top, bottom) = window.span(0, i, shape.height);
            for j in 0..output.width {
                let (left, right) = window.span(1, j, shape.width);
                let mut values = (top..bottom).flat_map(|y| channel[y * shape.width..][left..right].iter().copied());
                result.push(reduce(i, j, &mut values));
            }
        }
    }
    result
}
