//! A tensor as a file holds it: bytes of some element type, in some order of its axes.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fmt;

use bytes::Bytes;
use half::{bf16, f16};

use super::tensors::Tensor;

/// The type of a tensor's elements in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    /// IEEE 754 binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// Integers that no weights are made of, of this many bytes: counters, masks.
    Int(u8),
}

impl ElementType {
    /// Bytes of an element.
    pub fn width(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
            Self::Int(bytes) => usize::from(bytes),
        }
    }

    /// Whether weights may be of this type.
    pub fn is_float(self) -> bool {
        !matches!(self, Self::Int(_))
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F16 => f.write_str("F16"),
            Self::Bf16 => f.write_str("BF16"),
            Self::F32 => f.write_str("F32"),
            Self::F64 => f.write_str("F64"),
            Self::Int(bytes) => write!(f, "I{}", 8 * u32::from(*bytes)),
        }
    }
}

/// A tensor as its file names and stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTensor {
    /// Its name in the file.
    pub name: String,
    /// Its elements.
    pub view: View,
}

/// Elements of a file, addressed by an extent and a stride for each axis. Every element lies within the bytes, and there
/// are no more elements than the bytes have room for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    element: ElementType,
    shape: Vec<usize>,
    /// Elements between neighbours along each axis.
    strides: Vec<usize>,
    /// Little-endian; the first element is at its beginning.
    data: Bytes,
}

impl View {
    /// A tensor in C order, whose elements are all of `data`.
    pub(super) fn new(element: ElementType, shape: Vec<usize>, data: Bytes) -> Result<Self, String> {
        match bytes_of(element, &shape) {
            Some(needed) if needed == data.len() => {}
            Some(needed) => return Err(format!("shape {shape:?} needs {needed} bytes, but there are {}", data.len())),
            None => return Err(format!("shape {shape:?} is too large to address")),
        }
        Ok(Self { element, strides: row_major(&shape), shape, data })
    }

    /// A tensor in Fortran order, in which the first axis is the densest.
    #[cfg(feature = "readers")]
    pub(super) fn column_major(element: ElementType, mut shape: Vec<usize>, data: Bytes) -> Result<Self, String> {
        shape.reverse();
        let reversed = Self::new(element, shape, data)?;
        let axes: Vec<usize> = (0..reversed.shape.len()).rev().collect();
        Ok(reversed.permuted(&axes).unwrap_or(reversed))
    }

    /// A tensor whose element `[i, j, ..]` is element `i * strides[0] + j * strides[1] + ..` of `data`.
    #[cfg(feature = "readers")]
    pub(super) fn strided(
        element: ElementType,
        shape: Vec<usize>,
        strides: Vec<usize>,
        data: Bytes,
    ) -> Result<Self, String> {
        if shape.len() != strides.len() {
            return Err(format!("shape {shape:?} has other axes than the strides {strides:?}"));
        }
        let needed = bytes_of(element, &shape).ok_or_else(|| format!("shape {shape:?} is too large to address"))?;
        // Elements that share their bytes would make a tensor larger than its file.
        if needed > data.len() {
            return Err(format!("shape {shape:?} needs {needed} bytes, but its storage has {}", data.len()));
        }
        let end = if needed == 0 {
            Some(0)
        } else {
            let last = shape.iter().zip(&strides).try_fold(0usize, |sum, (&extent, &stride)| {
                sum.checked_add(extent.saturating_sub(1).checked_mul(stride)?)
            });
            last.and_then(|last| last.checked_add(1)?.checked_mul(element.width()))
        };
        match end {
            Some(end) if end <= data.len() => Ok(Self { element, shape, strides, data: data.slice(..end) }),
            _ => Err(format!("shape {shape:?} with strides {strides:?} reaches beyond its {} bytes", data.len())),
        }
    }

