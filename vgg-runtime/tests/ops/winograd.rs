//! Winograd's algorithm: the edges of its tiles, chunks and matrices, and its error against f64.

use vgg_runtime::reference::{self, Conv};
use vgg_runtime::*;

use super::common::*;
use super::conv::{BASE, Case, window};

const WINOGRAD: [Algorithm; 2] = [Algorithm::WinogradF4, Algorithm::WinogradF6];

#[test]
fn sizes_around_every_tile() {
    let pads = [[1; 4], [0; 4], [2, 0, 1, 2]];
    let square = (1..=20).chain([33]).map(|size| [size, size]);
    let sizes = square.chain([[28, 31], [1, 9], [13, 2], [6, 25], [31, 4]]);
    let cases = sizes.flat_map(|size| {
        pads.into_iter().flat_map(move |pads| {
            [None, Some(window(2, 2, 0, false)), Some(window(2, 2, 0, true))].map(move |pool| Case {
                size,
                pads,
                pool,
                channels: [8, 16],
                ..BASE
            })
        })
    });
    check_all(cases.filter(Case::exists), Case::check);
}

#[test]
fn larger_kernels_around_every_tile() {
    let pads = [[2; 4], [0; 4], [3, 0, 1, 2]];
    let square = (1..=14).map(|size| [size, size]);
    let sizes: Vec<_> = square.chain([[27, 17], [5, 9], [13, 6], [25, 7]]).collect();
    let cases = [1, 2].into_iter().flat_map(|stride| {
        let sizes = &sizes;
        pads.into_iter().flat_map(move |pads| {
            sizes.iter().flat_map(move |&size| {
                [None, Some(window(2, 2, 0, false)), Some(window(3, 2, 0, true))].map(move |pool| Case {
                    size,
                    pads,
                    pool,
                    kernel: [5, 5],
                    strides: [stride; 2],
                    halo: [3; 4],
                    channels: [9, 16],
                    ..BASE
                })
            })
        })
    });
    check_all(cases.filter(Case::exists), Case::check);
}

#[test]
fn larger_kernels_in_several_chunks_and_images() {
    let mut cases = Vec::new();
    for stride in [1, 2] {
        for (channels, size, batch) in
            [([96, 24], [30, 70], 1), ([264, 20], [26, 30], 1), ([16, 72], [11, 9], 3), ([96, 300], [13, 27], 2)]
        {
            for pool in [None, Some(window(3, 2, 0, true))] {
                let pads = [2; 4];
                let (kernel, strides) = ([5, 5], [stride; 2]);
                cases.push(Case { channels, size, batch, pool, pads, kernel, strides, halo: [2; 4], ..BASE });
            }
        }
    }
    check_all(cases, Case::check);
}

#[test]
fn channels_around_every_block_and_panel() {
    let counts = [1, 7, 8, 9, 15, 16, 17, 24, 33, 64, 65];
    let cases = counts
        .iter()
        .flat_map(|&input| counts.iter().map(move |&output| Case { channels: [input, output], size: [7, 9], ..BASE }));
    check_all(cases, Case::check);
}

#[test]
fn pools_that_do_not_fall_on_tiles() {
    let windows = [
        window(3, 2, 0, true),
        window(3, 3, 0, false),
        window(2, 2, 1, true),
        window(3, 1, 1, false),
        window(2, 1, 0, false),
        PoolWindow { kernel: [2, 3], strides: [3, 1], pads: [1, 0, 0, 2], ceil_mode: true },
    ];
    let cases = windows.into_iter().flat_map(|pool| {
        [13, 17, 28].into_iter().flat_map(move |height| {
            [5, 13].map(move |width| Case { pool: Some(pool), size: [height, width], channels: [9, 24], ..BASE })
        })
    });
    check_all(cases.filter(Case::exists), Case::check);
}

#[test]
fn images_of_several_chunks() {
    let mut cases = Vec::new();
    let pools = [None, Some(window(2, 2, 0, false)), Some(window(3, 2, 0, true))];
    for pool in pools {
        for (channels, size) in [([64, 24], [30, 70]), ([264, 20], [26, 30]), ([96, 9], [8, 230])] {
            cases.push(Case { channels, size, pool, ..BASE });
        }
    }
    check_all(cases, Case::check);
}

#[test]
fn weights_that_are_read_once() {
    let mut cases = Vec::new();
    for pool in [None, Some(window(2, 2, 0, false)), Some(window(3, 2, 0, true))] {
        for (size, batch) in [([9, 14], 1), ([13, 13], 3), ([50, 40], 1)] {
            cases.push(Case { channels: [300, 280], size, batch, pool, ..BASE });
        }
    }
    check_all(cases, Case::check);
}

