//! Which files `--image` means.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// What the arguments mean.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The files, in the order of the arguments, those of a directory or a pattern sorted.
    pub(crate) files: Vec<PathBuf>,
    /// The arguments that mean nothing, and why.
    pub(crate) refused: Vec<(PathBuf, Error)>,
}

/// The extensions of images in directories.
const EXTENSIONS: [&str; 6] = ["png", "jpg", "jpeg", "webp", "bmp", "gif"];

/// The files that `arguments` mean: each a file, a directory (the images in it, not in those below), or a pattern with `*`, `?`, `[..]`
/// or `**`.
pub(crate) fn find(arguments: &[PathBuf]) -> Found {
    let mut found = Found::default();
    for argument in arguments {
        let result = if argument.is_dir() {
            directory(argument)
        } else if let Some(pattern) = pattern(argument) {
            matching(argument, pattern)
        } else {
            // Whether there is such a file is found out when it is read.
            Ok(vec![argument.clone()])
        };
        match result {
            Ok(files) => found.files.extend(files),
            Err(error) => found.refused.push((argument.clone(), error)),
        }
    }
    found
}

fn directory(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(|error| Error::reading(path, &error))?;
    let is_image = |path: &PathBuf| {
        let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase();
        EXTENSIONS.contains(&extension.as_str()) && path.is_file()
    };
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(is_image).collect();
    files.sort();
    if files.is_empty() {
        let error = Error::refused(format!("{}: there is no image in the directory", path.display()));
        return Err(error.with_help(format!("images are files that end in .{}", EXTENSIONS.join(", ."))));
    }
    Ok(files)
}

/// The text of a path that is a pattern: it has special characters, and there is no file of this very name.
fn pattern(path: &Path) -> Option<&str> {
    let text = path.to_str()?;
    (text.contains(['*', '?', '[']) && !path.exists()).then_some(text)
}

fn matching(path: &Path, pattern: &str) -> Result<Vec<PathBuf>, Error> {
    let name = path.display();
    let paths = glob::glob(pattern).map_err(|error| {
        Error::refused(format!("{name}: not a pattern: {error}")).with_help("put the path in quotes")
    })?;
    // Sorted by the library; what cannot be looked into matches nothing.
    let files: Vec<PathBuf> = paths.filter_map(Result::ok).filter(|path| path.is_file()).collect();
    if files.is_empty() {
        return Err(Error::refused(format!("{name}: no file matches the pattern"))
            .with_help("`*` stands for any part of a name, `**` for any directories"));
    }
    Ok(files)
}
