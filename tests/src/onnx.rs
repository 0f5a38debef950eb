//! Changes to an ONNX file that the tests need.

use std::collections::HashSet;

use onnx_protobuf::{GraphProto, Message, ModelProto, ValueInfoProto};

/// Bytes that do not hold a serialised `ModelProto`.
#[derive(Debug, thiserror::Error)]
#[error("not an ONNX model: {0}")]
pub struct NotOnnx(#[from] protobuf::Error);

/// Makes the first output of every node an output of the graph, after those it has already, in the order of the nodes.
///
/// ONNX Runtime infers the types of the added outputs; `onnx.checker` would refuse the result. Weights are not touched, and external
/// data stays where it is: write the result beside it. Further outputs of a node, such as the mask of Dropout, are left out.
///
/// # Errors
/// When `model` is no serialised `ModelProto`.
pub fn with_all_outputs(model: &[u8]) -> Result<Vec<u8>, NotOnnx> {
    let parsed = ModelProto::parse_from_bytes(model)?;
    let mut known = parsed.graph.output.iter().map(|output| output.name.as_str()).collect::<HashSet<_>>();
    let mut added = ModelProto::new();
    let graph: &mut GraphProto = added.graph.mut_or_insert_default();
    for node in &parsed.graph.node {
        if let Some(name) = node.output.first().filter(|name| !name.is_empty() && known.insert(name)) {
            graph.output.push(ValueInfoProto { name: name.clone(), ..ValueInfoProto::default() });
        }
    }
    // Protocol Buffers merge a message that occurs twice, and lists grow: no weight needs to be written again.
    let mut bytes = model.to_vec();
    added.write_to_vec(&mut bytes)?;
    Ok(bytes)
}
