//! NaN, infinities, signed zeroes and denormals: the same on every tier.

use vgg_runtime::*;

use super::common::*;

const DENORMAL: f32 = f32::MIN_POSITIVE / 1024.0;

const SPECIAL: [f32; 11] =
    [0.0, -0.0, 1.5, -1.5, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, DENORMAL, -DENORMAL, f32::MAX, f32::MIN];

fn dense(channels: usize, height: usize, width: usize) -> Blocked {
    Blocked { channels, height, width, block: BLOCK, halo: [0; 4] }
}

/// Runs `op` on every tier and gives the plain output, which must have the same bits everywhere.
fn same_everywhere(op: &Op<'_>, input: &[f32]) -> Vec<f32> {
    let outputs: Vec<_> = tiers().iter().map(|&isa| run_with_all_threads(isa, op, input)).collect();
    for output in &outputs[1..] {
        assert!(same_bits(output, &outputs[0]), "two tiers differ");
    }
    outputs[0].clone()
}

/// What `function` makes of the special values as feature maps, which must be the same as of a vector.
fn activated(function: Activation) -> Vec<f32> {
    let (image, vector) = (dense(11, 1, 1), Blocked { block: 1, ..dense(1, 1, 11) });
    let op = |image| Op::Activation(ActivationDims { input: image, output: image, function, batch: 1 });
    let flat = same_everywhere(&op(vector), &SPECIAL);
    let blocked = unblock(image, 1, &same_everywhere(&op(image), &block(image, 1, &SPECIAL)));
    assert!(same_bits(&flat, &blocked), "{function:?}");
    flat
}

#[test]
fn relu_passes_nan_and_negative_zero_through() {
    for (y, x) in activated(Activation::Relu).iter().zip(SPECIAL) {
        let expected = if 0.0 > x { 0.0 } else { x };
        assert_eq!(y.to_bits(), expected.to_bits(), "relu({x:?})");
    }
}

#[test]
fn other_activations_of_special_values() {
    let nan = f32::NAN;
    let is = |found: Vec<f32>, expected: [f32; 11]| {
        for ((y, expected), x) in found.iter().zip(expected).zip(SPECIAL) {
            assert!(y.to_bits() == expected.to_bits() || y.is_nan() && expected.is_nan(), "{x:?} became {y:?}");
        }
    };
    is(
        activated(Activation::Clip { min: 0.0, max: 6.0 }),
        [0.0, -0.0, 1.5, 0.0, 6.0, 0.0, nan, DENORMAL, 0.0, 6.0, 0.0],
    );
    is(activated(Activation::Clip { min: f32::NEG_INFINITY, max: f32::INFINITY }), SPECIAL);
    // The upper bound has the last word.
    is(activated(Activation::Clip { min: 2.0, max: 1.0 }), [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, nan, 1.0, 1.0, 1.0, 1.0]);
    is(
        activated(Activation::LeakyRelu { alpha: 0.5 }),
        [
            0.0,
            -0.0,
            1.5,
            -0.75,
            f32::INFINITY,
            f32::NEG_INFINITY,
            nan,
            DENORMAL,
            -DENORMAL / 2.0,
            f32::MAX,
            f32::MIN / 2.0,
        ],
    );
    let (up, down) = (0.817_574_5, 0.182_425_53);
    is(activated(Activation::Sigmoid), [0.5, 0.5, up, down, 1.0, 0.0, nan, 0.5, 0.5, 1.0, 0.0]);
}

#[test]
fn sums_and_products_of_special_values() {
    let vector = Blocked { block: 1, ..dense(1, 1, 121) };
    let pairs = SPECIAL.iter().flat_map(|&x| SPECIAL.map(|y| (x, y)));
    let (left, right): (Vec<f32>, Vec<f32>) = pairs.unzip();
    let input = [&left[..], &right].concat();
    for (operation, relu) in [(Combination::Add, false), (Combination::Mul, false), (Combination::Add, true)] {
        let dims = CombineDims { inputs: [vector; 2], output: vector, operation, relu, batch: 1 };
        let outputs: Vec<_> =
            tiers().iter().map(|&isa| run_with_all_threads(isa, &Op::Combine(dims), &input)).collect();
        for output in &outputs {
            for ((&y, &a), &b) in output.iter().zip(&left).zip(&right) {
                let expected = if operation == Combination::Add { a + b } else { a * b };
                let expected = if relu && 0.0 > expected { 0.0 } else { expected };
                // Which of two NaN comes out is not said.
                assert!(
                    y.to_bits() == expected.to_bits() || y.is_nan() && expected.is_nan(),
                    "{a} {operation:?} {b} is {y}"
                );
            }
        }
    }
}

