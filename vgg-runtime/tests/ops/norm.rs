//! Local response normalisation.

use vgg_runtime::reference::{self, Lrn, Nchw};
use vgg_runtime::*;

use super::common::*;

fn image(shape: Nchw, halo: [usize; 4]) -> Blocked {
    Blocked { channels: shape.channels, height: shape.height, width: shape.width, block: BLOCK, halo }
}

#[test]
fn lrn_over_every_window_and_number_of_channels() {
    let mut cases = Vec::new();
    for channels in [1, 2, 5, 7, 8, 9, 16, 23, 64] {
        for size in [1, 2, 3, 4, 5, 7, 9, 31] {
            for (beta, bias) in [(0.75, 2.0), (0.75, 1.0), (0.5, 2.0), (1.0, 1.0), (0.6, 0.5)] {
                cases.push((channels, size, beta, bias));
            }
        }
    }
    check_all(cases, |&(channels, size, beta, bias)| {
        let shape = Nchw { batch: 2, channels, height: 3, width: 9 };
        let (input, output) = (image(shape, [1, 0, 2, 1]), image(shape, [0, 2, 1, 1]));
        let values: Vec<f32> = Random::new(9).values(shape.len()).iter().map(|value| value * 30.0).collect();
        let alpha = 0.05f32;
        let attributes = Lrn { size, alpha: f64::from(alpha), beta: f64::from(beta), bias: f64::from(bias) };
        let expected = reference::lrn(&double(&values), shape, attributes);
        // The sum, the base, its power (relative error times beta) and the quotient round some times each.
        let bounds: Vec<f64> = expected.iter().map(|y| y.abs() * (size + 8) as f64 * UNIT).collect();
        let op = Op::Lrn(LrnDims { input, output, size, alpha, beta, bias, batch: shape.batch });
        for &isa in tiers() {
            let found = run_with_all_threads(isa, &op, &block(input, shape.batch, &values));
            assert_within(&unblock(output, shape.batch, &found), &expected, &bounds, isa.name());
        }
    });
}

#[test]
fn padding_channels_stay_zero_even_without_a_bias() {
    let shape = Nchw { batch: 1, channels: 3, height: 2, width: 2 };
    let input = image(shape, [0; 4]);
    let op = Op::Lrn(LrnDims { input, output: input, size: 1, alpha: 1.0, beta: 0.75, bias: 0.0, batch: 1 });
    for &isa in tiers() {
        let found = run_with_all_threads(isa, &op, &block(input, 1, &[1.0; 12]));
        assert_eq!(unblock(input, 1, &found), [1.0; 12], "{}", isa.name());
    }
}

#[test]
fn lrn_in_any_width_of_row() {
    check_all(1..=20, |&width| {
        let shape = Nchw { batch: 1, channels: 12, height: 2, width };
        let (input, output) = (image(shape, [1; 4]), image(shape, [0; 4]));
        let values = Random::new(4).values(shape.len());
        let attributes = Lrn { size: 5, alpha: 1.0, beta: 0.75, bias: 1.0 };
        let expected = reference::lrn(&double(&values), shape, attributes);
        let op = Op::Lrn(LrnDims { input, output, size: 5, alpha: 1.0, beta: 0.75, bias: 1.0, batch: 1 });
        for &isa in tiers() {
            let found = run_with_all_threads(isa, &op, &block(input, 1, &values));
            assert_within(&unblock(output, 1, &found), &expected, &vec![13.0 * UNIT; expected.len()], isa.name());
        }
    });
}
