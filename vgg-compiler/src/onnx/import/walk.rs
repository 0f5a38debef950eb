//! From the nodes of a file to the chain of layers.

use std::collections::{BTreeMap, BTreeSet};

use super::affine::Affine;
use super::chain::{Activation, Chain, Form, Layer};
use super::constant::{Constant, Externals, floats, read};
use super::error::{Refusal, printable};
use super::fold::Folder;
use super::node::Node;
use crate::onnx::messages::{DataType, DimensionValue, GraphProto, ModelProto, ValueInfoProto};
use crate::spec::LayerKind;
use crate::spec::limits::{MAX_CHANNELS, MAX_EXTENT, MAX_LAYERS};

/// The versions of the standard operators that are understood.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=26;

/// What a file holds.
pub(super) struct Walked {
    /// Channels, height and width.
    pub(super) input: [usize; 3],
    pub(super) layers: Vec<Layer>,
    pub(super) notes: BTreeSet<String>,
    /// Of the graph.
    pub(super) name: String,
    pub(super) docs: Vec<String>,
}

/// What a name stands for.
#[derive(Clone)]
enum Value {
    Constant(Constant),
    Activation(Activation),
}

/// The layers of `model`.
pub(super) fn walk(model: &ModelProto, externals: &mut Externals) -> Result<Walked, Refusal> {
    let Some(graph) = &model.graph else {
        return Err(Refusal::damaged("not an ONNX file: it holds no graph"));
    };
    let opset = opset(model)?;
    let needed = needed(graph)?;
    if needed.len() > 16 * MAX_LAYERS {
        return Err(Refusal::unsupported(format!(
            "the graph has {} nodes, far more than a network of the family",
            needed.len()
        )));
    }
    let nodes = || graph.node.iter().enumerate().filter(|(index, _)| needed.contains(index)).map(|(_, node)| node);
    // Before anything is computed: operators that nobody reads here.
    for proto in nodes() {
        let node = Node { proto, opset };
        if !matches!(proto.domain.as_deref(), None | Some("" | "ai.onnx")) {
            let domain = printable(proto.domain.as_deref().unwrap_or_default());
            return Err(node.unsupported(format_args!("it is of the domain `{domain}`, expected a standard operator")));
        }
        if !SUPPORTED.iter().any(|(name, _)| *name == node.op_type()) {
            return Err(node.unsupported("the operator is not supported"));
        }
    }
    let input = input(graph)?;
    let mut chain = Chain::default();
    let mut values = BTreeMap::new();
    for tensor in &graph.initializer {
        let (constant, converted) = read(tensor, externals)?;
        if let Some(kind) = converted {
            chain.notes.insert(format!("{kind} weights converted to f32"));
        }
        values.insert(tensor.name.clone().unwrap_or_default(), Value::Constant(constant));
    }
    let start = chain.end(Form::image(input.extents));
    values.insert(input.name, Value::Activation(start));
    let mut walker = Walker { chain, folder: Folder::new(externals), batch: input.batch, extents: input.extents };
    for proto in nodes() {
        let result = walker.node(Node { proto, opset }, &values)?;
        values.insert(proto.output.first().cloned().unwrap_or_default(), result);
    }
    let output = graph.output.first().and_then(|output| output.name.as_deref()).unwrap_or_default();
    match values.get(output) {
        Some(Value::Activation(end)) if end.version == walker.chain.version => {}
        _ => return Err(Refusal::unsupported(format!("the output `{}` is not the end of a chain", printable(output)))),
    }
    if walker.chain.pending.is_some() {
        return Err(Refusal::unsupported("the network ends in a normalisation that no layer can take"));
    }
    let docs = graph.doc_string.as_deref().unwrap_or_default();
    let docs = docs.lines().map(printable).collect();
    let name = graph.name.clone().unwrap_or_default();
    Ok(Walked { input: walker.extents, layers: walker.chain.layers, notes: walker.chain.notes, name, docs })
}

