//! Channels last in the file, channels first in the network: transposes disappear where the layouts meet.
//!
//! For every tensor of the file it is remembered which one is kept and how the file's lies in it: in another order of axes, or as a vector
//! that was flattened from feature maps in another order. Operators that do not care take the axes over, a fully connected layer
//! takes the order of its inputs into its weight, and a transpose only changes what is remembered.

use std::collections::BTreeMap;

use super::order::{Order, compose, moved, turned_columns, turned_rows};
use crate::onnx::import::error::{Refusal, printable};
use crate::onnx::import::net::{Net, Node, Op, ValueId};

/// From [N, C, H, W] to [N, H, W, C].
const LAST: [usize; 4] = [0, 2, 3, 1];
/// And back.
const FIRST: [usize; 4] = [0, 3, 1, 2];

/// Removes the transposes between [N, C, H, W] and [N, H, W, C], the first and the last among them: the network then takes and gives
/// its channels first.
pub(super) fn cancel_transposes(net: &mut Net) -> Result<(), Refusal> {
    let mut kept = Kept::default();
    if let Some(shape) = channels_first_input(net) {
        if let Some(input) = net.values.get_mut(net.input.0) {
            input.shape = shape;
        }
        kept.set(net.input, net.input, Order::Axes(LAST.to_vec()));
        net.note(NHWC);
        net.note("the file takes images as [N, H, W, C], this network as [N, C, H, W]");
    }
    let nodes = std::mem::take(&mut net.nodes);
    for node in nodes {
        rewrite(net, node, &mut kept);
    }
    for index in 0..net.outputs.len() {
        let Some(&output) = net.outputs.get(index) else { continue };
        let (value, order) = kept.get(output);
        if !order.is_plain() {
            if order != Order::Axes(LAST.to_vec()) {
                let name = net.values.get(output.0).map(|value| printable(&value.name)).unwrap_or_default();
                let problem = format!("the output `{name}` has its elements in channels-last order");
                return Err(Refusal::unsupported(problem + ", expected channels first"));
            }
            net.note(NHWC);
            net.note("the file gives feature maps as [N, H, W, C], this network as [N, C, H, W]");
        }
        if let Some(output) = net.outputs.get_mut(index) {
            *output = value;
        }
    }
    Ok(())
}

/// The note that says what layout the file had.
pub(in crate::onnx::import) const NHWC: &str = "NHWC";

/// For tensors of the file that are not kept as they are: the kept one, and the order.
#[derive(Default)]
struct Kept(BTreeMap<ValueId, (ValueId, Order)>);

impl Kept {
    fn get(&self, value: ValueId) -> (ValueId, Order) {
        self.0.get(&value).cloned().unwrap_or((value, Order::Plain))
    }

    fn set(&mut self, value: ValueId, kept: ValueId, order: Order) {
        let order = order.simplified();
        if value != kept || !order.is_plain() {
            self.0.insert(value, (kept, order));
        }
    }
}

/// The shape of the input with the channels first, when it meets a transpose to that before anything that depends on the order.
fn channels_first_input(net: &Net) -> Option<Vec<usize>> {
    let &[n, h, w, c] = net.shape(net.input) else { return None };
    let mut value = net.input;
    loop {
        let node = net.nodes.get(net.sole_reader(value)?)?;
        match &node.op {
            Op::Transpose(order) if *order == FIRST => return Some(vec![n, c, h, w]),
            Op::Activation(_) | Op::Affine(_) | Op::Pad { .. } => value = node.output,
            _ => return None,
        }
    }
}

/// Appends what `node` becomes to the network.
fn rewrite(net: &mut Net, mut node: Node, kept: &mut Kept) {
    let Some(&first) = node.inputs.first() else { return net.nodes.push(node) };
    let (value, order) = kept.get(first);
    if let Op::Transpose(perm) = &node.op
        && let Some(after) = compose(&order, perm)
    {
        return kept.set(node.output, value, Order::Axes(after));
    }
    let same = node.inputs.iter().all(|&input| kept.get(input).1 == order);
    if order.is_plain() && same {
        node.inputs.iter_mut().for_each(|input| *input = kept.get(*input).0);
        return net.nodes.push(node);
    }
    let result = if same { taken_over(net, &node, &order, value) } else { None };
    let Some((op, result)) = result else { return restored(net, node, kept) };
    // The shapes are of two layouts; nothing is left to do exactly where the layout stays.
    if let Op::Reshape = op
        && result == order
    {
        return kept.set(node.output, value, order);
    }
    if let Order::Axes(axes) = &result {
        let shape = kept_shape(net.shape(node.output), axes);
        if let Some(value) = net.values.get_mut(node.output.0) {
            value.shape = shape;
        }
    }
    if matches!(op, Op::Gemm(_) | Op::MatMul(_)) {
        net.note(NHWC);
    }
    kept.set(node.output, node.output, result);
    node.op = op;
    node.inputs.iter_mut().for_each(|input| *input = kept.get(*input).0);
    net.nodes.push(node);
}

