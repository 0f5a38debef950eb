//! Net to net: from what exporters write to the plain chain that it means.
//!
//! [`ALL`] is their order. Each leaves a network that computes the same.

mod cancel_transposes;
mod channel_order;
mod drop_dead;
mod drop_identities;
mod equal_windows;
mod fold_affine;
mod fold_gathers;
mod map;
mod matmul_to_gemm;
mod merge_means;
mod merge_pads;
mod order;
mod relu_before_pool;

pub(super) use cancel_transposes::NHWC;
pub(super) use fold_affine::BATCH_NORM_FOLDED;

use super::error::Refusal;
use super::net::Net;

/// A named rewriting of the network.
pub(super) struct Pass {
    /// The pass's name: that of its function and its file.
    pub(super) name: &'static str,
    pub(super) run: fn(&mut Net) -> Result<(), Refusal>,
}

/// All of them, in order.
pub(super) const ALL: &[Pass] = &[
    Pass { name: "drop_dead", run: drop_dead::drop_dead },
    Pass { name: "drop_identities", run: drop_identities::drop_identities },
    Pass { name: "merge_means", run: merge_means::merge_means },
    Pass { name: "fold_gathers", run: fold_gathers::fold_gathers },
    Pass { name: "channel_order", run: channel_order::channel_order },
    Pass { name: "cancel_transposes", run: cancel_transposes::cancel_transposes },
    Pass { name: "matmul_to_gemm", run: matmul_to_gemm::matmul_to_gemm },
    Pass { name: "merge_pads", run: merge_pads::merge_pads },
    Pass { name: "relu_before_pool", run: relu_before_pool::relu_before_pool },
    Pass { name: "fold_affine", run: fold_affine::fold_affine },
];
