//! Channels in another order: blue first for a network that was trained so.

use crate::onnx::import::affine::Affine;
use crate::onnx::import::constant::{floats, to_bytes};
use crate::onnx::import::error::Refusal;
use crate::onnx::import::net::{Conv, Net, Op};

/// Moves an order of channels behind what treats all channels alike, and takes it into the weights of the convolution there.
pub(super) fn channel_order(net: &mut Net) -> Result<(), Refusal> {
    // Each step takes one away, or brings one closer to the end.
    while step(net) {}
    Ok(())
}

fn step(net: &mut Net) -> bool {
    let found = (0..net.nodes.len()).find_map(|index| {
        let node = net.nodes.get(index)?;
        let (axis, order) = order(net, index)?;
        let reader = net.sole_reader(node.output)?;
        let behind = net.nodes.get(reader)?;
        if let Op::Conv(conv) = &behind.op
            && axis == 1
        {
            return Some((index, reader, Op::Conv(reordered(conv, order)?), None));
        }
        let (op, axis) = passed(&behind.op, axis, order)?;
        Some((index, reader, op, Some(axis)))
    });
    let Some((index, reader, op, moved)) = found else { return false };
    let taken = moved.is_none();
    if let (Some(axis), Some((_, order))) = (moved, order(net, index).map(|(axis, order)| (axis, order.to_vec()))) {
        let Some(output) = net.nodes.get(reader).map(|node| node.output) else { return false };
        let shape = net.shape(output).to_vec();
        let between = net.add_value(String::new(), shape);
        let Some(mut node) = net.nodes.get(index).cloned() else { return false };
        let count = order.len();
        node.op = Op::Gather { op: node.op.name(), axes: axis..axis + 1, indices: order, shape: vec![count] };
        (node.inputs, node.output) = (vec![between], output);
        if let Some(reader) = net.nodes.get_mut(reader) {
            reader.output = between;
        }
        net.nodes.insert(reader + 1, node);
    }
    if let Some(reader) = net.nodes.get_mut(reader) {
        reader.op = op;
    }
    net.bypass(index);
    if taken {
        net.note("order of channels taken into weights");
    }
    true
}

/// The axis along which a node puts all elements in another order, and that order.
fn order(net: &Net, index: usize) -> Option<(usize, &[usize])> {
    let node = net.nodes.get(index)?;
    let Op::Gather { axes, indices, shape, .. } = &node.op else { return None };
    let extent = *net.shape(*node.inputs.first()?).get(axes.start)?;
    let mut seen = vec![false; extent];
    let once = indices.iter().all(|&index| seen.get_mut(index).is_some_and(|seen| !std::mem::replace(seen, true)));
    (axes.len() == 1 && axes.start > 0 && *shape == [extent] && indices.len() == extent && once)
        .then_some((axes.start, indices))
}

/// What `op` behind an order is before it, and the axis of the order then.
fn passed(op: &Op, axis: usize, order: &[usize]) -> Option<(Op, usize)> {
    let same = || Some((op.clone(), axis));
    match op {
        Op::Transpose(perm) => Some((op.clone(), perm.iter().position(|&from| from == axis).filter(|&axis| axis > 0)?)),
        Op::Affine(affine) if affine.axis == Some(axis) => {
            let (scale, shift) = (scattered(&affine.scale, order)?, scattered(&affine.shift, order)?);
            Some((Op::Affine(Affine { scale, shift, ..affine.clone() }), axis))
        }
        Op::Affine(affine) if affine.axis.is_some() => same(),
        Op::Activation(_) | Op::Identity(_) => same(),
        Op::Pad { sides, .. } if sides.get(axis) == Some(&[0, 0]) => same(),
        Op::MaxPool(_) | Op::AveragePool { .. } if axis == 1 => same(),
        _ => None,
    }
}

/// Numbers of the channels in `order`, for these channels as they come.
fn scattered(values: &[f64], order: &[usize]) -> Option<Vec<f64>> {
    let mut made = vec![0.0; values.len()];
    for (&value, &place) in values.iter().zip(order) {
        *made.get_mut(place)? = value;
    }
    (values.len() == order.len()).then_some(made)
}

