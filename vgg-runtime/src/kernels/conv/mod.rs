//! Convolution: direct summation (and the matrix product that a 1x1 convolution is) and Winograd's algorithm.
//!
//! Direct summation has its register tile in `microkernel`; what happens to the sums afterwards stands in `epilogue`.

/// Evaluates `$body` with a constant `$mr` in place of `$size`, the rows of a register tile, of which there are at most `$most`.
macro_rules! with_rows {
    ($size:expr, $most:expr, $mr:ident => $body:expr) => {
        $crate::kernels::conv::with_rows!(@ $size, $most, $mr => $body, 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
    };
    (@ $size:expr, $most:expr, $mr:ident => $body:expr, $($rows:literal)*) => {
        match $size {
            $($rows if $most >= $rows => {
                const $mr: usize = $rows;
                $body
            })*
            _ => unreachable!("a register tile has 1 to {} rows", $most),
        }
    };
}
use with_rows;

mod ahead;
mod direct;
mod epilogue;
pub(crate) mod grouped;
mod microkernel;
pub(crate) mod winograd;

use crate::memory::SharedBytes;
use crate::shape::{Algorithm, ConvDims};
use crate::simd::Simd;
use crate::threads::Threads;

/// The weights of a convolution.
pub(crate) enum Weights<'a> {
    /// In the order in which the algorithm reads them.
    Packed(&'a [f32]),
    /// As in the file, of the right length and finite, for a layer whose transform [can wait](winograd::can_wait).
    #[cfg_attr(not(feature = "std"), allow(dead_code, reason = "only a program with `std` packs weights later"))]
    Plain(SharedBytes),
}

/// Values of scratch memory for each thread.
pub(crate) const fn scratch_len(dims: ConvDims) -> usize {
    match dims.algorithm {
        Algorithm::Direct | Algorithm::Gemm => direct::scratch_len(dims),
        Algorithm::WinogradF4 | Algorithm::WinogradF6 => winograd::scratch_len(dims),
    }
}

/// The convolution `dims` of every image in `input`.
pub(crate) fn run<S: Simd>(
    simd: S,
    threads: &Threads,
    dims: ConvDims,
    input: &[f32],
    (weights, bias): (Weights<'_>, &[f32]),
    output: &mut [f32],
    scratch: (&mut [f32], usize),
) {
    match (dims.algorithm, weights) {
        (Algorithm::Direct | Algorithm::Gemm, Weights::Packed(weights)) => {
            direct::run(simd, threads, dims, input, (weights, bias), output, scratch);
        }
        (Algorithm::WinogradF4 | Algorithm::WinogradF6, weights) => {
            winograd::run(simd, threads, dims, input, (&weights, bias), output, scratch);
        }
        (_, Weights::Plain(_)) => unreachable!("only transforms can wait"),
    }
}
