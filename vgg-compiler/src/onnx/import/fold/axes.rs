//! Operators that take elements to other places: slices, transposes, other shapes.

use super::{whole, wholes};
use crate::onnx::import::constant::{Constant, Data, MAX_RANK, broadcast_shape, element_count, place, strides};
use crate::onnx::import::error::Refusal;
use crate::onnx::import::net::shown;
use crate::onnx::import::node::Node;

/// Counts elements before there is memory for them.
type Charge<'a> = &'a mut dyn FnMut(usize) -> Result<(), Refusal>;

/// The axes `given` of a tensor of `rank` axes.
fn axes(node: Node<'_>, given: &[i64], rank: usize) -> Result<Vec<usize>, Refusal> {
    if rank > MAX_RANK || given.len() > MAX_RANK {
        return Err(node.damaged(format_args!("it has {} axes of {rank}, expected at most {MAX_RANK}", given.len())));
    }
    let places: Option<Vec<usize>> = given.iter().map(|&axis| place(axis, rank)).collect();
    let places =
        places.filter(|places| (1..places.len()).all(|n| !places.iter().take(n).any(|a| places.get(n) == Some(a))));
    places.ok_or_else(|| node.damaged(format_args!("its axes are {given:?}, expected different ones of {rank}")))
}

/// The shape that Reshape, Flatten, Squeeze or Unsqueeze makes of `shape`. `given` is the target, or the axes.
pub(super) fn target(node: Node<'_>, shape: &[usize], given: Option<&[i64]>) -> Result<Vec<usize>, Refusal> {
    let rank = shape.len();
    let count = shape.iter().try_fold(1_u128, |product, &extent| product.checked_mul(extent as u128));
    let count = count.ok_or_else(|| node.damaged(format_args!("its input has the shape {}", shown(shape))))?;
    let product = |shape: &[usize]| shape.iter().try_fold(1_u128, |all, &extent| all.checked_mul(extent as u128));
    let made = match (node.op_type(), given) {
        ("Reshape", Some(target)) => {
            let keep_zero = node.int("allowzero", 0) != 0;
            let known = target.iter().enumerate().map(|(axis, &extent)| match extent {
                0 if !keep_zero => shape.get(axis).copied(),
                -1 => Some(1),
                extent => usize::try_from(extent).ok(),
            });
            let known: Option<Vec<usize>> = known.collect();
            let known = known
                .filter(|_| target.len() <= MAX_RANK && target.iter().filter(|&&extent| extent == -1).count() <= 1);
            let known = known.ok_or_else(|| node.damaged(format_args!("it has the target shape {target:?}")))?;
            let rest = product(&known).and_then(|product| count.checked_div(product)).unwrap_or(0);
            let rest = usize::try_from(rest).unwrap_or(usize::MAX);
            known.into_iter().zip(target).map(|(known, &extent)| if extent == -1 { rest } else { known }).collect()
        }
        ("Flatten", _) => {
            let axis = node.int("axis", 1);
            let axis = if axis == whole(rank) { Some(rank) } else { place(axis, rank) };
            let axis = axis.ok_or_else(|| node.damaged(format_args!("its axis is {}", node.int("axis", 1))))?;
            let (rows, columns) = shape.split_at_checked(axis).unwrap_or((shape, &[]));
            let side = |extents: &[usize]| product(extents).and_then(|count| usize::try_from(count).ok());
            match (side(rows), side(columns)) {
                (Some(rows), Some(columns)) => vec![rows, columns],
                _ => return Err(node.damaged(format_args!("its input has the shape {}", shown(shape)))),
            }
        }
        ("Unsqueeze", Some(given)) => {
            let places = axes(node, given, rank + given.len())?;
            let mut old = shape.iter();
            (0..rank + given.len())
                .filter_map(|axis| if places.contains(&axis) { Some(1) } else { old.next().copied() })
                .collect()
        }
        ("Squeeze", Some(given)) => {
            let places = axes(node, given, rank)?;
            let kept = shape.iter().enumerate().filter(|(axis, _)| !places.contains(axis));
            kept.map(|(_, &extent)| extent).collect()
        }
        ("Squeeze", None) => shape.iter().copied().filter(|&extent| extent != 1).collect(),
        _ => return Err(node.unsupported("its shape or axes are not constant")),
    };
    let made: Vec<usize> = made;
    if product(&made) != Some(count) {
        return Err(node.damaged(format_args!("{} cannot become {}", shown(shape), shown(&made))));
    }
    Ok(made)
}

