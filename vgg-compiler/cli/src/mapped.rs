//! Weights files that are mapped into memory instead of being read.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use vgg_compiler::ir::TypedGraph;
use vgg_compiler::preprocess::Preprocess;
use vgg_compiler::weights::readers::{self, Adapted};
use vgg_compiler::weights::{Loaded, WeightsError, WeightsSource, canonical};
use vgg_runtime::{FileBytes, FilePart};

/// The weights of `graph` from `source`, those of a file where they lie. A tensor's memory is given back when its last owner drops it.
///
/// # Errors
///
/// As [`WeightsSource::load`].
pub(crate) fn load(source: &WeightsSource, graph: &TypedGraph) -> Result<Loaded, Vec<WeightsError>> {
    if let WeightsSource::File(path) = source
        && graph.is_rounded()
        && let Some(file) = map(path)
        && let Some(weights) = canonical::open(graph, &Bytes::from_owner(Whole(Arc::clone(&file))), &source.to_string())
    {
        return Ok(weights?.moved(|tensor| part(&file, &tensor).unwrap_or(tensor)).into());
    }
    source.load_with(graph, adapted)
}

/// The preprocessing that the weights of `source` are known to belong to.
///
/// # Errors
///
/// As [`WeightsSource::lineage`].
pub(crate) fn lineage(source: &WeightsSource) -> Result<Option<Preprocess>, WeightsError> {
    source.lineage_with(|path| match map(path) {
        Some(file) => Ok(Bytes::from_owner(Whole(file))),
        None => std::fs::read(path).map(Bytes::from).map_err(|source| WeightsError::Read { path: path.into(), source }),
    })
}

fn map(path: &Path) -> Option<Arc<FileBytes>> {
    FileBytes::map(path).ok().filter(FileBytes::is_mapped).map(Arc::new)
}

/// A tensor of `file` whose memory is given back when it is dropped.
fn part(file: &Arc<FileBytes>, tensor: &Bytes) -> Option<Bytes> {
    let part = file.range_of(tensor).and_then(|range| FilePart::new(file, range));
    part.map(Bytes::from_owner)
}

/// The tensors of the file at `path` for `graph`, where they lie unless they had to be changed. A tensor's memory is given back when its
/// last owner drops it.
///
/// Nobody may write to the file or cut it off while a command runs: see [`FileBytes`].
///
/// # Errors
///
/// As [`readers::load`].
fn adapted(path: &Path, graph: &TypedGraph) -> Result<Adapted, Vec<WeightsError>> {
    // What cannot be mapped is the reader's business, and so is saying why.
    let Some(file) = map(path) else { return readers::load(path, graph) };
    let whole = Bytes::from_owner(Whole(Arc::clone(&file)));
    let read = readers::parse(whole, path).map_err(|error| vec![error])?;
    let mut adapted = read.adapt(graph, &path.display().to_string())?;
    drop(read);
    for tensor in adapted.tensors.values_mut() {
        if let Some(part) = part(&file, &tensor.data) {
            tensor.data = part;
        }
    }
    Ok(adapted)
}

/// All of a file.
struct Whole(Arc<FileBytes>);

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}