#[test]
fn batches_share_chunks() {
    let cases = [2, 3, 7].into_iter().flat_map(|batch| {
        [None, Some(window(2, 2, 0, false)), Some(window(3, 2, 1, true))].map(|pool| Case {
            batch,
            pool,
            size: [9, 11],
            channels: [16, 72],
            ..BASE
        })
    });
    check_all(cases, Case::check);
}

/// The published networks' depth of 64 to 512 channels, inputs as ReLU leaves them, weights of the usual variance.
#[test]
fn the_normwise_error_against_f64_is_bounded() {
    let cases = [
        (64, [30, 26], 3, 1),
        (128, [28, 14], 3, 1),
        (256, [14, 28], 3, 1),
        (512, [14, 14], 3, 1),
        (64, [27, 27], 5, 1),
        (96, [33, 33], 5, 1),
        (96, [54, 54], 5, 2),
    ];
    for (channels, size, kernel, stride) in cases {
        let (strides, pads) = ([stride; 2], [kernel / 2; 4]);
        let attributes = Conv { strides, pads, ..Conv::new(24, [kernel; 2]) };
        let case = Case { channels: [channels, 24], size, kernel: [kernel; 2], strides, pads, relu: false, ..BASE };
        let mut random = Random::new(channels as u64);
        let shape = nchw(case.layer(Algorithm::Direct).input, 1);
        // Sums of three uniform numbers are close to normal.
        let mut normal = |len: usize| -> Vec<f32> {
            let values = [(); 3].map(|()| random.values(len));
            (0..len).map(|index| values[0][index] + values[1][index] + values[2][index]).collect()
        };
        let input: Vec<f32> = normal(shape.len()).into_iter().map(|value| value.max(0.0)).collect();
        let taps = kernel * kernel * channels;
        let scale = (2.0 / taps as f32).sqrt();
        let weight: Vec<f32> = normal(24 * taps).into_iter().map(|value| value * scale).collect();
        let bias = vec![0.1; 24];
        let expected = reference::conv(&double(&input), shape, &double(&weight), &double(&bias), attributes);
        let bounds: &[(Algorithm, f64)] = match (kernel, stride) {
            (5, 1) => &[(Algorithm::WinogradF4, 1e-5)],
            _ => &[(Algorithm::WinogradF4, 5e-6), (Algorithm::WinogradF6, 1e-5)],
        };
        for &(algorithm, bound) in bounds {
            let dims = case.layer(algorithm);
            let weights = PackedConv::pack(dims, &bytes(&weight), &bytes(&bias)).unwrap();
            for &isa in tiers() {
                let output = run(isa, &Threads::single(), &Op::Conv(dims, &weights), &block(dims.input, 1, &input));
                let output = unblock(dims.output, 1, &output);
                let square = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
                let error = square(&mut output.iter().zip(&expected).map(|(y, e)| f64::from(*y) - e));
                let normwise = (error / square(&mut expected.iter().copied())).sqrt();
                let what = format!("{algorithm:?}, {kernel}x{kernel}/{stride}, {channels} channels on {}", isa.name());
                println!("{what}: normwise error {normwise:.2e}");
                assert!(normwise <= bound, "{what}: {normwise:e}");
            }
        }
    }
}

#[test]
fn weights_of_another_transform_are_refused() {
    let case = Case { size: [5, 5], ..BASE };
    let weight = bytes(&vec![0.0; 16 * 8 * 9]);
    let all = [Algorithm::Direct, Algorithm::WinogradF4, Algorithm::WinogradF6];
    for packed in all {
        let weights = PackedConv::pack(case.layer(packed), &weight, &bytes(&[0.0; 16])).unwrap();
        for used in all {
            let dims = case.layer(used);
            let input = vec![0.0; dims.input.len()];
            let result = std::panic::catch_unwind(|| {
                run(Isa::Portable, &Threads::single(), &Op::Conv(dims, &weights), &input);
            });
            assert_eq!(result.is_ok(), packed == used, "weights of {packed:?} for {used:?}");
        }
    }
}

#[test]
fn a_convolution_without_such_tiles_is_refused() {
    let layer = BASE.layer(Algorithm::WinogradF4);
    for dims in [
        ConvDims { kernel: [7, 7], pads: [3; 4], input: Blocked { halo: [3; 4], ..layer.input }, ..layer },
        ConvDims {
            kernel: [5, 5],
            pads: [2; 4],
            input: Blocked { halo: [2; 4], ..layer.input },
            algorithm: Algorithm::WinogradF6,
            ..layer
        },
        ConvDims { strides: [2, 2], output: Blocked { height: 3, width: 4, ..layer.output }, ..layer },
        ConvDims { input: Blocked { block: 1, ..layer.input }, ..layer },
    ] {
        assert!(std::panic::catch_unwind(|| dims.check()).is_err(), "{dims:?}");
        ConvDims { algorithm: Algorithm::Direct, ..dims }.check();
    }
}

