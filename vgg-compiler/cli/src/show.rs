//! `vgg show`: what a network is made of and how it is computed.

use serde_json::{Value, json};
use vgg_compiler::ir::{Node, Precision, Shape, TypedGraph, ValueId};
use vgg_compiler::onnx::Network;
use vgg_compiler::passes;
use vgg_compiler::report::{LayerRow, grouped, layer_rows};
use vgg_compiler::{CompileOptions, Compiled};

use crate::console;
use crate::error::Error;
use crate::lineage;
use crate::model::{Model, ModelArguments, Origin};
use crate::table::{Align, Table, bytes};

/// Show the layers of a network: names, shapes, parameters, multiply-accumulates, how each is computed, and what becomes of images
///
/// One line a step: a convolution and what is fused with it (ReLU, max pooling) is one.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vgg show vgg-d
  vgg show my-network.vgg --json
  vgg show vgg-d --precision int8
  vgg show vgg-d --vgg > my-network.vgg

With --json (extents are without the batch):
  {\"model\", \"name\", \"docs\": [..], \"recognised\" (of an ONNX file, or null),
   \"preprocessing\": null where unknown, or {\"name\" (of a preset, or null), \"text\", \"colours\", \"range\", \"mean\": [..] or \"image\",
                     \"std\": [..], \"resize\": shorter side or \"stretch\", \"filter\", \"classes\"}, \"input\": [C, H, W], \"output\": [..],
   \"outputs\": [{\"layer\", \"shape\"}] (all of them), \"parameters\", \"macs\",
   \"precision\" (of fully connected weights), \"weights_bytes\" (of the weights file), \"arena_bytes\" (memory for activations),
   \"layers\": [{\"name\", \"op\" (of ONNX), \"output\": [..], \"parameters\", \"bytes\" (of these in the weights file), \"macs\",
               \"step\" (that computes it), \"in_file\": [..] (nodes of an ONNX file that it computes)}],
   \"steps\": [{\"name\", \"layers\": [..], \"computes\", \"algorithm\" (null but for convolutions),
              \"output\": [..], \"parameters\", \"bytes\", \"macs\"}]}")]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Print one JSON document
    #[arg(long, conflicts_with = "vgg")]
    json: bool,
    /// How the weights of fully connected layers are kept: f32, f16, bf16 or int8 (rounded once, computed with as f32)
    #[arg(long, value_name = "P", default_value = "f32")]
    precision: Precision,
    /// Print the declaration itself, as a .vgg file has it
    #[arg(long)]
    vgg: bool,
    /// Print the network as it is after one of the passes: of an ONNX file from `read` on, of all others from `lower` on
    #[arg(long, value_name = "PASS", conflicts_with_all = ["vgg", "json"])]
    print_after: Option<String>,
}

/// Prints the network.
pub(crate) fn execute(arguments: &Arguments) -> Result<(), Error> {
    if let Some(pass) = &arguments.print_after {
        return console::print(&after(&arguments.model, pass)?);
    }
    let model = arguments.model.open()?;
    if arguments.vgg {
        return match (&model.network, model.path()) {
            (Network::Declared(spec), _) => console::print(&spec.to_string()),
            (Network::Graph { lacks, .. }, path) => {
                let name = path.map(|path| path.display().to_string()).unwrap_or_default();
                Err(Error::refused(format!("{name}: the notation has no words for this network: {lacks}")).with_help(
                    "it is compiled as it is: give the ONNX file itself to `vgg build`, `run` and the others",
                ))
            }
        };
    }
    let compiled = model.compile(&CompileOptions { precision: arguments.precision, ..CompileOptions::default() })?;
    if arguments.json {
        console::print_json(&document(&model, &compiled, arguments.precision))
    } else {
        console::print(&text(&model, &compiled))
    }
}

/// The name of the step from a declaration to a graph, in `--print-after`.
const LOWER: &str = "lower";

