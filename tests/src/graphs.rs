//! Networks that no declaration says, as graphs: operators beyond those of the language.

use vgg_compiler::ir::{Conv, Graph, Node, Op, Param, ParamId, ParamSource, Pool, Shape, Value, ValueId, shape};

use crate::cases::Case;

/// A graph under construction. Every operator has a name and reads the one before, or others by their names; parameters come by
/// themselves. The output is the last value, and those before it that are said to be outputs come first.
#[derive(Clone, Debug)]
pub struct Net {
    graph: Graph,
    shapes: Vec<Shape>,
    outputs: Vec<ValueId>,
}

impl Net {
    /// A network of images.
    pub fn new(channels: usize, height: usize, width: usize) -> Self {
        Self::of(Shape::Image { channels, height, width })
    }

    /// A network of vectors.
    pub fn of_vectors(features: usize) -> Self {
        Self::of(Shape::Flat { features })
    }

    fn of(input: Shape) -> Self {
        let graph = Graph {
            name: "Net".into(),
            docs: Vec::new(),
            preprocess: None,
            input: ValueId(0),
            outputs: vec![ValueId(0)],
            values: vec![Value { name: "input".into(), shape: Some(input) }],
            nodes: Vec::new(),
            params: Vec::new(),
        };
        Self { graph, shapes: vec![input], outputs: Vec::new() }
    }

    /// Appends an operator that reads the last value.
    ///
    /// # Panics
    /// When it cannot take that value: a mistake in the list of cases.
    #[must_use]
    pub fn op(self, name: &str, op: Op) -> Self {
        let last = self.last();
        self.push(name, op, vec![last])
    }

    /// Appends an operator that reads the values `inputs`.
    ///
    /// # Panics
    /// When there is no such value, or the operator cannot take it: a mistake in the list of cases.
    #[must_use]
    pub fn join(self, name: &str, op: Op, inputs: &[&str]) -> Self {
        let inputs = inputs.iter().map(|input| self.value(input)).collect();
        self.push(name, op, inputs)
    }

    /// Makes the last value an output, beside that which will be the last one in the end.
    #[must_use]
    pub fn output(mut self) -> Self {
        let last = self.last();
        self.outputs.push(last);
        self
    }

    fn last(&self) -> ValueId {
        ValueId(self.graph.values.len() - 1)
    }

    fn value(&self, name: &str) -> ValueId {
        let index = self.graph.values.iter().position(|value| value.name == name);
        ValueId(index.unwrap_or_else(|| panic!("there is no value `{name}`")))
    }

    fn push(mut self, name: &str, op: Op, inputs: Vec<ValueId>) -> Self {
        let read: Vec<Shape> = inputs.iter().map(|input| self.shapes[input.0]).collect();
        let refused = |error| panic!("{name}: {error}");
        let shapes = shape::param_shapes(&op, read[0]).unwrap_or_else(refused);
        self.shapes.push(shape::infer(&op, &read).unwrap_or_else(|error| panic!("{name}: {error}")));
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
        self.graph.nodes.push(Node { name: name.into(), op, inputs, params, output });
        self
    }

    /// Appends a 3x3 convolution of pad 1.
    #[must_use]
    pub fn conv3(self, name: &str, out_channels: usize) -> Self {
        self.op(name, Op::Conv(Conv { pads: [1; 4], ..Conv::new(out_channels, [3, 3]) }))
    }

    /// Appends a fully connected layer, with a `Flatten` before it where there are images.
    #[must_use]
    pub fn fc(self, name: &str, out_features: usize) -> Self {
        let flat = matches!(self.shapes[self.last().0], Shape::Flat { .. });
        let net = if flat { self } else { self.op(&format!("{name}_flatten"), Op::Flatten) };
        net.op(name, Op::Gemm { out_features })
    }

    /// The graph.
    pub fn graph(mut self) -> Graph {
        let last = self.last();
        self.graph.outputs = self.outputs;
        if !self.graph.outputs.contains(&last) {
            self.graph.outputs.push(last);
        }
        self.graph
    }