    /// Integers as f64, in C order. Unsigned ones lose the sign that their bytes seem to have.
    #[cfg(feature = "readers")]
    pub(super) fn widened(&self, unsigned: bool) -> Self {
        let wrap = (unsigned && self.element.width() < 8).then(|| 2f64.powi(8 * self.element.width() as i32));
        let mut data = Vec::with_capacity(8 * self.len());
        self.for_each(&mut |value| {
            let value = if value < 0.0 { value + wrap.unwrap_or(0.0) } else { value };
            data.extend_from_slice(&value.to_le_bytes());
        });
        Self {
            element: ElementType::F64,
            shape: self.shape.clone(),
            strides: row_major(&self.shape),
            data: data.into(),
        }
    }

    /// The type of its elements.
    pub fn element(&self) -> ElementType {
        self.element
    }

    /// Its extents.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its axes in another order: axis `i` is the old axis `axes[i]`. None unless `axes` names each axis once.
    pub(super) fn permuted(&self, axes: &[usize]) -> Option<Self> {
        let mut sorted = axes.to_vec();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..self.shape.len()) {
            return None;
        }
        let pick = |list: &[usize]| axes.iter().filter_map(|&axis| list.get(axis).copied()).collect();
        Some(Self {
            element: self.element,
            shape: pick(&self.shape),
            strides: pick(&self.strides),
            data: self.data.clone(),
        })
    }

    /// With `axis` split into axes of these extents. None unless their product is the extent of the axis.
    pub(super) fn split(&self, axis: usize, extents: &[usize]) -> Option<Self> {
        let product = extents.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent))?;
        let stride = *self.strides.get(axis)?;
        if self.shape.get(axis) != Some(&product) {
            return None;
        }
        let mut split = self.clone();
        split.shape.splice(axis..=axis, extents.iter().copied());
        split.strides.splice(axis..=axis, row_major(extents).into_iter().map(|inner| inner.saturating_mul(stride)));
        Some(split)
    }

    /// With other extents of the same number of elements, in C order. Elements of other than C order are copied.
    pub(super) fn reshaped(&self, shape: &[usize]) -> Option<Self> {
        let elements = shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent))?;
        if elements != self.len() {
            return None;
        }
        if self.is_row_major() {
            return Some(Self { shape: shape.to_vec(), strides: row_major(shape), ..self.clone() });
        }
        Self::new(ElementType::F32, shape.to_vec(), self.to_tensor().data).ok()
    }

    fn is_row_major(&self) -> bool {
        let dense = row_major(&self.shape);
        self.shape
            .iter()
            .zip(&self.strides)
            .zip(dense)
            .all(|((&extent, &stride), dense)| extent <= 1 || stride == dense)
    }

    /// As f32 in C order. The bytes are shared when they are that already. f64 is rounded; what is too large for f32
    /// becomes infinite, which the checks of weights find. Integers are converted to the nearest f32.
    pub fn to_tensor(&self) -> Tensor {
        let shape = self.shape.clone();
        if self.is_row_major() && self.element == ElementType::F32 {
            return Tensor { shape, data: self.data.slice(..(4 * self.len()).min(self.data.len())) };
        }
        if self.element == ElementType::F32 {
            return Tensor { shape, data: self.gathered().into() };
        }
        let mut data = Vec::with_capacity(4 * self.len());
        self.for_each(&mut |value| data.extend_from_slice(&(value as f32).to_le_bytes()));
        Tensor { shape, data: data.into() }
    }

    /// Elements of four bytes in C order. A line of the cache that is read is used whole before the next: matrices of half a gigabyte are
    /// transposed here.
    fn gathered(&self) -> Vec<u8> {
        const RUN: usize = 16;
        let (source, _) = self.data.as_chunks::<4>();
        let mut target = vec![[0u8; 4]; self.len()];
        let axes: Vec<(usize, usize, usize)> = self
            .shape
            .iter()
            .zip(&self.strides)
            .zip(row_major(&self.shape))
            .map(|((&extent, &from), to)| (extent, from, to))
            .collect();
        let densest =
            axes.iter().enumerate().filter(|(_, (extent, ..))| *extent > 1).min_by_key(|(_, (_, from, _))| *from);
        let Some((along, &(extent, from, to))) = densest.filter(|_| !target.is_empty()) else {
            target.iter_mut().zip(source).for_each(|(target, source)| *target = *source);
            return target.into_flattened();
        };
        let others: Vec<_> =
            axes.iter().enumerate().filter(|(axis, _)| *axis != along).map(|(_, axis)| *axis).collect();
        for begin in (0..extent).step_by(RUN) {
            let count = RUN.min(extent - begin);
            let mut index = vec![0usize; others.len()];
            let (mut read, mut write) = (begin * from, begin * to);
            loop {
                for step in 0..count {
                    if let (Some(target), Some(source)) =
                        (target.get_mut(write + step * to), source.get(read + step * from))
                    {
                        *target = *source;
                    }
                }
                // The next index of the other axes, as an odometer counts.
                let mut turned = false;
                for (position, &(extent, from, to)) in index.iter_mut().zip(&others).rev() {
                    *position += 1;
                    (read, write) = (read + from, write + to);
                    if *position < extent {
                        turned = true;
                        break;
                    }
                    (read, write) = (read - extent * from, write - extent * to);
                    *position = 0;
                }
                if !turned {
                    break;
                }
            }
        }
        target.into_flattened()
    }

    /// Calls `visit` with every element in C order.
    pub fn for_each(&self, visit: &mut dyn FnMut(f64)) {
        if self.is_row_major() {
            let bytes = self.data.get(..self.element.width() * self.len()).unwrap_or_default();
            for bytes in bytes.chunks_exact(self.element.width()) {
                visit(number(self.element, bytes));
            }
            return;
        }
        let width = self.element.width();
        let Some(((&inner, outer), (&stride, outer_strides))) = self.shape.split_last().zip(self.strides.split_last())
        else {
            return;
        };
        if self.is_empty() {
            return;
        }
        let mut index = vec![0usize; outer.len()];
        let mut start = 0usize;
        loop {
            let mut at = start;
            for _ in 0..inner {
                let bytes = self.data.get(at * width..(at + 1) * width).unwrap_or_default();
                visit(number(self.element, bytes));
                at += stride;
            }
            // The next index of the outer axes, as an odometer counts.
            let mut axes = index.iter_mut().zip(outer).zip(outer_strides).rev();
            loop {
                let Some(((position, &extent), &stride)) = axes.next() else { return };
                *position += 1;
                start += stride;
                if *position < extent {
                    break;
                }
                start -= *position * stride;
                *position = 0;
            }
        }
    }
}

