//! The `vgg!` macro. It is re-exported by `vgg-runtime` with its feature `macros`; depend on that crate, not on this one.

use proc_macro::TokenStream;

/// Compiles a VGG network in place: the declaration becomes a type with typed shapes.
///
/// The notation is that of the papers' tables; the crate documentation of `vgg-compiler` describes it in full.
///
/// ```text
/// vgg! {
///     /// Configuration D, "VGG-16".
///     pub Vgg16: 3 x 224 x 224 {
///         conv3-64,  conv3-64,  maxpool;
///         conv3-128, conv3-128, maxpool;
///         conv3-256, conv3-256, conv3-256, maxpool;
///         conv3-512, conv3-512, conv3-512, maxpool;
///         conv3-512, conv3-512, conv3-512, maxpool;
///         fc-4096, dropout, fc-4096, dropout, fc-1000, softmax
///     }
/// }
/// ```
///
/// The type has `load`, `from_bytes`, `workspace`, `infer`, `ONNX_GRAPH` and `write_onnx`, and the constants `BATCH`,
/// `INPUT_SHAPE`, `INPUT_LEN`, `OUTPUT_SHAPE`, `OUTPUT_LEN` and `WEIGHTS_LEN`. A mistake is a compile error at the
/// offending token.
#[proc_macro]
pub fn vgg(tokens: TokenStream) -> TokenStream {
    vgg_compiler::expand(tokens.into()).into()
}
