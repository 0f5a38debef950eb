//! What the caller decides about a model.

use std::ops::RangeInclusive;

/// The versions of the standard operator set that can be written. All give the operators in use the same meaning.
pub const OPSETS: RangeInclusive<u32> = 13..=22;

/// The version that is written unless another is asked for.
pub const DEFAULT_OPSET: u32 = 17;

/// What the caller decides about a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportOptions {
    /// Version of the standard operator set, one of [`OPSETS`].
    pub opset: u32,
    /// Images of one inference.
    pub batch: Batch,
    /// The plain name of the canonical weights file beside the model, when the model is to point into it. Otherwise the
    /// weights are part of the model.
    pub external: Option<String>,
    /// What the model gives back.
    pub outputs: Outputs,
    /// Whether the model takes the pixels of images, uint8 `[N, H, W, 3]` in the order red, green, blue (`[N, H, W, 1]` for a grey
    /// network), and makes the input of them itself. They must have the input's size: a model does not resize. The
    /// graph must know its preprocessing.
    pub preprocess: bool,
    /// Where the weights come from, for the metadata `vgg.weights`. A path here would make the model differ from place
    /// to place: give the name of the file.
    pub weights: Option<String>,
    /// More metadata: keys and texts. The keys must be distinct; those that the compiler writes itself may be among
    /// them and take their place.
    pub metadata: Vec<(String, String)>,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self {
            opset: DEFAULT_OPSET,
            batch: Batch::Fixed(1),
            external: None,
            outputs: Outputs::Final,
            preprocess: false,
            weights: None,
            metadata: Vec::new(),
        }
    }
}

/// Images of one inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    /// This many.
    Fixed(usize),
    /// As many as are given; the extent is named `N`.
    Dynamic,
}

/// What a model gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs {
    /// The network's outputs.
    Final,
    /// The result of every node, in their order, so that each layer can be compared.
    All,
}

/// The version of the file format that came with `opset`, for those of [`OPSETS`].
///
/// Source: the table of <https://onnx.ai/onnx/repo-docs/Versioning.html>.
pub fn ir_version(opset: u32) -> Option<i64> {
    match opset {
        13..=14 => Some(7),
        15..=18 => Some(8),
        19..=20 => Some(9),
        21..=22 => Some(10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_opset_has_an_ir_version() {
        assert!(OPSETS.contains(&DEFAULT_OPSET));
        assert_eq!((ir_version(13), ir_version(17)), (Some(7), Some(8)));
        for opset in 0..40 {
            assert_eq!(ir_version(opset).is_some(), OPSETS.contains(&opset), "{opset}");
        }
    }
}
