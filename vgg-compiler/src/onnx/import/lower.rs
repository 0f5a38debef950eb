//! From the network of a file, once its layouts are gone, to the graph that is compiled, and its tensors by key.
//!
//! Layers are numbered by their kind, whatever the file calls them; those names are kept beside them.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::affine::{Affine, MAX_NUMBERS};
use super::constant::{filled, to_bytes};
use super::error::{Refusal, printable};
use super::net::{Activation, Net, Node as NetNode, Op as NetOp, ValueId as NetValue, shown};
use crate::ir::{Conv, Graph, Node, Op, Param, ParamId, ParamSource, Shape, Value, ValueId};
use crate::weights::{Tensor, Tensors};

/// What a layer is called in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The layer.
    pub layer: String,
    /// The file's nodes that it computes, in order; of the last one the layer makes the result.
    pub nodes: Vec<String>,
    /// The name of that result in the file, empty when only the compiler has it.
    pub output: String,
}

/// A graph with its numbers.
#[derive(Debug, Clone)]
pub(super) struct Lowered {
    pub(super) graph: Graph,
    pub(super) tensors: Tensors,
    /// One for each node of the graph, in order.
    pub(super) aliases: Vec<Alias>,
}

/// The graph of `net`, under `name`.
pub(super) fn lower(net: &Net, name: String) -> Result<Lowered, Refusal> {
    for node in &net.nodes {
        if net.shape(node.output).first() != Some(&net.batch) {
            let (made, batch) = (shown(net.shape(node.output)), shown(&[net.batch]));
            let problem =
                format!("{}: it makes {made}, expected the images {batch} as its first axis", net.shown(node));
            return Err(Refusal::unsupported(problem));
        }
    }
    let input = shape_of(net.shape(net.input));
    let graph = Graph {
        preprocess: None,
        name,
        docs: net.docs.clone(),
        input: ValueId(0),
        outputs: Vec::new(),
        values: vec![Value { name: "input".into(), shape: Some(input) }],
        nodes: Vec::new(),
        params: Vec::new(),
    };
    let mut lowering = Lowering {
        net,
        out: Lowered { graph, tensors: Tensors::new(), aliases: Vec::new() },
        made: BTreeMap::from([(net.input, (ValueId(0), input))]),
        counts: BTreeMap::new(),
    };
    for node in &net.nodes {
        lowering.node(node)?;
    }
    for &output in &net.outputs {
        let Some(&(value, _)) = lowering.made.get(&output) else { continue };
        let name = net.values.get(output.0).map(|value| printable(&value.name)).unwrap_or_default();
        if value == lowering.out.graph.input {
            return Err(Refusal::unsupported(format!(
                "the output `{name}` is the input, or no layer is left between them"
            )));
        }
        if lowering.out.graph.outputs.contains(&value) {
            let problem =
                format!("the output `{name}` is the same activation as another output, expected each only once");
            return Err(Refusal::unsupported(problem));
        }
        lowering.out.graph.outputs.push(value);
    }
    Ok(lowering.out)
}

/// What to do about a mean image that a network subtracts itself.
const MEAN_IMAGE: &str = "a mean image is part of the preprocessing here: cut the node off with `onnx.utils.extract_model`, save its \
                          constant as f32 [C, H, W] with `numpy.save`, and give that with `--mean-image`";

/// Feature maps, or everything else in a row.
fn shape_of(shape: &[usize]) -> Shape {
    match *shape {
        [_, channels, height, width] => Shape::Image { channels, height, width },
        _ => Shape::Flat { features: shape.iter().skip(1).product() },
    }
}

struct Lowering<'a> {
    net: &'a Net,
    out: Lowered,
    /// What has become of the file's activations.
    made: BTreeMap<NetValue, (ValueId, Shape)>,
    /// How many layers of each kind there are.
    counts: BTreeMap<&'static str, usize>,
}

