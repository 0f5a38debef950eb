//! The weights of fully connected layers in half a network's bytes, or a quarter.

use crate::ir::{Graph, Op, Param, ParamId, ParamSource, Precision};

/// Rounds the weight of every fully connected layer to `precision`. An int8 weight gets a parameter beside it, the scales of its rows.
///
/// The new numbers are computed where the weights are resolved; here the parameters only change their [`ParamSource`]. ONNX
/// expresses them with `Cast` and `DequantizeLinear`.
pub fn round_weights(graph: &mut Graph, precision: Precision) {
    if precision == Precision::F32 {
        return;
    }
    for node in graph.nodes.iter_mut().filter(|node| matches!(node.op, Op::Gemm { .. })) {
        let Some(&weight) = node.params.first() else { continue };
        let weight = &mut graph.params[weight.0];
        if weight.source != ParamSource::Stored {
            continue;
        }
        let stored = weight.clone();
        weight.source = ParamSource::Rounded(precision);
        if precision == Precision::Int8 {
            graph.params.push(Param {
                key: format!("{}_scale", stored.key),
                name: format!("{}_scale", stored.name),
                shape: stored.shape.iter().take(1).copied().collect(),
                source: ParamSource::RowScales { weight: Box::new(stored) },
            });
            node.params.push(ParamId(graph.params.len() - 1));
        }
    }
    graph.compact();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::testing::{Builder, conv3, image};
    use crate::ir::verify;

    fn network() -> Graph {
        Builder::new(image(2, 4, 4))
            .op("conv1_1", conv3(3))
            .op("flatten", Op::Flatten)
            .op("fc1", Op::Gemm { out_features: 5 })
            .op("fc2", Op::Gemm { out_features: 2 })
            .finish()
    }

    #[test]
    fn only_weights_of_fully_connected_layers_are_rounded() {
        for precision in [Precision::F16, Precision::Bf16] {
            let mut graph = network();
            round_weights(&mut graph, precision);
            let found: Vec<_> = graph.params.iter().map(|param| (param.key.as_str(), param.precision())).collect();
            let f32 = Precision::F32;
            let expected = [
                ("conv1_1.weight", f32),
                ("conv1_1.bias", f32),
                ("fc1.weight", precision),
                ("fc1.bias", f32),
                ("fc2.weight", precision),
                ("fc2.bias", f32),
            ];
            assert_eq!(found, expected);
            let (typed, before) = (verify(graph).unwrap(), verify(network()).unwrap());
            assert_eq!((typed.param_count(), typed.total_macs()), (before.param_count(), before.total_macs()));
        }
    }

    #[test]
    fn int8_weights_have_scales_that_no_file_must_hold() {
        let mut graph = network();
        round_weights(&mut graph, Precision::Int8);
        let keys: Vec<_> = graph.params.iter().map(|param| param.key.as_str()).collect();
        let expected = [
            "conv1_1.weight",
            "conv1_1.bias",
            "fc1.weight",
            "fc1.bias",
            "fc1.weight_scale",
            "fc2.weight",
            "fc2.bias",
            "fc2.weight_scale",
        ];
        assert_eq!(keys, expected, "in the order of the nodes that read them");
        assert_eq!((graph.params[4].shape.as_slice(), graph.params[4].precision()), (&[5][..], Precision::F32));
        let stored = |graph: &Graph| graph.stored_params().iter().map(|param| param.key.clone()).collect::<Vec<_>>();
        assert_eq!(stored(&graph), stored(&network()));
        let (typed, before) = (verify(graph).unwrap(), verify(network()).unwrap());
        assert_eq!((typed.param_count(), typed.total_macs()), (before.param_count(), before.total_macs()));
    }

    #[test]
    fn f32_changes_nothing() {
        let mut graph = network();
        round_weights(&mut graph, Precision::F32);
        assert_eq!(graph, network());
    }

    #[test]
    fn nothing_else_may_be_rounded() {
        let broken = |change: &dyn Fn(&mut Graph)| {
            let mut graph = network();
            round_weights(&mut graph, Precision::Int8);
            change(&mut graph);
            verify(graph).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        let error = broken(&|graph| graph.params[0].source = ParamSource::Rounded(Precision::F16));
        assert!(error.contains("parameter `conv1_1.weight` of layer `conv1_1` is f16, expected f32"), "{error}");
        let error = broken(&|graph| graph.nodes[2].params.truncate(2));
        assert!(error.contains("takes 3 parameters, but has 2"), "{error}");
        let error = broken(&|graph| graph.params[4].shape = vec![4]);
        assert!(error.contains("`fc1.weight_scale` of layer `fc1` has shape [4], expected [5]"), "{error}");
        let error = broken(&|graph| graph.nodes[2].params.swap(1, 2));
        assert!(error.contains("parameter `fc1.weight_scale` of layer `fc1`"), "{error}");
    }
}
