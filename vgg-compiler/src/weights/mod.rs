//! Trained numbers: where they come from, how they are checked, and the one file in which they are kept.
//!
//! A [`WeightsSource`] yields [`Tensors`] by key, either [`read()`] from a file or [`seeded()`]. [`Weights::resolve`]
//! matches them with a network, reports everything that does not fit, and gives one tensor for each parameter of the
//! graph, batch normalisation folded in where the graph says so. [`canonical`] writes them back as a .safetensors file
//! whose header depends on the network alone.

pub mod canonical;
mod error;
mod lineage;
pub(crate) mod magic;
mod metadata;
mod normal;
pub mod readers;
mod resolve;
mod round;
mod safetensors;
mod seeded;
mod source;
mod tensors;
mod view;

pub use canonical::Header;
pub use error::WeightsError;
pub use lineage::{lineage, lineage_with};
pub use normal::standard_normal;
pub use resolve::Weights;
pub use safetensors::{parse, read};
pub use seeded::seeded;
pub use source::{Loaded, WeightsSource};
pub use tensors::{Tensor, Tensors};
pub use view::{ElementType, SourceTensor, View};
