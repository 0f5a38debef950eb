//! select_algorithm: how each convolution is computed.
//!
//! A model of the time, in multiply-adds that an arithmetic-bound kernel does meanwhile, chooses among the candidates:
//!
//! `cost = products + transforms + weight bytes * BYTE`
//!
//! - *Products* are multiply-adds. A tile of Winograd's algorithm at `n` x `n` points takes `n * n` for each pair of channels; narrower
//!   tiles at the right and lower edge take fewer.
//! - *Transforms* take as long as `TRANSFORM` multiply-adds for each point of a tile and each channel, of the input and of the output.
//! - *Weights* are `n * n` for each pair of channels.
//! - A 5x5 convolution of stride 2 is a 3x3 convolution of stride 1 on four times as many input channels.
//!
//! The choice is the same for every batch, since an image must give the same bits alone and among others. What the model leaves out
//! (caches, threads, pools) favours none of the candidates by much. The two constants come from timing the
//! layers of VGG-D (see docs/performance.md).

use crate::ir::Conv;

use super::step::{Algorithm, BLOCK, Blocked};

/// Multiply-adds in the time of reading one byte of weights, where arithmetic hides a part of it.
const BYTE: f64 = 2.0;

/// Multiply-adds in the time that transforms take for each point of a tile and each channel.
const TRANSFORM: f64 = 16.0;

/// Output channels are computed in panels of so many.
const PANEL: usize = 16;

/// How the groups of a convolution are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Groups {
    /// There is one, whose taps are neighbours.
    One,
    /// Each by itself, as if it were the only one: their channels fill whole blocks.
    Each,
    /// All together, by an algorithm for groups and dilations.
    Together,
}

/// How the groups of `conv` on `channels` input channels are computed.
pub(super) fn groups(conv: &Conv, channels: usize) -> Groups {
    let dilated = (0..2).any(|axis| conv.kernel_shape[axis] > 1 && conv.dilations[axis] > 1);
    let blocks = |channels: usize| (channels / conv.group).is_multiple_of(BLOCK);
    match conv.group {
        _ if dilated => Groups::Together,
        1 => Groups::One,
        _ if blocks(channels) && blocks(conv.out_channels) => Groups::Each,
        _ => Groups::Together,
    }
}

/// The cheapest algorithm for `conv` on `input`. With `exact`, those that transform their operands are left out.
pub(super) fn select_algorithm(conv: &Conv, input: Blocked, exact: bool) -> Algorithm {
    match groups(conv, input.channels) {
        Groups::One => {}
        Groups::Each => {
            let own = Conv { out_channels: conv.out_channels / conv.group, group: 1, ..*conv };
            return select_algorithm(&own, Blocked { channels: input.channels / conv.group, ..input }, exact);
        }
        Groups::Together => {
            let depthwise = conv.group == input.channels && conv.group == conv.out_channels;
            return if depthwise && input.block == BLOCK { Algorithm::Depthwise } else { Algorithm::General };
        }
    }
    let unit_stride = conv.strides == [1, 1];
    if conv.kernel_shape == [1, 1] && unit_stride && conv.pads == [0; 4] {
        return Algorithm::Gemm;
    }
    let candidates: &[Algorithm] = match (conv.kernel_shape, conv.strides) {
        _ if exact || input.block != BLOCK => &[],
        ([3, 3], [1, 1]) | ([5, 5], [2, 2]) => &[Algorithm::WinogradF4, Algorithm::WinogradF6],
        ([5, 5], [1, 1]) => &[Algorithm::WinogradF4],
        _ => &[],
    };
    let mut best = Algorithm::Direct;
    for &algorithm in candidates {
        if cost(algorithm, conv, input) < cost(best, conv, input) {
            best = algorithm;
        }
    }
    best
}

/// The model for a convolution with the same kernel and stride along both axes.
fn cost(algorithm: Algorithm, conv: &Conv, input: Blocked) -> f64 {
    let ([kernel, _], [stride, _], [top, left, bottom, right]) = (conv.kernel_shape, conv.strides, conv.pads);
    let height = (input.height + top + bottom - kernel) / stride + 1;
    let width = (input.width + left + right - kernel) / stride + 1;
    let inputs = input.channels.next_multiple_of(BLOCK) as f64;
    let outputs = conv.out_channels.next_multiple_of(PANEL) as f64;
    let size = match algorithm {
        Algorithm::Direct | Algorithm::Gemm => {
            let weights = (kernel * kernel) as f64 * inputs * outputs;
            return (height * width) as f64 * weights + BYTE * 4.0 * weights;
        }
        Algorithm::WinogradF6 => 6,
        _ => 4,
    };
    // With a stride, the pixels of each phase are input channels of their own, which fewer taps meet.
    let (taps, inputs) = (kernel.div_ceil(stride), inputs * (stride * stride) as f64);
    let points_of = |extent| points(extent, size, taps) as f64;
    let whole = (size + taps - 1) as f64;
    points_of(height) * points_of(width) * (inputs * outputs + TRANSFORM * (inputs + outputs))
        + BYTE * 4.0 * whole * whole * inputs * outputs
}

