//! What an activation is of another one, element by element.

use crate::onnx::import::constant::strides;
use crate::onnx::import::net::{Op, ValueId};

/// Every element of an image is a sum of elements of `base`, each times a factor, and of a number.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Map {
    pub(super) base: ValueId,
    /// Whether elements were picked on the way.
    pub(super) gathered: bool,
    /// Of one image: the axis of the batch has the extent 1.
    pub(super) shape: Vec<usize>,
    /// That axis.
    pub(super) batch: usize,
    /// One for each element.
    pub(super) rows: Rows,
}

/// Sums, one after the other.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Rows {
    /// Where the terms of each row end.
    ends: Vec<usize>,
    /// Element and factor.
    terms: Vec<(usize, f64)>,
    shifts: Vec<f64>,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The terms of a row, and the number that is added to them.
    pub(super) fn row(&self, index: usize) -> Option<(&[(usize, f64)], f64)> {
        let start = index.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        let terms = self.terms.get(start..*self.ends.get(index)?)?;
        Some((terms, self.shifts.get(index).copied()?))
    }

    /// Appends the sum of some rows of others, each times a factor, and a number.
    fn push<'a>(
        &mut self,
        rows: impl IntoIterator<Item = (&'a Self, usize, f64)>,
        number: f64,
        left: &mut usize,
    ) -> Option<()> {
        let mut shift = number;
        for (other, index, factor) in rows {
            let (terms, own) = other.row(index)?;
            *left = left.checked_sub(terms.len())?;
            self.terms.extend(terms.iter().filter(|_| factor != 0.0).map(|&(element, f)| (element, f * factor)));
            shift += own * factor;
        }
        *left = left.checked_sub(1)?;
        self.ends.push(self.terms.len());
        self.shifts.push(shift);
        Some(())
    }
}

impl Map {
    /// `base` itself, which has `shape` with the batch first.
    pub(super) fn identity(base: ValueId, shape: &[usize], left: &mut usize) -> Option<Self> {
        let shape: Vec<usize> = std::iter::once(1).chain(shape.iter().skip(1).copied()).collect();
        let count = shape.iter().try_fold(1_usize, |product, &extent| product.checked_mul(extent))?;
        *left = left.checked_sub(count.checked_mul(2)?)?;
        let terms = (0..count).map(|element| (element, 1.0)).collect();
        let rows = Rows { ends: (1..=count).collect(), terms, shifts: vec![0.0; count] };
        Some(Self { base, gathered: false, shape, batch: 0, rows })
    }

    /// What `op` makes of activations that are `inputs`: `made`, with the batch. None where it is no sum, or mixes the images.
    /// `left` is how many rows and terms may be made.
    pub(super) fn through(op: &Op, inputs: &[&Self], made: &[usize], left: &mut usize) -> Option<Self> {
        let first = inputs.first()?;
        let one = |shape: &[usize], batch: usize| -> Vec<usize> {
            shape.iter().enumerate().map(|(axis, &extent)| if axis == batch { 1 } else { extent }).collect()
        };
        let gathered = inputs.iter().any(|map| map.gathered) || matches!(op, Op::Gather { .. });
        let finished = |batch: usize, rows: Rows| {
            let shape = one(made, batch);
            let fits = shape.iter().try_fold(1_usize, |product, &extent| product.checked_mul(extent))? == rows.len();
            fits.then_some(Self { base: first.base, gathered, shape, batch, rows })
        };
        if inputs.iter().any(|map| (map.base, map.batch) != (first.base, first.batch)) {
            return None;
        }
        let (shape, batch) = (&first.shape, first.batch);
        let mut rows = Rows::default();
        match op {
            Op::Transpose(order) => {
                for place in places(shape, order)? {
                    rows.push([(&first.rows, place, 1.0)], 0.0, left)?;
                }
                finished(order.iter().position(|&axis| axis == batch)?, rows)
            }
            Op::Gather { axes, indices, shape: picked, .. } if !axes.contains(&batch) => {
                let extent: usize = shape.get(axes.clone())?.iter().product();
                let inner: usize = shape.get(axes.end..)?.iter().product();
                let outer: usize = shape.get(..axes.start)?.iter().product();
                for row in 0..outer {
                    for place in indices {
                        for element in 0..inner {
                            rows.push([(&first.rows, (row * extent + place) * inner + element, 1.0)], 0.0, left)?;
                        }
                    }
                }
                let batch = if batch < axes.start { batch } else { batch - axes.len() + picked.len() };
                finished(batch, rows)
            }
            Op::Reshape | Op::Identity(_) => {
                *left = left.checked_sub(first.rows.len() + first.rows.terms.len())?;
                (batch == 0).then(|| finished(0, first.rows.clone())).flatten()
            }
            Op::Affine(affine) if batch == 0 => {
                let (inner, extent) = match affine.axis {
                    Some(axis) => (shape.get(axis + 1..)?.iter().product::<usize>(), affine.scale.len()),
                    None => (1, affine.scale.len()),
                };
                for index in 0..first.rows.len() {
                    let place = index.checked_div(inner)?.checked_rem(extent)?;
                    let (scale, shift) = (affine.scale.get(place)?, affine.shift.get(place)?);
                    rows.push([(&first.rows, index, *scale)], *shift, left)?;
                }
                finished(0, rows)
            }
            Op::ReduceMean { axes, keep, .. } if !axes.contains(&batch) => {
                let order: Vec<usize> =
                    (0..shape.len()).filter(|axis| !axes.contains(axis)).chain(axes.iter().copied()).collect();
                let run: usize = axes.iter().filter_map(|&axis| shape.get(axis)).product();
                let all: Vec<usize> = places(shape, &order)?.collect();
                for run in all.chunks(run.max(1)) {
                    let share = 1.0 / run.len() as f64;
                    rows.push(run.iter().map(|&place| (&first.rows, place, share)), 0.0, left)?;
                }
                let gone = if *keep { 0 } else { axes.iter().filter(|&&axis| axis < batch).count() };
                finished(batch - gone, rows)
            }
            Op::Add => {
                let [a, b] = inputs else { return None };
                for index in 0..a.rows.len() {
                    rows.push([(&a.rows, index, 1.0), (&b.rows, index, 1.0)], 0.0, left)?;
                }
                finished(batch, rows)
            }
            Op::Concat { axis } if *axis != batch => {
                let outer: usize = shape.get(..*axis)?.iter().product();
                for row in 0..outer {
                    for map in inputs {
                        let run = map.rows.len().checked_div(outer)?;
                        for place in row * run..(row + 1) * run {
                            rows.push([(&map.rows, place, 1.0)], 0.0, left)?;
                        }
                    }
                }
                finished(batch, rows)
            }
            _ => None,
        }
    }
}

/// Where the elements of a tensor of `shape` are found, for its axes in another order.
fn places(shape: &[usize], order: &[usize]) -> Option<impl Iterator<Item = usize>> {
    let steps = strides(shape);
    let axes: Vec<(usize, usize)> = order
        .iter()
        .map(|&axis| Some((*shape.get(axis)?, usize::try_from(*steps.get(axis)?).ok()?)))
        .collect::<Option<_>>()?;
    let count: usize = shape.iter().product();
    Some((0..count).map(move |mut index| {
        let mut place = 0;
        for &(extent, step) in axes.iter().rev() {
            place += index % extent * step;
            index /= extent;
        }
        place
    }))
}
