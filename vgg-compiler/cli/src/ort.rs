//! ONNX Runtime, loaded at run time: from the library that `ORT_DYLIB_PATH` names, or else from the packages that
//! `cargo xtask ort` has fetched into `target/python` of this directory or one above it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ::ort::environment::Environment;
use ::ort::session::Session;
use ::ort::session::builder::SessionBuilder;
use ::ort::value::TensorRef;

pub use ::ort::session::builder::GraphOptimizationLevel;

use crate::error::{Error, Status};

/// The variable that names ONNX Runtime's library.
pub const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";

/// Where `cargo xtask ort` puts the library, below the root of the project.
const FETCHED: &str = "target/python/onnxruntime/capi";

/// What can go wrong between here and ONNX Runtime.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrtError {
    /// No library was named and none was found.
    #[error(
        "ONNX Runtime was not found: ORT_DYLIB_PATH is not set, and there is no target/python/onnxruntime/capi here or above"
    )]
    NoLibrary,
    /// The library is missing, or is not ONNX Runtime, or is too old.
    #[error("{}: cannot load ONNX Runtime: {reason}", path.display())]
    Load {
        /// The library.
        path: PathBuf,
        /// Why it was refused.
        reason: String,
    },
    /// ONNX Runtime refused the model.
    #[error("ONNX Runtime refuses the model {model}: {reason}")]
    Model {
        /// The path of the model, or how many bytes it has.
        model: String,
        /// ONNX Runtime's message.
        reason: String,
    },
    /// The model could not be run on this input.
    #[error("ONNX Runtime cannot run the model {model} on an input of shape {shape:?}: {reason}")]
    Run {
        /// The path of the model, or how many bytes it has.
        model: String,
        /// The shape of the input.
        shape: Vec<usize>,
        /// ONNX Runtime's message.
        reason: String,
    },
}

impl OrtError {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NoLibrary | Self::Load { .. } => {
                "`cargo xtask ort` in the project fetches a copy and prints its path; any libonnxruntime of 1.22 or later \
                 will do: set ORT_DYLIB_PATH to its path"
            }
            Self::Model { .. } | Self::Run { .. } => {
                "every model that is exported should run; please report it with the command that was given"
            }
        }
    }
}

impl From<OrtError> for Error {
    fn from(error: OrtError) -> Self {
        Self::new(Status::System, error.to_string()).with_help(error.help())
    }
}

/// How a model is prepared for running.
#[derive(Clone, Copy, Debug)]
pub struct OrtOptions {
    /// Threads inside one operator; 0 leaves the number to ONNX Runtime.
    pub intra_threads: usize,
    /// How far ONNX Runtime may rewrite the graph.
    pub optimization: GraphOptimizationLevel,
}

impl Default for OrtOptions {
    /// One thread, and the graph as it stands in the file: what is compared is then what was exported.
    fn default() -> Self {
        Self { intra_threads: 1, optimization: GraphOptimizationLevel::Disable }
    }
}

/// One output of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// The name of the value in the graph.
    pub name: String,
    /// Its extents, such as `[batch, channels, height, width]`.
    pub shape: Vec<usize>,
    /// Its elements in C order.
    pub data: Vec<f32>,
}

/// A model with one f32 input, loaded by ONNX Runtime.
#[derive(Debug)]
pub struct OrtModel {
    session: Session,
    /// The path, or how many bytes, for error messages.
    source: String,
}

impl OrtModel {
    /// Loads a model from an ONNX file; external data is looked for beside it.
    ///
    /// # Errors
    ///
    /// When ONNX Runtime cannot be loaded, or refuses the model.
    pub fn from_file(path: &Path, options: OrtOptions) -> Result<Self, OrtError> {
        Self::load(path.display().to_string(), options, |builder| builder.commit_from_file(path))
    }

    /// Loads a model from the bytes of an ONNX file that has no external data.
    ///
    /// # Errors
    ///
    /// When ONNX Runtime cannot be loaded, or refuses the model.
    pub fn from_bytes(model: &[u8], options: OrtOptions) -> Result<Self, OrtError> {
        Self::load(format!("of {} bytes", model.len()), options, |builder| builder.commit_from_memory(model))
    }

