//! Shapes of one image and how each operator changes them.

use std::fmt;

use super::op::{Conv, Op, Pool};

/// The shape of an activation without its leading batch dimension: `[C, H, W]` or `[features]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A stack of feature maps.
    Image {
        /// C.
        channels: usize,
        /// H.
        height: usize,
        /// W.
        width: usize,
    },
    /// A vector.
    Flat {
        /// Its length.
        features: usize,
    },
}

impl Shape {
    /// Number of elements of one image.
    pub fn len(&self) -> usize {
        match *self {
            Shape::Image { channels, height, width } => channels * height * width,
            Shape::Flat { features } => features,
        }
    }

    /// Whether there is no element at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The extents, in ONNX order, after the batch dimension.
    pub fn dims(&self) -> Vec<usize> {
        match *self {
            Shape::Image { channels, height, width } => vec![channels, height, width],
            Shape::Flat { features } => vec![features],
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Shape::Image { channels, height, width } => write!(f, "{channels}x{height}x{width}"),
            Shape::Flat { features } => write!(f, "{features}"),
        }
    }
}

/// Why an operator cannot take the shape that reaches it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// The operator works on feature maps and was given a vector, or the other way round.
    #[error("{op} takes {expected}, but a tensor of shape {arrived} arrives")]
    Rank {
        /// ONNX name of the operator.
        op: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What arrives.
        arrived: Shape,
    },
    /// The window is larger than the padded image.
    #[error("the {0}x{1} window of {op} is larger than the padded image of {2}x{3}", kernel[0], kernel[1], padded[0], padded[1])]
    Window {
        /// ONNX name of the operator.
        op: &'static str,
        /// Extent of the window.
        kernel: [usize; 2],
        /// Extent of the image with its padding.
        padded: [usize; 2],
    },
    /// An extent or a stride of zero.
    #[error("{op} has {what} of 0")]
    Zero {
        /// ONNX name of the operator.
        op: &'static str,
        /// Which attribute.
        what: &'static str,
    },
    /// A pool with windows that hold nothing but padding.
    #[error("the padding {pads:?} (top, left, bottom, right) of {op} is not smaller than its {}x{} window", kernel[0], kernel[1])]
    Padding {
        /// ONNX name of the operator.
        op: &'static str,
        /// Extent of the window.
        kernel: [usize; 2],
        /// Top, left, bottom, right.
        pads: [usize; 4],
    },
    /// Windows that no form of ONNX counts in one way.
    #[error(
        "{op} with ceil_mode and count_include_pad has a window behind the image on one axis and one that hangs over the padding on \
         the other, which operator sets count in different ways; write it with ceil_mode = 0"
    )]
    PaddedCounts {
        /// ONNX name of the operator.
        op: &'static str,
    },
    /// Channels that do not fall into the groups of a convolution.
    #[error(
        "Conv has {group} groups, but {channels} input and {out_channels} output channels; both must be multiples of the number of groups"
    )]
    Groups {
        /// Number of groups.
        group: usize,
        /// Input channels.
        channels: usize,
        /// Output channels.
        out_channels: usize,
    },
    /// Activations that do not fit together.
    #[error("{op} reads activations of {first} and {other}, expected {expected}")]
    Operands {
        /// ONNX name of the operator.
        op: &'static str,
        /// The first activation.
        first: Shape,
        /// The one that does not fit it.
        other: Shape,
        /// What would fit.
        expected: &'static str,
    },
    /// An attribute that is no number.
    #[error("{op} has {what} of {value}, expected a finite number")]
    Number {
        /// ONNX name of the operator.
        op: &'static str,
        /// Which attribute.
        what: &'static str,
        /// Its value as text.
        value: String,
    },
    /// The tensor has more elements than can be addressed.
    #[error("the output of {op} is too large to address")]
    Overflow {
        /// ONNX name of the operator.
        op: &'static str,
    },
}

/// Number of windows along one axis: floor((in + pads - k) / s) + 1, or with `ceil` rounded up, a window that would
/// start in the padding after the image being dropped.
///
/// Source: <https://onnx.ai/onnx/operators/onnx__MaxPool.html>. `None` when the window is larger than the padded extent.
pub fn windows(extent: usize, kernel: usize, stride: usize, begin: usize, end: usize, ceil: bool) -> Option<usize> {
    let span = extent.checked_add(begin)?.checked_add(end)?.checked_sub(kernel)?;
    if !ceil {
        return Some(span / stride + 1);
    }
    let count = span.div_ceil(stride) + 1;
    Some(if (count - 1) * stride >= extent + begin { count - 1 } else { count })
}

