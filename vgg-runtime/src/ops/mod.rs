//! The operations of a network: safe entry points that check every length once, then share the work out over the threads.
//!
//! All have the same manner: `op(simd, threads, layer, input, [weights,] output, [scratch])`, with an array of inputs where there are two. `simd` is the token that
//! [`Isa::run`](crate::Isa::run) hands to a [`Program`](crate::Program); `layer` is a type with constant dimensions or the dimensions
//! themselves. Activations hold `batch` images one after the other.
//!
//! An operation writes the whole of its output, halo and padding channels included, whatever was there before; only [`concat()`] writes a
//! part. It panics, before it
//! writes anything, when a buffer does not have exactly the length that the dimensions say.

mod conv;
mod elementwise;
mod flat;
mod gemm;
mod grouped;
mod image;
mod lrn;
mod pool;

pub use conv::{conv, conv_scratch_len};
pub use elementwise::{activation, affine, combine, concat};
pub use flat::{log_softmax, softmax};
pub use gemm::gemm;
pub use grouped::{grouped_conv, grouped_conv_scratch_len};
pub use image::{flatten, pack};
pub use lrn::{lrn, lrn_scratch_len};
pub use pool::{average_pool, max_pool};

/// Panics unless a buffer has the length that its layer says.
#[inline(always)]
#[track_caller]
fn check_len(op: &str, what: &str, values: &[f32], image: usize, batch: usize) {
    assert!(
        values.len() == image * batch,
        "{op}: {what} has {} values where {batch} x {image} were expected",
        values.len()
    );
}
