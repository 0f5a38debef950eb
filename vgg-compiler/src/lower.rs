//! From a declaration to a graph: implied ReLUs and the flattening before the classifier become nodes.

use crate::ir::{Graph, Node, Op, Param, ParamId, ParamSource, Shape, ShapeError, Value, ValueId, shape};
use crate::spec::names::{LayerNames, layer_names};
use crate::spec::{LayerKind, ModelSpec};

/// The graph of a declaration, with batch norm and dropout as declared.
///
/// Order within a convolution: Conv, BatchNormalization, Relu. A `Flatten` stands before the first fully connected layer.
///
/// # Errors
///
/// When a layer cannot take the shape that reaches it. [`crate::spec::check`] reports that with its place.
pub fn lower(spec: &ModelSpec) -> Result<Graph, ShapeError> {
    let mut chain = Chain::new(spec);
    let names = layer_names(spec);
    let layers: Vec<_> = spec.rows.iter().flatten().zip(names.iter().flatten()).collect();
    let mut pending_relu: Option<&String> = None;
    for (index, (layer, names)) in layers.iter().enumerate() {
        let before_batch_norm =
            layers.get(index + 1).is_some_and(|(next, _)| matches!(next.kind, LayerKind::BatchNorm { .. }));
        chain.layer(&layer.kind, names)?;
        pending_relu = names.relu.as_ref().or(pending_relu);
        if !before_batch_norm && let Some(relu) = pending_relu.take() {
            chain.push(relu, Op::Relu, None)?;
        }
    }
    Ok(chain.graph)
}

/// The graph so far, and the shape at its end.
struct Chain {
    graph: Graph,
    shape: Shape,
}

impl Chain {
    fn new(spec: &ModelSpec) -> Self {
        let input = &spec.input;
        let shape =
            Shape::Image { channels: input.channels.value, height: input.height.value, width: input.width.value };
        let graph = Graph {
            name: spec.name.value.clone(),
            docs: spec.docs.clone(),
            preprocess: spec.preprocess.as_ref().map(|preprocess| preprocess.value.clone()),
            input: ValueId(0),
            outputs: vec![ValueId(0)],
            values: vec![Value { name: "input".into(), shape: Some(shape) }],
            nodes: Vec::new(),
            params: Vec::new(),
        };
        Self { graph, shape }
    }

    fn layer(&mut self, kind: &LayerKind, names: &LayerNames) -> Result<(), ShapeError> {
        let op = kind.op();
        if let (Op::Gemm { .. }, Shape::Image { .. }) = (op, self.shape) {
            self.push("flatten", Op::Flatten, None)?;
        }
        self.push(&names.name, op, names.key.as_deref())
    }

    fn push(&mut self, name: &str, op: Op, key: Option<&str>) -> Result<(), ShapeError> {
        let shapes = shape::param_shapes(&op, self.shape)?;
        let key = key.unwrap_or(name);
        let params = op.param_suffixes().iter().zip(shapes).map(|(suffix, shape)| {
            let (key, name) = (format!("{key}.{suffix}"), format!("{name}_{suffix}"));
            self.graph.params.push(Param { key, name, shape, source: ParamSource::Stored });
            ParamId(self.graph.params.len() - 1)
        });
        let params = params.collect();
        self.shape = shape::infer(&op, &[self.shape])?;
        self.graph.values.push(Value { name: name.to_owned(), shape: None });
        let output = ValueId(self.graph.values.len() - 1);
        let inputs = std::mem::replace(&mut self.graph.outputs, vec![output]);
        self.graph.nodes.push(Node { name: name.to_owned(), op, inputs, params, output });
        Ok(())
    }
}