    /// The case of the graph.
    pub fn case(self, name: impl Into<String>) -> Case {
        Case::of_graph(name, self.graph())
    }
}

fn average(kernel: [usize; 2], strides: [usize; 2], pads: [usize; 4], ceil_mode: bool) -> Op {
    Op::AveragePool { pool: Pool { kernel_shape: kernel, strides, pads, ceil_mode }, count_include_pad: true }
}

/// Every operator of this module at least once, in a graph with branches.
pub fn every_operator() -> Case {
    Net::new(3, 12, 13)
        .conv3("conv1", 8)
        .op("relu1", Op::Relu)
        .op("pool1", average([3, 3], [2, 2], [1; 4], false))
        .join("conv2", conv(8, [3, 3], |conv| (conv.pads, conv.group) = ([1; 4], 8)), &["pool1"])
        .op("clip2", RELU6)
        .join("sum", Op::Add, &["clip2", "pool1"])
        .op("relu2", Op::Relu)
        .join("conv3", conv(5, [3, 2], |conv| (conv.pads, conv.dilations) = ([2, 1, 2, 0], [2, 1])), &["relu2"])
        .op("leaky3", Op::LeakyRelu { alpha: -0.25 })
        .join("norm4", Op::BatchNormalization { epsilon: 1e-4 }, &["sum"])
        .join("gate4", Op::Sigmoid, &["norm4"])
        .join("product", Op::Mul, &["gate4", "norm4"])
        .join("joined", Op::Concat, &["leaky3", "product"])
        .join("conv5", conv(16, [3, 3], |conv| conv.pads = [1; 4]), &["joined"])
        .join("conv6", conv(16, [3, 3], |conv| (conv.pads, conv.group) = ([1; 4], 2)), &["conv5"])
        .op("mean", Op::GlobalAveragePool)
        .op("maximum", Op::GlobalMaxPool)
        .fc("fc1", 10)
        .op("prob", Op::LogSoftmax)
        .case("operators")
}

/// Clip from 0 to 6.
const RELU6: Op = Op::Clip { min: 0.0, max: 6.0 };

fn conv(out_channels: usize, kernel: [usize; 2], change: impl FnOnce(&mut Conv)) -> Op {
    let mut conv = Conv::new(out_channels, kernel);
    change(&mut conv);
    Op::Conv(conv)
}

/// A graph with a branch and two outputs, feature maps and a vector, that is generated as well.
pub fn two_outputs() -> Case {
    Net::new(2, 9, 8)
        .conv3("conv1", 11)
        .op("relu1", Op::Relu)
        .op("pool1", max_pool(2, 2))
        .output()
        .conv3("conv2", 11)
        .join("sum", Op::Add, &["conv2", "pool1"])
        .op("relu2", Op::Relu)
        .fc("fc1", 6)
        .op("prob", Op::Softmax)
        .case("outputs")
}

fn max_pool(kernel: usize, stride: usize) -> Op {
    Op::MaxPool(Pool { kernel_shape: [kernel; 2], strides: [stride; 2], pads: [0; 4], ceil_mode: false })
}

