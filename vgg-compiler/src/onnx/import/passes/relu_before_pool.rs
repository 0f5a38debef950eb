//! A function that keeps the order of numbers may change places with a maximum; before the pool it is part of the layer there.

use crate::onnx::import::error::Refusal;
use crate::onnx::import::net::{Net, Node, Op, ValueId};

/// Moves every activation function behind a max pool that only it reads before that pool, where a layer takes it.
pub(super) fn relu_before_pool(net: &mut Net) -> Result<(), Refusal> {
    while let Some((pool, function)) = find(net) {
        let removed = net.nodes.remove(function);
        let Some(node) = net.nodes.get(pool) else { break };
        let Some(&input) = node.inputs.first() else { break };
        let shape = net.shape(input).to_vec();
        let between = net.add_value(String::new(), shape);
        if let Some(node) = net.nodes.get_mut(pool) {
            node.inputs = vec![between];
            node.output = removed.output;
            node.names.extend(removed.names);
        }
        net.nodes.insert(pool, Node { names: Vec::new(), op: removed.op, inputs: vec![input], output: between });
    }
    Ok(())
}

/// A max pool and the function behind it.
fn find(net: &Net) -> Option<(usize, usize)> {
    net.nodes.iter().enumerate().find_map(|(pool, node)| {
        if !matches!(node.op, Op::MaxPool(_)) {
            return None;
        }
        let reader = net.sole_reader(node.output)?;
        if !comes_from_layer(net, *node.inputs.first()?) {
            return None;
        }
        match net.nodes.get(reader)?.op {
            Op::Activation(function) if function.keeps_order() => Some((pool, reader)),
            _ => None,
        }
    })
}

/// Whether `value` is what a convolution makes, perhaps scaled or pooled on the way, for nobody else: there the function is part of a layer.
fn comes_from_layer(net: &Net, value: ValueId) -> bool {
    let node = net.sole_reader(value).and(net.producer(value)).and_then(|index| net.nodes.get(index));
    match node.map(|node| (&node.op, node.inputs.first())) {
        Some((Op::Conv(_), _)) => true,
        Some((Op::MaxPool(_) | Op::Affine(_), Some(&input))) => comes_from_layer(net, input),
        _ => false,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;
    use crate::ir::Pool;
    use crate::onnx::import::evaluate::{assert_same, conv, net};
    use crate::onnx::import::net::Activation;

    #[test]
    fn only_what_keeps_the_order_moves() {
        let pool = Pool { kernel_shape: [2, 3], strides: [1, 2], pads: [0; 4], ceil_mode: false };
        let functions = [
            (Activation::Relu, true),
            (Activation::Clip { min: -0.5, max: 0.5 }, true),
            (Activation::LeakyRelu { alpha: 0.1 }, true),
            (Activation::LeakyRelu { alpha: -0.1 }, false),
        ];
        for (function, moves) in functions {
            let mut before = net(&[1, 3, 6, 7]);
            before.push("conv", Op::Conv(conv(2, 3, [3, 3])), &[1, 2, 4, 5]);
            before.push("pool", Op::MaxPool(pool), &[1, 2, 3, 2]);
            before.push("function", Op::Activation(function), &[1, 2, 3, 2]);
            let mut after = before.clone();
            relu_before_pool(&mut after).unwrap();
            assert_eq!(matches!(after.nodes[1].op, Op::Activation(_)), moves, "{function:?}");
            assert_same(&before, &after);
        }
    }

    #[test]
    fn it_moves_only_where_a_layer_takes_it() {
        let pool = Pool { kernel_shape: [2, 2], strides: [2, 2], pads: [0; 4], ceil_mode: false };
        let mut before = net(&[1, 2, 4, 4]);
        before.push("pool", Op::MaxPool(pool), &[1, 2, 2, 2]);
        before.push("function", Op::Activation(Activation::Sigmoid), &[1, 2, 2, 2]);
        let mut after = before.clone();
        relu_before_pool(&mut after).unwrap();
        assert_eq!(after, before);
    }
}
