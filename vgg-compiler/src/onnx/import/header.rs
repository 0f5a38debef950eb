//! What is checked before anything is computed: versions, and which nodes the outputs need.

use std::collections::{BTreeMap, BTreeSet};

use super::error::{Refusal, printable};
use super::node::Node;
use super::supported::SUPPORTED;
use crate::onnx::messages::{GraphProto, ModelProto, NodeProto};
use crate::spec::limits::MAX_LAYERS;

/// The versions of the standard operators that are understood.
pub(super) const OPSETS: std::ops::RangeInclusive<i64> = 7..=28;
/// The versions of the file format that are understood.
pub(super) const IR_VERSIONS: std::ops::RangeInclusive<i64> = 3..=14;

/// The version of the standard operators.
pub(super) fn opset(model: &ModelProto) -> Result<i64, Refusal> {
    match model.ir_version {
        None => return Err(Refusal::damaged("not an ONNX file: it has no version of the format")),
        Some(version) if !IR_VERSIONS.contains(&version) => {
            let (first, last) = (IR_VERSIONS.start(), IR_VERSIONS.end());
            let problem = format!("version {version} of the ONNX format, expected {first} to {last}");
            return Err(Refusal::new(problem, "save it anew with `onnx.save(onnx.load(\"in.onnx\"), \"out.onnx\")`"));
        }
        Some(_) => {}
    }
    let mut standard =
        model.opset_import.iter().filter(|set| matches!(set.domain.as_deref(), None | Some("" | "ai.onnx")));
    let Some(version) = standard.next().and_then(|set| set.version) else {
        return Err(Refusal::damaged("not an ONNX file, or without the version of the standard operators"));
    };
    if standard.next().is_some() {
        return Err(Refusal::damaged("two versions of the standard operators"));
    }
    if !OPSETS.contains(&version) {
        return Err(Refusal::new(
            format!("opset {version}, expected {} to {}", OPSETS.start(), OPSETS.end()),
            "convert it with `onnx.version_converter.convert_version(model, 17)`",
        ));
    }
    Ok(version)
}

/// The nodes that the outputs depend on, in the order of the file. Refuses what nobody reads here.
pub(super) fn needed(graph: &GraphProto, opset: i64) -> Result<Vec<&NodeProto>, Refusal> {
    if graph.output.is_empty() {
        return Err(Refusal::damaged("the graph has no output"));
    }
    let mut makers = BTreeMap::new();
    for (index, node) in graph.node.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if makers.insert(name.as_str(), index).is_some() {
                return Err(Refusal::damaged(format!("two nodes make `{}`", printable(name))));
            }
        }
    }
    let given = graph.initializer.iter().filter_map(|tensor| tensor.name.as_deref());
    for name in given.chain(graph.input.iter().filter_map(|input| input.name.as_deref())) {
        if makers.contains_key(name) {
            return Err(Refusal::damaged(format!("`{}` is given, and a node makes it as well", printable(name))));
        }
    }
    let mut needed = BTreeSet::new();
    let mut open: Vec<&str> = graph.output.iter().map(|output| output.name.as_deref().unwrap_or_default()).collect();
    while let Some(name) = open.pop() {
        if let Some(&index) = makers.get(name)
            && needed.insert(index)
        {
            open.extend(graph.node.get(index).into_iter().flat_map(|node| &node.input).map(String::as_str));
        }
    }
    let nodes: Vec<&NodeProto> = needed.into_iter().filter_map(|index| graph.node.get(index)).collect();
    nodes.iter().try_for_each(|proto| known(Node { proto, opset }))?;
    if nodes.len() > 16 * MAX_LAYERS {
        let count = nodes.len();
        return Err(Refusal::unsupported(format!(
            "the graph has {count} nodes, far more than a network of the family"
        )));
    }
    Ok(nodes)
}

/// Refuses operators that are not read.
fn known(node: Node<'_>) -> Result<(), Refusal> {
    let quantised = "the network is quantised, expected real numbers";
    let control = "the network decides at run time what it computes, expected a fixed graph";
    let recurrent = "the network is recurrent, expected one that maps an image at once";
    match (node.proto.domain.as_deref().unwrap_or_default(), node.op_type()) {
        ("" | "ai.onnx", op) if SUPPORTED.iter().any(|(name, _)| *name == op) => Ok(()),
        (_, op) if op.contains("Quantize") || op.contains("QLinear") || op.ends_with("Integer") => {
            Err(node.refused(quantised, "export the network before it is quantised"))
        }
        ("" | "ai.onnx", "If" | "Loop" | "Scan") => Err(node.unsupported(control)),
        ("" | "ai.onnx", "RNN" | "LSTM" | "GRU") => Err(node.unsupported(recurrent)),
        ("" | "ai.onnx", _) => Err(node.unsupported("the operator is not supported")),
        (domain, _) => {
            let domain = printable(domain);
            Err(node.unsupported(format_args!("it is of the domain `{domain}`, expected a standard operator")))
        }
    }
}
