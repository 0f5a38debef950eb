//! Operators that compute new elements of old ones.

use super::wholes;
use crate::onnx::import::constant::{Constant, Data, broadcast_shape, element_count, floats, place, to_bytes};
use crate::onnx::import::error::Refusal;
use crate::onnx::import::node::Node;

/// Counts elements before there is memory for them.
type Charge<'a> = &'a mut dyn FnMut(usize) -> Result<(), Refusal>;

/// The constants stretched to one shape.
fn stretched<const N: usize>(
    node: Node<'_>,
    inputs: [&Constant; N],
    charge: Charge<'_>,
) -> Result<[Constant; N], Refusal> {
    let refuse = || {
        let shapes = inputs.map(|constant| format!("{:?}", constant.shape));
        node.damaged(format_args!("constants of the shapes {} do not fit together", shapes.join(", ")))
    };
    let shape = inputs.iter().try_fold(Vec::new(), |shape, constant| broadcast_shape(&shape, &constant.shape));
    let shape = shape.ok_or_else(refuse)?;
    charge(element_count(&shape).ok_or_else(refuse)?)?;
    let all: Option<Vec<Constant>> = inputs.iter().map(|constant| constant.broadcast(&shape)).collect();
    all.and_then(|all| all.try_into().ok()).ok_or_else(refuse)
}

/// Element by element.
pub(super) fn binary(node: Node<'_>, a: &Constant, b: &Constant, charge: Charge<'_>) -> Result<Constant, Refusal> {
    let op = node.op_type();
    let [Constant { shape, data: a }, Constant { data: b, .. }] = stretched(node, [a, b], charge)?;
    let data = match (&a, &b) {
        (Data::I64(a), Data::I64(b)) => {
            let values = a.iter().zip(b).map(|(&a, &b)| match op {
                "Add" => a.checked_add(b),
                "Sub" => a.checked_sub(b),
                "Mul" => a.checked_mul(b),
                "Div" => a.checked_div(b),
                "Min" => Some(a.min(b)),
                "Max" => Some(a.max(b)),
                _ => Some(i64::from(a == b)),
            });
            let values: Option<Vec<i64>> = values.collect();
            Data::I64(values.ok_or_else(|| node.damaged("its result is too large, or divided by zero"))?)
        }
        (Data::F32(a), Data::F32(b)) if op == "Equal" => {
            Data::I64(floats(a).zip(floats(b)).map(|(a, b)| i64::from(a == b)).collect())
        }
        (Data::F32(a), Data::F32(b)) => Data::F32(to_bytes(floats(a).zip(floats(b)).map(|(a, b)| match op {
            "Add" => a + b,
            "Sub" => a - b,
            "Mul" => a * b,
            "Div" => a / b,
            "Min" => a.min(b),
            _ => a.max(b),
        }))),
        _ => return Err(node.damaged("it mixes real and whole numbers")),
    };
    Ok(Constant { shape, data })
}

/// The elements of the second where the first is true, of the third elsewhere.
pub(super) fn choose(node: Node<'_>, inputs: [&Constant; 3], charge: Charge<'_>) -> Result<Constant, Refusal> {
    let [condition, Constant { shape, data: a }, Constant { data: b, .. }] = stretched(node, inputs, charge)?;
    let condition = wholes(node, &condition)?;
    let data = match (&a, &b) {
        (Data::I64(a), Data::I64(b)) => {
            let all = condition.iter().zip(a).zip(b);
            Data::I64(all.map(|((&condition, &a), &b)| if condition != 0 { a } else { b }).collect())
        }
        (Data::F32(a), Data::F32(b)) => {
            let all = condition.iter().zip(floats(a)).zip(floats(b));
            Data::F32(to_bytes(all.map(|((&condition, a), b)| if condition != 0 { a } else { b })))
        }
        _ => return Err(node.damaged("it mixes real and whole numbers")),
    };
    Ok(Constant { shape, data })
}

/// One by one.
pub(super) fn unary(node: Node<'_>, input: &Constant) -> Result<Constant, Refusal> {
    let data = match (node.op_type(), &input.data) {
        ("Neg", Data::I64(values)) => {
            let values: Option<Vec<i64>> = values.iter().map(|value| value.checked_neg()).collect();
            Data::I64(values.ok_or_else(|| node.damaged("its result is too large"))?)
        }
        (op, Data::F32(bytes)) => Data::F32(to_bytes(floats(bytes).map(|value| match op {
            "Neg" => -value,
            "Floor" => value.floor(),
            "Ceil" => value.ceil(),
            _ => value.sqrt(),
        }))),
        _ => return Err(node.damaged("it has whole numbers, expected real ones")),
    };
    Ok(Constant { shape: input.shape.clone(), data })
}

/// The product or the largest of all elements, as shape arithmetic takes it.
pub(super) fn reduced(node: Node<'_>, input: &Constant, axes: Option<&Constant>) -> Result<Constant, Refusal> {
    let axes = axes.map(|axes| wholes(node, axes)).transpose()?.or_else(|| node.ints("axes"));
    let rank = input.shape.len();
    let gone = |axis: usize| axes.is_none_or(|axes| axes.iter().any(|&given| place(given, rank) == Some(axis)));
    if !(0..rank).all(gone) {
        return Err(node.unsupported("only all elements together are reduced"));
    }
    let largest = node.op_type() == "ReduceMax";
    let data = match &input.data {
        Data::I64(values) if largest => {
            Data::I64(vec![*values.iter().max().ok_or_else(|| node.damaged("it has no elements"))?])
        }
        Data::F32(bytes) if largest => {
            Data::F32(to_bytes(std::iter::once(floats(bytes).fold(f32::NEG_INFINITY, f32::max))))
        }
        Data::I64(values) => {
            let product = values.iter().try_fold(1_i64, |product, &value| product.checked_mul(value));
            Data::I64(vec![product.ok_or_else(|| node.damaged("its result is too large"))?])
        }
        Data::F32(bytes) => Data::F32(to_bytes(std::iter::once(floats(bytes).product()))),
    };
    Ok(Constant { shape: if node.int("keepdims", 1) != 0 { vec![1; rank] } else { Vec::new() }, data })
}
