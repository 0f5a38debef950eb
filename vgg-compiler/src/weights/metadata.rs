//! What the header of a safetensors file says beside the places of its tensors.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::preprocess::{METADATA_KEY, Preprocess};
use crate::spec::parse::parse_preprocess;

/// The part of a header that is looked at.
#[derive(Deserialize)]
pub(super) struct Metadata {
    #[serde(rename = "__metadata__", default)]
    texts: BTreeMap<String, String>,
    /// The tensor of the mean image.
    #[serde(rename = "vgg.mean")]
    pub(super) mean: Option<Entry>,
}

/// The entry of a tensor.
#[derive(Deserialize)]
pub(super) struct Entry {
    pub(super) dtype: String,
    pub(super) shape: Vec<u64>,
    pub(super) data_offsets: (u64, u64),
}

impl Metadata {
    /// That of a header, `json`; none when it is no such header.
    pub(super) fn of(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// The preprocessing, without the numbers of a mean image. An error says why it cannot be understood.
    pub(super) fn preprocess(&self) -> Result<Option<Preprocess>, String> {
        match self.texts.get(METADATA_KEY).filter(|text| *text != "unknown") {
            None => Ok(None),
            Some(text) => parse_preprocess(text)
                .map(Some)
                .map_err(|problem| format!("its metadata `{METADATA_KEY}` cannot be understood: {problem}")),
        }
    }
}
