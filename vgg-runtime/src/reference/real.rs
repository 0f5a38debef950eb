//! The numbers that the reference computes with.

use core::fmt::Debug;
use core::ops::{Add, AddAssign, Div, Mul, Sub};

use crate::math;

/// f32 or f64.
pub trait Real:
    Copy
    + Debug
    + PartialOrd
    + Add<Output = Self>
    + AddAssign
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + 'static
{
    /// The nearest number of this type.
    fn from_f64(x: f64) -> Self;

    /// The same number in f64.
    fn to_f64(self) -> f64;

    /// `e^x`.
    fn exp(self) -> Self {
        Self::from_f64(math::exp(self.to_f64()))
    }

    /// The natural logarithm.
    fn ln(self) -> Self {
        Self::from_f64(math::ln(self.to_f64()))
    }

    /// `x^y` for a positive `x`.
    fn pow(self, y: Self) -> Self {
        Self::from_f64(math::pow(self.to_f64(), y.to_f64()))
    }
}

impl Real for f32 {
    #[inline]
    fn from_f64(x: f64) -> Self {
        x as f32
    }

    #[inline]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    #[inline]
    fn from_f64(x: f64) -> Self {
        x
    }

    #[inline]
    fn to_f64(self) -> f64 {
        self
    }
}
