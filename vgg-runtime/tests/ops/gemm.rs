//! Fully connected layers whose weights are f16, bf16 or int8.

use vgg_runtime::*;

use super::common::*;

/// The number of a half precision pattern, from its definition. None for infinities and NaN.
fn half(bits: u16) -> Option<f64> {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023) / 1024.0);
    match exponent {
        31 => None,
        0 => Some(sign * fraction * 2f64.powi(-14)),
        _ => Some(sign * (1.0 + fraction) * 2f64.powi(exponent - 15)),
    }
}

/// The same for a bfloat16.
fn brain(bits: u16) -> Option<f64> {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 7 & 255), f64::from(bits & 127) / 128.0);
    match exponent {
        255 => None,
        0 => Some(sign * fraction * 2f64.powi(-126)),
        _ => Some(sign * (1.0 + fraction) * 2f64.powi(exponent - 127)),
    }
}

fn le(patterns: &[u16]) -> Vec<u8> {
    patterns.iter().flat_map(|bits| bits.to_le_bytes()).collect()
}

/// Weights in one of the three forms.
enum Weights {
    F16(PackedGemm<F16>),
    Bf16(PackedGemm<Bf16>),
    Int8(PackedGemm<Int8>),
}

impl Weights {
    fn op(&self, dims: GemmDims) -> Op<'_> {
        match self {
            Self::F16(weights) => Op::GemmF16(dims, weights),
            Self::Bf16(weights) => Op::GemmBf16(dims, weights),
            Self::Int8(weights) => Op::GemmInt8(dims, weights),
        }
    }
}

/// Weights between -1 and 1 in each form, with the numbers that they stand for.
fn weights(random: &mut Random, dims: GemmDims, bias: &[f32]) -> Vec<(&'static str, Weights, Vec<f64>)> {
    let len = dims.in_features * dims.out_features;
    let bias = bytes(bias);
    // Exponents below that of 1, those of subnormal numbers among them.
    let halves: Vec<u16> = (0..len).map(|_| random.below(1 << 16) as u16 & 0xbbff).collect();
    let brains: Vec<u16> = random.values(len).iter().map(|value| (value.to_bits() >> 16) as u16).collect();
    let wholes: Vec<i8> = (0..len).map(|_| random.below(256) as u8 as i8).collect();
    let scales = random.values(dims.out_features);
    let scaled = wholes.chunks(dims.in_features).zip(&scales);
    let scaled = scaled.flat_map(|(row, &scale)| row.iter().map(move |&q| f64::from(q) * f64::from(scale)));
    let numbers =
        |patterns: &[u16], of: fn(u16) -> Option<f64>| patterns.iter().map(|&bits| of(bits).unwrap()).collect();
    let scaled: Vec<f64> = scaled.collect();
    let wholes: Vec<u8> = wholes.iter().map(|&q| q as u8).collect();
    vec![
        ("f16", Weights::F16(PackedGemm::pack(dims, &le(&halves), &bias).unwrap()), numbers(&halves, half)),
        ("bf16", Weights::Bf16(PackedGemm::pack(dims, &le(&brains), &bias).unwrap()), numbers(&brains, brain)),
        ("int8", Weights::Int8(PackedGemm::pack_scaled(dims, &wholes, &bytes(&scales), &bias).unwrap()), scaled),
    ]
}

#[test]
fn small_weights_around_every_tile_and_batch() {
    let mut cases = Vec::new();
    for in_features in [1, 7, 8, 9, 33, 63, 64, 65] {
        for out_features in [1, 3, 4, 5, 7, 11, 12, 13, 25] {
            for batch in [1, 2, 3] {
                cases.push((in_features, out_features, batch));
            }
        }
    }
    // Around the runs of features and the groups of images.
    for in_features in [1023, 1024, 1025, 2049] {
        cases.extend([1, 2, 3].map(|batch| (in_features, 9, batch)));
    }
    cases.extend([15, 16, 17, 33].map(|batch| (20, 13, batch)));
    check_all(cases, |&(in_features, out_features, batch)| {
        let mut random = Random::new(15);
        let input = random.values(in_features * batch);
        let bias = random.values(out_features);
        let magnitudes = |values: &[f64]| values.iter().map(|value| value.abs()).collect::<Vec<_>>();
        let relu = in_features % 2 == out_features % 2;
        {
            let dims = GemmDims { in_features, out_features, relu, batch };
            for (name, weights, numbers) in weights(&mut random, dims, &bias) {
                let largest =
                    reference::gemm(&magnitudes(&double(&input)), &magnitudes(&numbers), &magnitudes(&double(&bias)));
                // A rounding for each product and sum, and one for the scale.
                let bounds: Vec<f64> = largest.iter().map(|bound| bound * (in_features + 2) as f64 * UNIT).collect();
                let mut expected = reference::gemm(&double(&input), &numbers, &double(&bias));
                if relu {
                    expected = reference::relu(&expected);
                }
                for &isa in tiers() {
                    let what = format!("{name} on {}", isa.name());
                    let output = run_with_all_threads(isa, &weights.op(dims), &input);
                    assert_within(&output, &expected, &bounds, &what);
                    let alone = GemmDims { batch: 1, ..dims };
                    for (input, output) in input.chunks(in_features).zip(output.chunks(out_features)) {
                        let single = run(isa, &Threads::single(), &weights.op(alone), input);
                        assert!(same_bits(&single, output), "{what}: an image differs from the same image alone");
                    }
                }
            }
        }
    });
}