/// The version of the standard operators.
fn opset(model: &ModelProto) -> Result<i64, Refusal> {
    let standard = model.opset_import.iter().find(|set| matches!(set.domain.as_deref(), None | Some("" | "ai.onnx")));
    let Some(version) = standard.and_then(|set| set.version) else {
        return Err(Refusal::damaged("not an ONNX file, or without the version of the standard operators"));
    };
    if !OPSETS.contains(&version) {
        return Err(Refusal::new(
            format!("opset {version}, expected {} to {}", OPSETS.start(), OPSETS.end()),
            "convert it with `onnx.version_converter.convert_version(model, 17)`",
        ));
    }
    Ok(version)
}

/// Indices of the nodes that the output depends on.
fn needed(graph: &GraphProto) -> Result<BTreeSet<usize>, Refusal> {
    let [output] = graph.output.as_slice() else {
        return Err(Refusal::unsupported(format!("the graph has {} outputs, expected one", graph.output.len())));
    };
    let mut makers = BTreeMap::new();
    for (index, node) in graph.node.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if makers.insert(name.as_str(), index).is_some() {
                return Err(Refusal::damaged(format!("two nodes make `{}`", printable(name))));
            }
        }
    }
    let (mut needed, mut open) = (BTreeSet::new(), vec![output.name.as_deref().unwrap_or_default()]);
    while let Some(name) = open.pop() {
        if let Some(&index) = makers.get(name)
            && needed.insert(index)
        {
            open.extend(graph.node.get(index).into_iter().flat_map(|node| &node.input).map(String::as_str));
        }
    }
    Ok(needed)
}

/// The input of the network.
struct Input {
    name: String,
    /// None when it is open.
    batch: Option<usize>,
    /// Behind the batch, in the order of the file.
    extents: [usize; 3],
}

fn input(graph: &GraphProto) -> Result<Input, Refusal> {
    let constants: BTreeSet<&str> = graph.initializer.iter().filter_map(|tensor| tensor.name.as_deref()).collect();
    let name = |info: &ValueInfoProto| info.name.clone().unwrap_or_default();
    let read: BTreeSet<&str> = graph.node.iter().flat_map(|node| &node.input).map(String::as_str).collect();
    let inputs: Vec<&ValueInfoProto> = graph
        .input
        .iter()
        .filter(|info| !constants.contains(name(info).as_str()) && read.contains(name(info).as_str()))
        .collect();
    let [info] = inputs.as_slice() else {
        return Err(Refusal::unsupported(format!("the graph has {} inputs, expected one", inputs.len())));
    };
    let shape = info.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref()).and_then(|kind| kind.shape.as_ref());
    let dims: Vec<Option<usize>> = shape
        .iter()
        .flat_map(|shape| &shape.dim)
        .map(|dim| match dim.value {
            Some(DimensionValue::DimValue(value)) => usize::try_from(value).ok().filter(|&value| value > 0),
            _ => None,
        })
        .collect();
    let shown = printable(&name(info));
    let &[batch, a, b, c] = dims.as_slice() else {
        return Err(Refusal::unsupported(format!(
            "the input `{shown}` has {} axes, expected [N, C, H, W]",
            dims.len()
        )));
    };
    let (Some(a), Some(b), Some(c)) = (a, b, c) else {
        return Err(Refusal::new(
            format!("the input `{shown}` has extents that are open, beside that of the batch"),
            "export it with a fixed height and width, or fix them: `python -m onnxruntime.tools.make_dynamic_shape_fixed`",
        ));
    };
    if [a, b, c].iter().any(|&extent| extent > MAX_EXTENT.max(MAX_CHANNELS)) {
        return Err(Refusal::unsupported(format!(
            "the input `{shown}` has the shape [N, {a}, {b}, {c}], which is too large"
        )));
    }
    Ok(Input { name: name(info), batch, extents: [a, b, c] })
}

