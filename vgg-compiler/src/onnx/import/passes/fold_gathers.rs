//! Elements that are picked, put together again and summed: channels in another order, as for images with blue first, and pooling
//! to a size that does not divide the image's, as exporters write it where ONNX has no operator for it.

use std::collections::{BTreeMap, BTreeSet};

use super::drop_dead::drop_dead;
use super::equal_windows::as_pool;
use super::map::Map;
use crate::onnx::import::affine::Affine;
use crate::onnx::import::constant::{floats, to_bytes};
use crate::onnx::import::error::Refusal;
use crate::onnx::import::net::{Gemm, Net, Node, Op, ValueId};
use crate::spec::limits::MAX_TENSOR;

/// Most rows and terms of all maps together.
const MAX_TERMS: usize = 1 << 24;

/// Most multiplications by which terms go into weights.
const MAX_PRODUCTS: usize = 1 << 33;

/// Finds what such a part of the network computes of the activation before it, and puts that in its place: an order of channels with a
/// scale and a shift, an average pool, or the weights of the fully connected layer behind it.
pub(super) fn fold_gathers(net: &mut Net) -> Result<(), Refusal> {
    if !net.nodes.iter().any(|node| matches!(node.op, Op::Gather { .. })) {
        return Ok(());
    }
    for end in ends(net) {
        let Some((value, map)) = end.first() else { continue };
        if end.iter().any(|(value, map)| as_pool(net, *value, map).is_some()) {
            net.note("pooling to another size made one of equal windows");
        } else if into_gemm(net, *value, map).is_some() {
            net.note("pooling to another size folded into the weights behind it");
        } else {
            end.iter().any(|(value, map)| as_order(net, *value, map).is_some());
        }
    }
    drop_dead(net)
}

fn is_sum(op: &Op) -> bool {
    matches!(
        op,
        Op::Gather { .. }
            | Op::Transpose(_)
            | Op::Reshape
            | Op::Identity(_)
            | Op::Affine(_)
            | Op::ReduceMean { .. }
            | Op::Add
            | Op::Concat { .. }
    )
}

/// The activations that picked elements are put together to, where something else reads them, each with those before it that are the
/// same in another order of axes.
fn ends(net: &Net) -> Vec<Vec<(ValueId, Map)>> {
    // What leads to a part that picks.
    let mut leading = BTreeSet::new();
    for node in net.nodes.iter().rev().filter(|node| is_sum(&node.op)) {
        if matches!(node.op, Op::Gather { .. }) || leading.contains(&node.output) {
            leading.extend(node.inputs.iter().copied());
        }
    }
    let mut left = MAX_TERMS;
    let (mut bases, mut maps) = (BTreeMap::new(), BTreeMap::new());
    'nodes: for node in net.nodes.iter().filter(|node| is_sum(&node.op)) {
        if !node.inputs.iter().any(|input| leading.contains(input) || maps.contains_key(input)) {
            continue;
        }
        for &input in &node.inputs {
            if !maps.contains_key(&input) && !bases.contains_key(&input) {
                let Some(base) = Map::identity(input, net.shape(input), &mut left) else { break 'nodes };
                bases.insert(input, base);
            }
        }
        let inputs = node.inputs.iter().filter_map(|input| maps.get(input).or_else(|| bases.get(input)));
        let inputs: Vec<&Map> = inputs.collect();
        if let Some(map) = Map::through(&node.op, &inputs, net.shape(node.output), &mut left) {
            maps.insert(node.output, map);
        }
    }
    let mapped: BTreeSet<ValueId> = maps.keys().copied().collect();
    let outside = |value: ValueId| {
        let mut readers = net.nodes.iter().filter(|node| node.inputs.contains(&value));
        net.outputs.contains(&value) || readers.any(|node| !mapped.contains(&node.output))
    };
    let chain = |mut value: ValueId| {
        let mut chain = Vec::new();
        while let Some(map) = maps.get(&value).filter(|map| map.gathered && map.batch == 0) {
            chain.push((value, map.clone()));
            let before = net.producer(value).and_then(|index| net.nodes.get(index));
            let Some(&[input]) = before.map(|node| node.inputs.as_slice()) else { break };
            if !before.is_some_and(|node| matches!(node.op, Op::Transpose(_))) {
                break;
            }
            value = input;
        }
        chain
    };
    mapped.iter().filter(|value| outside(**value)).map(|&value| chain(value)).collect()
}

