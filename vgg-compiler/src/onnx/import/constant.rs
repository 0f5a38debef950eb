//! Tensors whose elements are known, and views of them: other orders of axes, parts, repetitions.

use bytes::Bytes;

use crate::spec::limits::MAX_TENSOR;

/// A tensor whose elements are known.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Constant {
    pub(super) shape: Vec<usize>,
    pub(super) data: Data,
}

/// Elements in C order.
#[derive(Debug, Clone, PartialEq)]
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

    /// A tensor of real numbers.
    pub(super) fn real(shape: Vec<usize>, values: impl Iterator<Item = f32>) -> Self {
        Self { shape, data: Data::F32(to_bytes(values)) }
    }

    /// A tensor of real numbers that are little-endian bytes already.
    pub(super) fn of_bytes(shape: Vec<usize>, bytes: Bytes) -> Self {
        Self { shape, data: Data::F32(bytes) }
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

    /// Number of elements.
    pub(super) fn len(&self) -> usize {
        match &self.data {
            Data::F32(bytes) => bytes.len() / 4,
            Data::I64(values) => values.len(),
        }
    }

    /// The elements from `offset` on, one for each index of `shape`, `strides` apart along the axes.
    /// None when one lies outside.
    pub(super) fn view(&self, offset: usize, shape: Vec<usize>, strides: &[isize]) -> Option<Self> {
        let data = match &self.data {
            Data::F32(bytes) => {
                Data::F32(pick(bytes.as_chunks::<4>().0, offset, &shape, strides)?.into_flattened().into())
            }
            Data::I64(values) => Data::I64(pick(values, offset, &shape, strides)?),
        };
        Some(Self { shape, data })
    }

    /// The axes in another order: axis `i` of the result is axis `order[i]` of this.
    pub(super) fn permuted(&self, order: &[usize]) -> Option<Self> {
        let own = strides(&self.shape);
        let mut seen = vec![false; self.shape.len()];
        for &axis in order {
            if std::mem::replace(seen.get_mut(axis)?, true) {
                return None;
            }
        }
        if order.len() != self.shape.len() {
            return None;
        }
        let shape = order.iter().map(|&axis| self.shape.get(axis).copied()).collect::<Option<_>>()?;
        let strides: Vec<isize> = order.iter().map(|&axis| own.get(axis).copied()).collect::<Option<_>>()?;
        self.view(0, shape, &strides)
    }

    /// This repeated to `shape` by the rules of ONNX: axes are counted from the last, those of extent 1 are stretched.
    pub(super) fn broadcast(&self, shape: &[usize]) -> Option<Self> {
        if self.shape == shape {
            return Some(self.clone());
        }
        let missing = shape.len().checked_sub(self.shape.len())?;
        let own = strides(&self.shape);
        let mut steps = vec![0; missing];
        for ((&extent, &stride), &wanted) in self.shape.iter().zip(&own).zip(shape.iter().skip(missing)) {
            match extent {
                1 => steps.push(0),
                extent if extent == wanted => steps.push(stride),
                _ => return None,
            }
        }
        self.view(0, shape.to_vec(), &steps)
    }

    /// The same elements under other extents of the same product.
    pub(super) fn with_shape(&self, shape: Vec<usize>) -> Self {
        Self { shape, data: self.data.clone() }
    }
}

/// The shape that two tensors are broadcast to.
pub(super) fn broadcast_shape(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let extent = |shape: &[usize], axis: usize| {
        (axis + shape.len()).checked_sub(rank).and_then(|axis| shape.get(axis)).copied().unwrap_or(1)
    };
    (0..rank)
        .map(|axis| match (extent(a, axis), extent(b, axis)) {
            (a, b) if a == b => Some(a),
            (1, other) | (other, 1) => Some(other),
            _ => None,
        })
        .collect()
}

/// Distances between neighbours along each axis, in C order.
pub(super) fn strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    let mut step = 1_usize;
    for (stride, &extent) in strides.iter_mut().zip(shape).rev() {
        *stride = isize::try_from(step).unwrap_or(isize::MAX);
        step = step.saturating_mul(extent);
    }
    strides
}

