//! The layer table of a network as Markdown: for rustdoc, README and terminal alike.

use crate::ir::TypedGraph;
use crate::plan::ExecutionPlan;

/// The lines of the table: one row a step that computes something.
pub fn layer_table(graph: &TypedGraph, plan: &ExecutionPlan) -> Vec<String> {
    let mut lines =
        vec!["| layer | computes | output | parameters | MACs |".to_owned(), "|---|---|---|---:|---:|".to_owned()];
    for step in plan.steps.iter().filter(|step| !step.layers.is_empty()) {
        let nodes = graph.nodes.iter().filter(|node| step.layers.contains(&node.name));
        let (parameters, macs) = nodes.fold((0, 0), |(parameters, macs), node| {
            let own: usize = node.params.iter().map(|id| graph.params[id.0].len()).sum();
            (parameters + own, macs + graph.macs(node))
        });
        lines.push(format!(
            "| {} | {} | {} | {} | {} |",
            escape(&step.name),
            step.kind,
            graph.shape(step.value),
            grouped(parameters as u64),
            grouped(macs)
        ));
    }
    lines.push(format!(
        "| total | | {} | {} | {} |",
        graph.output_shape(),
        grouped(graph.param_count() as u64),
        grouped(graph.total_macs())
    ));
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
