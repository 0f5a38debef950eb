//! What several measurements of one thing say together.

/// A summary of measurements, in their unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Statistics {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How far apart the measurements are: from the 10th to the 90th percentile, as a part of the median. A single outlier
    /// in fifteen does not count, a machine that is busy with something else does.
    pub spread: f64,
}

impl Statistics {
    /// The summary of `samples`, of which there must be one.
    ///
    /// # Panics
    ///
    /// When there are none.
    pub fn of(samples: &[f64]) -> Self {
        assert!(!samples.is_empty(), "nothing was measured");
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let median = percentile(&sorted, 0.5);
        let width = percentile(&sorted, 0.9) - percentile(&sorted, 0.1);
        let spread = if width == 0.0 { 0.0 } else { width / median };
        Self { median, min: sorted[0], max: sorted[sorted.len() - 1], spread }
    }
}

/// The value below which the part `part` of `sorted` lies, interpolated between two neighbours.
fn percentile(sorted: &[f64], part: f64) -> f64 {
    let position = part * (sorted.len() - 1) as f64;
    let below = position.floor();
    let [low, high] = [below, position.ceil()].map(|index| sorted[index as usize]);
    low + (high - low) * (position - below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_samples_does_not_matter() {
        let statistics = Statistics::of(&[3.0, 1.0, 2.0]);
        assert_eq!((statistics.median, statistics.min, statistics.max), (2.0, 1.0, 3.0));
        assert_eq!(Statistics::of(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
    }

    #[test]
    fn the_spread_is_that_of_the_middle_eight_tenths() {
        let samples: Vec<f64> = (0..=10).map(|index| 95.0 + f64::from(index)).collect();
        // 96 to 104 around 100.
        assert!((Statistics::of(&samples).spread - 0.08).abs() < 1e-12);
        // One outlier among twenty is none of them.
        let mut samples = vec![10.0; 19];
        samples.push(50.0);
        assert_eq!(Statistics::of(&samples).spread, 0.0);
        assert_eq!(Statistics::of(&samples).max, 50.0);
    }

    #[test]
    fn one_sample_and_zeroes_have_no_spread() {
        assert_eq!(Statistics::of(&[7.0]), Statistics { median: 7.0, min: 7.0, max: 7.0, spread: 0.0 });
        assert_eq!(Statistics::of(&[0.0, 0.0]).spread, 0.0);
    }

    #[test]
    #[should_panic(expected = "nothing was measured")]
    fn no_sample_has_no_summary() {
        Statistics::of(&[]);
    }
}
