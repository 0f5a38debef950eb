//! Pooling windows and layers.

use super::Blocked;

/// A pooling window, with the meaning of the attributes of
/// [ONNX MaxPool](https://onnx.ai/onnx/operators/onnx__MaxPool.html). Each array is (rows, columns).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolWindow {
    /// Extent of the window.
    pub kernel: [usize; 2],
    /// Step from one window to the next.
    pub strides: [usize; 2],
    /// Top, left, bottom, right. Padding never enters a maximum.
    pub pads: [usize; 4],
    /// Round the number of windows up instead of down.
    pub ceil_mode: bool,
}

impl PoolWindow {
    /// Windows along one axis (0: rows, 1: columns) of `extent` values. As in ONNX, a window that would start in the end padding is
    /// dropped.
    pub const fn windows(self, axis: usize, extent: usize) -> usize {
        let padded = extent + self.pads[axis] + self.pads[axis + 2];
        if padded < self.kernel[axis] {
            return 0;
        }
        let (span, stride) = (padded - self.kernel[axis], self.strides[axis]);
        if !self.ceil_mode {
            return span / stride + 1;
        }
        let windows = span.div_ceil(stride) + 1;
        if (windows - 1) * stride >= extent + self.pads[axis] { windows - 1 } else { windows }
    }

    /// The part `start..end` of window `index` along `axis` that lies inside `extent` values.
    pub const fn span(self, axis: usize, index: usize, extent: usize) -> (usize, usize) {
        let start = index * self.strides[axis];
        let end = start + self.kernel[axis];
        let pad = self.pads[axis];
        let start = start.saturating_sub(pad);
        let end = end.saturating_sub(pad);
        (start, if end < extent { end } else { extent })
    }

    pub(crate) const fn check(self) -> Self {
        let mut axis = 0;
        while axis < 2 {
            assert!(self.kernel[axis] > 0 && self.strides[axis] > 0, "a pooling window or its stride is zero");
            assert!(
                self.pads[axis] < self.kernel[axis] && self.pads[axis + 2] < self.kernel[axis],
                "the padding of a pooling window is not smaller than the window"
            );
            axis += 1;
        }
        self
    }

    const fn check_images(self, input: Blocked, output: Blocked) {
        self.check();
        input.check_vector();
        output.check_vector();
        assert!(input.channels == output.channels, "pool: input and output differ in channels");
        assert!(
            self.windows(0, input.height) == output.height && self.windows(1, input.width) == output.width,
            "pool: the output is not what the window gives on this input"
        );
    }
}

/// Max-pooling on blocked data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPoolDims {
    /// What is read; block 8.
    pub input: Blocked,
    /// What is written; block 8.
    pub output: Blocked,
    /// The window.
    pub window: PoolWindow,
    /// Images.
    pub batch: usize,
}

impl MaxPoolDims {
    /// The dimensions themselves, if they fit together.
    ///
    /// # Panics
    /// When they do not.
    pub const fn check(self) -> Self {
        self.window.check_images(self.input, self.output);
        self
    }
}

/// Average pooling on blocked data ([ONNX AveragePool](https://onnx.ai/onnx/operators/onnx__AveragePool.html)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AveragePoolDims {
    /// What is read; block 8.
    pub input: Blocked,
    /// What is written; block 8.
    pub output: Blocked,
    /// The window.
    pub window: PoolWindow,
    /// Whether the zeroes of `pads` count in the divisor. What `ceil_mode` adds beyond `pads` never counts.
    pub count_include_pad: bool,
    /// Images.
    pub batch: usize,
}

impl AveragePoolDims {
    /// The dimensions themselves, if they fit together.
    ///
    /// # Panics
    /// When they do not.
    pub const fn check(self) -> Self {
        self.window.check_images(self.input, self.output);
        self
    }

    /// What the sum of window `index` along `axis` counts for on that axis.
    pub const fn count(self, axis: usize, index: usize) -> usize {
        let extent = if axis == 0 { self.input.height } else { self.input.width };
        if !self.count_include_pad {
            let (start, end) = self.window.span(axis, index, extent);
            return end - start;
        }
        let start = index * self.window.strides[axis];
        let end = start + self.window.kernel[axis];
        let padded = extent + self.window.pads[axis] + self.window.pads[axis + 2];
        (if end < padded { end } else { padded }) - start
    }
}
