//! Weights: from the bytes of a file to the order in which the kernels read them.

mod affine;
mod grouped;

use alloc::string::String;
#[cfg(feature = "std")]
use alloc::sync::Arc;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::Error;
use crate::aligned::Aligned;
use crate::finite::all_finite;
use crate::kernels::conv::{Weights, winograd};
#[cfg(feature = "std")]
use crate::later::{Later, Turn};
#[cfg(feature = "std")]
use crate::memory::{FileBytes, FilePart};
use crate::memory::{SharedBytes, as_values, populate};
use crate::shape::{AffineDims, Algorithm, ConvDims, GemmDims, GroupedConvDims, PANEL};
use crate::simd::Simd;
use crate::threads::{Threads, in_chunks, share_out};

pub use affine::PackedAffine;
pub(crate) use grouped::GroupedWeights;
pub use grouped::PackedGroupedConv;

/// Weights and biases of a convolution in the order in which its algorithm reads them, 64-byte aligned: panels of 16 output channels,
/// `[out / 16][in / block][row][column][block][16]`, or transformed, `[out / 64][frequency][panel of the 4][in][16]`. The channels that
/// fill up the last panel or block are zero.
#[derive(Debug)]
pub struct PackedConv {
    weight: Kernels,
    bias: Aligned,
    in_channels: usize,
    out_channels: usize,
    kernel: [usize; 2],
    block: usize,
    /// The transform, if there is one.
    transformed: Option<Algorithm>,
}

/// The weights of a convolution.
#[derive(Debug)]
enum Kernels {
    Packed(Aligned),
    /// Transformed when they are used for the second time.
    #[cfg(feature = "std")]
    Later(Later),
}

impl PackedConv {
    /// Packs `weight` (`OIHW`) and `bias`, both little-endian f32, for the layer `dims`.
    ///
    /// # Errors
    /// When a length does not fit the layer, or a value is not finite.
    pub fn pack(dims: ConvDims, weight: &[u8], bias: &[u8]) -> Result<Self, Error> {
        let dims = dims.check();
        let values = Self::values(dims, weight)?;
        let (packed, finite) = if transform(dims).is_some() {
            let mut packed = Aligned::zeroed(winograd::packed_len(dims));
            let finite = winograd::pack(dims, values.values, packed.as_mut_slice());
            (packed, finite)
        } else {
            panels(dims, values.values)
        };
        if !finite {
            values.check()?;
        }
        Self::of_kernels(dims, Kernels::Packed(packed), bias)
    }

    /// The same for a weight that has other owners. When a batch is one image and the transformed weight is large, it is transformed by
    /// the first inference as it goes, and packed by the second; until then the plain weight is used where it lies.
    ///
    /// # Errors
    /// When a length does not fit the layer, or a value is not finite.
    pub fn share(dims: ConvDims, weight: &SharedBytes, bias: &[u8]) -> Result<Self, Error> {
        #[cfg(feature = "std")]
        if dims.check().batch == 1 && winograd::can_wait(dims) {
            Self::values(dims, weight.as_slice())?.check()?;
            let later = Later::new(weight.clone(), winograd::packed_len(dims));
            return Self::of_kernels(dims, Kernels::Later(later), bias);
        }
        Self::pack(dims, weight.as_slice(), bias)
    }

    fn values(dims: ConvDims, weight: &[u8]) -> Result<Values<'_>, Error> {
        let count = dims.output.channels * dims.input.channels * dims.kernel[0] * dims.kernel[1];
        Values::new("the weight", weight, count)
    }

    fn of_kernels(dims: ConvDims, weight: Kernels, bias: &[u8]) -> Result<Self, Error> {
        let out_channels = dims.output.channels;
        let bias = Values::new("the bias", bias, out_channels)?;
        let mut padded_bias = Aligned::zeroed(dims.panels() * PANEL);
        for (index, value) in padded_bias.as_mut_slice()[..out_channels].iter_mut().enumerate() {
            *value = bias.get(index)?;
        }
        Ok(Self {
            weight,
            bias: padded_bias,
            in_channels: dims.input.channels,
            out_channels,
            kernel: dims.kernel,
            block: dims.input.block,
            transformed: transform(dims),
        })
    }

    /// The weights and the biases for an inference with the `threads`, once they are known to be those of `dims`.
    #[inline(always)]
    pub(crate) fn of<S: Simd>(&self, simd: S, threads: &Threads, dims: ConvDims) -> (Weights<'_>, &[f32]) {
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
        #[cfg(not(feature = "std"))]
        let _ = (simd, threads);
        let weights = match &self.weight {
            Kernels::Packed(weights) => Weights::Packed(weights.as_slice()),
            #[cfg(feature = "std")]
            Kernels::Later(later) => transformed(simd, threads, dims, later),
        };
        (weights, self.bias.as_slice())
    }
}

