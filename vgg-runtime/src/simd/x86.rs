//! What the tiers of x86-64 share.

/// The operations on vectors of 256 bits, for the `Simd` of a token that proves AVX2, FMA and F16C, but for the maximum: for that AVX-512
/// has masks.
macro_rules! operations_on_256_bits {
    () => {
        #[inline(always)]
        fn splat(self, x: f32) -> __m256 {
            // SAFETY: the token proves that the processor has the features.
            unsafe { _mm256_set1_ps(x) }
        }

        #[inline(always)]
        fn vector(self, values: [f32; BLOCK]) -> __m256 {
            // SAFETY: the array holds 8 values.
            unsafe { self.load(values.as_ptr()) }
        }

        #[inline(always)]
        fn lanes(self, v: __m256) -> [f32; BLOCK] {
            let mut values = [0.0; BLOCK];
            // SAFETY: the array holds 8 values.
            unsafe { self.store(v, values.as_mut_ptr()) };
            values
        }

        #[inline(always)]
        unsafe fn load(self, p: *const f32) -> __m256 {
            // SAFETY: the token proves the features, the caller promises 8 readable values.
            unsafe { _mm256_loadu_ps(p) }
        }

        #[inline(always)]
        unsafe fn store(self, v: __m256, p: *mut f32) {
            // SAFETY: the token proves the features, the caller promises 8 writable values.
            unsafe { _mm256_storeu_ps(p, v) }
        }

        #[inline(always)]
        unsafe fn load_f16(self, p: *const u16) -> __m256 {
            // SAFETY: the token proves the features, the caller promises 8 readable values.
            unsafe { _mm256_cvtph_ps(_mm_loadu_si128(p.cast())) }
        }

        #[inline(always)]
        unsafe fn load_bf16(self, p: *const u16) -> __m256 {
            // SAFETY: the token proves the features, the caller promises 8 readable values.
            unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast())))) }
        }

        #[inline(always)]
        unsafe fn load_i8(self, p: *const i8) -> __m256 {
            // SAFETY: the token proves the features, the caller promises 8 readable values.
            unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p.cast()))) }
        }

        #[inline(always)]
        fn prefetch(self, p: *const f32) {
            // SAFETY: a prefetch has no effect that a program could see, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
        }

        #[inline(always)]
        fn prefetch_far(self, p: *const f32) {
            // SAFETY: a prefetch has no effect that a program could see, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
        }

        #[inline(always)]
        fn prefetch_write(self, p: *const f32) {
            // SAFETY: a prefetch has no effect that a program could see, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_ET0>(p.cast()) }
        }

        #[inline(always)]
        fn add(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: the token proves that the processor has the features.
            unsafe { _mm256_add_ps(a, b) }
        }

        #[inline(always)]
        fn sub(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: the token proves that the processor has the features.
            unsafe { _mm256_sub_ps(a, b) }
        }

        #[inline(always)]
        fn mul(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: the token proves that the processor has the features.
            unsafe { _mm256_mul_ps(a, b) }
        }

        #[inline(always)]
        fn div(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: the token proves that the processor has the features.
            unsafe { _mm256_div_ps(a, b) }
        }

        #[inline(always)]
        fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
            // SAFETY: the token proves that the processor has the features.
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        fn sqrt(self, v: __m256) -> __m256 {
            // SAFETY: the token proves that the processor has the features.
            unsafe { _mm256_sqrt_ps(v) }
        }

        #[inline(always)]
        fn relu(self, v: __m256) -> __m256 {
            // vmaxps gives its second operand when either is NaN or both are zeroes.
            // SAFETY: the token proves that the processor has the features.
            unsafe { _mm256_max_ps(_mm256_setzero_ps(), v) }
        }
    };
}
pub(super) use operations_on_256_bits;