/// Values that several layers read, layers that read several values, and several outputs.
pub fn branches() -> Vec<Case> {
    let mut cases = vec![
        two_outputs(),
        Net::new(3, 10, 9)
            .conv3("conv1", 12)
            .op("relu1", Op::Relu)
            .conv3("conv2", 12)
            .join("sum", Op::Add, &["conv2", "relu1"])
            .op("relu2", Op::Relu)
            .fc("fc1", 5)
            .case("a residual block"),
        Net::new(8, 7, 7)
            .conv3("conv1", 8)
            .join("sum1", Op::Add, &["conv1", "input"])
            .conv3("conv2", 8)
            .join("sum2", Op::Add, &["conv2", "sum1"])
            .join("sum3", Op::Add, &["sum2", "conv1"])
            .join("double", Op::Add, &["sum3", "sum3"])
            .case("sums of sums, of the input and of one value"),
        Net::new(3, 8, 8)
            .conv3("conv1", 9)
            .op("relu1", Op::Relu)
            .join("squeeze", conv(17, [1, 1], |_| ()), &["relu1"])
            .join("wide", conv(6, [5, 5], |conv| conv.pads = [2; 4]), &["relu1"])
            .join("pooled", average([3, 3], [1, 1], [1; 4], false), &["relu1"])
            .join("joined", Op::Concat, &["squeeze", "wide", "pooled", "squeeze"])
            .conv3("conv2", 10)
            .op("pool2", max_pool(2, 2))
            .fc("fc1", 4)
            .case("an inception block"),
        Net::new(3, 6, 5)
            .conv3("conv1", 8)
            .join("left", conv(8, [3, 3], |conv| conv.pads = [1; 4]), &["conv1"])
            .join("right", conv(8, [3, 3], |conv| conv.pads = [1; 4]), &["conv1"])
            .join("left_relu", Op::Relu, &["left"])
            .join("right_relu", Op::Relu, &["right"])
            .join("left_pool", max_pool(2, 1), &["left_relu"])
            .join("right_pool", max_pool(2, 1), &["right_relu"])
            .join("product", Op::Mul, &["right_pool", "left_pool"])
            .op("relu2", Op::Relu)
            .case("two branches that take turns"),
        Net::new(16, 7, 6)
            .join("conv1", conv(8, [1, 1], |_| ()), &["input"])
            .join("conv2", conv(8, [3, 3], |conv| conv.pads = [1; 4]), &["conv1"])
            .join("conv3", conv(8, [3, 3], |conv| conv.pads = [0, 2, 1, 0]), &["conv1"])
            .op("relu3", Op::Relu)
            .join("conv4", conv(8, [3, 3], |conv| conv.pads = [2, 0, 0, 2]), &["conv1"])
            .join("joined", Op::Concat, &["conv2", "conv4"])
            .output()
            .join("mean", Op::GlobalAveragePool, &["conv3"])
            .case("one value that convolutions of several paddings read"),
        Net::new(5, 4, 4)
            .fc("fc1", 9)
            .op("relu1", Op::Relu)
            .output()
            .fc("fc2", 9)
            .join("sum", Op::Add, &["fc2", "relu1"])
            .join("joined", Op::Concat, &["sum", "fc1", "relu1"])
            .join("product", Op::Mul, &["joined", "joined"])
            .output()
            .fc("fc3", 3)
            .case("vectors that meet again, and outputs that are read"),
        Net::new(3, 5, 5)
            .conv3("conv1", 9)
            .output()
            .op("relu1", Op::Relu)
            .output()
            .op("pool1", max_pool(2, 2))
            .output()
            .fc("fc1", 4)
            .output()
            .op("prob", Op::Softmax)
            .case("every layer an output"),
        Net::new(2, 3, 3)
            .op("flatten1", Op::Flatten)
            .join("joined", Op::Concat, &["flatten1", "flatten1"])
            .case("a concatenation that is the output"),
        Net::new(2, 3, 3).join("joined", Op::Concat, &["input"]).case("a concatenation of one"),
        Net::of_vectors(7)
            .fc("fc1", 7)
            .join("sum", Op::Add, &["input", "fc1"])
            .join("square", Op::Mul, &["input", "input"])
            .join("norm", Op::BatchNormalization { epsilon: 1e-3 }, &["input"])
            .op("gate", Op::Sigmoid)
            .join("joined", Op::Concat, &["gate", "input", "sum", "square"])
            .op("relu", Op::Relu)
            .case("a network of vectors"),
    ];
    for (first, second, third) in [(1, 1, 1), (8, 16, 8), (7, 9, 3), (3, 4, 20), (12, 5, 8), (8, 3, 8)] {
        let parts = |net: Net| {
            net.join("a", conv(first, [1, 1], |_| ()), &["relu0"])
                .join("b", conv(second, [3, 3], |conv| conv.pads = [1; 4]), &["relu0"])
                .join("c", conv(third, [1, 1], |_| ()), &["relu0"])
        };
        cases.push(
            parts(Net::new(3, 6, 7).conv3("conv0", 8).op("relu0", Op::Relu))
                .join("joined", Op::Concat, &["a", "b", "c"])
                .conv3("conv1", 9)
                .case(format!("a concatenation of {first}, {second} and {third} channels")),
        );
        cases.push(
            Net::new(2, 3, 4)
                .op("relu0", Op::Flatten)
                .join("a", Op::Gemm { out_features: first }, &["relu0"])
                .join("b", Op::Gemm { out_features: second }, &["relu0"])
                .join("c", Op::Gemm { out_features: third }, &["relu0"])
                .join("joined", Op::Concat, &["a", "b", "c"])
                .fc("fc1", 4)
                .case(format!("a concatenation of {first}, {second} and {third} features")),
        );
    }
    cases
}

