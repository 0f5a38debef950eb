//! Weights that a file keeps as whole numbers: `DequantizeLinear` of constants.
//!
//! Source: <https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html>.

use crate::onnx::import::constant::{Constant, Data, floats, to_bytes};
use crate::onnx::import::error::Refusal;
use crate::onnx::import::node::Node;

/// `(x - zero_point) * scale`, with one scale for all or one for each index of an axis.
pub(super) fn dequantize(
    node: Node<'_>,
    x: &Constant,
    scale: &Constant,
    zero_point: Option<&Constant>,
) -> Result<Constant, Refusal> {
    let (Data::I64(values), Data::F32(scales)) = (&x.data, &scale.data) else {
        return Err(node.unsupported("it takes whole numbers and scales that are real ones"));
    };
    let scales: Vec<f32> = floats(scales).collect();
    let zeroes = match zero_point.map(Constant::wholes) {
        None => vec![0; scales.len()],
        Some(Some(zeroes)) if zeroes.len() == scales.len() => zeroes.to_vec(),
        Some(_) => return Err(node.damaged("its zero points are not as many as its scales, or not whole")),
    };
    let rank = x.shape.len();
    let axis = node.int("axis", 1);
    let axis = usize::try_from(if axis < 0 { axis.saturating_add(rank as i64) } else { axis }).unwrap_or(rank);
    // Elements from one index of the axis to the next, and indices of the axis.
    let (inner, extent) = match x.shape.get(axis) {
        _ if scales.len() == 1 => (values.len().max(1), 1),
        Some(&extent) if scale.shape.len() == 1 && scales.len() == extent => {
            (x.shape.iter().skip(axis + 1).product::<usize>().max(1), extent)
        }
        _ => {
            return Err(node.unsupported(format_args!(
                "scales of the shape {:?} along axis {axis} of {:?}, expected one or one for each index",
                scale.shape, x.shape
            )));
        }
    };
    let real = |(place, &value): (usize, &i64)| {
        let index = place / inner % extent.max(1);
        let (scale, zero) = (scales.get(index).copied()?, zeroes.get(index).copied()?);
        Some(value.saturating_sub(zero) as f32 * scale)
    };
    let numbers: Option<Vec<f32>> = values.iter().enumerate().map(real).collect();
    let numbers = numbers.ok_or_else(|| node.damaged("it has fewer scales than indices"))?;
    Ok(Constant { shape: x.shape.clone(), data: Data::F32(to_bytes(numbers.into_iter())) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::messages::{AttributeProto, NodeProto};

    fn of(shape: &[usize], scales: &[f32], zeroes: Option<&[i64]>, axis: i64) -> Result<Vec<f32>, String> {
        let proto = NodeProto {
            op_type: Some("DequantizeLinear".into()),
            attribute: vec![AttributeProto { name: Some("axis".into()), i: Some(axis), ..AttributeProto::default() }],
            ..NodeProto::default()
        };
        let count: usize = shape.iter().product();
        let x = Constant { shape: shape.to_vec(), data: Data::I64((0..count as i64).collect()) };
        let scale = Constant { shape: vec![scales.len()], data: Data::F32(to_bytes(scales.iter().copied())) };
        let zeroes = zeroes.map(|zeroes| Constant::whole(zeroes.to_vec()));
        let made = dequantize(Node { proto: &proto, opset: 13 }, &x, &scale, zeroes.as_ref());
        let made = made.map_err(|refusal| format!("{refusal:?}"))?;
        assert_eq!(made.shape, shape);
        Ok(floats(made.reals().ok_or("no real numbers")?).collect())
    }

    /// Recorded from ONNX's reference evaluator 1.23.
    #[test]
    fn scales_belong_to_indices_of_the_axis() {
        assert_eq!(of(&[2, 3], &[0.5, 2.0], None, 0), Ok(vec![0.0, 0.5, 1.0, 6.0, 8.0, 10.0]));
        assert_eq!(of(&[2, 3], &[1.0, 2.0, 4.0], Some(&[1, 0, -1]), 1), Ok(vec![-1.0, 2.0, 12.0, 2.0, 8.0, 24.0]));
        assert_eq!(of(&[2, 3], &[1.0, 2.0, 4.0], None, -1), Ok(vec![0.0, 2.0, 8.0, 3.0, 8.0, 20.0]));
        assert_eq!(of(&[4], &[3.0], Some(&[1]), 1), Ok(vec![-3.0, 0.0, 3.0, 6.0]));
    }

    #[test]
    fn scales_that_fit_no_axis_are_refused() {
        for (scales, zeroes, axis) in
            [(&[1.0, 2.0][..], None, 1), (&[1.0; 6], None, 0), (&[1.0, 2.0], None, 7), (&[1.0, 2.0], Some(&[0][..]), 0)]
        {
            assert!(of(&[2, 3], scales, zeroes, axis).is_err(), "{scales:?} {zeroes:?} {axis}");
        }
    }
}
