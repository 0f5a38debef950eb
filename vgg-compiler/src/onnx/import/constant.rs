//! Constant tensors: read from a file's messages, converted to f32 or i64, and rearranged.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::{fs, iter};

use bytes::Bytes;

use super::error::{Refusal, printable};
use crate::onnx::messages::{DataLocation, DataType, TensorProto};
use crate::spec::limits::MAX_TENSOR;

/// A tensor whose elements are known.
#[derive(Debug, Clone)]
pub(super) struct Constant {
    pub(super) shape: Vec<usize>,
    pub(super) data: Data,
}

/// Elements in C order.
#[derive(Debug, Clone)]
pub(super) enum Data {
    /// Real numbers: four little-endian bytes each.
    F32(Bytes),
    /// Whole numbers and truth values.
    I64(Vec<i64>),
}

impl Constant {
    /// A vector of whole numbers, as shapes are.
    pub(super) fn whole(values: Vec<i64>) -> Self {
        Self { shape: vec![values.len()], data: Data::I64(values) }
    }

    /// The elements, when they are real numbers.
    pub(super) fn reals(&self) -> Option<&Bytes> {
        match &self.data {
            Data::F32(bytes) => Some(bytes),
            Data::I64(_) => None,
        }
    }

    /// The elements, when they are whole numbers.
    pub(super) fn wholes(&self) -> Option<&[i64]> {
        match &self.data {
            Data::F32(_) => None,
            Data::I64(values) => Some(values),
        }
    }
}

/// Little-endian bytes as numbers.
pub(super) fn floats(data: &[u8]) -> impl ExactSizeIterator<Item = f32> + '_ {
    data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes))
}

/// Numbers as little-endian bytes.
pub(super) fn to_bytes(values: impl Iterator<Item = f32>) -> Bytes {
    values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>().into()
}

/// The product of extents, when it can be addressed and is no more than a tensor may have.
pub(super) fn element_count(shape: &[usize]) -> Option<usize> {
    let count = shape.iter().try_fold(1_usize, |product, &extent| product.checked_mul(extent))?;
    (count as u64 <= MAX_TENSOR).then_some(count)
}

/// The elements of a tensor with its axes in another order: axis `i` of the result is axis `order[i]` of `shape`.
/// None when `order` or the length of `data` does not fit `shape`.
pub(super) fn permute(data: &[u8], shape: &[usize], order: &[usize]) -> Option<Bytes> {
    let count = element_count(shape)?;
    if data.len() != count.checked_mul(4)? || order.len() != shape.len() {
        return None;
    }
    let strides: Vec<usize> = (0..shape.len()).map(|axis| shape.iter().skip(axis + 1).product()).collect();
    let mut axes = Vec::with_capacity(order.len());
    for (place, &axis) in order.iter().enumerate() {
        if order.iter().take(place).any(|&before| before == axis) {
            return None;
        }
        axes.push((*shape.get(axis)?, *strides.get(axis)?, 0_usize));
    }
    let elements = data.as_chunks::<4>().0;
    let mut out = Vec::with_capacity(data.len());
    let mut position = 0;
    for _ in 0..count {
        out.extend_from_slice(elements.get(position)?);
        for (extent, stride, index) in axes.iter_mut().rev() {
            *index += 1;
            position += *stride;
            if *index < *extent {
                break;
            }
            position -= *stride * *extent;
            *index = 0;
        }
    }
    Some(out.into())
}

/// The files beside the model that hold its tensors, each read once.
pub(super) struct Externals {
    folder: Option<PathBuf>,
    files: BTreeMap<String, Bytes>,
}

impl Externals {
    /// Those in `folder`; without one, there are none.
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self { folder: folder.map(Path::to_owned), files: BTreeMap::new() }
    }

    fn read(&mut self, location: &str) -> Result<Bytes, Refusal> {
        if let Some(bytes) = self.files.get(location) {
            return Ok(bytes.clone());
        }
        let shown = printable(location);
        let help = "put the file with the weights beside the model, under the name that the model gives";
        let path = Path::new(location);
        let inside = !location.is_empty()
            && path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        let Some(folder) = self.folder.as_ref().filter(|_| inside) else {
            return Err(Refusal::new(format!("its weights are in `{shown}`, outside the model's directory"), help));
        };
        let failed = |error: std::io::Error| {
            Refusal::new(format!("its weights are in `{shown}`, which cannot be read: {error}"), help)
        };
        let folder = folder.canonicalize().map_err(failed)?;
        let target = folder.join(path).canonicalize().map_err(failed)?;
        if !target.starts_with(&folder) || !target.is_file() {
            return Err(Refusal::new(
                format!("its weights are in `{shown}`, which is no file in the model's directory"),
                help,
            ));
        }
        let bytes = Bytes::from(fs::read(&target).map_err(failed)?);
        self.files.insert(location.to_owned(), bytes.clone());
        Ok(bytes)
    }

    /// The bytes that `tensor` points to.
    fn bytes(&mut self, tensor: &TensorProto) -> Result<Bytes, Refusal> {
        let entry = |key: &str| {
            let found = tensor.external_data.iter().find(|entry| entry.key.as_deref() == Some(key));
            found.and_then(|entry| entry.value.as_deref())
        };
        let number = |key: &str| entry(key).map(|text| text.parse::<usize>()).transpose();
        let name = printable(tensor.name.as_deref().unwrap_or_default());
        let (Ok(offset), Ok(length)) = (number("offset"), number("length")) else {
            return Err(Refusal::damaged(format!("tensor `{name}` has an offset or length that is no number")));
        };
        let file = self.read(entry("location").unwrap_or_default())?;
        let start = offset.unwrap_or(0);
        let end = length.map_or(Some(file.len()), |length| start.checked_add(length));
        match end.filter(|&end| start <= end && end <= file.len()) {
            Some(end) => Ok(file.slice(start..end)),
            None => Err(Refusal::damaged(format!(
                "tensor `{name}` claims bytes from {start} on, {} of them, of a file of {}: it is cut off",
                length.unwrap_or(0),
                file.len()
            ))),
        }
    }
}

