//! What no output depends on is not computed.

use std::collections::BTreeSet;

use crate::onnx::import::error::Refusal;
use crate::onnx::import::net::{Net, ValueId};

/// Removes the nodes whose results nobody reads.
pub(super) fn drop_dead(net: &mut Net) -> Result<(), Refusal> {
    let mut needed: BTreeSet<ValueId> = net.outputs.iter().copied().collect();
    let mut kept = Vec::with_capacity(net.nodes.len());
    for node in std::mem::take(&mut net.nodes).into_iter().rev() {
        if needed.contains(&node.output) {
            needed.extend(&node.inputs);
            kept.push(node);
        }
    }
    kept.reverse();
    net.nodes = kept;
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;
    use crate::onnx::import::evaluate::{assert_same, net};
    use crate::onnx::import::net::{Activation, Op};

    #[test]
    fn only_what_the_outputs_need_stays() {
        let mut before = net(&[1, 3]);
        let input = before.input;
        before.push("relu", Op::Activation(Activation::Relu), &[1, 3]);
        let kept = before.outputs.clone();
        before.push_on(&[input], "lost", Op::Activation(Activation::Sigmoid), &[1, 3]);
        before.outputs = kept;
        let mut after = before.clone();
        drop_dead(&mut after).unwrap();
        assert_eq!(after.nodes.iter().map(|node| node.names.concat()).collect::<Vec<_>>(), ["relu"]);
        assert_same(&before, &after);
    }
}
