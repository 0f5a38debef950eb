//! Where weights come from, as a command line says it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::canonical;
use super::error::WeightsError;
use super::readers::{self, Adapted};
use super::resolve::Weights;
use super::safetensors::bytes;
use super::seeded::seeded;
use super::tensors::Tensors;
use crate::ir::TypedGraph;
use crate::preprocess::Preprocess;

/// Where weights come from.
#[derive(Debug, Clone, PartialEq)]
pub enum WeightsSource {
    /// Generated from this seed.
    Seeded(u64),
    /// Read from this file.
    File(PathBuf),
    /// Those that came with a network.
    Imported {
        /// The network's file.
        path: PathBuf,
        /// Its tensors, under the keys of the network's parameters.
        tensors: Arc<Tensors>,
        /// How images become the network's input, when that is known and the weights are for another network than the file's own.
        preprocess: Option<Box<Preprocess>>,
    },
}

/// Weights, and what there is to say of them.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// A tensor for each parameter.
    pub weights: Weights,
    /// What was done to the numbers of a file that is not canonical, a clause each.
    pub notes: Vec<String>,
    /// What speaks against the network's preprocessing for these weights, a clause.
    pub doubt: Option<String>,
}

impl From<Weights> for Loaded {
    fn from(weights: Weights) -> Self {
        Self { weights, notes: Vec::new(), doubt: None }
    }
}

impl WeightsSource {
    /// Understands `seeded` (seed 0), `seeded:N` and the path of a file.
    pub fn parse(text: &str) -> Result<Self, WeightsError> {
        if text == "seeded" {
            return Ok(Self::Seeded(0));
        }
        let Some(seed) = text.strip_prefix("seeded:") else {
            return Ok(Self::File(text.into()));
        };
        let digits = !seed.is_empty() && seed.bytes().all(|byte| byte.is_ascii_digit());
        match seed.parse() {
            Ok(seed) if digits => Ok(Self::Seeded(seed)),
            _ => Err(WeightsError::Seed { text: text.into() }),
        }
    }

    /// The weights of `graph` from here: everything that is wrong with them, or a tensor for each of its parameters.
    pub fn load(&self, graph: &TypedGraph) -> Result<Weights, Vec<WeightsError>> {
        if let Self::File(path) = self
            && graph.is_rounded()
            // What cannot be read, the reader of all files says.
            && let Some(weights) = bytes(path).ok().and_then(|bytes| canonical::open(graph, &bytes, &self.to_string()))
        {
            return weights;
        }
        self.load_with(graph, readers::load).map(|loaded| loaded.weights)
    }

    /// The same, with another way to the tensors of a file than [`readers::load`], and with what there is to say of them.
    pub fn load_with(
        &self,
        graph: &TypedGraph,
        read: impl FnOnce(&Path, &TypedGraph) -> Result<Adapted, Vec<WeightsError>>,
    ) -> Result<Loaded, Vec<WeightsError>> {
        let origin = self.to_string();
        let Adapted { tensors, notes, doubt, .. } = match self {
            Self::Seeded(seed) => {
                return Weights::resolve(graph, seeded(graph, *seed), &origin).map(Loaded::from);
            }
            Self::File(path) => read(path, graph)?,
            Self::Imported { tensors, .. } => readers::imported(tensors, Vec::new()).adapt(graph, &origin)?,
        };
        Weights::resolve(graph, tensors, &origin).map(|weights| Loaded { weights, notes, doubt })
    }
}

impl fmt::Display for WeightsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seeded(seed) => write!(f, "seeded:{seed}"),
            Self::File(path) | Self::Imported { path, .. } => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart() {
        let parse = |text| WeightsSource::parse(text).unwrap();
        assert_eq!(parse("seeded"), WeightsSource::Seeded(0));
        assert_eq!(parse("seeded:18446744073709551615"), WeightsSource::Seeded(u64::MAX));
        assert_eq!(parse("seeded.safetensors"), WeightsSource::File("seeded.safetensors".into()));
        assert_eq!(parse("./seeded:1"), WeightsSource::File("./seeded:1".into()));
        for wrong in ["seeded:", "seeded:x", "seeded:-1", "seeded:+1", "seeded:18446744073709551616"] {
            let error = WeightsSource::parse(wrong).unwrap_err();
            assert!(error.to_string().starts_with(&format!("`{wrong}` is not a source of weights")), "{error}");
        }
    }
}
