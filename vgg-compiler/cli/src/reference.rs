//! A graph evaluated node by node with naive loops in 64-bit arithmetic: the oracle of `verify`, of the conformance tests
//! and of the outputs that are recorded with a generated crate.

use vgg_compiler::ir::{Node, Op, Pool, Shape, TypedGraph, ValueId};
use vgg_compiler::weights::Weights;
use vgg_runtime::PoolWindow;
use vgg_runtime::reference::{self, Nchw, Real};

/// Evaluates `graph` on `batch` images in NCHW order and returns its outputs, one after the other. `observer` is shown each
/// node and what it made, as [N, C, H, W] or [N, features].
///
/// # Panics
///
/// When `weights` were resolved for another graph, or `input` does not hold `batch` images.
pub fn evaluate<T: Real>(
    graph: &TypedGraph,
    weights: &Weights,
    batch: usize,
    input: &[f32],
    observer: &mut dyn FnMut(&Node, &[T]),
) -> Vec<T> {
    assert!(weights.fit(graph), "the weights were resolved for another graph than `{}`", graph.name);
    assert_eq!(input.len(), batch * graph.input_shape().len(), "the input does not hold {batch} images");
    let mut values: Vec<Option<Vec<T>>> = vec![None; graph.values.len()];
    values[graph.input.0] = Some(input.iter().map(|&x| T::from_f64(f64::from(x))).collect());
    for (index, node) in graph.nodes.iter().enumerate() {
        let operand = |id: &ValueId| {
            let x = values[id.0].as_deref().expect("a verified graph is in topological order");
            (x, graph.shape(*id))
        };
        let operands: Vec<(&[T], Shape)> = node.inputs.iter().map(operand).collect();
        let numbers =
            |index| weights.numbers(graph, node, index).into_iter().map(|x| T::from_f64(f64::from(x))).collect();
        let params: Vec<Vec<T>> = (0..node.op.param_suffixes().len()).map(numbers).collect();
        let made = apply(&node.op, &operands, batch, &params);
        observer(node, &made);
        values[node.output.0] = Some(made);
        for read in &node.inputs {
            let read_later = graph.nodes[index + 1..].iter().any(|later| later.inputs.contains(read));
            if !read_later && !graph.outputs.contains(read) {
                values[read.0] = None;
            }
        }
    }
    let outputs =
        graph.outputs.iter().map(|output| values[output.0].take().expect("a verified graph makes its outputs"));
    outputs.flatten().collect()
}

fn apply<T: Real>(op: &Op, operands: &[(&[T], Shape)], batch: usize, params: &[Vec<T>]) -> Vec<T> {
    let (x, shape) = operands[0];
    let second = || operands[1].0;
    let nchw = || match shape {
        Shape::Image { channels, height, width } => Nchw { batch, channels, height, width },
        Shape::Flat { features } => Nchw { batch, channels: features, height: 1, width: 1 },
    };
    match op {
        Op::Conv(conv) => {
            let attributes = reference::Conv {
                out_channels: conv.out_channels,
                kernel: conv.kernel_shape,
                strides: conv.strides,
                pads: conv.pads,
                dilations: conv.dilations,
                groups: conv.group,
            };
            reference::conv(x, nchw(), &params[0], &params[1], attributes)
        }
        Op::Relu => reference::relu(x),
        Op::Clip { min, max } => reference::clip(x, f64::from(*min), f64::from(*max)),
        Op::LeakyRelu { alpha } => reference::leaky_relu(x, f64::from(*alpha)),
        Op::Sigmoid => reference::sigmoid(x),
        Op::Add => reference::add(x, second()),
        Op::Mul => reference::mul(x, second()),
        Op::Concat => {
            let inputs: Vec<(&[T], usize)> = operands.iter().map(|(x, shape)| (*x, shape.len())).collect();
            reference::concat(&inputs, batch)
        }
        Op::MaxPool(pool) => reference::max_pool(x, nchw(), window(pool)),
        Op::AveragePool { pool, count_include_pad } => {
            reference::average_pool(x, nchw(), window(pool), *count_include_pad)
        }
        Op::GlobalMaxPool => reference::max_pool(x, nchw(), whole(nchw())),
        Op::GlobalAveragePool => reference::average_pool(x, nchw(), whole(nchw()), false),
        Op::Lrn(lrn) => {
            let [alpha, beta, bias] = [lrn.alpha, lrn.beta, lrn.bias].map(f64::from);
            reference::lrn(x, nchw(), reference::Lrn { size: lrn.size, alpha, beta, bias })
        }
        Op::BatchNormalization { epsilon } => {
            let [scale, bias, mean, variance] = [&params[0], &params[1], &params[2], &params[3]];
            reference::batch_normalization(x, nchw(), scale, bias, mean, variance, f64::from(*epsilon))
        }
        Op::Dropout { .. } => x.to_vec(),
        Op::Flatten => reference::flatten(x, nchw()),
        Op::Gemm { .. } => reference::gemm(x, &params[0], &params[1]),
        Op::Softmax => reference::softmax(x, shape.len()),
        Op::LogSoftmax => reference::log_softmax(x, shape.len()),
    }
}

/// The window of a pool over a whole image.
fn whole(shape: Nchw) -> PoolWindow {
    PoolWindow { kernel: [shape.height, shape.width], strides: [1, 1], pads: [0; 4], ceil_mode: false }
}

fn window(pool: &Pool) -> PoolWindow {
    PoolWindow { kernel: pool.kernel_shape, strides: pool.strides, pads: pool.pads, ceil_mode: pool.ceil_mode }
}
