//! The numbers of which the weights of a fully connected layer are made.

use core::fmt;

use super::{Simd, sealed::Sealed};
use crate::math;

/// A number as a weights file holds it. Whatever it is, products and sums are those of f32.
pub trait Element: Copy + Default + PartialEq + fmt::Debug + Send + Sync + 'static + Sealed {
    /// Whether each row of weights has a scale, by which its sum is multiplied.
    const SCALED: bool;

    /// The number in the first bytes of `bytes`, little-endian.
    ///
    /// # Panics
    /// When there are fewer bytes than it has.
    fn from_le_bytes(bytes: &[u8]) -> Self;

    /// The number itself, without rounding.
    fn to_f32(self) -> f32;

    /// Whether it is neither NaN nor infinite.
    fn is_finite(self) -> bool;

    /// The eight numbers at `p`, without rounding.
    ///
    /// # Safety
    /// - `p` is valid for reads of 8 values; no alignment beyond that of one is needed.
    unsafe fn load<S: Simd>(simd: S, p: *const Self) -> S::Vector;
}

/// A real number, which needs no scale.
pub trait Float: Element {}

impl Sealed for f32 {}

impl Float for f32 {}

impl Element for f32 {
    const SCALED: bool = false;

    #[inline(always)]
    fn from_le_bytes(bytes: &[u8]) -> Self {
        f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }

    #[inline(always)]
    fn is_finite(self) -> bool {
        f32::is_finite(self)
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, p: *const Self) -> S::Vector {
        // SAFETY: the caller promises 8 readable values.
        unsafe { simd.load(p) }
    }
}

/// A number of half precision, IEEE 754 binary16: 11 bits, up to 65504.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct F16(pub u16);

impl Sealed for F16 {}

impl Float for F16 {}

impl Element for F16 {
    const SCALED: bool = false;

    #[inline(always)]
    fn from_le_bytes(bytes: &[u8]) -> Self {
        Self(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        math::f16_to_f32(self.0)
    }

    #[inline(always)]
    fn is_finite(self) -> bool {
        self.0 & 0x7c00 != 0x7c00
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, p: *const Self) -> S::Vector {
        // SAFETY: the caller promises 8 readable values, which are u16 in memory.
        unsafe { simd.load_f16(p.cast()) }
    }
}

/// A bfloat16: the upper half of an f32, 8 bits and the range of f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Bf16(pub u16);

impl Sealed for Bf16 {}

impl Float for Bf16 {}

impl Element for Bf16 {
    const SCALED: bool = false;

    #[inline(always)]
    fn from_le_bytes(bytes: &[u8]) -> Self {
        Self(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        math::bf16_to_f32(self.0)
    }

    #[inline(always)]
    fn is_finite(self) -> bool {
        self.0 & 0x7f80 != 0x7f80
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, p: *const Self) -> S::Vector {
        // SAFETY: the caller promises 8 readable values, which are u16 in memory.
        unsafe { simd.load_bf16(p.cast()) }
    }
}

/// A whole number from -128 to 127, to be multiplied by the scale of its row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Int8(pub i8);

impl Sealed for Int8 {}

impl Element for Int8 {
    const SCALED: bool = true;

    #[inline(always)]
    fn from_le_bytes(bytes: &[u8]) -> Self {
        Self(i8::from_le_bytes([bytes[0]]))
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from(self.0)
    }

    #[inline(always)]
    fn is_finite(self) -> bool {
        true
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, p: *const Self) -> S::Vector {
        // SAFETY: the caller promises 8 readable values, which are i8 in memory.
        unsafe { simd.load_i8(p.cast()) }
    }
}
