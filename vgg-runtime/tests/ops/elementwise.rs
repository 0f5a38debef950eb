//! Functions of single numbers, batch normalisation, sums and products, and joined channels.

use vgg_runtime::reference::{self, Nchw};
use vgg_runtime::*;

use super::common::*;

const FUNCTIONS: [Activation; 6] = [
    Activation::Relu,
    Activation::Clip { min: 0.0, max: 6.0 },
    Activation::Clip { min: 0.25, max: f32::INFINITY },
    Activation::LeakyRelu { alpha: 0.1 },
    Activation::LeakyRelu { alpha: -3.0 },
    Activation::Sigmoid,
];

fn image(shape: Nchw, halo: [usize; 4]) -> Blocked {
    Blocked { channels: shape.channels, height: shape.height, width: shape.width, block: BLOCK, halo }
}

fn vector(features: usize) -> Blocked {
    Blocked { channels: 1, height: 1, width: features, block: 1, halo: [0; 4] }
}

fn pixel(features: usize) -> Blocked {
    Blocked { channels: features, height: 1, width: 1, block: 1, halo: [0; 4] }
}

/// Images with every remainder of channels, and rows of some lengths.
fn shapes() -> impl Iterator<Item = Nchw> {
    let channels = [1, 7, 8, 9, 20].into_iter();
    channels.flat_map(|channels| [1, 2, 5].map(|width| Nchw { batch: 2, channels, height: 3, width }))
}

fn activated(function: Activation, values: &[f32]) -> Vec<f32> {
    match function {
        Activation::Relu => reference::relu(values),
        Activation::Clip { min, max } => reference::clip(values, f64::from(min), f64::from(max)),
        Activation::LeakyRelu { alpha } => reference::leaky_relu(values, f64::from(alpha)),
        Activation::Sigmoid => reference::sigmoid(&double(values)).iter().map(|&y| y as f32).collect(),
    }
}

#[test]
fn activations_are_exact_on_feature_maps_and_vectors() {
    check_all(shapes(), |&shape| {
        let (input, output) = (image(shape, [0, 1, 2, 0]), image(shape, [1, 1, 0, 3]));
        let values: Vec<f32> = Random::new(6).values(shape.len()).iter().map(|value| value * 9.0).collect();
        for function in FUNCTIONS {
            let expected = activated(function, &values);
            for &isa in tiers() {
                let op = Op::Activation(ActivationDims { input, output, function, batch: 2 });
                let found = run_with_all_threads(isa, &op, &block(input, 2, &values));
                assert!(same_bits(&unblock(output, 2, &found), &expected), "{function:?} of maps, {}", isa.name());
                let row = vector(shape.features());
                let op = Op::Activation(ActivationDims { input: row, output: row, function, batch: 2 });
                let found = run_with_all_threads(isa, &op, &values);
                assert!(same_bits(&found, &expected), "{function:?} of vectors, {}", isa.name());
            }
        }
    });
}

#[test]
fn sums_and_products_are_exact() {
    check_all(shapes(), |&shape| {
        let (first, second, output) = (image(shape, [0, 1, 2, 0]), image(shape, [3, 0, 0, 1]), image(shape, [1; 4]));
        let mut random = Random::new(8);
        let (left, right) = (random.values(shape.len()), random.values(shape.len()));
        for (operation, relu) in
            [Combination::Add, Combination::Mul].into_iter().flat_map(|op| [(op, false), (op, true)])
        {
            let mut expected = match operation {
                Combination::Add => reference::add(&left, &right),
                Combination::Mul => reference::mul(&left, &right),
            };
            if relu {
                expected = reference::relu(&expected);
            }
            for &isa in tiers() {
                let op = Op::Combine(CombineDims { inputs: [first, second], output, operation, relu, batch: 2 });
                let input = [block(first, 2, &left), block(second, 2, &right)].concat();
                let found = run_with_all_threads(isa, &op, &input);
                assert!(same_bits(&unblock(output, 2, &found), &expected), "{operation:?} of maps, {}", isa.name());
                let row = vector(shape.features());
                let op = Op::Combine(CombineDims { inputs: [row; 2], output: row, operation, relu, batch: 2 });
                let found = run_with_all_threads(isa, &op, &[&left[..], &right].concat());
                assert!(same_bits(&found, &expected), "{operation:?} of vectors, {}", isa.name());
            }
        }
    });
}

#[test]
fn batch_normalisation_on_feature_maps_and_vectors() {
    check_all(shapes().chain([Nchw { batch: 2, channels: 33, height: 1, width: 1 }]), |&shape| {
        let mut random = Random::new(2);
        let values = random.values(shape.len());
        let [scale, shift, mean] = [(); 3].map(|()| random.values(shape.channels));
        let variance: Vec<f32> = random.values(shape.channels).iter().map(|x| x.abs() + 0.1).collect();
        let epsilon = 1e-3;
        let [scales, shifts, means, variances] = [&scale, &shift, &mean, &variance].map(|values| double(values));
        let expected = reference::batch_normalization(
            &double(&values),
            shape,
            &scales,
            &shifts,
            &means,
            &variances,
            f64::from(epsilon),
        );
        // Factor, summand, product and sum round once each; none is larger than 8.
        let bounds = vec![8.0 * 4.0 * UNIT; expected.len()];
        let same_on_all = |input: Blocked, output: Blocked, values: &[f32], relu: bool| {
            let dims = AffineDims { input, output, epsilon, relu, batch: 2 };
            let [scale, shift, mean, variance] = [&scale, &shift, &mean, &variance].map(|values| bytes(values));
            let weights = PackedAffine::pack(dims, &scale, &shift, &mean, &variance).unwrap();
            let run = |isa: &Isa| run_with_all_threads(*isa, &Op::Affine(dims, &weights), &block(input, 2, values));
            let outputs: Vec<Vec<f32>> = tiers().iter().map(run).collect();
            assert!(outputs.iter().all(|output| same_bits(output, &outputs[0])), "two tiers differ");
            unblock(output, 2, &outputs[0])
        };
        let plain = same_on_all(image(shape, [0, 1, 2, 0]), image(shape, [1; 4]), &values, false);
        assert_within(&plain, &expected, &bounds, "maps");
        let rectified = same_on_all(image(shape, [0; 4]), image(shape, [0, 0, 1, 0]), &values, true);
        assert!(same_bits(&rectified, &reference::relu(&plain)), "relu");
        if shape.height * shape.width == 1 {
            let row = pixel(shape.channels);
            assert!(same_bits(&same_on_all(row, row, &values, false), &plain), "vectors");
        }
    });
}

