//! Means and sums of rows and columns in several steps, such as `x.mean(3).mean(2)` and `x.flatten(2).mean(2)`: one mean over both.

use crate::onnx::import::affine::{Affine, MAX_NUMBERS};
use crate::onnx::import::error::Refusal;
use crate::onnx::import::net::{Net, Node, OPEN, Op, ValueId};

/// Makes a sum a mean times a number, a mean of means one mean, and one over axes that were put together a mean over each of them.
///
/// All numbers that it makes are [`MAX_NUMBERS`] at most; sums beyond that are left as they are.
pub(super) fn merge_means(net: &mut Net) -> Result<(), Refusal> {
    let mut left = MAX_NUMBERS;
    while of_sum(net, &mut left) || behind_scale(net, &mut left) || of_mean(net) || of_reshaped(net) {}
    Ok(())
}

/// A sum is the mean, times how many are summed.
fn of_sum(net: &mut Net, left: &mut usize) -> bool {
    let found = net.nodes.iter().enumerate().find_map(|(index, node)| {
        let Op::ReduceSum { axes, keep } = &node.op else { return None };
        let input = net.shape(*node.inputs.first()?);
        let extents = axes.iter().map(|&axis| input.get(axis).filter(|&&extent| extent != OPEN));
        let count = extents.collect::<Option<Vec<_>>>()?.into_iter().try_fold(1_usize, |all, &n| all.checked_mul(n))?;
        let shape = net.shape(node.output);
        let channels = *shape.get(1).filter(|&&channels| channels <= *left)?;
        Some((
            index,
            Op::ReduceMean { op: "ReduceSum", axes: axes.clone(), keep: *keep },
            shape.to_vec(),
            channels,
            count,
        ))
    });
    let Some((index, mean, shape, channels, count)) = found else { return false };
    let between = (count != 1).then(|| net.add_value(String::new(), shape));
    let Some(node) = net.nodes.get_mut(index) else { return false };
    node.op = mean;
    // The sum of one element is that element.
    let Some(between) = between else { return true };
    *left = left.saturating_sub(channels);
    let (names, output) = (node.names.clone(), std::mem::replace(&mut node.output, between));
    let (scale, shift) = (vec![count as f64; channels], vec![0.0; channels]);
    let op = Op::Affine(Affine { op: "ReduceSum", axis: Some(1), scale, shift });
    net.nodes.insert(index + 1, Node { names, op, inputs: vec![between], output });
    true
}

/// A scale and shift that are the same everywhere may come after the second of two means.
fn behind_scale(net: &mut Net, left: &mut usize) -> bool {
    let found = net.nodes.iter().enumerate().find_map(|(index, node)| {
        let Op::Affine(affine) = &node.op else { return None };
        let input = *node.inputs.first()?;
        let second = net.sole_reader(node.output)?;
        if !matches!(net.nodes.get(second)?.op, Op::ReduceMean { .. }) || !is_of_mean(net, input) {
            return None;
        }
        let (&scale, &shift) = (affine.scale.first()?, affine.shift.first()?);
        let uniform =
            affine.scale.iter().all(|&other| other == scale) && affine.shift.iter().all(|&other| other == shift);
        let shape = net.shape(net.nodes.get(second)?.output);
        let channels = *shape.get(1).filter(|&&channels| uniform && channels <= *left)?;
        let (scale, shift) = (vec![scale; channels], vec![shift; channels]);
        Some((index, second, Affine { op: affine.op, axis: Some(1), scale, shift }, shape.to_vec()))
    });
    let Some((index, second, affine, shape)) = found else { return false };
    *left = left.saturating_sub(affine.scale.len());
    let names = net.nodes.get(index).map(|node| node.names.clone()).unwrap_or_default();
    let between = net.add_value(String::new(), shape);
    let Some(mean) = net.nodes.get_mut(second) else { return false };
    let output = std::mem::replace(&mut mean.output, between);
    net.nodes.insert(second + 1, Node { names, op: Op::Affine(affine), inputs: vec![between], output });
    net.bypass(index);
    true
}

