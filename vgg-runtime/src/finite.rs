//! Weights that are numbers.

use crate::simd::Element;

/// Whether all numbers of the type `W` in `bytes`, little-endian, are finite.
pub(crate) fn all_finite<W: Element>(bytes: &[u8]) -> bool {
    // Without an exit from the loop it runs on vectors.
    bytes.chunks_exact(size_of::<W>()).fold(true, |finite, bytes| finite & W::from_le_bytes(bytes).is_finite())
}