/// Operators that are read, and what becomes of them. The documentation's table is made of this.
pub const SUPPORTED: &[(&str, &str)] = &[
    ("Add", "with a constant for each channel: folded into a neighbour's weights"),
    ("AveragePool", "`avgpool`; not with `count_include_pad` and padding; 1x1 windows are removed"),
    ("BatchNormalization", "with stored statistics: folded in f64 into the layer before it or behind it"),
    ("Cast", "of constants; removed from activations, of which it makes other real numbers"),
    ("Concat", "of constants"),
    ("Constant", "evaluated"),
    ("ConstantOfShape", "evaluated"),
    ("Conv", "`conv` with any kernel, stride and symmetric padding, `auto_pad` included; `group` 1, no dilations"),
    ("Div", "by a constant for each channel: folded into a neighbour's weights"),
    ("Dropout", "removed"),
    ("Flatten", "before the classifier; in channels-last order it goes into the weights"),
    ("Gather", "of constants"),
    ("Gemm", "`fc`, with `alpha`, `beta` and `transB` taken into the weights"),
    ("GlobalAveragePool", "`avgpool` of the whole image"),
    ("Identity", "removed"),
    ("LRN", "`lrn`"),
    ("MatMul", "`fc`, with an `Add` behind it as its bias"),
    ("MaxPool", "`maxpool`; padding on one side alone when rounding up does the same"),
    ("Mul", "with a constant for each channel: folded into a neighbour's weights"),
    ("Pad", "of zeros: merged into the convolution behind it, or into a max pool of numbers that are not negative"),
    ("Relu", "of a convolution or a fully connected layer, also behind its max pool"),
    ("Reshape", "before the classifier, its shape constant or computed"),
    ("Shape", "evaluated"),
    ("Slice", "of constants"),
    ("Softmax", "`softmax` over the classes"),
    ("Squeeze", "of constants, and of 1x1 feature maps"),
    ("Sub", "of a constant for each channel: folded into a neighbour's weights"),
    ("Transpose", "of constants, and between [N, C, H, W] and [N, H, W, C]"),
    ("Unsqueeze", "of constants"),
];

/// The walk itself.
struct Walker<'e> {
    chain: Chain,
    folder: Folder<'e>,
    batch: Option<usize>,
    /// Of the input, channels first.
    extents: [usize; 3],
}

