//! Files that appear whole or not at all.

use std::borrow::ToOwned;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::Error;

/// Writes a temporary sibling of `path` with `write`, then renames it to `path`. On failure the sibling is removed.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(std::format!(".{}.tmp", std::process::id()));
    let sibling = path.with_file_name(name);
    let written = (|| {
        let mut file = BufWriter::new(File::create(&sibling)?);
        write(&mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&sibling, path)
    })();
    written.map_err(|source| {
        // The error that counts is the one that happened first.
        let _ = fs::remove_file(&sibling);
        Error::Io { action: "write", path: path.into(), source }
    })
}