/// What the operator is on kept tensors of the given order, and the order of its result. `value` is the first of them.
fn taken_over(net: &Net, node: &Node, order: &Order, value: ValueId) -> Option<(Op, Order)> {
    let shape = net.shape(value);
    let op = match (&node.op, order) {
        (op @ (Op::Activation(_) | Op::Identity(_) | Op::Add | Op::Mul), _) => op.clone(),
        (Op::Affine(affine), _) => Op::Affine(moved(affine, order, shape)?),
        (Op::Pad { sides, value }, Order::Axes(axes)) => {
            let mut kept = vec![[0; 2]; sides.len()];
            for (&axis, &side) in axes.iter().zip(sides) {
                *kept.get_mut(axis)? = side;
            }
            Op::Pad { sides: kept, value: *value }
        }
        (Op::Concat { axis }, Order::Axes(axes)) => Op::Concat { axis: *axes.get(*axis)? },
        (Op::ReduceMean { op, axes, keep }, Order::Axes(order)) => {
            let mut own: Vec<usize> = axes.iter().map(|&axis| order.get(axis).copied()).collect::<Option<_>>()?;
            own.sort_unstable();
            let rest: Vec<usize> = order.iter().copied().filter(|axis| !own.contains(axis)).collect();
            let op = Op::ReduceMean { op, axes: own, keep: *keep };
            if !keep {
                return rest.is_sorted().then_some((op, Order::Plain));
            }
            op
        }
        (Op::Softmax { axes, log }, Order::Axes(order)) if axes.len() == 1 => {
            let axis = *order.get(axes.start)?;
            Op::Softmax { axes: axis..axis + 1, log: *log }
        }
        // Over all features, in whatever order.
        (op @ Op::Softmax { axes, .. }, Order::Flat { .. }) if *axes == (1..2) => op.clone(),
        (Op::Gemm(gemm), _) => return Some((Op::Gemm(turned_columns(gemm, order, shape)?), Order::Plain)),
        (Op::MatMul(weight), Order::Flat { extents, axes }) => {
            return Some((Op::MatMul(turned_rows(weight, extents, axes)?), Order::Plain));
        }
        (Op::Reshape, Order::Flat { .. }) => {
            return (net.shape(node.output) == shape).then(|| (Op::Reshape, order.clone()));
        }
        (Op::Reshape, Order::Axes(axes)) => {
            let target = net.shape(node.output);
            if target == order.file_shape(shape) {
                return Some((Op::Reshape, order.clone()));
            }
            // Axes of one element may be anywhere.
            let wide = axes.iter().filter(|&&axis| shape.get(axis).is_some_and(|&extent| extent != 1));
            if wide.is_sorted() {
                return Some((Op::Reshape, Order::Plain));
            }
            let [batch, _] = *target else { return None };
            if Some(&batch) != shape.first() {
                return None;
            }
            let axes = axes.iter().skip(1).map(|axis| axis.checked_sub(1)).collect::<Option<_>>()?;
            return Some((Op::Reshape, Order::Flat { extents: shape.iter().skip(1).copied().collect(), axes }));
        }
        _ => return None,
    };
    Some((op, order.clone()))
}

/// The node on tensors in the file's order, made by transposes that nothing has taken away.
fn restored(net: &mut Net, mut node: Node, kept: &Kept) {
    for index in 0..node.inputs.len() {
        let Some(&input) = node.inputs.get(index) else { continue };
        let (value, order) = kept.get(input);
        let value = match order {
            Order::Plain => value,
            // A vector is turned as the feature maps that it was.
            Order::Flat { extents, axes } => {
                let batch = net.batch;
                let maps: Vec<usize> = std::iter::once(batch).chain(extents).collect();
                let axes: Vec<usize> = std::iter::once(0).chain(axes.iter().map(|axis| axis + 1)).collect();
                let turned = Order::Axes(axes.clone()).file_shape(&maps);
                let flat = net.shape(input).to_vec();
                let maps = push(net, Op::Reshape, value, maps, input);
                let turned = push(net, Op::Transpose(axes), maps, turned, input);
                push(net, Op::Reshape, turned, flat, input)
            }
            Order::Axes(axes) => {
                let shape = Order::Axes(axes.clone()).file_shape(net.shape(value));
                push(net, Op::Transpose(axes), value, shape, input)
            }
        };
        if let Some(input) = node.inputs.get_mut(index) {
            *input = value;
        }
    }
    net.nodes.push(node);
}

