//! Convolution: the algorithm, its register tile and what happens to the sums afterwards, one file each.

mod direct;
mod epilogue;
mod microkernel;

pub(crate) use direct::{run, scratch_len};