/// The order of axes that Transpose says.
pub(in crate::onnx::import) fn order(node: Node<'_>, rank: usize) -> Result<Vec<usize>, Refusal> {
    match node.ints("perm") {
        None => Ok((0..rank).rev().collect()),
        Some(perm) if perm.len() == rank => axes(node, perm, rank),
        Some(perm) => Err(node.damaged(format_args!("perm is {perm:?} for {rank} axes"))),
    }
}

pub(super) fn transpose(node: Node<'_>, input: &Constant) -> Result<Constant, Refusal> {
    let order = order(node, input.shape.len())?;
    input.permuted(&order).ok_or_else(|| node.damaged(format_args!("axes {order:?} of {:?}", input.shape)))
}

pub(super) fn expand(
    node: Node<'_>,
    input: &Constant,
    target: &[i64],
    charge: Charge<'_>,
) -> Result<Constant, Refusal> {
    let refuse = || node.damaged(format_args!("{:?} cannot become {target:?}", input.shape));
    let target: Option<Vec<usize>> = target.iter().map(|&extent| usize::try_from(extent).ok()).collect();
    let shape = target.and_then(|target| broadcast_shape(&input.shape, &target)).ok_or_else(refuse)?;
    charge(element_count(&shape).ok_or_else(refuse)?)?;
    input.broadcast(&shape).ok_or_else(refuse)
}

pub(super) fn gather(
    node: Node<'_>,
    data: &Constant,
    indices: &Constant,
    charge: Charge<'_>,
) -> Result<Constant, Refusal> {
    let rank = data.shape.len();
    let axis = place(node.int("axis", 0), rank).ok_or_else(|| node.damaged("its axis is none of its data's"))?;
    let (outer, rest) = data.shape.split_at_checked(axis).unwrap_or((&data.shape, &[]));
    let (&extent, inner) = rest.split_first().unwrap_or((&1, &[]));
    let picked = wholes(node, indices)?.iter().map(|&index| place(index, extent));
    let picked: Option<Vec<usize>> = picked.collect();
    let picked = picked.ok_or_else(|| node.damaged("an index lies outside of its data"))?;
    let shape: Vec<usize> = outer.iter().chain(&indices.shape).chain(inner).copied().collect();
    let count = element_count(&shape).ok_or_else(|| node.damaged("its result is too large"))?;
    charge(count)?;
    // Extents of zero bound no other.
    let (rows, run) = if count == 0 { (0, 0) } else { (outer.iter().product(), inner.iter().product::<usize>()) };
    let starts = (0..rows).flat_map(|row| picked.iter().map(move |&index| (row * extent + index) * run));
    Ok(Constant { shape, data: pieces(data, starts, run, count) })
}

/// Where a GatherND finds its elements in data of `shape`: their places in the first axes, counted as one, the extents of these places,
/// and how many axes these are.
pub(in crate::onnx::import) fn places(
    node: Node<'_>,
    shape: &[usize],
    indices: &Constant,
) -> Result<(Vec<usize>, Vec<usize>, usize), Refusal> {
    if node.int("batch_dims", 0) != 0 {
        return Err(node.unsupported("batch_dims is not 0"));
    }
    let all = wholes(node, indices)?;
    let Some((&depth, extents)) = indices.shape.split_last() else {
        return Err(node.damaged("its indices have no axes"));
    };
    let Some(axes) = shape.get(..depth).filter(|_| depth > 0) else {
        return Err(node.damaged(format_args!("its indices have {depth} numbers each for {} axes", shape.len())));
    };
    let of = |index: &[i64]| {
        let mut pairs = index.iter().zip(axes);
        pairs.try_fold(0_usize, |sum, (&index, &extent)| sum.checked_mul(extent)?.checked_add(place(index, extent)?))
    };
    let found: Option<Vec<usize>> = all.chunks(depth).map(of).collect();
    let found = found.ok_or_else(|| node.damaged("an index lies outside of its data"))?;
    Ok((found, extents.to_vec(), depth))
}

