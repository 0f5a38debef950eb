//! How far two results may be apart.
//!
//! Elementwise relative errors say little about the output of a convolution: where terms cancel, an element is small while its error
//! is that of the terms. Results are therefore judged by two errors of the whole tensor, `a` being the actual and `e` the expected
//! values:
//!
//! - the *normwise* error ‖a-e‖₂ / ‖e‖₂, which sees a small error everywhere;
//! - the *peak* error max|a-e| / max|e|, which sees a large error in one place (a wrong border, a wrong tile), however large the tensor.
//!
//! NaN and the infinities must stand at the same places in both; they do not enter the norms.

use std::fmt;

/// Bounds on the difference of two tensors; a bound of infinity does not bind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// The name that reports use.
    pub name: &'static str,
    /// Bound on ‖a-e‖₂ / ‖e‖₂.
    pub normwise: f64,
    /// Bound on max|a-e| / max|e|.
    pub peak: f64,
    /// Bound on max|a-e|.
    pub max_abs: f64,
    /// Whether all bits must agree (NaN agrees with NaN whatever its payload).
    pub bit_identical: bool,
}

impl Tolerance {
    /// The same bits: for thread counts, batches, tiers and ways in that promise the same additions in the same order.
    pub const BIT_IDENTICAL: Self =
        Self { name: "bit-identical", normwise: 0.0, peak: 0.0, max_abs: 0.0, bit_identical: true };

    /// Direct and GEMM kernels in f32 against an f64 reference, after any number of VGG's layers.
    ///
    /// A chain of 13 convolutions summed naively in f32 is 1.9e-6 (normwise) and 3e-6 (peak) from f64; blocked summation does better.
    /// ReLU halves no error and pooling adds none, so that depth matters little. The bounds leave a factor of 2.5 and 5: a wrong
    /// element, tap or border is off by 1e-3 or more.
    pub const DIRECT_VS_F64: Self = Self::relative("direct-vs-f64", 5e-6, 1.5e-5);

    /// Naive loops in f32, one accumulator for each sum, against an f64 reference.
    ///
    /// The error of such a sum grows with the root of its length, here up to 100,000 terms: 6e-8 times 300.
    pub const NAIVE_VS_F64: Self = Self::relative("naive-vs-f64", 2e-5, 4e-5);

    /// Direct and GEMM kernels against ONNX Runtime, which computes in f32 too: two results that are each within
    /// [`DIRECT_VS_F64`](Self::DIRECT_VS_F64) of the exact one are within twice that of each other.
    pub const DIRECT_VS_ORT: Self = Self::relative("direct-vs-ort", 1e-5, 3e-5);

    /// Winograd kernels, F(4x4,3x3) and F(6x6,3x3), in f32 against an f64 reference.
    ///
    /// Their transforms add and subtract before they multiply: one layer of F(6x6,3x3) is 3.8e-6 (root mean square) and 1.9e-5
    /// (largest) from f64, about ten times the error of direct summation. The bounds leave a factor of 4 and 5.
    pub const WINOGRAD_VS_F64: Self = Self::relative("winograd-vs-f64", 1.5e-5, 1e-4);

    /// Winograd kernels against ONNX Runtime: [`WINOGRAD_VS_F64`](Self::WINOGRAD_VS_F64) and what ONNX Runtime itself may be off,
    /// [`DIRECT_VS_F64`](Self::DIRECT_VS_F64).
    pub const WINOGRAD_VS_ORT: Self = Self::relative("winograd-vs-ort", 2e-5, 1.15e-4);

    /// Probabilities after softmax, when the logits before it, the largest of them `largest` in magnitude, were computed apart.
    ///
    /// An absolute error d of a logit is a relative error d of its probability, and the sum in the denominator carries one too. The
    /// logits are within [`DIRECT_VS_ORT`](Self::DIRECT_VS_ORT) of each other.
    pub fn probabilities(largest: f64) -> Self {
        let error = 2.0 * largest.max(1.0) * Self::DIRECT_VS_ORT.normwise;
        Self::relative("probabilities", error, error)
    }

    /// Logits of a trained network against those that PyTorch recorded: they decide the class by margins of 1e-1 and more.
    pub const RECORDED_LOGITS: Self = Self {
        name: "recorded-logits",
        normwise: f64::INFINITY,
        peak: f64::INFINITY,
        max_abs: 1e-4,
        bit_identical: false,
    };

    /// Bounds on the two relative errors alone.
    pub const fn relative(name: &'static str, normwise: f64, peak: f64) -> Self {
        Self { name, normwise, peak, max_abs: f64::INFINITY, bit_identical: false }
    }
}

/// A place where one of two tensors is not finite and the other does not agree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NonFinite {
    /// The index of the first such element.
    pub index: usize,
    /// Its actual value.
    pub actual: f64,
    /// Its expected value.
    pub expected: f64,
    /// How many elements disagree so.
    pub count: usize,
}