impl Lowering<'_> {
    fn refuse(&self, node: &NetNode, why: impl std::fmt::Display) -> Refusal {
        Refusal::unsupported(format!("{}: {why}", self.net.shown(node)))
    }

    fn node(&mut self, node: &NetNode) -> Result<(), Refusal> {
        let inputs: Option<Vec<(ValueId, Shape)>> = node.inputs.iter().map(|id| self.made.get(id).copied()).collect();
        let Some(inputs) = inputs else { return Err(self.refuse(node, "it reads what nothing makes")) };
        let Some(&(input, shape)) = inputs.first() else { return Err(self.refuse(node, "it reads nothing")) };
        let Some(&file) = node.inputs.first() else { return Ok(()) };
        let file_shape = self.net.shape(file).to_vec();
        let image = matches!(shape, Shape::Image { .. });
        let plain = |op: Op| (op, Vec::new());
        let (op, numbers) = match &node.op {
            NetOp::Reshape => return self.reshape(node, input, shape),
            NetOp::Transpose(order) => {
                let wide = order.iter().filter(|&&axis| file_shape.get(axis).is_some_and(|&extent| extent != 1));
                if !wide.is_sorted() {
                    let problem = format!("it changes the order of the axes of {}", shown(&file_shape));
                    return Err(self.refuse(node, problem + ", and nothing behind it takes that back"));
                }
                return self.reshape(node, input, shape);
            }
            NetOp::Identity(_) => {
                self.made.insert(node.output, (input, shape));
                return Ok(());
            }
            NetOp::Conv(conv) => {
                let [out_channels, _, height, width] = conv.shape;
                let op = Op::Conv(Conv {
                    out_channels,
                    kernel_shape: [height, width],
                    strides: conv.strides,
                    pads: conv.pads,
                    dilations: conv.dilations,
                    group: conv.group,
                });
                (op, vec![(conv.shape.to_vec(), conv.weight.clone()), (vec![out_channels], conv.bias.clone())])
            }
            NetOp::Gemm(gemm) => {
                let input = self.flat(node, input, shape);
                let [out_features, _] = gemm.shape;
                let numbers = vec![(gemm.shape.to_vec(), gemm.weight.clone()), (vec![out_features], gemm.bias.clone())];
                return self.push(node, Op::Gemm { out_features }, vec![input], numbers);
            }
            NetOp::MatMul(_) => {
                let problem =
                    format!("it multiplies the last axis of {}, expected one row for each image", shown(&file_shape));
                return Err(self.refuse(node, problem));
            }
            NetOp::Affine(affine) => {
                let Some(affine) = along_channels(affine, &file_shape, image) else {
                    let problem = "its constants differ from pixel to pixel, expected one number for each channel";
                    let refusal = self.refuse(node, problem);
                    return Err(if file == self.net.input {
                        Refusal::new(refusal.problem, MEAN_IMAGE)
                    } else {
                        refusal
                    });
                };
                batch_norm(&affine)
            }
            NetOp::Activation(Activation::Relu) => plain(Op::Relu),
            NetOp::Activation(Activation::Clip { min, max }) => plain(Op::Clip { min: *min, max: *max }),
            NetOp::Activation(Activation::LeakyRelu { alpha }) => plain(Op::LeakyRelu { alpha: *alpha }),
            NetOp::Activation(Activation::Sigmoid) => plain(Op::Sigmoid),
            NetOp::Lrn(lrn) => plain(Op::Lrn(*lrn)),
            NetOp::MaxPool(pool) => plain(Op::MaxPool(*pool)),
            NetOp::AveragePool { pool, count_include_pad } => {
                plain(Op::AveragePool { pool: *pool, count_include_pad: *count_include_pad })
            }
            NetOp::GlobalMaxPool => return self.whole_image(node, input, Op::GlobalMaxPool),
            NetOp::ReduceMean { axes, .. } if image && *axes == [2, 3] => {
                return self.whole_image(node, input, Op::GlobalAveragePool);
            }
            NetOp::ReduceMean { axes, .. } | NetOp::ReduceSum { axes, .. } => {
                let problem = format!("it runs over the axes {axes:?} of {}", shown(&file_shape));
                // A sum that is left could not become a mean times a number.
                let expected = match node.op {
                    NetOp::ReduceSum { .. } => "rows and columns of [N, C, H, W], which are known, of few channels",
                    _ => "rows and columns of [N, C, H, W]",
                };
                return Err(self.refuse(node, format!("{problem}, expected {expected}")));
            }
            NetOp::Softmax { axes, log } => {
                let over: usize = file_shape.get(axes.clone()).unwrap_or_default().iter().product();
                if axes.start == 0 || over != file_shape.iter().skip(1).product::<usize>() {
                    let problem = format!("it runs over the axes {axes:?} of {}", shown(&file_shape));
                    return Err(self.refuse(node, problem + ", expected all classes of an image"));
                }
                let input = self.flat(node, input, shape);
                return self.push(node, if *log { Op::LogSoftmax } else { Op::Softmax }, vec![input], Vec::new());
            }
            NetOp::Pad { value, .. } => {
                let problem = if *value == 0.0 {
                    "nothing behind it takes its zeros as padding".to_owned()
                } else {
                    format!("it pads with {value}, expected zeros")
                };
                return Err(self.refuse(node, problem));
            }
            NetOp::Concat { axis } => {
                let outer: usize = file_shape.get(1..*axis).unwrap_or_default().iter().product();
                if *axis == 0 || outer != 1 || (image && *axis != 1) {
                    return Err(self.refuse(node, format_args!("it joins along axis {axis}, expected the channels")));
                }
                plain(Op::Concat)
            }
            NetOp::Gather { .. } => {
                let problem = format!("it takes a part of {}, or its elements in another order", shown(&file_shape));
                return Err(self.refuse(node, problem + ", and no layer behind it takes that into its weights"));
            }
            NetOp::Add => plain(Op::Add),
            NetOp::Mul => plain(Op::Mul),
        };
        self.push(node, op, inputs.into_iter().map(|(value, _)| value).collect(), numbers)
    }

    /// A pool of the whole image, which makes a vector where the file drops the axes.
    fn whole_image(&mut self, node: &NetNode, input: ValueId, op: Op) -> Result<(), Refusal> {
        let flat = self.net.shape(node.output).len() == 2;
        self.push(node, op, vec![input], Vec::new())?;
        if let (true, Some(&(value, shape))) = (flat, self.made.get(&node.output)) {
            let value = self.flat(node, value, shape);
            self.made.insert(node.output, (value, shape_of(self.net.shape(node.output))));
        }
        Ok(())
    }

    fn reshape(&mut self, node: &NetNode, input: ValueId, shape: Shape) -> Result<(), Refusal> {
        let target = shape_of(self.net.shape(node.output));
        let value = match (shape, target) {
            (from, to) if from == to => input,
            (Shape::Image { .. }, Shape::Flat { .. }) => self.flat(node, input, shape),
            (Shape::Flat { .. }, Shape::Image { .. }) => {
                return Err(self.refuse(node, format_args!("it makes feature maps {target} of a vector")));
            }
            _ => return Err(self.refuse(node, format_args!("it makes {target} of feature maps {shape}"))),
        };
        self.made.insert(node.output, (value, target));
        Ok(())
    }

    /// `value` as a vector.
    fn flat(&mut self, node: &NetNode, value: ValueId, shape: Shape) -> ValueId {
        if let Shape::Flat { .. } = shape {
            return value;
        }
        let nodes =
            if matches!(node.op, NetOp::Reshape | NetOp::Transpose(_)) { node.names.clone() } else { Vec::new() };
        let output = if nodes.is_empty() { String::new() } else { self.name_in_file(node) };
        self.layer(Op::Flatten, vec![value], Vec::new(), nodes, output)
    }

    fn name_in_file(&self, node: &NetNode) -> String {
        self.net.values.get(node.output.0).map(|value| value.name.clone()).unwrap_or_default()
    }

    fn push(
        &mut self,
        node: &NetNode,
        op: Op,
        inputs: Vec<ValueId>,
        numbers: Vec<(Vec<usize>, Bytes)>,
    ) -> Result<(), Refusal> {
        let output = self.name_in_file(node);
        let shape = match op {
            Op::Softmax | Op::LogSoftmax => Shape::Flat { features: shape_of(self.net.shape(node.output)).len() },
            Op::GlobalAveragePool | Op::GlobalMaxPool => match self.net.shape(node.output) {
                [_, channels, ..] => Shape::Image { channels: *channels, height: 1, width: 1 },
                _ => shape_of(self.net.shape(node.output)),
            },
            _ => shape_of(self.net.shape(node.output)),
        };
        let value = self.layer(op, inputs, numbers, node.names.clone(), output);
        self.made.insert(node.output, (value, shape));
        Ok(())
    }

    /// A layer with its own name.
    fn layer(
        &mut self,
        op: Op,
        inputs: Vec<ValueId>,
        numbers: Vec<(Vec<usize>, Bytes)>,
        nodes: Vec<String>,
        output: String,
    ) -> ValueId {
        let kind = kind(&op);
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let name = format!("{kind}{count}");
        let graph = &mut self.out.graph;
        let mut params = Vec::new();
        for (suffix, (shape, data)) in op.param_suffixes().iter().zip(numbers) {
            let key = format!("{name}.{suffix}");
            self.out.tensors.insert(key.clone(), Tensor { shape: shape.clone(), data });
            graph.params.push(Param { key, name: format!("{name}_{suffix}"), shape, source: ParamSource::Stored });
            params.push(ParamId(graph.params.len() - 1));
        }
        graph.values.push(Value { name: name.clone(), shape: None });
        let value = ValueId(graph.values.len() - 1);
        graph.nodes.push(Node { name: name.clone(), op, inputs, params, output: value });
        self.out.aliases.push(Alias { layer: name, nodes, output });
        value
    }
}

