//! Normally distributed numbers that are the same on every machine.
//!
//! Only IEEE 754 additions, multiplications, divisions and square roots, and `libm`'s software logarithm take part. The
//! platform's own functions differ in the last bit from one another.

use std::array;

/// A pseudo-random number for each (seed, stream, index), without state between them, so that any part of a stream can
/// be generated alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    key: u64,
}

/// The increment of SplitMix64: 2^64 divided by the golden ratio, made odd.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

impl Stream {
    /// The stream of number `ordinal` under `seed`.
    pub(super) fn new(seed: u64, ordinal: u64) -> Self {
        Self { key: mix(mix(seed.wrapping_add(GOLDEN)).wrapping_add(ordinal.wrapping_add(1).wrapping_mul(GOLDEN))) }
    }

    /// A number in the open interval (0, 1), an odd multiple of 2^-53.
    pub(super) fn uniform(self, index: u64) -> f64 {
        let bits = mix(self.key.wrapping_add(index.wrapping_add(1).wrapping_mul(GOLDEN)));
        ((bits >> 12) as f64 + 0.5) * (1.0 / (1u64 << 52) as f64)
    }

    /// Numbers of the standard normal distribution, those of `first` and the indices after it.
    pub(super) fn normals<const N: usize>(self, first: u64) -> [f64; N] {
        let uniforms: [f64; N] = array::from_fn(|offset| self.uniform(first + offset as u64));
        // Without a branch this is vectorised; the few that lie in the tails are computed a second time.
        let mut normals = uniforms.map(centre);
        for (normal, p) in normals.iter_mut().zip(uniforms) {
            if in_tail(p) {
                *normal = tail(p);
            }
        }
        normals
    }
}

/// `len` numbers of the standard normal distribution, the same for the same seed on every machine: an input to try a
/// network with.
pub fn standard_normal(seed: u64, len: usize) -> Vec<f32> {
    const RUN: usize = 64;
    // Weights take their streams from the front.
    let stream = Stream::new(seed, u64::MAX);
    let runs = (0..len).step_by(RUN).flat_map(|first| stream.normals::<RUN>(first as u64));
    runs.take(len).map(|x| x as f32).collect()
}

/// The finaliser of SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014), with the
/// constants of David Stafford's variant 13.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// Whether `p` is so far from the middle that [`tail`] holds for it and [`centre`] does not.
fn in_tail(p: f64) -> bool {
    (p - 0.5).abs() > 0.425
}

/// The inverse of the standard normal distribution function for `p` from 0.075 to 0.925, to about 16 digits.
///
/// Source: Wichura, "Algorithm AS 241: The percentage points of the normal distribution", Applied Statistics 37 (1988),
/// routine PPND16.
fn centre(p: f64) -> f64 {
    let q = p - 0.5;
    q * ratio(&CENTRE, 0.180625 - q * q)
}

/// The same for the other `p` in (0, 1).
fn tail(p: f64) -> f64 {
    let r = (-libm::log(if p < 0.5 { p } else { 1.0 - p })).sqrt();
    let z = if r <= 5.0 { ratio(&MIDDLE, r - 1.6) } else { ratio(&FAR, r - 5.0) };
    if p < 0.5 { -z } else { z }
}

/// Two polynomials of degree 7: numerator and denominator, constant terms first.
type Rational = [[f64; 8]; 2];

fn ratio([numerator, denominator]: &Rational, x: f64) -> f64 {
    let horner = |coefficients: &[f64; 8]| coefficients.iter().rev().fold(0.0, |sum, &c| sum * x + c);
    horner(numerator) / horner(denominator)
}

/// For [`centre`].
const CENTRE: Rational = [
    [
        3.387_132_872_796_366_5,
        133.141_667_891_784_38,
        1_971.590_950_306_551_3,
        13_731.693_765_509_46,
        45_921.953_931_549_87,
        67_265.770_927_008_7,
        33_430.575_583_588_13,
        2_509.080_928_730_122_7,
    ],
    [
        1.0,
        42.313_330_701_600_91,
        687.187_007_492_057_9,
        5_394.196_021_424_751,
        21_213.794_301_586_597,
        39_307.895_800_092_71,
        28_729.085_735_721_943,
        5_226.495_278_852_854,
    ],
];

/// For tails down to exp(-25).
const MIDDLE: Rational = [
    [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        0.241_780_725_177_450_6,
        0.022_723_844_989_269_184,
        7.745_450_142_783_414e-4,
    ],
    [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        0.689_767_334_985_1,
        0.148_103_976_427_480_08,
        0.015_198_666_563_616_457,
        5.475_938_084_995_345e-4,
        1.050_750_071_644_416_9e-9,
    ],
];

/// For the tails beyond.
const FAR: Rational = [
    [
        6.657_904_643_501_103,
        5.463_784_911_164_114,
        1.784_826_539_917_291_3,
        0.296_560_571_828_504_87,
        0.026_532_189_526_576_124,
        0.001_242_660_947_388_078_4,
        2.711_555_568_743_487_6e-5,
        2.010_334_399_292_288_1e-7,
    ],
    [
        1.0,
        0.599_832_206_555_888,
        0.136_929_880_922_735_8,
        0.014_875_361_290_850_615,
        7.868_691_311_456_133e-4,
        1.846_318_317_510_054_8e-5,
        1.421_511_758_316_446e-7,
        2.044_263_103_389_939_8e-15,
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    fn quantile(p: f64) -> f64 {
        if in_tail(p) { tail(p) } else { centre(p) }
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (p, z) in [
            (0.5, 0.0),
            (0.841_344_746_068_542_9, 1.0),
            (0.975, 1.959_963_984_540_054),
            (0.025, -1.959_963_984_540_054),
            (0.995, 2.575_829_303_548_901),
            (0.000_001, -4.753_424_308_822_899),
            (1e-15, -7.941_345_326_170_998),
        ] {
            let found = quantile(p);
            assert!((found - z).abs() <= 4e-15 * z.abs().max(1.0), "{p}: {found}, expected {z}");
        }
        assert!(quantile(0.5 / (1u64 << 52) as f64).is_finite());
        assert!(quantile(1.0 - 0.5 / (1u64 << 52) as f64).is_finite());
    }

    #[test]
    fn normal_numbers_are_the_quantiles_of_the_uniform_ones() {
        let stream = Stream::new(5, 6);
        let normals: [f64; 100] = stream.normals(1000);
        for (index, normal) in (1000..).zip(normals) {
            assert_eq!(normal, quantile(stream.uniform(index)), "{index}");
        }
    }

    #[test]
    fn streams_differ_and_can_be_entered_anywhere() {
        let [a, b, c] = [Stream::new(0, 0), Stream::new(0, 1), Stream::new(1, 0)];
        let bits = |stream: Stream, index| stream.uniform(index).to_bits();
        assert_eq!(bits(a, 1_000_000), bits(Stream::new(0, 0), 1_000_000));
        for (x, y) in
            [(bits(a, 0), bits(b, 0)), (bits(a, 0), bits(c, 0)), (bits(b, 0), bits(c, 0)), (bits(a, 0), bits(a, 1))]
        {
            assert_ne!(x, y);
        }
    }
}
