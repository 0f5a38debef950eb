//! Zeros around an image become the padding of the window behind it.

use crate::onnx::import::error::Refusal;
use crate::onnx::import::net::{Activation, Net, Node, Op};

/// Merges every Pad of rows and columns by zeros that only one node reads into that node, when it is a convolution, an average pool
/// that counts its padding or has none, or a max pool of numbers that are not negative.
pub(super) fn merge_pads(net: &mut Net) -> Result<(), Refusal> {
    while let Some((index, reader, op)) = find(net) {
        if let Some(node) = net.nodes.get_mut(reader) {
            node.op = op;
        }
        net.bypass(index);
    }
    Ok(())
}

/// A Pad, its reader, and what both are together.
fn find(net: &Net) -> Option<(usize, usize, Op)> {
    net.nodes.iter().enumerate().find_map(|(index, node)| {
        let Op::Pad { sides, value } = &node.op else { return None };
        let &[[0, 0], [0, 0], [top, bottom], [left, right]] = sides.as_slice() else { return None };
        if *value != 0.0 {
            return None;
        }
        let reader = net.sole_reader(node.output)?;
        let merged = |pads: [usize; 4]| {
            let [t, l, b, r] = pads;
            [t + top, l + left, b + bottom, r + right]
        };
        let op = match net.nodes.get(reader)?.op.clone() {
            Op::Conv(mut conv) => {
                conv.pads = merged(conv.pads);
                Op::Conv(conv)
            }
            Op::AveragePool { mut pool, count_include_pad }
                if (count_include_pad || pool.pads == [0; 4]) && !pool.ceil_mode =>
            {
                pool.pads = merged(pool.pads);
                Op::AveragePool { pool, count_include_pad: true }
            }
            // A zero that takes part and padding that does not are the same where nothing is below zero.
            Op::MaxPool(mut pool) if pool.pads == [0; 4] && not_negative(net, node) => {
                pool.pads = merged(pool.pads);
                let [height, width] = pool.kernel_shape;
                let [t, l, b, r] = pool.pads;
                if t >= height || b >= height || l >= width || r >= width || pool.ceil_mode {
                    return None;
                }
                Op::MaxPool(pool)
            }
            _ => return None,
        };
        Some((index, reader, op))
    })
}

/// Whether nothing that the node reads is below zero.
fn not_negative(net: &Net, node: &Node) -> bool {
    let makes = |node: &Node| net.producer(*node.inputs.first()?).and_then(|index| net.nodes.get(index));
    let mut before = makes(node);
    // The largest of some numbers is one of them.
    while let Some(Node { op: Op::MaxPool(_) | Op::GlobalMaxPool, .. }) = before {
        before = before.and_then(makes);
    }
    match before.map(|node| &node.op) {
        Some(Op::Activation(Activation::Relu | Activation::Sigmoid)) => true,
        Some(Op::Activation(Activation::Clip { min, max })) => *min >= 0.0 && *max >= 0.0,
        _ => false,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;
    use crate::ir::Pool;
    use crate::onnx::import::evaluate::{assert_same, conv, net};

    fn padded(then: Op, shape: &[usize]) -> Net {
        let mut net = net(&[1, 2, 4, 5]);
        net.push("relu", Op::Activation(Activation::Relu), &[1, 2, 4, 5]);
        net.push("pad", Op::Pad { sides: vec![[0, 0], [0, 0], [1, 0], [1, 1]], value: 0.0 }, &[1, 2, 5, 7]);
        net.push("then", then, shape);
        net
    }

    #[test]
    fn padding_becomes_that_of_the_window() {
        let pool = Pool { kernel_shape: [2, 2], strides: [1, 1], pads: [0; 4], ceil_mode: false };
        let cases = [
            padded(Op::Conv(conv(3, 2, [2, 2])), &[1, 3, 4, 6]),
            padded(Op::MaxPool(pool), &[1, 2, 4, 6]),
            padded(Op::AveragePool { pool, count_include_pad: false }, &[1, 2, 4, 6]),
        ];
        for before in cases {
            let mut after = before.clone();
            merge_pads(&mut after).unwrap();
            assert_eq!(after.nodes.len(), 2, "{:?}", before.nodes[2].op);
            assert_same(&before, &after);
        }
    }

    #[test]
    fn a_maximum_of_negative_numbers_keeps_its_zeros() {
        let pool = Pool { kernel_shape: [2, 2], strides: [1, 1], pads: [0; 4], ceil_mode: false };
        let mut before = padded(Op::MaxPool(pool), &[1, 2, 4, 6]);
        before.bypass(0);
        let mut after = before.clone();
        merge_pads(&mut after).unwrap();
        assert_eq!(after, before);
    }
}
