//! Dropout does nothing at inference.

use crate::ir::{Graph, Op};

/// Removes every `Dropout`; its readers read its input.
pub fn drop_dropout(graph: &mut Graph) {
    while let Some(index) = graph.nodes.iter().position(|node| matches!(node.op, Op::Dropout { .. })) {
        let node = graph.nodes.remove(index);
        graph.replace_uses(node.output, node.inputs[0]);
    }
    graph.compact();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::testing::{Builder, image};

    #[test]
    fn readers_and_output_move_to_the_input() {
        let mut graph = Builder::new(image(2, 1, 1))
            .op("flatten", Op::Flatten)
            .op("drop1", Op::Dropout { ratio: 0.5 })
            .op("fc1", Op::Gemm { out_features: 3 })
            .op("drop2", Op::Dropout { ratio: 0.5 })
            .finish();
        drop_dropout(&mut graph);
        let names: Vec<_> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["flatten", "fc1"]);
        assert_eq!(graph.nodes[1].inputs, [graph.nodes[0].output]);
        assert_eq!(graph.outputs, [graph.nodes[1].output]);
        crate::ir::verify(graph).unwrap();
    }
}