/// The shape that `op` makes of the activations `inputs`, as many as it takes; of none it is an error of rank.
pub fn infer(op: &Op, inputs: &[Shape]) -> Result<Shape, ShapeError> {
    let name = op.op_type();
    let Some((&input, others)) = inputs.split_first() else {
        let arrived = Shape::Flat { features: 0 };
        return Err(ShapeError::Rank { op: name, expected: "an activation", arrived });
    };
    let out = match op {
        Op::Conv(conv) => convolution(conv, image(name, input)?)?,
        Op::MaxPool(pool) => {
            pads_within(name, pool)?;
            pooling(name, pool, image(name, input)?)?
        }
        Op::AveragePool { pool, count_include_pad } => {
            pads_within(name, pool)?;
            let [channels, height, width] = image(name, input)?;
            let output = pooling(name, pool, [channels, height, width])?;
            if *count_include_pad {
                padded_counts(name, pool, [height, width])?;
            }
            output
        }
        Op::GlobalMaxPool | Op::GlobalAveragePool => {
            let [channels, ..] = image(name, input)?;
            Shape::Image { channels, height: 1, width: 1 }
        }
        Op::Lrn(lrn) if lrn.size == 0 => return Err(ShapeError::Zero { op: name, what: "a size" }),
        Op::Lrn(lrn) => {
            image(name, input)?;
            for (what, value) in [("an alpha", lrn.alpha), ("a beta", lrn.beta), ("a bias", lrn.bias)] {
                number(name, what, value, value.is_finite())?;
            }
            input
        }
        Op::BatchNormalization { epsilon } => {
            number(name, "an epsilon", *epsilon, epsilon.is_finite())?;
            input
        }
        Op::Clip { min, max } => {
            number(name, "a lower bound", *min, !min.is_nan())?;
            number(name, "an upper bound", *max, !max.is_nan())?;
            input
        }
        Op::LeakyRelu { alpha } => {
            number(name, "a slope", *alpha, alpha.is_finite())?;
            input
        }
        Op::Relu | Op::Sigmoid | Op::Dropout { .. } => input,
        Op::Add | Op::Mul => match others.iter().find(|&&other| other != input) {
            Some(&other) => {
                return Err(ShapeError::Operands { op: name, first: input, other, expected: "two of one shape" });
            }
            None => input,
        },
        Op::Concat => concatenation(input, others)?,
        Op::Flatten => Shape::Flat { features: input.len() },
        Op::Gemm { out_features: 0 } => return Err(ShapeError::Zero { op: name, what: "an output count" }),
        Op::Gemm { out_features } => {
            flat(name, input)?;
            Shape::Flat { features: *out_features }
        }
        Op::Softmax | Op::LogSoftmax => {
            flat(name, input)?;
            input
        }
    };
    match out.dims().iter().try_fold(4usize, |product, &extent| product.checked_mul(extent)) {
        Some(bytes) if bytes <= isize::MAX as usize => Ok(out),
        _ => Err(ShapeError::Overflow { op: name }),
    }
}

/// The shapes of the parameters of `op`, in the order of [`Op::param_suffixes`], when `input` is the first activation that it reads.
pub fn param_shapes(op: &Op, input: Shape) -> Result<Vec<Vec<usize>>, ShapeError> {
    let name = op.op_type();
    Ok(match op {
        Op::Conv(conv) => {
            let [channels, ..] = image(name, input)?;
            let [kernel_height, kernel_width] = conv.kernel_shape;
            let channels = channels / conv.group.max(1);
            vec![vec![conv.out_channels, channels, kernel_height, kernel_width], vec![conv.out_channels]]
        }
        Op::Gemm { out_features } => vec![vec![*out_features, flat(name, input)?], vec![*out_features]],
        Op::BatchNormalization { .. } => vec![vec![channels(input)]; 4],
        _ => Vec::new(),
    })
}

/// The extent of axis 1.
fn channels(shape: Shape) -> usize {
    match shape {
        Shape::Image { channels, .. } => channels,
        Shape::Flat { features } => features,
    }
}

