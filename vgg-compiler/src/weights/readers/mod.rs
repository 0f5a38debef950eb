//! Weights as people have them: files of PyTorch, Caffe, MatConvNet and Keras, and safetensors under other names.
//!
//! ```text
//! bytes ─► open ─► torch  caffe  matconvnet  keras  ─► WeightsFile ─► fit ─► adapt ─► tensors under the network's keys
//!                  (zip, pickle) (wire) (mat)           names: layers in order
//! ```
//!
//! A file is recognised by its content. Nothing in it is run, and no length in it is believed before it is compared with what
//! remains. [`load`] finds the network's layers among the file's and says what it did: renamed, transposed, reordered, folded.
//!
//! The formats other than safetensors need the feature `readers`.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod adapt;
#[cfg(feature = "readers")]
mod budget;
#[cfg(feature = "readers")]
mod caffe;
#[cfg(feature = "readers")]
mod cursor;
mod file;
mod fit;
#[cfg(feature = "readers")]
mod keras;
mod lineage;
#[cfg(feature = "readers")]
mod mat;
#[cfg(feature = "readers")]
mod matconvnet;
#[cfg(feature = "readers")]
mod meta;
mod names;
#[cfg(feature = "readers")]
mod open;
#[cfg(feature = "readers")]
mod pickle;
#[cfg(feature = "readers")]
mod problem;
#[cfg(feature = "readers")]
mod torch;
#[cfg(feature = "readers")]
mod wire;
#[cfg(feature = "readers")]
mod zip;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;

pub use adapt::Adapted;
pub use file::{Container, Part, Role, SourceLayer, WeightsFile};
pub use fit::{Comparison, Match};
pub use lineage::{ColourOrder, SourceFormat};
pub use names::imported;
use names::{is_counter, state_dict};

use super::error::WeightsError;
use super::safetensors;
#[cfg(feature = "readers")]
use super::tensors::Tensor;
use super::view::{ElementType, SourceTensor};
use crate::ir::TypedGraph;
use crate::preprocess::{MEAN_KEY, Preprocess};

/// The weights file at `path`, of whichever format.
pub fn open(path: &Path) -> Result<WeightsFile, WeightsError> {
    parse(safetensors::bytes(path)?, path)
}

/// The weights file of the content `bytes`, of whichever format. `path` is its name, for messages.
pub fn parse(bytes: Bytes, path: &Path) -> Result<WeightsFile, WeightsError> {
    #[cfg(feature = "readers")]
    if let Some(file) = open::foreign(&bytes, path)? {
        return Ok(file);
    }
    Ok(state_dict(Container::Safetensors, safetensors::scan(&bytes, path)?, Vec::new()))
}

/// The mean image [channels, height, width] in `bytes`, the content of a file of Caffe's `compute_image_mean` (`.binaryproto`), blue first as
/// Caffe reads images. None when it is no such file; an error says what is wrong with it.
#[cfg(feature = "readers")]
pub fn mean_image(bytes: &Bytes) -> Option<Result<Tensor, String>> {
    caffe::is_blob(bytes).then(|| caffe::mean_image(bytes.clone()))
}

/// What a file of MatConvNet records of how images become the input; none when it is damaged, which its reader says.
pub(super) fn recorded(bytes: Bytes) -> Option<Preprocess> {
    #[cfg(feature = "readers")]
    {
        let mut budget = budget::Budget::new(bytes.len());
        matconvnet::lineage(bytes, &mut budget).ok().flatten()
    }
    #[cfg(not(feature = "readers"))]
    {
        drop(bytes);
        None
    }
}

impl WeightsFile {
    /// Its tensors under the keys and with the shapes that `graph` needs. `origin` is the name of the file, for messages.
    ///
    /// # Errors
    ///
    /// When the layers cannot be those of the network: everything that differs.
    pub fn adapt(&self, graph: &TypedGraph, origin: &str) -> Result<Adapted, Vec<WeightsError>> {
        let mut adapted = if self.is_canonical(graph) {
            Adapted { how: Some(Match::Keys), ..adapt::unchanged(self, origin)? }
        } else {
            adapt::adapt(self, graph, origin)?
        };
        adapted.notes.splice(0..0, self.notes.iter().cloned());
        adapted.doubt = graph.preprocess.as_ref().and_then(|preprocess| self.doubt(preprocess));
        Ok(adapted)
    }

    /// Whether its tensors are the stored parameters of `graph`, under their keys, in their shapes, as f32, and nothing else.
    fn is_canonical(&self, graph: &TypedGraph) -> bool {
        let mut named: BTreeMap<&str, &SourceTensor> =
            self.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let all = graph.stored_params().iter().all(|param| {
            named.remove(param.key.as_str()).is_some_and(|SourceTensor { view, .. }| {
                view.element() == ElementType::F32 && view.shape() == param.shape
            })
        });
        all && named.keys().all(|name| is_counter(name) || *name == MEAN_KEY)
    }

    /// How its layers compare with those of `graph`. None when the graph has no layers with weights.
    pub fn compare(&self, graph: &TypedGraph) -> Option<Comparison> {
        fit::compare(self, graph)
    }
}

/// The tensors of the file at `path` for `graph`, and what was done to them.
///
/// # Errors
///
/// When the file cannot be read, or when its layers cannot be those of the network: everything that differs.
pub fn load(path: &Path, graph: &TypedGraph) -> Result<Adapted, Vec<WeightsError>> {
    let file = open(path).map_err(|error| vec![error])?;
    file.adapt(graph, &path.display().to_string())
}
