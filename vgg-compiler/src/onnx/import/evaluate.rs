//! Networks of tests, and what they compute: naive loops in f64 by the definitions of ONNX.

use super::constant::{floats, strides, to_bytes};
use super::net::{Activation, Conv, Gemm, Net, Node, Op, Value, ValueId};
use crate::ir::Pool;

/// A network without nodes.
pub(super) fn net(shape: &[usize]) -> Net {
    Net {
        name: String::new(),
        docs: Vec::new(),
        batch: shape[0],
        input: ValueId(0),
        outputs: vec![ValueId(0)],
        values: vec![Value { name: "x".into(), shape: shape.to_vec() }],
        nodes: Vec::new(),
        notes: Default::default(),
    }
}

impl Net {
    /// Appends an operator on the output, and makes its result the output.
    pub(super) fn push(&mut self, name: &str, op: Op, shape: &[usize]) {
        let inputs = self.outputs.clone();
        self.push_on(&inputs, name, op, shape);
    }

    /// The same on other inputs.
    pub(super) fn push_on(&mut self, inputs: &[ValueId], name: &str, op: Op, shape: &[usize]) -> ValueId {
        let output = self.add_value(name.into(), shape.to_vec());
        self.nodes.push(Node { names: vec![name.into()], op, inputs: inputs.to_vec(), output });
        self.outputs = vec![output];
        output
    }
}

/// Numbers that differ and have both signs.
fn some(count: usize) -> bytes::Bytes {
    to_bytes((0..count).map(|n| ((n * 37 + 11) % 23) as f32 / 8.0 - 1.3))
}

pub(super) fn conv(out: usize, channels: usize, [height, width]: [usize; 2]) -> Conv {
    Conv {
        shape: [out, channels, height, width],
        weight: some(out * channels * height * width),
        bias: some(out),
        strides: [1, 1],
        pads: [0; 4],
        dilations: [1, 1],
        group: 1,
    }
}

pub(super) fn gemm(out: usize, inputs: usize) -> Gemm {
    Gemm { shape: [out, inputs], weight: some(out * inputs), bias: some(out) }
}

/// Panics unless both networks compute the same from the same numbers. Where one takes channels last and the other first, each
/// is given its own order.
pub(super) fn assert_same(a: &Net, b: &Net) {
    let shape = a.shape(a.input);
    let count: usize = shape.iter().product();
    let x: Vec<f64> = (0..count).map(|n| ((n * 29 + 7) % 31) as f64 / 9.0 - 1.6).collect();
    let y = if b.shape(b.input) == shape || b.shape(b.input).len() != shape.len() {
        x.clone()
    } else {
        transposed(&x, shape, &[0, 3, 1, 2])
    };
    let (a, b) = (evaluate(a, x), evaluate(b, y));
    assert_eq!(a.len(), b.len());
    let largest = a.iter().fold(1.0, |most: f64, value| most.max(value.abs()));
    for (index, (a, b)) in a.iter().zip(&b).enumerate() {
        assert!((a - b).abs() <= 1e-5 * largest, "element {index}: {a} before, {b} after");
    }
}

/// The first output.
fn evaluate(net: &Net, input: Vec<f64>) -> Vec<f64> {
    let mut values: Vec<Option<Vec<f64>>> = vec![None; net.values.len()];
    values[net.input.0] = Some(input);
    for node in &net.nodes {
        let inputs: Vec<(&[f64], &[usize])> = node
            .inputs
            .iter()
            .map(|input| (values[input.0].as_deref().expect("topological order"), net.shape(*input)))
            .collect();
        let shape = net.shape(node.output);
        let made = apply(&node.op, &inputs, shape);
        assert_eq!(made.len(), shape.iter().product::<usize>(), "{:?}", node.names);
        values[node.output.0] = Some(made);
    }
    values[net.outputs[0].0].take().expect("the output is made")
}

