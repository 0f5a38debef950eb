//! A graph as an ONNX message, all but the numbers of its parameters.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::error::ExportError;
use super::messages::{
    AttributeProto, AttributeType, DataLocation, DataType, Dimension, DimensionValue, GraphProto, ModelProto,
    NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto,
    ValueInfoProto,
};
use super::options::{Batch, ExportOptions, Outputs, ir_version};
use super::pixels::{self, PixelNames, Pixels};
use crate::ir::{Node, Op, ParamId, ParamSource, Pool, Precision, Shape, TypedGraph, ValueId};
use crate::preprocess::METADATA_KEY;
use crate::weights::Header;

/// The message of `graph`. Its first initializers are the graph's parameters in their order: pointing into the file of
/// `header` when the options name one, without data otherwise.
pub(super) fn model(graph: &TypedGraph, header: &Header, options: &ExportOptions) -> Result<ModelProto, ExportError> {
    let ir_version = ir_version(options.opset).ok_or(ExportError::Opset { arrived: options.opset })?;
    let context = Context { graph, batch: batch(options.batch)?, names: names(graph) };
    if let Some(name) = &options.external {
        check_external(name)?;
    }
    let metadata = metadata(graph, options)?;
    let mut message = GraphProto { name: Some(graph.name.clone()), ..GraphProto::default() };
    for index in 0..graph.params.len() {
        let mut tensor = context.initializer(ParamId(index));
        if let Some(location) = &options.external {
            point(&mut tensor, location, header, ParamId(index));
        }
        message.initializer.push(tensor);
    }
    for node in &graph.nodes {
        message.node.extend(context.conversion(node));
        let (node, scalars) = context.node(node);
        message.node.push(node);
        message.initializer.extend(scalars);
    }
    match pixels(&context, options)? {
        None => message.input.push(context.value(graph.input)),
        Some(Pixels { input, nodes, initializers }) => {
            message.input.push(input);
            message.node.splice(..0, nodes);
            message.initializer.extend(initializers);
            message.value_info.push(context.value(graph.input));
        }
    }
    let all = || graph.nodes.iter().map(|node| node.output);
    let (outputs, hidden): (Vec<ValueId>, Vec<ValueId>) = match options.outputs {
        Outputs::All => (all().collect(), Vec::new()),
        Outputs::Final => (graph.outputs.clone(), all().filter(|value| !graph.outputs.contains(value)).collect()),
    };
    message.output.extend(outputs.into_iter().map(|value| context.value(value)));
    message.value_info.extend(hidden.into_iter().map(|value| context.value(value)));
    Ok(ModelProto {
        ir_version: Some(ir_version),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(options.opset.into()) }],
        producer_name: Some("vgg".into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        domain: None,
        model_version: None,
        doc_string: (!graph.docs.is_empty()).then(|| graph.docs.join("\n")),
        graph: Some(message),
        metadata_props: metadata,
    })
}

/// What stands before the network when it is to take pixels.
fn pixels(context: &Context<'_>, options: &ExportOptions) -> Result<Option<Pixels>, ExportError> {
    if !options.preprocess {
        return Ok(None);
    }
    let Context { graph, batch, names } = context;
    let input = &graph.values[graph.input.0].name;
    let pixels = match (&graph.preprocess, graph.input_shape()) {
        (Some(preprocess), Shape::Image { height, width, .. }) => {
            pixels::pixels(preprocess, batch.clone(), [height, width], &names.pixels, input)
        }
        _ => None,
    };
    pixels.map(Some).ok_or_else(|| ExportError::Preprocess { name: graph.name.clone() })
}

fn batch(batch: Batch) -> Result<DimensionValue, ExportError> {
    match batch {
        Batch::Dynamic => Ok(DimensionValue::DimParam("N".into())),
        Batch::Fixed(images) => match i64::try_from(images) {
            Ok(images @ 1..) => Ok(DimensionValue::DimValue(images)),
            _ => Err(ExportError::Batch { arrived: images }),
        },
    }
}

/// Whether `name` names a file beside the model, on every system.
fn check_external(name: &str) -> Result<(), ExportError> {
    let plain = !name.is_empty()
        && name != "."
        && name != ".."
        && !name.chars().any(|c| matches!(c, '/' | '\\' | ':') || c.is_control());
    if plain { Ok(()) } else { Err(ExportError::External { name: name.escape_debug().to_string() }) }
}

