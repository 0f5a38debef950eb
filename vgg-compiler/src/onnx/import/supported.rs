//! Operators that are read, and what becomes of them.

/// Operators that are read, and what becomes of them. The documentation's table is made of this.
pub const SUPPORTED: &[(&str, &str)] = &[
    (
        "Add",
        "of two activations of one shape; with a constant: folded into a neighbour's weights, or a layer of its own",
    ),
    ("AveragePool", "`avgpool`; 1x1 windows are removed; no dilations"),
    ("BatchNormalization", "with stored statistics: folded in f64 into a neighbour's weights, or a layer of its own"),
    ("Cast", "of constants; removed from activations, of which it makes other real numbers"),
    ("Ceil", "of constants"),
    ("Clip", "as an activation function, ReLU6 among them"),
    ("Concat", "of constants; of activations along the channels"),
    ("Constant", "evaluated"),
    ("ConstantOfShape", "evaluated"),
    ("Conv", "`conv` with any kernel, stride, padding, `auto_pad`, dilations and groups, in two dimensions"),
    ("DequantizeLinear", "of constants"),
    ("Div", "by a constant: folded into a neighbour's weights, or a layer of its own"),
    ("Dropout", "removed"),
    ("Equal", "of constants"),
    ("Expand", "of constants"),
    ("Flatten", "to one vector for each image; in channels-last order it goes into the weights"),
    ("Floor", "of constants"),
    ("Gather", "of constants; of activations: in another order, which goes into the weights behind it"),
    (
        "GatherND",
        "of constants; of activations: what adaptive pooling is made of, which goes into the weights behind it",
    ),
    ("Gemm", "`fc`, with `alpha`, `beta` and `transB` taken into the weights"),
    ("GlobalAveragePool", "`avgpool` of the whole image"),
    ("GlobalMaxPool", "the largest pixel of each channel"),
    ("Identity", "removed"),
    ("LRN", "`lrn`"),
    ("LeakyRelu", "as an activation function"),
    ("LogSoftmax", "over the classes"),
    ("MatMul", "`fc`, with an `Add` behind it as its bias"),
    ("Max", "of constants"),
    ("MaxPool", "`maxpool`, without dilations and without the indices"),
    ("Min", "of constants"),
    ("Mul", "of two activations of one shape; by a constant: folded into a neighbour's weights, or a layer of its own"),
    ("Neg", "of constants"),
    ("Pad", "of zeros: merged into the convolution behind it, or into a max pool of numbers that are not negative"),
    ("ReduceMax", "of constants; over rows and columns: the largest pixel of each channel"),
    ("ReduceMean", "over rows and columns, at once or one after the other: `avgpool` of the whole image"),
    ("ReduceProd", "of constants"),
    ("ReduceSum", "over rows and columns: `avgpool` of the whole image times the number of its pixels"),
    ("Relu", "of every layer"),
    ("Reshape", "to one vector for each image, its shape constant or computed"),
    ("Shape", "evaluated"),
    ("Sigmoid", "as an activation function"),
    ("Size", "evaluated"),
    ("Slice", "of constants; of activations: channels in another order, which goes into the weights behind it"),
    ("Softmax", "`softmax` over the classes"),
    ("Sqrt", "of constants"),
    ("Squeeze", "of constants, and of 1x1 feature maps"),
    ("Sub", "with a constant: folded into a neighbour's weights, or a layer of its own"),
    ("Transpose", "of constants, and between [N, C, H, W] and [N, H, W, C]"),
    ("Unsqueeze", "of constants, and undone by a reshape behind it"),
    ("Where", "of constants; of an activation and one number"),
];

#[cfg(test)]
mod tests {
    use super::SUPPORTED;

    #[test]
    fn the_documentation_has_the_table() {
        let rows: String = SUPPORTED.iter().map(|(name, what)| format!("| {name} | {what} |\n")).collect();
        let text = include_str!("../../../../docs/onnx-import.md");
        assert!(text.ends_with(&format!("|---|---|\n{rows}")), "docs/onnx-import.md should end in:\n{rows}");
        assert!(SUPPORTED.is_sorted());
    }
}