/// Whether `value` is a mean, or scales and shifts of one.
fn is_of_mean(net: &Net, mut value: ValueId) -> bool {
    while let Some(node) = net.producer(value).and_then(|index| net.nodes.get(index)) {
        match (&node.op, node.inputs.first()) {
            (Op::ReduceMean { .. }, _) => return true,
            (Op::Affine(_), Some(&input)) => value = input,
            _ => return false,
        }
    }
    false
}

/// The mean of means of equally many elements is that of all of them.
fn of_mean(net: &mut Net) -> bool {
    let found = net.nodes.iter().enumerate().find_map(|(first, node)| {
        let Op::ReduceMean { axes, keep, .. } = &node.op else { return None };
        let second = net.sole_reader(node.output)?;
        let Op::ReduceMean { op, axes: behind, keep: kept } = &net.nodes.get(second)?.op else { return None };
        let rank = net.shape(*node.inputs.first()?).len();
        // What the second one counts, by the places in the first one's input.
        let left: Vec<usize> = (0..rank).filter(|axis| *keep || !axes.contains(axis)).collect();
        let behind = behind.iter().map(|&axis| left.get(axis).copied()).collect::<Option<Vec<usize>>>()?;
        Some((first, second, [axes.as_slice(), &behind].concat(), *op, *kept))
    });
    let Some((first, second, axes, op, keep)) = found else { return false };
    net.absorb(first, second);
    set_mean(net, first, op, axes, keep)
}

/// A mean over rows and columns that were made one axis.
fn of_reshaped(net: &mut Net) -> bool {
    let found = net.nodes.iter().enumerate().find_map(|(first, node)| {
        let Op::Reshape = node.op else { return None };
        let second = net.sole_reader(node.output)?;
        let Op::ReduceMean { op, axes, keep } = &net.nodes.get(second)?.op else { return None };
        let (from, to) = (net.shape(*node.inputs.first()?), net.shape(node.output));
        let (&[axis], Some((head, run))) = (axes.as_slice(), to.split_at_checked(*axes.first()?)) else { return None };
        // The extents before the axis stay, and those that it was made of and all behind it are counted backwards.
        let behind = run.len().checked_sub(1)?;
        let end = from.len().checked_sub(behind).filter(|&end| end > axis + 1)?;
        let same = from.get(..axis) == Some(head) && from.get(end..) == run.get(1..);
        same.then(|| (first, second, (axis..end).collect::<Vec<usize>>(), *op, *keep))
    });
    let Some((first, second, axes, op, keep)) = found else { return false };
    net.absorb(first, second);
    set_mean(net, first, op, axes, keep)
}

