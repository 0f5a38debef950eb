//! AVX2 with FMA and F16C: x86-64 since 2013 (Intel Haswell) and 2015 (AMD Excavator, then every Zen).

use core::arch::x86_64::*;

use super::x86::operations_on_256_bits;
use super::{Simd, panels_of_two_vectors, sealed::Sealed};
use crate::shape::BLOCK;

/// Proof that the processor has AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub struct Avx2 {
    _private: (),
}

impl Avx2 {
    /// The token, if the processor has AVX2, FMA and F16C (and the operating system saves their registers).
    pub fn new() -> Option<Self> {
        Self::is_available().then_some(Self { _private: () })
    }

    /// Whether [`Avx2::new`] gives a token. Without `std` this is what the crate was compiled for.
    pub fn is_available() -> bool {
        // The features are those that `enter` enables.
        #[cfg(feature = "std")]
        let available = std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("fma")
            && std::arch::is_x86_feature_detected!("f16c");
        #[cfg(not(feature = "std"))]
        let available = cfg!(all(target_feature = "avx2", target_feature = "fma", target_feature = "f16c"));
        available
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn enter<R, F: FnOnce() -> R>(f: F) -> R {
    f()
}

impl Sealed for Avx2 {}

impl Simd for Avx2 {
    type Vector = __m256;

    type Panel = [__m256; 2];

    const NAME: &'static str = "avx2";

    // Twelve accumulators, two weight vectors and a broadcast value leave one of the sixteen registers free.
    const TILE: usize = 6;

    #[inline(always)]
    fn vectorize<R, F: FnOnce() -> R>(self, f: F) -> R {
        // SAFETY: the token proves that the processor has the features.
        unsafe { enter(f) }
    }

    operations_on_256_bits!();

    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves that the processor has the features.
        unsafe { _mm256_blendv_ps(_mm256_max_ps(a, b), a, _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a)) }
    }

    panels_of_two_vectors!(__m256);
}
