//! Batch normalisation and arithmetic with constants are a scale and a shift of each channel, and so are the ends of a
//! convolution and of a fully connected layer. Source: Ioffe & Szegedy (2015), section 3.1.

use crate::onnx::import::affine::{Affine, BATCH_NORM};
use crate::onnx::import::error::Refusal;
use crate::onnx::import::net::{Activation, Net, Node, Op, ValueId};

/// Folds scales and shifts into the convolution or fully connected layer before them or behind them, in f64, where that is exact. On the
/// way they pass pools, flattening and functions that allow it; those that reach no layer stay as they are.
pub(super) fn fold_affine(net: &mut Net) -> Result<(), Refusal> {
    // Each either takes a node away or brings one closer to the end.
    while merge(net) || drop_ones(net) || fold_behind(net) || fold_before(net) || move_on(net) {}
    Ok(())
}

/// Those that change nothing: what is left of a sum and a division by as many numbers.
fn drop_ones(net: &mut Net) -> bool {
    let found = (0..net.nodes.len()).find_map(|index| {
        let (node, affine) = affine(net, index)?;
        let input = *node.inputs.first()?;
        let nothing = affine.scale.iter().all(|&scale| scale as f32 == 1.0) && !affine.shifts();
        // The input itself cannot be an output.
        (nothing && (input != net.input || !net.outputs.contains(&node.output))).then(|| (index, affine.clone()))
    });
    let Some((index, affine)) = found else { return false };
    net.bypass(index);
    told(net, &affine);
    true
}

/// The note that is part of what a network is recognised as.
pub(in crate::onnx::import) const BATCH_NORM_FOLDED: &str = "batch norm folded";

/// The affine at `index`, when it runs along channels or features.
fn affine(net: &Net, index: usize) -> Option<(&Node, &Affine)> {
    let node = net.nodes.get(index)?;
    match &node.op {
        Op::Affine(affine) if affine.axis == Some(1) => Some((node, affine)),
        Op::Affine(affine) if affine.axis.is_none() && net.shape(node.output).len() == 2 => Some((node, affine)),
        _ => None,
    }
}

fn told(net: &mut Net, affine: &Affine) {
    if affine.op == BATCH_NORM {
        net.note(BATCH_NORM_FOLDED);
    } else if affine.scales() {
        net.note("scales folded into weights");
    }
}

/// Two in a row are one.
fn merge(net: &mut Net) -> bool {
    let found = (0..net.nodes.len()).find_map(|index| {
        let (node, first) = affine(net, index)?;
        let reader = net.sole_reader(node.output)?;
        let (_, second) = affine(net, reader)?;
        (first.axis == second.axis).then(|| (index, reader, first.then(second)))
    });
    let Some((index, reader, merged)) = found else { return false };
    net.absorb(index, reader);
    if let Some(node) = net.nodes.get_mut(index) {
        node.op = Op::Affine(merged);
    }
    true
}

/// Into the layer before it, when nobody else reads that.
fn fold_behind(net: &mut Net) -> bool {
    let found = (0..net.nodes.len()).find_map(|index| {
        let (node, affine) = affine(net, index)?;
        let input = *node.inputs.first()?;
        let before = net.producer(input).filter(|_| net.sole_reader(input) == Some(index))?;
        let op = match net.nodes.get(before)?.op.clone() {
            Op::Conv(mut conv) => {
                (conv.weight, conv.bias) = affine.behind(&conv.weight, &conv.bias);
                Op::Conv(conv)
            }
            Op::Gemm(mut gemm) => {
                (gemm.weight, gemm.bias) = affine.behind(&gemm.weight, &gemm.bias);
                Op::Gemm(gemm)
            }
            _ => return None,
        };
        Some((index, before, op, affine.clone()))
    });
    let Some((index, before, op, affine)) = found else { return false };
    net.absorb(before, index);
    if let Some(node) = net.nodes.get_mut(before) {
        node.op = op;
    }
    told(net, &affine);
    true
}

