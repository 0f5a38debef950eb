//! Weights of a batch normalisation.

use super::values::Values;
use crate::Error;
use crate::aligned::Aligned;
use crate::shape::AffineDims;

/// The scale and the shift of each channel, computed from stored statistics in f64 and rounded once.
#[derive(Debug)]
pub struct PackedAffine {
    scale: Aligned,
    shift: Aligned,
    channels: usize,
    block: usize,
}

impl PackedAffine {
    /// Takes `scale`, `shift`, `mean` and `variance`, all little-endian f32 with a number for each channel, for the layer `dims`:
    /// `y = scale * (x - mean) / sqrt(variance + epsilon) + shift`.
    ///
    /// # Errors
    /// When a length does not fit the layer, or a value, or what is computed of it, is not finite.
    pub fn pack(dims: AffineDims, scale: &[u8], shift: &[u8], mean: &[u8], variance: &[u8]) -> Result<Self, Error> {
        let dims = dims.check();
        let (channels, block) = (dims.input.channels, dims.input.block);
        let scale = Values::<f32>::new("the scale", scale, channels)?;
        let shift = Values::<f32>::new("the shift", shift, channels)?;
        let mean = Values::<f32>::new("the mean", mean, channels)?;
        let variance = Values::<f32>::new("the variance", variance, channels)?;
        let len = dims.input.blocks() * block;
        let (mut scales, mut shifts) = (Aligned::zeroed(len), Aligned::zeroed(len));
        for index in 0..channels {
            let [scale, shift, mean, variance] =
                [scale.get(index)?, shift.get(index)?, mean.get(index)?, variance.get(index)?].map(f64::from);
            let factor = scale / crate::math::sqrt(variance + f64::from(dims.epsilon));
            let computed = [factor as f32, (shift - mean * factor) as f32];
            for (what, value) in ["what scale and variance give", "what shift and mean give"].into_iter().zip(computed)
            {
                if !value.is_finite() {
                    return Err(Error::NotFinite { what, index, value });
                }
            }
            scales.as_mut_slice()[index] = computed[0];
            shifts.as_mut_slice()[index] = computed[1];
        }
        Ok(Self { scale: scales, shift: shifts, channels, block })
    }

    /// The scales and the shifts, once they are known to be those of `dims`.
    #[inline(always)]
    pub(crate) fn of(&self, dims: AffineDims) -> (&[f32], &[f32]) {
        assert!(
            self.channels == dims.input.channels && self.block == dims.input.block,
            "affine: the weights were packed for another layer: {} channels, block {}",
            self.channels,
            self.block
        );
        (self.scale.as_slice(), self.shift.as_slice())
    }
}
