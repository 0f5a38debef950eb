//! Graph to graph: what a pass leaves is still expressible in ONNX.
//!
//! [`INFERENCE`] is the order in which they run before a network is planned or exported:
//!
//! 1. [`drop_dropout`]: dropout is the identity at inference.
//! 2. [`fold_batch_norm`]: a batch normalisation becomes part of the convolution before it.
//!
//! [`stop_at_logits`] and [`round_weights`] are asked for separately.

mod drop_dropout;
mod fold_batch_norm;
mod round_weights;
mod stop_at_logits;

pub use drop_dropout::drop_dropout;
pub use fold_batch_norm::fold_batch_norm;
pub use round_weights::round_weights;
pub use stop_at_logits::stop_at_logits;

use crate::ir::Graph;

/// A named rewriting of the graph.
#[derive(Debug, Clone, Copy)]
pub struct Pass {
    /// The pass's name: that of its function and its file.
    pub name: &'static str,
    /// The rewriting itself.
    pub run: fn(&mut Graph),
}

/// The passes that every network goes through, in order.
pub const INFERENCE: &[Pass] =
    &[Pass { name: "drop_dropout", run: drop_dropout }, Pass { name: "fold_batch_norm", run: fold_batch_norm }];

/// Runs [`INFERENCE`] on `graph`.
pub fn prepare_for_inference(graph: &mut Graph) {
    for pass in INFERENCE {
        (pass.run)(graph);
    }
}
