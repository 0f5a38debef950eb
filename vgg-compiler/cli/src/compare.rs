//! How far two results are apart.

/// The difference of two tensors, `a` being the actual and `e` the expected values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// max|a-e|.
    pub max_abs: f64,
    /// max|a-e| / max|e|: relative to the largest, since the smallest elements of a convolution's output are what is left of
    /// larger terms that cancel.
    pub max_rel: f64,
    /// ‖a-e‖₂ / ‖e‖₂.
    pub normwise: f64,
}

impl Difference {
    /// No difference at all.
    pub const NONE: Self = Self { max_abs: 0.0, max_rel: 0.0, normwise: 0.0 };

    /// Nothing in common.
    pub const INFINITE: Self = Self { max_abs: f64::INFINITY, max_rel: f64::INFINITY, normwise: f64::INFINITY };

    /// Measures in f64. A number that is not finite on one side only makes every figure infinite, and so does an `expected`
    /// of zeros when `actual` is none.
    ///
    /// # Panics
    ///
    /// When the lengths differ.
    pub fn between(actual: &[f32], expected: &[f32]) -> Self {
        assert_eq!(actual.len(), expected.len(), "tensors of different lengths cannot be compared");
        let (mut largest, mut largest_expected) = (0.0_f64, 0.0_f64);
        let (mut squares, mut squares_expected) = (0.0_f64, 0.0_f64);
        for (&a, &e) in actual.iter().zip(expected) {
            if a == e || (a.is_nan() && e.is_nan()) {
                if e.is_finite() {
                    largest_expected = largest_expected.max(f64::from(e).abs());
                    squares_expected += f64::from(e).powi(2);
                }
                continue;
            }
            let difference = (f64::from(a) - f64::from(e)).abs();
            if !difference.is_finite() {
                return Self::INFINITE;
            }
            largest = largest.max(difference);
            squares += difference * difference;
            largest_expected = largest_expected.max(f64::from(e).abs());
            squares_expected += f64::from(e).powi(2);
        }
        let ratio = |error: f64, size: f64| if error == 0.0 { 0.0 } else { error / size };
        Self {
            max_abs: largest,
            max_rel: ratio(largest, largest_expected),
            normwise: ratio(squares.sqrt(), squares_expected.sqrt()),
        }
    }

    /// The larger of each figure.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        Self {
            max_abs: self.max_abs.max(other.max_abs),
            max_rel: self.max_rel.max(other.max_rel),
            normwise: self.normwise.max(other.normwise),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_those_of_their_definitions() {
        let found = Difference::between(&[1.0, 2.5, -4.0], &[1.0, 2.0, -4.0]);
        assert_eq!((found.max_abs, found.max_rel), (0.5, 0.125));
        assert!((found.normwise - 0.5 / 21f64.sqrt()).abs() < 1e-15);
        assert_eq!(Difference::between(&[0.0, 3.0], &[-0.0, 3.0]), Difference::NONE);
    }

    #[test]
    fn what_is_not_finite_must_be_so_on_both_sides() {
        assert_eq!(
            Difference::between(&[f32::NAN, f32::INFINITY, 1.0], &[f32::NAN, f32::INFINITY, 1.0]),
            Difference::NONE
        );
        for (a, e) in [(f32::NAN, 1.0), (1.0, f32::NAN), (f32::INFINITY, 1.0), (f32::INFINITY, f32::NEG_INFINITY)] {
            assert_eq!(Difference::between(&[a, 5.0], &[e, 5.0]).normwise, f64::INFINITY, "{a} {e}");
        }
        assert_eq!(Difference::between(&[1.0], &[0.0]).normwise, f64::INFINITY);
    }
}
