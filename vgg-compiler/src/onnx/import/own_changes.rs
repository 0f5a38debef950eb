//! What a network does with its input before the first layer: a preprocessing that is part of the graph.

use super::net::{Net, Op};

/// What stands between the input of a network and its first layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnChanges {
    /// Whether it multiplies the channels, or adds to them.
    pub scales: bool,
    /// Whether it makes levels of 0 to 255 small, as a division by 255 does.
    pub shrinks: bool,
    /// Whether it puts the channels in another order.
    pub reorders: bool,
    /// What it does, a clause.
    pub text: String,
}

/// What `net`, as it was read, does with its input; none when nothing.
pub(super) fn of(net: &Net) -> Option<OwnChanges> {
    let (mut changes, mut parts, mut value) = (OwnChanges::default(), Vec::new(), net.input);
    let mut largest = 1.0;
    while let Some(node) = net.sole_reader(value).and_then(|index| net.nodes.get(index)) {
        match &node.op {
            // What treats all pixels and channels alike.
            Op::Transpose(_) | Op::Identity(_) | Op::Pad { .. } => {}
            Op::Reshape if net.shape(node.output).len() == net.shape(value).len() => {}
            Op::Affine(affine) => {
                let changed = |values: &[f64], neutral: f64| values.iter().any(|&value| value != neutral);
                if changed(&affine.scale, 1.0) {
                    parts.push(format!("multiplies it by {}", numbers(&affine.scale)));
                }
                if changed(&affine.shift, 0.0) {
                    parts.push(format!("adds {} to it", numbers(&affine.shift)));
                }
                changes.scales |= changed(&affine.scale, 1.0) || changed(&affine.shift, 0.0);
                largest *= affine.scale.iter().fold(0.0, |largest: f64, scale| largest.max(scale.abs()));
            }
            Op::Gather { .. } => {
                changes.reorders = true;
                parts.push("puts its channels in another order".into());
            }
            _ => break,
        }
        value = node.output;
    }
    // A deviation of colours of 0 to 1 is no smaller than a tenth, one of levels is.
    changes.shrinks = largest < 0.1;
    changes.text = parts.join(", ");
    (changes.scales || changes.reorders).then_some(changes)
}

/// A number, or those of three channels.
fn numbers(values: &[f64]) -> String {
    let shown = |value: &f64| (*value as f32).to_string();
    match values {
        [first, rest @ ..] if rest.iter().all(|value| value == first) => shown(first),
        [_, _, _] => values.iter().map(shown).collect::<Vec<_>>().join(" "),
        _ => format!("{} numbers", values.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::import::affine::Affine;
    use crate::onnx::import::evaluate::{conv, net};

    fn affine(axis: Option<usize>, scale: &[f64], shift: &[f64]) -> Op {
        Op::Affine(Affine { op: "Mul", axis, scale: scale.to_vec(), shift: shift.to_vec() })
    }

    #[test]
    fn what_stands_before_the_first_layer_is_told() {
        let mut keras = net(&[1, 4, 4, 3]);
        let order = Op::Gather { op: "Slice", axes: 3..4, indices: vec![2, 1, 0], shape: vec![3] };
        keras.push("reversed", order, &[1, 4, 4, 3]);
        keras.push("centred", affine(Some(3), &[1.0; 3], &[-103.939, -116.779, -123.68]), &[1, 4, 4, 3]);
        keras.push("planes", Op::Transpose(vec![0, 3, 1, 2]), &[1, 3, 4, 4]);
        keras.push("conv", Op::Conv(conv(2, 3, [2, 2])), &[1, 2, 3, 3]);
        keras.push("behind", affine(Some(1), &[2.0; 2], &[0.0; 2]), &[1, 2, 3, 3]);
        let changes = of(&keras).unwrap_or_default();
        assert_eq!(changes.text, "puts its channels in another order, adds -103.939 -116.779 -123.68 to it");
        assert_eq!((changes.scales, changes.shrinks, changes.reorders), (true, false, true));

        let mut rescaled = net(&[1, 3, 4, 4]);
        rescaled.push("scaled", affine(Some(1), &[1.0 / 255.0; 3], &[0.0; 3]), &[1, 3, 4, 4]);
        rescaled.push("normal", affine(Some(1), &[4.0, 4.5, 5.0], &[0.0; 3]), &[1, 3, 4, 4]);
        rescaled.push("conv", Op::Conv(conv(2, 3, [2, 2])), &[1, 2, 3, 3]);
        let changes = of(&rescaled).unwrap_or_default();
        assert_eq!(changes.text, "multiplies it by 0.003921569, multiplies it by 4 4.5 5");
        assert_eq!((changes.scales, changes.shrinks, changes.reorders), (true, true, false));

        let mut plain = net(&[1, 3, 4, 4]);
        plain.push("conv", Op::Conv(conv(2, 3, [2, 2])), &[1, 2, 3, 3]);
        plain.push("behind", affine(Some(1), &[2.0; 2], &[0.0; 2]), &[1, 2, 3, 3]);
        assert_eq!(of(&plain), None);
    }
}