fn apply(op: &Op, inputs: &[(&[f64], &[usize])], made: &[usize]) -> Vec<f64> {
    let (x, shape) = inputs[0];
    match op {
        Op::Conv(conv) => convolved(conv, x, shape, made),
        Op::Gemm(gemm) => {
            let (weight, bias) = (wide(&gemm.weight), wide(&gemm.bias));
            let [out, inputs] = gemm.shape;
            let rows = x.chunks(inputs);
            rows.flat_map(|row| {
                (0..out).map(|o| bias[o] + dot(row, &weight[o * inputs..(o + 1) * inputs])).collect::<Vec<_>>()
            })
            .collect()
        }
        Op::MatMul(weight) => {
            let (inputs, out) = (weight.shape[0], weight.shape[1]);
            let weight = wide(weight.reals().expect("real numbers"));
            let rows = x.chunks(inputs);
            rows.flat_map(|row| {
                (0..out)
                    .map(|o| row.iter().enumerate().map(|(i, x)| x * weight[i * out + o]).sum())
                    .collect::<Vec<f64>>()
            })
            .collect()
        }
        Op::Affine(affine) => {
            let per = |index: usize| match affine.axis {
                None => index % affine.scale.len(),
                Some(axis) => index / shape[axis + 1..].iter().product::<usize>() % shape[axis],
            };
            x.iter().enumerate().map(|(index, x)| x * affine.scale[per(index)] + affine.shift[per(index)]).collect()
        }
        Op::Activation(function) => x
            .iter()
            .map(|&x| match *function {
                Activation::Relu => x.max(0.0),
                Activation::Clip { min, max } => x.max(min.into()).min(max.into()),
                Activation::LeakyRelu { alpha } => {
                    if x < 0.0 {
                        f64::from(alpha) * x
                    } else {
                        x
                    }
                }
                Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            })
            .collect(),
        Op::MaxPool(pool) => {
            pooled(pool, x, shape, made, &|taken, _| taken.iter().copied().fold(f64::NEG_INFINITY, f64::max))
        }
        Op::AveragePool { pool, count_include_pad } => pooled(pool, x, shape, made, &|taken, all| {
            taken.iter().sum::<f64>() / if *count_include_pad { all } else { taken.len() } as f64
        }),
        Op::ReduceMean { axes, .. } | Op::ReduceSum { axes, .. } => {
            let kept: Vec<usize> = (0..shape.len()).filter(|axis| !axes.contains(axis)).collect();
            let order: Vec<usize> = kept.iter().chain(axes).copied().collect();
            let run: usize = axes.iter().map(|&axis| shape[axis]).product();
            let share = if matches!(op, Op::ReduceMean { .. }) { 1.0 / run as f64 } else { 1.0 };
            transposed(x, shape, &order).chunks(run).map(|run| run.iter().sum::<f64>() * share).collect()
        }
        Op::Reshape | Op::Identity(_) => x.to_vec(),
        Op::Transpose(order) => transposed(x, shape, order),
        Op::Pad { sides, value } => {
            let mut out = vec![f64::from(*value); made.iter().product()];
            let steps = strides(made);
            for (index, &x) in x.iter().enumerate() {
                let mut rest = index;
                let mut place = 0;
                for axis in (0..shape.len()).rev() {
                    place += (rest % shape[axis] + sides[axis][0]) * steps[axis] as usize;
                    rest /= shape[axis];
                }
                out[place] = x;
            }
            out
        }
        Op::Concat { axis } => {
            let rows: usize = shape[..*axis].iter().product();
            let row = |n: usize, x: &[f64]| x[n * x.len() / rows..(n + 1) * x.len() / rows].to_vec();
            (0..rows).flat_map(|n| inputs.iter().flat_map(move |(x, _)| row(n, x))).collect()
        }
        Op::Gather { axes, indices, .. } => {
            let product = |axes: &[usize]| axes.iter().product::<usize>();
            let (extent, inner) = (product(&shape[axes.clone()]), product(&shape[axes.end..]));
            let rows = x.chunks(extent * inner);
            rows.flat_map(|row| indices.iter().flat_map(|&at| row[at * inner..][..inner].iter().copied())).collect()
        }
        Op::Add => x.iter().zip(inputs[1].0).map(|(a, b)| a + b).collect(),
        Op::Mul => x.iter().zip(inputs[1].0).map(|(a, b)| a * b).collect(),
        Op::Lrn(_) | Op::GlobalMaxPool | Op::Softmax { .. } => panic!("no pass changes {}", op.name()),
    }
}

fn wide(data: &[u8]) -> Vec<f64> {
    floats(data).map(f64::from).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn transposed(x: &[f64], shape: &[usize], order: &[usize]) -> Vec<f64> {
    let steps = strides(shape);
    let made: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
    (0..x.len())
        .map(|mut index| {
            let mut place = 0;
            for (&extent, &axis) in made.iter().zip(order).rev() {
                place += index % extent * steps[axis] as usize;
                index /= extent;
            }
            x[place]
        })
        .collect()
}

fn convolved(conv: &Conv, x: &[f64], shape: &[usize], made: &[usize]) -> Vec<f64> {
    let (weight, bias) = (wide(&conv.weight), wide(&conv.bias));
    let [out, channels, kernel_h, kernel_w] = conv.shape;
    let &[n, c, h, w] = shape else { panic!("an image") };
    let mut y = Vec::new();
    for (image, o) in (0..n).flat_map(|image| (0..out).map(move |o| (image, o))) {
        let first = o / (out / conv.group) * channels;
        for (row, column) in (0..made[2]).flat_map(|row| (0..made[3]).map(move |column| (row, column))) {
            let mut sum = bias[o];
            for (i, u, v) in
                (0..channels).flat_map(|i| (0..kernel_h).flat_map(move |u| (0..kernel_w).map(move |v| (i, u, v))))
            {
                let at = |start: usize, stride: usize, tap: usize, dilation: usize, pad: usize, extent: usize| {
                    (start * stride + tap * dilation).checked_sub(pad).filter(|&at| at < extent)
                };
                let r = at(row, conv.strides[0], u, conv.dilations[0], conv.pads[0], h);
                let s = at(column, conv.strides[1], v, conv.dilations[1], conv.pads[1], w);
                if let (Some(r), Some(s)) = (r, s) {
                    sum += weight[((o * channels + i) * kernel_h + u) * kernel_w + v]
                        * x[((image * c + first + i) * h + r) * w + s];
                }
            }
            y.push(sum);
        }
    }
    y
}

/// `result` is given the pixels of a window, and how many there are with the padding.
fn pooled(pool: &Pool, x: &[f64], shape: &[usize], made: &[usize], result: &dyn Fn(&[f64], usize) -> f64) -> Vec<f64> {
    let (h, w) = (shape[2], shape[3]);
    let [kernel_h, kernel_w] = pool.kernel_shape;
    let mut y = Vec::new();
    for plane in x.chunks(h * w) {
        for (row, column) in (0..made[2]).flat_map(|row| (0..made[3]).map(move |column| (row, column))) {
            let mut taken = Vec::new();
            for (u, v) in (0..kernel_h).flat_map(|u| (0..kernel_w).map(move |v| (u, v))) {
                let r = (row * pool.strides[0] + u).checked_sub(pool.pads[0]).filter(|&r| r < h);
                let s = (column * pool.strides[1] + v).checked_sub(pool.pads[1]).filter(|&s| s < w);
                taken.extend(r.zip(s).map(|(r, s)| plane[r * w + s]));
            }
            y.push(result(&taken, kernel_h * kernel_w));
        }
    }
    y
}
