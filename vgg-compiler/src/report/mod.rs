//! What there is to say about a network, as plain data and as text.

use crate::ir::TypedGraph;
use crate::plan::ExecutionPlan;

/// One line of the layer table: a step of the plan that computes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRow {
    /// The layer that the step is named after.
    pub name: String,
    /// All layers of the graph that it computes.
    pub layers: Vec<String>,
    /// What it computes, and how.
    pub computes: String,
    /// The algorithm, for a convolution.
    pub algorithm: Option<&'static str>,
    /// Extents of what it makes, without the batch.
    pub output: Vec<usize>,
    /// Trained numbers.
    pub parameters: u64,
    /// Bytes of these numbers in the weights file.
    pub bytes: u64,
    /// Multiply-accumulates for one image.
    pub macs: u64,
}

impl LayerRow {
    /// The extents of the output as text: `64x112x112`.
    pub fn output_text(&self) -> String {
        self.output.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
    }
}

/// The layer table of `graph` as it is executed by `plan`, which must be a plan of it.
pub fn layer_rows(graph: &TypedGraph, plan: &ExecutionPlan) -> Vec<LayerRow> {
    let computing = plan.steps.iter().filter(|step| !step.layers.is_empty());
    let rows = computing.map(|step| {
        let nodes = || graph.nodes.iter().filter(|node| step.layers.contains(&node.name));
        LayerRow {
            name: step.name.clone(),
            layers: step.layers.clone(),
            computes: step.kind.to_string(),
            algorithm: step.kind.algorithm().map(|algorithm| algorithm.name()),
            output: graph.shape(step.value).dims(),
            parameters: nodes().map(|node| graph.trained(node) as u64).sum(),
            bytes: nodes().map(|node| graph.param_bytes(node) as u64).sum(),
            macs: nodes().map(|node| graph.macs(node)).sum(),
        }
    });
    rows.collect()
}

/// The layer table as the lines of a Markdown table, with a line of totals.
pub fn layer_table(graph: &TypedGraph, plan: &ExecutionPlan) -> Vec<String> {
    let mut lines =
        vec!["| layer | computes | output | parameters | MACs |".to_owned(), "|---|---|---|---:|---:|".to_owned()];
    for row in layer_rows(graph, plan) {
        let (name, output) = (escape(&row.name), row.output_text());
        let (parameters, macs) = (grouped(row.parameters), grouped(row.macs));
        lines.push(format!("| {name} | {} | {output} | {parameters} | {macs} |", row.computes));
    }
    let (parameters, macs) = (grouped(graph.param_count() as u64), grouped(graph.total_macs()));
    let outputs = graph.output_shapes().map(|shape| shape.to_string()).collect::<Vec<_>>().join(", ");
    lines.push(format!("| total | | {outputs} | {parameters} | {macs} |"));
    lines
}

/// A number with a comma between each three digits; nothing for zero.
pub fn grouped(number: u64) -> String {
    if number == 0 {
        return String::new();
    }
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Text that Markdown shows as it is.
fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace('[', "\\[").replace(']', "\\]")
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_are_grouped_by_three() {
        for (number, text) in [(0, ""), (7, "7"), (999, "999"), (1000, "1,000"), (138_357_544, "138,357,544")] {
            assert_eq!(grouped(number), text);
        }
    }
}