impl Walker<'_> {
    fn node(&mut self, node: Node<'_>, values: &BTreeMap<String, Value>) -> Result<Value, Refusal> {
        let mut constants = Vec::with_capacity(node.proto.input.len());
        let mut activation: Option<(usize, Activation)> = None;
        for (index, name) in node.proto.input.iter().enumerate() {
            match values.get(name) {
                None if name.is_empty() => constants.push(None),
                None => {
                    let name = printable(name);
                    return Err(node.damaged(format_args!("it reads `{name}`, which nothing before it makes")));
                }
                Some(Value::Constant(constant)) => constants.push(Some(constant)),
                Some(Value::Activation(_)) if activation.is_some() => {
                    return Err(node.unsupported("it joins two branches, expected a plain chain"));
                }
                Some(Value::Activation(end)) => {
                    activation = Some((index, end.clone()));
                    constants.push(None);
                }
            }
        }
        let Some((position, end)) = activation else {
            return Ok(Value::Constant(self.folder.evaluate(node, &constants)?));
        };
        if node.op_type() == "Shape" {
            let batch = self.batch.map_or(-1, |batch| batch as i64);
            let dims = end.form.dims().into_iter().map(|extent| extent as i64);
            return Ok(Value::Constant(Constant::whole(std::iter::once(batch).chain(dims).collect())));
        }
        if end.version != self.chain.version {
            return Err(
                node.unsupported("it begins a branch: another node reads the same value, expected a plain chain")
            );
        }
        if position != 0 && !matches!(node.op_type(), "Add" | "Mul") {
            return Err(node.unsupported("a constant stands where the activation is expected"));
        }
        let form = self.layer(node, end.form, &constants, position)?;
        Ok(Value::Activation(self.chain.end(form)))
    }

    fn layer(
        &mut self,
        node: Node<'_>,
        form: Form,
        inputs: &[Option<&Constant>],
        position: usize,
    ) -> Result<Form, Refusal> {
        let constant = |index: usize| {
            let constant = inputs.get(index).copied().flatten();
            constant.ok_or_else(|| node.unsupported(format_args!("input {index} is not a constant")))
        };
        match node.op_type() {
            "Conv" => self.chain.conv(node, form, inputs),
            "Relu" => self.chain.relu(node, form),
            "MaxPool" => self.chain.pool(node, form, true),
            "AveragePool" => self.chain.pool(node, form, false),
            "GlobalAveragePool" => self.chain.mean(node, form),
            "LRN" => self.chain.lrn(node, form),
            "BatchNormalization" => {
                if node.int("training_mode", 0) != 0 {
                    return Err(node.unsupported("training_mode is 1, expected 0"));
                }
                let of = |index: usize| wide(node, constant(index)?, form);
                let (scale, shift, mean, variance) = (of(1)?, of(2)?, of(3)?, of(4)?);
                let epsilon = f64::from(node.float("epsilon", 1e-5));
                let scale: Vec<f64> = scale.iter().zip(&variance).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
                let shift = shift.iter().zip(&mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
                self.chain.affine(node, form, Affine { scale, shift })
            }
            "Add" | "Sub" | "Mul" | "Div" => {
                let values = wide(node, constant(1 - position.min(1))?, form)?;
                let count = values.len();
                let (scale, shift) = match node.op_type() {
                    "Add" => (vec![1.0; count], values),
                    "Sub" => (vec![1.0; count], values.into_iter().map(|value| -value).collect()),
                    "Mul" => (values, vec![0.0; count]),
                    _ => (values.into_iter().map(f64::recip).collect(), vec![0.0; count]),
                };
                self.chain.affine(node, form, Affine { scale, shift })
            }
            "MatMul" => self.chain.fc(node, form, constant(1)?, false),
            "Gemm" => self.gemm(node, form, constant(1)?, inputs.get(2).copied().flatten()),
            "Identity" => Ok(form),
            "Cast" => {
                let real = [DataType::Float, DataType::Float16, DataType::Bfloat16, DataType::Double];
                match node.int("to", 0) {
                    to if real.iter().any(|&kind| kind as i64 == to) => Ok(form),
                    to => {
                        Err(node.unsupported(format_args!("it casts activations to type {to}, expected real numbers")))
                    }
                }
            }
            "Dropout" => {
                self.chain.notes.insert("dropout removed".into());
                Ok(form)
            }
            "Flatten" => match node.int("axis", 1) {
                1 | -3 => self.chain.flatten(node, form),
                axis => Err(node.unsupported(format_args!("axis is {axis}, expected 1"))),
            },
            "Reshape" => self.reshape(node, form, constant(1)?),
            "Squeeze" => match form {
                Form::Image { extents: [_, 1, 1], .. } => self.chain.flatten(node, form),
                _ => Err(node.unsupported("only 1x1 feature maps are squeezed")),
            },
            "Transpose" => self.transpose(node, form),
            "Pad" => pad(node, form, inputs),
            "Softmax" => {
                self.chain.nothing_pending(node)?;
                let axis = node.int("axis", if node.opset < 13 { 1 } else { -1 });
                if !matches!((form, axis), (Form::Flat { .. }, 1 | -1)) {
                    return Err(node.unsupported(format_args!("axis is {axis}, expected a softmax over the classes")));
                }
                self.chain.layers.push(Layer { kind: LayerKind::Softmax, params: None });
                Ok(form)
            }
            _ => Err(node.unsupported("it is evaluated for constants only, but reads an activation")),
        }
    }

    fn gemm(
        &mut self,
        node: Node<'_>,
        form: Form,
        weight: &Constant,
        bias: Option<&Constant>,
    ) -> Result<Form, Refusal> {
        if node.int("transA", 0) != 0 {
            return Err(node.unsupported("transA is 1, expected 0"));
        }
        let (alpha, beta) = (f64::from(node.float("alpha", 1.0)), f64::from(node.float("beta", 1.0)));
        let form = self.chain.fc(node, form, weight, node.int("transB", 0) != 0)?;
        let Form::Flat { features, .. } = form else { return Ok(form) };
        if alpha != 1.0
            && let Some(params) = self.chain.layers.last_mut().and_then(|layer| layer.params.as_mut())
        {
            let affine = Affine { scale: vec![alpha; features], shift: vec![0.0; features] };
            (params.weight, params.bias) = affine.behind(&params.weight, &params.bias);
        }
        self.shifted(node, form, bias, beta, features)
    }

    /// Adds `beta * bias` to the layer that has just been added.
    fn shifted(
        &mut self,
        node: Node<'_>,
        form: Form,
        bias: Option<&Constant>,
        beta: f64,
        features: usize,
    ) -> Result<Form, Refusal> {
        let Some(bias) = bias else { return Ok(form) };
        let shift = wide(node, bias, form)?.into_iter().map(|value| value * beta).collect();
        self.chain.affine(node, form, Affine { scale: vec![1.0; features], shift })
    }

    fn reshape(&mut self, node: Node<'_>, form: Form, target: &Constant) -> Result<Form, Refusal> {
        let Some(target) = target.wholes() else {
            return Err(node.damaged("its shape is not of whole numbers"));
        };
        let batch = |extent: i64| matches!(extent, -1..=1) || self.batch.is_some_and(|batch| batch as i64 == extent);
        let dims = form.dims();
        let features = dims.iter().product::<usize>() as i64;
        match target {
            &[first, rest] if batch(first) && matches!(rest, _ if rest == features || rest == -1) => {
                self.chain.flatten(node, form)
            }
            [first, rest @ ..]
                if batch(*first) && rest.iter().copied().eq(dims.iter().map(|&extent| extent as i64)) =>
            {
                Ok(form)
            }
            _ => Err(node.unsupported(format_args!(
                "it makes {target:?} of [N, {}], expected [N, {features}]",
                dims.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
            ))),
        }
    }

    fn transpose(&mut self, node: Node<'_>, form: Form) -> Result<Form, Refusal> {
        let perm = node.ints("perm").unwrap_or_default();
        match (form, perm) {
            (Form::Image { extents, last: false, pad: [0, 0, 0, 0] }, [0, 2, 3, 1]) => {
                Ok(Form::Image { extents, last: true, pad: [0; 4] })
            }
            (Form::Image { extents, last: true, pad }, [0, 3, 1, 2]) => Ok(Form::Image { extents, last: false, pad }),
            // The first thing that happens to an input with the channels last.
            (Form::Image { extents: [h, w, c], last: false, .. }, [0, 3, 1, 2])
                if self.chain.layers.is_empty() && self.chain.pending.is_none() =>
            {
                self.chain.notes.insert("the file takes images as [N, H, W, C], this network as [N, C, H, W]".into());
                self.extents = [c, h, w];
                Ok(Form::image([c, h, w]))
            }
            _ => Err(node.unsupported(format_args!("perm is {perm:?}, expected [0, 2, 3, 1] or back"))),
        }
    }
}

