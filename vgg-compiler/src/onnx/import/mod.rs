//! ONNX files of networks, read back into a declaration or a graph, and their weights.
//!
//! [`read`] goes through the nodes of the file once: what is constant is evaluated ([`fold`]), the rest becomes a [`net`] of operators with
//! their numbers. [`passes`] bring that into the plain form, [`lower`] makes the graph of it that the compiler knows, and where
//! the notation has words for all of it, [`raise`] and [`recognise`] give the declaration, which names the layers.
//!
//! Source: <https://onnx.ai/onnx/operators/>.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod affine;
mod constant;
mod error;
#[cfg(test)]
#[expect(clippy::panic, clippy::expect_used, reason = "only tests use it")]
mod evaluate;
mod external;
mod fold;
mod header;
mod input;
mod lower;
mod net;
mod node;
mod operator;
mod own_changes;
mod passes;
mod pick;
mod pixels;
mod print;
mod raise;
mod read;
mod recognise;
mod sniff;
mod supported;
mod tensor;
mod window;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use proc_macro2::Span;
use prost::Message;

use super::messages::ModelProto;
use crate::ir::{Graph, Op, Shape, verify};
use crate::preprocess::{METADATA_KEY, Preprocess};
use crate::spec::check::check;
use crate::spec::names::layer_names;
use crate::spec::parse::parse_preprocess;
use crate::spec::{ModelSpec, Spanned};
use crate::weights::Tensors;
pub use error::ImportError;
use error::{Refusal, printable};
use external::Externals;
pub use lower::Alias;
use lower::Lowered;
pub use own_changes::OwnChanges;
use raise::Raised;
pub use sniff::is_onnx;
pub use supported::SUPPORTED;

/// What the caller decides about a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// The extents of the input in the order of the file, with or without the batch, for those that the file leaves open.
    pub input_shape: Option<Vec<usize>>,
    /// One of [`pass_names`] after which the network is wanted as text.
    pub print_after: Option<String>,
}

/// The names of what is done to a network, in order: it is read, and rewritten by each of the passes.
pub fn pass_names() -> impl Iterator<Item = &'static str> {
    std::iter::once("read").chain(passes::ALL.iter().map(|pass| pass.name))
}

/// A network from an ONNX file.
#[derive(Debug, Clone)]
pub struct Imported {
    /// What it is.
    pub network: Network,
    /// Its weights, under the keys of the network's parameters.
    pub tensors: Tensors,
    /// What was done to the file's network, one clause each, sorted.
    pub notes: Vec<String>,
    /// Which built-in variant it is, or which is closest and how it differs.
    pub recognised: String,
    /// What the layers are called in the file, in their order.
    pub aliases: Vec<Alias>,
    /// Where the weights came from, when this compiler wrote the file.
    pub weights: Option<String>,
    /// What the file's graph itself does with its input, when nothing is recorded of images.
    pub own_changes: Option<OwnChanges>,
    /// The network as text after the pass that was asked for.
    pub printed: Option<String>,
}

/// A network in the form that says most about it.
#[derive(Debug, Clone)]
pub enum Network {
    /// The declaration that rebuilds it.
    Declared(Box<ModelSpec>),
    /// The graph of one that the notation has no words for.
    Graph {
        /// The network.
        graph: Box<Graph>,
        /// What the notation lacks.
        lacks: String,
    },
}

impl Network {
    /// How images become its input, where that is known.
    pub fn preprocess(&self) -> Option<&Preprocess> {
        match self {
            Self::Declared(spec) => spec.preprocess.as_ref().map(|preprocess| &preprocess.value),
            Self::Graph { graph, .. } => graph.preprocess.as_ref(),
        }
    }
}

/// The network of the ONNX file at `path`.
///
/// # Errors
///
/// When the file cannot be read, is no ONNX file, or holds a network that cannot be compiled; the message names the node.
pub fn import(path: &Path, options: &ImportOptions) -> Result<Imported, ImportError> {
    let read = |source| ImportError::Read { path: path.into(), source };
    if !fs::metadata(path).map_err(read)?.is_file() {
        let refusal = Refusal::new("expected an ONNX file, found something else", "give the path of a .onnx file");
        return Err(refused(path, refusal));
    }
    let head = sniff::head(path).map_err(read)?;
    sniff::refuse_foreign(&head).map_err(|refusal| refused(path, refusal))?;
    let bytes = Bytes::from(fs::read(path).map_err(read)?);
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    import_bytes(bytes, path.parent(), &stem, options).map_err(|refusal| refused(path, refusal))
}

fn refused(path: &Path, Refusal { problem, help }: Refusal) -> ImportError {
    ImportError::Refused { path: path.into(), problem, help }
}

