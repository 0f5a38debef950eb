//! ONNX files of networks of the family, read back into a declaration and its weights.
//!
//! The nodes are gone through once, in the order of the file. What is constant is evaluated ([`fold`]); what is not is the end
//! of a [`chain`] of layers, to which a node adds, or into whose weights it is absorbed. Anything else is refused by name.
//! Then [`recognise`] compares the chain with the built-in variants, and [`spec`](crate::spec) takes over.
//!
//! Source: <https://onnx.ai/onnx/operators/>.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod affine;
mod chain;
mod constant;
mod error;
mod fold;
mod node;
mod recognise;
mod walk;

use std::fs;
use std::path::Path;

use bytes::Bytes;
use proc_macro2::Span;
use prost::Message;

use super::messages::ModelProto;
use crate::preprocess::{METADATA_KEY, Preprocess};
use crate::spec::check::check;
use crate::spec::names::layer_names;
use crate::spec::parse::parse_preprocess;
use crate::spec::{ModelSpec, Spanned};
use crate::weights::{Tensor, Tensors};
use chain::Layer;
use constant::Externals;
pub use error::ImportError;
use error::Refusal;
pub use walk::SUPPORTED;

/// A network from an ONNX file.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The declaration that rebuilds it.
    pub spec: ModelSpec,
    /// Its weights, under the keys of the declaration's parameters.
    pub tensors: Tensors,
    /// What was done to the file's network, one clause each, sorted.
    pub notes: Vec<String>,
    /// Which built-in variant it is, or which is closest and how it differs.
    pub recognised: String,
}

/// The network of the ONNX file at `path`.
///
/// # Errors
///
/// When the file cannot be read, is no ONNX file, or holds a network outside the family; the message names the node.
pub fn import(path: &Path) -> Result<Imported, ImportError> {
    let read = |source| ImportError::Read { path: path.into(), source };
    if !fs::metadata(path).map_err(read)?.is_file() {
        let refusal = Refusal::new("expected an ONNX file, found something else", "give the path of a .onnx file");
        return Err(refused(path, refusal));
    }
    let bytes = Bytes::from(fs::read(path).map_err(read)?);
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    import_bytes(bytes, path.parent(), &stem).map_err(|refusal| refused(path, refusal))
}

fn refused(path: &Path, Refusal { problem, help }: Refusal) -> ImportError {
    ImportError::Refused { path: path.into(), problem, help }
}

fn import_bytes(bytes: Bytes, folder: Option<&Path>, stem: &str) -> Result<Imported, Refusal> {
    let model = ModelProto::decode(bytes)
        .map_err(|error| Refusal::damaged(format!("not an ONNX file, or cut off: {error}")))?;
    let folder = folder.map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let mut externals = Externals::new(folder);
    let walk::Walked { input, layers, mut notes, name, docs } = walk::walk(&model, &mut externals)?;
    let preprocess = preprocess(&model).unwrap_or_else(|note| {
        notes.insert(note);
        None
    });
    drop(model);
    let name = identifier(&name).or_else(|| identifier(&camel_case(stem))).unwrap_or_else(|| "Network".into());
    let kinds: Vec<_> = layers.iter().map(|layer| layer.kind.clone()).collect();
    let (mut spec, recognised) = recognise::declare(name, docs, input, &kinds);
    spec.preprocess = preprocess.map(|value| Spanned { value, span: Span::call_site() });
    check(&spec).into_result(()).map_err(|mistakes| {
        let messages: Vec<&str> = mistakes.iter().map(|mistake| mistake.message.as_str()).collect();
        Refusal::unsupported(format!("the network is outside of the family: {}", messages.join("; ")))
    })?;
    let tensors = tensors(&spec, layers);
    Ok(Imported { spec, tensors, notes: notes.into_iter().collect(), recognised })
}

/// What the metadata of `model` say about the preprocessing, or a note that it cannot be understood.
fn preprocess(model: &ModelProto) -> Result<Option<Preprocess>, String> {
    let entry = model.metadata_props.iter().find(|entry| entry.key.as_deref() == Some(METADATA_KEY));
    match entry.and_then(|entry| entry.value.as_deref()) {
        None | Some("unknown") => Ok(None),
        Some(text) => match parse_preprocess(text) {
            Ok(preprocess) => Ok(Some(preprocess)),
            Err(problem) => Err(format!("its metadata {METADATA_KEY} were passed over: {problem}")),
        },
    }
}

/// The numbers of `layers` under the keys that `spec` gives them. Layers without parameters may differ between the two.
fn tensors(spec: &ModelSpec, layers: Vec<Layer>) -> Tensors {
    let keys = layer_names(spec).into_iter().flatten().filter_map(|names| names.key);
    let params = layers.into_iter().filter_map(|layer| layer.params);
    keys.zip(params)
        .flat_map(|(key, params)| {
            let bias = Tensor { shape: params.shape.first().copied().into_iter().collect(), data: params.bias };
            let weight = Tensor { shape: params.shape, data: params.weight };
            [(format!("{key}.weight"), weight), (format!("{key}.bias"), bias)]
        })
        .collect()
}

/// `name`, when it can be that of a Rust type.
fn identifier(name: &str) -> Option<String> {
    let ascii = name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (ascii && name.starts_with(|c: char| c.is_ascii_uppercase()) && syn::parse_str::<syn::Ident>(name).is_ok())
        .then(|| name.to_owned())
}

/// The words of `text` with capitals: `FashionVgg` for `fashion-vgg`.
fn camel_case(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words
        .map(|word| {
            let mut chars = word.chars();
            chars.next().into_iter().map(|c| c.to_ascii_uppercase()).chain(chars).collect::<String>()
        })
        .collect()
}
