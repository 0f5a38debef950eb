//! The one place of the generated code that holds names of the model, always as escaped literals.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::quote;

use crate::plan::ExecutionPlan;
use crate::report::layer_table;

use super::step::number;
use super::{Network, safe_ident};

/// Longest name that is kept whole.
const MAX_NAME: usize = 128;

/// The items of the module `names`.
pub(super) fn names(network: Network<'_>) -> TokenStream {
    let layers = layers_with_weights(network.plan);
    let count = number(layers.len());
    let table = layer_table(network.graph, network.plan);
    let lines: Vec<String> = network.graph.docs.iter().cloned().chain([String::new()]).chain(table).collect();
    let docs = doc_lines(&lines);
    let name = type_name(network);
    let outputs = output_names(network);
    quote! {
        #(#docs)*
        pub use super::model::Model as #name;

        /// The layers that have weights, in order, as messages name them.
        pub(crate) const LAYERS: [&str; #count] = [#(#layers),*];

        #outputs
    }
}

/// The names of the outputs, where there are several.
fn output_names(network: Network<'_>) -> Option<TokenStream> {
    let Network { graph, .. } = network;
    let names = graph.outputs.iter().map(|output| escaped(&graph.values[output.0].name));
    let count = number(graph.outputs.len());
    (graph.outputs.len() > 1).then(|| {
        quote! {
            impl super::model::Model {
                /// The layers that make the outputs, in the order in which [`Self::infer`] writes them.
                pub const OUTPUT_NAMES: [&str; #count] = [#(#names),*];
            }
        }
    })
}

/// The identifier of the network's type.
pub(super) fn type_name(network: Network<'_>) -> Ident {
    safe_ident(&network.graph.name).unwrap_or_else(|| Ident::new("Network", Span::call_site()))
}

fn layers_with_weights(plan: &ExecutionPlan) -> Vec<Literal> {
    let with_weights = plan.steps.iter().filter(|step| !step.kind.params().is_empty());
    with_weights.map(|step| escaped(&step.name)).collect()
}

/// A string literal of printable ASCII.
fn escaped(name: &str) -> Literal {
    let ascii: String = name.chars().take(MAX_NAME).flat_map(char::escape_default).collect();
    Literal::string(&ascii)
}

/// `#[doc = ".."]` attributes, which no content can break out of.
pub(super) fn doc_lines(lines: &[String]) -> Vec<TokenStream> {
    lines
        .iter()
        .map(|line| {
            let printable: String = line.chars().map(|c| if c.is_control() || is_bidi(c) { ' ' } else { c }).collect();
            let line = format!(" {printable}");
            quote!(#[doc = #line])
        })
        .collect()
}

/// Characters that reorder the text around them, which rustc refuses in source.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}
