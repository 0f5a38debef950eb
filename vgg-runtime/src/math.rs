//! Elementary functions in f64 arithmetic: the same bits on every machine, with and without `std`.

const LN_2: f64 = core::f64::consts::LN_2;

/// The square root, to within one unit in the last place.
pub(crate) fn sqrt(x: f64) -> f64 {
    if x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 || x == f64::INFINITY || x.is_nan() {
        return x;
    }
    if x < f64::MIN_POSITIVE {
        // Denormal: scale by an even power of two.
        const SCALE: f64 = (1u64 << 54) as f64;
        return sqrt(x * SCALE) / (1u64 << 27) as f64;
    }
    // Halving the exponent gives 4 good bits; each Newton step doubles them.
    let mut root = f64::from_bits((x.to_bits() >> 1) + (1023 << 51));
    for _ in 0..5 {
        root = 0.5 * (root + x / root);
    }
    root
}

/// The square root of an f32, correctly rounded.
#[inline(always)]
pub(crate) fn sqrt_f32(x: f32) -> f32 {
    #[cfg(feature = "std")]
    let root = x.sqrt();
    // The root of a 24-bit number is never so near to the middle of two f32 that an error in the last place of an f64 matters.
    #[cfg(not(feature = "std"))]
    let root = sqrt(f64::from(x)) as f32;
    root
}

/// The number of half precision with these bits.
#[inline(always)]
pub(crate) fn f16_to_f32(bits: u16) -> f32 {
    // With exponent and fraction at the places of f32 the number is too small by this power of two. The product is exact, and makes
    // subnormal numbers normal.
    const BIASES: f32 = f32::from_bits((127 + 127 - 15) << 23);
    let magnitude = if bits & 0x7c00 == 0x7c00 {
        f32::from_bits(f32::INFINITY.to_bits() | u32::from(bits & 0x3ff) << 13)
    } else {
        f32::from_bits(u32::from(bits & 0x7fff) << 13) * BIASES
    };
    f32::from_bits(magnitude.to_bits() | u32::from(bits & 0x8000) << 16)
}

/// The bfloat16 with these bits.
#[inline(always)]
pub(crate) fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// `1 / k!` for k from 0 to 13.
const INVERSE_FACTORIALS: [f64; 14] = {
    let mut values = [1.0; 14];
    let (mut k, mut factorial) = (1, 1.0);
    while k < values.len() {
        factorial *= k as f64;
        values[k] = 1.0 / factorial;
        k += 1;
    }
    values
};

/// `2^n` for `-1022 <= n <= 1023`.
fn exp2i(n: i32) -> f64 {
    f64::from_bits(((n + 1023) as u64) << 52)
}

/// `e^x`, with a relative error of about 1e-15.
pub(crate) fn exp(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x > 709.0 {
        return f64::INFINITY;
    }
    if x < -708.0 {
        return 0.0;
    }
    // x = n ln 2 + r with |r| <= ln 2 / 2. The product n * LN_2_HIGH is exact.
    const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let scaled = x / LN_2;
    let n = (scaled + if scaled < 0.0 { -0.5 } else { 0.5 }) as i32;
    let r = (x - f64::from(n) * LN_2_HIGH) - f64::from(n) * LN_2_LOW;
    // Taylor: the first term left out is r^14 / 14! < 4e-18.
    INVERSE_FACTORIALS.iter().rev().fold(0.0, |sum, coefficient| sum * r + coefficient) * exp2i(n)
}

/// The natural logarithm, with an absolute error of about 1e-16 and a relative error of about 1e-15.
pub(crate) fn ln(x: f64) -> f64 {
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    if x == f64::INFINITY {
        return x;
    }
    if x < f64::MIN_POSITIVE {
        return ln(x * (1u64 << 54) as f64) - 54.0 * LN_2;
    }
    // x = 2^n m with m in [sqrt(1/2), sqrt(2)).
    let mut n = (x.to_bits() >> 52) as i32 - 1023;
    let mut m = f64::from_bits((x.to_bits() & ((1 << 52) - 1)) | (1023 << 52));
    if m >= core::f64::consts::SQRT_2 {
        m *= 0.5;
        n += 1;
    }
    // ln m = 2 atanh(s) with s = (m - 1) / (m + 1), |s| < 0.172; the first term left out is 2 s^23 / 23 < 3e-19.
    let s = (m - 1.0) / (m + 1.0);
    let mut sum = 0.0;
    for k in (0..=10).rev() {
        sum = 1.0 / f64::from(2 * k + 1) + s * s * sum;
    }
    f64::from(n) * LN_2 + 2.0 * s * sum
}

/// `x^y` for a positive `x`.
pub(crate) fn pow(x: f64, y: f64) -> f64 {
    exp(y * ln(x))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails unless `found` is within `units` (of 2^-53) of `expected`, relatively.
    #[track_caller]
    fn assert_close(what: &str, x: f64, found: f64, expected: f64, units: f64) {
        let error = (found - expected).abs() / expected.abs().max(f64::MIN_POSITIVE);
        assert!(error <= units * f64::EPSILON / 2.0, "{what}({x:e}) = {found:e}, expected {expected:e}");
    }

    /// Positive numbers of every magnitude.
    fn positive() -> impl Iterator<Item = f64> {
        (1..40_000u64).map(|i| f64::from_bits(i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1)).filter(|x| x.is_finite())
    }

    #[test]
    fn roots_are_those_of_std() {
        for x in positive() {
            assert_close("sqrt", x, sqrt(x), x.sqrt(), 2.0);
        }
        for x in (0..100_000u32).map(|i| f32::from_bits(i.wrapping_mul(21_407))) {
            assert_eq!(sqrt_f32(x).to_bits(), x.sqrt().to_bits());
            assert_eq!((sqrt(f64::from(x)) as f32).to_bits(), x.sqrt().to_bits(), "sqrt({x:e}) rounded to f32");
        }
        assert!(sqrt(-1.0).is_nan() && sqrt(f64::NAN).is_nan());
        assert_eq!((sqrt(0.0), sqrt(f64::INFINITY)), (0.0, f64::INFINITY));
    }

    #[test]
    fn exponentials_are_those_of_std() {
        for i in -70_000..70_000 {
            let x = f64::from(i) * 0.01;
            assert_close("exp", x, exp(x), x.exp(), 16.0);
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!((exp(-1e9), exp(f64::NEG_INFINITY), exp(1e9)), (0.0, 0.0, f64::INFINITY));
        assert!(exp(f64::NAN).is_nan());
    }

    #[test]
    fn logarithms_are_those_of_std() {
        for x in positive() {
            assert_close("ln", x, ln(x), x.ln(), 16.0);
        }
        for i in 1..20_000 {
            let x = f64::from(i) * 1e-4;
            assert_close("ln", x, ln(x), x.ln(), 16.0);
        }
        assert_eq!((ln(1.0), ln(0.0), ln(f64::INFINITY)), (0.0, f64::NEG_INFINITY, f64::INFINITY));
        assert!(ln(-1.0).is_nan() && ln(f64::NAN).is_nan());
    }

    #[test]
    fn powers_are_exact_to_f32() {
        for i in 1..20_000 {
            let x = f64::from(i) * 0.037;
            for y in [0.5, 0.75, 1.0, 2.0, -0.6] {
                assert_close("pow", x, pow(x, y), x.powf(y), 64.0);
            }
        }
    }
}
