//! Tensors in another order of axes, and constants that follow them.

use crate::onnx::import::affine::Affine;
use crate::onnx::import::constant::{Constant, strides};
use crate::onnx::import::net::Gemm;
use crate::onnx::import::operator::reals;

/// How the file's tensor lies in the one that is kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Order {
    /// It is the same.
    Plain,
    /// Axis `i` of the file's tensor is axis `axes[i]` of the kept one.
    Axes(Vec<usize>),
    /// The file's vector has the elements of a tensor of `extents` with its axes in the order of `axes`, the kept one has them in C order.
    /// Both count without the batch.
    Flat { extents: Vec<usize>, axes: Vec<usize> },
}

impl Order {
    pub(super) fn is_plain(&self) -> bool {
        *self == Self::Plain
    }

    /// The same, recognised when it changes nothing.
    pub(super) fn simplified(self) -> Self {
        match &self {
            Self::Axes(axes) if axes.is_sorted() => Self::Plain,
            Self::Flat { axes, .. } if axes.is_sorted() => Self::Plain,
            _ => self,
        }
    }

    /// The extents of the file's tensor where the kept one has `shape`.
    pub(super) fn file_shape(&self, shape: &[usize]) -> Vec<usize> {
        match self {
            Self::Axes(axes) => axes.iter().filter_map(|&axis| shape.get(axis).copied()).collect(),
            Self::Plain | Self::Flat { .. } => shape.to_vec(),
        }
    }
}

/// The order of what a transpose by `perm` makes of a tensor in `order`. None when it would move the batch, or turns a vector.
pub(super) fn compose(order: &Order, perm: &[usize]) -> Option<Vec<usize>> {
    let after: Vec<usize> = match order {
        Order::Plain => perm.to_vec(),
        Order::Axes(axes) => perm.iter().map(|&axis| axes.get(axis).copied()).collect::<Option<_>>()?,
        Order::Flat { .. } => return None,
    };
    (after.first() == Some(&0)).then_some(after)
}

/// Where each axis of the kept tensor is in the file's.
fn inverse(axes: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; axes.len()];
    for (place, &axis) in axes.iter().enumerate() {
        if let Some(inverse) = inverse.get_mut(axis) {
            *inverse = place;
        }
    }
    inverse
}

fn uniform(values: &[f64]) -> bool {
    values.windows(2).all(|pair| matches!(pair, [a, b] if a == b))
}

/// `affine` of the file's tensor as one of the kept tensor, which has `shape`.
pub(super) fn moved(affine: &Affine, order: &Order, shape: &[usize]) -> Option<Affine> {
    let (extents, axes) = match (order, affine.axis) {
        (Order::Plain, _) => return Some(affine.clone()),
        // The same number everywhere lies in any order.
        (Order::Axes(_), Some(_)) if uniform(&affine.scale) && uniform(&affine.shift) => {
            let channels = *shape.get(1)?;
            let all = |values: &[f64]| values.first().map(|&value| vec![value; channels]);
            return Some(Affine { axis: Some(1), scale: all(&affine.scale)?, shift: all(&affine.shift)?, ..*affine });
        }
        (Order::Axes(axes), Some(axis)) => {
            return Some(Affine { axis: Some(*axes.get(axis)?), ..affine.clone() });
        }
        (Order::Axes(axes), None) => {
            let axes: Vec<usize> = axes.iter().skip(1).map(|axis| axis.checked_sub(1)).collect::<Option<_>>()?;
            (shape.get(1..)?.to_vec(), axes)
        }
        (Order::Flat { extents, axes }, _) => (extents.clone(), axes.clone()),
    };
    let turned = |values: &[f64]| -> Option<Vec<f64>> {
        let file: Vec<usize> = axes.iter().map(|&axis| extents.get(axis).copied()).collect::<Option<_>>()?;
        let steps = strides(&file);
        // The kept tensor's axes, each with its step in the file's.
        let order = inverse(&axes);
        let steps: Vec<usize> =
            order.iter().map(|&place| usize::try_from(*steps.get(place)?).ok()).collect::<Option<_>>()?;
        let count: usize = extents.iter().product();
        (0..count)
            .map(|mut index| {
                let mut place = 0;
                for (&extent, &step) in extents.iter().zip(&steps).rev() {
                    place += index % extent * step;
                    index /= extent;
                }
                values.get(place).copied()
            })
            .collect()
    };
    Some(Affine { scale: turned(&affine.scale)?, shift: turned(&affine.shift)?, ..affine.clone() })
}

/// A fully connected layer of the kept tensor, from one of the file's.
pub(super) fn turned_columns(gemm: &Gemm, order: &Order, shape: &[usize]) -> Option<Gemm> {
    let (extents, axes) = match order {
        Order::Flat { extents, axes } => (extents.clone(), axes.clone()),
        // Without a flattening before it, as some files have it.
        Order::Axes(axes) => {
            let axes: Vec<usize> = axes.iter().skip(1).map(|axis| axis.checked_sub(1)).collect::<Option<_>>()?;
            (shape.get(1..)?.to_vec(), axes)
        }
        Order::Plain => return Some(gemm.clone()),
    };
    let [out, _] = gemm.shape;
    let file = axes.iter().map(|&axis| extents.get(axis).copied());
    let file: Vec<usize> = std::iter::once(Some(out)).chain(file).collect::<Option<_>>()?;
    let order: Vec<usize> = std::iter::once(0).chain(inverse(&axes).iter().map(|place| place + 1)).collect();
    let weight = Constant::of_bytes(file, gemm.weight.clone()).permuted(&order)?;
    Some(Gemm { weight: reals(&weight), ..gemm.clone() })
}

/// The same for a weight of [in, out].
pub(super) fn turned_rows(weight: &Constant, extents: &[usize], axes: &[usize]) -> Option<Constant> {
    let &[inputs, out] = weight.shape.as_slice() else { return None };
    let file = axes.iter().map(|&axis| extents.get(axis).copied());
    let file: Vec<usize> = file.chain([Some(out)]).collect::<Option<_>>()?;
    let order: Vec<usize> = inverse(axes).into_iter().chain([axes.len()]).collect();
    Some(weight.with_shape(file).permuted(&order)?.with_shape(vec![inputs, out]))
}