/// Points of the tiles along an axis: `taps - 1` more than its outputs for each tile, the last of which has an even number of outputs.
fn points(extent: usize, size: usize, taps: usize) -> usize {
    let (whole, rest) = (extent / size, extent % size);
    let last = if rest == 0 { 0 } else { rest.next_multiple_of(2) + taps - 1 };
    whole * (size + taps - 1) + last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(out_channels: usize) -> Conv {
        Conv { pads: [1; 4], ..Conv::new(out_channels, [3, 3]) }
    }

    fn image(channels: usize, size: usize) -> Blocked {
        let block = if channels < BLOCK { 1 } else { BLOCK };
        Blocked { channels, height: size, width: size, block, halo: [1; 4] }
    }

    #[test]
    fn only_a_plain_pointwise_convolution_is_a_matrix_product() {
        let conv = Conv { kernel_shape: [1, 1], pads: [0; 4], ..conv(4) };
        let select = |conv: Conv| select_algorithm(&conv, image(8, 9), false);
        assert_eq!(select(conv), Algorithm::Gemm);
        assert_eq!(select(Conv { strides: [2, 2], ..conv }), Algorithm::Direct);
        assert_eq!(select(Conv { pads: [1; 4], ..conv }), Algorithm::Direct);
    }

    #[test]
    fn other_kernels_strides_and_planar_inputs_are_summed_directly() {
        let select = |conv: Conv, channels| select_algorithm(&conv, image(channels, 56), false);
        assert_eq!(select(conv(64), 64), Algorithm::WinogradF6);
        assert_eq!(select(conv(64), 3), Algorithm::Direct);
        assert_eq!(select(Conv { strides: [2, 2], ..conv(64) }, 64), Algorithm::Direct);
        assert_eq!(select(Conv { kernel_shape: [7, 7], pads: [3; 4], ..conv(64) }, 64), Algorithm::Direct);
        assert_eq!(select(Conv { kernel_shape: [3, 1], ..conv(64) }, 64), Algorithm::Direct);
    }

    #[test]
    fn larger_kernels_have_tiles_of_their_own() {
        let five = Conv { kernel_shape: [5, 5], pads: [2; 4], ..conv(256) };
        assert_eq!(select_algorithm(&five, image(64, 27), false), Algorithm::WinogradF4);
        assert_eq!(select_algorithm(&five, image(3, 27), false), Algorithm::Direct);
        let strided = Conv { strides: [2, 2], pads: [1; 4], ..five };
        assert_ne!(select_algorithm(&strided, image(96, 54), false), Algorithm::Direct);
        assert_eq!(select_algorithm(&strided, image(96, 54), true), Algorithm::Direct);
        assert_eq!(select_algorithm(&Conv { strides: [2, 1], ..five }, image(96, 54), false), Algorithm::Direct);
    }

    #[test]
    fn groups_of_whole_blocks_are_convolutions_of_their_own() {
        let grouped = |channels, group| Conv { group, ..conv(channels) };
        let select = |conv: &Conv, channels| select_algorithm(conv, image(channels, 28), false);
        assert_eq!(select(&grouped(256, 2), 256), select(&conv(128), 128));
        assert_eq!(select(&grouped(256, 2), 256), Algorithm::WinogradF6);
        assert_eq!(groups(&grouped(256, 2), 256), Groups::Each);
        assert_eq!(select(&grouped(24, 2), 32), Algorithm::General, "12 output channels a group");
        assert_eq!(select(&grouped(32, 2), 24), Algorithm::General, "12 input channels a group");
        assert_eq!(select(&grouped(32, 32), 32), Algorithm::Depthwise);
        assert_eq!(select(&grouped(64, 32), 32), Algorithm::General, "two outputs a channel");
        assert_eq!(select(&grouped(3, 3), 3), Algorithm::General, "planar input");
    }

    #[test]
    fn dilated_kernels_are_summed_one_number_at_a_time() {
        let select = |conv: &Conv, channels| select_algorithm(conv, image(channels, 28), false);
        let dilated = Conv { dilations: [2, 2], pads: [2; 4], ..conv(64) };
        assert_eq!(select(&dilated, 64), Algorithm::General);
        assert_eq!(select(&Conv { group: 64, ..dilated }, 64), Algorithm::Depthwise);
        let pointwise = Conv { kernel_shape: [1, 1], pads: [0; 4], ..dilated };
        assert_eq!(select(&pointwise, 64), Algorithm::Gemm, "a single tap has no distance to another");
    }

    #[test]
    fn exact_plans_transform_nothing() {
        assert_eq!(select_algorithm(&conv(64), image(64, 224), true), Algorithm::Direct);
    }

    #[test]
    fn small_images_of_many_channels_take_the_smaller_tiles_for_their_fewer_weights() {
        let select = |channels, size| select_algorithm(&conv(512), image(channels, size), false);
        assert_eq!(select(512, 28), Algorithm::WinogradF6);
        assert_eq!(select(512, 14), Algorithm::WinogradF4);
        assert_eq!(select(512, 13), Algorithm::WinogradF4);
        assert_eq!(select(512, 1), Algorithm::Direct, "one pixel is not worth any transform");
    }

    #[test]
    fn the_last_tile_is_as_narrow_as_the_rest_allows() {
        for (extent, size, expected) in [(14, 4, 22), (14, 6, 20), (28, 6, 38), (56, 6, 76), (17, 6, 24), (1, 4, 4)] {
            assert_eq!(points(extent, size, 3), expected, "{extent} in tiles of {size}");
        }
        assert_eq!([27, 33, 4].map(|extent| points(extent, 4, 5)), [56, 70, 8]);
    }
}
