//! What can be wrong with weights.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::ir::Precision;

/// Why weights were refused. Each message names the file, the tensor, what was found and what was expected;
/// [`WeightsError::help`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file cannot be opened or read.
    #[error("{}: cannot read the weights: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("{}: cannot write the weights: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory, a pipe, a device.
    #[error("{}: expected a file with weights, found {found}", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// A file of another format.
    #[error("{}: this is {found}, expected {}", path.display(), EXPECTED)]
    Format {
        /// The file.
        path: PathBuf,
        /// What its first bytes say it is.
        found: &'static str,
        /// What to do with it.
        help: &'static str,
    },
    /// A file that contradicts itself, or holds what is not read.
    #[error("{}: this {container} cannot be read: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What it is.
        container: &'static str,
        /// What is wrong.
        problem: String,
        /// What to do.
        help: Option<&'static str>,
    },
    /// A tensor that does not fit into the layer that it was found to belong to.
    #[error(
        "{origin}: tensor `{tensor}`, found to be that of layer `{layer}`, has shape {arrived:?}, expected {expected:?}"
    )]
    LayerShape {
        /// The file.
        origin: String,
        /// The layer of the network.
        layer: String,
        /// The tensor by its name in the file.
        tensor: String,
        /// Its extents.
        arrived: Vec<usize>,
        /// The extents that the network needs.
        expected: Vec<usize>,
    },
    /// Layers that are not those of the network.
    #[error(
        "{origin}: {} layers with weights ({}), expected the {} of the network ({})",
        found.len(),
        Listed(found),
        expected.len(),
        Listed(expected)
    )]
    Layers {
        /// The file.
        origin: String,
        /// The layers of the file.
        found: Vec<String>,
        /// Those of the network.
        expected: Vec<String>,
    },
    /// A .safetensors file that contradicts itself.
    #[error("{}: not a valid .safetensors file: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A tensor of numbers that are no floating-point numbers.
    #[error("{}: tensor `{key}` holds {dtype} numbers, expected F32, F16, BF16 or F64", path.display())]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        key: String,
        /// The type of its elements.
        dtype: String,
    },
    /// A tensor that the network needs is not there.
    #[error("{origin}: tensor `{key}` of shape {expected:?} is missing")]
    Missing {
        /// The file.
        origin: String,
        /// The tensor.
        key: String,
        /// Its extents.
        expected: Vec<usize>,
        /// The most similar key of the file.
        closest: Option<String>,
    },
    /// Tensors that the network does not have.
    #[error("{origin}: the network has no {}", Listed(keys))]
    Extra {
        /// The file.
        origin: String,
        /// The tensors, sorted.
        keys: Vec<String>,
    },
    /// A tensor of other extents than the network's.
    #[error("{origin}: tensor `{key}` has shape {arrived:?}, expected {expected:?}")]
    Shape {
        /// The file.
        origin: String,
        /// The tensor.
        key: String,
        /// Its extents.
        arrived: Vec<usize>,
        /// The extents that the network needs.
        expected: Vec<usize>,
    },
    /// A tensor whose bytes are not four for each element.
    #[error("{origin}: tensor `{key}` has {arrived} bytes, expected {expected}")]
    Length {
        /// The file.
        origin: String,
        /// The tensor.
        key: String,
        /// Its bytes.
        arrived: usize,
        /// Four for each element.
        expected: usize,
    },
    /// NaN or infinity.
    #[error("{origin}: tensor `{key}` is {value} at index {index:?} ({count} such of {of}), expected finite numbers")]
    NotFinite {
        /// The file.
        origin: String,
        /// The tensor.
        key: String,
        /// Where the first of them is.
        index: Vec<usize>,
        /// Its value.
        value: f32,
        /// How many there are.
        count: usize,
        /// Elements of the tensor.
        of: usize,
    },
    /// A number that is too large for the precision that was asked for.
    #[error("{origin}: tensor `{key}` is {value} at index {index:?}, more than {precision} can hold")]
    Range {
        /// The file.
        origin: String,
        /// The tensor.
        key: String,
        /// Where the first such number is.
        index: Vec<usize>,
        /// Its value.
        value: f32,
        /// The precision.
        precision: Precision,
    },
    /// A variance that batch normalisation cannot divide by.
    #[error("{origin}: tensor `{key}` is {value} at index {index}; with epsilon {epsilon} added it must be above 0")]
    Variance {
        /// The file.
        origin: String,
        /// The tensor.
        key: String,
        /// The channel.
        index: usize,
        /// The variance.
        value: f32,
        /// What is added to it.
        epsilon: f32,
    },
    /// Batch normalisation for some layers and none for others.
    #[error(
        "{origin}: batch normalisation is stored for `{}` and absent for {}: either every layer has it or none",
        present,
        Listed(absent)
    )]
    Mixed {
        /// The file.
        origin: String,
        /// A convolution with batch normalisation.
        present: String,
        /// The convolutions without, in the order of the layers.
        absent: Vec<String>,
    },
    /// A parameter that folding made infinite.
    #[error(
        "{origin}: tensor `{key}` becomes {value} at index {index:?} when `{batch_norm}` is folded in, \
         expected finite numbers"
    )]
    Folded {
        /// The file.
        origin: String,
        /// The convolution's tensor.
        key: String,
        /// The batch normalisation's scale.
        batch_norm: String,
        /// Where the first such element is.
        index: Vec<usize>,
        /// Its value.
        value: f32,
    },
    /// A batch normalisation that computes no finite numbers.
    #[error(
        "{origin}: the batch normalisation of `{key}` has a {what} of {value} at index [{index}] for what arrives, \
         expected finite numbers"
    )]
    Affine {
        /// The file.
        origin: String,
        /// Its scale.
        key: String,
        /// Factor or summand.
        what: &'static str,
        /// The channel.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// A seed that is no number.
    #[error(
        "`{text}` is not a source of weights: expected `seeded`, `seeded:N` with N from 0 to {}, or a path",
        u64::MAX
    )]
    Seed {
        /// What was given.
        text: String,
    },
}