/// A tensor, and the name of its type when it was converted to f32.
pub(super) fn read(
    tensor: &TensorProto,
    externals: &mut Externals,
) -> Result<(Constant, Option<&'static str>), Refusal> {
    let name = printable(tensor.name.as_deref().unwrap_or_default());
    let shape: Option<Vec<usize>> = tensor.dims.iter().map(|&extent| usize::try_from(extent).ok()).collect();
    let Some((shape, count)) = shape.and_then(|shape| element_count(&shape).map(|count| (shape, count))) else {
        return Err(Refusal::damaged(format!("tensor `{name}` has the shape {:?}, which is too large", tensor.dims)));
    };
    let kind = tensor.data_type.and_then(|kind| DataType::try_from(kind).ok()).unwrap_or(DataType::Undefined);
    let raw = if tensor.data_location == Some(DataLocation::External as i32) {
        Some(externals.bytes(tensor)?)
    } else {
        tensor.raw_data.clone().filter(|raw| !raw.is_empty())
    };
    let typed32 = || tensor.int32_data.iter().map(|&value| i64::from(value)).collect::<Vec<i64>>();
    // Bits of half-precision numbers are kept in the low half of a field of 32 bits.
    let halves = |raw: &Option<Bytes>| -> Vec<u16> {
        match raw {
            Some(raw) => raw.as_chunks().0.iter().map(|&bytes| u16::from_le_bytes(bytes)).collect(),
            None => tensor.int32_data.iter().map(|&bits| bits as u16).collect(),
        }
    };
    let (width, data, converted) = match kind {
        DataType::Float => {
            (4, Data::F32(raw.clone().unwrap_or_else(|| to_bytes(tensor.float_data.iter().copied()))), None)
        }
        DataType::Float16 => (2, Data::F32(to_bytes(halves(&raw).into_iter().map(from_f16))), Some("f16")),
        DataType::Bfloat16 => (
            2,
            Data::F32(to_bytes(halves(&raw).into_iter().map(|bits| f32::from_bits(u32::from(bits) << 16)))),
            Some("bf16"),
        ),
        DataType::Double => {
            let bytes = match &raw {
                Some(raw) => to_bytes(raw.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes) as f32)),
                None => to_bytes(tensor.double_data.iter().map(|&value| value as f32)),
            };
            (8, Data::F32(bytes), Some("f64"))
        }
        DataType::Int64 => {
            let values = match &raw {
                Some(raw) => raw.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect(),
                None => tensor.int64_data.clone(),
            };
            (8, Data::I64(values), None)
        }
        DataType::Int32 => {
            let values = match &raw {
                Some(raw) => raw.as_chunks().0.iter().map(|&bytes| i64::from(i32::from_le_bytes(bytes))).collect(),
                None => typed32(),
            };
            (4, Data::I64(values), None)
        }
        DataType::Bool | DataType::Uint8 => (
            1,
            Data::I64(raw.as_ref().map_or_else(typed32, |raw| raw.iter().map(|&byte| i64::from(byte)).collect())),
            None,
        ),
        other => {
            return Err(Refusal::unsupported(format!(
                "tensor `{name}` holds numbers of the type {other:?}, expected Float, Float16, Bfloat16 or Double"
            )));
        }
    };
    let arrived = match &data {
        Data::F32(bytes) => bytes.len() / 4,
        Data::I64(values) => values.len(),
    };
    let whole = raw.as_ref().is_none_or(|raw| Some(raw.len()) == count.checked_mul(width));
    if arrived != count || !whole {
        return Err(Refusal::damaged(format!(
            "tensor `{name}` of shape {shape:?} has {arrived} elements, expected {count}"
        )));
    }
    Ok((Constant { shape, data }, converted))
}

/// A half-precision number.
fn from_f16(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = ((bits >> 10) & 0x1f, f32::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction / (1 << 24) as f32,
        0x1f if fraction == 0.0 => f32::INFINITY,
        0x1f => f32::NAN,
        exponent => (1.0 + fraction / 1024.0) * f32::from_bits((u32::from(exponent) + 112) << 23),
    };
    sign * magnitude
}

/// `count` times the same number.
pub(super) fn filled(value: f32, count: usize) -> Bytes {
    to_bytes(iter::repeat_n(value, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_reordered_as_a_direct_index_says() {
        let shape = [2, 3, 4];
        let data = to_bytes((0..24).map(|value| value as f32));
        let places = (0..4).flat_map(|i| (0..2).flat_map(move |j| (0..3).map(move |k| j * 12 + k * 4 + i)));
        assert_eq!(permute(&data, &shape, &[2, 0, 1]), Some(to_bytes(places.map(|place| place as f32))));
        assert!(permute(&data, &shape, &[0, 0, 1]).is_none());
        assert!(permute(&data, &[2, 3, 5], &[0, 1, 2]).is_none());
    }

    #[test]
    fn half_precision_numbers_are_exact() {
        let cases =
            [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 5.960_464_5e-8), (0x3555, 0.333_251_95)];
        for (bits, value) in cases {
            assert_eq!(from_f16(bits), value, "{bits:x}");
        }
        assert!(from_f16(0x7e00).is_nan());
        assert_eq!(from_f16(0xfc00), f32::NEG_INFINITY);
    }
}