    fn load(
        source: String,
        options: OrtOptions,
        commit: impl FnOnce(&mut SessionBuilder) -> ::ort::Result<Session>,
    ) -> Result<Self, OrtError> {
        let environment = &runtime()?.environment;
        let session = Session::builder(environment)
            .and_then(|builder| Ok(builder.with_intra_threads(options.intra_threads)?))
            .and_then(|builder| Ok(builder.with_optimization_level(options.optimization)?))
            // Its threads must not spin on after a run, which would slow down whatever is measured next.
            .and_then(|builder| Ok(builder.with_config_entry("session.force_spinning_stop", "1")?))
            .and_then(|mut builder| commit(&mut builder));
        match session {
            Ok(session) => Ok(Self { session, source }),
            Err(error) => Err(OrtError::Model { model: source, reason: error.to_string() }),
        }
    }

    /// The names of the inputs, in the order of the graph.
    pub fn input_names(&self) -> Vec<&str> {
        self.session.inputs().iter().map(|input| input.name()).collect()
    }

    /// The names of the outputs, in the order of the graph.
    pub fn output_names(&self) -> Vec<&str> {
        self.session.outputs().iter().map(|output| output.name()).collect()
    }

    /// Runs the model on `input`, C order, of the extents `shape`, and returns every output in the order of the graph.
    ///
    /// # Errors
    ///
    /// When the model does not take this one input, when it fails, or when an output is not an f32 tensor.
    pub fn run(&mut self, input: &[f32], shape: &[usize]) -> Result<Vec<NamedTensor>, OrtError> {
        let failed = |reason: String| OrtError::Run { model: self.source.clone(), shape: shape.to_vec(), reason };
        if self.session.inputs().len() != 1 {
            return Err(failed(format!("it has {} inputs, expected one", self.session.inputs().len())));
        }
        let tensor = TensorRef::from_array_view((shape, input)).map_err(|error| failed(error.to_string()))?;
        let outputs = self.session.run(::ort::inputs![tensor]).map_err(|error| failed(error.to_string()))?;
        outputs
            .iter()
            .map(|(name, value)| {
                let (shape, data) =
                    value.try_extract_tensor::<f32>().map_err(|error| failed(format!("output `{name}`: {error}")))?;
                // Extents of a computed tensor are never negative.
                let shape = shape.iter().map(|&extent| extent as usize).collect();
                Ok(NamedTensor { name: name.to_owned(), shape, data: data.to_vec() })
            })
            .collect()
    }
}

/// The version of ONNX Runtime, such as `1.32.0`.
///
/// # Errors
///
/// When it cannot be loaded.
pub fn version() -> Result<String, OrtError> {
    let library = &runtime()?.library;
    Ok(version_in(library, ::ort::info()))
}

/// The version that the library's file name ends in, or else the branch that it was built from.
fn version_in(library: &Path, build: &str) -> String {
    let resolved = fs::canonicalize(library).unwrap_or_else(|_| library.to_owned());
    let name = resolved.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = name.trim_end_matches(".dylib");
    let is_version =
        |text: &&str| text.split('.').count() == 3 && text.split('.').all(|part| part.parse::<u32>().is_ok());
    let of_name = ["libonnxruntime.so.", "libonnxruntime."].into_iter().find_map(|prefix| name.strip_prefix(prefix));
    let branch = build.split("git-branch=").nth(1).and_then(|rest| rest.split(',').next());
    let of_branch = branch.map(|branch| branch.trim_start_matches("rel-"));
    of_name.filter(is_version).or(of_branch.filter(is_version)).unwrap_or("unknown").to_owned()
}

/// The library of this process and its environment.
struct Runtime {
    library: PathBuf,
    environment: Environment,
}

