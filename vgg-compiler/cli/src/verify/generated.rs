//! A generated crate, built and run on the same images.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use vgg_compiler::rust::MARKER;
use vgg_runtime::{THREADS_VARIABLE, npy};

use crate::error::Error;
use crate::input::Images;
use crate::progress::Progress;
use crate::staging::Staging;

/// Lines of the tools' messages that are passed on.
const SHOWN_LINES: usize = 20;

/// Refuses what is not a generated crate, before its build scripts or anything else of it runs.
pub(super) fn check(directory: &Path) -> Result<(), Error> {
    let manifest = directory.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).map_err(|error| {
        Error::reading(&manifest, &error).with_help("give the directory of a crate that `vgg build` has written")
    })?;
    if text.lines().any(|line| line.trim_end() == MARKER) {
        return Ok(());
    }
    Err(Error::refused(format!("{}: expected the manifest of a generated crate, with `{MARKER}`", manifest.display()))
        .with_help("give the directory of a crate that `vgg build` has written"))
}

/// Extents and numbers.
pub type Array = (Vec<usize>, Vec<f32>);

/// Builds the example of the crate in `directory` and runs it on `images`. Gives the extents and the numbers of its outputs, of
/// which there are `count`.
///
/// # Errors
///
/// When it cannot be built, run, or read.
pub fn run_generated(
    directory: &Path,
    images: &Images,
    count: usize,
    threads: usize,
    progress: &Progress,
) -> Result<Vec<Array>, Error> {
    check(directory)?;
    let _stage = progress.step(format!("building and running {}", directory.display()));
    let staging = Staging::temporary().map_err(|error| Error::writing(&std::env::temp_dir(), &error))?;
    let input = staging.path().join("input.npy");
    let outputs: Vec<PathBuf> = (0..count).map(|index| staging.path().join(format!("output{index}.npy"))).collect();
    npy::write_f32(&input, &images.dims(), &images.values)?;
    // Cargo tells its subcommands and scripts which one it is.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let ran = Command::new(&cargo)
        .args(["run", "--release", "--offline", "--quiet", "--example", "infer", "--"])
        .arg(&input)
        .args(&outputs)
        .current_dir(directory)
        .env(THREADS_VARIABLE, threads.to_string())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            Error::system(format!("cannot run `{}`: {error}", cargo.display()))
                .with_help("install Rust, or leave --crate out")
        })?;
    if !ran.status.success() {
        let text = String::from_utf8_lossy(&ran.stderr);
        let lines: Vec<&str> = text.lines().collect();
        let shown = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
        let message = format!("{}: its example failed ({}):\n{shown}", directory.display(), ran.status);
        return Err(Error::refused(message).with_help("build the crate again with `vgg build`"));
    }
    Ok(outputs.iter().map(|output| npy::read_f32(output)).collect::<Result<_, _>>()?)
}
