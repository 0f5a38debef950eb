//! From the nodes of a file to a [`Net`]: what is constant is evaluated, what is not becomes an operator with its numbers.

use std::collections::{BTreeMap, BTreeSet};

use super::affine::MAX_NUMBERS;
use super::constant::{Constant, Data};
use super::error::{Refusal, clean, printable};
use super::external::Externals;
use super::fold::{Folder, shape_of, whole};
use super::header::{needed, opset};
use super::input::input;
use super::net::{Net, Node as NetNode, OPEN, Op, Value, ValueId};
use super::node::Node;
use super::operator::{Operand, Reading};
use super::tensor;
use crate::onnx::messages::ModelProto;
use crate::spec::limits::{MAX_LAYERS, MAX_TENSOR};

/// Most operators on activations. The passes may look at every pair of them again for each one that they take away.
const MAX_NODES: usize = 2 * MAX_LAYERS;

/// Most activations that all operators read together.
const MAX_READS: usize = 2 * MAX_NODES;

/// What a name stands for.
enum Known {
    Constant(Constant),
    Activation(ValueId),
}

/// The network of `model`. `shape` are the extents of its input, for those that the file leaves open.
pub(super) fn read(model: &ModelProto, shape: Option<&[usize]>, externals: &mut Externals) -> Result<Net, Refusal> {
    let Some(graph) = &model.graph else {
        return Err(Refusal::damaged("not an ONNX file: it holds no graph"));
    };
    let opset = opset(model)?;
    let nodes = needed(graph, opset)?;
    let input = input(graph, shape)?;
    let mut notes = BTreeSet::new();
    if let Some(kind) = input.converted {
        notes.insert(format!("{kind} activations computed in f32"));
    }
    let mut known = BTreeMap::new();
    let read: BTreeSet<&str> = nodes.iter().flat_map(|node| &node.input).map(String::as_str).collect();
    for tensor in &graph.initializer {
        let name = tensor.name.clone().unwrap_or_default();
        if known.contains_key(&name) {
            return Err(Refusal::damaged(format!("two tensors are called `{}`", printable(&name))));
        }
        if !read.contains(name.as_str()) {
            continue;
        }
        let (constant, converted) = tensor::read(tensor, externals)?;
        if let Some(kind) = converted {
            notes.insert(format!("{kind} weights converted to f32"));
        }
        known.insert(name, Known::Constant(constant));
    }
    let batch = input.shape.first().copied().unwrap_or(OPEN);
    let docs = model.doc_string.as_deref().filter(|docs| !docs.is_empty()).or(graph.doc_string.as_deref());
    let mut net = Net {
        name: graph.name.clone().unwrap_or_default(),
        docs: docs.unwrap_or_default().lines().map(clean).collect(),
        batch,
        input: ValueId(0),
        outputs: Vec::new(),
        values: vec![Value { name: input.name.clone(), shape: input.shape }],
        nodes: Vec::new(),
        notes,
    };
    known.insert(input.name, Known::Activation(net.input));
    let mut folder = Folder::new(externals);
    let mut others = BTreeMap::new();
    let (mut read, mut numbers) = (0, 0_usize);
    for proto in nodes {
        let node_of = Node { proto, opset };
        let more = proto.output.iter().skip(1).filter(|name| !name.is_empty());
        others.extend(more.map(|name| (name.as_str(), node_of)));
        if let Some(other) = proto.input.iter().find_map(|name| others.get(name.as_str())) {
            let shown = other.shown();
            return Err(node_of.unsupported(format_args!("it reads another result than the first of {shown}")));
        }
        let before = net.nodes.len();
        let result = node(node_of, &known, &mut net, &mut folder)?;
        if let Some(made) = net.nodes.get(before) {
            read += made.inputs.len();
            if let Op::Affine(affine) = &made.op {
                numbers = numbers.saturating_add(affine.scale.len());
            }
        }
        if numbers > MAX_NUMBERS {
            let problem = format_args!("the file scales and shifts by more than {MAX_NUMBERS} numbers");
            return Err(node_of.unsupported(problem));
        }
        if net.nodes.len() > MAX_NODES || read > MAX_READS {
            return Err(Refusal::unsupported(format!(
                "the network has more than the {MAX_NODES} operators or {MAX_READS} inputs of operators allowed"
            )));
        }
        known.insert(proto.output.first().cloned().unwrap_or_default(), result);
    }
    for output in &graph.output {
        let name = output.name.as_deref().unwrap_or_default();
        match known.get(name) {
            Some(Known::Activation(value)) if net.outputs.contains(value) => {
                return Err(Refusal::unsupported(format!("the output `{}` is given twice", printable(name))));
            }
            Some(Known::Activation(value)) => net.outputs.push(*value),
            Some(Known::Constant(_)) => {
                let problem = format!("the output `{}` does not depend on the input", printable(name));
                return Err(Refusal::unsupported(problem));
            }
            None if others.contains_key(name) => {
                let shown = others.get(name).map(|node| node.shown()).unwrap_or_default();
                let problem = format!("the output `{}` is another result than the first of {shown}", printable(name));
                return Err(Refusal::unsupported(problem));
            }
            None => return Err(Refusal::damaged(format!("nothing makes the output `{}`", printable(name)))),
        }
    }
    Ok(net)
}