/// A number for each channel of `form`, from a constant that is broadcast over it.
fn wide(node: Node<'_>, constant: &Constant, form: Form) -> Result<Vec<f64>, Refusal> {
    let (rank, axis, channels) = match form {
        Form::Image { extents: [c, ..], last: false, .. } => (4, 1, c),
        Form::Image { extents: [c, ..], last: true, .. } => (4, 3, c),
        Form::Flat { features, .. } => (2, 1, features),
    };
    let refuse = || {
        node.unsupported(format_args!(
            "a constant of the shape {:?}, expected one number for each channel",
            constant.shape
        ))
    };
    let values: Vec<f64> = constant.reals().map(|data| floats(data).map(f64::from).collect()).ok_or_else(refuse)?;
    if let &[value] = values.as_slice() {
        return Ok(vec![value; channels]);
    }
    // The parameters of a batch normalisation are vectors of the channels.
    let offset = if node.op_type() == "BatchNormalization" { axis } else { rank - constant.shape.len().min(rank) };
    let along = constant.shape.iter().enumerate().all(|(place, &extent)| extent == 1 || place + offset == axis);
    let reordered = matches!(form, Form::Flat { from: Some((_, true)), .. });
    if !along || reordered || values.len() != channels || constant.shape.len() > rank {
        return Err(refuse());
    }
    Ok(values)
}

/// Zeros around feature maps, kept for the next window.
fn pad(node: Node<'_>, form: Form, inputs: &[Option<&Constant>]) -> Result<Form, Refusal> {
    let input = |index: usize| inputs.get(index).copied().flatten();
    let pads = input(1).and_then(Constant::wholes).or_else(|| node.ints("pads")).unwrap_or_default();
    let value = input(2).and_then(Constant::reals).and_then(|data| floats(data).next());
    let value = value.unwrap_or_else(|| node.float("value", 0.0));
    let mode = node.text("mode", "constant");
    if mode != "constant" || value != 0.0 || input(3).is_some() {
        return Err(node.unsupported(format_args!("it pads with `{mode}` {value}, expected zeros on all axes")));
    }
    let side = |pad: i64| usize::try_from(pad).ok().filter(|&pad| pad <= MAX_EXTENT);
    let refuse = || node.unsupported(format_args!("pads are {pads:?}, expected rows and columns of one image"));
    let (extents, last, sides) = match (form, pads) {
        (Form::Image { extents, last: false, pad: [0, 0, 0, 0] }, &[0, 0, t, l, 0, 0, b, r]) => {
            (extents, false, [t, l, b, r])
        }
        (Form::Image { extents, last: true, pad: [0, 0, 0, 0] }, &[0, t, l, 0, 0, b, r, 0]) => {
            (extents, true, [t, l, b, r])
        }
        _ => return Err(refuse()),
    };
    let [Some(t), Some(l), Some(b), Some(r)] = sides.map(side) else { return Err(refuse()) };
    Ok(Form::Image { extents, last, pad: [t, l, b, r] })
}

