//! Files of `vgg export --preprocess-in-graph`: the nodes that make the input of pixels are what their metadata say, and are taken off.

use std::sync::Arc;

use super::error::Refusal;
use crate::onnx::messages::{DataType, DimensionValue, GraphProto, NodeProto, TensorProto};
use crate::onnx::pixels::{PixelNames, pixels};
use crate::preprocess::{Mean, Preprocess};

/// Takes the nodes off that make the network's input of pixels, when that input is one of bytes and `preprocess`, from the metadata,
/// says what becomes of them. The numbers of a mean image are taken from them. Gives whether it has done so.
///
/// # Errors
///
/// When the nodes do something else than `preprocess` says.
pub(super) fn take_off(graph: &mut GraphProto, preprocess: &mut Preprocess) -> Result<bool, Refusal> {
    let [input] = graph.input.as_mut_slice() else { return Ok(false) };
    let Some(kind) = input.r#type.as_mut().and_then(|kind| kind.tensor_type.as_mut()) else { return Ok(false) };
    if kind.elem_type != Some(DataType::Uint8.into()) {
        return Ok(false);
    }
    let other = || {
        Refusal::new(
            "its input holds bytes, but its first nodes are not those that its metadata `vgg.preprocessing` describe",
            "give a file as `vgg export --preprocess-in-graph` wrote it, or export the network without",
        )
    };
    let Some([batch, height, width, _]) = kind.shape.as_mut().map(|shape| shape.dim.as_mut_slice()) else {
        return Err(other());
    };
    let extents = [&*height, &*width].map(|dim| match dim.value {
        Some(DimensionValue::DimValue(extent)) => usize::try_from(extent).ok(),
        _ => None,
    });
    let [Some(rows), Some(columns)] = extents else { return Err(other()) };
    let name = input.name.clone().unwrap_or_default();
    if let Mean::Image(image @ None) = &mut preprocess.mean {
        *image = subtracted(graph.node.as_slice(), &graph.initializer);
    }
    let batch = batch.value.clone().unwrap_or(DimensionValue::DimParam("N".into()));
    let names = PixelNames::new(str::to_owned);
    let expected = pixels(preprocess, batch, [rows, columns], &names, "input").ok_or_else(other)?;
    let mut constants = expected.initializers.iter();
    let (mut value, mut taken) = (name, Vec::new());
    for step in &expected.nodes {
        let [index] = readers(&graph.node, &value)[..] else { return Err(other()) };
        let Some(found) = graph.node.get(index) else { return Err(other()) };
        let constant = match found.input.as_slice() {
            [_] => None,
            [_, constant] => graph.initializer.iter().find(|tensor| tensor.name.as_ref() == Some(constant)),
            _ => return Err(other()),
        };
        let same = match (step.input.len(), constant) {
            (1, None) => found.input.len() == 1,
            (2, Some(constant)) => constants.next().is_some_and(|expected| same_numbers(constant, expected)),
            _ => false,
        };
        let [output] = found.output.as_slice() else { return Err(other()) };
        if !same
            || found.input.first() != Some(&value)
            || (&found.op_type, &found.attribute) != (&step.op_type, &step.attribute)
        {
            return Err(other());
        }
        value.clone_from(output);
        taken.push(index);
    }
    let mut index = 0;
    graph.node.retain(|_| {
        index += 1;
        !taken.contains(&(index - 1))
    });
    let [input] = graph.input.as_mut_slice() else { return Err(other()) };
    input.name = Some(value);
    if let Some(kind) = input.r#type.as_mut().and_then(|kind| kind.tensor_type.as_mut()) {
        kind.elem_type = Some(DataType::Float.into());
        if let Some([_, planar @ ..]) = kind.shape.as_mut().map(|shape| shape.dim.as_mut_slice()) {
            planar.rotate_right(1);
        }
    }
    Ok(true)
}

/// The nodes that read `value`, one for each time.
fn readers(nodes: &[NodeProto], value: &str) -> Vec<usize> {
    let inputs = nodes.iter().enumerate().flat_map(|(index, node)| node.input.iter().map(move |input| (index, input)));
    inputs.filter(|(_, input)| *input == value).map(|(index, _)| index).take(2).collect()
}

/// The image that the first `Sub` takes away.
fn subtracted(nodes: &[NodeProto], initializers: &[TensorProto]) -> Option<Arc<[f32]>> {
    let node = nodes.iter().find(|node| node.op_type.as_deref() == Some("Sub"))?;
    let name = node.input.get(1)?;
    let bytes = initializers.iter().find(|tensor| tensor.name.as_ref() == Some(name))?.raw_data.as_ref()?;
    let numbers: Arc<[f32]> = bytes.as_chunks().0.iter().map(|&number| f32::from_le_bytes(number)).collect();
    numbers.iter().all(|number| number.is_finite()).then_some(numbers)
}

fn same_numbers(one: &TensorProto, other: &TensorProto) -> bool {
    (&one.dims, one.data_type, &one.raw_data) == (&other.dims, other.data_type, &other.raw_data)
}
