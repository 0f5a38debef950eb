//! Every operation on every tier of this machine, against the f64 reference.
//!
//! Each call runs with 1, 2 and 3 threads, which must give the same bits, into memory that held NaN, between canaries.
//! `VGG_ISA_REQUIRED=portable,avx2,avx512` makes the tests fail on a machine that lacks one of them.

mod common;
mod conv;
mod elementwise;
mod flat;
mod gemm;
mod grouped;
mod layout;
mod norm;
mod pool;
mod special_values;
mod winograd;