/// The weights of an inference with `threads`: plain for the first, and those that are kept from the second on.
#[cfg(feature = "std")]
fn transformed<'a, S: Simd>(simd: S, threads: &Threads, dims: ConvDims, later: &'a Later) -> Weights<'a> {
    // A batch of several images would transform them several times.
    match later.turn(dims.batch == 1) {
        Turn::Transformed(weights) => Weights::Packed(weights),
        Turn::Plain(weight) => Weights::Plain(weight),
        Turn::Fill(weight, mut room) => {
            winograd::pack_on(simd, threads, dims, weight.as_slice().as_chunks().0, room.as_mut_slice());
            Weights::Packed(later.keep(room))
        }
    }
}

/// The transform of the weights of a layer.
fn transform(dims: ConvDims) -> Option<Algorithm> {
    dims.algorithm.is_winograd().then_some(dims.algorithm)
}

/// The panels of direct summation, and whether all weights are finite.
fn panels(dims: ConvDims, weight: &[[u8; 4]]) -> (Aligned, bool) {
    let (in_channels, block) = (dims.input.channels, dims.input.block);
    let taps = dims.kernel[0] * dims.kernel[1];
    let mut packed = Aligned::zeroed(dims.panels() * dims.panel_len());
    let all_finite = AtomicBool::new(true);
    in_chunks(packed.as_mut_slice(), dims.panel_len(), |panel, values| {
        populate(values);
        let first = panel * PANEL * in_channels * taps;
        let filters = weight[first..weight.len().min(first + PANEL * in_channels * taps)].chunks_exact(taps);
        for (filter, taps) in filters.enumerate() {
            let (lane, channel) = (filter / in_channels, filter % in_channels);
            let to = channel / block * dims.block_len() + channel % block * PANEL + lane;
            let mut finite = true;
            for (tap, bytes) in taps.iter().enumerate() {
                let value = f32::from_le_bytes(*bytes);
                finite &= value.is_finite();
                values[to + tap * block * PANEL] = value;
            }
            if !finite {
                all_finite.store(false, Ordering::Relaxed);
            }
        }
    });
    let finite = all_finite.into_inner();
    (packed, finite)
}

/// Weights and biases of a fully connected layer: row-major `[out][in]`, as in the file.
#[derive(Debug)]
pub struct PackedGemm {
    weight: Rows,
    bias: Aligned,
    in_features: usize,
    out_features: usize,
}

/// The rows of a fully connected layer.
#[derive(Debug)]
enum Rows {
    /// A copy, 64-byte aligned.
    Owned(Aligned),
    /// Used where they lie.
    Shared(SharedBytes),
}

impl PackedGemm {
    /// Copies `weight` (`[out, in]`) and `bias`, both little-endian f32, for the layer `dims`.
    ///
    /// # Errors
    /// When a length does not fit the layer, or a value is not finite.
    pub fn pack(dims: GemmDims, weight: &[u8], bias: &[u8]) -> Result<Self, Error> {
        let dims = dims.check();
        let rows = Values::new("the weight", weight, dims.out_features * dims.in_features)?.aligned()?;
        Self::of_rows(dims, Rows::Owned(rows), bias)
    }

    /// The same, but the weight is used where it lies if it can be: at an address that is a multiple of four, on a little-endian machine.
    /// It is then not looked at: a value that is not finite goes into the sums of its row.
    ///
    /// # Errors
    /// When a length does not fit the layer, or a value is not finite that is looked at.
    pub fn share(dims: GemmDims, weight: &SharedBytes, bias: &[u8]) -> Result<Self, Error> {
        let dims = dims.check();
        if as_values(weight.as_slice()).is_none() {
            return Self::pack(dims, weight.as_slice(), bias);
        }
        Values::new("the weight", weight.as_slice(), dims.out_features * dims.in_features)?;
        Self::of_rows(dims, Rows::Shared(weight.clone()), bias)
    }

