//! A product with a constant matrix is a fully connected layer without bias; an addition behind it is folded in later.

use crate::onnx::import::constant::filled;
use crate::onnx::import::error::Refusal;
use crate::onnx::import::net::{Gemm, Net, Op};
use crate::onnx::import::operator::reals;

/// Turns every MatMul of vectors into a Gemm, whose weight is [out, in].
pub(super) fn matmul_to_gemm(net: &mut Net) -> Result<(), Refusal> {
    for index in 0..net.nodes.len() {
        let Some(node) = net.nodes.get(index) else { continue };
        let Op::MatMul(weight) = &node.op else { continue };
        let Some(&input) = node.inputs.first() else { continue };
        let &[inputs, out] = weight.shape.as_slice() else { continue };
        if net.shape(input).len() != 2 {
            continue;
        }
        let turned = weight.permuted(&[1, 0]);
        let turned = turned.ok_or_else(|| Refusal::damaged(format!("{}: its weight is damaged", net.shown(node))))?;
        let gemm = Gemm { shape: [out, inputs], weight: reals(&turned), bias: filled(0.0, out) };
        if let Some(node) = net.nodes.get_mut(index) {
            node.op = Op::Gemm(gemm);
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;
    use crate::onnx::import::constant::Constant;
    use crate::onnx::import::evaluate::{assert_same, net};

    #[test]
    fn the_weight_is_turned() {
        let mut before = net(&[2, 3]);
        let weight = Constant::real(vec![3, 4], (0..12).map(|n| n as f32 - 5.0));
        before.push("fc", Op::MatMul(weight), &[2, 4]);
        let mut after = before.clone();
        matmul_to_gemm(&mut after).unwrap();
        assert!(matches!(&after.nodes[0].op, Op::Gemm(gemm) if gemm.shape == [4, 3]));
        assert_same(&before, &after);
    }
}