/// The network as text after a pass.
fn after(arguments: &ModelArguments, pass: &str) -> Result<String, Error> {
    let model = arguments.open_printing(Some(pass))?;
    if let Origin::Onnx(foreign) = &model.origin
        && let Some(printed) = &foreign.printed
    {
        return Ok(printed.clone());
    }
    let mut graph = model.compile(&CompileOptions::default())?.declared.into_graph();
    if pass == LOWER {
        return Ok(graph.to_string());
    }
    for known in passes::INFERENCE {
        (known.run)(&mut graph);
        if known.name == pass {
            return Ok(graph.to_string());
        }
    }
    let onnx = matches!(model.origin, Origin::Onnx(_));
    let reading = vgg_compiler::onnx::pass_names().filter(|_| onnx);
    let names = reading.chain([LOWER]).chain(passes::INFERENCE.iter().map(|pass| pass.name));
    let names = names.collect::<Vec<_>>().join(", ");
    Err(Error::usage(format!("--print-after: there is no pass `{pass}`, expected one of {names}"))
        .with_help("they run in this order; give the last that should have run"))
}

fn text(model: &Model, compiled: &Compiled) -> String {
    let Compiled { graph, plan, .. } = compiled;
    let mut table = Table::new(&[
        ("layer", Align::Left),
        ("computes", Align::Left),
        ("output", Align::Right),
        ("parameters", Align::Right),
        ("bytes", Align::Right),
        ("MACs", Align::Right),
        ("in the file", Align::Left),
    ]);
    for row in layer_rows(graph, plan) {
        let (output, parameters, macs) = (row.output_text(), grouped(row.parameters), grouped(row.macs));
        // What the step is named after is what it is known by.
        let name = model.name_in_file(&row.name);
        table.row(vec![row.name, row.computes, output, parameters, grouped(row.bytes), macs, name]);
    }
    table.row(vec![
        "total".into(),
        String::new(),
        outputs(graph, false),
        grouped(graph.param_count() as u64),
        grouped(compiled.header().data_len as u64),
        grouped(graph.total_macs()),
    ]);
    let mut text = String::new();
    if let Origin::Onnx(foreign) = &model.origin {
        text += &format!("{}\n", foreign.summary);
    }
    for line in &graph.docs {
        text += &format!("{line}\n");
    }
    if !text.is_empty() {
        text.push('\n');
    }
    let preprocess = match &graph.preprocess {
        Some(preprocess) => preprocess.described(),
        None => "unknown; images need --preprocess NAME".to_owned(),
    };
    let weights = bytes(compiled.header().file_len() as u64);
    let arena = bytes(4 * plan.arena_len as u64);
    text + &format!(
        "{}: {} -> {}\npreprocessing: {preprocess}\n\n{}\nweights {weights}, memory for activations {arena} (one image)\n",
        graph.name,
        graph.input_shape(),
        outputs(graph, true),
        table.render()
    )
}

/// The shapes of the outputs; of several, each with the layer that makes it where `named`.
fn outputs(graph: &TypedGraph, named: bool) -> String {
    let several = named && graph.outputs.len() > 1;
    let output = |&id: &ValueId| {
        let shape = graph.shape(id);
        if several { format!("{} {shape}", graph.values[id.0].name) } else { shape.to_string() }
    };
    graph.outputs.iter().map(output).collect::<Vec<_>>().join(", ")
}

fn document(model: &Model, compiled: &Compiled, precision: Precision) -> Value {
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
                "parameters": graph.trained(node),
                "bytes": graph.param_bytes(node),
                "macs": graph.macs(node),
                "step": step_of(node),
                "in_file": model.names_in_file(&node.name),
            })
        })
        .collect();
    let steps: Vec<Value> = layer_rows(graph, plan)
        .into_iter()
        .map(|row| {
            let LayerRow { name, layers, computes, algorithm, output, parameters, bytes, macs } = row;
            json!({
                "name": name,
                "layers": layers,
                "computes": computes,
                "algorithm": algorithm,
                "output": output,
                "parameters": parameters,
                "bytes": bytes,
                "macs": macs,
            })
        })
        .collect();
    json!({
        "model": model.name(),
        "precision": precision.name(),
        "name": graph.name,
        "docs": graph.docs,
        "recognised": match &model.origin {
            Origin::Onnx(foreign) => Some(&foreign.summary),
            _ => None,
        },
        "preprocessing": graph.preprocess.as_ref().map(lineage::document),
        "input": extents(graph.input_shape()),
        "output": extents(graph.output_shape()),
        "outputs": graph
            .outputs
            .iter()
            .map(|&id| json!({"layer": graph.values[id.0].name, "shape": extents(graph.shape(id))}))
            .collect::<Vec<_>>(),
        "parameters": graph.param_count(),
        "macs": graph.total_macs(),
        "weights_bytes": compiled.header().file_len(),
        "arena_bytes": 4 * plan.arena_len,
        "layers": layers,
        "steps": steps,
    })
}