/// Convolutions with groups, dilations and different paddings on each side.
pub fn convolutions() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: String, channels: usize, op: Op| {
        let net = Net::new(3, 15, 13).conv3("conv0", channels).op("relu0", Op::Relu).op("conv1", op);
        cases.push(net.op("relu1", Op::Relu).op("pool1", max_pool(2, 2)).case(name));
    };
    for (inputs, outputs, group) in [
        (8, 8, 8),
        (13, 13, 13),
        (24, 24, 24),
        (9, 18, 9),
        (16, 16, 2),
        (32, 48, 2),
        (12, 20, 2),
        (24, 15, 3),
        (10, 6, 2),
        (32, 24, 4),
    ] {
        for (kernel, stride) in [(1, 1), (3, 1), (3, 2), (5, 1)] {
            let op = conv(outputs, [kernel; 2], |conv| {
                conv.group = group;
                conv.strides = [stride; 2];
                conv.pads = [kernel / 2; 4];
            });
            add(
                format!("{group} groups of {inputs} to {outputs} channels, kernel {kernel}, stride {stride}"),
                inputs,
                op,
            );
        }
    }
    for dilations in [[2, 2], [1, 3], [3, 1]] {
        for (channels, group) in [(8, 1), (11, 1), (16, 16), (12, 2)] {
            let op = conv(channels, [3, 3], |conv| {
                conv.group = group;
                conv.dilations = dilations;
                conv.pads = [dilations[0], dilations[1], dilations[0], dilations[1]];
            });
            add(format!("dilations {dilations:?}, {channels} channels in {group} groups"), channels, op);
            let op = conv(channels, [2, 3], |conv| {
                conv.group = group;
                conv.dilations = dilations;
                conv.strides = [2, 1];
                conv.pads = [0, 2, 3, 1];
            });
            add(format!("dilations {dilations:?} of stride 2x1, {channels} channels in {group} groups"), channels, op);
        }
    }
    for pads in [[1, 0, 0, 2], [0, 3, 1, 0], [2, 2, 0, 0], [0, 0, 1, 1]] {
        for (kernel, stride) in [(3, 1), (5, 1), (5, 2), (3, 2), (2, 1)] {
            let op = conv(16, [kernel; 2], |conv| (conv.pads, conv.strides) = (pads, [stride; 2]));
            add(format!("padding {pads:?}, kernel {kernel}, stride {stride}"), 16, op);
        }
    }
    let mobile = |net: Net, name: &str, op: Op| {
        let norm = Op::BatchNormalization { epsilon: 1e-5 };
        net.op(&format!("{name}_conv"), op).op(&format!("{name}_norm"), norm)
    };
    let mut net =
        mobile(Net::new(3, 17, 15), "stem", conv(12, [3, 3], |conv| (conv.strides, conv.pads) = ([2; 2], [1; 4])));
    net = mobile(net, "expand", conv(20, [1, 1], |_| ())).op("expand_clip", RELU6);
    net = mobile(net, "depth", conv(20, [3, 3], |conv| (conv.group, conv.pads) = (20, [1; 4]))).op("depth_clip", RELU6);
    net = mobile(net, "project", conv(12, [1, 1], |_| ())).join("sum", Op::Add, &["project_norm", "stem_norm"]);
    cases.push(net.op("mean", Op::GlobalAveragePool).fc("fc", 5).case("a network of MobileNet's kind"));
    let planar = |change: &dyn Fn(&mut Conv)| Net::new(3, 9, 8).op("conv1", conv(6, [3, 3], change)).fc("fc1", 4);
    cases.push(planar(&|conv| conv.group = 3).case("groups of the input's channels"));
    cases.push(planar(&|conv| conv.dilations = [2, 3]).case("a dilated kernel on the input"));
    cases.push(planar(&|conv| conv.pads = [2, 0, 0, 1]).case("different paddings of the input"));
    let depthwise = conv(3, [3, 3], |conv| (conv.group, conv.pads) = (3, [1; 4]));
    cases.push(Net::new(3, 9, 8).op("conv1", depthwise).fc("fc1", 4).case("a kernel for each of the input's channels"));
    let alexnet = |out_channels, kernel: usize| {
        conv(out_channels, [kernel; 2], |conv| (conv.group, conv.pads) = (2, [kernel / 2; 4]))
    };
    cases.push(
        Net::new(3, 35, 35)
            .op("conv1", conv(32, [11, 11], |conv| conv.strides = [4, 4]))
            .op("relu1", Op::Relu)
            .op("conv2", alexnet(64, 5))
            .op("relu2", Op::Relu)
            .op("pool2", max_pool(3, 2))
            .op("conv3", alexnet(96, 3))
            .op("relu3", Op::Relu)
            .fc("fc4", 10)
            .op("prob", Op::Softmax)
            .case("a network of AlexNet's kind"),
    );
    cases
}

