//! Nodes that hand their input on: Identity, Cast, Dropout, and others whose attributes say nothing.

use crate::onnx::import::error::Refusal;
use crate::onnx::import::net::{Net, Op};

/// Removes every node that computes its input, and merges reshapes of reshapes.
///
/// A reshape that is the first to see the input only tells how the input is meant: the network then takes what it makes.
pub(super) fn drop_identities(net: &mut Net) -> Result<(), Refusal> {
    merge_reshapes(net);
    while let Some((index, note)) = find(net) {
        if let Some(note) = note {
            net.note(note);
        }
        net.bypass(index);
    }
    reshaped_input(net);
    Ok(())
}

/// A node that does nothing, and what is worth telling about it.
fn find(net: &Net) -> Option<(usize, Option<&'static str>)> {
    net.nodes.iter().enumerate().find_map(|(index, node)| {
        let (&input, output) = (node.inputs.first()?, net.shape(node.output));
        let note = match &node.op {
            Op::Identity("Dropout") => Some("dropout removed"),
            Op::Identity(_) => None,
            Op::Reshape if net.shape(input) == output => None,
            Op::Transpose(order) if order.iter().enumerate().all(|(place, &axis)| place == axis) => None,
            Op::Pad { sides, .. } if sides.iter().all(|sides| *sides == [0, 0]) => None,
            // What adaptive pooling to the size that is there becomes.
            Op::MaxPool(pool) | Op::AveragePool { pool, .. }
                if pool.kernel_shape == [1, 1] && pool.strides == [1, 1] && pool.pads == [0; 4] =>
            {
                Some("pooling that changes nothing removed")
            }
            Op::ReduceMean { axes, .. }
                if axes.iter().all(|&axis| net.shape(input).get(axis) == Some(&1)) && net.shape(input) == output =>
            {
                Some("pooling that changes nothing removed")
            }
            _ => return None,
        };
        // The input itself cannot be an output.
        (input != net.input || !net.outputs.contains(&node.output)).then_some((index, note))
    })
}

/// A reshape of a reshape is one.
fn merge_reshapes(net: &mut Net) {
    while let Some((first, second)) = net.nodes.iter().enumerate().find_map(|(first, node)| {
        if !matches!(node.op, Op::Reshape) {
            return None;
        }
        let second = net.sole_reader(node.output)?;
        matches!(net.nodes.get(second)?.op, Op::Reshape).then_some((first, second))
    }) {
        net.absorb(first, second);
    }
}

/// Lets the network take what a reshape of its input makes.
fn reshaped_input(net: &mut Net) {
    let Some(reader) = net.sole_reader(net.input) else { return };
    let Some(node) = net.nodes.get(reader).filter(|node| matches!(node.op, Op::Reshape)) else { return };
    let shape = net.shape(node.output).to_vec();
    // Feature maps are what most networks take; flattening them is the first layer's business.
    if shape.first() != Some(&net.batch) || shape.len() != 4 || net.outputs.contains(&node.output) {
        return;
    }
    net.note("the file takes its input under another shape");
    if let Some(input) = net.values.get_mut(net.input.0) {
        input.shape = shape;
    }
    net.bypass(reader);
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;
    use crate::ir::Pool;
    use crate::onnx::import::evaluate::{assert_same, net};
    use crate::onnx::import::net::Activation;

    #[test]
    fn what_does_nothing_goes() {
        let mut before = net(&[1, 2, 3, 4]);
        let pool = Pool { kernel_shape: [1, 1], strides: [1, 1], pads: [0; 4], ceil_mode: false };
        before.push("relu", Op::Activation(Activation::Relu), &[1, 2, 3, 4]);
        before.push("drop", Op::Identity("Dropout"), &[1, 2, 3, 4]);
        before.push("pool", Op::AveragePool { pool, count_include_pad: false }, &[1, 2, 3, 4]);
        before.push("axes", Op::Transpose(vec![0, 1, 2, 3]), &[1, 2, 3, 4]);
        before.push("pad", Op::Pad { sides: vec![[0, 0]; 4], value: 0.0 }, &[1, 2, 3, 4]);
        before.push("wide", Op::Reshape, &[1, 6, 4]);
        before.push("flat", Op::Reshape, &[1, 24]);
        let mut after = before.clone();
        drop_identities(&mut after).unwrap();
        let names: Vec<_> = after.nodes.iter().map(|node| node.names.join("+")).collect();
        assert_eq!(names, ["relu", "wide+flat"]);
        assert!(after.notes.contains("dropout removed"));
        assert_same(&before, &after);
    }

    #[test]
    fn a_vector_that_is_an_image_is_taken_as_one() {
        let mut before = net(&[1, 24]);
        before.push("image", Op::Reshape, &[1, 2, 3, 4]);
        before.push("relu", Op::Activation(Activation::Relu), &[1, 2, 3, 4]);
        let mut after = before.clone();
        drop_identities(&mut after).unwrap();
        assert_eq!(after.shape(after.input), [1, 2, 3, 4]);
        assert_same(&before, &after);
    }
}
