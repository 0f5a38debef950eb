//! AVX-512 (F, VL, DQ, BW): Intel's servers since 2017 (Skylake-SP), AMD since 2022 (Zen 4).
//!
//! Vectors of eight keep 256 bits, for which a feature map is laid out, and gain sixteen registers. A panel is one vector of 512 bits:
//! half the instructions for the same products, even where the units are only 256 bits wide.

use core::arch::x86_64::*;

use super::x86::operations_on_256_bits;
use super::{Simd, sealed::Sealed};
use crate::shape::BLOCK;

/// Proof that the processor has AVX-512 F, VL, DQ and BW, AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub struct Avx512 {
    _private: (),
}

impl Avx512 {
    /// The token, if the processor has all of the tier's features (and the operating system saves their registers).
    pub fn new() -> Option<Self> {
        Self::is_available().then_some(Self { _private: () })
    }

    /// Whether [`Avx512::new`] gives a token. Without `std` this is what the crate was compiled for.
    pub fn is_available() -> bool {
        // The features are those that `enter` enables.
        #[cfg(feature = "std")]
        let available = std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512vl")
            && std::arch::is_x86_feature_detected!("avx512dq")
            && std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("fma")
            && std::arch::is_x86_feature_detected!("f16c");
        #[cfg(not(feature = "std"))]
        let available = cfg!(all(
            target_feature = "avx512f",
            target_feature = "avx512vl",
            target_feature = "avx512dq",
            target_feature = "avx512bw",
            target_feature = "avx2",
            target_feature = "fma",
            target_feature = "f16c"
        ));
        available
    }
}

#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,f16c")]
fn enter<R, F: FnOnce() -> R>(f: F) -> R {
    f()
}

impl Sealed for Avx512 {}

impl Simd for Avx512 {
    type Vector = __m256;

    type Panel = __m512;

    const NAME: &'static str = "avx512";

    // Fourteen divides the widths of VGG's images.
    const TILE: usize = 14;

    #[inline(always)]
    fn vectorize<R, F: FnOnce() -> R>(self, f: F) -> R {
        // SAFETY: the token proves that the processor has the features.
        unsafe { enter(f) }
    }

    operations_on_256_bits!();

    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        // vmaxps gives its second operand when either is NaN; lanes where `a` is NaN keep it.
        // SAFETY: the token proves that the processor has the features.
        unsafe { _mm256_mask_max_ps(a, _mm256_cmp_ps_mask::<_CMP_ORD_Q>(a, a), a, b) }
    }

    #[inline(always)]
    fn splat_panel(self, x: f32) -> __m512 {
        // SAFETY: the token proves that the processor has the features.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load_panel(self, p: *const f32) -> __m512 {
        // SAFETY: the token proves the features, the caller promises 16 readable values.
        unsafe { _mm512_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn store_panel(self, v: __m512, p: *mut f32) {
        // SAFETY: the token proves the features, the caller promises 16 writable values.
        unsafe { _mm512_storeu_ps(p, v) }
    }

    #[inline(always)]
    fn mul_add_panel(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the token proves that the processor has the features.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn halves(self, v: __m512) -> [__m256; 2] {
        // SAFETY: the token proves that the processor has the features.
        unsafe { [_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v)] }
    }

    #[inline(always)]
    fn panel(self, [low, high]: [__m256; 2]) -> __m512 {
        // SAFETY: the token proves that the processor has the features.
        unsafe { _mm512_insertf32x8::<1>(_mm512_castps256_ps512(low), high) }
    }
}
