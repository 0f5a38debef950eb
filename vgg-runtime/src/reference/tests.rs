//! The reference against cases computed by hand and against the formulas of the ONNX operators.

use std::vec::Vec;

use super::*;
use crate::shape::PoolWindow;

const fn image(channels: usize, height: usize, width: usize) -> Nchw {
    Nchw { batch: 1, channels, height, width }
}

const fn window(kernel: usize, stride: usize, pad: usize, ceil_mode: bool) -> PoolWindow {
    PoolWindow { kernel: [kernel; 2], strides: [stride; 2], pads: [pad; 4], ceil_mode }
}

#[test]
fn a_convolution_is_a_cross_correlation_with_zero_padding() {
    let attributes = Conv::new(1, [2, 2]);
    // 1 2 3      1 2
    // 4 5 6  *   3 4
    let input = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let weight = [1.0, 2.0, 3.0, 4.0];
    assert_eq!(conv(&input, image(1, 2, 3), &weight, &[0.5], attributes), [37.5, 47.5]);
    let padded = Conv { pads: [1, 0, 0, 1], ..attributes };
    assert_eq!(conv(&input, image(1, 2, 3), &weight, &[0.0], padded), [11.0, 18.0, 9.0, 37.0, 47.0, 21.0]);
    let strided = Conv { pads: [0, 1, 0, 0], strides: [1, 2], ..attributes };
    assert_eq!(conv(&input, image(1, 2, 3), &weight, &[0.0], strided), [18.0, 47.0]);
}

#[test]
fn a_convolution_adds_its_channels_and_keeps_images_apart() {
    let attributes = Conv::new(2, [1, 1]);
    let shape = Nchw { batch: 2, channels: 2, height: 1, width: 2 };
    let input = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
    let result = conv(&input, shape, &[1.0, 10.0, 2.0, -1.0], &[0.0, 100.0], attributes);
    assert_eq!(result, [31.0, 42.0, 99.0, 100.0, 75.0, 86.0, 103.0, 104.0]);
}

#[test]
fn a_tap_that_is_always_outside_adds_nothing() {
    let attributes = Conv { pads: [0, 2, 0, 2], ..Conv::new(1, [1, 5]) };
    assert_eq!(conv(&[3.0], image(1, 1, 1), &[1.0, 2.0, 4.0, 8.0, 16.0], &[0.0], attributes), [12.0]);
}

#[test]
fn a_group_reads_its_own_channels() {
    let attributes = Conv { groups: 2, ..Conv::new(4, [1, 1]) };
    let input = [1.0, 2.0, 4.0, 8.0];
    let weight = [1.0, 1.0, 2.0, 3.0, 1.0, 1.0, 2.0, 3.0];
    assert_eq!(conv(&input, image(4, 1, 1), &weight, &[0.0, 0.5, 0.0, 0.5], attributes), [3.0, 8.5, 12.0, 32.5]);
}

#[test]
fn a_dilated_kernel_skips_pixels() {
    let attributes = Conv { dilations: [1, 2], ..Conv::new(1, [1, 2]) };
    assert_eq!(conv(&[1.0, 2.0, 3.0, 4.0], image(1, 1, 4), &[1.0, 10.0], &[0.0], attributes), [31.0, 42.0]);
    let padded = Conv { pads: [0, 2, 0, 0], ..attributes };
    assert_eq!(conv(&[1.0, 2.0, 3.0, 4.0], image(1, 1, 4), &[1.0, 10.0], &[0.0], padded), [10.0, 20.0, 31.0, 42.0]);
    let rows = Conv { dilations: [2, 1], pads: [0, 0, 1, 0], ..Conv::new(1, [2, 1]) };
    assert_eq!(conv(&[1.0, 2.0, 3.0, 4.0], image(1, 4, 1), &[1.0, 10.0], &[0.0], rows), [31.0, 42.0, 3.0]);
}

#[test]
fn activations_are_their_formulas() {
    let x = [-4.0, -0.0, 0.5, 9.0, f64::NAN];
    assert_eq!(clip(&x, 0.0, 6.0)[..4], [0.0, 0.0, 0.5, 6.0]);
    assert!(clip(&x, 0.0, 6.0)[1].is_sign_negative() && clip(&x, 0.0, 6.0)[4].is_nan());
    assert_eq!(clip(&x, f64::NEG_INFINITY, 0.25)[..4], [-4.0, 0.0, 0.25, 0.25]);
    // The upper bound has the last word.
    assert_eq!(clip(&x, 3.0, 2.0)[..4], [2.0; 4]);
    assert_eq!(leaky_relu(&x, 0.25)[..4], [-1.0, 0.0, 0.5, 9.0]);
    let y = sigmoid(&[0.0, core::f64::consts::LN_2, -1000.0, 1000.0]);
    assert!(y.iter().zip([0.5, 2.0 / 3.0, 0.0, 1.0]).all(|(y, e)| (y - e).abs() < 1e-15), "{y:?}");
    assert!(sigmoid(&[f64::NAN])[0].is_nan() && leaky_relu(&[f64::NAN], 0.1)[0].is_nan());
}

#[test]
fn activations_are_joined_image_by_image() {
    assert_eq!(add(&[1.0, 2.0], &[3.0, 5.0]), [4.0, 7.0]);
    assert_eq!(mul(&[2.0, 3.0], &[3.0, 5.0]), [6.0, 15.0]);
    let joined = concat(&[(&[1.0, 2.0], 1), (&[3.0, 4.0, 5.0, 6.0], 2)], 2);
    assert_eq!(joined, [1.0, 3.0, 4.0, 2.0, 5.0, 6.0]);
}