/// How two tensors of equal length differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// max|a-e|.
    pub max_abs: f64,
    /// max(|a-e| / |e|); infinite where `e` is 0 and `a` is not. For reports: no tolerance bounds it.
    pub max_rel: f64,
    /// ‖a-e‖₂ / ‖e‖₂; infinite when `e` is 0 everywhere and `a` is not.
    pub normwise: f64,
    /// max|a-e| / max|e|; infinite when `e` is 0 everywhere and `a` is not.
    pub peak: f64,
    /// The first index with the largest |a-e|; none when all elements are equal.
    pub worst: Option<usize>,
    /// How many elements differ in their bits (0.0 and -0.0 do, NaN and NaN do not).
    pub different_bits: usize,
    /// Where NaN or an infinity stands in one tensor only.
    pub non_finite: Option<NonFinite>,
}

impl Comparison {
    /// Whether every bound of `tolerance` holds and non-finite values agree.
    pub fn within(&self, tolerance: Tolerance) -> bool {
        self.non_finite.is_none()
            && self.normwise <= tolerance.normwise
            && self.peak <= tolerance.peak
            && self.max_abs <= tolerance.max_abs
            && (!tolerance.bit_identical || self.different_bits == 0)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "normwise {:.2e}, peak {:.2e}, max abs {:.2e}, max rel {:.2e}, {} elements differ in their bits",
            self.normwise, self.peak, self.max_abs, self.max_rel, self.different_bits
        )
    }
}

/// Measures the difference of two tensors, each f32 or f64, in f64.
///
/// # Panics
/// When their lengths differ.
pub fn compare<A: Copy + Into<f64>, E: Copy + Into<f64>>(actual: &[A], expected: &[E]) -> Comparison {
    assert_eq!(actual.len(), expected.len(), "tensors of different lengths cannot be compared");
    let (mut max_abs, mut max_rel, mut max_expected) = (0.0_f64, 0.0_f64, 0.0_f64);
    let (mut difference_squared, mut expected_squared) = (0.0_f64, 0.0_f64);
    let (mut worst, mut different_bits, mut non_finite) = (None, 0, None::<NonFinite>);
    for (index, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let (a, e): (f64, f64) = (a.into(), e.into());
        if a.is_nan() && e.is_nan() {
            continue;
        }
        different_bits += usize::from(a.to_bits() != e.to_bits());
        if !a.is_finite() || !e.is_finite() {
            if a != e {
                non_finite.get_or_insert(NonFinite { index, actual: a, expected: e, count: 0 }).count += 1;
            }
            continue;
        }
        let difference = (a - e).abs();
        if difference > max_abs {
            max_abs = difference;
            worst = Some(index);
        }
        max_rel = max_rel.max(ratio(difference, e.abs()));
        max_expected = max_expected.max(e.abs());
        difference_squared += difference * difference;
        expected_squared += e * e;
    }
    Comparison {
        max_abs,
        max_rel,
        normwise: ratio(difference_squared.sqrt(), expected_squared.sqrt()),
        peak: ratio(max_abs, max_expected),
        worst,
        different_bits,
        non_finite,
    }
}

/// `error / size`; 0 when there is no error, infinite when there is one and the size is 0.
fn ratio(error: f64, size: f64) -> f64 {
    if error == 0.0 { 0.0 } else { error / size }
}

/// Why two tensors do not agree.
#[derive(Clone, PartialEq, thiserror::Error)]
pub enum Mismatch {
    /// The shape does not describe the tensors, or their lengths differ.
    #[error("layer `{layer}`: {actual} actual and {expected} expected elements, the shape {shape:?} has {}", shape.iter().product::<usize>())]
    Length {
        /// The layer.
        layer: String,
        /// The shape the caller gave.
        shape: Vec<usize>,
        /// The number of actual elements.
        actual: usize,
        /// The number of expected elements.
        expected: usize,
    },
    /// NaN or an infinity stands in one tensor only.
    #[error(
        "layer `{layer}`: {} elements are not finite in one tensor only, the first at {position:?}: got {:?}, expected {:?}",
        found.count, found.actual, found.expected
    )]
    NonFinite {
        /// The layer.
        layer: String,
        /// The position of the first.
        position: Vec<usize>,
        /// The first, and how many there are.
        found: NonFinite,
    },
    /// The difference is larger than allowed.
    #[error("{0}")]
    Values(Box<Difference>),
    /// The best classes differ.
    #[error(
        "rank {rank} of the top {k}: class {actual_class} with the expected score {actual_score:?} stands where class {expected_class} \
         with {expected_score:?} should"
    )]
    TopK {
        /// The rank from 1 on.
        rank: usize,
        /// How many ranks were compared.
        k: usize,
        /// The class that the actual scores put there.
        actual_class: usize,
        /// The expected score of that class.
        actual_score: f32,
        /// The class that the expected scores put there.
        expected_class: usize,
        /// The expected score of that class.
        expected_score: f32,
    },
}