    fn of_rows(dims: GemmDims, weight: Rows, bias: &[u8]) -> Result<Self, Error> {
        let bias = Values::new("the bias", bias, dims.out_features)?.aligned()?;
        Ok(Self { weight, bias, in_features: dims.in_features, out_features: dims.out_features })
    }

    /// Whether the weight is used where it lies.
    pub fn is_shared(&self) -> bool {
        matches!(self.weight, Rows::Shared(_))
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
        let weight = match &self.weight {
            Rows::Owned(rows) => rows.as_slice(),
            // An owner that gives other bytes than before gives none here, and the kernel refuses to read beyond them.
            Rows::Shared(bytes) => as_values(bytes.as_slice()).unwrap_or_default(),
        };
        (weight, self.bias.as_slice())
    }
}

/// Values that are copied or looked at together: they stay in a second-level cache.
const RUN: usize = 1 << 16;

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
        let finite = AtomicBool::new(true);
        share_out(self.values.len().div_ceil(RUN), self.values.len(), |run| {
            if !all_finite(&self.values[run * RUN..self.values.len().min((run + 1) * RUN)]) {
                finite.store(false, Ordering::Relaxed);
            }
        });
        if !finite.into_inner() {
            for index in 0..self.values.len() {
                self.get(index)?;
            }
        }
        Ok(())
    }

    /// All values, in their order.
    fn aligned(&self) -> Result<Aligned, Error> {
        let mut aligned = Aligned::zeroed(self.values.len());
        let finite = AtomicBool::new(true);
        in_chunks(aligned.as_mut_slice(), RUN, |run, target| {
            populate(target);
            let values = &self.values[run * RUN..][..target.len()];
            for (target, bytes) in target.iter_mut().zip(values) {
                *target = f32::from_le_bytes(*bytes);
            }
            if !all_finite(values) {
                finite.store(false, Ordering::Relaxed);
            }
        });
        if !finite.into_inner() {
            self.check()?;
        }
        Ok(aligned)
    }
}

/// A safetensors file whose header is known byte for byte, so that no parser is needed: tensors lie at known offsets.
#[derive(Clone, Debug)]
pub struct WeightsFile<'a> {
    content: Content<'a>,
    /// Bytes of the header.
    header_len: usize,
}

#[derive(Clone, Debug)]
enum Content<'a> {
    Borrowed(&'a [u8]),
    #[cfg(feature = "std")]
    File(Arc<FileBytes>),
}

