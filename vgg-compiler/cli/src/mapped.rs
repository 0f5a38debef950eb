//! Weights files that are mapped into memory instead of being read.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use vgg_compiler::weights::{Tensors, WeightsError, parse, read};
use vgg_runtime::{FileBytes, FilePart};

/// The tensors of the file at `path`, where they lie. A tensor's memory is given back when its last owner drops it.
///
/// Nobody may write to the file or cut it off while a command runs: see [`FileBytes`].
///
/// # Errors
///
/// As [`read()`].
pub(crate) fn tensors(path: &Path) -> Result<Tensors, WeightsError> {
    // What cannot be mapped is the reader's business, and so is saying why.
    let Some(file) = FileBytes::map(path).ok().filter(FileBytes::is_mapped).map(Arc::new) else { return read(path) };
    let mut tensors = parse(Bytes::from_owner(Whole(Arc::clone(&file))), path)?;
    for tensor in tensors.values_mut() {
        let part = file.range_of(&tensor.data).and_then(|range| FilePart::new(&file, range));
        if let Some(part) = part {
            tensor.data = Bytes::from_owner(part);
        }
    }
    Ok(tensors)
}

/// All of a file.
struct Whole(Arc<FileBytes>);

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}