/// The convolution of channels as they come, of one of the channels in `order`.
fn reordered(conv: &Conv, order: &[usize]) -> Option<Conv> {
    let [_, channels, height, width] = conv.shape;
    let area = height * width;
    if conv.group != 1 || channels != order.len() || area == 0 {
        return None;
    }
    let weight: Vec<f32> = floats(&conv.weight).collect();
    let mut made = vec![0.0; weight.len()];
    for (row, made) in weight.chunks(area * channels).zip(made.chunks_mut(area * channels)) {
        for (filter, &place) in row.chunks(area).zip(order) {
            made.get_mut(place * area..(place + 1) * area)?.copy_from_slice(filter);
        }
    }
    Some(Conv { weight: to_bytes(made.into_iter()), ..conv.clone() })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;
    use crate::ir::Pool;
    use crate::onnx::import::evaluate::{assert_same, conv, net};
    use crate::onnx::import::net::Activation;

    fn order(axis: usize, indices: &[usize]) -> Op {
        Op::Gather { op: "Slice", axes: axis..axis + 1, indices: indices.to_vec(), shape: vec![indices.len()] }
    }

    #[test]
    fn it_goes_into_the_convolution_behind_what_treats_channels_alike() {
        let mut before = net(&[2, 3, 6, 6]);
        let affine = |axis: usize, count: usize| {
            let numbers = |by: f64| (0..count).map(|n| 0.5 + n as f64 * by).collect();
            Op::Affine(Affine { op: "Mul", axis: Some(axis), scale: numbers(0.25), shift: numbers(-0.5) })
        };
        let pool = Pool { kernel_shape: [2, 2], strides: [2, 2], pads: [0; 4], ceil_mode: false };
        before.push("last", Op::Transpose(vec![0, 2, 3, 1]), &[2, 6, 6, 3]);
        before.push("order", order(3, &[1, 2, 0]), &[2, 6, 6, 3]);
        before.push("scale", affine(3, 3), &[2, 6, 6, 3]);
        before.push("rows", affine(1, 6), &[2, 6, 6, 3]);
        before.push("first", Op::Transpose(vec![0, 3, 1, 2]), &[2, 3, 6, 6]);
        before.push("pool", Op::MaxPool(pool), &[2, 3, 3, 3]);
        before.push("pad", Op::Pad { sides: vec![[0, 0], [0, 0], [1, 0], [0, 1]], value: 0.0 }, &[2, 3, 4, 4]);
        before.push("relu", Op::Activation(Activation::Relu), &[2, 3, 4, 4]);
        before.push("conv", Op::Conv(conv(4, 3, [2, 2])), &[2, 4, 3, 3]);
        let mut after = before.clone();
        channel_order(&mut after).unwrap();
        assert_eq!(after.nodes.len(), before.nodes.len() - 1);
        assert!(after.notes.contains("order of channels taken into weights"));
        assert_same(&before, &after);
    }

    #[test]
    fn groups_and_padded_channels_keep_theirs() {
        let mut grouped = net(&[1, 4, 3, 3]);
        grouped.push("order", order(1, &[3, 2, 1, 0]), &[1, 4, 3, 3]);
        let mut two = conv(4, 2, [2, 2]);
        two.group = 2;
        grouped.push("conv", Op::Conv(two), &[1, 4, 2, 2]);
        let mut padded = net(&[1, 3, 3, 3]);
        padded.push("order", order(1, &[2, 1, 0]), &[1, 3, 3, 3]);
        padded.push("pad", Op::Pad { sides: vec![[0, 0], [1, 0], [0, 0], [0, 0]], value: 0.0 }, &[1, 4, 3, 3]);
        padded.push("conv", Op::Conv(conv(2, 4, [1, 1])), &[1, 2, 3, 3]);
        for before in [grouped, padded] {
            let mut after = before.clone();
            channel_order(&mut after).unwrap();
            assert_eq!(after.nodes, before.nodes);
        }
    }
}