/// Functions of single numbers and normalisation, on feature maps and on vectors.
pub fn functions() -> Vec<Case> {
    let functions = [
        ("relu6", RELU6),
        ("clip from -0.5", Op::Clip { min: -0.5, max: f32::INFINITY }),
        ("clip to 0.25", Op::Clip { min: f32::NEG_INFINITY, max: 0.25 }),
        ("clip to a single value", Op::Clip { min: 1.5, max: 1.5 }),
        ("no clip", Op::Clip { min: f32::NEG_INFINITY, max: f32::INFINITY }),
        ("leaky relu", Op::LeakyRelu { alpha: 0.1 }),
        ("leaky relu of a negative slope", Op::LeakyRelu { alpha: -2.0 }),
        ("sigmoid", Op::Sigmoid),
        ("batch norm", Op::BatchNormalization { epsilon: 1e-3 }),
    ];
    let mut cases = Vec::new();
    for (name, op) in functions {
        cases.push(
            Net::new(3, 7, 9)
                .conv3("conv1", 13)
                .op("relu1", Op::Relu)
                .op("function1", op)
                .conv3("conv2", 8)
                .op("pool2", max_pool(2, 2))
                .op("function2", op)
                .fc("fc3", 11)
                .op("function3", op)
                .fc("fc4", 5)
                .op("relu4", Op::Relu)
                .op("function4", op)
                .case(name),
        );
        cases.push(Net::new(5, 4, 4).op("function1", op).case(format!("{name} first and last")));
    }
    cases.push(
        Net::new(3, 6, 6)
            .conv3("conv1", 10)
            .op("norm1", Op::BatchNormalization { epsilon: 1e-5 })
            .op("relu1", Op::Relu)
            .op("norm2", Op::BatchNormalization { epsilon: 1e-5 })
            .op("relu2", Op::Relu)
            .join("sum", Op::Add, &["relu2", "norm1"])
            .fc("fc1", 9)
            .op("norm3", Op::BatchNormalization { epsilon: 1e-5 })
            .op("relu3", Op::Relu)
            .case("batch norms with and without a convolution of their own"),
    );
    cases.push(
        Net::new(3, 6, 6)
            .conv3("conv1", 10)
            .join("gate", Op::Sigmoid, &["conv1"])
            .join("swish", Op::Mul, &["conv1", "gate"])
            .fc("fc1", 9)
            .case("a gate"),
    );
    cases
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
