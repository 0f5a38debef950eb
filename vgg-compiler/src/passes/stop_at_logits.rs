//! The scores before softmax are what training, calibration and many applications want.

use crate::ir::{Graph, Op, ValueId};

/// Removes each `Softmax` or `LogSoftmax` that makes an output and that no layer reads, so that the network ends in logits. Logits that
/// are an output already stay the only one of the two.
pub fn stop_at_logits(graph: &mut Graph) {
    let is_final = |graph: &Graph, output: ValueId| {
        let index = graph.producer(output)?;
        let softmax = matches!(graph.nodes[index].op, Op::Softmax | Op::LogSoftmax);
        (softmax && graph.consumers(output).next().is_none()).then_some(index)
    };
    for output in graph.outputs.clone() {
        let Some(index) = is_final(graph, output) else { continue };
        let logits = graph.nodes.remove(index).inputs[0];
        let twice = graph.outputs.contains(&logits);
        graph.outputs.retain(|&other| !twice || other != output);
        graph.replace_uses(output, logits);
    }
    graph.compact();
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

    #[test]
    fn each_output_loses_its_own() {
        let mut graph = Builder::new(image(2, 1, 1))
            .op("flatten", Op::Flatten)
            .op("fc1", Op::Gemm { out_features: 3 })
            .join("fc2", Op::Gemm { out_features: 2 }, &["flatten"])
            .join("prob1", Op::Softmax, &["fc1"])
            .join("prob2", Op::LogSoftmax, &["fc2"])
            .finish();
        let value =
            |graph: &Graph, name: &str| ValueId(graph.values.iter().position(|value| value.name == name).unwrap());
        graph.outputs = ["prob1", "prob2", "fc2"].map(|name| value(&graph, name)).to_vec();
        stop_at_logits(&mut graph);
        assert_eq!(graph.nodes.len(), 3);
        assert_eq!(graph.outputs, [value(&graph, "fc1"), value(&graph, "fc2")]);
        crate::ir::verify(graph).unwrap();
    }
}
