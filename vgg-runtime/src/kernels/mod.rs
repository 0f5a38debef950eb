//! The algorithms, generic over the vector instructions. Their callers in [`crate::ops`] have checked all lengths; what a kernel reads
//! or writes through a pointer it asserts once more itself, outside its loops.

pub(crate) mod conv;
pub(crate) mod elementwise;
pub(crate) mod gemm;
pub(crate) mod halo;
pub(crate) mod layout;
pub(crate) mod lrn;
pub(crate) mod pool;
pub(crate) mod shared;
pub(crate) mod softmax;

#[cfg(feature = "std")]
pub(crate) mod fork_join;