fn import_bytes(bytes: Bytes, folder: Option<&Path>, stem: &str, options: &ImportOptions) -> Result<Imported, Refusal> {
    let mut model = ModelProto::decode(bytes)
        .map_err(|error| Refusal::damaged(format!("not an ONNX file, or cut off: {error}")))?;
    let folder = folder.map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let mut recorded = preprocess(&model);
    let pixels = match (&mut model.graph, &mut recorded) {
        (Some(graph), Ok(Some(preprocess))) => pixels::take_off(graph, preprocess)?,
        _ => false,
    };
    let mut net = read::read(&model, options.input_shape.as_deref(), &mut Externals::new(folder))?;
    if pixels {
        net.note("the nodes that make the input of pixels are taken off: they are its preprocessing");
    }
    let weights = model.metadata_props.iter().find(|entry| entry.key.as_deref() == Some("vgg.weights"));
    let weights = weights.and_then(|entry| entry.value.as_deref()).map(printable);
    drop(model);
    let preprocess = recorded.unwrap_or_else(|note| {
        net.notes.insert(note);
        None
    });
    let own_changes = if preprocess.is_none() { own_changes::of(&net) } else { None };
    if let Some(OwnChanges { text, .. }) = &own_changes {
        net.note(&format!("the graph itself changes its input: it {text}"));
    }
    let wanted = |name: &str| options.print_after.as_deref() == Some(name);
    let mut printed = wanted("read").then(|| net.to_string());
    for pass in passes::ALL {
        (pass.run)(&mut net)?;
        if wanted(pass.name) {
            printed = Some(net.to_string());
        }
    }
    let name = identifier(&net.name).or_else(|| identifier(&camel_case(stem))).unwrap_or_else(|| "Network".into());
    let Lowered { mut graph, tensors, aliases } = lower::lower(&net, name)?;
    graph.preprocess = preprocess;
    let mut notes = net.notes;
    let graph = verify(graph).map_err(|errors| {
        // Layers are numbered by this compiler: the file knows its nodes.
        let named = |text: String| {
            aliases.iter().fold(text, |text, alias| match alias.nodes.last() {
                Some(node) => {
                    let layer = format!("layer `{}`", alias.layer);
                    text.replace(&layer, &format!("{layer} (node `{}`)", printable(node)))
                }
                None => text,
            })
        };
        let messages: Vec<String> = errors.iter().map(|error| named(error.to_string())).collect();
        Refusal::unsupported(messages.join("; "))
    })?;
    let input = graph.input_shape();
    let (raised, sketch) = (raise::raise(&graph), raise::sketch(&graph));
    let graph = graph.into_graph();
    let declared = raised.and_then(|layers| declare(&graph, input, layers, &mut notes));
    let notes_left = |notes: BTreeSet<String>| notes.into_iter().collect();
    match declared {
        Ok((spec, layers, recognised)) => {
            let (tensors, aliases) = renamed(&spec, &layers, tensors, aliases);
            let (network, notes) = (Network::Declared(Box::new(spec)), notes_left(notes));
            Ok(Imported { network, tensors, notes, recognised, aliases, weights, own_changes, printed })
        }
        Err(lacks) => {
            let closest = recognise::closest(&sketch);
            let recognised = format!("a graph that the notation cannot say: {lacks}; {closest}");
            let (network, notes) = (Network::Graph { graph: Box::new(graph), lacks }, notes_left(notes));
            Ok(Imported { network, tensors, notes, recognised, aliases, weights, own_changes, printed })
        }
    }
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

/// The declaration of `graph`, whose layers are `layers`.
fn declare(
    graph: &Graph,
    input: Shape,
    layers: Vec<Raised>,
    notes: &mut BTreeSet<String>,
) -> Result<(ModelSpec, Vec<Raised>, String), String> {
    let Shape::Image { channels, height, width } = input else { return Err("its input is a vector".into()) };
    let kinds: Vec<_> = layers.iter().map(|layer| layer.kind.clone()).collect();
    let mut own = notes.clone();
    let (name, docs) = (graph.name.clone(), graph.docs.clone());
    let (mut spec, recognised) = recognise::declare(name, docs, [channels, height, width], &kinds, &mut own);
    spec.preprocess = graph.preprocess.clone().map(|value| Spanned { value, span: Span::call_site() });
    check(&spec)
        .into_result(())
        .map_err(|mistakes| mistakes.iter().map(|mistake| mistake.message.as_str()).collect::<Vec<_>>().join("; "))?;
    *notes = own;
    Ok((spec, layers, recognised))
}

/// The numbers and the names in the file under the names that `spec` gives its layers.
fn renamed(spec: &ModelSpec, layers: &[Raised], mut tensors: Tensors, aliases: Vec<Alias>) -> (Tensors, Vec<Alias>) {
    let keys = layer_names(spec).into_iter().flatten().filter_map(|names| names.key);
    let old = layers.iter().filter_map(|layer| layer.keys.as_ref());
    let mut renamed = Tensors::new();
    for (key, old) in keys.zip(old) {
        for (suffix, old) in ["weight", "bias"].iter().zip(old) {
            if let Some(tensor) = tensors.remove(old) {
                renamed.insert(format!("{key}.{suffix}"), tensor);
            }
        }
    }
    let declared = crate::lower(spec).map(|graph| graph.nodes).unwrap_or_default();
    let names = declared.into_iter().filter(|node| !matches!(node.op, Op::Dropout { .. })).map(|node| node.name);
    let aliases = names.zip(aliases).map(|(layer, alias)| Alias { layer, ..alias }).collect();
    (renamed, aliases)
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

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests may")]
mod tests;
