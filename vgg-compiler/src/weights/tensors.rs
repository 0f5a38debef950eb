//! Tensors by key, as a weights file holds them.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use bytes::Bytes;

/// The tensors of a weights file by their keys.
pub type Tensors = BTreeMap<String, Tensor>;

/// A tensor of f32 in C order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its extents.
    pub shape: Vec<usize>,
    /// Its elements, four little-endian bytes each.
    pub data: Bytes,
}

impl Tensor {
    /// The elements as numbers. Bytes after the last whole element are left out.
    pub fn values(&self) -> impl ExactSizeIterator<Item = f32> + '_ {
        values(&self.data)
    }
}

/// Little-endian bytes as numbers. Bytes after the last whole element are left out.
pub(super) fn values(data: &[u8]) -> impl ExactSizeIterator<Item = f32> + '_ {
    data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes))
}