/// The metadata, sorted by key: the compiler's own with the caller's in its place.
fn metadata(graph: &TypedGraph, options: &ExportOptions) -> Result<Vec<StringStringEntryProto>, ExportError> {
    let mut given = BTreeMap::new();
    for (key, text) in &options.metadata {
        if given.insert(key.as_str(), text.as_str()).is_some() {
            return Err(ExportError::Metadata { key: key.clone() });
        }
    }
    let preprocess = graph.preprocess.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
    let mut all: BTreeMap<&str, &str> =
        BTreeMap::from([("vgg.network", graph.name.as_str()), (METADATA_KEY, preprocess.as_str())]);
    all.extend(options.preprocess.then_some(("vgg.input", "uint8 pixels, NHWC, red first")));
    all.extend(options.weights.as_ref().map(|weights| ("vgg.weights", weights.as_str())));
    all.extend(given);
    Ok(all.into_iter().map(|(key, text)| StringStringEntryProto::new(key, text)).collect())
}

/// Makes `tensor` point into the weights file at `location`.
fn point(tensor: &mut TensorProto, location: &str, header: &Header, param: ParamId) {
    let range = header.file_range(param);
    tensor.data_location = Some(DataLocation::External.into());
    tensor.external_data = vec![
        StringStringEntryProto::new("location", location),
        StringStringEntryProto::new("offset", range.start.to_string()),
        StringStringEntryProto::new("length", range.len().to_string()),
    ];
}

/// The names of the tensors that are no activations. An ONNX graph has one name space for both.
struct Names {
    params: Vec<String>,
    /// What the parameters that are not f32 are called when they have become so.
    converted: BTreeMap<ParamId, String>,
    /// The scalars that operators read beside their parameters, by the name of the node: in the order of its inputs, none where one is
    /// left out.
    scalars: BTreeMap<String, Vec<Option<Scalar>>>,
    pixels: PixelNames,
}

/// A scalar with its name.
type Scalar = (String, f32);

/// The scalars of an operator, by what they are.
fn scalars(op: &Op) -> Vec<Option<(&'static str, f32)>> {
    match *op {
        Op::Dropout { ratio } => vec![Some(("ratio", ratio))],
        Op::Clip { min, max } => {
            let mut bounds =
                vec![(min > f32::NEG_INFINITY).then_some(("min", min)), (max < f32::INFINITY).then_some(("max", max))];
            // Inputs that are left out at the end have no name at all.
            while let Some(None) = bounds.last() {
                bounds.pop();
            }
            bounds
        }
        _ => Vec::new(),
    }
}

fn names(graph: &TypedGraph) -> Names {
    let mut taken: BTreeSet<String> = graph.values.iter().map(|value| value.name.clone()).collect();
    let mut free = |name: &str| {
        let mut name = name.to_owned();
        while !taken.insert(name.clone()) {
            name.push('_');
        }
        name
    };
    let params = graph.params.iter().map(|param| free(&param.name)).collect();
    let rounded = graph.params.iter().enumerate().filter(|(_, param)| param.precision() != Precision::F32);
    let converted = rounded.map(|(index, param)| (ParamId(index), free(&format!("{}_f32", param.name)))).collect();
    let mut named = |node: &Node| -> Vec<Option<Scalar>> {
        let mut name = |(what, value)| (free(&format!("{}_{what}", node.name)), value);
        scalars(&node.op).into_iter().map(|scalar| scalar.map(&mut name)).collect()
    };
    let scalars = graph.nodes.iter().map(|node| (node.name.clone(), named(node))).collect();
    Names { params, converted, scalars, pixels: PixelNames::new(free) }
}

struct Context<'a> {
    graph: &'a TypedGraph,
    batch: DimensionValue,
    names: Names,
}