/// The key of a tensor, for messages, and its bytes as offsets behind the header.
pub type TensorPlace = (&'static str, Range<usize>);

impl<'a> WeightsFile<'a> {
    /// Checks that `bytes` are `header` (the 8 bytes of its length and the JSON) and then `data_len` bytes of tensors.
    ///
    /// # Errors
    /// When they are not.
    pub fn open(bytes: &'a [u8], header: &[u8], data_len: usize) -> Result<Self, Error> {
        Self { content: Content::Borrowed(bytes), header_len: header.len() }.checked(header, data_len)
    }

    /// The same for a file. Its tensors are used in place where that is possible.
    ///
    /// # Errors
    /// When it is another file.
    #[cfg(feature = "std")]
    pub fn of_file(file: FileBytes, header: &[u8], data_len: usize) -> Result<Self, Error> {
        Self { content: Content::File(Arc::new(file)), header_len: header.len() }.checked(header, data_len)
    }

    fn checked(self, header: &[u8], data_len: usize) -> Result<Self, Error> {
        let bytes = self.bytes();
        let common = bytes.iter().zip(header).take_while(|(found, expected)| found == expected).count();
        if common < header.len() {
            return Err(Error::Header {
                offset: common,
                expected: excerpt(header, common),
                found: excerpt(bytes, common),
            });
        }
        if bytes.len() - header.len() != data_len {
            return Err(Error::Length {
                what: "the weights file",
                expected: header.len() + data_len,
                found: bytes.len(),
            });
        }
        Ok(self)
    }

    fn bytes(&self) -> &[u8] {
        match &self.content {
            Content::Borrowed(bytes) => bytes,
            #[cfg(feature = "std")]
            Content::File(file) => (**file).as_ref(),
        }
    }

    /// The `len` bytes of the tensor `name`, `offset` bytes behind the header.
    ///
    /// # Errors
    /// When they are not all inside the file.
    pub fn tensor(&self, name: &'static str, offset: usize, len: usize) -> Result<&[u8], Error> {
        let data = &self.bytes()[self.header_len..];
        let end = offset.saturating_add(len);
        data.get(offset..end).ok_or_else(|| {
            Error::Length { what: "the data of the weights file", expected: end, found: data.len() }.in_layer(name)
        })
    }

    /// The weights of the convolution `layer`, packed or to be packed.
    ///
    /// # Errors
    /// As [`WeightsFile::tensor`] and [`PackedConv::share`].
    pub fn conv(&self, layer: &str, dims: ConvDims, tensors: [TensorPlace; 2]) -> Result<PackedConv, Error> {
        let [weight, bias] = self.tensors(&tensors)?;
        #[cfg(feature = "std")]
        if let Some(part) = self.part(&tensors[0]) {
            return PackedConv::share(dims, &SharedBytes::new(part), bias).map_err(|error| error.in_layer(layer));
        }
        PackedConv::pack(dims, weight, bias).map_err(|error| error.in_layer(layer))
    }

    /// The packed weights of the fully connected `layer`: those in a file where they lie, if they can be used there.
    ///
    /// # Errors
    /// As [`WeightsFile::tensor`] and [`PackedGemm::pack`].
    pub fn gemm(&self, layer: &str, dims: GemmDims, tensors: [TensorPlace; 2]) -> Result<PackedGemm, Error> {
        let [weight, bias] = self.tensors(&tensors)?;
        #[cfg(feature = "std")]
        if let Some(part) = self.part(&tensors[0]) {
            let checked =
                Values::new("the weight", weight, dims.out_features * dims.in_features).and_then(|v| v.check());
            return checked
                .and_then(|()| PackedGemm::share(dims, &SharedBytes::new(part), bias))
                .map_err(|error| error.in_layer(layer));
        }
        PackedGemm::pack(dims, weight, bias).map_err(|error| error.in_layer(layer))
    }

    /// The packed weights of the grouped or dilated convolution `layer`.
    ///
    /// # Errors
    /// As [`WeightsFile::tensor`] and [`PackedGroupedConv::pack`].
    pub fn grouped_conv(
        &self,
        layer: &str,
        dims: GroupedConvDims,
        tensors: [TensorPlace; 2],
    ) -> Result<PackedGroupedConv, Error> {
        let [weight, bias] = self.tensors(&tensors)?;
        PackedGroupedConv::pack(dims, weight, bias).map_err(|error| error.in_layer(layer))
    }

    /// The scales and shifts of the normalisation `layer`.
    ///
    /// # Errors
    /// As [`WeightsFile::tensor`] and [`PackedAffine::pack`].
    pub fn affine(&self, layer: &str, dims: AffineDims, tensors: [TensorPlace; 4]) -> Result<PackedAffine, Error> {
        let [scale, shift, mean, variance] = self.tensors(&tensors)?;
        PackedAffine::pack(dims, scale, shift, mean, variance).map_err(|error| error.in_layer(layer))
    }

    fn tensors<const N: usize>(&self, places: &[TensorPlace; N]) -> Result<[&[u8]; N], Error> {
        let mut tensors: [&[u8]; N] = [&[]; N];
        for (tensor, (name, place)) in tensors.iter_mut().zip(places) {
            *tensor = self.tensor(name, place.start, place.len())?;
        }
        Ok(tensors)
    }

    /// The tensor at `place` of a file; its memory is given back when it is dropped.
    #[cfg(feature = "std")]
    fn part(&self, (_, place): &TensorPlace) -> Option<FilePart> {
        match &self.content {
            Content::Borrowed(_) => None,
            Content::File(file) => FilePart::new(file, self.header_len + place.start..self.header_len + place.end),
        }
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
