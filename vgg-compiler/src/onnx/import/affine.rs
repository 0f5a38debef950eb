//! A scale and a shift for each channel: batch normalisation and arithmetic with constants, on the way into a neighbour's weights.

use bytes::Bytes;

use super::constant::{floats, to_bytes};

/// `y = x * scale + shift`, channel by channel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Affine {
    pub(super) scale: Vec<f64>,
    pub(super) shift: Vec<f64>,
}

impl Affine {
    /// This one, and `next` after it.
    pub(super) fn then(&self, next: &Self) -> Self {
        let scale = self.scale.iter().zip(&next.scale).map(|(a, b)| a * b).collect();
        let shift = self.shift.iter().zip(&next.scale).zip(&next.shift).map(|((t, s), u)| t * s + u).collect();
        Self { scale, shift }
    }

    /// Every channel `times` in a row, as flattening does.
    pub(super) fn repeated(&self, times: usize) -> Self {
        let repeat = |values: &[f64]| values.iter().flat_map(|&value| std::iter::repeat_n(value, times)).collect();
        Self { scale: repeat(&self.scale), shift: repeat(&self.shift) }
    }

    /// Whether it moves zero, so that padding would no longer be zero.
    pub(super) fn shifts(&self) -> bool {
        self.shift.iter().any(|&shift| shift != 0.0)
    }

    /// The layer with `weight` [out, ..] and `bias` [out], and this behind it.
    pub(super) fn behind(&self, weight: &[u8], bias: &[u8]) -> (Bytes, Bytes) {
        let row = weight.len() / self.scale.len().max(1);
        let weights = weight.chunks(row.max(4)).zip(&self.scale);
        let weight = weights.flat_map(|(row, scale)| floats(row).map(move |w| (f64::from(w) * scale) as f32));
        let bias = floats(bias).zip(&self.scale).zip(&self.shift).map(|((b, s), t)| (f64::from(b) * s + t) as f32);
        (to_bytes(weight), to_bytes(bias))
    }

    /// The layer with `weight` [out, in, area] and `bias` [out], and this before it.
    pub(super) fn before(&self, weight: &[u8], bias: &[u8], area: usize) -> (Bytes, Bytes) {
        let inputs = || {
            let pairs = self.scale.iter().zip(&self.shift);
            pairs.flat_map(|pair| std::iter::repeat_n(pair, area))
        };
        let row = (4 * area * self.scale.len()).max(4);
        let rows = || weight.chunks(row).zip(floats(bias));
        let scaled = rows().flat_map(|(row, _)| floats(row).zip(inputs()).map(|(w, (s, _))| (f64::from(w) * s) as f32));
        let bias = rows().map(|(row, b)| {
            (f64::from(b) + floats(row).zip(inputs()).map(|(w, (_, t))| f64::from(w) * t).sum::<f64>()) as f32
        });
        (to_bytes(scaled), to_bytes(bias))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_with_one_folded_in_computes_the_same() {
        let (weight, bias) = (to_bytes([1.0, 2.0, 3.0, 4.0].into_iter()), to_bytes([0.5, -0.5].into_iter()));
        let affine = Affine { scale: vec![2.0, -4.0], shift: vec![1.0, 8.0] };
        let apply = |(weight, bias): (Bytes, Bytes), x: [f32; 2]| -> Vec<f32> {
            let (w, b): (Vec<f32>, Vec<f32>) = (floats(&weight).collect(), floats(&bias).collect());
            (0..2).map(|o| w[2 * o] * x[0] + w[2 * o + 1] * x[1] + b[o]).collect()
        };
        let x = [3.0, -5.0];
        let y = apply((weight.clone(), bias.clone()), x);
        let behind = apply(affine.behind(&weight, &bias), x);
        assert_eq!(behind, [y[0] * 2.0 + 1.0, y[1] * -4.0 + 8.0]);
        let moved = apply((weight.clone(), bias.clone()), [3.0 * 2.0 + 1.0, -5.0 * -4.0 + 8.0]);
        assert_eq!(apply(affine.before(&weight, &bias, 1), x), moved);
    }
}