/// Appends a node on the way to the file's tensor `restored`, which messages call it by.
fn push(net: &mut Net, op: Op, input: ValueId, shape: Vec<usize>, restored: ValueId) -> ValueId {
    let name = net.values.get(restored.0).map(|value| value.name.clone()).unwrap_or_default();
    let output = net.add_value(name, shape);
    net.nodes.push(Node { names: Vec::new(), op, inputs: vec![input], output });
    output
}

/// The extents of the kept tensor, of which the file's has `shape`.
fn kept_shape(shape: &[usize], axes: &[usize]) -> Vec<usize> {
    let mut kept = vec![1; shape.len()];
    for (&axis, &extent) in axes.iter().zip(shape) {
        if let Some(kept) = kept.get_mut(axis) {
            *kept = extent;
        }
    }
    kept
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;
    use crate::onnx::import::affine::Affine;
    use crate::onnx::import::constant::Constant;
    use crate::onnx::import::evaluate::{assert_same, conv, net};
    use crate::onnx::import::net::Activation;

    fn transposes(net: &Net) -> usize {
        net.nodes.iter().filter(|node| matches!(node.op, Op::Transpose(_))).count()
    }

    fn affine(axis: usize, count: usize) -> Op {
        let scale = (0..count).map(|n| n as f64 + 0.5).collect();
        Op::Affine(Affine { op: "Add", axis: Some(axis), scale, shift: vec![0.25; count] })
    }

    /// As Keras networks come: channels last everywhere, transposes around each convolution.
    #[test]
    fn a_network_with_channels_last_becomes_one_with_channels_first() {
        let mut before = net(&[2, 4, 5, 3]);
        before.push("scale", affine(3, 3), &[2, 4, 5, 3]);
        before.push("in", Op::Transpose(FIRST.to_vec()), &[2, 3, 4, 5]);
        before.push("conv1", Op::Conv(conv(4, 3, [2, 2])), &[2, 4, 3, 4]);
        before.push("out", Op::Transpose(LAST.to_vec()), &[2, 3, 4, 4]);
        before.push("bias", affine(3, 4), &[2, 3, 4, 4]);
        before.push("relu", Op::Activation(Activation::Relu), &[2, 3, 4, 4]);
        before.push("pad", Op::Pad { sides: vec![[0, 0], [1, 0], [0, 1], [0, 0]], value: 0.0 }, &[2, 4, 5, 4]);
        before.push("in2", Op::Transpose(FIRST.to_vec()), &[2, 4, 4, 5]);
        before.push("conv2", Op::Conv(conv(2, 4, [3, 2])), &[2, 2, 2, 4]);
        before.push("out2", Op::Transpose(LAST.to_vec()), &[2, 2, 4, 2]);
        before.push("flat", Op::Reshape, &[2, 16]);
        before.push("each", affine(1, 16), &[2, 16]);
        before.push("fc", Op::MatMul(Constant::real(vec![16, 3], (0..48).map(|n| (n % 7) as f32 - 3.0))), &[2, 3]);
        let mut after = before.clone();
        cancel_transposes(&mut after).unwrap();
        assert_eq!((transposes(&before), transposes(&after)), (4, 0));
        assert_eq!(after.shape(after.input), [2, 3, 4, 5]);
        assert_same(&before, &after);
    }

    #[test]
    fn the_mean_of_rows_and_columns_is_over_other_axes() {
        for keep in [true, false] {
            let mut before = net(&[2, 3, 4, 5]);
            before.push("conv", Op::Conv(conv(4, 3, [2, 2])), &[2, 4, 3, 4]);
            before.push("out", Op::Transpose(LAST.to_vec()), &[2, 3, 4, 4]);
            let shape: &[usize] = if keep { &[2, 1, 1, 4] } else { &[2, 4] };
            before.push("mean", Op::ReduceMean { op: "ReduceMean", axes: vec![1, 2], keep }, shape);
            before.push("flat", Op::Reshape, &[2, 4]);
            let mut after = before.clone();
            cancel_transposes(&mut after).unwrap();
            assert_eq!(transposes(&after), 0);
            assert_same(&before, &after);
        }
    }

    #[test]
    fn pixels_of_a_map_of_one_become_channels_by_a_reshape() {
        let mut before = net(&[2, 3, 4, 5]);
        before.push("conv", Op::Conv(conv(4, 3, [2, 2])), &[2, 4, 3, 4]);
        before.push("out", Op::Transpose(LAST.to_vec()), &[2, 3, 4, 4]);
        before.push("mean", Op::ReduceMean { op: "ReduceMean", axes: vec![1, 2], keep: true }, &[2, 1, 1, 4]);
        before.push("turned", Op::Reshape, &[2, 4, 1, 1]);
        before.push("conv2", Op::Conv(conv(3, 4, [1, 1])), &[2, 3, 1, 1]);
        let mut after = before.clone();
        cancel_transposes(&mut after).unwrap();
        assert_eq!(transposes(&after), 0);
        assert_same(&before, &after);
    }

    #[test]
    fn one_number_for_all_lies_in_any_order() {
        let mut before = net(&[2, 3, 4, 5]);
        before.push("conv", Op::Conv(conv(4, 3, [2, 2])), &[2, 4, 3, 4]);
        before.push("out", Op::Transpose(LAST.to_vec()), &[2, 3, 4, 4]);
        let all = Affine { op: "Mul", axis: Some(1), scale: vec![0.5; 3], shift: vec![0.25; 3] };
        before.push("half", Op::Affine(all), &[2, 3, 4, 4]);
        before.push("back", Op::Transpose(FIRST.to_vec()), &[2, 4, 3, 4]);
        let mut after = before.clone();
        cancel_transposes(&mut after).unwrap();
        assert_eq!(transposes(&after), 0);
        assert!(
            after
                .nodes
                .iter()
                .any(|node| matches!(&node.op, Op::Affine(Affine { axis: Some(1), scale, .. }) if scale.len() == 4))
        );
        assert_same(&before, &after);
    }

    #[test]
    fn branches_in_one_layout_are_joined_and_others_keep_their_transpose() {
        let mut before = net(&[1, 3, 4, 4]);
        let input = before.input;
        before.push("conv", Op::Conv(conv(3, 3, [1, 1])), &[1, 3, 4, 4]);
        let maps = before.outputs[0];
        let a = before.push_on(&[maps], "a", Op::Transpose(LAST.to_vec()), &[1, 4, 4, 3]);
        let b = before.push_on(&[input], "b", Op::Transpose(LAST.to_vec()), &[1, 4, 4, 3]);
        let sum = before.push_on(&[a, b], "sum", Op::Add, &[1, 4, 4, 3]);
        let both = before.push_on(&[sum, a], "both", Op::Concat { axis: 3 }, &[1, 4, 4, 6]);
        before.push_on(&[both], "back", Op::Transpose(FIRST.to_vec()), &[1, 6, 4, 4]);
        let mut after = before.clone();
        cancel_transposes(&mut after).unwrap();
        assert_eq!(transposes(&after), 0);
        assert_same(&before, &after);
        // Rows and channels change places, and a convolution reads that: nothing can be done.
        let mut before = net(&[1, 3, 3, 4]);
        before.push("turn", Op::Transpose(vec![0, 2, 1, 3]), &[1, 3, 3, 4]);
        before.push("conv", Op::Conv(conv(3, 3, [1, 1])), &[1, 3, 3, 4]);
        let mut after = before.clone();
        cancel_transposes(&mut after).unwrap();
        assert_eq!(transposes(&after), 1);
        assert_same(&before, &after);
    }

    #[test]
    fn a_vector_in_channels_last_order_is_refused() {
        let mut before = net(&[1, 3, 4, 4]);
        before.push("conv", Op::Conv(conv(3, 3, [1, 1])), &[1, 3, 4, 4]);
        before.push("last", Op::Transpose(LAST.to_vec()), &[1, 4, 4, 3]);
        before.push("flat", Op::Reshape, &[1, 48]);
        let refusal = cancel_transposes(&mut before).unwrap_err();
        assert_eq!(
            refusal.problem,
            "the output `flat` has its elements in channels-last order, expected channels first"
        );
    }
}
