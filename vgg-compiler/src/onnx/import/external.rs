//! The files beside a model that hold its tensors.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use super::error::{Refusal, printable};
use crate::onnx::messages::TensorProto;

/// The files beside the model that hold its tensors, each read once.
pub(super) struct Externals {
    folder: Option<PathBuf>,
    files: BTreeMap<String, Bytes>,
}

impl Externals {
    /// Those in `folder`; without one, there are none.
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self { folder: folder.map(Path::to_owned), files: BTreeMap::new() }
    }

    fn read(&mut self, location: &str) -> Result<Bytes, Refusal> {
        if let Some(bytes) = self.files.get(location) {
            return Ok(bytes.clone());
        }
        let shown = printable(location);
        let help = "put the file with the weights beside the model, under the name that the model gives";
        let path = Path::new(location);
        let inside = !location.is_empty()
            && path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        let Some(folder) = self.folder.as_ref().filter(|_| inside) else {
            return Err(Refusal::new(format!("its weights are in `{shown}`, outside the model's directory"), help));
        };
        let failed = |error: std::io::Error| {
            Refusal::new(format!("its weights are in `{shown}`, which cannot be read: {error}"), help)
        };
        let folder = folder.canonicalize().map_err(failed)?;
        let target = folder.join(path).canonicalize().map_err(failed)?;
        if !target.starts_with(&folder) || !target.is_file() {
            return Err(Refusal::new(
                format!("its weights are in `{shown}`, which is no file in the model's directory"),
                help,
            ));
        }
        let bytes = Bytes::from(fs::read(&target).map_err(failed)?);
        self.files.insert(location.to_owned(), bytes.clone());
        Ok(bytes)
    }

    /// The bytes that `tensor` points to.
    pub(super) fn bytes(&mut self, tensor: &TensorProto) -> Result<Bytes, Refusal> {
        let entry = |key: &str| {
            let found = tensor.external_data.iter().find(|entry| entry.key.as_deref() == Some(key));
            found.and_then(|entry| entry.value.as_deref())
        };
        let number = |key: &str| entry(key).map(|text| text.parse::<usize>()).transpose();
        let name = printable(tensor.name.as_deref().unwrap_or_default());
        let (Ok(offset), Ok(length)) = (number("offset"), number("length")) else {
            return Err(Refusal::damaged(format!("tensor `{name}` has an offset or length that is no number")));
        };
        let file = self.read(entry("location").unwrap_or_default())?;
        let start = offset.unwrap_or(0);
        let end = length.map_or(Some(file.len()), |length| start.checked_add(length));
        match end.filter(|&end| start <= end && end <= file.len()) {
            Some(end) => Ok(file.slice(start..end)),
            None => Err(Refusal::damaged(format!(
                "tensor `{name}` claims bytes from {start} on, {} of them, of a file of {}: it is cut off",
                length.unwrap_or(0),
                file.len()
            ))),
        }
    }
}
