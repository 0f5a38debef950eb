//! What can be said of the numbers of a tensor.

use vgg_compiler::weights::View;

/// Statistics of a tensor's elements, each as the f32 that it becomes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Statistics {
    /// Elements.
    pub(super) count: u64,
    /// NaN and infinities. What follows is of the others.
    pub(super) not_finite: u64,
    /// Numbers between 0 and the smallest normal f32, which processors compute slowly with.
    pub(super) denormal: u64,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) mean: f64,
    /// The standard deviation of all elements.
    pub(super) std: f64,
}

impl Statistics {
    /// Of the elements of `view`.
    pub(super) fn of(view: &View) -> Self {
        let (mut count, mut not_finite, mut denormal) = (0, 0, 0);
        let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
        // Welford's recurrence loses nothing where the mean is large beside the deviation.
        let (mut mean, mut squares) = (0.0, 0.0);
        view.for_each(&mut |value| {
            count += 1;
            let narrow = value as f32;
            if !narrow.is_finite() {
                not_finite += 1;
                return;
            }
            denormal += u64::from(narrow.is_subnormal());
            min = min.min(value);
            max = max.max(value);
            let before = value - mean;
            mean += before / (count - not_finite) as f64;
            squares += before * (value - mean);
        });
        let finite = count - not_finite;
        let std = if finite == 0 { f64::NAN } else { (squares / finite as f64).sqrt() };
        if finite == 0 {
            (min, max, mean) = (f64::NAN, f64::NAN, f64::NAN);
        }
        Self { count, not_finite, denormal, min, max, mean, std }
    }
}
