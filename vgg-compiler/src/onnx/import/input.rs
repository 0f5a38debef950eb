//! The input of a network, with the extents that a file leaves open.

use std::collections::BTreeSet;

use super::error::{Refusal, printable};
use super::net::OPEN;
use crate::onnx::messages::{DataType, DimensionValue, GraphProto, NodeProto, ValueInfoProto};
use crate::spec::limits::{MAX_CHANNELS, MAX_TENSOR};

/// The input of a network.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) name: String,
    /// With the batch, which is [`OPEN`] when it is open.
    pub(super) shape: Vec<usize>,
    /// The type of its elements when they are other real numbers than f32.
    pub(super) converted: Option<&'static str>,
}

/// The input of `graph`. `given` are its extents with or without the batch, for those that the file leaves open.
pub(super) fn input(graph: &GraphProto, given: Option<&[usize]>) -> Result<Input, Refusal> {
    let constants: BTreeSet<&str> = graph.initializer.iter().filter_map(|tensor| tensor.name.as_deref()).collect();
    let name = |info: &ValueInfoProto| info.name.clone().unwrap_or_default();
    let read: BTreeSet<&str> = graph.node.iter().flat_map(|node| &node.input).map(String::as_str).collect();
    let inputs: Vec<&ValueInfoProto> = graph
        .input
        .iter()
        .filter(|info| !constants.contains(name(info).as_str()) && read.contains(name(info).as_str()))
        .collect();
    let [info] = inputs.as_slice() else {
        let names: Vec<String> = inputs.iter().take(4).map(|info| format!("`{}`", printable(&name(info)))).collect();
        let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        let problem = format!("the graph has {} inputs{names}, expected one", inputs.len());
        let captured = inputs.iter().copied().find(|info| inputs.len() > 1 && is_captured(graph, info));
        return Err(match captured {
            Some(info) => Refusal::new(format!("{problem}: `{}` {CAPTURED}", printable(&name(info))), KEEP_CAPTURED),
            None => Refusal::unsupported(problem),
        });
    };
    let shown = printable(&name(info));
    let Some(kind) = info.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref()) else {
        return Err(Refusal::unsupported(format!("the input `{shown}` is no tensor, expected [N, C, H, W]")));
    };
    let elements = kind.elem_type.unwrap_or(DataType::Undefined.into());
    let converted = match DataType::try_from(elements) {
        Ok(DataType::Float | DataType::Undefined) => None,
        Ok(DataType::Float16) => Some("f16"),
        Ok(DataType::Bfloat16) => Some("bf16"),
        Ok(DataType::Double) => Some("f64"),
        other => {
            let other = other.map_or_else(|_| elements.to_string(), |kind| format!("{kind:?}"));
            return Err(Refusal::unsupported(format!(
                "the input `{shown}` holds numbers of the type {other}, expected Float, Float16, Bfloat16 or Double"
            )));
        }
    };
    let dims: Vec<Dim> = kind
        .shape
        .iter()
        .flat_map(|shape| &shape.dim)
        .map(|dim| match &dim.value {
            Some(DimensionValue::DimValue(value)) => match usize::try_from(*value) {
                Ok(value @ 1..) => Dim::Fixed(value),
                _ => Dim::Open("?".into()),
            },
            Some(DimensionValue::DimParam(name)) if !name.is_empty() => Dim::Open(printable(name)),
            _ => Dim::Open("?".into()),
        })
        .collect();
    let shape = resolve(&shown, &dims, given)?;
    let elements = shape.iter().skip(1).try_fold(1_u64, |product, &extent| product.checked_mul(extent as u64));
    if shape.iter().skip(1).any(|&extent| extent > MAX_EXTENT) || elements.is_none_or(|count| count > MAX_TENSOR) {
        let problem = format!("the input `{shown}` has the shape {}, which is too large", Dim::list(&dims));
        return Err(Refusal::unsupported(problem));
    }
    Ok(Input { name: name(info), shape, converted })
}

/// What happened to a constant that is an input.
const CAPTURED: &str = "is a constant of the model, such as the mean of a `Normalization` layer, of which the exporter kept the \
                        shape alone: its numbers are not in the file";