/// Channels in another order, each with a scale and a shift.
fn as_order(net: &mut Net, value: ValueId, map: &Map) -> Option<()> {
    let shape = net.shape(map.base).to_vec();
    if shape != net.shape(value) {
        return None;
    }
    let (axis, indices, affine) = (1..shape.len()).find_map(|axis| {
        let (indices, affine) = order_along(map, axis)?;
        Some((axis, indices, affine))
    })?;
    let mut made = Vec::new();
    if affine.scales() || affine.shifts() {
        made.push((Op::Affine(affine), shape.clone()));
    }
    if !indices.is_sorted() {
        let count = indices.len();
        made.push((Op::Gather { op: "Gather", axes: axis..axis + 1, indices, shape: vec![count] }, shape));
    }
    net.put_in_place(value, map.base, made)
}

/// Which channel of the base each channel along `axis` is, when it is one alone and all are there, and the scale and shift of the
/// base's channels.
fn order_along(map: &Map, axis: usize) -> Option<(Vec<usize>, Affine)> {
    let channels = *map.shape.get(axis)?;
    let inner: usize = map.shape.get(axis + 1..)?.iter().product();
    let mut found: Vec<Option<(usize, f64, f64)>> = vec![None; channels];
    for index in 0..map.rows.len() {
        let (&[(element, factor)], shift) = map.rows.row(index)? else { return None };
        let channel = index.checked_div(inner)?.checked_rem(channels)?;
        let other = element.checked_div(inner)?.checked_rem(channels)?;
        // Everything but the channel stays where it is.
        if element + channel * inner != index + other * inner {
            return None;
        }
        let found = found.get_mut(channel)?;
        if *found.get_or_insert((other, factor, shift)) != (other, factor, shift) {
            return None;
        }
    }
    let (mut scale, mut shift) = (vec![None; channels], vec![0.0; channels]);
    let mut indices = Vec::with_capacity(channels);
    for found in found {
        let (other, factor, summand) = found?;
        if scale.get_mut(other)?.replace(factor).is_some() {
            return None;
        }
        *shift.get_mut(other)? = summand;
        indices.push(other);
    }
    let scale = scale.into_iter().collect::<Option<_>>()?;
    Some((indices, Affine { op: "Mul", axis: Some(axis), scale, shift }))
}

/// The sums into the weights of the only layer that reads them, which then reads the base.
fn into_gemm(net: &mut Net, value: ValueId, map: &Map) -> Option<()> {
    let reader = net.sole_reader(value)?;
    let Op::Gemm(gemm) = &net.nodes.get(reader)?.op else { return None };
    let base = net.shape(map.base).to_vec();
    let (&batch, extents) = base.split_first()?;
    let features = extents.iter().try_fold(1_usize, |product, &extent| product.checked_mul(extent))?;
    let gemm = before(gemm, map, features)?;
    let flat = net.add_value(String::new(), vec![batch, features]);
    let node = net.nodes.get_mut(reader)?;
    node.op = Op::Gemm(gemm);
    node.inputs = vec![flat];
    net.nodes.insert(reader, Node { names: Vec::new(), op: Op::Reshape, inputs: vec![map.base], output: flat });
    Some(())
}