/// Into the layer behind it. Padding stays zero only where zero is not moved.
fn fold_before(net: &mut Net) -> bool {
    let found = (0..net.nodes.len()).find_map(|index| {
        let (node, affine) = affine(net, index)?;
        let reader = net.sole_reader(node.output)?;
        let op = match net.nodes.get(reader)?.op.clone() {
            Op::Conv(mut conv) if conv.pads == [0; 4] || !affine.shifts() => {
                let [_, _, height, width] = conv.shape;
                (conv.weight, conv.bias) = affine.before(&conv.weight, &conv.bias, height * width, conv.group);
                Op::Conv(conv)
            }
            Op::Gemm(mut gemm) if gemm.shape[1] == affine.scale.len() => {
                (gemm.weight, gemm.bias) = affine.before(&gemm.weight, &gemm.bias, 1, 1);
                Op::Gemm(gemm)
            }
            _ => return None,
        };
        Some((index, reader, op, affine.clone()))
    });
    let Some((index, reader, op, affine)) = found else { return false };
    if let Some(node) = net.nodes.get_mut(reader) {
        node.op = op;
    }
    net.bypass(index);
    told(net, &affine);
    true
}

/// Behind the node that reads it, when a layer further on will take it.
fn move_on(net: &mut Net) -> bool {
    let found = (0..net.nodes.len()).find_map(|index| {
        let (node, affine) = affine(net, index)?;
        reaches_layer(net, node.output, affine)?;
        let reader = net.sole_reader(node.output)?;
        let passed = passed(net, net.nodes.get(reader)?, affine)?;
        Some((index, reader, passed))
    });
    let Some((index, reader, affine)) = found else { return false };
    let Some(output) = net.nodes.get(reader).map(|node| node.output) else { return false };
    let names = net.nodes.get(index).map(|node| node.names.clone()).unwrap_or_default();
    let shape = net.shape(output).to_vec();
    let between = net.add_value(String::new(), shape);
    if let Some(node) = net.nodes.get_mut(reader) {
        node.output = between;
    }
    net.nodes.insert(reader + 1, Node { names, op: Op::Affine(affine), inputs: vec![between], output });
    net.bypass(index);
    true
}

/// Whether `affine` of `value` comes to a layer that takes it.
fn reaches_layer(net: &Net, value: ValueId, affine: &Affine) -> Option<()> {
    let reader = net.nodes.get(net.sole_reader(value)?)?;
    match &reader.op {
        Op::Conv(conv) => (conv.pads == [0; 4] || !affine.shifts()).then_some(()),
        Op::Gemm(gemm) => (gemm.shape[1] == affine.scale.len()).then_some(()),
        _ => reaches_layer(net, reader.output, &passed(net, reader, affine)?),
    }
}

