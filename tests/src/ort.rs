//! ONNX Runtime, loaded at run time from the library that `ORT_DYLIB_PATH` names.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ::ort::environment::Environment;
use ::ort::session::Session;
use ::ort::session::builder::SessionBuilder;
use ::ort::value::TensorRef;

pub use ::ort::session::builder::GraphOptimizationLevel;

/// The variable that names ONNX Runtime's library.
pub const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";

/// What can go wrong between here and ONNX Runtime.
#[derive(Clone, thiserror::Error)]
pub enum OrtError {
    /// `ORT_DYLIB_PATH` is unset or empty.
    #[error(
        "ORT_DYLIB_PATH is not set, so ONNX Runtime cannot be loaded; run the tests by `cargo xtask test`, or set it to the path that \
         `cargo xtask ort` prints"
    )]
    NoLibrary,
    /// The library is missing, or is not ONNX Runtime, or is too old.
    #[error("cannot load ONNX Runtime from ORT_DYLIB_PATH={}: {reason}; `cargo xtask ort` fetches one and prints its path", path.display())]
    Load {
        /// The value of `ORT_DYLIB_PATH`.
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

/// The text for people: `unwrap` in a test prints this.
impl fmt::Debug for OrtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
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
    /// When ONNX Runtime cannot be loaded, or refuses the model.
    pub fn from_file(path: &Path, options: OrtOptions) -> Result<Self, OrtError> {
        Self::load(path.display().to_string(), options, |builder| builder.commit_from_file(path))
    }

    /// Loads a model from the bytes of an ONNX file that has no external data.
    ///
    /// # Errors
    /// When ONNX Runtime cannot be loaded, or refuses the model.
    pub fn from_bytes(model: &[u8], options: OrtOptions) -> Result<Self, OrtError> {
        Self::load(format!("of {} bytes", model.len()), options, |builder| builder.commit_from_memory(model))
    }

    fn load(
        source: String,
        options: OrtOptions,
        commit: impl FnOnce(&mut SessionBuilder) -> ::ort::Result<Session>,
    ) -> Result<Self, OrtError> {
        let environment = environment()?;
        let session = Session::builder(environment)
            .and_then(|builder| Ok(builder.with_intra_threads(options.intra_threads)?))
            .and_then(|builder| Ok(builder.with_optimization_level(options.optimization)?))
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

/// The one environment of this process.
///
/// # Errors
/// When the library cannot be loaded; every later call reports the same.
fn environment() -> Result<&'static Environment, OrtError> {
    static ENVIRONMENT: OnceLock<Result<Environment, OrtError>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| initialise(std::env::var_os(LIBRARY_VARIABLE))).as_ref().map_err(Clone::clone)
}

fn initialise(library: Option<OsString>) -> Result<Environment, OrtError> {
    let path = library.filter(|path| !path.is_empty()).map(PathBuf::from).ok_or(OrtError::NoLibrary)?;
    let refused = |reason: String| OrtError::Load { path: path.clone(), reason };
    if !path.is_file() {
        return Err(refused("there is no such file".to_owned()));
    }
    let builder = ::ort::init_from(&path).map_err(|error| refused(error.to_string()))?;
    builder.with_name("vgg-tests").with_telemetry(false).build().map_err(|error| refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(library: Option<OsString>) -> String {
        initialise(library).expect_err("no library was given").to_string()
    }

    #[test]
    fn a_missing_variable_names_the_remedy() {
        for library in [None, Some(OsString::new())] {
            let message = refusal(library);
            assert!(message.starts_with("ORT_DYLIB_PATH is not set"), "{message}");
            assert!(message.contains("`cargo xtask test`") && message.contains("`cargo xtask ort`"), "{message}");
            assert_eq!(message, format!("{:?}", OrtError::NoLibrary), "`unwrap` hides the remedy");
        }
    }

    #[test]
    fn a_missing_library_names_the_path_and_the_remedy() {
        let message = refusal(Some("no/such/libonnxruntime.so".into()));
        assert!(message.contains("ORT_DYLIB_PATH=no/such/libonnxruntime.so: there is no such file"), "{message}");
        assert!(message.contains("`cargo xtask ort`"), "{message}");
    }

    #[test]
    fn a_file_that_is_no_library_is_refused() {
        let message = refusal(Some(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into()));
        assert!(message.starts_with("cannot load ONNX Runtime from ORT_DYLIB_PATH="), "{message}");
        assert!(message.contains("`cargo xtask ort`"), "{message}");
    }
}
