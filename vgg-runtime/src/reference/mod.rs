//! Naive implementations of every operation: the oracle of the tests, and what the words mean.
//!
//! Plain `NCHW` slices, one loop nest each as in the definition, in f32 or f64; no vectors, no threads, no fusion. The loops are ordered
//! so that the innermost runs along a row of output pixels, which lets whole networks be computed in f64 within seconds.
//!
//! All functions panic when a slice does not have the length that its shape says.

mod conv;
mod elementwise;
mod flat;
mod norm;
mod pool;
mod real;

pub use conv::{Conv, conv};
pub use elementwise::{add, clip, concat, leaky_relu, mul, sigmoid};
pub use flat::{flatten, gemm, log_softmax, softmax};
pub use norm::{Lrn, batch_normalization, lrn, relu};
pub use pool::{average_pool, max_pool, pooled};
pub use real::Real;

/// The shape of a batch of images, `[batch][channels][height][width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nchw {
    /// Images.
    pub batch: usize,
    /// Channels of an image.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Nchw {
    /// Values of one channel of one image.
    pub const fn pixels(self) -> usize {
        self.height * self.width
    }

    /// Values of one image.
    pub const fn features(self) -> usize {
        self.channels * self.pixels()
    }

    /// Values in all.
    pub const fn len(self) -> usize {
        self.batch * self.features()
    }

    /// Whether there are no values at all.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    #[track_caller]
    fn check<T>(self, values: &[T]) {
        assert_eq!(values.len(), self.len(), "a slice does not hold the shape {self:?}");
    }
}

#[cfg(test)]
mod tests;
