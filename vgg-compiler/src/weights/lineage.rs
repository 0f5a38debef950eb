//! What a weights file says about the preprocessing of its network.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use super::error::WeightsError;
use super::safetensors::MAX_HEADER;
use super::source::WeightsSource;
use crate::preprocess::{METADATA_KEY, Preprocess};
use crate::spec::parse::parse_preprocess;

/// The part of a header that is looked at.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "__metadata__", default)]
    metadata: BTreeMap<String, String>,
}

/// The preprocessing that the .safetensors file at `path` records in its metadata under [`METADATA_KEY`].
///
/// A file that is damaged, or of another format, records none: whoever reads its tensors says what is wrong with it.
///
/// # Errors
///
/// When the file cannot be read, or says something about its preprocessing that cannot be understood.
pub fn lineage(path: &Path) -> Result<Option<Preprocess>, WeightsError> {
    let read = |source| WeightsError::Read { path: path.into(), source };
    if !std::fs::metadata(path).map_err(read)?.is_file() {
        return Ok(None);
    }
    let mut file = File::open(path).map_err(read)?;
    let mut head = Vec::new();
    file.by_ref().take(8).read_to_end(&mut head).map_err(read)?;
    let Some(length) = head.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)).filter(|&len| len <= MAX_HEADER)
    else {
        return Ok(None);
    };
    let mut json = Vec::new();
    file.take(length).read_to_end(&mut json).map_err(read)?;
    let Ok(Head { metadata }) = serde_json::from_slice(&json) else {
        return Ok(None);
    };
    let Some(text) = metadata.get(METADATA_KEY).filter(|text| *text != "unknown") else {
        return Ok(None);
    };
    parse_preprocess(text).map(Some).map_err(|problem| {
        let problem = format!("its metadata `{METADATA_KEY}` cannot be understood: {problem}");
        WeightsError::Malformed { path: path.into(), problem }
    })
}

impl WeightsSource {
    /// The preprocessing that these weights are known to belong to.
    ///
    /// # Errors
    ///
    /// As [`lineage()`].
    pub fn lineage(&self) -> Result<Option<Preprocess>, WeightsError> {
        match self {
            Self::File(path) => lineage(path),
            // What came with a network is part of its declaration.
            Self::Seeded(_) | Self::Imported { .. } => Ok(None),
        }
    }
}
