//! A scale and a shift for each channel: batch normalisation and arithmetic with constants, on the way into a neighbour's weights.

use bytes::Bytes;

use super::constant::{floats, to_bytes};

/// Most numbers of a scale, and of all that a file has: what a few constants are repeated to is not bounded by its length.
pub(super) const MAX_NUMBERS: usize = 1 << 24;

/// `y = x * scale + shift`, each along one axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Affine {
    /// The operator that it was.
    pub(super) op: &'static str,
    /// The axis that `scale` and `shift` run along; none when they have a number for every element of an image.
    pub(super) axis: Option<usize>,
    pub(super) scale: Vec<f64>,
    pub(super) shift: Vec<f64>,
}

impl Affine {
    /// This one, and `next` along the same axis after it.
    pub(super) fn then(&self, next: &Self) -> Self {
        let scale = self.scale.iter().zip(&next.scale).map(|(a, b)| a * b).collect();
        let shift = self.shift.iter().zip(&next.scale).zip(&next.shift).map(|((t, s), u)| t * s + u).collect();
        let op = if self.op == BATCH_NORM { self.op } else { next.op };
        Self { op, axis: self.axis, scale, shift }
    }

    /// Every channel `times` in a row, as flattening does; none when these are more than [`MAX_NUMBERS`].
    pub(super) fn repeated(&self, times: usize) -> Option<Self> {
        self.scale.len().checked_mul(times).filter(|&count| count <= MAX_NUMBERS)?;
        let repeat = |values: &[f64]| values.iter().flat_map(|&value| std::iter::repeat_n(value, times)).collect();
        Some(Self { scale: repeat(&self.scale), shift: repeat(&self.shift), ..*self })
    }

    /// Whether it moves zero, so that padding would no longer be zero.
    pub(super) fn shifts(&self) -> bool {
        self.shift.iter().any(|&shift| shift != 0.0)
    }

    /// Whether it scales, and not only shifts.
    pub(super) fn scales(&self) -> bool {
        self.scale.iter().any(|&scale| scale != 1.0)
    }

    /// Whether the order of two numbers stays, so that the largest stays the largest.
    pub(super) fn keeps_order(&self) -> bool {
        self.scale.iter().all(|&scale| scale > 0.0)
    }

    /// The layer with `weight` [out, ..] and `bias` [out], and this behind it.
    pub(super) fn behind(&self, weight: &Bytes, bias: &[u8]) -> (Bytes, Bytes) {
        let added = floats(bias).zip(&self.scale).zip(&self.shift).map(|((b, s), t)| (f64::from(b) * s + t) as f32);
        if !self.scales() {
            return (weight.clone(), to_bytes(added));
        }
        let row = weight.len() / self.scale.len().max(1);
        let weights = weight.chunks(row.max(4)).zip(&self.scale);
        let weight = weights.flat_map(|(row, scale)| floats(row).map(move |w| (f64::from(w) * scale) as f32));
        (to_bytes(weight), to_bytes(added))
    }

    /// The layer with `weight` [out, in / groups, area] and `bias` [out], and this before it.
    pub(super) fn before(&self, weight: &[u8], bias: &[u8], area: usize, groups: usize) -> (Bytes, Bytes) {
        let inputs = self.scale.len() / groups.max(1);
        let outputs = (bias.len() / 4 / groups.max(1)).max(1);
        let row = (4 * area * inputs).max(4);
        let rows = || weight.chunks(row).zip(floats(bias)).enumerate();
        // The scale and shift of every weight of a row: those of its group's channels.
        let own = |output: usize| {
            let pairs = self.scale.iter().zip(&self.shift).skip(output / outputs * inputs).take(inputs);
            pairs.flat_map(|pair| std::iter::repeat_n(pair, area))
        };
        let scaled = rows()
            .flat_map(|(output, (row, _))| floats(row).zip(own(output)).map(|(w, (s, _))| (f64::from(w) * s) as f32));
        let bias = rows().map(|(output, (row, b))| {
            (f64::from(b) + floats(row).zip(own(output)).map(|(w, (_, t))| f64::from(w) * t).sum::<f64>()) as f32
        });
        (to_bytes(scaled), to_bytes(bias))
    }
}

/// The operator whose folding is worth telling.
pub(super) const BATCH_NORM: &str = "BatchNormalization";

#[cfg(test)]
mod tests {
    use super::*;

    fn affine(scale: &[f64], shift: &[f64]) -> Affine {
        Affine { op: "Mul", axis: Some(1), scale: scale.to_vec(), shift: shift.to_vec() }
    }

    #[test]
    fn a_layer_with_one_folded_in_computes_the_same() {
        let (weight, bias) = (to_bytes([1.0, 2.0, 3.0, 4.0].into_iter()), to_bytes([0.5, -0.5].into_iter()));
        let affine = affine(&[2.0, -4.0], &[1.0, 8.0]);
        let apply = |(weight, bias): (Bytes, Bytes), x: [f32; 2]| -> Vec<f32> {
            let (w, b): (Vec<f32>, Vec<f32>) = (floats(&weight).collect(), floats(&bias).collect());
            (0..2).map(|o| w[2 * o] * x[0] + w[2 * o + 1] * x[1] + b[o]).collect()
        };
        let x = [3.0, -5.0];
        let y = apply((weight.clone(), bias.clone()), x);
        let behind = apply(affine.behind(&weight, &bias), x);
        assert_eq!(behind, [y[0] * 2.0 + 1.0, y[1] * -4.0 + 8.0]);
        let moved = apply((weight.clone(), bias.clone()), [3.0 * 2.0 + 1.0, -5.0 * -4.0 + 8.0]);
        assert_eq!(apply(affine.before(&weight, &bias, 1, 1), x), moved);
    }

    #[test]
    fn each_group_has_the_scales_of_its_own_channels() {
        // Two groups of one channel each: the first output reads the first channel, the second the second.
        let (weight, bias) = (to_bytes([2.0, 3.0].into_iter()), to_bytes([0.0, 0.0].into_iter()));
        let (weight, bias) = affine(&[10.0, 100.0], &[1.0, 2.0]).before(&weight, &bias, 1, 2);
        assert_eq!(floats(&weight).collect::<Vec<f32>>(), [20.0, 300.0]);
        assert_eq!(floats(&bias).collect::<Vec<f32>>(), [2.0, 6.0]);
    }
}
