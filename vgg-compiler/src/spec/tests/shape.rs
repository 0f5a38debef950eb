//! Shapes at the edges: rounding, padding, strides and rectangles.

use super::parsed;
use crate::spec::shape::{layer_shapes, totals};

/// What leaves the last layer of `rows`.
fn output(input: &str, rows: &str) -> String {
    let spec = parsed(&format!("Net: {input} {{ {rows} }}"));
    let shapes = layer_shapes(&spec).unwrap_or_else(|error| panic!("{}", error.message));
    shapes.iter().flatten().last().expect("a layer").output.to_string()
}

#[test]
fn windows_are_counted_as_caffe_pytorch_and_onnx_do() {
    for (input, rows, expected) in [
        // The first pool of CNN-F: rounding down would give 26.
        ("64x54x54", "maxpool(3, ceil)", "64x27x27"),
        ("64x54x54", "maxpool(3)", "64x26x26"),
        // A last window that would begin beyond the image, or in the padding after it, does not count.
        ("1x3x3", "maxpool(2, stride 4, ceil)", "1x1x1"),
        ("1x5x5", "maxpool(2, stride 4, ceil)", "1x2x2"),
        ("1x3x3", "maxpool(2, pad 1, ceil)", "1x2x2"),
        ("1x4x4", "maxpool(2, pad 1, ceil)", "1x3x3"),
        ("1x5x5", "avgpool(3, stride 3, pad 1, ceil)", "1x2x2"),
        ("1x2x2", "maxpool", "1x1x1"),
        ("1x3x2", "maxpool", "1x1x1"),
        ("1x5x9", "maxpool(1x3, stride 2x3)", "1x3x3"),
        ("3x7x9", "conv3x5-4", "4x7x9"),
        ("3x7x9", "conv3-4(stride 2)", "4x4x5"),
        ("3x7x9", "conv2-4", "4x6x8"),
        ("3x1x1", "conv3-4", "4x1x1"),
        ("3x2x2", "conv5x1-4(pad 3x0)", "4x4x2"),
        ("3x2x2", "conv3-4; lrn(size 4); dropout; fc-7; dropout; fc-5, softmax", "5"),
    ] {
        assert_eq!(output(input, rows), expected, "{input} {rows}");
    }
}

#[test]
fn costs_are_those_of_rectangles() {
    let spec = parsed("Net: 3 x 10 x 12 { conv3x5-7(stride 2x3), bn, maxpool(2x1); fc-9 }");
    let shapes: Vec<_> = layer_shapes(&spec).expect("shapes").into_iter().flatten().collect();
    assert_eq!(shapes[0].output.to_string(), "7x5x4");
    assert_eq!((shapes[0].parameters, shapes[0].macs), (3 * 3 * 5 * 7 + 7, 3 * 3 * 5 * 7 * 5 * 4));
    assert_eq!((shapes[1].parameters, shapes[1].macs), (14, 0));
    assert_eq!(shapes[2].output.to_string(), "7x2x2");
    assert_eq!((shapes[3].parameters, shapes[3].macs), (28 * 9 + 9, 28 * 9));
    let totals = totals(&[shapes]).expect("totals");
    assert_eq!(totals.activations, 140 + 140 + 28 + 9);
}
