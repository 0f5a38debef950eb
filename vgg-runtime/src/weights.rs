//! Weights: from the bytes of a file to the order in which the kernels read them.

mod affine;
mod grouped;

use alloc::string::String;
#[cfg(feature = "std")]
use alloc::sync::Arc;
use core::marker::PhantomData;
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
use crate::memory::{SharedBytes, as_elements, populate};
use crate::shape::{AffineDims, Algorithm, ConvDims, GemmDims, GroupedConvDims, PANEL};
use crate::simd::{Element, Float, Int8, Simd};
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
            let finite = winograd::pack(dims, values.words(), packed.as_mut_slice());
            (packed, finite)
        } else {
            panels(dims, values.words())
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
        let bias: Values<'_> = Values::new("the bias", bias, out_channels)?;
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

/// Values that are copied or looked at together: they stay in a second-level cache.
const RUN: usize = 1 << 16;

/// A tensor of little-endian numbers in the bytes of a file.
struct Values<'a, W = f32> {
    what: &'static str,
    bytes: &'a [u8],
    len: usize,
    numbers: PhantomData<fn() -> W>,
}

impl<'a, W: Element> Values<'a, W> {
    fn new(what: &'static str, bytes: &'a [u8], expected: usize) -> Result<Self, Error> {
        if bytes.len() != expected * size_of::<W>() {
            return Err(Error::Length { what, expected: expected * size_of::<W>(), found: bytes.len() });
        }
        Ok(Self { what, bytes, len: expected, numbers: PhantomData })
    }

    #[inline(always)]
    fn get(&self, index: usize) -> Result<f32, Error> {
        let value = W::from_le_bytes(&self.bytes[index * size_of::<W>()..]);
        if value.is_finite() {
            Ok(value.to_f32())
        } else {
            Err(Error::NotFinite { what: self.what, index, value: value.to_f32() })
        }
    }

    /// The bytes of the values that are copied or looked at together.
    fn run(&self, run: usize) -> &'a [u8] {
        &self.bytes[run * RUN * size_of::<W>()..self.bytes.len().min((run + 1) * RUN * size_of::<W>())]
    }

    /// Fails unless all values are finite.
    fn check(&self) -> Result<(), Error> {
        let finite = AtomicBool::new(true);
        share_out(self.len.div_ceil(RUN), self.len, |run| {
            if !all_finite::<W>(self.run(run)) {
                finite.store(false, Ordering::Relaxed);
            }
        });
        if !finite.into_inner() {
            for index in 0..self.len {
                self.get(index)?;
            }
        }
        Ok(())
    }

    /// All values, in their order.
    fn aligned(&self) -> Result<Aligned<W>, Error> {
        let mut aligned = Aligned::zeroed(self.len);
        let finite = AtomicBool::new(true);
        in_chunks(aligned.as_mut_slice(), RUN, |run, target| {
            populate(target);
            let bytes = self.run(run);
            for (target, bytes) in target.iter_mut().zip(bytes.chunks_exact(size_of::<W>())) {
                *target = W::from_le_bytes(bytes);
            }
            if !all_finite::<W>(bytes) {
                finite.store(false, Ordering::Relaxed);
            }
        });
        if !finite.into_inner() {
            self.check()?;
        }
        Ok(aligned)
    }
}

impl<'a> Values<'a> {
    /// The four bytes of each value.
    fn words(&self) -> &'a [[u8; 4]] {
        self.bytes.as_chunks().0
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
    pub fn gemm<W: Float>(
        &self,
        layer: &str,
        dims: GemmDims,
        tensors: [TensorPlace; 2],
    ) -> Result<PackedGemm<W>, Error> {
        let [weight, bias] = self.tensors(&tensors)?;
        let packed = match self.shared(&tensors[0]) {
            Some(shared) => Values::<W>::new("the weight", weight, dims.out_features * dims.in_features)
                .and_then(|values| values.check())
                .and_then(|()| PackedGemm::share(dims, &shared, bias)),
            None => PackedGemm::pack(dims, weight, bias),
        };
        packed.map_err(|error| error.in_layer(layer))
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

    /// The same for weights of int8: `tensors` are the weight, the scale of its rows, and the bias.
    ///
    /// # Errors
    /// As [`WeightsFile::tensor`] and [`PackedGemm::share_scaled`].
    pub fn gemm_scaled(
        &self,
        layer: &str,
        dims: GemmDims,
        tensors: [TensorPlace; 3],
    ) -> Result<PackedGemm<Int8>, Error> {
        let [weight, scale, bias] = self.tensors(&tensors)?;
        let packed = match self.shared(&tensors[0]) {
            Some(weight) => PackedGemm::share_scaled(dims, &weight, scale, bias),
            None => PackedGemm::pack_scaled(dims, weight, scale, bias),
        };
        packed.map_err(|error| error.in_layer(layer))
    }

    fn tensors<const N: usize>(&self, places: &[TensorPlace; N]) -> Result<[&[u8]; N], Error> {
        let mut tensors: [&[u8]; N] = [&[]; N];
        for (tensor, (name, place)) in tensors.iter_mut().zip(places) {
            *tensor = self.tensor(name, place.start, place.len())?;
        }
        Ok(tensors)
    }

    /// The tensor at `place`, if it can be used where it lies.
    #[cfg_attr(not(feature = "std"), allow(unused_variables, reason = "there are no files"))]
    fn shared(&self, place: &TensorPlace) -> Option<SharedBytes> {
        #[cfg(feature = "std")]
        return self.part(place).map(SharedBytes::new);
        #[cfg(not(feature = "std"))]
        None
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
