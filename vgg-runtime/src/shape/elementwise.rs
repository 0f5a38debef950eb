//! Functions of single numbers, and activations that are joined.
//!
//! All of them work on images of any channel block. A vector is an image of one row whose pixels have one channel, or, where channels
//! matter, an image of one pixel, each with a block of 1.

use super::Blocked;

/// A function of one number. Every tier gives the same bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `if 0.0 > x { 0.0 } else { x }`: NaN and -0.0 pass through.
    Relu,
    /// `min(max, max(min, x))` ([ONNX Clip](https://onnx.ai/onnx/operators/onnx__Clip.html)): NaN passes through, and so does a zero of
    /// either sign when a bound is zero.
    Clip {
        /// The lower bound.
        min: f32,
        /// The upper bound.
        max: f32,
    },
    /// `if x >= 0.0 { x } else { alpha * x }` ([ONNX LeakyRelu](https://onnx.ai/onnx/operators/onnx__LeakyRelu.html)).
    LeakyRelu {
        /// The slope for negative numbers.
        alpha: f32,
    },
    /// `1 / (1 + exp(-x))`, computed in f64 ([ONNX Sigmoid](https://onnx.ai/onnx/operators/onnx__Sigmoid.html)).
    Sigmoid,
}

/// A function of each number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ActivationDims {
    /// What is read.
    pub input: Blocked,
    /// What is written: the same image, with a halo of its own.
    pub output: Blocked,
    /// The function.
    pub function: Activation,
    /// Images.
    pub batch: usize,
}

impl ActivationDims {
    /// The dimensions themselves, if they fit together.
    ///
    /// # Panics
    /// When they do not.
    pub const fn check(self) -> Self {
        check_pair(self.input, self.output);
        self
    }
}

/// Batch normalisation with stored statistics: `x * scale + shift` with a scale and a shift for each channel, then optionally ReLU
/// ([ONNX BatchNormalization](https://onnx.ai/onnx/operators/onnx__BatchNormalization.html)).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AffineDims {
    /// What is read.
    pub input: Blocked,
    /// What is written: the same image, with a halo of its own.
    pub output: Blocked,
    /// Added to the variance.
    pub epsilon: f32,
    /// Whether ReLU follows.
    pub relu: bool,
    /// Images.
    pub batch: usize,
}

impl AffineDims {
    /// The dimensions themselves, if they fit together.
    ///
    /// # Panics
    /// When they do not.
    pub const fn check(self) -> Self {
        check_pair(self.input, self.output);
        self
    }
}

/// What two numbers give. Every tier gives the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combination {
    /// Their sum ([ONNX Add](https://onnx.ai/onnx/operators/onnx__Add.html)).
    Add,
    /// Their product ([ONNX Mul](https://onnx.ai/onnx/operators/onnx__Mul.html)).
    Mul,
}

/// Two activations of one shape, number by number, then optionally ReLU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CombineDims {
    /// What is read.
    pub inputs: [Blocked; 2],
    /// What is written: the same image, with a halo of its own.
    pub output: Blocked,
    /// What is done with each two numbers.
    pub operation: Combination,
    /// Whether ReLU follows.
    pub relu: bool,
    /// Images.
    pub batch: usize,
}

impl CombineDims {
    /// The dimensions themselves, if they fit together.
    ///
    /// # Panics
    /// When they do not.
    pub const fn check(self) -> Self {
        check_pair(self.inputs[0], self.output);
        check_pair(self.inputs[1], self.output);
        self
    }
}

/// An activation that becomes some channels of another ([ONNX Concat](https://onnx.ai/onnx/operators/onnx__Concat.html) along axis 1 is one
/// such copy for each operand).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConcatDims {
    /// What is read.
    pub input: Blocked,
    /// What is written in part.
    pub output: Blocked,
    /// The channel of the output that the first one of the input becomes.
    pub first: usize,
    /// Images.
    pub batch: usize,
}

impl ConcatDims {
    /// The dimensions themselves, if they fit together.
    ///
    /// # Panics
    /// When they do not.
    pub const fn check(self) -> Self {
        let (input, output) = (self.input.check(), self.output.check());
        assert!(
            input.height == output.height && input.width == output.width && input.block == output.block,
            "concat: input and output differ in height, width or channel block"
        );
        assert!(
            self.first <= output.channels && input.channels <= output.channels - self.first,
            "concat: the output has fewer channels than are written"
        );
        self
    }
}

const fn check_pair(input: Blocked, output: Blocked) {
    input.check();
    output.check();
    assert!(
        input.same_image(output) && input.block == output.block,
        "an operation on single numbers has an input and an output of different shapes"
    );
}
