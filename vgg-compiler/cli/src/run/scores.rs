//! What there is to say about the output of a network.

use vgg_compiler::ir::{Op, TypedGraph};

/// The indices of the `count` highest scores, the highest first; of equal ones the lowest index.
pub(super) fn highest(scores: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order.truncate(count);
    order
}

/// Least, greatest and mean value.
pub(super) fn range(values: &[f32]) -> [f64; 3] {
    let values = || values.iter().map(|&value| f64::from(value));
    let mean = values().sum::<f64>() / values().len().max(1) as f64;
    [values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max), mean]
}

/// Scores as probabilities: what they are behind a softmax, or else their softmax.
pub(super) fn probabilities(graph: &TypedGraph, scores: &[f32]) -> Vec<f64> {
    let last = graph.nodes.iter().find(|node| Some(&node.output) == graph.outputs.first()).map(|node| node.op);
    let values = || scores.iter().map(|&score| f64::from(score));
    match last {
        Some(Op::Softmax) => values().collect(),
        Some(Op::LogSoftmax) => values().map(f64::exp).collect(),
        _ => {
            let highest = values().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = values().map(|score| (score - highest).exp()).sum();
            values().map(|score| (score - highest).exp() / sum).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_come_first_and_equal_ones_in_order() {
        assert_eq!(highest(&[0.1, 0.7, 0.7, 0.2], 3), [1, 2, 3]);
        assert_eq!(highest(&[1.0], 5), [0]);
    }
}
