//! Numbers in fewer bytes: f16, bf16, and int8 with a scale for each row. All rounding is to the nearest, of two equally near to the even.

use bytes::Bytes;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::tensors::values;
use crate::ir::Precision;

/// Numbers that are rounded together.
const CHUNK: usize = 4096;

/// The largest magnitude of an int8 weight. That of -128 is left out, so that the negative of each is one as well.
const LARGEST: f32 = 127.0;

/// Little-endian f32 as f16 or bf16, or the index of the first number that is too large for these.
pub(super) fn to_halves(data: &[u8], precision: Precision) -> Result<Bytes, usize> {
    let mut rounded = Vec::with_capacity(data.len() / 2);
    let mut numbers = [0.0; CHUNK];
    for (chunk, data) in data.chunks(4 * CHUNK).enumerate() {
        let numbers = &mut numbers[..data.len() / 4];
        numbers.iter_mut().zip(values(data)).for_each(|(number, value)| *number = value);
        let first = if precision == Precision::F16 {
            let mut halves = [f16::ZERO; CHUNK];
            let halves = &mut halves[..numbers.len()];
            halves.convert_from_f32_slice(numbers);
            rounded.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
            halves.iter().position(|half| !half.is_finite())
        } else {
            let halves = numbers.iter().map(|&number| bf16::from_f32(number));
            rounded.extend(halves.clone().flat_map(bf16::to_le_bytes));
            halves.into_iter().position(|half| !half.is_finite())
        };
        if let Some(first) = first {
            return Err(chunk * CHUNK + first);
        }
    }
    Ok(rounded.into())
}

/// The largest magnitude of each of the `rows`, by 127.
pub(super) fn row_scales(data: &[u8], rows: usize) -> Vec<f32> {
    let magnitude = |row: &[u8]| values(row).fold(0.0, |most: f32, value| most.max(value.abs()));
    data.chunks(row_len(data, rows)).map(|row| magnitude(row) / LARGEST).collect()
}

/// Each number by the scale of its row, as a whole number. A row of zeroes has a scale of 0.
pub(super) fn to_int8(data: &[u8], scales: &[f32]) -> Bytes {
    let mut rounded = Vec::with_capacity(data.len() / 4);
    for (row, &scale) in data.chunks(row_len(data, scales.len())).zip(scales) {
        // Of numbers near the smallest that there are, the scale is no longer exact, and the quotient may be beyond the largest.
        let whole = |value: f32| (value / scale).round_ties_even().clamp(-LARGEST, LARGEST) as i8;
        let zero = scale == 0.0;
        rounded.extend(values(row).map(|value| if zero { 0 } else { whole(value) as u8 }));
    }
    rounded.into()
}

/// Bytes of a row, at least 1.
fn row_len(data: &[u8], rows: usize) -> usize {
    data.len().checked_div(rows).unwrap_or(0).max(1)
}

/// The numbers that `data` stands for. `scales` are those of int8 rows, little-endian f32.
pub(super) fn decode(data: &[u8], precision: Precision, scales: &[u8]) -> Vec<f32> {
    match precision {
        Precision::F32 => values(data).collect(),
        Precision::F16 => data.as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()).collect(),
        Precision::Bf16 => data.as_chunks().0.iter().map(|&bytes| bf16::from_le_bytes(bytes).to_f32()).collect(),
        Precision::Int8 => {
            let rows = data.chunks(row_len(data, scales.len() / 4)).zip(values(scales));
            rows.flat_map(|(row, scale)| row.iter().map(move |&byte| f32::from(byte as i8) * scale)).collect()
        }
    }
}

/// Whether all numbers are finite.
pub(super) fn all_finite(data: &[u8], precision: Precision) -> bool {
    // Without an exit from the loop it runs on vectors.
    let halves = |exponent: u16| {
        data.as_chunks()
            .0
            .iter()
            .fold(true, |finite, &bytes| finite & (u16::from_le_bytes(bytes) & exponent != exponent))
    };
    match precision {
        Precision::F32 => values(data).fold(true, |finite, value| finite & value.is_finite()),
        Precision::F16 => halves(0x7c00),
        Precision::Bf16 => halves(0x7f80),
        Precision::Int8 => true,
    }
}
