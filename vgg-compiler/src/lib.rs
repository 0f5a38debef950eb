//! The compiler of the VGG family: from one declaration to ONNX and to statically shape-specialised Rust.
//!
//! The modules are the pipeline, in the order in which data goes through them:
//!
//! | module | from | to |
//! |---|---|---|
//! | [`spec`] | tokens or text in the notation of the papers | [`spec::ModelSpec`], checked, with spans |
//! | [`lower()`] | [`spec::ModelSpec`] | [`ir::Graph`]: ONNX operators |
//! | [`passes`] | [`ir::Graph`] | [`ir::Graph`]: dropout gone, batch norm folded |
//! | [`mod@ir`] | [`ir::Graph`] | [`ir::TypedGraph`], by [`ir::verify()`] alone: shapes known, invariants hold |
//! | [`onnx`] | [`ir::TypedGraph`] | an ONNX model |
//! | [`mod@plan`] | [`ir::TypedGraph`] | [`plan::ExecutionPlan`]: fused, laid out, placed |
//! | [`rust`] | [`plan::ExecutionPlan`] | the files of a crate, or a module in place |
//! | [`report`] | [`ir::TypedGraph`] and its plan | the layer table |
//! | [`preprocess`] | its text in a declaration, a weights file or an ONNX file | how images become the network's input |
//! | [`weights`] | a file or a seed | one tensor for each parameter, and the canonical safetensors file |
//!
//! [`compile`] goes the whole way to the plan; [`expand`] is what the `vgg!` macro does, and
//! [`module_source`] is the same for build scripts. The kernels that generated code
//! calls are in the crate `vgg-runtime`, which this crate never depends on.
#![forbid(unsafe_code)]

pub mod atomic;
mod compile;
pub mod ir;
mod lower;
pub mod onnx;
pub mod passes;
pub mod plan;
pub mod preprocess;
pub mod report;
pub mod rust;
pub mod spec;
mod suggest;
pub mod weights;

pub use compile::{CompileError, CompileOptions, Compiled, compile, compile_graph, expand, module_source};
pub use lower::lower;
