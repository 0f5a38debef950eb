//! Weights: from the bytes of a file to the order in which the kernels read them.

mod affine;
mod grouped;

use alloc::string::String;

use crate::Error;
use crate::aligned::Aligned;
use crate::kernels::conv::winograd;
use crate::shape::{Algorithm, ConvDims, GemmDims, PANEL};

pub use affine::PackedAffine;
pub(crate) use grouped::GroupedWeights;
pub use grouped::PackedGroupedConv;

/// Weights and biases of a convolution in the order in which its algorithm reads them, 64-byte aligned: panels of 16 output channels,
/// `[out / 16][in / block][row][column][block][16]`, or transformed, `[out / 64][frequency][panel of the 4][in][16]`. The channels that
/// fill up the last panel or block are zero.
#[derive(Debug)]
pub struct PackedConv {
    weight: Aligned,
    bias: Aligned,
    in_channels: usize,
    out_channels: usize,
    kernel: [usize; 2],
    block: usize,
    /// The transform, if there is one.
    transformed: Option<Algorithm>,
}

impl PackedConv {
    /// Packs `weight` (`OIHW`) and `bias`, both little-endian f32, for the layer `dims`.
    ///
    /// # Errors
    /// When a length does not fit the layer, or a value is not finite.
    pub fn pack(dims: ConvDims, weight: &[u8], bias: &[u8]) -> Result<Self, Error> {
        let dims = dims.check();
        let (in_channels, out_channels) = (dims.input.channels, dims.output.channels);
        let taps = dims.kernel[0] * dims.kernel[1];
        let weight = Values::new("the weight", weight, out_channels * in_channels * taps)?;
        let bias = Values::new("the bias", bias, out_channels)?;

        let transformed = transform(dims);
        let packed = if transformed.is_some() {
            weight.check()?;
            let mut packed = Aligned::zeroed(winograd::packed_len(dims));
            winograd::pack(dims, weight.values, packed.as_mut_slice());
            packed
        } else {
            panels(dims, &weight)?
        };
        let mut padded_bias = Aligned::zeroed(dims.panels() * PANEL);
        for (index, value) in padded_bias.as_mut_slice()[..out_channels].iter_mut().enumerate() {
            *value = bias.get(index)?;
        }
        Ok(Self {
            weight: packed,
            bias: padded_bias,
            in_channels,
            out_channels,
            kernel: dims.kernel,
            block: dims.input.block,
            transformed,
        })
    }

    /// The weights and the biases, once they are known to be those of `dims`.
    #[inline(always)]
    pub(crate) fn of(&self, dims: ConvDims) -> (&[f32], &[f32]) {
        assert!(
            self.in_channels == dims.input.channels
                && self.out_channels == dims.output.channels
                && self.kernel == dims.kernel
                && self.block == dims.input.block
                && self.transformed == transform(dims),
            "conv: the weights were packed for another layer: {} -> {} channels, kernel {:?}, block {}, transform {:?}",
            self.in_channels,
            self.out_channels,
            self.kernel,
            self.block,
            self.transformed
        );
        (self.weight.as_slice(), self.bias.as_slice())
    }
}

/// The transform of the weights of a layer.
fn transform(dims: ConvDims) -> Option<Algorithm> {
    dims.algorithm.is_winograd().then_some(dims.algorithm)
}

/// The panels of direct summation.
fn panels(dims: ConvDims, weight: &Values<'_>) -> Result<Aligned, Error> {
    let (in_channels, block) = (dims.input.channels, dims.input.block);
    let taps = dims.kernel[0] * dims.kernel[1];
    let mut packed = Aligned::zeroed(dims.panels() * dims.panel_len());
    let values = packed.as_mut_slice();
    for out in 0..dims.output.channels {
        let panel = out / PANEL * dims.panel_len() + out % PANEL;
        for channel in 0..in_channels {
            let from = (out * in_channels + channel) * taps;
            let to = panel + channel / block * dims.block_len() + channel % block * PANEL;
            for tap in 0..taps {
                values[to + tap * block * PANEL] = weight.get(from + tap)?;
            }
        }
    }
    Ok(packed)
}

/// Weights and biases of a fully connected layer: row-major `[out][in]`, as in the file, but 64-byte aligned.
#[derive(Debug)]
pub struct PackedGemm {
    weight: Aligned,
    bias: Aligned,
    in_features: usize,
    out_features: usize,
}