#[test]
fn pools_round_as_onnx_says() {
    // (extent, kernel, stride, pad, ceil, windows)
    let cases = [
        (54, 3, 2, 0, true, 27),
        (54, 3, 2, 0, false, 26),
        (109, 3, 2, 0, true, 54),
        (109, 3, 3, 0, true, 37),
        (109, 3, 3, 0, false, 36),
        (17, 3, 3, 0, true, 6),
        (33, 2, 2, 0, true, 17),
        (224, 2, 2, 0, false, 112),
        // The last window would start in the end padding, so it does not exist.
        (4, 2, 3, 1, true, 2),
        (5, 2, 2, 1, true, 3),
        (3, 3, 2, 1, true, 2),
    ];
    for (extent, kernel, stride, pad, ceil, windows) in cases {
        let window = window(kernel, stride, pad, ceil);
        assert_eq!(window.windows(0, extent), windows, "{extent} values, {window:?}");
    }
}

#[test]
fn max_pooling_skips_padding_and_keeps_nan() {
    let input = [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0, -9.0];
    assert_eq!(max_pool(&input, image(1, 3, 3), window(2, 2, 1, false)), [-1.0, -2.0, -4.0, -5.0]);
    assert_eq!(max_pool(&input, image(1, 3, 3), window(2, 2, 0, true)), [-1.0, -3.0, -7.0, -9.0]);
    for position in 0..4 {
        let mut input = [1.0f32, 2.0, 3.0, 4.0];
        input[position] = f32::NAN;
        assert!(max_pool(&input, image(1, 2, 2), window(2, 2, 0, false))[0].is_nan(), "NaN at {position}");
    }
}

#[test]
fn average_pooling_divides_by_what_onnx_counts() {
    let input = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
    let window = window(2, 2, 1, false);
    assert_eq!(average_pool(&input, image(1, 3, 3), window, false), [1.0, 2.5, 5.5, 7.0]);
    assert_eq!(average_pool(&input, image(1, 3, 3), window, true), [0.25, 1.25, 2.75, 7.0]);
    // What rounding up adds beyond the padding never counts.
    let ceil = PoolWindow { ceil_mode: true, pads: [0; 4], ..window };
    assert_eq!(average_pool(&input, image(1, 3, 3), ceil, true), [3.0, 4.5, 7.5, 9.0]);
}

#[test]
fn lrn_divides_alpha_by_the_size_and_cuts_the_window() {
    let attributes = Lrn { size: 3, alpha: 3.0, beta: 1.0, bias: 2.0 };
    // Sums of squares: 1 + 4, 1 + 4 + 9, 4 + 9.
    let expected: Vec<f64> = [1.0 / 7.0, 2.0 / 16.0, 3.0 / 15.0].to_vec();
    let result = lrn(&[1.0f64, 2.0, 3.0], image(3, 1, 1), attributes);
    assert!(result.iter().zip(&expected).all(|(y, e)| (y - e).abs() < 1e-15), "{result:?}");
    // An even window reaches further up than down.
    let even = Lrn { size: 2, alpha: 2.0, ..attributes };
    let expected = [1.0 / (2.0 + 5.0), 2.0 / (2.0 + 13.0), 3.0 / (2.0 + 9.0)];
    let result = lrn(&[1.0f64, 2.0, 3.0], image(3, 1, 1), even);
    assert!(result.iter().zip(&expected).all(|(y, e)| (y - e).abs() < 1e-15), "{result:?}");
}

#[test]
fn lrn_has_the_exponent_of_alexnet() {
    let attributes = Lrn { size: 5, alpha: 5e-4, beta: 0.75, bias: 2.0 };
    let result = lrn(&[100.0f64], image(1, 1, 1), attributes);
    // 2 + 1e-4 * 1e4 = 3; 3^0.75 = 2.2795070569547775
    assert!((result[0] - 100.0 / 2.279_507_056_954_777_5).abs() < 1e-12, "{result:?}");
}

#[test]
fn batch_normalization_is_an_affine_map_per_channel() {
    let shape = Nchw { batch: 2, channels: 2, height: 1, width: 1 };
    let result =
        batch_normalization(&[1.0f64, 2.0, 3.0, 4.0], shape, &[2.0, 3.0], &[0.5, -1.0], &[1.0, 0.0], &[3.0, 8.0], 1.0);
    let expected = [0.5, 1.0, 2.5, 3.0];
    assert!(result.iter().zip(&expected).all(|(y, e)| (y - e).abs() < 1e-14), "{result:?}");
}

#[test]
fn the_flat_operations_are_their_formulas() {
    assert_eq!(
        gemm(&[1.0, 2.0, 3.0, 4.0], &[1.0, 10.0, -1.0, 0.0, 0.5, 0.5], &[0.0, 1.0, 2.0]),
        [21.0, 0.0, 3.5, 43.0, -2.0, 5.5]
    );
    let result = softmax(&[0.0f64, core::f64::consts::LN_2, 1000.0, 1000.0], 2);
    let expected = [1.0 / 3.0, 2.0 / 3.0, 0.5, 0.5];
    assert!(result.iter().zip(&expected).all(|(y, e)| (y - e).abs() < 1e-15), "{result:?}");
    let result = log_softmax(&[0.0f64, core::f64::consts::LN_2, 1000.0, 1000.0], 2);
    assert!(result.iter().zip(&expected).all(|(y, e)| (y - e.ln()).abs() < 1e-12), "{result:?}");
    assert_eq!(flatten(&[1.0, 2.0], image(2, 1, 1)), [1.0, 2.0]);
    let result = relu(&[-1.0, -0.0, 0.0, 2.0, f64::NAN]);
    assert_eq!(result[..4], [0.0, 0.0, 0.0, 2.0]);
    assert!(result[1].is_sign_negative() && result[4].is_nan());
}