#[test]
fn nan_stays_in_its_group() {
    let (input, output) = (Blocked { halo: [1; 4], ..dense(12, 5, 5) }, dense(12, 5, 5));
    let dims = |groups, algorithm| GroupedConvDims {
        input,
        output,
        kernel: [3, 3],
        strides: [1, 1],
        pads: [1; 4],
        dilations: [1, 1],
        groups,
        relu: true,
        pool: None,
        algorithm,
        batch: 1,
    };
    for (groups, algorithm) in
        [(12, GroupedAlgorithm::Depthwise), (12, GroupedAlgorithm::General), (3, GroupedAlgorithm::General)]
    {
        let dims = dims(groups, algorithm);
        let mut random = Random::new(5);
        let weight = bytes(&random.values(12 * 12 / groups * 9));
        let weights = PackedGroupedConv::pack(dims, &weight, &bytes(&random.values(12))).unwrap();
        let mut values = random.values(input.channels * 25);
        values[6 * 25 + 12] = f32::NAN;
        for &isa in tiers() {
            let found = run_with_all_threads(isa, &Op::GroupedConv(dims, &weights), &block(input, 1, &values));
            for (index, y) in unblock(output, 1, &found).iter().enumerate() {
                let (channel, i, j) = (index / 25, index / 5 % 5, index % 5);
                let own = channel / (12 / groups) == 6 / (12 / groups);
                let covered = own && i.abs_diff(2) <= 1 && j.abs_diff(2) <= 1;
                assert_eq!(y.is_nan(), covered, "channel {channel} at ({i}, {j}) is {y} in {groups} groups");
            }
        }
    }
}

#[test]
fn fused_relu_is_the_same_function() {
    let (input, output) = (dense(1, 1, 11), dense(1, 1, 11));
    let dims = ConvDims {
        input,
        output,
        kernel: [1, 1],
        strides: [1, 1],
        pads: [0; 4],
        relu: true,
        pool: None,
        algorithm: Algorithm::Gemm,
        batch: 1,
    };
    // A bias of -0.0 leaves every product as it is.
    let weights = PackedConv::pack(dims, &bytes(&[1.0]), &bytes(&[-0.0])).unwrap();
    let found = same_everywhere(&Op::Conv(dims, &weights), &block(input, 1, &SPECIAL));
    let found = unblock(output, 1, &found);
    for (y, x) in found.iter().zip(SPECIAL) {
        // The seven zero channels of the block add 0.0, which turns -0.0 into 0.0.
        let expected = if x == 0.0 || 0.0 > x { 0.0 } else { x };
        assert!(y.to_bits() == expected.to_bits() || y.is_nan() && x.is_nan(), "{x:?} became {y:?}");
    }
    let gemm = GemmDims { in_features: 1, out_features: 1, relu: true, batch: 11 };
    let weights = PackedGemm::pack(gemm, &bytes(&[1.0]), &bytes(&[0.0])).unwrap();
    let found = same_everywhere(&Op::Gemm(gemm, &weights), &SPECIAL);
    for (y, x) in found.iter().zip(SPECIAL) {
        let expected = if x == 0.0 || 0.0 > x { 0.0 } else { x };
        assert!(y.to_bits() == expected.to_bits() || y.is_nan() && x.is_nan(), "{x:?} became {y:?}");
    }
}

#[test]
fn a_pool_keeps_nan_wherever_it_stands() {
    let window = PoolWindow { kernel: [3, 3], strides: [3, 3], pads: [0; 4], ceil_mode: false };
    let (input, output) = (dense(8, 3, 3), dense(8, 1, 1));
    for position in 0..9 {
        for other in SPECIAL {
            let mut values = vec![other; 72];
            values[position] = f32::NAN;
            let values = block(input, 1, &values);
            let max = same_everywhere(&Op::MaxPool(MaxPoolDims { input, output, window, batch: 1 }), &values);
            let average = AveragePoolDims { input, output, window, count_include_pad: false, batch: 1 };
            let average = same_everywhere(&Op::AveragePool(average), &values);
            assert!(max[0].is_nan() && average[0].is_nan(), "NaN at {position} among {other} was lost");
            assert_eq!(max[1].is_nan(), other.is_nan(), "NaN at {position} among {other} spread");
        }
    }
}

#[test]
fn of_two_zeroes_a_pool_takes_the_later() {
    let window = PoolWindow { kernel: [1, 2], strides: [1, 2], pads: [0; 4], ceil_mode: false };
    let (input, output) = (dense(1, 1, 4), dense(1, 1, 2));
    let op = Op::MaxPool(MaxPoolDims { input, output, window, batch: 1 });
    let found = unblock(output, 1, &same_everywhere(&op, &block(input, 1, &[0.0, -0.0, -0.0, 0.0])));
    assert!(same_bits(&found, &[-0.0, 0.0]), "{found:?}");
}

#[test]
fn padding_never_wins_a_maximum() {
    let window = PoolWindow { kernel: [3, 3], strides: [2, 2], pads: [1; 4], ceil_mode: true };
    let (input, output) = (dense(1, 4, 4), dense(1, 3, 3));
    for value in [-1.0, f32::MIN, f32::NEG_INFINITY, -DENORMAL] {
        let op = Op::MaxPool(MaxPoolDims { input, output, window, batch: 1 });
        let found = same_everywhere(&op, &block(input, 1, &[value; 16]));
        assert_eq!(unblock(output, 1, &found), [value; 9]);
    }
}

