//! What a single value may be. The bounds keep all later arithmetic far from overflow; within them every layer is supported.

use super::{Extent, PoolSpec};

/// Most channels, filters and lrn channels.
pub const MAX_CHANNELS: usize = 65_536;
/// Most units of a fully connected layer.
pub const MAX_UNITS: usize = 1 << 20;
/// Largest height or width of an image, on the way in and at every layer.
pub const MAX_EXTENT: usize = 32_768;
/// Largest kernel, stride and padding.
pub const MAX_WINDOW: usize = 1024;
/// Most layers of a network.
pub const MAX_LAYERS: usize = 1024;
/// Most elements of one tensor, weights or activations of one image.
pub const MAX_TENSOR: u64 = 1 << 31;
/// Most parameters of a network, and most elements of all its activations together.
pub const MAX_TOTAL: u64 = 1 << 33;

/// The values that a whole number may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IntegerRange {
    pub(crate) what: &'static str,
    pub(crate) min: usize,
    pub(crate) max: usize,
}

impl IntegerRange {
    const fn new(what: &'static str, min: usize, max: usize) -> Self {
        Self { what, min, max }
    }

    /// Why `value` is refused.
    pub(crate) fn refuse(&self, value: usize) -> Option<String> {
        let Self { what, min, max } = self;
        (value < *min || value > *max).then(|| format!("{what} is {value}, expected {min} to {max}"))
    }

    /// Why `extent` is refused.
    pub(crate) fn refuse_extent(&self, extent: Extent) -> Option<String> {
        self.refuse(extent.height).or_else(|| self.refuse(extent.width))
    }
}

/// The values that a real number may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RealRange {
    pub(crate) what: &'static str,
    /// Smallest value, and whether it belongs to the range.
    pub(crate) min: (f32, bool),
    /// Largest value, and whether it belongs to the range.
    pub(crate) max: (f32, bool),
}

impl RealRange {
    const fn above_zero(what: &'static str, max: f32) -> Self {
        Self { what, min: (0.0, false), max: (max, true) }
    }

    /// Why `value` is refused. NaN and infinity always are.
    pub(crate) fn refuse(&self, value: f32) -> Option<String> {
        let Self { what, min, max } = self;
        let fits = (value > min.0 || (min.1 && value == min.0)) && (value < max.0 || (max.1 && value == max.0));
        let low = if min.1 { "at least" } else { "more than" };
        let high = if max.1 { "at most" } else { "less than" };
        (!fits).then(|| format!("{what} is {value}, expected {low} {} and {high} {}", min.0, max.0))
    }
}

pub(crate) const INPUT_CHANNELS: IntegerRange = IntegerRange::new("the number of input channels", 1, MAX_CHANNELS);
pub(crate) const INPUT_HEIGHT: IntegerRange = IntegerRange::new("the height of the input", 1, MAX_EXTENT);
pub(crate) const INPUT_WIDTH: IntegerRange = IntegerRange::new("the width of the input", 1, MAX_EXTENT);
pub(crate) const KERNEL: IntegerRange = IntegerRange::new("the kernel size", 1, MAX_WINDOW);
pub(crate) const WINDOW: IntegerRange = IntegerRange::new("the window size", 1, MAX_WINDOW);
/// Stride 0 would never move the window.
pub(crate) const STRIDE: IntegerRange = IntegerRange::new("the stride", 1, MAX_WINDOW);
pub(crate) const PAD: IntegerRange = IntegerRange::new("the padding", 0, MAX_WINDOW);
pub(crate) const FILTERS: IntegerRange = IntegerRange::new("the number of filters", 1, MAX_CHANNELS);
pub(crate) const UNITS: IntegerRange = IntegerRange::new("the number of units", 1, MAX_UNITS);
/// An even window is lopsided by ONNX's rule, but defined.
pub(crate) const LRN_SIZE: IntegerRange = IntegerRange::new("the lrn size", 1, MAX_CHANNELS);
/// A negative alpha could make the base of the power negative.
pub(crate) const LRN_ALPHA: RealRange = RealRange::above_zero("alpha", 1000.0);
pub(crate) const LRN_BETA: RealRange = RealRange::above_zero("beta", 100.0);
/// With k = 0 a black image divides zero by zero.
pub(crate) const LRN_K: RealRange = RealRange::above_zero("k", 1e6);
/// With eps = 0 a constant channel divides by zero.
pub(crate) const EPSILON: RealRange = RealRange::above_zero("eps", 1.0);
/// Ratio 1 would drop everything, and training divides by 1 - ratio.
pub(crate) const RATIO: RealRange = RealRange { what: "the dropout ratio", min: (0.0, true), max: (1.0, false) };
/// The shorter side of an image after it was resized.
pub(crate) const RESIZE: IntegerRange = IntegerRange::new("the shorter side", 1, MAX_EXTENT);
pub(crate) const MEAN: RealRange = RealRange { what: "the mean", min: (-1e6, true), max: (1e6, true) };
/// Pixels are divided by it.
pub(crate) const STD: RealRange = RealRange { what: "the deviation", min: (1e-6, true), max: (1e6, true) };

/// Why the padding of a pool is refused: with a padding as large as the window, a window could hold no pixel at all.
pub(crate) fn refuse_pool_pad(pool: PoolSpec) -> Option<String> {
    let PoolSpec { kernel, pad, .. } = pool;
    (pad.height >= kernel.height || pad.width >= kernel.width)
        .then(|| format!("the padding is {pad} for a {kernel} window, expected less than the window"))
}
