//! The way from a declaration to everything that can be emitted, in one call.

use proc_macro2::TokenStream;

use crate::ir::{self, Graph, Precision, ShapeError, TypedGraph, VerifyError};
use crate::lower::lower;
use crate::onnx::{self, ExportError, ExportOptions};
use crate::passes;
use crate::plan::{self, ExecutionPlan, PlanError, PlanOptions};
use crate::rust::{self, EmitError};
use crate::spec::ModelSpec;
use crate::spec::check::check;
use crate::spec::diagnostic::Diagnostics;
use crate::spec::names::file_stem;
use crate::spec::parse::parse_tokens;
use crate::weights::Header;

/// What may differ between two compilations of one declaration. The macro and the command line share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileOptions {
    /// Images of one inference, at least 1.
    pub batch: usize,
    /// Whether to stop before a final softmax.
    pub logits: bool,
    /// Whether every convolution is summed directly: Winograd's algorithm, several times as fast, is off by about ten times as much.
    pub exact: bool,
    /// How the weights of fully connected layers are written down.
    pub precision: Precision,
}

impl Default for CompileOptions {
    fn default() -> Self {
        Self { batch: 1, logits: false, exact: false, precision: Precision::F32 }
    }
}

/// A compiled network.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// What was declared, with batch norm and dropout.
    pub declared: TypedGraph,
    /// What is computed at inference.
    pub graph: TypedGraph,
    /// How it is computed.
    pub plan: ExecutionPlan,
}

impl Compiled {
    /// The header of the network's canonical weights file.
    pub fn header(&self) -> Header {
        Header::of(&self.graph)
    }
}

/// Why a declaration cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// Mistakes in the declaration.
    #[error("the declaration has mistakes: {}", messages(.0))]
    Spec(Diagnostics),
    /// A layer cannot take the shape that reaches it.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The graph breaks an invariant.
    #[error("the graph is not valid: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Verify(Vec<VerifyError>),
    /// The graph cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The graph cannot be written as ONNX.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The generated code is not Rust: a defect of the compiler.
    #[error(transparent)]
    Emit(#[from] EmitError),
}

fn messages(diagnostics: &Diagnostics) -> String {
    diagnostics.iter().map(|diagnostic| diagnostic.message.as_str()).collect::<Vec<_>>().join("; ")
}

/// Checks, lowers, rewrites, verifies and plans a declaration.
///
/// ```
/// use vgg_compiler::{CompileOptions, compile, spec};
///
/// let text = "pub Tiny: 3 x 32 x 32 { conv3-16, maxpool; fc-10, softmax }";
/// let spec = spec::parse::parse_file("tiny.vgg", text).unwrap();
/// let compiled = compile(&spec, &CompileOptions::default()).unwrap();
/// assert_eq!(compiled.graph.param_count(), 16 * 27 + 16 + 10 * 16 * 16 * 16 + 10);
/// ```
///
/// # Errors
///
/// [`CompileError::Spec`] holds every mistake of the declaration; the others cannot happen once it has none, but for a
/// batch of 0 or one that is too large to address.
pub fn compile(spec: &ModelSpec, options: &CompileOptions) -> Result<Compiled, CompileError> {
    check(spec).into_result(()).map_err(CompileError::Spec)?;
    compile_graph(lower(spec)?, options)
}

/// The same for a network that is a graph already.
///
/// # Errors
///
/// As [`compile`]; [`CompileError::Verify`] names every layer that breaks an invariant.
pub fn compile_graph(mut graph: Graph, options: &CompileOptions) -> Result<Compiled, CompileError> {
    if options.logits {
        passes::stop_at_logits(&mut graph);
    }
    let declared = ir::verify(graph.clone()).map_err(CompileError::Verify)?;
    passes::prepare_for_inference(&mut graph);
    passes::round_weights(&mut graph, options.precision);
    let graph = ir::verify(graph).map_err(CompileError::Verify)?;
    let plan =
        plan::plan(&graph, &PlanOptions { batch: options.batch, exact: options.exact, ..PlanOptions::default() })?;
    Ok(Compiled { declared, graph, plan })
}

/// What the `vgg!` macro expands to: the network as a type, or its mistakes as compile errors at the offending tokens.
pub fn expand(tokens: TokenStream) -> TokenStream {
    let spec = match parse_tokens(tokens) {
        Ok(spec) => spec,
        Err(mistakes) => return mistakes.to_compile_error(),
    };
    in_place(&spec).unwrap_or_else(|error| match error {
        CompileError::Spec(mistakes) => mistakes.to_compile_error(),
        other => syn::Error::new(spec.name.span, other).into_compile_error(),
    })
}

/// What the `vgg!` macro expands to, as the text of a file: for build scripts, which write it to `OUT_DIR` and
/// `include!` it.
///
/// ```
/// let spec = vgg_compiler::spec::parse::parse_file("tiny.vgg", "pub Tiny: 3 x 8 x 8 { conv3-16, maxpool; fc-10 }").unwrap();
/// let source = vgg_compiler::module_source(&spec).unwrap();
/// assert!(source.contains("pub use __vgg_tiny::names::Tiny;"));
/// ```
///
/// # Errors
///
/// As [`compile`].
pub fn module_source(spec: &ModelSpec) -> Result<String, CompileError> {
    Ok(rust::source_text(in_place(spec)?)?)
}

/// The items that define the network where they stand.
fn in_place(spec: &ModelSpec) -> Result<TokenStream, CompileError> {
    let compiled = compile(spec, &CompileOptions::default())?;
    let (stem, header) = (file_stem(&spec.name.value), compiled.header());
    let external = Some(format!("{stem}.safetensors"));
    let onnx = onnx::graph_bytes(&compiled.graph, &header, &ExportOptions { external, ..ExportOptions::default() })?;
    let network = rust::Network { graph: &compiled.graph, plan: &compiled.plan, header: &header };
    Ok(rust::in_place(network, &spec.visibility, &stem, &onnx))
}
