//! `vgg show`: what a network is made of and how it is computed.

use std::ffi::OsString;

use serde_json::{Value, json};
use vgg_compiler::ir::{Node, Shape, TypedGraph};
use vgg_compiler::plan::{ExecutionPlan, Step, StepKind};
use vgg_compiler::rust::grouped;
use vgg_compiler::{CompileOptions, Compiled};

use crate::console;
use crate::error::Error;
use crate::model::Model;
use crate::table::{Align, Table, bytes};

/// Show the layers of a network: names, shapes, parameters, multiply-accumulates, and how each is computed
///
/// One line a step: a convolution and what is fused with it (ReLU, max pooling) is one. With --json, an object: "model",
/// "name", "docs", "input", "output" (extents without the batch), "parameters", "macs", "weights_bytes" (of the weights
/// file), "arena_bytes" (memory for activations); "layers", in order, each with "name", "op" (the ONNX operator), "output"
/// (its shape), "parameters", "macs", "step" (the step that computes it); "steps", each with "name", "layers", "computes",
/// "algorithm" (null but for convolutions), "output", "parameters", "macs".
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  vgg show vgg-d\n  vgg show my-network.vgg --json\n  vgg show vgg-d --vgg > my-network.vgg"
)]
pub struct Arguments {
    /// A built-in variant (see `vgg list`) or the path of a .vgg file
    model: OsString,
    /// Print one JSON document
    #[arg(long, conflicts_with = "vgg")]
    json: bool,
    /// Print the declaration itself, as a .vgg file has it
    #[arg(long)]
    vgg: bool,
}

/// Prints the network.
pub(crate) fn execute(arguments: &Arguments) -> Result<(), Error> {
    let model = Model::open(&arguments.model)?;
    if arguments.vgg {
        return console::print(&model.spec.to_string());
    }
    let compiled = model.compile(&CompileOptions::default())?;
    if arguments.json { console::print_json(&document(&model, &compiled)) } else { console::print(&text(&compiled)) }
}

/// The steps that compute something, in order.
fn computing(plan: &ExecutionPlan) -> impl Iterator<Item = &Step> {
    plan.steps.iter().filter(|step| !step.layers.is_empty())
}

fn nodes<'a>(graph: &'a TypedGraph, step: &'a Step) -> impl Iterator<Item = &'a Node> {
    graph.nodes.iter().filter(|node| step.layers.contains(&node.name))
}

fn parameters(graph: &TypedGraph, node: &Node) -> u64 {
    node.params.iter().map(|id| graph.params[id.0].len() as u64).sum()
}

fn algorithm(step: &Step) -> Option<&'static str> {
    match &step.kind {
        StepKind::Conv(conv) => Some(conv.algorithm.name()),
        _ => None,
    }
}

fn text(compiled: &Compiled) -> String {
    let Compiled { graph, plan, .. } = compiled;
    let mut table = Table::new(&[
        ("layer", Align::Left),
        ("computes", Align::Left),
        ("output", Align::Right),
        ("parameters", Align::Right),
        ("MACs", Align::Right),
    ]);
    for step in computing(plan) {
        table.row(vec![
            step.name.clone(),
            step.kind.to_string(),
            graph.shape(step.value).to_string(),
            grouped(nodes(graph, step).map(|node| parameters(graph, node)).sum()),
            grouped(nodes(graph, step).map(|node| graph.macs(node)).sum()),
        ]);
    }
    table.row(vec![
        "total".into(),
        String::new(),
        graph.output_shape().to_string(),
        grouped(graph.param_count() as u64),
        grouped(graph.total_macs()),
    ]);
    let mut text = String::new();
    for line in &graph.docs {
        text += &format!("{line}\n");
    }
    if !text.is_empty() {
        text.push('\n');
    }
    let weights = bytes(compiled.header().file_len() as u64);
    let arena = bytes(4 * plan.arena_len as u64);
    text + &format!(
        "{}: {} -> {}\n\n{}\nweights {weights}, memory for activations {arena} (one image)\n",
        graph.name,
        graph.input_shape(),
        graph.output_shape(),
        table.render()
    )
}

fn document(model: &Model, compiled: &Compiled) -> Value {
    let Compiled { graph, plan, .. } = compiled;
    let extents = |shape: Shape| shape.dims();
    let step_of = |node: &Node| plan.steps.iter().find(|step| step.layers.contains(&node.name)).map(|step| &step.name);
    let layers: Vec<Value> = graph
        .nodes
        .iter()
        .map(|node| {
            json!({
                "name": node.name,
                "op": node.op.op_type(),
                "output": extents(graph.shape(node.output)),
                "parameters": parameters(graph, node),
                "macs": graph.macs(node),
                "step": step_of(node),
            })
        })
        .collect();
    let steps: Vec<Value> = computing(plan)
        .map(|step| {
            json!({
                "name": step.name,
                "layers": step.layers,
                "computes": step.kind.to_string(),
                "algorithm": algorithm(step),
                "output": extents(graph.shape(step.value)),
                "parameters": nodes(graph, step).map(|node| parameters(graph, node)).sum::<u64>(),
                "macs": nodes(graph, step).map(|node| graph.macs(node)).sum::<u64>(),
            })
        })
        .collect();
    json!({
        "model": model.name(),
        "name": graph.name,
        "docs": graph.docs,
        "input": extents(graph.input_shape()),
        "output": extents(graph.output_shape()),
        "parameters": graph.param_count(),
        "macs": graph.total_macs(),
        "weights_bytes": compiled.header().file_len(),
        "arena_bytes": 4 * plan.arena_len,
        "layers": layers,
        "steps": steps,
    })
}
