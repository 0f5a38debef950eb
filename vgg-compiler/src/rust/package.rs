//! The files of a standalone crate: manifest, documentation, sources, tests, an example, and the runtime beside them.

use quote::quote;

use crate::report::grouped;

use super::{EmitError, Network, format, is_crate_name, model, names};

/// Name of the weights file in a crate.
pub const WEIGHTS_FILE: &str = "weights.safetensors";

/// Name of the ONNX file in a crate.
pub const ONNX_FILE: &str = "model.onnx";

/// Name of the recorded input of the crate's tests.
pub const INPUT_FILE: &str = "tests/input.npy";

/// Name of the recorded output that the crate's tests expect.
pub const EXPECTED_FILE: &str = "tests/expected.npy";

/// A line of every generated manifest. Only a directory whose manifest has it may be replaced.
pub const MARKER: &str = "[package.metadata.vgg]";

/// What may differ between two crates of one network.
#[derive(Debug, Clone)]
pub struct PackageOptions {
    /// The crate's name: a lower-case letter, then lower-case letters, digits and `_`, 64 at most.
    pub name: String,
    /// Whether the weights become part of the binary.
    pub embed: bool,
    /// Largest normwise error against the recorded output that the crate's tests accept.
    pub tolerance: f64,
}

/// The runtime that a crate gets a copy of.
#[derive(Debug, Clone, Copy)]
pub struct RuntimeSource<'a> {
    /// Its manifest as a crate of its own.
    pub manifest: &'a str,
    /// Its source: paths below `src/`, with `/`, and their text.
    pub files: &'a [(&'a str, &'a str)],
}

/// A text file of a crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path in the crate, with `/`.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// The text files of the crate of `network`, with a copy of `runtime`.
///
/// The weights ([`WEIGHTS_FILE`]), the ONNX file and the recorded arrays are written beside them by the caller.
///
/// # Errors
///
/// When the crate's name is not one.
pub fn package(
    network: Network<'_>,
    options: &PackageOptions,
    runtime: RuntimeSource<'_>,
) -> Result<Vec<SourceFile>, EmitError> {
    if !is_crate_name(&options.name) {
        return Err(EmitError::CrateName { name: options.name.clone() });
    }
    let mut files = Vec::new();
    let mut add = |path: &str, text: String| files.push(SourceFile { path: path.to_owned(), text });
    add("Cargo.toml", manifest(&options.name));
    add("README.md", readme(network, options));
    add("src/lib.rs", library(network, options)?);
    add("src/model.rs", format::source_file("The network, specialised to its shapes.", model::model(network))?);
    add("src/names.rs", format::source_file("The names of the network and of its layers.", names::names(network))?);
    let parts = (0..network.plan.outputs.len()).map(|index| network.plan.output_range(index));
    let parts = parts.map(|part| format!("({}, {})", part.start, part.end)).collect::<Vec<_>>().join(", ");
    let reference = include_str!("templates/reference.rs").replace("\"{parts}\"", &parts);
    add("tests/reference.rs", substitute(&reference, options));
    let infer = match network.plan.outputs.len() {
        1 => concat!(include_str!("templates/infer.rs"), include_str!("templates/infer_images.rs")),
        _ => concat!(include_str!("templates/infer_several.rs"), include_str!("templates/infer_images.rs")),
    };
    add("examples/infer.rs", substitute(infer, options));
    add("runtime/Cargo.toml", runtime.manifest.to_owned());
    for (path, text) in runtime.files {
        add(&format!("runtime/src/{path}"), (*text).to_owned());
    }
    Ok(files)
}

fn manifest(name: &str) -> String {
    include_str!("templates/crate.toml")
        .replace("{name}", name)
        .replace("{marker}", MARKER)
        .replace("{version}", env!("CARGO_PKG_VERSION"))
}

fn substitute(template: &str, options: &PackageOptions) -> String {
    let load = if options.embed { "Model::embedded()" } else { "Model::load(WEIGHTS)" };
    template
        .replace("crate_name", &options.name)
        .replace("\"{tolerance}\"", &format!("{:e}", options.tolerance))
        .replace("Model::load(WEIGHTS)", load)
        .replace("{version}", env!("CARGO_PKG_VERSION"))
}

fn library(network: Network<'_>, options: &PackageOptions) -> Result<String, EmitError> {
    let embedded = options.embed.then(|| {
        quote! {
            impl Model {
                /// The network with the weights that are part of this crate.
                ///
                /// # Errors
                ///
                /// When the weights file was changed after it was generated.
                pub fn embedded() -> Result<Self, Error> {
                    Self::from_bytes(include_bytes!("../weights.safetensors"))
                }
            }
        }
    });
    let weights = (!options.embed).then(|| {
        quote! {
            /// The weights file that was generated with this crate. Ship it with your program, and load it from there.
            pub const WEIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/weights.safetensors");
        }
    });
    let preprocess = network.graph.preprocess.as_ref().map(|_| {
        quote!(
            pub use vgg_runtime::preprocess;
        )
    });
    let tokens = quote! {
        #![doc = include_str!("../README.md")]
        #![forbid(unsafe_code)]

        mod model;
        mod names;

        pub use model::Model;
        pub use names::*;
        pub use vgg_runtime::{Error, FileBytes, Isa, Threads, Workspace, npy};
        #preprocess

        #weights
        #embedded
    };
    format::formatted(tokens)
}

fn readme(network: Network<'_>, options: &PackageOptions) -> String {
    let Network { graph, plan, header } = network;
    let dims = |shape: crate::ir::Shape| {
        let dims = std::iter::once(plan.batch).chain(shape.dims());
        dims.map(|extent| extent.to_string()).collect::<Vec<_>>().join(" x ")
    };
    let megabytes = |bytes: usize| format!("{:.1} MB", bytes as f64 / 1e6);
    let preprocessing = match &graph.preprocess {
        Some(preprocess) => format!(
            "Images become the input by `preprocess(rgb8, width, height)` of the model: `{preprocess}`."
        ),
        None => "The preprocessing of the images is that of whoever trained the weights; this crate takes the numbers as they are."
            .to_owned(),
    };
    let load = if options.embed { "Model::embedded()?" } else { "Model::load(crate_name::WEIGHTS)?" };
    include_str!("templates/README.md")
        .replace("{load}", load)
        .replace("{preprocessing}", &preprocessing)
        .replace("crate_name", &options.name)
        .replace("{input}", &dims(graph.input_shape()))
        .replace("{output}", &graph.output_shapes().map(dims).collect::<Vec<_>>().join(" and "))
        .replace("{files}", if plan.outputs.len() == 1 { "[OUTPUT.npy]" } else { "[OUTPUT.npy ..]" })
        .replace("{parameters}", &grouped(graph.param_count() as u64))
        .replace("{macs}", &grouped(graph.total_macs()))
        .replace("{weights}", &megabytes(header.bytes.len() + header.data_len))
        .replace("{arena}", &megabytes(plan.arena_len * 4))
        .replace("{version}", env!("CARGO_PKG_VERSION"))
}