impl PackedGemm {
    /// Takes over `weight` (`[out, in]`) and `bias`, both little-endian f32, for the layer `dims`.
    ///
    /// # Errors
    /// When a length does not fit the layer, or a value is not finite.
    pub fn pack(dims: GemmDims, weight: &[u8], bias: &[u8]) -> Result<Self, Error> {
        let dims = dims.check();
        let weight = Values::new("the weight", weight, dims.out_features * dims.in_features)?.aligned()?;
        let bias = Values::new("the bias", bias, dims.out_features)?.aligned()?;
        Ok(Self { weight, bias, in_features: dims.in_features, out_features: dims.out_features })
    }

    /// The rows and the biases, once they are known to be those of `dims`.
    #[inline(always)]
    pub(crate) fn of(&self, dims: GemmDims) -> (&[f32], &[f32]) {
        assert!(
            self.in_features == dims.in_features && self.out_features == dims.out_features,
            "gemm: the weights were packed for another layer: {} -> {} features",
            self.in_features,
            self.out_features
        );
        (self.weight.as_slice(), self.bias.as_slice())
    }
}

/// A tensor of little-endian f32 in the bytes of a file.
struct Values<'a> {
    what: &'static str,
    values: &'a [[u8; 4]],
}

impl<'a> Values<'a> {
    fn new(what: &'static str, bytes: &'a [u8], expected: usize) -> Result<Self, Error> {
        let (values, rest) = bytes.as_chunks::<4>();
        if values.len() != expected || !rest.is_empty() {
            return Err(Error::Length { what, expected: expected * 4, found: bytes.len() });
        }
        Ok(Self { what, values })
    }

    #[inline(always)]
    fn get(&self, index: usize) -> Result<f32, Error> {
        let value = f32::from_le_bytes(self.values[index]);
        if value.is_finite() { Ok(value) } else { Err(Error::NotFinite { what: self.what, index, value }) }
    }

    /// Fails unless all values are finite.
    fn check(&self) -> Result<(), Error> {
        // Without an exit from the loop it runs on vectors.
        let finite = self.values.iter().fold(true, |finite, bytes| finite & f32::from_le_bytes(*bytes).is_finite());
        if !finite {
            for index in 0..self.values.len() {
                self.get(index)?;
            }
        }
        Ok(())
    }

    /// All values, in their order.
    fn aligned(&self) -> Result<Aligned, Error> {
        let mut aligned = Aligned::zeroed(self.values.len());
        let mut finite = true;
        for (value, bytes) in aligned.as_mut_slice().iter_mut().zip(self.values) {
            *value = f32::from_le_bytes(*bytes);
            finite &= value.is_finite();
        }
        if !finite {
            self.check()?;
        }
        Ok(aligned)
    }
}

/// A safetensors file whose header is known byte for byte, so that no parser is needed: tensors lie at known offsets.
#[derive(Clone, Copy, Debug)]
pub struct WeightsFile<'a> {
    data: &'a [u8],
}

impl<'a> WeightsFile<'a> {
    /// Checks that `bytes` are `header` (the 8 bytes of its length and the JSON) and then `data_len` bytes of tensors.
    ///
    /// # Errors
    /// When they are not.
    pub fn open(bytes: &'a [u8], header: &[u8], data_len: usize) -> Result<Self, Error> {
        let common = bytes.iter().zip(header).take_while(|(found, expected)| found == expected).count();
        if common < header.len() {
            return Err(Error::Header {
                offset: common,
                expected: excerpt(header, common),
                found: excerpt(bytes, common),
            });
        }
        let data = &bytes[header.len()..];
        if data.len() != data_len {
            return Err(Error::Length {
                what: "the weights file",
                expected: header.len() + data_len,
                found: bytes.len(),
            });
        }
        Ok(Self { data })
    }

    /// The `len` bytes of the tensor `name`, `offset` bytes behind the header.
    ///
    /// # Errors
    /// When they are not all inside the file.
    pub fn tensor(&self, name: &'static str, offset: usize, len: usize) -> Result<&'a [u8], Error> {
        let end = offset.saturating_add(len);
        self.data.get(offset..end).ok_or_else(|| {
            Error::Length { what: "the data of the weights file", expected: end, found: self.data.len() }.in_layer(name)
        })
    }
}

/// Some characters of `bytes` from `offset` on, safe to print.
fn excerpt(bytes: &[u8], offset: usize) -> String {
    const LEN: usize = 40;
    let rest = &bytes[offset.min(bytes.len())..];
    let mut text: String =
        rest.iter().take(LEN).flat_map(|byte| core::ascii::escape_default(*byte)).map(char::from).collect();
    if rest.is_empty() {
        text.push_str("<end of file>");
    }
    text
}

/// The whole content of a file.
///
/// # Errors
/// When it cannot be read; the error names the path.
#[cfg(feature = "std")]
pub fn read_file(path: &std::path::Path) -> Result<alloc::vec::Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Io { action: "read", path: path.into(), source })
}