fn number(op: &'static str, what: &'static str, value: f32, accepted: bool) -> Result<(), ShapeError> {
    if accepted { Ok(()) } else { Err(ShapeError::Number { op, what, value: value.to_string() }) }
}

/// The channels of all together.
fn concatenation(first: Shape, others: &[Shape]) -> Result<Shape, ShapeError> {
    const OVERFLOW: ShapeError = ShapeError::Overflow { op: "Concat" };
    let mut total = channels(first);
    for &other in others {
        let fits = match (first, other) {
            (Shape::Flat { .. }, Shape::Flat { .. }) => true,
            (Shape::Image { height, width, .. }, Shape::Image { height: rows, width: columns, .. }) => {
                (height, width) == (rows, columns)
            }
            _ => false,
        };
        if !fits {
            let expected = "vectors, or feature maps of one height and width";
            return Err(ShapeError::Operands { op: "Concat", first, other, expected });
        }
        total = total.checked_add(channels(other)).ok_or(OVERFLOW)?;
    }
    Ok(match first {
        Shape::Image { height, width, .. } => Shape::Image { channels: total, height, width },
        Shape::Flat { .. } => Shape::Flat { features: total },
    })
}

fn image(op: &'static str, shape: Shape) -> Result<[usize; 3], ShapeError> {
    match shape {
        Shape::Image { channels, height, width } => Ok([channels, height, width]),
        Shape::Flat { .. } => Err(ShapeError::Rank { op, expected: "feature maps (C, H, W)", arrived: shape }),
    }
}

fn flat(op: &'static str, shape: Shape) -> Result<usize, ShapeError> {
    match shape {
        Shape::Flat { features } => Ok(features),
        Shape::Image { .. } => Err(ShapeError::Rank { op, expected: "a vector", arrived: shape }),
    }
}

fn convolution(conv: &Conv, [channels, height, width]: [usize; 3]) -> Result<Shape, ShapeError> {
    let zeros = [
        (conv.out_channels == 0, "an output channel count"),
        (conv.kernel_shape.contains(&0), "a kernel extent"),
        (conv.dilations.contains(&0), "a dilation"),
        (conv.group == 0, "a number of groups"),
    ];
    if let Some(&(_, what)) = zeros.iter().find(|(zero, _)| *zero) {
        return Err(ShapeError::Zero { op: "Conv", what });
    }
    let Conv { out_channels, group, .. } = *conv;
    if !channels.is_multiple_of(group) || !out_channels.is_multiple_of(group) {
        return Err(ShapeError::Groups { group, channels, out_channels });
    }
    let window = Pool { kernel_shape: conv.extent(), strides: conv.strides, pads: conv.pads, ceil_mode: false };
    pooling("Conv", &window, [conv.out_channels, height, width])
}

fn pooling(op: &'static str, pool: &Pool, [channels, height, width]: [usize; 3]) -> Result<Shape, ShapeError> {
    if pool.kernel_shape.contains(&0) {
        return Err(ShapeError::Zero { op, what: "a kernel extent" });
    }
    if pool.strides.contains(&0) {
        return Err(ShapeError::Zero { op, what: "a stride" });
    }
    let [top, left, bottom, right] = pool.pads;
    let [kernel_height, kernel_width] = pool.kernel_shape;
    let rows = windows(height, kernel_height, pool.strides[0], top, bottom, pool.ceil_mode);
    let columns = windows(width, kernel_width, pool.strides[1], left, right, pool.ceil_mode);
    match (rows, columns) {
        (Some(height), Some(width)) => Ok(Shape::Image { channels, height, width }),
        _ => Err(ShapeError::Window {
            op,
            kernel: pool.kernel_shape,
            padded: [
                height.saturating_add(top).saturating_add(bottom),
                width.saturating_add(left).saturating_add(right),
            ],
        }),
    }
}

/// Refuses pools with windows that hold no pixel.
fn pads_within(op: &'static str, pool: &Pool) -> Result<(), ShapeError> {
    let Pool { kernel_shape: kernel, pads, .. } = *pool;
    if kernel.contains(&0) || (0..4).all(|side| pads[side] < kernel[side % 2]) {
        return Ok(()); // an extent of zero has an error of its own
    }
    Err(ShapeError::Padding { op, kernel, pads })
}

