//! `vgg list`: the built-in variants.

use serde_json::{Value, json};
use vgg_compiler::report::grouped;
use vgg_compiler::spec::variants::VARIANTS;
use vgg_compiler::{CompileOptions, compile};

use crate::console;
use crate::error::Error;
use crate::table::{Align, Table};

/// List the built-in variants: names, parameters, multiply-accumulates, input, source
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vgg list
  vgg list --json

With --json (extents are without the batch):
  [{\"name\", \"aliases\": [..], \"type\" (in Rust), \"parameters\", \"macs\" (multiply-accumulates
    for one image), \"input\": [C, H, W], \"output\": [classes], \"source\"}]")]
pub struct Arguments {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Prints the list.
pub(crate) fn execute(arguments: &Arguments) -> Result<(), Error> {
    let mut table = Table::new(&[
        ("name", Align::Left),
        ("aliases", Align::Left),
        ("parameters", Align::Right),
        ("MACs", Align::Right),
        ("input", Align::Left),
        ("source", Align::Left),
    ]);
    let mut document = Vec::new();
    for variant in &VARIANTS {
        let graph = compile(&variant.spec()?, &CompileOptions::default())?.graph;
        let (parameters, macs) = (graph.param_count(), graph.total_macs());
        document.push(json!({
            "name": variant.name,
            "aliases": variant.aliases,
            "type": variant.type_name,
            "parameters": parameters,
            "macs": macs,
            "input": graph.input_shape().dims(),
            "output": graph.output_shape().dims(),
            "source": variant.source,
        }));
        table.row(vec![
            variant.name.to_owned(),
            variant.aliases.join(", "),
            grouped(parameters as u64),
            grouped(macs),
            graph.input_shape().to_string(),
            variant.source.rsplit(", ").next().unwrap_or_default().to_owned(),
        ]);
    }
    if arguments.json {
        return console::print_json(&Value::Array(document));
    }
    let mut sources: Vec<&str> = VARIANTS.iter().map(|variant| variant.source).collect();
    sources.dedup();
    console::print(&format!("{}\n{}\n", table.render(), sources.join("\n")))
}
