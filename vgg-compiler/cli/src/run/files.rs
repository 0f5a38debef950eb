//! The arrays that a run writes.

use std::path::{Path, PathBuf};

use vgg_compiler::ir::Shape;
use vgg_compiler::weights::WeightsSource;
use vgg_runtime::npy;

use super::runner::Outputs;
use crate::error::Error;
use crate::export::refuse_input;
use crate::model::Model;
use crate::progress::Progress;
use crate::staging::{Staging, same_file};

/// The files that are written.
pub(super) struct Files {
    pub(super) output: Option<PathBuf>,
    /// Names of layers and the files of their values.
    pub(super) taps: Vec<(String, PathBuf)>,
}

impl Files {
    pub(super) fn new(output: Option<&Path>, taps: &[String]) -> Self {
        let directory = output.and_then(Path::parent).unwrap_or(Path::new(""));
        // Names of layers are C identifiers: nothing in them leads out of the directory.
        let tap = |name: &String| (name.clone(), directory.join(format!("{name}.npy")));
        Self { output: output.map(Path::to_owned), taps: taps.iter().map(tap).collect() }
    }

    /// Refuses to overwrite what is read, and to write two arrays to one file.
    pub(super) fn check<P: AsRef<Path>>(
        &self,
        model: &Model,
        source: &WeightsSource,
        inputs: &[P],
    ) -> Result<(), Error> {
        for path in self.output.iter().chain(self.taps.iter().map(|(_, path)| path)) {
            refuse_input(path, model, source)?;
            if inputs.iter().any(|input| same_file(path, input.as_ref())) {
                return Err(Error::usage(format!("{}: the result would overwrite the input", path.display()))
                    .with_help("choose another name for the result"));
            }
        }
        match &self.output {
            Some(output) if self.taps.iter().any(|(_, path)| path == output) => {
                Err(Error::usage(format!("{}: the output and a tapped layer would be one file", output.display()))
                    .with_help("choose another name for the output"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn write(&self, outputs: &Outputs, count: usize, progress: &Progress) -> Result<(), Error> {
        let write = |path: &Path, shape: Shape, values: &[f32]| {
            let dims: Vec<usize> = std::iter::once(count).chain(shape.dims()).collect();
            write_array(path, &dims, values)?;
            progress.note(&format!("wrote {}", path.display()));
            Ok::<(), Error>(())
        };
        for tap in &outputs.taps {
            if let Some((_, path)) = self.taps.iter().find(|(name, _)| name == &tap.name) {
                write(path, tap.shape, &tap.values)?;
            }
        }
        match &self.output {
            Some(path) => write(path, outputs.shape, &outputs.values),
            None => Ok(()),
        }
    }
}

/// Writes an array at `path`, whole or not at all.
fn write_array(path: &Path, dims: &[usize], values: &[f32]) -> Result<(), Error> {
    const NAME: &str = "array.npy";
    let writing = |error| Error::writing(path, &error);
    let mut staging = Staging::for_file(path).map_err(writing)?;
    npy::write_f32(&staging.path().join(NAME), dims, values).map_err(|error| match error {
        vgg_runtime::Error::Io { source, .. } => writing(source),
        error => error.into(),
    })?;
    staging.move_file(NAME, path).map_err(writing)
}