/// What layers of an operator are called.
fn kind(op: &Op) -> &'static str {
    match op {
        Op::Conv(_) => "conv",
        Op::Relu => "relu",
        Op::Clip { .. } => "clip",
        Op::LeakyRelu { .. } => "leaky",
        Op::Sigmoid => "sigmoid",
        Op::Add => "add",
        Op::Mul => "mul",
        Op::Concat => "concat",
        Op::MaxPool(_) | Op::AveragePool { .. } | Op::GlobalMaxPool | Op::GlobalAveragePool => "pool",
        Op::Lrn(_) => "norm",
        Op::BatchNormalization { .. } => "bn",
        Op::Dropout { .. } => "drop",
        Op::Flatten => "flatten",
        Op::Gemm { .. } => "fc",
        Op::Softmax | Op::LogSoftmax => "prob",
    }
}

/// `affine` along the channels of feature maps or the elements of a vector.
fn along_channels(affine: &Affine, shape: &[usize], image: bool) -> Option<Affine> {
    match affine.axis {
        Some(1) if image || shape.len() == 2 => Some(affine.clone()),
        _ if image => None,
        None => Some(affine.clone()),
        Some(axis) => {
            let inner: usize = shape.get(axis + 1..)?.iter().product();
            let outer: usize = shape.get(1..axis)?.iter().product();
            let once = affine.repeated(inner)?;
            outer.checked_mul(once.scale.len()).filter(|&count| count <= MAX_NUMBERS)?;
            let many = |values: &[f64]| values.iter().copied().cycle().take(outer * values.len()).collect();
            Some(Affine { axis: None, scale: many(&once.scale), shift: many(&once.shift), ..once.clone() })
        }
    }
}

/// A scale and a shift as a batch normalisation of mean 0 and variance 1.
fn batch_norm(affine: &Affine) -> (Op, Vec<(Vec<usize>, Bytes)>) {
    let count = affine.scale.len();
    let row = |values: &[f64]| (vec![count], to_bytes(values.iter().map(|&value| value as f32)));
    let numbers = vec![
        row(&affine.scale),
        row(&affine.shift),
        (vec![count], filled(0.0, count)),
        (vec![count], filled(1.0, count)),
    ];
    (Op::BatchNormalization { epsilon: 0.0 }, numbers)
}