#[test]
fn nan_and_infinities_stay_in_the_tiles_that_read_them() {
    let case = Case { size: [24, 24], channels: [9, 20], relu: false, ..BASE };
    let mut random = Random::new(5);
    let weight = bytes(&random.values(20 * 9 * 9));
    let bias = bytes(&random.values(20));
    for algorithm in WINOGRAD {
        let dims = case.layer(algorithm);
        let weights = PackedConv::pack(dims, &weight, &bias).unwrap();
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let clean = random.values(9 * 24 * 24);
            let mut dirty = clean.clone();
            dirty[3 * 24 * 24 + 12 * 24 + 12] = value;
            for &isa in tiers() {
                let [clean, dirty] = [&clean, &dirty].map(|input| {
                    let output = run_with_all_threads(isa, &Op::Conv(dims, &weights), &block(dims.input, 1, input));
                    unblock(dims.output, 1, &output)
                });
                for (index, (clean, dirty)) in clean.iter().zip(&dirty).enumerate() {
                    let (y, x) = (index / 24 % 24, index % 24);
                    if (11..=13).contains(&y) && (11..=13).contains(&x) {
                        assert!(!dirty.is_finite(), "{algorithm:?}: {value} was lost at {y}, {x}");
                    }
                    if !(6..18).contains(&y) || !(6..18).contains(&x) {
                        assert_eq!(clean.to_bits(), dirty.to_bits(), "{algorithm:?}: {value} reached {y}, {x}");
                    }
                }
            }
        }
    }
}

/// Large weights are transformed as the first inference goes, packed by the second, and read by the third.
#[test]
fn weights_that_are_packed_later_give_the_same_bits() {
    // More than 6 MB transformed, so that they wait; some channels fill no block; the last block has one panel.
    let shapes = [([200, 272], [3, 1]), ([195, 272], [3, 1]), ([130, 208], [5, 1]), ([72, 144], [5, 2])];
    for (channels, [kernel, stride]) in shapes {
        let (size, pads, strides) = ([13, 11], [kernel / 2; 4], [stride; 2]);
        let case = Case { channels, size, kernel: [kernel; 2], strides, pads, halo: [3; 4], ..BASE };
        let algorithms: &[Algorithm] = match (kernel, stride) {
            (3, 1) => &WINOGRAD,
            (5, 1) => &WINOGRAD[..1],
            _ => &WINOGRAD[1..],
        };
        let mut random = Random::new(9);
        let weight = bytes(&random.values(channels[0] * channels[1] * kernel * kernel));
        let bias = bytes(&random.values(channels[1]));
        for &algorithm in algorithms {
            let dims = case.layer(algorithm);
            let input = block(dims.input, 1, &random.values(channels[0] * size[0] * size[1]));
            let packed = PackedConv::pack(dims, &weight, &bias).unwrap();
            for &isa in tiers() {
                let expected = run(isa, &Threads::single(), &Op::Conv(dims, &packed), &input);
                for threads in 1..=3 {
                    let shared = PackedConv::share(dims, &SharedBytes::new(weight.clone()), &bias).unwrap();
                    for inference in 1..=3 {
                        let output = run(isa, &Threads::new(threads), &Op::Conv(dims, &shared), &input);
                        let same = output.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
                        assert!(same, "{dims:?}: inference {inference}, {threads} threads on {}", isa.name());
                    }
                }
                // Several images: at once.
                let shared = PackedConv::share(dims, &SharedBytes::new(weight.clone()), &bias).unwrap();
                let twice = ConvDims { batch: 2, ..dims };
                let output = run(isa, &Threads::new(2), &Op::Conv(twice, &shared), &[&input[..], &input].concat());
                assert!(output.chunks(expected.len()).all(|output| output == expected), "{twice:?}");
            }
        }
    }
}

#[test]
fn weights_that_are_packed_later_are_checked_at_once() {
    let dims = Case { channels: [200, 272], size: [13, 11], ..BASE }.layer(Algorithm::WinogradF6);
    let mut weight = vec![1.0; 200 * 272 * 9];
    weight[4321] = f32::NAN;
    let error = PackedConv::share(dims, &SharedBytes::new(bytes(&weight)), &bytes(&[0.0; 272])).unwrap_err();
    assert!(error.to_string().contains("the weight holds NaN at index 4321"), "{error}");
    let error = PackedConv::share(dims, &SharedBytes::new(vec![0; 12]), &bytes(&[0.0; 272])).unwrap_err();
    assert!(error.to_string().contains("12 bytes where"), "{error}");
}
