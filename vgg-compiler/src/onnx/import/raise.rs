//! From a graph to the layers of the notation, when it has words for all of it.

use crate::ir::shape::windows;
use crate::ir::{Graph, Node, Op, Pool, Shape, TypedGraph};
use crate::spec::{Extent, LayerKind, PoolSpec};

/// A layer of the notation, and the keys of its weight and bias in the graph.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Raised {
    pub(super) kind: LayerKind,
    pub(super) keys: Option<[String; 2]>,
}

/// The layers of `graph`, which give its nodes when they are lowered again, one for one.
///
/// # Errors
///
/// What the notation has no words for.
pub(super) fn raise(graph: &TypedGraph) -> Result<Vec<Raised>, String> {
    if !matches!(graph.input_shape(), Shape::Image { .. }) {
        return Err(format!("its input is a vector of {}", graph.input_shape()));
    }
    let &[output] = graph.outputs.as_slice() else {
        return Err(format!("it has {} outputs", graph.outputs.len()));
    };
    let mut layers: Vec<Raised> = Vec::new();
    let mut end = graph.input;
    for (index, node) in graph.nodes.iter().enumerate() {
        if node.inputs != [end] {
            return Err(format!("{} at `{}` is part of a branch", node.op.op_type(), node.name));
        }
        end = node.output;
        layer(graph, node, index, &mut layers)?;
    }
    if end != output {
        return Err("its output is not its last layer".to_owned());
    }
    Ok(layers)
}

/// The layers of `graph` that the notation has words for, whatever is between them.
pub(super) fn sketch(graph: &TypedGraph) -> Vec<LayerKind> {
    let mut layers = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        // What there is no word for is left out.
        let _ = layer(graph, node, index, &mut layers);
    }
    layers.into_iter().map(|layer| layer.kind).collect()
}

fn layer(graph: &TypedGraph, node: &Node, index: usize, layers: &mut Vec<Raised>) -> Result<(), String> {
    let refuse = |why: &str| Err(format!("{} at `{}` {why}", node.op.op_type(), node.name));
    let shape = node.inputs.first().map_or(Shape::Flat { features: 0 }, |&input| graph.shape(input));
    let kind = match node.op {
        Op::Conv(conv) => {
            if conv.group != 1 {
                return refuse("has groups");
            }
            if conv.dilations != [1, 1] {
                return refuse("has dilations");
            }
            let [top, left, bottom, right] = conv.pads;
            if top != bottom || left != right {
                return refuse("has other padding above than below, or left than right");
            }
            LayerKind::Conv {
                kernel: extent(conv.kernel_shape),
                filters: conv.out_channels,
                stride: extent(conv.strides),
                pad: Extent { height: top, width: left },
                relu: false,
            }
        }
        Op::Relu => {
            return match layers.last_mut().map(|layer| &mut layer.kind) {
                Some(LayerKind::Conv { relu, .. } | LayerKind::Fc { relu, .. }) if !*relu => {
                    *relu = true;
                    Ok(())
                }
                _ => refuse("does not follow a convolution or a fully connected layer"),
            };
        }
        Op::MaxPool(pool) => match plain_pool(pool, shape) {
            Some(pool) => LayerKind::MaxPool(window(pool)),
            None => return refuse("has other padding above than below, or left than right"),
        },
        Op::AveragePool { pool, count_include_pad: false } => match plain_pool(pool, shape) {
            Some(pool) => LayerKind::AvgPool(window(pool)),
            None => return refuse("has other padding above than below, or left than right"),
        },
        Op::AveragePool { .. } => return refuse("counts its padding"),
        Op::GlobalAveragePool => match shape {
            Shape::Image { height, width, .. } => {
                let kernel = Extent { height, width };
                LayerKind::AvgPool(PoolSpec { kernel, stride: kernel, ..PoolSpec::default() })
            }
            Shape::Flat { .. } => return refuse("reads a vector"),
        },
        Op::Lrn(lrn) => LayerKind::Lrn { size: lrn.size, alpha: lrn.alpha, beta: lrn.beta, k: lrn.bias },
        // The notation flattens before the first fully connected layer, and nowhere else.
        Op::Flatten => {
            let next = graph.nodes.get(index + 1).map(|next| &next.op);
            let first = !layers.iter().any(|layer| matches!(layer.kind, LayerKind::Fc { .. }));
            return if first && matches!(next, Some(Op::Gemm { .. })) {
                Ok(())
            } else {
                refuse("stands before no fully connected layer")
            };
        }
        Op::Gemm { out_features } => LayerKind::Fc { units: out_features, relu: false },
        Op::Softmax => LayerKind::Softmax,
        Op::Clip { .. }
        | Op::LeakyRelu { .. }
        | Op::Sigmoid
        | Op::Add
        | Op::Mul
        | Op::Concat
        | Op::GlobalMaxPool
        | Op::BatchNormalization { .. }
        | Op::Dropout { .. }
        | Op::LogSoftmax => return refuse("has no word in it"),
    };
    layers.push(Raised { kind, keys: keys(graph, node) });
    Ok(())
}

/// The pool with the same padding on opposite sides that does the same, when there is one: elements of the padding take no part, so
/// that more of it below and to the right only adds windows, which rounding up may do as well.
fn plain_pool(pool: Pool, shape: Shape) -> Option<Pool> {
    let (Pool { pads: [top, left, bottom, right], .. }, Shape::Image { height, width, .. }) = (pool, shape) else {
        return None;
    };
    if top == bottom && left == right {
        return Some(pool);
    }
    let count = |pool: &Pool| {
        let ([kernel_h, kernel_w], [stride_h, stride_w], [t, l, b, r]) = (pool.kernel_shape, pool.strides, pool.pads);
        let rows = windows(height, kernel_h, stride_h, t, b, pool.ceil_mode);
        (rows, windows(width, kernel_w, stride_w, l, r, pool.ceil_mode))
    };
    let plain = Pool { pads: [top, left, top, left], ceil_mode: true, ..pool };
    (count(&plain) == count(&pool)).then_some(plain)
}

fn keys(graph: &Graph, node: &Node) -> Option<[String; 2]> {
    match *node.params.as_slice() {
        [weight, bias] => Some([graph.params.get(weight.0)?.key.clone(), graph.params.get(bias.0)?.key.clone()]),
        _ => None,
    }
}

fn extent([height, width]: [usize; 2]) -> Extent {
    Extent { height, width }
}

fn window(pool: Pool) -> PoolSpec {
    let [top, left, ..] = pool.pads;
    PoolSpec {
        kernel: extent(pool.kernel_shape),
        stride: extent(pool.strides),
        pad: Extent { height: top, width: left },
        ceil: pool.ceil_mode,
    }
}
