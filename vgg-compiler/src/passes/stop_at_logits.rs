//! The scores before softmax are what training, calibration and many applications want.

use crate::ir::{Graph, Op};

/// Removes a final `Softmax` or `LogSoftmax`, so that the network ends in logits.
pub fn stop_at_logits(graph: &mut Graph) {
    let Some(index) = graph.producer(graph.output) else { return };
    if matches!(graph.nodes[index].op, Op::Softmax | Op::LogSoftmax) {
        graph.output = graph.nodes.remove(index).inputs[0];
        graph.compact();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::testing::{Builder, image};

    #[test]
    fn only_a_final_softmax_goes() {
        let build = || Builder::new(image(2, 1, 1)).op("flatten", Op::Flatten).op("fc1", Op::Gemm { out_features: 3 });
        for op in [Op::Softmax, Op::LogSoftmax] {
            let mut with = build().op("prob", op).finish();
            stop_at_logits(&mut with);
            assert_eq!(with, build().finish());
        }
        let mut without = build().finish();
        stop_at_logits(&mut without);
        assert_eq!(without, build().finish());
    }
}