#[cfg(test)]
mod tests {
    use super::{Externals, SUPPORTED, walk};
    use crate::onnx::messages::{
        AttributeProto, DataType, Dimension, DimensionValue, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
        TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
    };

    /// What becomes of a file of one node that reads an image of two channels, and with it constants of two numbers.
    fn of_one_node(op_type: &str, constants: usize, attribute: (&str, i64)) -> Result<usize, String> {
        let names = (0..constants).map(|index| format!("c{index}"));
        let initializer = names.clone().map(|name| TensorProto {
            name: Some(name),
            dims: vec![2],
            data_type: Some(DataType::Float as i32),
            float_data: vec![1.0, 2.0],
            ..TensorProto::default()
        });
        let node = NodeProto {
            input: std::iter::once("x".to_owned()).chain(names).collect(),
            output: vec!["y".into()],
            name: Some("n".into()),
            op_type: Some(op_type.into()),
            attribute: vec![AttributeProto {
                name: Some(attribute.0.into()),
                i: Some(attribute.1),
                ..AttributeProto::default()
            }],
            ..NodeProto::default()
        };
        let dim =
            [1, 2, 4, 4].map(|extent| Dimension { value: Some(DimensionValue::DimValue(extent)), denotation: None });
        let shape = Some(TensorShapeProto { dim: dim.to_vec() });
        let tensor_type = Some(TensorTypeProto { elem_type: Some(DataType::Float as i32), shape });
        let kind = Some(TypeProto { tensor_type, ..TypeProto::default() });
        let value = |name: &str| ValueInfoProto { name: Some(name.into()), r#type: kind.clone(), doc_string: None };
        let graph = GraphProto {
            initializer: initializer.collect(),
            node: vec![node],
            input: vec![value("x")],
            output: vec![value("y")],
            ..GraphProto::default()
        };
        let opset_import = vec![OperatorSetIdProto { domain: None, version: Some(17) }];
        let model = ModelProto { opset_import, graph: Some(graph), ..ModelProto::default() };
        walk(&model, &mut Externals::new(None)).map(|walked| walked.layers.len()).map_err(|refusal| refusal.problem)
    }

    #[test]
    fn a_cast_that_changes_activations_is_refused() {
        for kind in [DataType::Float, DataType::Float16, DataType::Bfloat16, DataType::Double] {
            assert_eq!(of_one_node("Cast", 0, ("to", kind as i64)), Ok(0));
        }
        for to in [DataType::Int64 as i64, DataType::Bool as i64, 99] {
            let expected = format!("Cast at node `n`: it casts activations to type {to}, expected real numbers");
            assert_eq!(of_one_node("Cast", 0, ("to", to)), Err(expected));
        }
    }

    #[test]
    fn a_batch_normalisation_in_training_is_refused() {
        let problem = |mode| of_one_node("BatchNormalization", 4, ("training_mode", mode)).err();
        assert_eq!(problem(1).as_deref(), Some("BatchNormalization at node `n`: training_mode is 1, expected 0"));
        assert_eq!(problem(0).as_deref(), Some("the network ends in a normalisation that no layer can take"));
    }

    #[test]
    fn the_documentation_has_the_table() {
        let rows: String = SUPPORTED.iter().map(|(name, what)| format!("| {name} | {what} |\n")).collect();
        let text = include_str!("../../../../docs/onnx-import.md");
        assert!(text.ends_with(&format!("|---|---|\n{rows}")), "docs/onnx-import.md should end in:\n{rows}");
    }
}