/// Makes the node `index` a mean over `axes`, and gives the result the extents that its output has.
fn set_mean(net: &mut Net, index: usize, op: &'static str, mut axes: Vec<usize>, keep: bool) -> bool {
    axes.sort_unstable();
    axes.dedup();
    let Some(node) = net.nodes.get(index) else { return false };
    let (output, names) = (node.output, node.names.clone());
    let mut made = node.inputs.first().map(|&input| net.shape(input).to_vec()).unwrap_or_default();
    if keep {
        made.iter_mut().enumerate().filter(|(axis, _)| axes.contains(axis)).for_each(|(_, extent)| *extent = 1);
    } else {
        let mut axis = 0..;
        made.retain(|_| axis.next().is_none_or(|axis| !axes.contains(&axis)));
    }
    let result = if made == net.shape(output) { output } else { net.add_value(String::new(), made) };
    if let Some(node) = net.nodes.get_mut(index) {
        (node.op, node.output) = (Op::ReduceMean { op, axes, keep }, result);
    }
    if result != output {
        net.nodes.insert(index + 1, Node { names, op: Op::Reshape, inputs: vec![result], output });
    }
    true
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;
    use crate::onnx::import::evaluate::{assert_same, net};

    fn mean(axis: usize, keep: bool) -> Op {
        Op::ReduceMean { op: "ReduceMean", axes: vec![axis], keep }
    }

    fn check(before: &Net, ops: &[&str], axes: &[&[usize]]) {
        let mut after = before.clone();
        merge_means(&mut after).unwrap();
        assert_eq!(after.nodes.iter().map(|node| node.op.name()).collect::<Vec<_>>(), ops);
        let means = after.nodes.iter().filter_map(|node| match &node.op {
            Op::ReduceMean { axes, .. } => Some(axes.as_slice()),
            _ => None,
        });
        assert_eq!(means.collect::<Vec<_>>(), axes);
        assert_same(before, &after);
    }

    #[test]
    fn a_mean_of_a_mean_is_one() {
        for (first, kept, second, keep) in [
            (3, false, 2, false),
            (2, false, 2, false),
            (3, true, 2, true),
            (2, true, 3, true),
            (3, false, 2, true),
            (2, true, 3, false),
        ] {
            let mut before = net(&[2, 3, 4, 5]);
            let mut shape = vec![2, 3, 4, 5];
            for (axis, keep) in [(first, kept), (second, keep)] {
                shape[axis] = 1;
                if !keep {
                    shape.remove(axis);
                }
                before.push("mean", mean(axis, keep), &shape);
            }
            let reshaped = kept != keep;
            check(&before, if reshaped { &["ReduceMean", "Reshape"] } else { &["ReduceMean"] }, &[&[2, 3]]);
        }
    }

    #[test]
    fn sums_are_means_times_a_number() {
        let mut before = net(&[2, 3, 4, 5]);
        before.push("columns", Op::ReduceSum { axes: vec![3], keep: false }, &[2, 3, 4]);
        before.push("rows", Op::ReduceSum { axes: vec![2], keep: false }, &[2, 3]);
        check(&before, &["ReduceSum", "ReduceSum", "ReduceSum"], &[&[2, 3]]);
    }

    #[test]
    fn numbers_between_two_means_come_behind() {
        let scale = |scale: f64, shift: f64| {
            Op::Affine(Affine { op: "Mul", axis: Some(1), scale: vec![scale; 3], shift: vec![shift; 3] })
        };
        let mut before = net(&[2, 3, 4, 5]);
        before.push("columns", mean(3, false), &[2, 3, 4]);
        before.push("mul", scale(2.0, 0.0), &[2, 3, 4]);
        before.push("sub", scale(1.0, -0.25), &[2, 3, 4]);
        before.push("rows", mean(2, false), &[2, 3]);
        check(&before, &["ReduceMean", "Mul", "Mul"], &[&[2, 3]]);
        let mut each = net(&[2, 3, 4, 5]);
        each.push("columns", mean(3, false), &[2, 3, 4]);
        let op = Affine { op: "Mul", axis: Some(1), scale: vec![1.0, 2.0, 3.0], shift: vec![0.0; 3] };
        each.push("mul", Op::Affine(op), &[2, 3, 4]);
        each.push("rows", mean(2, false), &[2, 3]);
        check(&each, &["ReduceMean", "Mul", "ReduceMean"], &[&[3], &[2]]);
    }

    #[test]
    fn what_was_made_one_axis_are_rows_and_columns() {
        for keep in [false, true] {
            let mut before = net(&[2, 3, 4, 5]);
            before.push("flat", Op::Reshape, &[2, 3, 20]);
            before.push("mean", mean(2, keep), if keep { &[2, 3, 1] } else { &[2, 3] });
            check(&before, if keep { &["ReduceMean", "Reshape"] } else { &["ReduceMean"] }, &[&[2, 3]]);
        }
        let mut mixed = net(&[2, 3, 4, 5]);
        mixed.push("flat", Op::Reshape, &[2, 12, 5]);
        mixed.push("mean", mean(2, false), &[2, 12]);
        check(&mixed, &["Reshape", "ReduceMean"], &[&[2]]);
    }
}