/// The elements of a view.
fn pick<T: Copy>(elements: &[T], offset: usize, shape: &[usize], strides: &[isize]) -> Option<Vec<T>> {
    let mut out = Vec::with_capacity(element_count(shape)?);
    if shape.contains(&0) {
        return Some(out);
    }
    let (&last, outer) = shape.split_last().unwrap_or((&1, &[]));
    let (&step, steps) = strides.split_last().unwrap_or((&1, &[]));
    let mut index = vec![0_usize; outer.len()];
    let mut position = isize::try_from(offset).ok()?;
    loop {
        let start = usize::try_from(position).ok()?;
        if step == 1 {
            out.extend_from_slice(elements.get(start..start.checked_add(last)?)?);
        } else {
            let mut at = position;
            for _ in 0..last {
                out.push(*elements.get(usize::try_from(at).ok()?)?);
                at = at.wrapping_add(step);
            }
        }
        let mut finished = true;
        for ((index, &extent), &step) in index.iter_mut().zip(outer).zip(steps).rev() {
            *index += 1;
            position = position.wrapping_add(step);
            if *index < extent {
                finished = false;
                break;
            }
            position = position.wrapping_sub(step.wrapping_mul(isize::try_from(extent).ok()?));
            *index = 0;
        }
        if finished {
            return Some(out);
        }
    }
}

/// Little-endian bytes as numbers.
pub(super) fn floats(data: &[u8]) -> impl ExactSizeIterator<Item = f32> + '_ {
    data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes))
}

/// Numbers as little-endian bytes.
pub(super) fn to_bytes(values: impl Iterator<Item = f32>) -> Bytes {
    values.map(f32::to_le_bytes).collect::<Vec<[u8; 4]>>().into_flattened().into()
}

/// Most axes of a tensor: what computes with them may take the square of their number.
pub(super) const MAX_RANK: usize = 16;

/// The product of extents, when there are not too many, it can be addressed and is no more than a tensor may have. An extent of zero does
/// not let the others be larger.
pub(super) fn element_count(shape: &[usize]) -> Option<usize> {
    let axes = (shape.len() <= MAX_RANK).then_some(shape)?;
    let bound = axes.iter().try_fold(1_usize, |product, &extent| product.checked_mul(extent.max(1)))?;
    (bound as u64 <= MAX_TENSOR).then(|| axes.iter().product())
}

/// `count` times the same number.
pub(super) fn filled(value: f32, count: usize) -> Bytes {
    value.to_le_bytes().repeat(count).into()
}

/// `index` from the front, or from the back when it is negative.
pub(super) fn place(index: i64, extent: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(i64::try_from(extent).ok()?)? } else { index };
    usize::try_from(index).ok().filter(|&index| index < extent)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    #[test]
    fn axes_are_reordered_as_a_direct_index_says() {
        let data = Constant::real(vec![2, 3, 4], (0..24).map(|value| value as f32));
        let places = (0..4).flat_map(|i| (0..2).flat_map(move |j| (0..3).map(move |k| j * 12 + k * 4 + i)));
        let expected = Constant::real(vec![4, 2, 3], places.map(|place| place as f32));
        assert_eq!(data.permuted(&[2, 0, 1]), Some(expected));
        assert!(data.permuted(&[0, 0, 1]).is_none());
        assert!(data.permuted(&[0, 1]).is_none());
        assert!(data.view(0, vec![2, 3, 5], &[12, 4, 1]).is_none());
    }

    #[test]
    fn tensors_are_stretched_from_the_last_axis() {
        let column = Constant { shape: vec![2, 1], data: Data::I64(vec![5, 6]) };
        let wide = column.broadcast(&[2, 2, 3]).unwrap();
        assert_eq!(wide.wholes().unwrap(), [5, 5, 5, 6, 6, 6, 5, 5, 5, 6, 6, 6]);
        assert!(column.broadcast(&[3, 3]).is_none());
        assert_eq!(broadcast_shape(&[2, 1], &[4, 1, 3]), Some(vec![4, 2, 3]));
        assert_eq!(broadcast_shape(&[2], &[3]), None);
    }

    #[test]
    fn a_view_runs_backwards_and_stays_inside() {
        let row = Constant::whole(vec![1, 2, 3, 4]);
        assert_eq!(row.view(3, vec![4], &[-1]).unwrap().wholes().unwrap(), [4, 3, 2, 1]);
        assert!(row.view(3, vec![5], &[-1]).is_none());
        assert_eq!(row.view(2, vec![], &[]).unwrap().wholes().unwrap(), [3]);
    }
}
