//! The reader for a file, by its content.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;

use bytes::Bytes;

use super::budget::Budget;
use super::file::{Container, WeightsFile};
use super::names::state_dict;
use super::problem::Problem;
use super::zip::Archive;
use super::{caffe, keras, matconvnet, torch};
use crate::weights::error::WeightsError;
use crate::weights::magic::{Magic, begins_as_safetensors, magic};

/// The file of the content `bytes`, unless it is safetensors or nothing that is known.
pub(super) fn foreign(bytes: &Bytes, path: &Path) -> Result<Option<WeightsFile>, WeightsError> {
    let format = |found, help| WeightsError::Format { path: path.into(), found, help };
    let mut budget = Budget::new(bytes.len());
    let (container, file) = match magic(bytes) {
        Some(Magic::Foreign { found, help }) => return Err(format(found, help)),
        Some(Magic::Onnx) => {
            return Err(format(
                "an ONNX model",
                "give it as a model, or to the command `vgg`, which takes its weights",
            ));
        }
        Some(Magic::TorchLegacy) => {
            (Container::TorchLegacy, torch_file(Container::TorchLegacy, torch::legacy(bytes.clone(), &mut budget)))
        }
        Some(Magic::Zip) => {
            let archive = match Archive::open(bytes.clone()) {
                Ok(archive) => archive,
                Err(problem) => return Err(unreadable(path, "ZIP archive", problem)),
            };
            if archive.names().any(|name| name.ends_with(".npy")) {
                return Err(format(
                    "an archive of NumPy arrays",
                    "convert it in Python with `safetensors.numpy.save_file`",
                ));
            }
            if archive.contains(KERAS_WEIGHTS) {
                let inner = archive.read(KERAS_WEIGHTS, &mut budget);
                let file = inner.and_then(|inner| keras::read(Container::KerasZip, inner, &mut budget));
                return file.map(Some).map_err(|problem| unreadable(path, Container::KerasZip.description(), problem));
            }
            (Container::TorchZip, torch_file(Container::TorchZip, torch::zipped(&archive, &mut budget)))
        }
        None if !begins_as_safetensors(bytes) && caffe::is_net(bytes) => (Container::Caffe, caffe::read(bytes.clone())),
        None if !begins_as_safetensors(bytes) && caffe::is_blob(bytes) => {
            return Err(format(
                "a single blob of Caffe, as mean images are",
                "give the .caffemodel file; a mean image is given with --mean-image",
            ));
        }
        Some(Magic::Matlab5) => (Container::Matlab, matconvnet::read(bytes.clone(), &mut budget)),
        Some(Magic::Hdf5) => (Container::Hdf5, keras::read(Container::Hdf5, bytes.clone(), &mut budget)),
        None => return Ok(None),
    };
    file.map(Some).map_err(|problem| unreadable(path, container.description(), problem))
}

/// The weights in an archive of Keras 3.
const KERAS_WEIGHTS: &str = "model.weights.h5";

type Found = (Vec<crate::weights::view::SourceTensor>, Vec<String>);

fn torch_file(container: Container, found: Result<Found, Problem>) -> Result<WeightsFile, Problem> {
    let (tensors, notes) = found?;
    Ok(state_dict(container, tensors, notes))
}

fn unreadable(path: &Path, container: &'static str, problem: Problem) -> WeightsError {
    WeightsError::Unreadable { path: path.into(), container, problem: problem.text, help: problem.help }
}
