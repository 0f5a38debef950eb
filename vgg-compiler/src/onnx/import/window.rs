//! Windows of convolutions and pools.

use super::error::Refusal;
use super::node::Node;
use crate::ir::shape::windows;

/// Rows, columns and what lies between: the attributes that convolutions and pools share.
pub(super) struct Window {
    pub(super) strides: [usize; 2],
    /// Top, left, bottom, right.
    pub(super) pads: [usize; 4],
    pub(super) dilations: [usize; 2],
    /// Height and width of the result.
    pub(super) output: [usize; 2],
}

/// The window of `node` over an image of `input` rows and columns.
pub(super) fn window(node: Node<'_>, input: [usize; 2], kernel: [usize; 2]) -> Result<Window, Refusal> {
    let strides: [usize; 2] = node.extents("strides", [1, 1])?;
    let dilations: [usize; 2] = node.extents("dilations", [1, 1])?;
    if kernel.contains(&0) || strides.contains(&0) || dilations.contains(&0) {
        let problem = format!("its window is {kernel:?} with strides {strides:?} and dilations {dilations:?}");
        return Err(node.damaged(problem));
    }
    let [height, width] = kernel;
    let extent = [(height - 1) * dilations[0] + 1, (width - 1) * dilations[1] + 1];
    let pads = pads(node, input, extent, strides)?;
    let ceil = node.int("ceil_mode", 0) != 0;
    let along = |size: usize, kernel: usize, stride: usize, before: usize, after: usize| {
        windows(size, kernel, stride, before, after, ceil).filter(|&count| count > 0).ok_or_else(|| {
            let padding = before + after;
            node.damaged(format_args!("a window of {kernel} is larger than {size} elements and {padding} of padding"))
        })
    };
    let output = [
        along(input[0], extent[0], strides[0], pads[0], pads[2])?,
        along(input[1], extent[1], strides[1], pads[1], pads[3])?,
    ];
    Ok(Window { strides, pads, dilations, output })
}

/// Zero rows and columns: top, left, bottom, right.
fn pads(node: Node<'_>, input: [usize; 2], kernel: [usize; 2], strides: [usize; 2]) -> Result<[usize; 4], Refusal> {
    let auto = node.text("auto_pad", "NOTSET");
    let [h, w] = input;
    let along = |size: usize, kernel: usize, stride: usize| {
        let total = (size.div_ceil(stride.max(1)).saturating_sub(1) * stride + kernel).saturating_sub(size);
        if auto == "SAME_UPPER" { [total / 2, total - total / 2] } else { [total - total / 2, total / 2] }
    };
    match auto.as_str() {
        "NOTSET" => node.extents("pads", [0; 4]),
        "VALID" => Ok([0; 4]),
        "SAME_UPPER" | "SAME_LOWER" => {
            let ([top, bottom], [left, right]) = (along(h, kernel[0], strides[0]), along(w, kernel[1], strides[1]));
            Ok([top, left, bottom, right])
        }
        other => Err(node.damaged(format_args!("auto_pad is `{other}`"))),
    }
}
