use super::*;

const NAN: f32 = f32::NAN;
const INF: f32 = f32::INFINITY;

/// 3 x 4 x 5 values of either sign.
fn tensor() -> Vec<f32> {
    (0..60).map(|i| (i as f32 * 0.7).sin() * 3.0).collect()
}

fn check(actual: &[f32], expected: &[f32], tolerance: Tolerance) -> Result<Comparison, Mismatch> {
    check_close("conv1_1", &[3, 4, 5], actual, expected, tolerance)
}

#[test]
fn errors_are_those_of_the_definitions() {
    // ‖e‖₂ is 6.
    let comparison = compare(&[4.0_f32, 4.0, 5.0], &[4.0_f32, 4.0, 2.0]);
    assert_eq!(comparison.max_abs, 3.0);
    assert_eq!(comparison.max_rel, 1.5);
    assert_eq!(comparison.normwise, 0.5);
    assert_eq!(comparison.peak, 0.75);
    assert_eq!(comparison.worst, Some(2));
    assert_eq!(comparison.different_bits, 1);
    assert_eq!(comparison.non_finite, None);
}

#[test]
fn equal_tensors_have_no_error() {
    let values = tensor();
    let comparison = check(&values, &values, Tolerance::BIT_IDENTICAL).unwrap();
    assert_eq!((comparison.max_abs, comparison.worst, comparison.different_bits), (0.0, None, 0));
    assert_eq!(compare::<f32, f32>(&[], &[]).normwise, 0.0);
}

#[test]
fn f32_is_compared_with_f64_without_rounding_it() {
    let comparison = compare(&[0.1_f32], &[0.1_f64]);
    assert!(comparison.max_abs > 1e-9 && comparison.max_abs < 2e-9, "{comparison}");
}

#[test]
fn an_expected_zero_makes_the_relative_errors_infinite() {
    let comparison = compare(&[1e-30_f32, 0.0], &[0.0_f32, 0.0]);
    assert_eq!(
        (comparison.max_rel, comparison.normwise, comparison.peak),
        (f64::INFINITY, f64::INFINITY, f64::INFINITY)
    );
    assert!(!comparison.within(Tolerance::DIRECT_VS_ORT));
}

#[test]
fn rounding_errors_pass_and_a_broken_element_fails() {
    let expected = tensor();
    let rounded = expected.iter().map(|x| x * (1.0 + 2e-7)).collect::<Vec<_>>();
    check(&rounded, &expected, Tolerance::DIRECT_VS_F64).unwrap();

    let mut broken = expected.clone();
    broken[2 * 20 + 5 + 3] += 0.5;
    let message = check(&broken, &expected, Tolerance::DIRECT_VS_F64).unwrap_err().to_string();
    assert!(message.starts_with("layer `conv1_1`: normwise "), "{message}");
    assert!(message.contains("direct-vs-f64 allows normwise 5.0e-6"), "{message}");
    let worst = format!("worst at [2, 1, 3]: got {:?}, expected {:?}", f64::from(broken[48]), f64::from(expected[48]));
    assert!(message.ends_with(&worst), "{message}");
}

#[test]
fn one_small_error_in_a_large_tensor_fails_by_its_peak() {
    let expected = (0..64 * 224 * 224).map(|i| (i % 97) as f32 - 48.0).collect::<Vec<_>>();
    let mut broken = expected.clone();
    broken[1_000_000] += 0.01;
    let comparison = compare(&broken, &expected);
    assert!(comparison.normwise < Tolerance::DIRECT_VS_ORT.normwise, "{comparison}");
    assert!(!comparison.within(Tolerance::DIRECT_VS_ORT), "{comparison}");
}

#[test]
fn an_error_everywhere_fails_by_its_norm() {
    let expected = tensor();
    let scaled = expected.iter().map(|x| x * (1.0 + 1.2e-5)).collect::<Vec<_>>();
    let comparison = compare(&scaled, &expected);
    assert!(comparison.peak < Tolerance::DIRECT_VS_ORT.peak, "{comparison}");
    assert!(!comparison.within(Tolerance::DIRECT_VS_ORT), "{comparison}");
}

#[test]
fn every_single_bound_binds() {
    let comparison = compare(&[1.0_f32, 1.0], &[1.0_f32, 1.5]);
    let loose = Tolerance { max_abs: 1.0, ..Tolerance::relative("loose", 1.0, 1.0) };
    assert!(comparison.within(loose));
    assert!(!comparison.within(Tolerance { normwise: 0.1, ..loose }));
    assert!(!comparison.within(Tolerance { peak: 0.1, ..loose }));
    assert!(!comparison.within(Tolerance { max_abs: 0.1, ..loose }));
    assert!(!comparison.within(Tolerance { bit_identical: true, ..loose }));
}

