//! A weights file that generated code knows byte for byte.

use alloc::boxed::Box;
use alloc::string::String;
#[cfg(feature = "std")]
use alloc::sync::Arc;
use core::ops::Range;

use super::affine::PackedAffine;
use super::conv::PackedConv;
use super::gemm::PackedGemm;
use super::grouped::PackedGroupedConv;
use super::values::Values;
use crate::Error;
use crate::memory::SharedBytes;
#[cfg(feature = "std")]
use crate::memory::{FileBytes, FilePart};
use crate::shape::{AffineDims, ConvDims, GemmDims, GroupedConvDims};
use crate::simd::{Float, Int8};

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
        // Its pages are given back in the end.
        #[cfg(feature = "std")]
        let _part = self.part(&tensors[0]);
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

    /// The numbers of the tensor `name` of f32, such as a mean image, `offset` bytes behind the header.
    ///
    /// # Errors
    /// As [`WeightsFile::tensor`], and when a number is not finite.
    pub fn numbers(&self, name: &'static str, offset: usize, len: usize) -> Result<Box<[f32]>, Error> {
        let count = len / size_of::<f32>();
        let values = Values::<f32>::new("the tensor", self.tensor(name, offset, len)?, count);
        let numbers = values.and_then(|values| (0..count).map(|index| values.get(index)).collect());
        numbers.map_err(|error| error.in_layer(name))
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
