//! Fully connected layers and softmax.

use vgg_runtime::reference;
use vgg_runtime::*;

use super::common::*;

#[test]
fn gemm_around_every_tile_and_batch() {
    let mut cases = Vec::new();
    for in_features in [1, 7, 8, 9, 16, 17, 31, 100] {
        for out_features in [1, 2, 4, 5, 6, 7, 11, 12, 13, 17, 29, 37] {
            for batch in [1, 2, 3, 4, 5] {
                cases.push((in_features, out_features, batch));
            }
        }
    }
    // Around the runs of features and the groups of images.
    for in_features in [1023, 1024, 1025, 2049] {
        for batch in [1, 2, 3] {
            cases.push((in_features, 9, batch));
        }
    }
    cases.extend([15, 16, 17, 33].map(|batch| (20, 13, batch)));
    check_all(cases, |&(in_features, out_features, batch)| {
        let mut random = Random::new(12);
        let input = random.values(in_features * batch);
        let weight = random.values(in_features * out_features);
        let bias = random.values(out_features);
        let magnitudes = |values: &[f32]| values.iter().map(|value| f64::from(value.abs())).collect::<Vec<_>>();
        let bounds: Vec<f64> = reference::gemm(&magnitudes(&input), &magnitudes(&weight), &magnitudes(&bias))
            .iter()
            .map(|bound| bound * (in_features + 1) as f64 * UNIT)
            .collect();
        for relu in [false, true] {
            let dims = GemmDims { in_features, out_features, relu, batch };
            let weights = PackedGemm::pack(dims, &bytes(&weight), &bytes(&bias)).unwrap();
            let mut expected = reference::gemm(&double(&input), &double(&weight), &double(&bias));
            if relu {
                expected = reference::relu(&expected);
            }
            for &isa in tiers() {
                let output = run_with_all_threads(isa, &Op::Gemm(dims, &weights), &input);
                assert_within(&output, &expected, &bounds, isa.name());
                let alone = GemmDims { batch: 1, ..dims };
                for (input, output) in input.chunks(in_features).zip(output.chunks(out_features)) {
                    let single = run(isa, &Threads::single(), &Op::Gemm(alone, &weights), input);
                    assert!(same_bits(&single, output), "an image differs from the same image alone on {}", isa.name());
                }
            }
        }
    });
}

#[test]
fn softmax_of_small_and_large_values() {
    let cases = [1, 2, 7, 1000].into_iter().flat_map(|features| [0.1f32, 10.0, 1e4].map(|scale| (features, scale)));
    check_all(cases, |&(features, scale)| {
        let values: Vec<f32> = Random::new(13).values(features * 3).iter().map(|value| value * scale).collect();
        let expected = reference::softmax(&double(&values), features);
        // Two roundings, to f32 and of the quotient; results below the normal range of f32 lose more.
        let bounds: Vec<f64> = expected.iter().map(|y| y * 3.0 * UNIT + 1e-44).collect();
        for &isa in tiers() {
            let op = Op::Softmax(SoftmaxDims { features, batch: 3 });
            assert_within(&run_with_all_threads(isa, &op, &values), &expected, &bounds, isa.name());
        }
    });
}

#[test]
fn log_softmax_of_small_and_large_values() {
    let cases = [1, 2, 7, 1000].into_iter().flat_map(|features| [0.1f32, 10.0, 1e4].map(|scale| (features, scale)));
    check_all(cases, |&(features, scale)| {
        let values: Vec<f32> = Random::new(14).values(features * 3).iter().map(|value| value * scale).collect();
        let expected = reference::log_softmax(&double(&values), features);
        let bounds: Vec<f64> = expected.iter().map(|y| y.abs() * 2.0 * UNIT + 1e-14).collect();
        for &isa in tiers() {
            let op = Op::LogSoftmax(SoftmaxDims { features, batch: 3 });
            assert_within(&run_with_all_threads(isa, &op, &values), &expected, &bounds, isa.name());
        }
    });
}