#[test]
fn the_sign_of_zero_counts_only_where_bits_do() {
    let comparison = compare(&[0.0_f32, 1.0], &[-0.0_f32, 1.0]);
    assert!(comparison.within(Tolerance::DIRECT_VS_F64));
    assert!(!comparison.within(Tolerance::BIT_IDENTICAL));
    let mismatch = check_close("relu", &[2], &[1.0_f32, 0.0], &[1.0_f32, -0.0], Tolerance::BIT_IDENTICAL).unwrap_err();
    let message = mismatch.to_string();
    assert!(message.ends_with("worst at [1]: got 0.0, expected -0.0"), "{message}");
}

#[test]
fn non_finite_values_that_agree_are_left_out_of_the_norms() {
    let values = [1.0, NAN, INF, -INF, 2.0];
    let comparison = compare(&values, &values);
    assert!(comparison.within(Tolerance::BIT_IDENTICAL), "{comparison:?}");
    let other_payload = f32::from_bits(NAN.to_bits() ^ 1);
    assert!(compare(&[other_payload], &[NAN]).within(Tolerance::BIT_IDENTICAL));
    // A finite error beside them is still seen.
    assert!(!compare(&[NAN, 1.0], &[NAN, 1.1]).within(Tolerance::DIRECT_VS_ORT));
}

#[test]
fn non_finite_values_that_disagree_fail_under_any_tolerance() {
    let anything = Tolerance { max_abs: INF.into(), ..Tolerance::relative("anything", f64::INFINITY, f64::INFINITY) };
    for (actual, expected) in [(NAN, 1.0), (1.0, NAN), (INF, 1.0), (1.0, -INF), (INF, -INF), (NAN, INF), (INF, NAN)] {
        let comparison = compare(&[0.5, actual], &[0.5, expected]);
        assert!(!comparison.within(anything), "{actual} passes for {expected}");
        let found = comparison.non_finite.unwrap();
        assert_eq!((found.index, found.count), (1, 1));
    }
    let mut broken = tensor();
    broken[7] = NAN;
    broken[59] = INF;
    let message = check(&broken, &tensor(), anything).unwrap_err().to_string();
    assert!(
        message.starts_with(
            "layer `conv1_1`: 2 elements are not finite in one tensor only, the first at [0, 1, 2]: got NaN"
        )
    );
}

#[test]
fn lengths_and_shapes_must_agree() {
    let values = tensor();
    for (shape, actual) in [(&[3, 4, 5][..], &values[..59]), (&[3, 4, 6][..], &values[..])] {
        let message = check_close("fc6", shape, actual, &values, Tolerance::DIRECT_VS_ORT).unwrap_err().to_string();
        assert!(message.starts_with("layer `fc6`: ") && message.contains("60 expected elements"), "{message}");
    }
}

#[test]
#[should_panic(expected = "layer `pool5`: normwise")]
fn the_assertion_names_the_layer() {
    assert_close("pool5", &[1], &[1.0_f32], &[2.0_f32], Tolerance::WINOGRAD_VS_ORT);
}

#[test]
fn top_k_orders_by_score_and_then_by_class() {
    assert_eq!(top_k(&[0.1, 0.7, -1.0, 0.7, 0.9], 3), [4, 1, 3]);
    assert_eq!(top_k(&[-0.0, 0.0], 5), [0, 1]);
}

#[test]
#[should_panic(expected = "a score is NaN")]
fn top_k_refuses_nan() {
    top_k(&[0.0, NAN], 1);
}

#[test]
fn the_same_top_k_may_swap_what_lies_within_the_slack() {
    let expected = [0.5, 0.3, 0.299_999, 0.1];
    let swapped = [0.5, 0.299_999, 0.3, 0.1];
    check_same_top_k(&expected, &expected, 4, 0.0).unwrap();
    check_same_top_k(&swapped, &expected, 4, 1e-5).unwrap();
    let message = check_same_top_k(&swapped, &expected, 4, 0.0).unwrap_err().to_string();
    assert!(message.starts_with("rank 2 of the top 4: class 2 "), "{message}");
    assert!(check_same_top_k(&[0.1, 0.3, 0.299_999, 0.5], &expected, 1, 1e-5).is_err());
    // What follows the k-th class does not count.
    check_same_top_k(&swapped, &expected, 1, 0.0).unwrap();
}
