//! What is computed: a graph of ONNX operators, before anything is fused or placed.
//!
//! [`lower`](crate::lower()) makes a [`Graph`] of a declaration, [`crate::passes`] rewrite it, [`verify()`] checks it and infers its shapes.
//! Only the resulting [`TypedGraph`] reaches the ONNX writer and the planner.

mod graph;
mod op;
mod precision;
mod print;
pub mod shape;
#[cfg(test)]
pub(crate) mod testing;
mod verify;

pub use graph::{FoldedRole, Graph, Node, Param, ParamId, ParamSource, Value, ValueId};
pub use op::{Conv, Lrn, Op, Pool};
pub use precision::Precision;
pub use shape::{Shape, ShapeError};
pub use verify::{TypedGraph, VerifyError, verify};