/// GatherND of constants: the same as a Gather of the first axes as one.
pub(super) fn gather_nd(
    node: Node<'_>,
    data: &Constant,
    indices: &Constant,
    charge: Charge<'_>,
) -> Result<Constant, Refusal> {
    let (found, mut shape, depth) = places(node, &data.shape, indices)?;
    let inner = data.shape.get(depth..).unwrap_or_default();
    shape.extend(inner);
    let count = element_count(&shape).ok_or_else(|| node.damaged("its result is too large"))?;
    charge(count)?;
    let run = if count == 0 { 0 } else { inner.iter().product::<usize>() };
    let starts = found.iter().map(|&index| index * run);
    Ok(Constant { shape, data: pieces(data, starts, run, count) })
}

/// Pieces of `run` elements each, `count` in all.
fn pieces(of: &Constant, starts: impl Iterator<Item = usize>, run: usize, count: usize) -> Data {
    match &of.data {
        Data::F32(bytes) => Data::F32(runs(bytes.as_chunks::<4>().0, starts, run, count).into_flattened().into()),
        Data::I64(values) => Data::I64(runs(values, starts, run, count)),
    }
}

fn runs<T: Copy>(elements: &[T], starts: impl Iterator<Item = usize>, run: usize, count: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(count);
    for start in starts {
        out.extend_from_slice(elements.get(start..start + run).unwrap_or_default());
    }
    out
}

/// Where a slice begins along each axis, its steps, and its shape.
pub(in crate::onnx::import) struct Slice {
    pub(in crate::onnx::import) starts: Vec<usize>,
    pub(in crate::onnx::import) steps: Vec<isize>,
    pub(in crate::onnx::import) shape: Vec<usize>,
}

/// What Slice takes of a tensor of `shape`. `inputs` are starts, ends, axes and steps, which older opsets have as attributes.
pub(in crate::onnx::import) fn sliced(
    node: Node<'_>,
    shape: &[usize],
    inputs: [Option<&[i64]>; 4],
) -> Result<Slice, Refusal> {
    let [starts, ends, given, steps] = inputs;
    let (starts, ends) = (starts.or_else(|| node.ints("starts")), ends.or_else(|| node.ints("ends")));
    let (Some(starts), Some(ends)) = (starts, ends) else {
        return Err(node.unsupported("its bounds are not constant"));
    };
    let all: Vec<i64> = (0..whole(starts.len())).collect();
    let given = given.or_else(|| node.ints("axes")).unwrap_or(&all);
    let ones = vec![1; starts.len()];
    let steps = steps.unwrap_or(&ones);
    if [ends.len(), given.len(), steps.len()] != [starts.len(); 3] {
        return Err(node.damaged("it has not as many starts as ends, axes and steps"));
    }
    let places = axes(node, given, shape.len())?;
    let mut slice = Slice { starts: vec![0; shape.len()], steps: vec![1; shape.len()], shape: shape.to_vec() };
    for (((&axis, &start), &end), &step) in places.iter().zip(starts).zip(ends).zip(steps) {
        let (Some(first), Some(by), Some(extent)) =
            (slice.starts.get_mut(axis), slice.steps.get_mut(axis), slice.shape.get_mut(axis))
        else {
            continue;
        };
        let len = whole(*extent);
        if step == 0 {
            return Err(node.damaged("it has a step of 0"));
        }
        if len == 0 {
            continue;
        }
        let from_front = |index: i64| if index < 0 { index.saturating_add(len) } else { index };
        let (start, end) = (from_front(start), from_front(end));
        let (start, count) = match step {
            1.. => {
                let (start, end) = (start.clamp(0, len), end.clamp(0, len));
                (start, (end - start).max(0).unsigned_abs().div_ceil(step.unsigned_abs()))
            }
            _ => {
                let (start, end) = (start.clamp(0, len - 1), end.clamp(-1, len - 1));
                (start, (start - end).max(0).unsigned_abs().div_ceil(step.unsigned_abs()))
            }
        };
        *first = usize::try_from(start).unwrap_or(0);
        *by = isize::try_from(step).unwrap_or(isize::MAX);
        *extent = usize::try_from(count).unwrap_or(0);
    }
    Ok(slice)
}