impl From<Tensor> for View {
    /// A tensor whose bytes are not four for each element becomes empty.
    fn from(Tensor { shape, data }: Tensor) -> Self {
        let empty = Self { element: ElementType::F32, shape: vec![0], strides: vec![1], data: Bytes::new() };
        Self::new(ElementType::F32, shape, data).unwrap_or(empty)
    }
}

fn bytes_of(element: ElementType, shape: &[usize]) -> Option<usize> {
    // A product with a zero in it must not hide an overflow.
    let extents = shape.iter().try_fold(element.width(), |product, &extent| product.checked_mul(extent.max(1)))?;
    Some(if shape.contains(&0) { 0 } else { extents })
}

/// Elements between neighbours along each axis in C order.
fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides: Vec<usize> = shape
        .iter()
        .rev()
        .scan(1usize, |stride, &extent| {
            let this = *stride;
            *stride = stride.saturating_mul(extent);
            Some(this)
        })
        .collect();
    strides.reverse();
    strides
}

/// The element in `bytes`; 0 for bytes of another length, which a view never has.
fn number(element: ElementType, bytes: &[u8]) -> f64 {
    match (element, bytes) {
        (ElementType::F16, &[a, b]) => f64::from(f16::from_le_bytes([a, b])),
        (ElementType::Bf16, &[a, b]) => f64::from(bf16::from_le_bytes([a, b])),
        (ElementType::F32, &[a, b, c, d]) => f64::from(f32::from_le_bytes([a, b, c, d])),
        (ElementType::F64, &[a, b, c, d, e, f, g, h]) => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
        (ElementType::Int(_), bytes) => {
            let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
            let fill = if negative { 0xff } else { 0 };
            let mut whole = [fill; 8];
            whole.iter_mut().zip(bytes).for_each(|(whole, &byte)| *whole = byte);
            i64::from_le_bytes(whole) as f64
        }
        _ => 0.0,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    fn counting(shape: &[usize]) -> View {
        let count = shape.iter().product::<usize>();
        let data: Vec<u8> = (0..count).flat_map(|value| (value as f32).to_le_bytes()).collect();
        View::new(ElementType::F32, shape.to_vec(), data.into()).unwrap()
    }

    fn values(view: &View) -> Vec<f32> {
        view.to_tensor().values().collect()
    }

    #[test]
    fn axes_are_permuted_and_split() {
        let view = counting(&[2, 3, 4]);
        let permuted = view.permuted(&[2, 0, 1]).unwrap();
        assert_eq!(permuted.shape(), [4, 2, 3]);
        let mut expected = Vec::new();
        for k in 0..4 {
            for i in 0..2 {
                for j in 0..3 {
                    expected.push((i * 12 + j * 4 + k) as f32);
                }
            }
        }
        assert_eq!(values(&permuted), expected);
        // The other way to the same numbers, in every order of larger axes.
        let large = counting(&[3, 20, 1, 17]);
        for axes in [[1, 0, 3, 2], [3, 2, 1, 0], [3, 0, 1, 2], [0, 3, 2, 1], [2, 3, 0, 1]] {
            let permuted = large.permuted(&axes).unwrap();
            let mut visited = Vec::new();
            permuted.for_each(&mut |value| visited.push(value as f32));
            assert_eq!(values(&permuted), visited, "{axes:?}");
        }
        assert_eq!(view.permuted(&[0, 0, 1]), None);
        assert_eq!(view.permuted(&[0, 1]), None);
        let split = counting(&[6, 2]).split(0, &[2, 3]).unwrap();
        assert_eq!((split.shape(), values(&split)), (&[2, 3, 2][..], values(&counting(&[12]))));
        assert_eq!(counting(&[6]).split(0, &[2, 2]), None);
        assert_eq!(values(&permuted.reshaped(&[24]).unwrap()), expected);
    }

    #[test]
    fn what_is_dense_already_is_not_copied() {
        let view = counting(&[2, 3]);
        assert_eq!(view.to_tensor().data.as_ptr(), view.data.as_ptr());
        // An axis of one element may have any stride.
        let view = counting(&[1, 6]).permuted(&[1, 0]).unwrap();
        assert_eq!(view.to_tensor().data.as_ptr(), view.data.as_ptr());
    }

    #[test]
    fn claims_beyond_the_bytes_are_refused() {
        let huge = vec![usize::MAX, 2];
        assert!(View::new(ElementType::F32, huge, Bytes::new()).is_err());
        assert!(View::new(ElementType::F32, vec![usize::MAX, usize::MAX, 0], Bytes::new()).is_err());
        assert!(View::new(ElementType::F32, vec![2], vec![0; 7].into()).is_err());
        assert!(View::new(ElementType::F32, vec![0, 5], Bytes::new()).unwrap().to_tensor().data.is_empty());
    }

    #[cfg(feature = "readers")]
    #[test]
    fn strides_stay_within_the_storage() {
        let data = counting(&[6]).data;
        let strided = |shape: &[usize], strides: &[usize]| {
            View::strided(ElementType::F32, shape.to_vec(), strides.to_vec(), data.clone())
        };
        assert_eq!(values(&strided(&[3, 2], &[1, 3]).unwrap()), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert!(strided(&[3, 2], &[1, 4]).is_err());
        assert!(strided(&[1 << 40], &[0]).unwrap_err().contains("its storage has 24"));
        assert!(strided(&[2], &[usize::MAX]).is_err());
        assert!(strided(&[2], &[1, 1]).is_err());
        assert!(strided(&[0, 9], &[usize::MAX, 7]).unwrap().is_empty());
        let column = View::column_major(ElementType::F32, vec![2, 3], data.clone()).unwrap();
        assert_eq!(values(&column), [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
    }

    #[test]
    fn integers_keep_their_sign() {
        assert_eq!(number(ElementType::Int(8), &(-3i64).to_le_bytes()), -3.0);
        assert_eq!(number(ElementType::Int(2), &300i16.to_le_bytes()), 300.0);
    }
}
