//! The vector instruction set, as a trait: kernels are generic over it, and each tier implements it in a file of its own.
//!
//! A tier is a token: a zero-sized value that can only be obtained after the processor was asked whether it has the instructions.
//! Holding the token therefore proves that its operations may be executed.
//!
//! Intrinsics only become single instructions inside a function that enables their target features. [`Simd::vectorize`] is that
//! function; everything called from its closure must be `#[inline(always)]`, or must call `vectorize` again.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod portable;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
pub use portable::Portable;

use crate::shape::BLOCK;

mod sealed {
    pub trait Sealed {}
}

/// A tier of vector instructions: operations on 8 values of f32.
///
/// Comparisons follow x86, so that NaN, infinities, signed zeroes and denormals come out the same on every tier.
pub trait Simd: Copy + Send + Sync + 'static + sealed::Sealed {
    /// Eight values of f32.
    type Vector: Copy;

    /// The name, as `VGG_ISA` spells it.
    const NAME: &'static str;

    /// Pixels of a convolution's register tile: as many as leave the accumulators (two vectors each) in registers.
    const TILE: usize;

    /// Calls `f` in a function with the tier's target features enabled.
    fn vectorize<R, F: FnOnce() -> R>(self, f: F) -> R;

    /// Eight copies of `x`.
    fn splat(self, x: f32) -> Self::Vector;

    /// The values of an array.
    fn vector(self, values: [f32; BLOCK]) -> Self::Vector;

    /// The values as an array.
    fn lanes(self, v: Self::Vector) -> [f32; BLOCK];

    /// The eight values at `p`.
    ///
    /// # Safety
    /// - `p` is valid for reads of 8 values of f32; no alignment beyond that of f32 is needed.
    unsafe fn load(self, p: *const f32) -> Self::Vector;

    /// Writes the eight values to `p`.
    ///
    /// # Safety
    /// - `p` is valid for writes of 8 values of f32; no alignment beyond that of f32 is needed.
    unsafe fn store(self, v: Self::Vector, p: *mut f32);

    /// Asks for the cache line at `p`, which soon will be read. Any address will do.
    fn prefetch(self, p: *const f32);

    /// Asks for the cache line at `p`, which soon will be written. Any address will do.
    fn prefetch_write(self, p: *const f32);

    /// `a + b`.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a - b`.
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a * b`.
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a / b`.
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `a * b + c`, rounded once or twice, whichever the tier does fast.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// The square root, correctly rounded.
    fn sqrt(self, v: Self::Vector) -> Self::Vector;

    /// `if 0.0 > v { 0.0 } else { v }`: NaN and -0.0 pass through.
    fn relu(self, v: Self::Vector) -> Self::Vector;

    /// `if a > b || a is NaN { a } else { b }`: NaN on either side comes through.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// The sum of the eight values, always in the same order: `((0+4) + (2+6)) + ((1+5) + (3+7))`.
    #[inline(always)]
    fn sum(self, v: Self::Vector) -> f32 {
        let [a, b, c, d, e, f, g, h] = self.lanes(v);
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
}

/// The eight values of `source` from `at` on.
#[inline(always)]
pub(crate) fn load<S: Simd>(simd: S, source: &[f32], at: usize) -> S::Vector {
    let values: &[f32] = &source[at..at + BLOCK];
    // SAFETY: the slice holds 8 values.
    unsafe { simd.load(values.as_ptr()) }
}

/// Writes eight values to `target` from `at` on.
#[inline(always)]
pub(crate) fn store<S: Simd>(simd: S, v: S::Vector, target: &mut [f32], at: usize) {
    let values: &mut [f32] = &mut target[at..at + BLOCK];
    // SAFETY: the slice holds 8 values.
    unsafe { simd.store(v, values.as_mut_ptr()) }
}