impl WeightsError {
    /// What to do about it, unless the message says all.
    pub fn help(&self) -> Option<String> {
        let text: &str = match self {
            Self::Write { .. } => return None,
            Self::Read { .. } | Self::NotAFile { .. } => {
                "give the path of a weights file, or `seeded:N` for generated weights"
            }
            Self::Format { help, .. } | Self::Unreadable { help: Some(help), .. } => help,
            Self::Unreadable { help: None, .. } => {
                "the file may be cut off or damaged: fetch it again, or write it anew with the program that made it"
            }
            Self::LayerShape { .. } => {
                "the weights belong to another network, or were trained with other extents or classes"
            }
            Self::Layers { .. } => "`vgg weights inspect FILE` says which network the weights fit",
            Self::Malformed { .. } => {
                "the file may be cut off or damaged: fetch it again, or write it anew with the safetensors library"
            }
            Self::Dtype { dtype, .. } if dtype == "I8" => {
                "int8 weights are read with `--precision int8`, from the file that was written for this very network; for all \
                 else give the weights they were made of"
            }
            Self::Dtype { .. } => {
                "convert the tensors before they are saved: `{k: v.float() for k, v in model.state_dict().items()}`"
            }
            Self::Missing { closest: Some(closest), .. } => {
                return Some(format!("the most similar tensor in the file is `{closest}`; rename it if it is the one"));
            }
            Self::Missing { closest: None, .. } => {
                "the weights belong to another network, or their keys do not follow torchvision's convention"
            }
            Self::Extra { .. } => "the weights belong to another network, or hold more than it has: leave these out",
            Self::Shape { arrived, expected, .. } if arrived.iter().rev().eq(expected) => {
                "the tensor seems to be transposed: convolutions have [out, in, height, width], fc layers [out, in]"
            }
            Self::Shape { .. } => {
                "the weights belong to another network, or were trained with other extents or classes"
            }
            Self::Length { .. } => "the tensor was cut off: write the weights anew",
            Self::NotFinite { .. } | Self::Folded { .. } | Self::Affine { .. } => {
                "a network with such weights computes nothing but NaN: take an earlier checkpoint of the training"
            }
            Self::Range { precision: Precision::F16, .. } => {
                "numbers up to 65504 are f16; those of bf16 and int8 have the range of f32: `--precision bf16`"
            }
            Self::Range { .. } => "the numbers are among the largest that there are: `--precision f32` holds them",
            Self::Variance { .. } => "the statistics are damaged: take an earlier checkpoint of the training",
            Self::Mixed { .. } => {
                "give the weights as trained, or those with every batch normalisation folded into its convolution"
            }
            Self::Seed { .. } => "write `./` before the name of a file that begins with `seeded:`",
        };
        Some(text.into())
    }
}

/// What is read.
const EXPECTED: &str = "weights as .safetensors, PyTorch, Caffe, MatConvNet or Keras files have them";

/// Up to this many keys are written out.
const LISTED: usize = 6;

/// Keys as a sentence says them.
struct Listed<'a>(&'a [String]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, key) in self.0.iter().take(LISTED).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}`{}`", key.escape_debug())?;
        }
        match self.0.len().saturating_sub(LISTED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
