//! Small graphs for the tests of passes and plans.

use super::{Conv, Graph, Node, Op, Param, ParamId, ParamSource, Pool, Shape, Value, ValueId, shape};

/// Operators that read the one before, or any others by name; parameters come by themselves. The output is the last value.
pub(crate) struct Builder {
    graph: Graph,
    shapes: Vec<Shape>,
}

impl Builder {
    pub(crate) fn new(shape: Shape) -> Self {
        let input = Value { name: "image".into(), shape: Some(shape) };
        let graph = Graph {
            name: "Test".into(),
            docs: Vec::new(),
            preprocess: None,
            input: ValueId(0),
            outputs: vec![ValueId(0)],
            values: vec![input],
            nodes: Vec::new(),
            params: Vec::new(),
        };
        Self { graph, shapes: vec![shape] }
    }

    pub(crate) fn op(self, name: &str, op: Op) -> Self {
        let last = self.graph.outputs[0];
        self.push(name, op, vec![last])
    }

    pub(crate) fn join(self, name: &str, op: Op, inputs: &[&str]) -> Self {
        let find = |name: &&str| ValueId(self.graph.values.iter().position(|value| value.name == *name).unwrap());
        let inputs = inputs.iter().map(find).collect();
        self.push(name, op, inputs)
    }

    fn push(mut self, name: &str, op: Op, inputs: Vec<ValueId>) -> Self {
        let shapes: Vec<Shape> = inputs.iter().map(|input| self.shapes[input.0]).collect();
        let param_shapes = shape::param_shapes(&op, shapes[0]).unwrap();
        let params = op.param_suffixes().iter().zip(param_shapes).map(|(suffix, shape)| {
            let (key, name) = (format!("{name}.{suffix}"), format!("{name}_{suffix}"));
            self.graph.params.push(Param { key, name, shape, source: ParamSource::Stored });
            ParamId(self.graph.params.len() - 1)
        });
        let params = params.collect();
        self.shapes.push(shape::infer(&op, &shapes).unwrap());
        self.graph.values.push(Value { name: name.into(), shape: None });
        let output = ValueId(self.graph.values.len() - 1);
        self.graph.nodes.push(Node { name: name.into(), op, inputs, params, output });
        self.graph.outputs = vec![output];
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
    Op::Conv(Conv { pads: [1; 4], ..Conv::new(out_channels, [3, 3]) })
}

pub(crate) fn max_pool(kernel: usize, stride: usize, ceil_mode: bool) -> Op {
    Op::MaxPool(Pool { kernel_shape: [kernel; 2], strides: [stride; 2], pads: [0; 4], ceil_mode })
}