#[test]
fn every_finite_number_becomes_f32_without_rounding() {
    for (patterns, of) in [
        ((0..=u16::MAX).filter(|&bits| half(bits).is_some()).collect::<Vec<_>>(), half as fn(u16) -> Option<f64>),
        ((0..=u16::MAX).filter(|&bits| brain(bits).is_some()).collect(), brain),
    ] {
        // Each weight alone reaches one output: the row of eight has one input of 1.
        let dims = GemmDims { in_features: 8, out_features: patterns.len() / 8, relu: false, batch: 8 };
        assert_eq!(patterns.len(), dims.out_features * 8);
        let bias = bytes(&vec![0.0; dims.out_features]);
        let weights = if of(0x3c00) == Some(1.0) {
            Weights::F16(PackedGemm::pack(dims, &le(&patterns), &bias).unwrap())
        } else {
            Weights::Bf16(PackedGemm::pack(dims, &le(&patterns), &bias).unwrap())
        };
        let input: Vec<f32> = (0..64).map(|i| if i / 8 == i % 8 { 1.0 } else { 0.0 }).collect();
        for &isa in tiers() {
            let output = run(isa, &Threads::single(), &weights.op(dims), &input);
            for (index, &bits) in patterns.iter().enumerate() {
                let found = output[index % 8 * dims.out_features + index / 8];
                assert_eq!(Some(f64::from(found)), of(bits), "{bits:#06x} on {}", isa.name());
            }
        }
    }
}

#[test]
fn every_whole_number_is_multiplied_by_the_scale_of_its_row() {
    let dims = GemmDims { in_features: 8, out_features: 32, relu: false, batch: 8 };
    let wholes: Vec<u8> = (0..=u8::MAX).collect();
    let scales: Vec<f32> = (0..32).map(|row| 0.1 + row as f32).collect();
    let weights = PackedGemm::pack_scaled(dims, &wholes, &bytes(&scales), &bytes(&[0.0; 32])).unwrap();
    let input: Vec<f32> = (0..64).map(|i| if i / 8 == i % 8 { 1.0 } else { 0.0 }).collect();
    for &isa in tiers() {
        let output = run(isa, &Threads::single(), &Op::GemmInt8(dims, &weights), &input);
        for (index, &q) in wholes.iter().enumerate() {
            let (row, lane) = (index / 8, index % 8);
            let expected = f32::from(q as i8) * scales[row];
            assert_eq!(output[lane * 32 + row], expected, "{} in row {row} on {}", q as i8, isa.name());
        }
    }
}

#[test]
fn relu_and_nan_are_those_of_all_weights() {
    let dims = GemmDims { in_features: 1, out_features: 1, relu: true, batch: 5 };
    let input = [1.0, -1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let bias = bytes(&[0.0]);
    let all = [
        Weights::F16(PackedGemm::pack(dims, &le(&[0x3c00]), &bias).unwrap()),
        Weights::Bf16(PackedGemm::pack(dims, &le(&[0x3f80]), &bias).unwrap()),
        Weights::Int8(PackedGemm::pack_scaled(dims, &[1], &bytes(&[1.0]), &bias).unwrap()),
    ];
    for weights in &all {
        for &isa in tiers() {
            let found = run_with_all_threads(isa, &weights.op(dims), &input);
            assert_eq!([found[0], found[1], found[3], found[4]], [1.0, 0.0, f32::INFINITY, 0.0], "{}", isa.name());
            assert!(found[2].is_nan(), "NaN was lost on {}", isa.name());
        }
    }
}
