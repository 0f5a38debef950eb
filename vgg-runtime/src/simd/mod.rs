//! The vector instruction set, as a trait: kernels are generic over it, and each tier implements it in a file of its own.
//!
//! A tier is a token: a zero-sized value that can only be obtained after the processor was asked whether it has the instructions.
//! Holding the token therefore proves that its operations may be executed.
//!
//! Intrinsics only become single instructions inside a function that enables their target features. [`Simd::vectorize`] is that
//! function; everything called from its closure must be `#[inline(always)]`, or must call `vectorize` again.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod element;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
pub use element::{Bf16, Element, F16, Float, Int8};
pub use portable::Portable;

use crate::shape::BLOCK;

mod sealed {
    pub trait Sealed {}
}

/// A tier of vector instructions: operations on 8 values of f32, and on the 16 of a panel of output channels.
///
/// Comparisons follow x86, so that NaN, infinities, signed zeroes and denormals come out the same on every tier.
pub trait Simd: Copy + Send + Sync + 'static + sealed::Sealed {
    /// Eight values of f32.
    type Vector: Copy;

    /// Sixteen values of f32: one vector where the tier has such, else two of eight.
    type Panel: Copy;

    /// The name, as `VGG_ISA` spells it.
    const NAME: &'static str;

    /// Pixels of a convolution's register tile: as many as leave the accumulators (a panel each) in registers.
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

    /// The eight finite numbers of half precision (IEEE 754 binary16) whose bits are at `p`. No rounding.
    ///
    /// # Safety
    /// - `p` is valid for reads of 8 values of u16; no alignment beyond that of u16 is needed.
    unsafe fn load_f16(self, p: *const u16) -> Self::Vector;

    /// The eight numbers whose bits are at `p` in the form of the upper half of an f32. No rounding.
    ///
    /// # Safety
    /// - `p` is valid for reads of 8 values of u16; no alignment beyond that of u16 is needed.
    unsafe fn load_bf16(self, p: *const u16) -> Self::Vector;

    /// The eight whole numbers at `p`.
    ///
    /// # Safety
    /// - `p` is valid for reads of 8 values of i8.
    unsafe fn load_i8(self, p: *const i8) -> Self::Vector;

    /// Asks for the cache line at `p`, which soon will be read. Any address will do.
    fn prefetch(self, p: *const f32);

    /// Asks for the cache line at `p` to come as near as the second-level cache: it will be read, but not soon. Any address will do.
    fn prefetch_far(self, p: *const f32);

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

    /// Sixteen copies of `x`.
    fn splat_panel(self, x: f32) -> Self::Panel;

    /// The sixteen values at `p`.
    ///
    /// # Safety
    /// - `p` is valid for reads of 16 values of f32; no alignment beyond that of f32 is needed.
    unsafe fn load_panel(self, p: *const f32) -> Self::Panel;

    /// Writes the sixteen values to `p`.
    ///
    /// # Safety
    /// - `p` is valid for writes of 16 values of f32; no alignment beyond that of f32 is needed.
    unsafe fn store_panel(self, v: Self::Panel, p: *mut f32);

    /// `a * b + c`, rounded as [`Simd::mul_add`] rounds.
    fn mul_add_panel(self, a: Self::Panel, b: Self::Panel, c: Self::Panel) -> Self::Panel;

    /// The first eight values and the other eight.
    fn halves(self, v: Self::Panel) -> [Self::Vector; 2];

    /// The panel of these halves.
    fn panel(self, halves: [Self::Vector; 2]) -> Self::Panel;

    /// The sum of the eight values, always in the same order: `((0+4) + (2+6)) + ((1+5) + (3+7))`.
    #[inline(always)]
    fn sum(self, v: Self::Vector) -> f32 {
        let [a, b, c, d, e, f, g, h] = self.lanes(v);
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
}

/// The operations on panels of a tier whose panels are two vectors.
macro_rules! panels_of_two_vectors {
    ($vector:ty) => {
        #[inline(always)]
        fn splat_panel(self, x: f32) -> [$vector; 2] {
            [self.splat(x); 2]
        }

        #[inline(always)]
        unsafe fn load_panel(self, p: *const f32) -> [$vector; 2] {
            // SAFETY: the caller promises 16 readable values.
            unsafe { [self.load(p), self.load(p.add(BLOCK))] }
        }

        #[inline(always)]
        unsafe fn store_panel(self, v: [$vector; 2], p: *mut f32) {
            // SAFETY: the caller promises 16 writable values.
            unsafe {
                self.store(v[0], p);
                self.store(v[1], p.add(BLOCK));
            }
        }

        #[inline(always)]
        fn mul_add_panel(self, a: [$vector; 2], b: [$vector; 2], c: [$vector; 2]) -> [$vector; 2] {
            [self.mul_add(a[0], b[0], c[0]), self.mul_add(a[1], b[1], c[1])]
        }

        #[inline(always)]
        fn halves(self, v: [$vector; 2]) -> [$vector; 2] {
            v
        }

        #[inline(always)]
        fn panel(self, halves: [$vector; 2]) -> [$vector; 2] {
            halves
        }
    };
}
use panels_of_two_vectors;

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