#[test]
fn statistics_that_give_no_number_are_refused() {
    let dims = AffineDims { input: pixel(3), output: pixel(3), epsilon: 0.0, relu: false, batch: 1 };
    let pack = |scale: [f32; 3], mean: [f32; 3], variance: [f32; 3]| {
        let result = PackedAffine::pack(dims, &bytes(&scale), &bytes(&[0.0; 3]), &bytes(&mean), &bytes(&variance));
        result.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(pack([1.0; 3], [1.0; 3], [4.0; 3]), Ok(()));
    let error = pack([1.0, 1.0, f32::NAN], [0.0; 3], [1.0; 3]).unwrap_err();
    assert!(error.contains("the scale") && error.contains("index 2"), "{error}");
    for variance in [0.0, -1.0] {
        let error = pack([1.0; 3], [0.0; 3], [1.0, variance, 1.0]).unwrap_err();
        assert!(error.contains("scale and variance") && error.contains("index 1"), "{error}");
    }
    let error = pack([1e30; 3], [1e30; 3], [1.0; 3]).unwrap_err();
    assert!(error.contains("shift and mean") && error.contains("index 0"), "{error}");
    assert!(PackedAffine::pack(dims, &[0; 8], &[0; 12], &[0; 12], &[0; 12]).is_err());
}

#[test]
fn channels_are_joined_in_any_numbers() {
    let counts = [1, 3, 7, 8, 9, 16, 17];
    let mut cases: Vec<Vec<usize>> = counts.map(|count| vec![count]).to_vec();
    cases.extend(counts.iter().flat_map(|&a| counts.map(|b| vec![a, b])));
    cases.extend([vec![1; 11], vec![3, 4, 1, 8, 2], vec![8, 8, 5, 3], vec![2, 6, 8], vec![5, 20, 7]]);
    check_all(cases, |counts| {
        let total = counts.iter().sum();
        let batch = 2;
        let joined = |height, width, block, halo, halos: [[usize; 4]; 2]| {
            let mut random = Random::new(4);
            let output = Blocked { channels: total, height, width, block, halo };
            let (mut operands, mut plain, mut blocked, mut first) = (Vec::new(), Vec::new(), Vec::new(), 0);
            for (index, &channels) in counts.iter().enumerate() {
                let input = Blocked { channels, height, width, block, halo: halos[index % 2] };
                let values = random.values(nchw(input, batch).len());
                blocked.extend(super::common::block(input, batch, &values));
                plain.push((values, channels * height * width));
                operands.push(ConcatDims { input, output, first, batch });
                first += channels;
            }
            let plain: Vec<(&[f32], usize)> = plain.iter().map(|(values, len)| (&values[..], *len)).collect();
            let expected = reference::concat(&plain, batch);
            for &isa in tiers() {
                let found = run_with_all_threads(isa, &Op::Concat(&operands), &blocked);
                assert!(same_bits(&unblock(output, batch, &found), &expected), "block {block} on {}", isa.name());
            }
        };
        joined(3, 4, BLOCK, [1, 0, 2, 1], [[0; 4], [1, 2, 0, 1]]);
        joined(1, 1, 1, [0; 4], [[0; 4]; 2]);
    });
}

#[test]
fn shapes_that_do_not_fit_panic() {
    let small = image(Nchw { batch: 1, channels: 9, height: 2, width: 2 }, [0; 4]);
    let other = Blocked { channels: 10, ..small };
    fn panics<T>(check: impl FnOnce() -> T + std::panic::UnwindSafe) -> bool {
        std::panic::catch_unwind(check).is_err()
    }
    let activation = |input, output| ActivationDims { input, output, function: Activation::Sigmoid, batch: 1 };
    assert!(!panics(|| activation(small, small).check()));
    assert!(panics(|| activation(small, other).check()));
    assert!(panics(|| activation(small, Blocked { block: 1, ..small }).check()));
    let combine = |inputs| CombineDims { inputs, output: small, operation: Combination::Add, relu: false, batch: 1 };
    assert!(!panics(|| combine([small; 2]).check()));
    assert!(panics(|| combine([small, other]).check()));
    let concat = |input, first| ConcatDims { input, output: other, first, batch: 1 };
    assert!(!panics(|| concat(small, 1).check()));
    assert!(panics(|| concat(small, 2).check()));
    assert!(panics(|| concat(Blocked { width: 1, ..small }, 0).check()));
    let run = |input: Vec<f32>| {
        let op = Op::Activation(activation(small, small));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(Isa::Portable, &Threads::single(), &op, &input)))
            .is_err()
    };
    assert!(!run(vec![0.0; small.len()]) && run(vec![0.0; small.len() - 1]));
}
