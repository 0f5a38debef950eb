//! Tensors of a file's messages, converted to f32 or i64.

use bytes::Bytes;
use half::f16;

use super::constant::{Constant, Data, MAX_RANK, element_count, to_bytes};
use super::error::{Refusal, printable};
use super::external::Externals;
use crate::onnx::messages::{DataLocation, DataType, TensorProto};

/// A tensor, and the name of its type when it was converted to f32.
pub(super) fn read(
    tensor: &TensorProto,
    externals: &mut Externals,
) -> Result<(Constant, Option<&'static str>), Refusal> {
    let name = printable(tensor.name.as_deref().unwrap_or_default());
    let shape: Option<Vec<usize>> = tensor.dims.iter().map(|&extent| usize::try_from(extent).ok()).collect();
    let Some((shape, count)) = shape.and_then(|shape| element_count(&shape).map(|count| (shape, count))) else {
        let some: Vec<i64> = tensor.dims.iter().copied().take(MAX_RANK).collect();
        let more = if tensor.dims.len() > MAX_RANK { " and more extents" } else { "" };
        return Err(Refusal::damaged(format!("tensor `{name}` has the shape {some:?}{more}, which is too large")));
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
        DataType::Float16 => {
            (2, Data::F32(to_bytes(halves(&raw).into_iter().map(|bits| f16::from_bits(bits).to_f32()))), Some("f16"))
        }
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
        DataType::Bool | DataType::Uint8 => (1, small(&raw, &typed32, |[byte]: [u8; 1]| byte.into()), None),
        DataType::Int8 => (1, small(&raw, &typed32, |bytes| i8::from_le_bytes(bytes).into()), None),
        DataType::Uint16 => (2, small(&raw, &typed32, |bytes| u16::from_le_bytes(bytes).into()), None),
        DataType::Int16 => (2, small(&raw, &typed32, |bytes| i16::from_le_bytes(bytes).into()), None),
        DataType::Uint32 => {
            let typed = || tensor.uint64_data.iter().map(|&value| i64::try_from(value).unwrap_or(i64::MAX)).collect();
            (4, small(&raw, &typed, |bytes| u32::from_le_bytes(bytes).into()), None)
        }
        DataType::Uint64 => {
            let typed = || tensor.uint64_data.iter().map(|&value| i64::try_from(value).unwrap_or(i64::MAX)).collect();
            let whole = |bytes| i64::try_from(u64::from_le_bytes(bytes)).unwrap_or(i64::MAX);
            (8, small(&raw, &typed, whole), None)
        }
        other => {
            let number = tensor.data_type.unwrap_or_default();
            let other = if other == DataType::Undefined { number.to_string() } else { format!("{other:?}") };
            return Err(Refusal::unsupported(format!(
                "tensor `{name}` holds numbers of the type {other}, expected Float, Float16, Bfloat16 or Double"
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

/// Whole numbers of `N` bytes each, or those of a typed field.
fn small<const N: usize>(raw: &Option<Bytes>, typed: &dyn Fn() -> Vec<i64>, number: impl Fn([u8; N]) -> i64) -> Data {
    Data::I64(match raw {
        Some(raw) => raw.as_chunks::<N>().0.iter().map(|&bytes| number(bytes)).collect(),
        None => typed(),
    })
}
