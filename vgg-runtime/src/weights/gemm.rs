//! Weights of a fully connected layer.

use super::values::Values;
use crate::Error;
use crate::aligned::Aligned;
use crate::memory::{SharedBytes, as_elements};
use crate::shape::GemmDims;
use crate::simd::{Element, Float, Int8};

/// Weights and biases of a fully connected layer: row-major `[out][in]`, as in the file and of the type that the file has.
#[derive(Debug)]
pub struct PackedGemm<W = f32> {
    weight: Storage<W>,
    /// A factor for each row, where the type has such.
    scale: Aligned,
    bias: Aligned,
    in_features: usize,
    out_features: usize,
}

/// Where the weights of a fully connected layer are.
#[derive(Debug)]
enum Storage<W> {
    /// A copy, 64-byte aligned.
    Owned(Aligned<W>),
    /// Used where they lie.
    Shared(SharedBytes),
}

impl<W: Float> PackedGemm<W> {
    /// Copies `weight` (`[out, in]`), little-endian numbers of the type `W`, and `bias`, little-endian f32, for the layer `dims`.
    ///
    /// # Errors
    /// When a length does not fit the layer, or a value is not finite.
    pub fn pack(dims: GemmDims, weight: &[u8], bias: &[u8]) -> Result<Self, Error> {
        Self::of_parts(dims, Storage::copied(dims, weight)?, Aligned::zeroed(0), bias)
    }

    /// The same, but the weight is used where it lies if it can be: at an address that is a multiple of a number's bytes, on a
    /// little-endian machine. It is then not looked at: a value that is not finite goes into the sums of its row.
    ///
    /// # Errors
    /// When a length does not fit the layer, or a value is not finite that is looked at.
    pub fn share(dims: GemmDims, weight: &SharedBytes, bias: &[u8]) -> Result<Self, Error> {
        Self::of_parts(dims, Storage::shared(dims, weight)?, Aligned::zeroed(0), bias)
    }
}

impl PackedGemm<Int8> {
    /// Copies `weight` (`[out, in]`), whole numbers of one byte, and `scale` and `bias` of the rows, little-endian f32, for the layer `dims`.
    /// A weight is its number by the scale of its row.
    ///
    /// # Errors
    /// When a length does not fit the layer, or a value is not finite.
    pub fn pack_scaled(dims: GemmDims, weight: &[u8], scale: &[u8], bias: &[u8]) -> Result<Self, Error> {
        Self::of_parts(dims, Storage::copied(dims, weight)?, scales(dims, scale)?, bias)
    }

    /// The same, but the weight is used where it lies.
    ///
    /// # Errors
    /// When a length does not fit the layer, or a value is not finite.
    pub fn share_scaled(dims: GemmDims, weight: &SharedBytes, scale: &[u8], bias: &[u8]) -> Result<Self, Error> {
        Self::of_parts(dims, Storage::shared(dims, weight)?, scales(dims, scale)?, bias)
    }
}

fn scales(dims: GemmDims, scale: &[u8]) -> Result<Aligned, Error> {
    Values::new("the scale of the weight", scale, dims.out_features)?.aligned()
}

impl<W: Element> Storage<W> {
    fn copied(dims: GemmDims, weight: &[u8]) -> Result<Self, Error> {
        Values::new("the weight", weight, dims.check().out_features * dims.in_features)?.aligned().map(Self::Owned)
    }

    fn shared(dims: GemmDims, weight: &SharedBytes) -> Result<Self, Error> {
        if as_elements::<W>(weight.as_slice()).is_none() {
            return Self::copied(dims, weight.as_slice());
        }
        Values::<W>::new("the weight", weight.as_slice(), dims.check().out_features * dims.in_features)?;
        Ok(Self::Shared(weight.clone()))
    }
}

impl<W: Element> PackedGemm<W> {
    fn of_parts(dims: GemmDims, weight: Storage<W>, scale: Aligned, bias: &[u8]) -> Result<Self, Error> {
        let bias = Values::new("the bias", bias, dims.out_features)?.aligned()?;
        Ok(Self { weight, scale, bias, in_features: dims.in_features, out_features: dims.out_features })
    }

    /// Whether the weight is used where it lies.
    pub fn is_shared(&self) -> bool {
        matches!(self.weight, Storage::Shared(_))
    }

    /// The rows, once they are known to be those of `dims`.
    #[inline(always)]
    pub(crate) fn of(&self, dims: GemmDims) -> Rows<'_, W> {
        assert!(
            self.in_features == dims.in_features && self.out_features == dims.out_features,
            "gemm: the weights were packed for another layer: {} -> {} features",
            self.in_features,
            self.out_features
        );
        let weights = match &self.weight {
            Storage::Owned(weights) => weights.as_slice(),
            // An owner that gives other bytes than before gives none here, and the kernel refuses to read beyond them.
            Storage::Shared(bytes) => as_elements(bytes.as_slice()).unwrap_or_default(),
        };
        Rows { weights, scales: self.scale.as_slice(), bias: self.bias.as_slice() }
    }
}

/// What a fully connected layer reads beside its input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a, W> {
    /// `[out][in]`.
    pub(crate) weights: &'a [W],
    /// One for each row, or none where the type has no scales.
    pub(crate) scales: &'a [f32],
    /// One for each row.
    pub(crate) bias: &'a [f32],
}
