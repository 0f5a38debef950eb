//! What a weights file says about the preprocessing of its network.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::error::WeightsError;
use super::magic::{Magic, magic};
use super::metadata::{Entry, Metadata};
use super::readers;
use super::safetensors::{MAX_HEADER, bytes};
use super::source::WeightsSource;
use super::tensors::values;
use crate::preprocess::{MEAN_KEY, Mean, Preprocess};

/// The preprocessing that the weights file at `path` records: a .safetensors file in its metadata under
/// [`METADATA_KEY`](crate::preprocess::METADATA_KEY), one of MatConvNet in its meta (with the feature `readers`).
///
/// A file that is damaged, or of another format, records none: whoever reads its tensors says what is wrong with it.
///
/// # Errors
///
/// When the file cannot be read, or says something about its preprocessing that cannot be understood.
pub fn lineage(path: &Path) -> Result<Option<Preprocess>, WeightsError> {
    lineage_with(path, bytes)
}

/// The same, with another way to the content of a file than reading all of it. It is taken for a file of MatConvNet alone.
///
/// # Errors
///
/// As [`lineage()`].
pub fn lineage_with(
    path: &Path,
    content: impl FnOnce(&Path) -> Result<Bytes, WeightsError>,
) -> Result<Option<Preprocess>, WeightsError> {
    let read = |source| WeightsError::Read { path: path.into(), source };
    if !std::fs::metadata(path).map_err(read)?.is_file() {
        return Ok(None);
    }
    let mut file = File::open(path).map_err(read)?;
    let mut head = Vec::new();
    file.by_ref().take(MAGIC).read_to_end(&mut head).map_err(read)?;
    if magic(&head) == Some(Magic::Matlab5) {
        return content(path).map(readers::recorded);
    }
    let Some(length) = head.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)).filter(|&len| len <= MAX_HEADER)
    else {
        return Ok(None);
    };
    file.seek(SeekFrom::Start(8)).map_err(read)?;
    let mut json = Vec::new();
    file.by_ref().take(length).read_to_end(&mut json).map_err(read)?;
    let Some(metadata) = Metadata::of(&json) else { return Ok(None) };
    let malformed = |problem| WeightsError::Malformed { path: path.into(), problem };
    let Some(mut preprocess) = metadata.preprocess().map_err(malformed)? else { return Ok(None) };
    if let Mean::Image(image) = &mut preprocess.mean {
        let entry = metadata.mean.ok_or_else(|| {
            malformed(format!("its preprocessing has a mean image, but there is no tensor `{MEAN_KEY}`"))
        })?;
        let data = 8 + length;
        let rest = file.metadata().map_err(read)?.len().saturating_sub(data);
        let (begin, len) = place(&entry, rest).map_err(malformed)?;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(data + begin)).map_err(read)?;
        file.take(len).read_to_end(&mut bytes).map_err(read)?;
        let values: Arc<[f32]> = values(&bytes).collect();
        if values.iter().any(|value| !value.is_finite()) {
            return Err(malformed(format!("tensor `{MEAN_KEY}` holds NaN or infinity")));
        }
        *image = Some(values);
    }
    Ok(Some(preprocess))
}

/// Bytes that tell the format of a file.
const MAGIC: u64 = 1024;

/// Where the bytes of a tensor begin in the data, which has `available` of them, and how many there are.
fn place(Entry { dtype, shape, data_offsets: (begin, end) }: &Entry, available: u64) -> Result<(u64, u64), String> {
    let needed = shape.iter().try_fold(4_u64, |product, &extent| product.checked_mul(extent));
    match end.checked_sub(*begin) {
        Some(len) if dtype == "F32" && needed == Some(len) && *end <= available => Ok((*begin, len)),
        _ => Err(format!(
            "tensor `{MEAN_KEY}` of shape {shape:?} claims bytes {begin} to {end} of {available}, expected F32 numbers of that shape"
        )),
    }
}

impl WeightsSource {
    /// The preprocessing that these weights are known to belong to.
    ///
    /// # Errors
    ///
    /// As [`lineage()`].
    pub fn lineage(&self) -> Result<Option<Preprocess>, WeightsError> {
        self.lineage_with(bytes)
    }

    /// The same, with another way to the content of a file than reading all of it, as [`lineage_with`].
    ///
    /// # Errors
    ///
    /// As [`lineage()`].
    pub fn lineage_with(
        &self,
        content: impl FnOnce(&Path) -> Result<Bytes, WeightsError>,
    ) -> Result<Option<Preprocess>, WeightsError> {
        match self {
            Self::File(path) => lineage_with(path, content),
            Self::Imported { preprocess, .. } => Ok(preprocess.as_deref().cloned()),
            Self::Seeded(_) => Ok(None),
        }
    }
}