/// The layer of the base's `features`, of one of what `map` makes of them.
fn before(gemm: &Gemm, map: &Map, features: usize) -> Option<Gemm> {
    let [out, inputs] = gemm.shape;
    let terms: usize = (0..inputs).map(|index| map.rows.row(index).map_or(0, |(terms, _)| terms.len())).sum();
    let fits = out.checked_mul(features).is_some_and(|count| count as u64 <= MAX_TENSOR);
    if inputs != map.rows.len() || !fits || terms.checked_mul(out).is_none_or(|count| count > MAX_PRODUCTS) {
        return None;
    }
    let mut weight = Vec::with_capacity(4 * out * features);
    let mut bias = Vec::with_capacity(out);
    let mut sums = vec![0.0; features];
    for (row, own) in gemm.weight.chunks((4 * inputs).max(4)).zip(floats(&gemm.bias)) {
        sums.fill(0.0);
        let mut number = f64::from(own);
        for (index, w) in floats(row).map(f64::from).enumerate() {
            let (terms, shift) = map.rows.row(index)?;
            for &(element, factor) in terms {
                *sums.get_mut(element)? += w * factor;
            }
            number += w * shift;
        }
        weight.extend(sums.iter().flat_map(|&sum| (sum as f32).to_le_bytes()));
        bias.push(number as f32);
    }
    Some(Gemm { shape: [out, features], weight: weight.into(), bias: to_bytes(bias.into_iter()) })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests may")]
mod tests {
    use super::*;
    use crate::onnx::import::evaluate::{assert_same, conv, gemm, net};
    use crate::onnx::import::passes::channel_order::channel_order;

    fn pick(axis: usize, indices: &[usize], shape: &[usize]) -> Op {
        Op::Gather { op: "Gather", axes: axis..axis + 1, indices: indices.to_vec(), shape: shape.to_vec() }
    }

    fn gathers(net: &Net) -> usize {
        net.nodes.iter().filter(|node| matches!(node.op, Op::Gather { .. })).count()
    }

    fn check(before: &Net, expected: usize) -> Net {
        let mut after = before.clone();
        fold_gathers(&mut after).unwrap();
        channel_order(&mut after).unwrap();
        assert_eq!(gathers(&after), expected, "{after}");
        assert_same(before, &after);
        after
    }

    /// Keras' `preprocess_input`, with the images' channels last: they are picked, joined, and moved by a mean.
    #[test]
    fn colours_that_are_picked_one_by_one_are_an_order() {
        for dropped in [false, true] {
            let mut before = net(&[2, 4, 5, 3]);
            let input = before.input;
            let mut parts = Vec::new();
            for channel in [2, 1, 0] {
                let shape: &[usize] = if dropped { &[] } else { &[1] };
                let made: &[usize] = if dropped { &[2, 4, 5] } else { &[2, 4, 5, 1] };
                let mut part = before.push_on(&[input], "part", pick(3, &[channel], shape), made);
                if dropped {
                    part = before.push_on(&[part], "axis", Op::Reshape, &[2, 4, 5, 1]);
                }
                let scale = Affine { op: "Mul", axis: Some(1), scale: vec![0.5; 4], shift: vec![channel as f64; 4] };
                parts.push(before.push_on(&[part], "scale", Op::Affine(scale), &[2, 4, 5, 1]));
            }
            before.push_on(&parts, "joined", Op::Concat { axis: 3 }, &[2, 4, 5, 3]);
            let mean = Affine { op: "Add", axis: Some(3), scale: vec![1.0; 3], shift: vec![0.5, -0.25, 2.0] };
            before.push("mean", Op::Affine(mean), &[2, 4, 5, 3]);
            before.push("first", Op::Transpose(vec![0, 3, 1, 2]), &[2, 3, 4, 5]);
            let mut padded = conv(4, 3, [3, 3]);
            padded.pads = [1; 4];
            before.push("conv", Op::Conv(padded), &[2, 4, 4, 5]);
            let after = check(&before, 0);
            assert!(!after.nodes.iter().any(|node| matches!(node.op, Op::Concat { .. })));
        }
    }

    /// `x[:, [2, 1, 0]]` of PyTorch: the batch is moved out of the way and back.
    #[test]
    fn an_order_may_be_taken_of_the_first_axis() {
        let mut before = net(&[2, 3, 4, 4]);
        before.push("to", Op::Transpose(vec![1, 0, 2, 3]), &[3, 2, 4, 4]);
        before.push("order", pick(0, &[2, 0, 1], &[3]), &[3, 2, 4, 4]);
        before.push("back", Op::Transpose(vec![1, 0, 2, 3]), &[2, 3, 4, 4]);
        before.push("conv", Op::Conv(conv(4, 3, [3, 3])), &[2, 4, 2, 2]);
        let after = check(&before, 0);
        assert_eq!(after.nodes.len(), 1);
    }

    /// Adaptive pooling of 3x4 to 2x3 as PyTorch writes it: windows are gathered, their ends masked, and summed one by one.
    #[test]
    fn pooling_to_another_size_goes_into_the_layer_behind() {
        let mut before = net(&[2, 2, 3, 4]);
        before.push("conv", Op::Conv(conv(2, 2, [1, 1])), &[2, 2, 3, 4]);
        before.push("to", Op::Transpose(vec![2, 3, 0, 1]), &[3, 4, 2, 2]);
        let indices = [0_usize, 1, 1, 2].iter().flat_map(|row| [0, 1, 1, 2, 2, 3].map(|column| 4 * row + column));
        let op = Op::Gather { op: "GatherND", axes: 0..2, indices: indices.collect(), shape: vec![2, 2, 3, 2] };
        before.push("windows", op, &[2, 2, 3, 2, 2, 2]);
        before.push("back", Op::Transpose(vec![4, 5, 0, 1, 2, 3]), &[2, 2, 2, 2, 3, 2]);
        let scale: Vec<f64> = (0..48).map(|n| f64::from(u8::from(n % 5 != 0))).collect();
        let mask = Affine { op: "Where", axis: None, scale, shift: vec![0.0; 48] };
        before.push("mask", Op::Affine(mask), &[2, 2, 2, 2, 3, 2]);
        let masked = before.outputs[0];
        let mut sum = None;
        for row in 0..2 {
            let part = before.push_on(&[masked], "row", pick(3, &[row], &[]), &[2, 2, 2, 3, 2]);
            for column in 0..2 {
                let one = before.push_on(&[part], "column", pick(4, &[column], &[]), &[2, 2, 2, 3]);
                sum = Some(match sum {
                    None => one,
                    Some(sum) => before.push_on(&[sum, one], "sum", Op::Add, &[2, 2, 2, 3]),
                });
            }
        }
        before.push("flat", Op::Reshape, &[2, 12]);
        before.push("fc", Op::Gemm(gemm(5, 12)), &[2, 5]);
        let after = check(&before, 0);
        assert_eq!(after.nodes.len(), 3, "{after}");
        // The same by a mean, and with something else behind it.
        for layer in [true, false] {
            let mut before = net(&[2, 2, 3, 4]);
            before.push("rows", pick(2, &[0, 1, 0, 2], &[2, 2]), &[2, 2, 2, 2, 4]);
            before.push("mean", Op::ReduceMean { op: "ReduceMean", axes: vec![3], keep: false }, &[2, 2, 2, 4]);
            before.push("flat", Op::Reshape, &[2, 16]);
            if layer {
                before.push("fc", Op::Gemm(gemm(5, 16)), &[2, 5]);
            }
            check(&before, usize::from(!layer));
        }
    }

    #[test]
    fn a_part_is_no_order() {
        for indices in [&[1_usize, 2][..], &[0, 0, 1], &[0, 1, 1]] {
            let mut before = net(&[1, 3, 4, 4]);
            before.push("part", pick(1, indices, &[indices.len()]), &[1, indices.len(), 4, 4]);
            before.push("conv", Op::Conv(conv(2, indices.len(), [1, 1])), &[1, 2, 4, 4]);
            check(&before, 1);
        }
        let mut turned = net(&[1, 3, 4, 4]);
        turned.push("upside_down", pick(2, &[3, 2, 1, 0], &[4]), &[1, 3, 4, 4]);
        turned.push("conv", Op::Conv(conv(2, 3, [2, 2])), &[1, 2, 3, 3]);
        check(&turned, 1);
    }

    /// Rows `rows` of an image of 4 columns as `[count, length]`, and of columns 0 to 3 two each.
    fn pooled(rows: &[usize], count: usize) -> Net {
        let length = rows.len() / count;
        let mut before = net(&[2, 3, 4, 4]);
        let op = |axis: usize, indices: &[usize], shape: &[usize]| Op::Gather {
            op: "Gather",
            axes: axis..axis + 1,
            indices: indices.to_vec(),
            shape: shape.to_vec(),
        };
        before.push("rows", op(2, rows, &[count, length]), &[2, 3, count, length, 4]);
        before.push("columns", op(4, &[0, 1, 1, 2, 2, 3], &[3, 2]), &[2, 3, count, length, 3, 2]);
        before.push("mean", Op::ReduceMean { op: "ReduceMean", axes: vec![3, 5], keep: false }, &[2, 3, count, 3]);
        before
    }

    #[test]
    fn equal_windows_are_a_pool() {
        for (rows, count, strides) in
            [(&[0, 1, 1, 2, 2, 3][..], 3, [1, 1]), (&[0, 1, 2, 3], 2, [2, 1]), (&[0, 1, 2, 3], 1, [1, 1])]
        {
            for flat in [false, true] {
                let mut before = pooled(rows, count);
                if flat {
                    before.push("flat", Op::Reshape, &[2, 9 * count]);
                }
                let mut after = before.clone();
                fold_gathers(&mut after).unwrap();
                let Op::AveragePool { pool, .. } = &after.nodes[0].op else { panic!("{:?}", after.nodes[0].op) };
                assert_eq!((pool.strides, after.nodes.len()), (strides, 1 + usize::from(flat)));
                assert_same(&before, &after);
            }
        }
    }

    #[test]
    fn other_windows_are_none() {
        for (rows, count) in [
            (&[0, 1, 1, 2, 1, 2][..], 3),
            (&[0, 2, 1, 3], 2),
            (&[1, 2, 2, 3], 2),
            (&[0, 1, 1, 2], 2),
            (&[0, 0, 1, 1], 2),
        ] {
            let before = pooled(rows, count);
            let mut after = before.clone();
            fold_gathers(&mut after).unwrap();
            assert!(after.nodes.iter().all(|node| !matches!(node.op, Op::AveragePool { .. })), "{rows:?}");
            assert_same(&before, &after);
        }
    }
}