impl Context<'_> {
    fn initializer(&self, id: ParamId) -> TensorProto {
        TensorProto {
            dims: ints(&self.graph.params[id.0].shape),
            data_type: Some(data_type(self.graph.params[id.0].precision()).into()),
            name: Some(self.names.params[id.0].clone()),
            ..TensorProto::default()
        }
    }

    /// The type of an activation.
    fn value(&self, id: ValueId) -> ValueInfoProto {
        let dim = |value| Dimension { value: Some(value), denotation: None };
        let extents = ints(&self.graph.shape(id).dims()).into_iter().map(DimensionValue::DimValue);
        let shape = TensorShapeProto { dim: std::iter::once(self.batch.clone()).chain(extents).map(dim).collect() };
        let tensor = TensorTypeProto { elem_type: Some(DataType::Float.into()), shape: Some(shape) };
        ValueInfoProto {
            name: Some(self.graph.values[id.0].name.clone()),
            r#type: Some(TypeProto { tensor_type: Some(tensor), denotation: None }),
            doc_string: None,
        }
    }

    /// The node that makes f32 of a weight in another precision, which `node` reads.
    fn conversion(&self, node: &Node) -> Option<NodeProto> {
        let weight = *node.params.first()?;
        let output = self.names.converted.get(&weight)?.clone();
        let mut input = vec![self.names.params[weight.0].clone()];
        let (op_type, attribute) = if self.graph.params[weight.0].precision() == Precision::Int8 {
            input.extend(node.params.last().map(|scales| self.names.params[scales.0].clone()));
            ("DequantizeLinear", int("axis", 0))
        } else {
            ("Cast", int("to", DataType::Float as usize))
        };
        Some(NodeProto {
            input,
            name: Some(output.clone()),
            output: vec![output],
            op_type: Some(op_type.into()),
            domain: None,
            attribute: vec![attribute],
            doc_string: None,
        })
    }

    /// The name under which a node reads a parameter. Scales are read by the conversion.
    fn operand(&self, id: ParamId) -> Option<String> {
        match self.graph.params[id.0].source {
            ParamSource::RowScales { .. } => None,
            _ => Some(self.names.converted.get(&id).unwrap_or(&self.names.params[id.0]).clone()),
        }
    }

    /// A node, and the scalars that it reads beside its parameters.
    fn node(&self, node: &Node) -> (NodeProto, Vec<TensorProto>) {
        let mut input: Vec<String> = node.inputs.iter().map(|id| self.graph.values[id.0].name.clone()).collect();
        input.extend(node.params.iter().filter_map(|&id| self.operand(id)));
        let scalars = self.names.scalars.get(&node.name).map_or(&[][..], Vec::as_slice);
        // The empty name stands for an input that is left out.
        input.extend(scalars.iter().map(|scalar| scalar.as_ref().map_or_else(String::new, |(name, _)| name.clone())));
        let scalars = scalars.iter().flatten().map(|(name, value)| scalar(name, *value)).collect();
        let message = NodeProto {
            input,
            output: vec![self.graph.values[node.output.0].name.clone()],
            name: Some(node.name.clone()),
            op_type: Some(node.op.op_type().into()),
            domain: None,
            attribute: attributes(&node.op, self.graph.shape(node.inputs[0]), self.graph.shape(node.output)),
            doc_string: None,
        };
        (message, scalars)
    }
}

/// ONNX's name of a type.
fn data_type(precision: Precision) -> DataType {
    match precision {
        Precision::F32 => DataType::Float,
        Precision::F16 => DataType::Float16,
        Precision::Bf16 => DataType::Bfloat16,
        Precision::Int8 => DataType::Int8,
    }
}

fn scalar(name: &str, value: f32) -> TensorProto {
    TensorProto {
        data_type: Some(DataType::Float.into()),
        name: Some(name.into()),
        raw_data: Some(Bytes::copy_from_slice(&value.to_le_bytes())),
        ..TensorProto::default()
    }
}

/// The attributes of an operator from `input` to `output`, written out even where ONNX has a default of the same value.
fn attributes(op: &Op, input: Shape, output: Shape) -> Vec<AttributeProto> {
    match op {
        Op::Conv(conv) => vec![
            list("dilations", &conv.dilations),
            int("group", conv.group),
            list("kernel_shape", &conv.kernel_shape),
            list("pads", &conv.pads),
            list("strides", &conv.strides),
        ],
        Op::MaxPool(pool) => window(*pool, input, output),
        Op::AveragePool { pool, count_include_pad } => {
            let counted = int("count_include_pad", usize::from(*count_include_pad));
            [window(*pool, input, output), vec![counted]].concat()
        }
        Op::Lrn(lrn) => {
            vec![float("alpha", lrn.alpha), float("beta", lrn.beta), float("bias", lrn.bias), int("size", lrn.size)]
        }
        Op::BatchNormalization { epsilon } => vec![float("epsilon", *epsilon)],
        Op::Flatten => vec![int("axis", 1)],
        Op::Gemm { .. } => vec![float("alpha", 1.0), float("beta", 1.0), int("transA", 0), int("transB", 1)],
        Op::LeakyRelu { alpha } => vec![float("alpha", *alpha)],
        Op::Concat | Op::Softmax | Op::LogSoftmax => vec![int("axis", 1)],
        Op::Relu
        | Op::Clip { .. }
        | Op::Sigmoid
        | Op::Add
        | Op::Mul
        | Op::GlobalMaxPool
        | Op::GlobalAveragePool
        | Op::Dropout { .. } => Vec::new(),
    }
}

