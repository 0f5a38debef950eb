//! Batch normalisation with stored statistics is an affine map of each channel, and so is the end of a convolution.

use crate::ir::{FoldedRole, Graph, Op, Param, ParamId, ParamSource};

/// Folds every `BatchNormalization` that alone reads a convolution into that convolution's weight and bias.
///
/// The new numbers are computed where the weights are resolved; here the parameters only change their
/// [`ParamSource`]. Source: Ioffe & Szegedy (2015), section 3.1.
pub fn fold_batch_norm(graph: &mut Graph) {
    while let Some((conv, batch_norm)) = find(graph) {
        let removed = graph.nodes.remove(batch_norm);
        let Op::BatchNormalization { epsilon } = removed.op else { return };
        let boxed = |id: ParamId| Box::new(graph.params[id.0].clone());
        let [weight, bias] = [graph.nodes[conv].params[0], graph.nodes[conv].params[1]];
        let conv_params = [boxed(weight), boxed(bias)];
        let statistics = &removed.params;
        let batch_norm_params =
            [boxed(statistics[0]), boxed(statistics[1]), boxed(statistics[2]), boxed(statistics[3])];
        for (id, role) in [(weight, FoldedRole::Weight), (bias, FoldedRole::Bias)] {
            let declared = &graph.params[id.0];
            graph.params[id.0] = Param {
                source: ParamSource::FoldedBatchNorm {
                    role,
                    conv: conv_params.clone(),
                    batch_norm: batch_norm_params.clone(),
                    epsilon,
                },
                ..declared.clone()
            };
        }
        graph.replace_uses(removed.output, graph.nodes[conv].output);
    }
    graph.compact();
}

/// A convolution whose output only a batch normalisation reads and whose parameters are its own, and that batch normalisation.
fn find(graph: &Graph) -> Option<(usize, usize)> {
    graph.nodes.iter().enumerate().find_map(|(batch_norm, node)| {
        let Op::BatchNormalization { .. } = node.op else { return None };
        let conv = graph.producer(node.inputs[0])?;
        let convolution = &graph.nodes[conv];
        let alone = graph.consumers(convolution.output).count() == 1 && !graph.outputs.contains(&convolution.output);
        let own = |id: &ParamId| graph.nodes.iter().filter(|other| other.params.contains(id)).count() == 1;
        let stored = |id: &ParamId| graph.params[id.0].source == ParamSource::Stored;
        let declared = convolution.params.iter().all(|id| stored(id) && own(id));
        (matches!(convolution.op, Op::Conv(_)) && alone && declared).then_some((conv, batch_norm))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::testing::{Builder, conv3, image};
    use crate::ir::verify;

    #[test]
    fn the_convolution_takes_the_statistics_over() {
        let mut graph = Builder::new(image(2, 4, 4))
            .op("conv1_1", conv3(3))
            .op("bn1_1", Op::BatchNormalization { epsilon: 1e-3 })
            .op("relu1_1", Op::Relu)
            .finish();
        let stored: Vec<String> = graph.stored_params().iter().map(|param| param.key.clone()).collect();
        fold_batch_norm(&mut graph);
        let names: Vec<_> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["conv1_1", "relu1_1"]);
        assert_eq!(graph.params.len(), 2);
        let ParamSource::FoldedBatchNorm { role, epsilon, batch_norm, .. } = &graph.params[1].source else {
            panic!("not folded: {:?}", graph.params[1]);
        };
        assert_eq!((*role, *epsilon), (FoldedRole::Bias, 1e-3));
        assert_eq!(batch_norm[3].key, "bn1_1.running_var");
        let still: Vec<String> = graph.stored_params().iter().map(|param| param.key.clone()).collect();
        assert_eq!(still, stored, "the weights file still holds what was declared");
        verify(graph).unwrap();
    }

    #[test]
    fn a_batch_norm_behind_something_else_stays() {
        let graph = Builder::new(image(2, 4, 4))
            .op("conv1_1", conv3(3))
            .op("relu1_1", Op::Relu)
            .op("bn1_1", Op::BatchNormalization { epsilon: 1e-5 })
            .finish();
        let mut folded = graph.clone();
        fold_batch_norm(&mut folded);
        assert_eq!(folded, graph);
    }
}