/// Loads the library once.
///
/// # Errors
///
/// When it cannot be loaded; every later call reports the same.
fn runtime() -> Result<&'static Runtime, OrtError> {
    static RUNTIME: OnceLock<Result<Runtime, OrtError>> = OnceLock::new();
    let load = || {
        let here = std::env::current_dir().unwrap_or_default();
        initialise(find(std::env::var_os(LIBRARY_VARIABLE), &here)?)
    };
    RUNTIME.get_or_init(load).as_ref().map_err(Clone::clone)
}

/// The library that was `chosen`, or else one that was fetched for a project that `here` is in.
fn find(chosen: Option<OsString>, here: &Path) -> Result<PathBuf, OrtError> {
    match chosen.filter(|path| !path.is_empty()) {
        Some(path) => Ok(path.into()),
        None => here.ancestors().find_map(|root| library_in(&root.join(FETCHED))).ok_or(OrtError::NoLibrary),
    }
}

/// The library in a directory of the Python package `onnxruntime`.
fn library_in(directory: &Path) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(directory)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_library(&path.file_name().unwrap_or_default().to_string_lossy()))
        .collect();
    found.sort();
    found.into_iter().next()
}

/// Whether a file is the library itself rather than one of its plug-ins or the Python module.
fn is_library(name: &str) -> bool {
    if cfg!(windows) {
        name == "onnxruntime.dll"
    } else if cfg!(target_os = "macos") {
        name.starts_with("libonnxruntime.") && name.ends_with(".dylib")
    } else {
        name.starts_with("libonnxruntime.so")
    }
}

fn initialise(library: PathBuf) -> Result<Runtime, OrtError> {
    let refused = |reason: String| OrtError::Load { path: library.clone(), reason };
    if !library.is_file() {
        return Err(refused("there is no such file".to_owned()));
    }
    let builder = ::ort::init_from(&library).map_err(|error| refused(error.to_string()))?;
    let environment =
        builder.with_name("vgg").with_telemetry(false).build().map_err(|error| refused(error.to_string()))?;
    Ok(Runtime { library, environment })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_library_the_remedy_is_named() {
        let empty = tempfile::tempdir().unwrap();
        for chosen in [None, Some(OsString::new())] {
            let error = find(chosen, empty.path()).unwrap_err();
            assert_eq!(error, OrtError::NoLibrary);
            let text = Error::from(error).to_string();
            assert!(text.contains("ORT_DYLIB_PATH is not set") && text.contains("`cargo xtask ort`"), "{text}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_fetched_library_is_found_from_below() {
        let root = tempfile::tempdir().unwrap();
        let capi = root.path().join(FETCHED);
        let below = root.path().join("a/b");
        fs::create_dir_all(&capi).unwrap();
        fs::create_dir_all(&below).unwrap();
        for name in ["libonnxruntime.so.1.32.0", "libonnxruntime_providers_shared.so", "onnxruntime_pybind11_state.so"]
        {
            fs::write(capi.join(name), "").unwrap();
        }
        assert_eq!(find(None, &below).unwrap(), capi.join("libonnxruntime.so.1.32.0"));
        assert_eq!(find(Some("chosen".into()), &below).unwrap(), Path::new("chosen"));
    }

    #[test]
    fn what_is_no_library_is_refused() {
        for (path, reason) in
            [("no/such/libonnxruntime.so", "there is no such file"), (env!("CARGO_MANIFEST_PATH"), "cannot load")]
        {
            let error = initialise(path.into()).err().unwrap().to_string();
            assert!(error.starts_with(path) && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn the_version_is_that_of_the_file_or_of_the_branch() {
        let version = |library: &str, build: &str| version_in(Path::new(library), build);
        assert_eq!(version("a/libonnxruntime.so.1.32.0", ""), "1.32.0");
        assert_eq!(version("a/libonnxruntime.1.22.1.dylib", ""), "1.22.1");
        assert_eq!(
            version("a/libonnxruntime.so", "ORT Build Info: git-branch=rel-1.19.0, git-commit-id=26250ae"),
            "1.19.0"
        );
        assert_eq!(version("a/onnxruntime.dll", "git-branch=HEAD, x"), "unknown");
    }
}
