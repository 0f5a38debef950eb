//! Small graphs for the tests of passes and plans.

use super::{Conv, Graph, Node, Op, Param, ParamId, ParamSource, Pool, Shape, Value, ValueId, shape};

/// A chain of operators, each reading the one before; parameters come by themselves.
pub(crate) struct Builder {
    graph: Graph,
    shape: Shape,
}

impl Builder {
    pub(crate) fn new(shape: Shape) -> Self {
        let input = Value { name: "image".into(), shape: Some(shape) };
        let graph = Graph {
            name: "Test".into(),
            docs: Vec::new(),
            preprocess: None,
            input: ValueId(0),
            output: ValueId(0),
            values: vec![input],
            nodes: Vec::new(),
            params: Vec::new(),
        };
        Self { graph, shape }
    }

    pub(crate) fn op(mut self, name: &str, op: Op) -> Self {
        let shapes = shape::param_shapes(&op, self.shape).unwrap();
        let params = op.param_suffixes().iter().zip(shapes).map(|(suffix, shape)| {
            let (key, name) = (format!("{name}.{suffix}"), format!("{name}_{suffix}"));
            self.graph.params.push(Param { key, name, shape, source: ParamSource::Stored });
            ParamId(self.graph.params.len() - 1)
        });
        let params = params.collect();
        self.shape = shape::infer(&op, self.shape).unwrap();
        self.graph.values.push(Value { name: name.into(), shape: None });
        let output = ValueId(self.graph.values.len() - 1);
        self.graph.nodes.push(Node { name: name.into(), op, inputs: vec![self.graph.output], params, output });
        self.graph.output = output;
        self
    }

    pub(crate) fn finish(self) -> Graph {
        self.graph
    }
}

pub(crate) fn image(channels: usize, height: usize, width: usize) -> Shape {
    Shape::Image { channels, height, width }
}

pub(crate) fn conv3(out_channels: usize) -> Op {
    Op::Conv(Conv { out_channels, kernel_shape: [3, 3], strides: [1, 1], pads: [1; 4] })
}

pub(crate) fn max_pool(kernel: usize, stride: usize, ceil_mode: bool) -> Op {
    Op::MaxPool(Pool { kernel_shape: [kernel; 2], strides: [stride; 2], pads: [0; 4], ceil_mode })
}
