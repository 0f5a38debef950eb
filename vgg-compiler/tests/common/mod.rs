//! Small networks, built by hand.

#![allow(dead_code, reason = "every test file compiles this module and uses a part of it")]

use vgg_compiler::ir::{
    Conv, FoldedRole, Graph, Lrn, Node, Op, Param, ParamId, ParamSource, Pool, Shape, TypedGraph, Value, ValueId,
    verify,
};
use vgg_compiler::weights::{Tensor, Tensors};

/// A chain of nodes under construction.
pub(crate) struct Builder {
    graph: Graph,
}

impl Builder {
    pub(crate) fn new(name: &str, [channels, height, width]: [usize; 3]) -> Self {
        let input = Value { name: "input".into(), shape: Some(Shape::Image { channels, height, width }) };
        let graph = Graph {
            name: name.into(),
            docs: vec![],
            preprocess: None,
            input: ValueId(0),
            outputs: vec![ValueId(0)],
            values: vec![input],
            nodes: vec![],
            params: vec![],
        };
        Self { graph }
    }

    /// Appends a node whose parameters have the keys `key.SUFFIX`.
    pub(crate) fn node(mut self, name: &str, op: Op, key: &str, shapes: Vec<Vec<usize>>) -> Self {
        let suffixes = op.param_suffixes();
        assert_eq!(suffixes.len(), shapes.len());
        let first = self.graph.params.len();
        for (suffix, shape) in suffixes.iter().zip(&shapes) {
            self.graph.params.push(param(&format!("{key}.{suffix}"), &format!("{name}_{suffix}"), shape));
        }
        self.graph.values.push(Value { name: name.into(), shape: None });
        let output = ValueId(self.graph.values.len() - 1);
        let params = (first..self.graph.params.len()).map(ParamId).collect();
        let inputs = std::mem::replace(&mut self.graph.outputs, vec![output]);
        self.graph.nodes.push(Node { name: name.into(), op, inputs, params, output });
        self
    }

    /// Makes the last node read the values `inputs`.
    pub(crate) fn reading(mut self, inputs: &[&str]) -> Self {
        let find = |name: &&str| ValueId(self.graph.values.iter().position(|value| value.name == *name).unwrap());
        let inputs = inputs.iter().map(find).collect();
        self.graph.nodes.last_mut().unwrap().inputs = inputs;
        self
    }

    pub(crate) fn conv(
        self,
        name: &str,
        key: &str,
        [outputs, inputs, height, width]: [usize; 4],
        pads: [usize; 4],
    ) -> Self {
        let conv = Conv { pads, ..Conv::new(outputs, [height, width]) };
        self.node(name, Op::Conv(conv), key, vec![vec![outputs, inputs, height, width], vec![outputs]])
    }

    pub(crate) fn gemm(self, name: &str, key: &str, outputs: usize, inputs: usize) -> Self {
        self.node(name, Op::Gemm { out_features: outputs }, key, vec![vec![outputs, inputs], vec![outputs]])
    }

    pub(crate) fn plain(self, name: &str, op: Op) -> Self {
        self.node(name, op, "", vec![])
    }

    pub(crate) fn graph(self) -> Graph {
        self.graph
    }

    pub(crate) fn build(self) -> TypedGraph {
        verify(self.graph).unwrap()
    }
}

fn param(key: &str, name: &str, shape: &[usize]) -> Param {
    Param { key: key.into(), name: name.into(), shape: shape.into(), source: ParamSource::Stored }
}

/// Every operator once, with attributes that are no defaults. `dropout` puts one before the classifier.
pub(crate) fn every_operator(dropout: bool) -> TypedGraph {
    let pool = Pool { kernel_shape: [3, 2], strides: [2, 1], pads: [1, 0, 0, 1], ceil_mode: true };
    let average = Pool { kernel_shape: [2, 2], strides: [2, 1], pads: [0, 1, 1, 0], ceil_mode: false };
    let mut net = Builder::new("Every", [2, 9, 7])
        .conv("conv1_1", "features.0", [4, 2, 3, 2], [1, 0, 2, 1])
        .node("bn1_1", Op::BatchNormalization { epsilon: 1e-3 }, "features.1", vec![vec![4]; 4])
        .plain("relu1_1", Op::Relu)
        .plain("norm1", Op::Lrn(Lrn { size: 3, alpha: 5e-4, beta: 0.75, bias: 2.0 }))
        .plain("pool1", Op::MaxPool(pool))
        .plain("average1", Op::AveragePool { pool: average, count_include_pad: false })
        .plain("flatten", Op::Flatten);
    if dropout {
        net = net.plain("drop6", Op::Dropout { ratio: 0.25 });
    }
    let mut graph = net.gemm("fc6", "classifier.0", 5, 84).plain("prob", Op::Softmax).graph();
    graph.docs = vec!["Every operator once.".into(), String::new(), "Grüße.".into()];
    verify(graph).unwrap()
}

/// Two convolutions, each with a batch normalisation that is folded in or not, and a classifier.
pub(crate) fn normalised(folded: bool) -> TypedGraph {
    let norm = Op::BatchNormalization { epsilon: 1e-5 };
    let mut net = Builder::new("Normalised", [1, 5, 5]).conv("conv1_1", "features.0", [2, 1, 3, 3], [1; 4]);
    if !folded {
        net = net.node("bn1_1", norm, "features.1", vec![vec![2]; 4]);
    }
    net = net.plain("relu1_1", Op::Relu).conv("conv1_2", "features.3", [3, 2, 1, 1], [0; 4]);
    if !folded {
        net = net.node("bn1_2", norm, "features.4", vec![vec![3]; 4]);
    }
    let mut graph =
        net.plain("relu1_2", Op::Relu).plain("flatten", Op::Flatten).gemm("fc2", "classifier.0", 2, 75).graph();
    if folded {
        fold(&mut graph, [0, 1], "features.1", "bn1_1");
        fold(&mut graph, [2, 3], "features.4", "bn1_2");
    }
    verify(graph).unwrap()
}

/// Makes the two parameters of a convolution folded ones, as the pass does.
fn fold(graph: &mut Graph, [weight, bias]: [usize; 2], key: &str, name: &str) {
    let conv = [&graph.params[weight], &graph.params[bias]].map(|param| Box::new(param.clone()));
    let channels = graph.params[bias].len();
    let batch_norm = ["weight", "bias", "running_mean", "running_var"]
        .map(|suffix| Box::new(param(&format!("{key}.{suffix}"), &format!("{name}_{suffix}"), &[channels])));
    for (index, role) in [(weight, FoldedRole::Weight), (bias, FoldedRole::Bias)] {
        graph.params[index].source =
            ParamSource::FoldedBatchNorm { role, conv: conv.clone(), batch_norm: batch_norm.clone(), epsilon: 1e-5 };
    }
}

pub(crate) fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
    assert_eq!(shape.iter().product::<usize>(), values.len());
    Tensor { shape: shape.into(), data: values.iter().flat_map(|value| value.to_le_bytes()).collect() }
}

pub(crate) fn numbers(data: &[u8]) -> Vec<f32> {
    data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// Changes one element.
pub(crate) fn set(tensors: &mut Tensors, key: &str, index: usize, value: f32) {
    let tensor = tensors.get_mut(key).unwrap();
    let mut values = numbers(&tensor.data);
    values[index] = value;
    tensor.data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
}