fn node(
    node: Node<'_>,
    known: &BTreeMap<String, Known>,
    net: &mut Net,
    folder: &mut Folder<'_>,
) -> Result<Known, Refusal> {
    let mut inputs = Vec::new();
    let mut operands = Vec::with_capacity(node.proto.input.len());
    for name in &node.proto.input {
        operands.push(match known.get(name) {
            None if name.is_empty() => Operand::Absent,
            None => {
                let name = printable(name);
                return Err(node.damaged(format_args!("it reads `{name}`, which nothing before it makes")));
            }
            Some(Known::Constant(constant)) => Operand::Constant(constant),
            Some(Known::Activation(value)) => {
                inputs.push(*value);
                Operand::Activation(net.shape(*value))
            }
        });
    }
    if inputs.is_empty() {
        let constants: Vec<Option<&Constant>> = operands
            .iter()
            .map(|operand| match operand {
                Operand::Constant(constant) => Some(*constant),
                _ => None,
            })
            .collect();
        return folder.evaluate(node, &constants).map(Known::Constant);
    }
    if let ("Shape", Some(Operand::Activation(shape))) = (node.op_type(), operands.first()) {
        return shape_of(node, shape).map(Known::Constant);
    }
    if let ("Size", Some(Operand::Activation(shape))) = (node.op_type(), operands.first()) {
        let size = shape.iter().try_fold(1_usize, |product, &extent| product.checked_mul(extent)).map(whole);
        let size = size.ok_or_else(|| node.unsupported("its result is too large"))?;
        return Ok(Known::Constant(Constant { shape: vec![], data: Data::I64(vec![size]) }));
    }
    // Weights are copied where their layout differs, however many operators share them.
    let weights = operands.iter().map(|operand| match operand {
        Operand::Constant(constant) => constant.len(),
        _ => 0,
    });
    folder.charge(node, weights.fold(0, usize::saturating_add))?;
    let (op, shape) = Reading { node, inputs: &operands, batch: net.batch }.made()?;
    let elements = shape
        .iter()
        .try_fold(1_u64, |product, &extent| product.checked_mul(if extent == net.batch { 1 } else { extent as u64 }));
    if elements.is_none_or(|count| count > MAX_TENSOR) {
        return Err(node.unsupported("its result is too large"));
    }
    let own = node.proto.name.clone().filter(|name| !name.is_empty());
    let made = node.proto.output.first().cloned().unwrap_or_default();
    let names = vec![own.unwrap_or_else(|| made.clone())];
    let output = net.add_value(made, shape);
    net.nodes.push(NetNode { names, op, inputs, output });
    Ok(Known::Activation(output))
}