/// Which ways keep its numbers.
const KEEP_CAPTURED: &str = "export the model in a way that keeps them: `tf2onnx.convert.from_keras` and `python -m tf2onnx.convert \
                             --saved-model DIR` do, `model.export(format=\"onnx\")` and `tf2onnx.convert.from_function` do not";

/// Whether an input is what exporters of TensorFlow make of a constant that a function captures: one image or less of a known
/// shape, which arithmetic applies to something else.
fn is_captured(graph: &GraphProto, info: &ValueInfoProto) -> bool {
    let dims = info.r#type.iter().flat_map(|kind| &kind.tensor_type).flat_map(|kind| &kind.shape);
    let dims: Vec<_> = dims.flat_map(|shape| &shape.dim).map(|dim| &dim.value).collect();
    let known = dims.iter().all(|dim| matches!(dim, Some(DimensionValue::DimValue(1..))));
    let one = dims.len() < 4 || matches!(dims.first(), Some(Some(DimensionValue::DimValue(1))));
    let reads = |input: &&String| Some(input.as_str()) == info.name.as_deref();
    let readers = graph.node.iter().filter(|node| node.input.iter().any(|input| reads(&input)));
    let applied = |node: &NodeProto| {
        matches!(node.op_type.as_deref(), Some("Add" | "Sub" | "Mul" | "Div"))
            && node.input.iter().skip(1).any(|input| reads(&input))
    };
    known && one && readers.clone().count() > 0 && readers.clone().all(applied)
}

/// Largest extent of an input: that of channels, which is beyond that of rows and columns, or of a vector.
const MAX_EXTENT: usize = 64 * MAX_CHANNELS;

/// An extent as the file has it.
enum Dim {
    Fixed(usize),
    /// Under this name.
    Open(String),
}

impl Dim {
    fn list(dims: &[Self]) -> String {
        let texts: Vec<String> = dims
            .iter()
            .map(|dim| match dim {
                Self::Fixed(extent) => extent.to_string(),
                Self::Open(name) => name.clone(),
            })
            .collect();
        format!("[{}]", texts.join(", "))
    }
}

fn resolve(shown: &str, dims: &[Dim], given: Option<&[usize]>) -> Result<Vec<usize>, Refusal> {
    let listed = Dim::list(dims);
    if dims.is_empty() || dims.len() > 8 {
        let problem = format!("the input `{shown}` has the shape {listed}, expected [N, C, H, W]");
        return Err(Refusal::unsupported(problem));
    }
    let given: Vec<Option<usize>> = match given {
        None => vec![None; dims.len()],
        Some(given) if given.len() == dims.len() => given.iter().copied().map(Some).collect(),
        Some(given) if given.len() + 1 == dims.len() => {
            std::iter::once(None).chain(given.iter().copied().map(Some)).collect()
        }
        Some(given) => {
            let problem = format!("the input `{shown}` has the shape {listed}, but {given:?} was given for it");
            return Err(Refusal::new(problem, "give its extents in the order of the file, with or without the batch"));
        }
    };
    let mut shape = Vec::with_capacity(dims.len());
    for (axis, (dim, given)) in dims.iter().zip(given).enumerate() {
        shape.push(match (dim, given) {
            // Any number of images is computed, whatever the file says.
            (Dim::Fixed(batch), _) if axis == 0 => *batch,
            (Dim::Open(_), _) if axis == 0 => OPEN,
            (Dim::Fixed(extent), Some(given)) if *extent != given => {
                let problem = format!("the input `{shown}` has the shape {listed}, but {given} was given for {extent}");
                return Err(Refusal::new(
                    problem,
                    "export the network again for another size, or leave the option out",
                ));
            }
            (Dim::Fixed(extent), _) => *extent,
            (Dim::Open(_), Some(given)) => given,
            (Dim::Open(_), None) => {
                let problem =
                    format!("the input `{shown}` has the shape {listed}, whose extents beside the batch are open");
                return Err(Refusal::new(problem, "fix them with `--input-shape`, such as `--input-shape 3x224x224`"));
            }
        });
    }
    Ok(shape)
}
