//! The tier that runs everywhere: arrays that the compiler turns into whatever vectors the target has.

use super::{Simd, panels_of_two_vectors, sealed::Sealed};
use crate::math;
use crate::shape::BLOCK;

/// Plain Rust; available on every machine.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

/// Eight values, aligned like the widest vector that could hold them.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub struct Lanes([f32; BLOCK]);

#[inline(always)]
fn zip(a: Lanes, b: Lanes, f: impl Fn(f32, f32) -> f32) -> Lanes {
    let mut lanes = a;
    for i in 0..BLOCK {
        lanes.0[i] = f(a.0[i], b.0[i]);
    }
    lanes
}

impl Sealed for Portable {}

impl Simd for Portable {
    type Vector = Lanes;

    type Panel = [Lanes; 2];

    const NAME: &'static str = "portable";

    // Two pixels of two vectors of 8 fill half of sixteen registers of four values.
    const TILE: usize = 2;

    #[inline(always)]
    fn vectorize<R, F: FnOnce() -> R>(self, f: F) -> R {
        f()
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Lanes {
        Lanes([x; BLOCK])
    }

    #[inline(always)]
    fn vector(self, values: [f32; BLOCK]) -> Lanes {
        Lanes(values)
    }

    #[inline(always)]
    fn lanes(self, v: Lanes) -> [f32; BLOCK] {
        v.0
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> Lanes {
        // SAFETY: the caller promises 8 readable values; an array of f32 is aligned like f32.
        Lanes(unsafe { p.cast::<[f32; BLOCK]>().read() })
    }

    #[inline(always)]
    unsafe fn store(self, v: Lanes, p: *mut f32) {
        // SAFETY: the caller promises 8 writable values; an array of f32 is aligned like f32.
        unsafe { p.cast::<[f32; BLOCK]>().write(v.0) }
    }

    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> Lanes {
        // SAFETY: the caller promises 8 readable values; an array of u16 is aligned like u16.
        Lanes(unsafe { p.cast::<[u16; BLOCK]>().read() }.map(math::f16_to_f32))
    }

    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> Lanes {
        // SAFETY: the caller promises 8 readable values; an array of u16 is aligned like u16.
        Lanes(unsafe { p.cast::<[u16; BLOCK]>().read() }.map(math::bf16_to_f32))
    }

    #[inline(always)]
    unsafe fn load_i8(self, p: *const i8) -> Lanes {
        // SAFETY: the caller promises 8 readable values.
        Lanes(unsafe { p.cast::<[i8; BLOCK]>().read() }.map(f32::from))
    }

    #[inline(always)]
    fn prefetch(self, _: *const f32) {}

    #[inline(always)]
    fn prefetch_far(self, _: *const f32) {}

    #[inline(always)]
    fn prefetch_write(self, _: *const f32) {}

    #[inline(always)]
    fn add(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a / b)
    }

    #[inline(always)]
    fn mul_add(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        self.add(self.mul(a, b), c)
    }

    #[inline(always)]
    fn sqrt(self, v: Lanes) -> Lanes {
        Lanes(v.0.map(math::sqrt_f32))
    }

    #[inline(always)]
    fn relu(self, v: Lanes) -> Lanes {
        Lanes(v.0.map(|x| if 0.0 > x { 0.0 } else { x }))
    }

    #[inline(always)]
    fn max(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| if a > b || a.is_nan() { a } else { b })
    }

    panels_of_two_vectors!(Lanes);
}
