//! fuse_epilogue: what a layer can do before it stores its result.

use crate::ir::{Node, Op, Pool, Shape, TypedGraph, ValueId};

use super::PlanError;
use super::select_algorithm::{Groups, groups};

/// A run of nodes that one step computes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fused<'a> {
    /// The node that names the step.
    pub(super) node: &'a Node,
    /// Its fused followers, in order.
    pub(super) epilogue: Vec<&'a Node>,
}

impl Fused<'_> {
    /// The values that are read.
    pub(super) fn inputs(&self) -> &[ValueId] {
        &self.node.inputs
    }

    /// The value that is written.
    pub(super) fn output(&self) -> ValueId {
        self.epilogue.last().unwrap_or(&self.node).output
    }

    /// The names of all nodes.
    pub(super) fn layers(&self) -> Vec<String> {
        std::iter::once(&self.node).chain(&self.epilogue).map(|node| node.name.clone()).collect()
    }

    /// Whether ReLU is part of the epilogue.
    pub(super) fn relu(&self) -> bool {
        self.epilogue.iter().any(|node| node.op == Op::Relu)
    }

    /// The max pooling of the epilogue.
    pub(super) fn pool(&self) -> Option<Pool> {
        self.epilogue.iter().find_map(|node| match node.op {
            Op::MaxPool(pool) => Some(pool),
            _ => None,
        })
    }
}

/// Groups the nodes of `graph`: `Conv [Relu] [MaxPool]` and `[Gemm | Add | Mul | BatchNormalization] [Relu]` become one step,
/// everything else is one by itself. A group stands where its first node stands in the graph.
///
/// A value in `barriers` is always stored as it is, as is one that several nodes read and one that is an output.
pub(super) fn fuse_epilogue<'a>(graph: &'a TypedGraph, barriers: &[ValueId]) -> Result<Vec<Fused<'a>>, PlanError> {
    let mut groups: Vec<Fused<'a>> = Vec::new();
    for node in &graph.nodes {
        if let Op::Dropout { .. } = node.op {
            return Err(PlanError::Unprepared { layer: node.name.clone(), op: node.op.op_type() });
        }
        // Branches may interleave: the group that a node continues need not be the last one.
        match groups.iter_mut().rev().find(|group| continues(graph, group, node, barriers)) {
            Some(group) => group.epilogue.push(node),
            None => groups.push(Fused { node, epilogue: Vec::new() }),
        }
    }
    Ok(groups)
}

fn continues(graph: &TypedGraph, group: &Fused<'_>, node: &Node, barriers: &[ValueId]) -> bool {
    let value = group.output();
    if node.inputs[0] != value
        || barriers.contains(&value)
        || graph.outputs.contains(&value)
        || graph.consumers(value).count() != 1
    {
        return false;
    }
    match (&group.node.op, &node.op) {
        (Op::Conv(_) | Op::Gemm { .. } | Op::Add | Op::Mul | Op::BatchNormalization { .. }, Op::Relu) => {
            group.epilogue.is_empty()
        }
        (Op::Conv(conv), Op::MaxPool(_)) => {
            let channels = match graph.shape(group.node.inputs[0]) {
                Shape::Image { channels, .. } => channels,
                Shape::Flat { .. } => return false,
            };
            group.pool().is_none() && groups(conv, channels) != Groups::Together
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::testing::{Builder, conv3, image, max_pool};
    use crate::ir::verify;

    fn fused(graph: &TypedGraph, barriers: &[ValueId]) -> Vec<String> {
        fuse_epilogue(graph, barriers).unwrap().iter().map(|group| group.layers().join("+")).collect()
    }

    fn sample() -> TypedGraph {
        verify(
            Builder::new(image(3, 8, 8))
                .op("conv1", conv3(4))
                .op("relu1", Op::Relu)
                .op("pool1", max_pool(2, 2, false))
                .op("pool2", max_pool(2, 2, false))
                .op("conv2", conv3(4))
                .op("pool3", max_pool(2, 2, false))
                .op("relu2", Op::Relu)
                .op("flatten", Op::Flatten)
                .op("fc1", Op::Gemm { out_features: 3 })
                .op("relu3", Op::Relu)
                .op("relu4", Op::Relu)
                .finish(),
        )
        .unwrap()
    }

    #[test]
    fn the_epilogue_is_bias_relu_pool_and_no_more() {
        let graph = sample();
        let expected = ["conv1+relu1+pool1", "pool2", "conv2+pool3", "relu2", "flatten", "fc1+relu3", "relu4"];
        assert_eq!(fused(&graph, &[]), expected);
    }

    #[test]
    fn a_barrier_is_stored() {
        let graph = sample();
        let relu1 = graph.nodes[1].output;
        assert_eq!(fused(&graph, &[relu1])[..2], ["conv1+relu1", "pool1"]);
    }

    #[test]
    fn interleaved_branches_fuse_and_shared_values_do_not() {
        let graph = Builder::new(image(8, 8, 8))
            .op("conv1", conv3(8))
            .join("conv2", conv3(8), &["image"])
            .join("relu1", Op::Relu, &["conv1"])
            .join("relu2", Op::Relu, &["conv2"])
            .join("pool1", max_pool(2, 2, false), &["relu1"])
            .join("pool2", max_pool(2, 2, false), &["relu2"])
            .join("sum", Op::Add, &["pool1", "pool2"])
            .op("relu3", Op::Relu)
            .join("norm", Op::BatchNormalization { epsilon: 1e-5 }, &["relu3"])
            .op("relu4", Op::Relu)
            .join("product", Op::Mul, &["relu3", "relu4"])
            .finish();
        let mut with_output = graph.clone();
        let graph = verify(graph).unwrap();
        let expected = ["conv1+relu1+pool1", "conv2+relu2+pool2", "sum+relu3", "norm+relu4", "product"];
        assert_eq!(fused(&graph, &[]), expected);
        with_output.outputs.push(graph.nodes[6].output);
        with_output.outputs.push(graph.nodes[2].output);
        let expected = ["conv1+relu1", "conv2+relu2+pool2", "pool1", "sum", "relu3", "norm+relu4", "product"];
        assert_eq!(fused(&verify(with_output).unwrap(), &[]), expected, "outputs are stored");
    }

    #[test]
    fn an_unprepared_graph_is_refused() {
        let graph = Builder::new(image(2, 1, 1)).op("flatten", Op::Flatten).op("drop1", Op::Dropout { ratio: 0.5 });
        let graph = verify(graph.finish()).unwrap();
        let error = fuse_epilogue(&graph, &[]).unwrap_err();
        assert!(error.to_string().contains("`drop1` (Dropout)"), "{error}");
    }
}