pub(super) fn slice(node: Node<'_>, inputs: &[Option<&Constant>]) -> Result<Constant, Refusal> {
    let Some(data) = inputs.first().copied().flatten() else { return Err(node.damaged("input 0 is missing")) };
    let list = |index: usize| inputs.get(index).copied().flatten().map(|constant| wholes(node, constant)).transpose();
    let slice = sliced(node, &data.shape, [list(1)?, list(2)?, list(3)?, list(4)?])?;
    let own = strides(&data.shape);
    let offset: isize = own.iter().zip(&slice.starts).map(|(&stride, &start)| stride * start as isize).sum();
    let steps: Vec<isize> = own.iter().zip(&slice.steps).map(|(stride, step)| stride.saturating_mul(*step)).collect();
    let picked = usize::try_from(offset).ok().and_then(|offset| data.view(offset, slice.shape, &steps));
    picked.ok_or_else(|| node.damaged("it reaches outside of its data"))
}

pub(super) fn concat(node: Node<'_>, inputs: &[&Constant]) -> Result<Constant, Refusal> {
    let Some(first) = inputs.first() else { return Err(node.damaged("it joins nothing")) };
    let rank = first.shape.len();
    let axis = place(node.int("axis", 0), rank).ok_or_else(|| node.damaged("its axis is none of its inputs'"))?;
    let mut shape = first.shape.clone();
    let mut total = 0_usize;
    for constant in inputs {
        let fits = constant.shape.len() == rank
            && constant.shape.iter().zip(&shape).enumerate().all(|(place, (a, b))| place == axis || a == b);
        if !fits {
            return Err(node.damaged(format_args!("{:?} cannot be joined to {shape:?}", constant.shape)));
        }
        total = total.saturating_add(constant.shape.get(axis).copied().unwrap_or(0));
    }
    if let Some(extent) = shape.get_mut(axis) {
        *extent = total;
    }
    let count = element_count(&shape).ok_or_else(|| node.damaged("its result is too large"))?;
    let rows: usize = shape.iter().take(axis).product();
    let reals: Option<Vec<&[[u8; 4]]>> =
        inputs.iter().map(|constant| constant.reals().map(|bytes| bytes.as_chunks::<4>().0)).collect();
    let ints: Option<Vec<&[i64]>> = inputs.iter().map(|constant| constant.wholes()).collect();
    let data = match (reals, ints) {
        (Some(parts), _) => Data::F32(rows_of(&parts, rows, count).into_flattened().into()),
        (_, Some(parts)) => Data::I64(rows_of(&parts, rows, count)),
        _ => return Err(node.damaged("it mixes real and whole numbers")),
    };
    Ok(Constant { shape, data })
}

/// The first row of each part, then the second of each, and so on.
fn rows_of<T: Copy>(parts: &[&[T]], rows: usize, count: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(count);
    // Extents of zero bound no other.
    let parts: Vec<&&[T]> = parts.iter().filter(|part| !part.is_empty()).collect();
    for row in 0..if parts.is_empty() { 0 } else { rows } {
        for part in &parts {
            let len = part.len() / rows.max(1);
            out.extend_from_slice(part.get(row * len..(row + 1) * len).unwrap_or_default());
        }
    }
    out
}