/// Refuses the average pools whose divisors cannot be written so that every operator set counts alike: where `ceil_mode` gives a window
/// that is dropped on one axis, the file has floor mode, which has no windows that hang over the padding on the other.
fn padded_counts(op: &'static str, pool: &Pool, extents: [usize; 2]) -> Result<(), ShapeError> {
    let axis = |axis: usize| {
        let [kernel, stride] = [pool.kernel_shape[axis], pool.strides[axis]];
        let padded = extents[axis] + pool.pads[axis] + pool.pads[axis + 2];
        let last = (padded - kernel).div_ceil(stride) * stride;
        let dropped = last >= extents[axis] + pool.pads[axis];
        (dropped, !dropped && last + kernel > padded)
    };
    let (rows, columns) = (axis(0), axis(1));
    if pool.ceil_mode && (rows.0 && columns.1 || columns.0 && rows.1) {
        return Err(ShapeError::PaddedCounts { op });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_counts_follow_onnx() {
        // (extent, kernel, stride, begin, end) -> (floor, ceil)
        let cases = [
            ((54, 3, 2, 0, 0), (26, 27)),
            ((27, 3, 2, 0, 0), (13, 13)),
            ((109, 3, 3, 0, 0), (36, 37)),
            ((33, 2, 2, 0, 0), (16, 17)),
            ((17, 3, 3, 0, 0), (5, 6)),
            ((224, 3, 1, 1, 1), (224, 224)),
            ((4, 2, 2, 1, 1), (3, 3)),
            // The third window of ceil mode would start at 4, behind the image: dropped.
            ((3, 1, 2, 0, 1), (2, 2)),
            ((4, 3, 4, 0, 1), (1, 1)),
        ];
        for ((extent, kernel, stride, begin, end), (floor, ceil)) in cases {
            assert_eq!(
                windows(extent, kernel, stride, begin, end, false),
                Some(floor),
                "floor of {extent} k{kernel} s{stride}"
            );
            assert_eq!(
                windows(extent, kernel, stride, begin, end, true),
                Some(ceil),
                "ceil of {extent} k{kernel} s{stride}"
            );
        }
        assert_eq!(windows(2, 3, 1, 0, 0, false), None);
        assert_eq!(windows(usize::MAX, 3, 1, 1, 0, true), None);
    }

    #[test]
    fn a_vector_cannot_be_convolved() {
        let conv = Op::Conv(Conv { pads: [1; 4], ..Conv::new(8, [3, 3]) });
        let error = infer(&conv, &[Shape::Flat { features: 10 }]).unwrap_err();
        assert_eq!(error.to_string(), "Conv takes feature maps (C, H, W), but a tensor of shape 10 arrives");
    }

    #[test]
    fn global_pools_leave_one_pixel_a_channel() {
        for op in [Op::GlobalMaxPool, Op::GlobalAveragePool] {
            let image = Shape::Image { channels: 5, height: 7, width: 3 };
            assert_eq!(infer(&op, &[image]), Ok(Shape::Image { channels: 5, height: 1, width: 1 }));
            assert!(infer(&op, &[Shape::Flat { features: 5 }]).is_err());
        }
    }

    #[test]
    fn padding_of_a_whole_window_is_named() {
        let pool = Pool { kernel_shape: [3, 2], strides: [2, 2], pads: [0, 2, 0, 0], ceil_mode: false };
        let error = infer(&Op::MaxPool(pool), &[Shape::Image { channels: 1, height: 8, width: 9 }]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the padding [0, 2, 0, 0] (top, left, bottom, right) of MaxPool is not smaller than its 3x2 window"
        );
    }

    #[test]
    fn an_average_that_operator_sets_count_differently_is_refused() {
        // Rows: the last window would start behind the image. Columns: the last window hangs over the padding.
        let pool = Pool { kernel_shape: [2, 3], strides: [2, 2], pads: [1, 0, 1, 0], ceil_mode: true };
        let infer = |count_include_pad, width| {
            let op = Op::AveragePool { pool, count_include_pad };
            infer(&op, &[Shape::Image { channels: 1, height: 5, width }])
        };
        assert_eq!(infer(true, 8), Err(ShapeError::PaddedCounts { op: "AveragePool" }));
        assert!(infer(false, 8).is_ok() && infer(true, 7).is_ok());
    }

    #[test]
    fn a_window_larger_than_the_image_is_named() {
        let pool = Op::MaxPool(Pool { kernel_shape: [3, 3], strides: [2, 2], pads: [0; 4], ceil_mode: true });
        let error = infer(&pool, &[Shape::Image { channels: 1, height: 2, width: 9 }]).unwrap_err();
        assert_eq!(error.to_string(), "the 3x3 window of MaxPool is larger than the padded image of 2x9");
    }
    const IMAGE: Shape = Shape::Image { channels: 6, height: 9, width: 8 };

    fn conv(change: impl FnOnce(&mut Conv)) -> Op {
        let mut conv = Conv::new(4, [3, 3]);
        change(&mut conv);
        Op::Conv(conv)
    }

    #[test]
    fn a_dilated_kernel_reaches_further() {
        let op = conv(|conv| conv.dilations = [2, 3]);
        assert_eq!(infer(&op, &[IMAGE]), Ok(Shape::Image { channels: 4, height: 5, width: 2 }));
        let error = infer(&conv(|conv| conv.dilations = [1, 4]), &[IMAGE]).unwrap_err();
        assert_eq!(error.to_string(), "the 3x9 window of Conv is larger than the padded image of 9x8");
        let error = infer(&conv(|conv| conv.dilations = [usize::MAX; 2]), &[IMAGE]).unwrap_err();
        assert!(matches!(error, ShapeError::Window { .. }), "{error}");
        let error = infer(&conv(|conv| conv.dilations = [0, 1]), &[IMAGE]).unwrap_err();
        assert_eq!(error.to_string(), "Conv has a dilation of 0");
    }

    #[test]
    fn groups_divide_both_sides() {
        let op = conv(|conv| conv.group = 2);
        assert_eq!(infer(&op, &[IMAGE]), Ok(Shape::Image { channels: 4, height: 7, width: 6 }));
        assert_eq!(param_shapes(&op, IMAGE), Ok(vec![vec![4, 3, 3, 3], vec![4]]));
        for group in [3, 4] {
            let error = infer(&conv(|conv| conv.group = group), &[IMAGE]).unwrap_err();
            assert_eq!(error, ShapeError::Groups { group, channels: 6, out_channels: 4 });
        }
        assert!(infer(&conv(|conv| conv.group = 0), &[IMAGE]).is_err());
    }

    #[test]
    fn operands_must_fit_together() {
        let (map, vector) =
            (|channels| Shape::Image { channels, height: 2, width: 3 }, |features| Shape::Flat { features });
        for op in [Op::Add, Op::Mul] {
            assert_eq!(infer(&op, &[map(5), map(5)]), Ok(map(5)));
            assert_eq!(infer(&op, &[vector(5), vector(5)]), Ok(vector(5)));
            for pair in [[map(5), map(6)], [vector(5), vector(1)], [map(1), vector(6)]] {
                assert!(matches!(infer(&op, &pair), Err(ShapeError::Operands { .. })), "{pair:?}");
            }
        }
        assert_eq!(infer(&Op::Concat, &[map(5), map(1), map(7)]), Ok(map(13)));
        assert_eq!(infer(&Op::Concat, &[vector(5), vector(2)]), Ok(vector(7)));
        assert_eq!(infer(&Op::Concat, &[map(5)]), Ok(map(5)));
        let error = infer(&Op::Concat, &[map(5), IMAGE]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Concat reads activations of 5x2x3 and 6x9x8, expected vectors, or feature maps of one height and width"
        );
        assert!(infer(&Op::Concat, &[map(5), vector(30)]).is_err());
        let huge = Shape::Flat { features: usize::MAX };
        assert_eq!(infer(&Op::Concat, &[huge, huge]), Err(ShapeError::Overflow { op: "Concat" }));
    }

    #[test]
    fn bounds_and_slopes_are_numbers() {
        let infer = |op| infer(&op, &[IMAGE]);
        assert_eq!(infer(Op::Clip { min: f32::NEG_INFINITY, max: 6.0 }), Ok(IMAGE));
        for op in [
            Op::Clip { min: f32::NAN, max: 6.0 },
            Op::Clip { min: 0.0, max: f32::NAN },
            Op::LeakyRelu { alpha: f32::INFINITY },
            Op::BatchNormalization { epsilon: f32::NAN },
        ] {
            assert!(matches!(infer(op), Err(ShapeError::Number { .. })), "{op:?}");
        }
    }
}