/// What `affine` before `node` is behind it.
fn passed(net: &Net, node: &Node, affine: &Affine) -> Option<Affine> {
    let input = net.shape(*node.inputs.first()?);
    match &node.op {
        Op::MaxPool(_) | Op::GlobalMaxPool => affine.keeps_order().then(|| affine.clone()),
        // Zeros that are counted stay zeros.
        Op::AveragePool { count_include_pad, .. } => (!count_include_pad || !affine.shifts()).then(|| affine.clone()),
        Op::ReduceMean { axes, keep: true, .. } if !axes.contains(&1) && !axes.contains(&0) => Some(affine.clone()),
        Op::ReduceMean { axes, keep: false, .. } if *axes == [2, 3] => Some(affine.clone()),
        Op::Activation(Activation::Relu | Activation::LeakyRelu { .. }) => {
            (affine.keeps_order() && !affine.shifts()).then(|| affine.clone())
        }
        Op::Reshape => {
            let ([batch, _], [first, _, inner @ ..]) = (net.shape(node.output), input) else { return None };
            (batch == first).then(|| affine.repeated(inner.iter().product())).flatten()
        }
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;
    use crate::ir::Pool;
    use crate::onnx::import::evaluate::{assert_same, conv, gemm, net};

    fn scale(op: &'static str, count: usize) -> Op {
        let scale = (0..count).map(|n| 0.5 + n as f64 / 3.0).collect();
        let shift = (0..count).map(|n| n as f64 / 4.0 - 0.3).collect();
        Op::Affine(Affine { op, axis: Some(1), scale, shift })
    }

    fn left(net: &Net) -> usize {
        net.nodes.iter().filter(|node| matches!(node.op, Op::Affine(_))).count()
    }

    fn check(before: &Net, expected: usize) -> Net {
        let mut after = before.clone();
        fold_affine(&mut after).unwrap();
        assert_eq!(left(&after), expected);
        assert_same(before, &after);
        after
    }

    #[test]
    fn it_goes_into_the_layer_before_it() {
        let mut before = net(&[2, 3, 4, 4]);
        before.push("conv", Op::Conv(conv(4, 3, [3, 3])), &[2, 4, 2, 2]);
        before.push("norm", scale(BATCH_NORM, 4), &[2, 4, 2, 2]);
        before.push("more", scale("Mul", 4), &[2, 4, 2, 2]);
        before.push("flat", Op::Reshape, &[2, 16]);
        before.push("fc", Op::Gemm(gemm(5, 16)), &[2, 5]);
        before.push("bias", scale("Add", 5), &[2, 5]);
        let after = check(&before, 0);
        assert!(after.notes.contains(BATCH_NORM_FOLDED));
        assert_eq!(after.nodes[0].names, ["conv", "norm", "more"]);
    }

    #[test]
    fn it_goes_through_pools_and_flattening_into_the_layer_behind() {
        let pool = Pool { kernel_shape: [2, 2], strides: [1, 1], pads: [0, 0, 1, 1], ceil_mode: false };
        let mut before = net(&[2, 3, 4, 4]);
        before.push("relu", Op::Activation(Activation::Relu), &[2, 3, 4, 4]);
        before.push("norm", scale(BATCH_NORM, 3), &[2, 3, 4, 4]);
        before.push("max", Op::MaxPool(pool), &[2, 3, 4, 4]);
        before.push("mean", Op::AveragePool { pool, count_include_pad: false }, &[2, 3, 4, 4]);
        before.push("flat", Op::Reshape, &[2, 48]);
        before.push("fc", Op::Gemm(gemm(5, 48)), &[2, 5]);
        check(&before, 0);
        let mut grouped = net(&[2, 4, 4, 4]);
        grouped.push("relu", Op::Activation(Activation::Relu), &[2, 4, 4, 4]);
        grouped.push("norm", scale(BATCH_NORM, 4), &[2, 4, 4, 4]);
        let mut two = conv(6, 2, [2, 2]);
        two.group = 2;
        grouped.push("conv", Op::Conv(two), &[2, 6, 3, 3]);
        check(&grouped, 0);
    }

    #[test]
    fn what_would_not_be_exact_stays() {
        let mut padded = net(&[2, 3, 4, 4]);
        padded.push("norm", scale(BATCH_NORM, 3), &[2, 3, 4, 4]);
        let mut same = conv(4, 3, [3, 3]);
        same.pads = [1; 4];
        padded.push("conv", Op::Conv(same), &[2, 4, 4, 4]);
        check(&padded, 1);
        let mut read_twice = net(&[2, 3, 4, 4]);
        read_twice.push("conv", Op::Conv(conv(3, 3, [1, 1])), &[2, 3, 4, 4]);
        let maps = read_twice.outputs[0];
        let norm = read_twice.push_on(&[maps], "norm", scale(BATCH_NORM, 3), &[2, 3, 4, 4]);
        read_twice.push_on(&[maps, norm], "sum", Op::Add, &[2, 3, 4, 4]);
        check(&read_twice, 1);
        let mut negative = net(&[2, 3, 4, 4]);
        let pool = Pool { kernel_shape: [2, 2], strides: [2, 2], pads: [0; 4], ceil_mode: false };
        let op = Op::Affine(Affine { op: "Mul", axis: Some(1), scale: vec![-1.0; 3], shift: vec![0.0; 3] });
        negative.push("turn", op, &[2, 3, 4, 4]);
        negative.push("max", Op::MaxPool(pool), &[2, 3, 2, 2]);
        negative.push("conv", Op::Conv(conv(4, 3, [1, 1])), &[2, 4, 2, 2]);
        check(&negative, 1);
    }
}
