//! What a reader finds in a file: tensors under the names of the file, and the layers that they belong to.

use std::collections::BTreeMap;
use std::fmt;

use super::lineage::SourceFormat;
use crate::preprocess::Preprocess;
use crate::weights::view::{SourceTensor, View};

/// The container of a file, told by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// A .safetensors file.
    Safetensors,
    /// A ZIP archive of `torch.save`.
    TorchZip,
    /// The format of `torch.save` before PyTorch 1.6.
    TorchLegacy,
    /// A NetParameter message of Caffe.
    Caffe,
    /// A MATLAB file of version 5, compressed or not.
    Matlab,
    /// An HDF5 file of Keras.
    Hdf5,
    /// A ZIP archive of Keras 3.
    KerasZip,
    /// An ONNX model, whose importer has named its tensors.
    Onnx,
}

impl Container {
    /// A few words for people.
    pub fn description(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors file",
            Self::TorchZip => "PyTorch file (ZIP archive)",
            Self::TorchLegacy => "PyTorch file (legacy stream)",
            Self::Caffe => "Caffe model",
            Self::Matlab => "MATLAB 5 file",
            Self::Hdf5 => "HDF5 file of Keras",
            Self::KerasZip => "Keras archive",
            Self::Onnx => "ONNX model",
        }
    }

    /// A short name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::TorchZip => "torch-zip",
            Self::TorchLegacy => "torch-legacy",
            Self::Caffe => "caffe",
            Self::Matlab => "matlab",
            Self::Hdf5 => "hdf5",
            Self::KerasZip => "keras-zip",
            Self::Onnx => "onnx",
        }
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}

/// What a tensor is to its layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The filters of a convolution, the matrix of a fully connected layer.
    Weight,
    /// What is added to each output.
    Bias,
    /// A batch normalisation's factors.
    Scale,
    /// A batch normalisation's summands.
    Shift,
    /// A batch normalisation's means.
    Mean,
    /// A batch normalisation's variances.
    Variance,
    /// By what Caffe divides the sums of a batch normalisation's statistics; those of the layer are divided already.
    Count,
}

/// A layer of a file that has tensors.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SourceLayer {
    /// Its name: `conv1_1`, or what precedes `.weight`.
    pub name: String,
    /// Its tensors with their axes in PyTorch's order: filters [out, in, height, width], matrices [out, in].
    pub parts: BTreeMap<Role, Part>,
    /// What is added to the variance of a batch normalisation, when the file says so.
    pub epsilon: Option<f32>,
}

/// One tensor of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Its index among the tensors of the file.
    pub tensor: usize,
    /// Its elements, in PyTorch's order of axes.
    pub view: View,
}

impl SourceLayer {
    /// Whether it is a batch normalisation.
    pub fn is_norm(&self) -> bool {
        self.parts.contains_key(&Role::Mean)
    }
}

/// The content of a weights file.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightsFile {
    /// The container.
    pub container: Container,
    /// Whose conventions it follows.
    pub source: SourceFormat,
    /// The name of the network, when the file has one.
    pub network: Option<String>,
    /// All tensors. In the order of the file where that is the order of the network.
    pub tensors: Vec<SourceTensor>,
    /// The layers with tensors, in the order of the network.
    pub layers: Vec<SourceLayer>,
    /// What stands before every name and means nothing: `module.`.
    pub prefix: String,
    /// The layers for local response normalisation, when the file lists layers without tensors.
    pub lrn_layers: Option<usize>,
    /// What was found and done, a sentence each.
    pub notes: Vec<String>,
    /// How images become the input, where a file of this format says so: that of MatConvNet does.
    pub preprocess: Option<Preprocess>,
}

impl WeightsFile {
    /// Whether the file itself has the order of the network, so that names need not tell it.
    pub(super) fn is_in_order(&self) -> bool {
        matches!(self.container, Container::Caffe | Container::Matlab | Container::Hdf5 | Container::KerasZip)
    }

    /// Whether a matrix behind a feature map has its inputs in the order of height, width, channel.
    pub(super) fn is_hwc(&self) -> bool {
        matches!(self.container, Container::Hdf5 | Container::KerasZip)
    }

    /// The name of a tensor without what stands before every name.
    pub(super) fn key<'a>(&self, tensor: &'a SourceTensor) -> &'a str {
        tensor.name.strip_prefix(&self.prefix).unwrap_or(&tensor.name)
    }

    /// The layers that have a weight, each with the batch normalisation that follows it.
    pub(super) fn weighted(&self) -> Vec<(&SourceLayer, Option<&SourceLayer>)> {
        let mut weighted: Vec<(&SourceLayer, Option<&SourceLayer>)> = Vec::new();
        for layer in &self.layers {
            if layer.parts.contains_key(&Role::Weight) {
                weighted.push((layer, None));
            } else if let (true, Some((_, norm @ None))) = (layer.is_norm(), weighted.last_mut()) {
                *norm = Some(layer);
            }
        }
        weighted
    }
}
