//! Weights that are numbers.

/// Whether all `values`, little-endian f32, are finite.
pub(crate) fn all_finite(values: &[[u8; 4]]) -> bool {
    // Without an exit from the loop it runs on vectors.
    values.iter().fold(true, |finite, bytes| finite & f32::from_le_bytes(*bytes).is_finite())
}