fn window(pool: Pool, input: Shape, output: Shape) -> Vec<AttributeProto> {
    let pool = expressible(pool, input, output);
    vec![
        int("ceil_mode", usize::from(pool.ceil_mode)),
        list("kernel_shape", &pool.kernel_shape),
        list("pads", &pool.pads),
        list("strides", &pool.strides),
    ]
}

/// The window as every opset understands it.
///
/// In ceil mode, a last window that would start in the padding after the image is dropped. ONNX says so from opset 22 on; under
/// older ones shape inference counts it. Where there is one, the windows that remain are those of floor mode with as much
/// padding at the end as they reach over it, which takes part in no result.
fn expressible(pool: Pool, input: Shape, output: Shape) -> Pool {
    let (Shape::Image { height, width, .. }, Shape::Image { height: rows, width: columns, .. }) = (input, output)
    else {
        return pool;
    };
    let Pool { kernel_shape: kernel, strides, pads: [top, left, bottom, right], .. } = pool;
    let axes = [(height, top, bottom, rows), (width, left, right, columns)];
    let counted = |axis: usize| {
        let (extent, begin, end, _) = axes[axis];
        (extent + begin + end - kernel[axis]).div_ceil(strides[axis]) + 1
    };
    if !pool.ceil_mode || (0..2).all(|axis| counted(axis) == axes[axis].3) {
        return pool;
    }
    let reached = |axis: usize| {
        let (extent, begin, end, count) = axes[axis];
        ((count - 1) * strides[axis] + kernel[axis]).saturating_sub(extent + begin).max(end)
    };
    Pool { pads: [top, left, reached(0), reached(1)], ceil_mode: false, ..pool }
}

fn attribute(name: &str, r#type: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(r#type.into()), ..AttributeProto::default() }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, AttributeType::Float) }
}

fn int(name: &str, value: usize) -> AttributeProto {
    AttributeProto { i: Some(value as i64), ..attribute(name, AttributeType::Int) }
}

fn list(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto { ints: ints(values), ..attribute(name, AttributeType::Ints) }
}

fn ints(values: &[usize]) -> Vec<i64> {
    values.iter().map(|&value| value as i64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::shape;

    /// Whatever is written counts the same windows by the rule of all opsets, and never pads by a whole window.
    #[test]
    fn dropped_windows_are_expressible() {
        let mut rewritten = 0;
        for extent in 1..=9 {
            for (kernel, stride, begin, end) in (0..256).map(|n| (n % 4 + 1, n / 4 % 4 + 1, n / 16 % 4, n / 64)) {
                let pool =
                    Pool { kernel_shape: [kernel, 1], strides: [stride, 1], pads: [begin, 0, end, 0], ceil_mode: true };
                let input = Shape::Image { channels: 1, height: extent, width: 3 };
                let Ok(output) = shape::infer(&Op::MaxPool(pool), &[input]) else { continue };
                if begin >= kernel || end >= kernel {
                    continue;
                }
                let written = expressible(pool, input, output);
                rewritten += usize::from(written != pool);
                let span = extent + written.pads[0] + written.pads[2] - kernel;
                let count = if written.ceil_mode { span.div_ceil(stride) } else { span / stride } + 1;
                assert_eq!(output, Shape::Image { channels: 1, height: count, width: 3 }, "{pool:?} on {extent}");
                assert!(
                    written.pads.iter().zip([kernel, 1, kernel, 1]).all(|(&pad, kernel)| pad < kernel),
                    "{written:?}"
                );
            }
        }
        assert!(rewritten > 20, "{rewritten}");
    }

    #[test]
    fn only_plain_names_are_beside_the_model() {
        for name in ["", ".", "..", "a/b", "/a", "..\\a", "c:a", "a\0b"] {
            assert!(check_external(name).is_err(), "{name:?}");
        }
        for name in ["a.safetensors", "..a", "ü b"] {
            assert!(check_external(name).is_ok(), "{name:?}");
        }
    }
}
