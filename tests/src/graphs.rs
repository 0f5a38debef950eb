//! Networks that no declaration says, as graphs: operators beyond those of the language.

use vgg_compiler::ir::{Conv, Graph, Node, Op, Param, ParamId, ParamSource, Pool, Shape, Value, ValueId, shape};

use crate::cases::Case;

/// A graph under construction. Every operator has a name and reads the one before; parameters come by themselves.
#[derive(Clone, Debug)]
pub struct Net {
    graph: Graph,
    shapes: Vec<Shape>,
}

impl Net {
    /// A network of images.
    pub fn new(channels: usize, height: usize, width: usize) -> Self {
        let input = Shape::Image { channels, height, width };
        let graph = Graph {
            name: "Net".into(),
            docs: Vec::new(),
            preprocess: None,
            input: ValueId(0),
            output: ValueId(0),
            values: vec![Value { name: "input".into(), shape: Some(input) }],
            nodes: Vec::new(),
            params: Vec::new(),
        };
        Self { graph, shapes: vec![input] }
    }

    /// Appends an operator that reads the last value.
    ///
    /// # Panics
    /// When it cannot take that value: a mistake in the list of cases.
    #[must_use]
    pub fn op(mut self, name: &str, op: Op) -> Self {
        let read = self.graph.output;
        let input = self.shapes[read.0];
        let refused = |error| panic!("{name}: {error}");
        let shapes = shape::param_shapes(&op, input).unwrap_or_else(refused);
        self.shapes.push(shape::infer(&op, input).unwrap_or_else(|error| panic!("{name}: {error}")));
        let first = self.graph.params.len();
        self.graph.params.extend(op.param_suffixes().iter().zip(shapes).map(|(suffix, shape)| Param {
            key: format!("{name}.{suffix}"),
            name: format!("{name}_{suffix}"),
            shape,
            source: ParamSource::Stored,
        }));
        let params = (first..self.graph.params.len()).map(ParamId).collect();
        self.graph.values.push(Value { name: name.into(), shape: None });
        let output = ValueId(self.graph.values.len() - 1);
        self.graph.nodes.push(Node { name: name.into(), op, inputs: vec![read], params, output });
        self.graph.output = output;
        self
    }

    /// Appends a 3x3 convolution of pad 1.
    #[must_use]
    pub fn conv3(self, name: &str, out_channels: usize) -> Self {
        self.op(name, Op::Conv(Conv { out_channels, kernel_shape: [3, 3], strides: [1, 1], pads: [1; 4] }))
    }

    /// Appends a fully connected layer, with a `Flatten` before it where there are images.
    #[must_use]
    pub fn fc(self, name: &str, out_features: usize) -> Self {
        let flat = matches!(self.shapes[self.graph.output.0], Shape::Flat { .. });
        let net = if flat { self } else { self.op(&format!("{name}_flatten"), Op::Flatten) };
        net.op(name, Op::Gemm { out_features })
    }

    /// The graph, whose output is the last value.
    pub fn graph(self) -> Graph {
        self.graph
    }

    /// The case of the graph.
    pub fn case(self, name: impl Into<String>) -> Case {
        Case::of_graph(name, self.graph)
    }
}

fn average(kernel: [usize; 2], strides: [usize; 2], pads: [usize; 4], ceil_mode: bool) -> Op {
    Op::AveragePool { pool: Pool { kernel_shape: kernel, strides, pads, ceil_mode }, count_include_pad: true }
}

/// Every operator of this module at least once.
pub fn every_operator() -> Case {
    Net::new(3, 12, 13)
        .conv3("conv1", 8)
        .op("relu1", Op::Relu)
        .op("pool1", average([3, 3], [2, 2], [1; 4], false))
        .conv3("conv2", 12)
        .op("mean", Op::GlobalAveragePool)
        .op("maximum", Op::GlobalMaxPool)
        .fc("fc1", 10)
        .op("prob", Op::LogSoftmax)
        .case("operators")
}

/// Average pools that count their padding, pools over whole images, and the logarithm of softmax.
pub fn pools() -> Vec<Case> {
    let mut cases = vec![
        Net::new(3, 12, 12)
            .conv3("conv1", 16)
            .op("pool1", average([3, 3], [2, 2], [1; 4], false))
            .fc("fc1", 7)
            .op("prob", Op::LogSoftmax)
            .case("an average with its padding, log softmax"),
        Net::new(3, 11, 14)
            .conv3("conv1", 9)
            .op("pool1", average([3, 2], [2, 1], [1, 0, 0, 1], false))
            .conv3("conv2", 5)
            .case("an average with padding on two sides"),
        Net::new(5, 9, 8).op("pool1", average([2, 2], [1, 1], [1; 4], false)).case("an average with padding first"),
        Net::new(9, 7, 7)
            .op("pool1", average([2, 2], [2, 2], [1; 4], true))
            .fc("fc1", 5)
            .case("an average with padding whose last window is dropped"),
        Net::new(3, 6, 6).conv3("conv1", 8).fc("fc1", 1).op("prob", Op::LogSoftmax).case("log softmax of one"),
        Net::new(3, 40, 37)
            .conv3("conv1", 17)
            .op("relu1", Op::Relu)
            .op("mean", Op::GlobalAveragePool)
            .fc("fc1", 300)
            .op("prob", Op::LogSoftmax)
            .case("the mean of a large image"),
        Net::new(7, 1, 1).op("mean", Op::GlobalAveragePool).case("the mean of one pixel"),
    ];
    for (height, width) in [(1, 1), (2, 3), (7, 7), (13, 6)] {
        for channels in [1, 8, 13] {
            for (name, op) in [("maximum", Op::GlobalMaxPool), ("mean", Op::GlobalAveragePool)] {
                let net = Net::new(3, height, width).conv3("conv1", channels).op(name, op).fc("fc1", 4);
                cases.push(net.case(format!("the {name} of {channels} channels of {height}x{width}")));
            }
        }
    }
    cases
}
