//! Weights of a convolution with groups or dilations.

use alloc::vec::Vec;

use super::conv::PackedConv;
use super::values::Values;
use crate::Error;
use crate::aligned::Aligned;
use crate::kernels::conv::grouped::{group_panels, panel_len};
use crate::shape::{BLOCK, GroupedAlgorithm, GroupedConvDims};

/// Weights and biases of a convolution with groups or dilations in the order in which its algorithm reads them: each group by itself, or
/// panels of eight output channels of one group (of eight groups, where a group is one channel).
#[derive(Debug)]
pub struct PackedGroupedConv {
    packed: Packed,
    /// What must be the same in a layer that reads them.
    key: ([usize; 2], [usize; 2], usize, usize, GroupedAlgorithm),
}

#[derive(Debug)]
enum Packed {
    Each(Vec<PackedConv>),
    Together { weight: Aligned, bias: Aligned },
}

/// The weights as a kernel reads them.
pub(crate) enum GroupedWeights<'a> {
    /// Each group by itself.
    Each(&'a [PackedConv]),
    /// Panels and biases.
    Together(&'a [f32], &'a [f32]),
}

fn key(dims: GroupedConvDims) -> ([usize; 2], [usize; 2], usize, usize, GroupedAlgorithm) {
    ([dims.input.channels, dims.output.channels], dims.kernel, dims.groups, dims.input.block, dims.algorithm)
}

impl PackedGroupedConv {
    /// Packs `weight` (`OIHW`, where `I` are the input channels of a group) and `bias`, both little-endian f32, for the layer `dims`.
    ///
    /// # Errors
    /// When a length does not fit the layer, or a value is not finite.
    pub fn pack(dims: GroupedConvDims, weight: &[u8], bias: &[u8]) -> Result<Self, Error> {
        let dims = dims.check();
        let taps = dims.kernel[0] * dims.kernel[1];
        let weights = Values::<f32>::new("the weight", weight, dims.output.channels * dims.group_inputs() * taps)?;
        let biases = Values::<f32>::new("the bias", bias, dims.output.channels)?;
        let packed = match dims.algorithm {
            GroupedAlgorithm::Each(algorithm) => {
                weights.check()?;
                biases.check()?;
                let parts =
                    weight.chunks_exact(weight.len() / dims.groups).zip(bias.chunks_exact(bias.len() / dims.groups));
                let pack = |(weight, bias)| PackedConv::pack(dims.group(algorithm), weight, bias);
                Packed::Each(parts.map(pack).collect::<Result<_, _>>()?)
            }
            GroupedAlgorithm::Depthwise | GroupedAlgorithm::General => panels(dims, &weights, &biases)?,
        };
        Ok(Self { packed, key: key(dims) })
    }

    /// The weights and the biases, once they are known to be those of `dims`.
    #[inline(always)]
    pub(crate) fn of(&self, dims: GroupedConvDims) -> GroupedWeights<'_> {
        assert!(self.key == key(dims), "grouped conv: the weights were packed for another layer: {:?}", self.key);
        match &self.packed {
            Packed::Each(groups) => GroupedWeights::Each(groups),
            Packed::Together { weight, bias } => GroupedWeights::Together(weight.as_slice(), bias.as_slice()),
        }
    }
}

fn panels(dims: GroupedConvDims, weight: &Values<'_, f32>, bias: &Values<'_, f32>) -> Result<Packed, Error> {
    let depthwise = dims.algorithm == GroupedAlgorithm::Depthwise;
    let taps = dims.group_inputs() * dims.kernel[0] * dims.kernel[1];
    let count = if depthwise { dims.output.blocks() } else { dims.groups * group_panels(dims) };
    let mut packed = Aligned::zeroed(count * panel_len(dims));
    let mut biases = Aligned::zeroed(count * BLOCK);
    for channel in 0..dims.output.channels {
        // Eight channels of one group share a panel; of single channels, eight groups do.
        let (panel, lane) = if depthwise {
            (channel / BLOCK, channel % BLOCK)
        } else {
            let (group, own) = (channel / dims.group_outputs(), channel % dims.group_outputs());
            (group * group_panels(dims) + own / BLOCK, own % BLOCK)
        };
        biases.as_mut_slice()[panel * BLOCK + lane] = bias.get(channel)?;
        for tap in 0..taps {
            packed.as_mut_slice()[panel * panel_len(dims) + tap * BLOCK + lane] = weight.get(channel * taps + tap)?;
        }
    }
    Ok(Packed::Together { weight: packed, bias: biases })
}
