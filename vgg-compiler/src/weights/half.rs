//! Half-precision numbers as f32, which holds each of them exactly.

/// An IEEE 754 binary16 by its bits. A NaN stays one.
pub(super) fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10 & 0x1f);
    let mantissa = u32::from(bits & 0x3ff);
    match exponent {
        // Subnormal numbers are multiples of 2^-24.
        0 => {
            let magnitude = mantissa as f32 * f32::from_bits(0x3380_0000);
            f32::from_bits(sign | magnitude.to_bits())
        }
        0x1f => f32::from_bits(sign | 0x7f80_0000 | mantissa << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | mantissa << 13),
    }
}

/// A bfloat16 by its bits.
pub(super) fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_the_value_of_the_definition() {
        for bits in 0..=u16::MAX {
            let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
            let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff) / 1024.0);
            let found = f64::from(f16_to_f32(bits));
            match exponent {
                0x1f if fraction == 0.0 => assert_eq!(found, sign * f64::INFINITY),
                0x1f => assert!(found.is_nan()),
                0 => assert_eq!(found.to_bits(), (sign * fraction * 2f64.powi(-14)).to_bits()),
                _ => assert_eq!(found, sign * (1.0 + fraction) * 2f64.powi(exponent - 15)),
            }
        }
        assert_eq!(bf16_to_f32(0x3fc0), 1.5);
        assert_eq!(bf16_to_f32(0xc2f7), -123.5);
    }
}
