//! Weights of a convolution.

use core::sync::atomic::{AtomicBool, Ordering};

use super::values::Values;
use crate::Error;
use crate::aligned::Aligned;
use crate::kernels::conv::{Weights, winograd};
#[cfg(feature = "std")]
use crate::later::{Later, Turn};
use crate::memory::{SharedBytes, populate};
use crate::shape::{Algorithm, ConvDims, PANEL};
use crate::simd::Simd;
use crate::threads::{Threads, in_chunks};

/// Weights and biases of a convolution in the order in which its algorithm reads them, 64-byte aligned: panels of 16 output channels,
/// `[out / 16][in / block][row][column][block][16]`, or transformed, `[out / 16 p][frequency][panel of the p][in][16]` where 1 or 2 panels
/// are transformed together. The channels that fill up the last panel or block are zero.
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
    // One image transforms them once for each of its chunks, which are few; several images would do so for each image.
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
