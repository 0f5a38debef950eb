//! The network in place: what `vgg!` expands to.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::names::{doc_lines, type_name};
use super::{Network, model, names};

/// The items that define the network's type where the macro stands: a private module and a re-export under `visibility`.
///
/// `onnx_graph` is an ONNX model whose initialisers are external data in `{stem}.safetensors`.
pub(crate) fn in_place(
    network: Network<'_>,
    visibility: &syn::Visibility,
    stem: &str,
    onnx_graph: &[u8],
) -> TokenStream {
    let module = format_ident!("__vgg_{stem}");
    let name = type_name(network);
    let (model, names) = (model::model(network), names::names(network));
    let docs = doc_lines(&network.graph.docs);
    let graph = proc_macro2::Literal::byte_string(onnx_graph);
    quote! {
        #[doc(hidden)]
        #[allow(dead_code, unreachable_pub, reason = "how much of the network is used is up to the program around it")]
        mod #module {
            pub mod model {
                //! The network, specialised to its shapes.
                #model
            }

            pub mod names {
                //! The names of the network and of its layers.
                #names

                impl super::model::Model {
                    /// The network as an ONNX model, whose initialisers are external data in the weights file.
                    pub const ONNX_GRAPH: &[u8] = #graph;

                    /// Writes `weights`, the content of a weights file, and the ONNX model that points into it to the
                    /// directory `dir`, and returns the path of the model. Both are written whole or not at all.
                    ///
                    /// # Errors
                    ///
                    /// When the content is not the weights file of this network, or a file cannot be written.
                    pub fn write_onnx(
                        dir: impl AsRef<::std::path::Path>,
                        weights: &[u8],
                    ) -> Result<::std::path::PathBuf, ::vgg_runtime::Error> {
                        Self::from_bytes(weights)?;
                        ::vgg_runtime::onnx::write_onnx(dir.as_ref(), #stem, Self::ONNX_GRAPH, weights)
                    }
                }
            }
        }

        #(#docs)*
        #visibility use #module::names::#name;
    }
}