/// The text for people: `unwrap` in a test prints this.
impl fmt::Debug for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Two tensors that are further apart than a tolerance allows.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The layer.
    pub layer: String,
    /// All errors.
    pub comparison: Comparison,
    /// What was allowed.
    pub tolerance: Tolerance,
    /// The position of the element that is furthest off.
    pub position: Vec<usize>,
    /// The actual value there.
    pub actual: f64,
    /// The expected value there.
    pub expected: f64,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { layer, comparison, tolerance, position, actual, expected } = self;
        let Tolerance { name, normwise, peak, max_abs, .. } = tolerance;
        write!(
            f,
            "layer `{layer}`: {comparison}; {name} allows normwise {normwise:.1e}, peak {peak:.1e}, max abs {max_abs:.1e}; \
             worst at {position:?}: got {actual:?}, expected {expected:?}"
        )
    }
}

/// Compares the output of `layer`, of the extents `shape`, with what was expected.
///
/// # Errors
/// A [`Mismatch`] that names the layer, the position, both values and the bound that does not hold. Callers collect those of many
/// layers before they fail.
pub fn check_close<A: Copy + Into<f64>, E: Copy + Into<f64>>(
    layer: &str,
    shape: &[usize],
    actual: &[A],
    expected: &[E],
    tolerance: Tolerance,
) -> Result<Comparison, Mismatch> {
    let layer = layer.to_owned();
    if actual.len() != expected.len() || shape.iter().product::<usize>() != actual.len() {
        return Err(Mismatch::Length { layer, shape: shape.to_vec(), actual: actual.len(), expected: expected.len() });
    }
    let comparison = compare(actual, expected);
    if comparison.within(tolerance) {
        return Ok(comparison);
    }
    if let Some(found) = comparison.non_finite {
        return Err(Mismatch::NonFinite { layer, position: position(found.index, shape), found });
    }
    // Equal values can differ in their bits alone: then the first such element is the worst.
    let bits_differ = |&index: &usize| actual[index].into().to_bits() != expected[index].into().to_bits();
    let index = comparison.worst.or_else(|| (0..actual.len()).find(bits_differ)).unwrap_or(0);
    Err(Mismatch::Values(Box::new(Difference {
        layer,
        comparison,
        tolerance,
        position: position(index, shape),
        actual: actual[index].into(),
        expected: expected[index].into(),
    })))
}

/// [`check_close`], as an assertion.
///
/// # Panics
/// With the text of the [`Mismatch`].
#[track_caller]
pub fn assert_close<A: Copy + Into<f64>, E: Copy + Into<f64>>(
    layer: &str,
    shape: &[usize],
    actual: &[A],
    expected: &[E],
    tolerance: Tolerance,
) -> Comparison {
    match check_close(layer, shape, actual, expected, tolerance) {
        Ok(comparison) => comparison,
        Err(mismatch) => panic!("{mismatch}"),
    }
}

/// The position of the element `index` of a tensor of the extents `shape`, C order.
fn position(mut index: usize, shape: &[usize]) -> Vec<usize> {
    let mut position = vec![0; shape.len()];
    for (coordinate, &extent) in position.iter_mut().zip(shape).rev() {
        *coordinate = index % extent;
        index /= extent;
    }
    position
}

/// The indices of the `k` largest scores, largest first; of equal scores the lower index comes first.
///
/// # Panics
/// When a score is NaN: it has no rank.
pub fn top_k(scores: &[f32], k: usize) -> Vec<usize> {
    assert!(!scores.iter().any(|score| score.is_nan()), "a score is NaN");
    let mut order = (0..scores.len()).collect::<Vec<_>>();
    // The sort is stable, and neither zero is larger than the other.
    order.sort_by(|&a, &b| scores[b].partial_cmp(&scores[a]).expect("no score is NaN"));
    order.truncate(k);
    order
}

/// Checks that the actual scores choose the same `k` classes in the same order as the expected ones. Classes whose expected scores are
/// within `slack` of each other may change places: no more precise order is known of them.
///
/// # Errors
/// A [`Mismatch::TopK`] with the first rank that differs.
///
/// # Panics
/// When the lengths differ or a score is NaN.
pub fn check_same_top_k(actual: &[f32], expected: &[f32], k: usize, slack: f32) -> Result<(), Mismatch> {
    assert_eq!(actual.len(), expected.len(), "scores of different lengths cannot be compared");
    for (rank, (actual_class, expected_class)) in top_k(actual, k).into_iter().zip(top_k(expected, k)).enumerate() {
        let (actual_score, expected_score) = (expected[actual_class], expected[expected_class]);
        let same = actual_class == expected_class || (actual_score - expected_score).abs() <= slack;
        if !same {
            return Err(Mismatch::TopK {
                rank: rank + 1,
                k,
                actual_class,
                actual_score,
                expected_class,
                expected_score,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