#[test]
fn nan_reaches_exactly_the_pixels_whose_kernel_covers_it() {
    let input = Blocked { halo: [1; 4], ..dense(3, 7, 14) };
    let output = dense(20, 7, 14);
    let dims = ConvDims {
        input,
        output,
        kernel: [3, 3],
        strides: [1, 1],
        pads: [1; 4],
        relu: true,
        pool: None,
        algorithm: Algorithm::Direct,
        batch: 1,
    };
    let mut random = Random::new(21);
    let weights = PackedConv::pack(dims, &bytes(&random.values(20 * 3 * 9)), &bytes(&random.values(20))).unwrap();
    for (y, x) in [(0, 0), (3, 5), (6, 13), (2, 6)] {
        let mut values = random.values(3 * 7 * 14);
        values[7 * 14 + y * 14 + x] = f32::NAN;
        for &isa in tiers() {
            let found = run_with_all_threads(isa, &Op::Conv(dims, &weights), &block(input, 1, &values));
            for (index, value) in unblock(output, 1, &found).iter().enumerate() {
                let (i, j) = (index / 14 % 7, index % 14);
                let covered = i.abs_diff(y) <= 1 && j.abs_diff(x) <= 1;
                assert_eq!(
                    value.is_nan(),
                    covered,
                    "NaN at ({y}, {x}), output ({i}, {j}) is {value} on {}",
                    isa.name()
                );
            }
        }
    }
}

#[test]
fn infinite_and_denormal_inputs_of_a_convolution() {
    let input = Blocked { halo: [1; 4], ..dense(1, 3, 3) };
    let output = dense(1, 3, 3);
    let dims = ConvDims {
        input,
        output,
        kernel: [3, 3],
        strides: [1, 1],
        pads: [1; 4],
        relu: false,
        pool: None,
        algorithm: Algorithm::Direct,
        batch: 1,
    };
    let weights = PackedConv::pack(dims, &bytes(&[1.0; 9]), &bytes(&[0.0])).unwrap();
    let mut values = [DENORMAL; 9];
    let found = same_everywhere(&Op::Conv(dims, &weights), &block(input, 1, &values));
    let denormals = [4.0, 6.0, 4.0, 6.0, 9.0, 6.0, 4.0, 6.0, 4.0].map(|count| count * DENORMAL);
    assert_eq!(unblock(output, 1, &found), denormals, "denormals are neither flushed nor rounded");
    values[0] = f32::INFINITY;
    let found = same_everywhere(&Op::Conv(dims, &weights), &block(input, 1, &values));
    let found = unblock(output, 1, &found);
    for index in 0..9 {
        let covered = index / 3 <= 1 && index % 3 <= 1;
        assert_eq!(found[index] == f32::INFINITY, covered, "output {index} is {}", found[index]);
    }
}

#[test]
fn lrn_keeps_nan_inside_its_window() {
    let image = dense(12, 1, 1);
    let op = Op::Lrn(LrnDims { input: image, output: image, size: 5, alpha: 1e-4, beta: 0.75, bias: 2.0, batch: 1 });
    let mut values = [1.0; 12];
    values[6] = f32::NAN;
    for &isa in tiers() {
        let found = unblock(image, 1, &run_with_all_threads(isa, &op, &block(image, 1, &values)));
        for (channel, y) in found.iter().enumerate() {
            assert_eq!(y.is_nan(), channel.abs_diff(6) <= 2, "channel {channel} is {y} on {}", isa.name());
        }
    }
}

#[test]
fn log_softmax_of_special_values() {
    let log_softmax =
        |values: &[f32]| same_everywhere(&Op::LogSoftmax(SoftmaxDims { features: values.len(), batch: 1 }), values);
    let half = -std::f32::consts::LN_2;
    assert_eq!(log_softmax(&[f32::NEG_INFINITY, 0.0, 0.0]), [f32::NEG_INFINITY, half, half]);
    assert_eq!(log_softmax(&[f32::MAX, f32::MIN]), [0.0, f32::NEG_INFINITY]);
    for position in 0..3 {
        let mut values = [1.0, 2.0, 3.0];
        values[position] = f32::NAN;
        assert!(log_softmax(&values).iter().all(|y| y.is_nan()), "NaN at {position}");
    }
}

#[test]
fn softmax_of_special_values() {
    let softmax =
        |values: &[f32]| same_everywhere(&Op::Softmax(SoftmaxDims { features: values.len(), batch: 1 }), values);
    assert_eq!(softmax(&[f32::NEG_INFINITY, 0.0, 0.0]), [0.0, 0.5, 0.5]);
    assert_eq!(softmax(&[f32::MAX, f32::MIN]), [1.0, 0.0]);
    for position in 0..3 {
        let mut values = [1.0, 2.0, 3.0];
        values[position] = f32::NAN;
        assert!(softmax(&values).iter().all(|y| y.is_nan()), "NaN at {position}");
    }
}
