//! One node on activations: its attributes by the rules of the file's opset, its constants, and the shape of what it makes.

use bytes::Bytes;

use super::affine::{Affine, BATCH_NORM, MAX_NUMBERS};
use super::constant::{Constant, element_count, filled, floats, place, to_bytes};
use super::error::Refusal;
use super::fold::{order, reshaped, whole};
use super::net::{Activation, Conv, Gemm, OPEN, Op, shown};
use super::node::Node;
use super::window::window;
use crate::ir::{Lrn, Pool};
use crate::onnx::messages::DataType;

/// What stands at one input of a node.
#[derive(Clone, Copy)]
pub(super) enum Operand<'a> {
    /// Left out.
    Absent,
    Constant(&'a Constant),
    /// The shape of an activation.
    Activation(&'a [usize]),
}

/// A node with at least one activation among its inputs.
pub(super) struct Reading<'a> {
    pub(super) node: Node<'a>,
    pub(super) inputs: &'a [Operand<'a>],
    /// The first axis of every activation.
    pub(super) batch: usize,
}

/// An operator and the shape of what it makes.
pub(super) type Made = (Op, Vec<usize>);

impl<'a> Reading<'a> {
    pub(super) fn operand(&self, index: usize) -> Operand<'a> {
        self.inputs.get(index).copied().unwrap_or(Operand::Absent)
    }

    /// The constant at `index`, none when it is left out.
    pub(super) fn optional(&self, index: usize) -> Result<Option<&'a Constant>, Refusal> {
        match self.operand(index) {
            Operand::Absent => Ok(None),
            Operand::Constant(constant) => Ok(Some(constant)),
            Operand::Activation(_) => {
                Err(self.node.unsupported(format_args!("its input {index} is computed, expected a constant")))
            }
        }
    }

    pub(super) fn constant(&self, index: usize) -> Result<&'a Constant, Refusal> {
        self.optional(index)?.ok_or_else(|| self.node.damaged(format_args!("input {index} is missing")))
    }

    /// The constant's whole numbers.
    pub(super) fn list(&self, index: usize) -> Result<Option<&'a [i64]>, Refusal> {
        match self.optional(index)? {
            None => Ok(None),
            Some(constant) => match constant.wholes() {
                Some(list) => Ok(Some(list)),
                None => Err(self.node.damaged(format_args!("input {index} is not of whole numbers"))),
            },
        }
    }

    /// The shape of the first input, which must be the activation.
    pub(super) fn activation(&self) -> Result<&'a [usize], Refusal> {
        match self.operand(0) {
            Operand::Activation(shape) => Ok(shape),
            _ => Err(self.node.unsupported("a constant stands where the activation is expected")),
        }
    }

    /// [N, C, H, W] of the first input.
    pub(super) fn image(&self) -> Result<[usize; 4], Refusal> {
        let shape = self.activation()?;
        <[usize; 4]>::try_from(shape).map_err(|_| {
            self.node.unsupported(format_args!("its input has {} axes, expected [N, C, H, W]", shape.len()))
        })
    }

    pub(super) fn axis(&self, name: &str, default: i64, rank: usize) -> Result<usize, Refusal> {
        let given = self.node.int(name, default);
        place(given, rank).ok_or_else(|| self.node.damaged(format_args!("{name} is {given} for {rank} axes")))
    }

    /// The operator and the shape of its result.
    pub(super) fn made(&self) -> Result<Made, Refusal> {
        let node = self.node;
        match node.op_type() {
            "Conv" => self.conv(),
            "Gemm" => self.gemm(),
            "MatMul" => self.matmul(),
            "MaxPool" | "AveragePool" => self.pool(),
            "GlobalAveragePool" => {
                let [n, c, ..] = self.image()?;
                Ok((Op::ReduceMean { op: "GlobalAveragePool", axes: vec![2, 3], keep: true }, vec![n, c, 1, 1]))
            }
            "GlobalMaxPool" => {
                let [n, c, ..] = self.image()?;
                Ok((Op::GlobalMaxPool, vec![n, c, 1, 1]))
            }
            "ReduceMean" | "ReduceSum" => self.mean(),
            "LRN" => {
                let shape = self.image()?;
                let size = usize::try_from(node.int("size", 0)).unwrap_or(0);
                if size == 0 {
                    return Err(node.damaged("its size is missing"));
                }
                let (alpha, beta, bias) =
                    (node.float("alpha", 1e-4), node.float("beta", 0.75), node.float("bias", 1.0));
                Ok((Op::Lrn(Lrn { size, alpha, beta, bias }), shape.to_vec()))
            }
            "BatchNormalization" => self.batch_norm(),
            "Add" | "Sub" | "Mul" | "Div" => self.arithmetic(),
            "Relu" => self.unary(Op::Activation(Activation::Relu)),
            "Clip" => self.clip(),
            "LeakyRelu" => self.unary(Op::Activation(Activation::LeakyRelu { alpha: node.float("alpha", 0.01) })),
            "Sigmoid" => self.unary(Op::Activation(Activation::Sigmoid)),
            "Identity" => self.unary(Op::Identity("Identity")),
            "Dropout" => {
                node.not_training()?;
                if self.optional(2)?.is_some_and(|mode| mode.wholes().is_none_or(|mode| mode != [0])) {
                    return Err(node.unsupported("training_mode is true, expected false"));
                }
                self.unary(Op::Identity("Dropout"))
            }
            "Cast" => {
                let real = [DataType::Float, DataType::Float16, DataType::Bfloat16, DataType::Double];
                let to = node.int("to", 0);
                if !real.iter().any(|&kind| i64::from(kind as i32) == to) {
                    let problem = format!("it casts activations to type {to}, expected real numbers");
                    return Err(node.unsupported(problem));
                }
                self.unary(Op::Identity("Cast"))
            }
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => self.reshape(),
            "Transpose" => {
                let shape = self.activation()?;
                let order = order(node, shape.len())?;
                let made = order.iter().filter_map(|&axis| shape.get(axis).copied()).collect();
                Ok((Op::Transpose(order), made))
            }
            "Softmax" | "LogSoftmax" => {
                let shape = self.activation()?;
                let log = node.op_type() == "LogSoftmax";
                let axis = self.axis("axis", if node.opset < 13 { 1 } else { -1 }, shape.len())?;
                // Up to opset 12 over everything from the axis on.
                let axes = if node.opset < 13 { axis..shape.len() } else { axis..axis + 1 };
                Ok((Op::Softmax { axes, log }, shape.to_vec()))
            }
            "Pad" => self.pad(),
            "Concat" => self.concat(),
            "Slice" => self.slice(),
            "Gather" => self.gather(),
            "GatherND" => self.gather_nd(),
            "Where" => self.masked(),
            "ReduceMax" => self.largest(),
            _ => Err(node.unsupported("it is evaluated for constants only, but reads an activation")),
        }
    }

    pub(super) fn unary(&self, op: Op) -> Result<Made, Refusal> {
        Ok((op, self.activation()?.to_vec()))
    }

    fn conv(&self) -> Result<Made, Refusal> {
        let node = self.node;
        let [n, c, h, w] = self.image()?;
        let weight = self.constant(1)?;
        let Some(data) = weight.reals() else { return Err(node.damaged("its weight is not of real numbers")) };
        let Ok(shape @ [out, channels, kernel_h, kernel_w]) = <[usize; 4]>::try_from(weight.shape.as_slice()) else {
            let problem = format!("its weight has the shape {:?}, expected four extents", weight.shape);
            return Err(node.unsupported(problem));
        };
        let group = usize::try_from(node.int("group", 1)).unwrap_or(0);
        let kernel = [kernel_h, kernel_w];
        let grouped = group > 0 && channels.checked_mul(group) == Some(c) && out.is_multiple_of(group);
        if !grouped || out == 0 || node.extents("kernel_shape", kernel)? != kernel {
            let problem = format!("its weight has the shape {shape:?} for {c} channels in {group} groups");
            return Err(node.damaged(problem));
        }
        let window = window(node, [h, w], kernel)?;
        let bias = match self.optional(2)? {
            None => filled(0.0, out),
            Some(bias) => match bias.reals().filter(|data| data.len() == 4 * out) {
                Some(data) => data.clone(),
                None => {
                    return Err(node.damaged(format_args!("its bias has the shape {:?}, expected [{out}]", bias.shape)));
                }
            },
        };
        let [rows, columns] = window.output;
        let conv = Conv {
            shape,
            weight: data.clone(),
            bias,
            strides: window.strides,
            pads: window.pads,
            dilations: window.dilations,
            group,
        };
        Ok((Op::Conv(conv), vec![n, out, rows, columns]))
    }

    fn gemm(&self) -> Result<Made, Refusal> {
        let node = self.node;
        let shape = self.activation()?;
        let (&rows, features) = shape.split_first().unwrap_or((&0, &[]));
        // Some files leave the flattening before it out.
        let features: usize = element_count(features).ok_or_else(|| node.damaged("its input is too large"))?;
        if node.int("transA", 0) != 0 {
            return Err(node.unsupported("transA is 1, expected 0: one image a row"));
        }
        let weight = self.constant(1)?;
        let Ok([first, second]) = <[usize; 2]>::try_from(weight.shape.as_slice()) else {
            return Err(node.damaged(format_args!("its weight has the shape {:?}, expected a matrix", weight.shape)));
        };
        let transposed = node.int("transB", 0) != 0;
        let (out, inputs) = if transposed { (first, second) } else { (second, first) };
        if inputs != features || out == 0 {
            return Err(node.damaged(format_args!("its weight takes {inputs} features, but {features} arrive")));
        }
        let weight = if transposed { Some(weight.clone()) } else { weight.permuted(&[1, 0]) };
        let weight = weight.as_ref().and_then(Constant::reals).cloned();
        let mut weight = weight.ok_or_else(|| node.damaged("its weight is not of real numbers"))?;
        let (alpha, beta) = (node.float("alpha", 1.0), node.float("beta", 1.0));
        if alpha != 1.0 {
            weight = to_bytes(floats(&weight).map(|w| (f64::from(w) * f64::from(alpha)) as f32));
        }
        let bias = match self.optional(2)? {
            None => filled(0.0, out),
            Some(bias) => {
                // A row for each image is none of the layer's.
                let fits = bias.shape.iter().rev().skip(1).all(|&extent| extent == 1);
                let row = bias.broadcast(&[1, out]).filter(|_| fits);
                let row = row.as_ref().and_then(Constant::reals).cloned();
                row.ok_or_else(|| {
                    node.unsupported(format_args!("its bias has the shape {:?}, expected [{out}]", bias.shape))
                })?
            }
        };
        let bias =
            if beta == 1.0 { bias } else { to_bytes(floats(&bias).map(|b| (f64::from(b) * f64::from(beta)) as f32)) };
        Ok((Op::Gemm(Gemm { shape: [out, inputs], weight, bias }), vec![rows, out]))
    }

    fn matmul(&self) -> Result<Made, Refusal> {
        let node = self.node;
        let shape = match (self.operand(0), self.operand(1)) {
            (Operand::Activation(_), Operand::Activation(_)) => {
                return Err(node.unsupported("it multiplies two activations, expected a constant weight"));
            }
            _ => self.activation()?,
        };
        let weight = self.constant(1)?;
        let Some((&features, before)) = shape.split_last() else { return Err(node.damaged("its input has no axes")) };
        match weight.shape.as_slice() {
            &[inputs, out] if inputs == features && out > 0 && weight.reals().is_some() => {
                let made = before.iter().copied().chain([out]).collect();
                Ok((Op::MatMul(weight.clone()), made))
            }
            other => {
                Err(node.unsupported(format_args!("its weight has the shape {other:?}, expected [{features}, out]")))
            }
        }
    }

    fn pool(&self) -> Result<Made, Refusal> {
        let node = self.node;
        let [n, c, h, w] = self.image()?;
        let kernel: [usize; 2] = node.extents("kernel_shape", [0, 0])?;
        let window = window(node, [h, w], kernel)?;
        if window.dilations != [1, 1] {
            return Err(node.unsupported(format_args!("dilations are {:?}, expected [1, 1]", window.dilations)));
        }
        let pool = Pool {
            kernel_shape: kernel,
            strides: window.strides,
            pads: window.pads,
            ceil_mode: node.int("ceil_mode", 0) != 0,
        };
        let op = if node.op_type() == "MaxPool" {
            Op::MaxPool(pool)
        } else {
            let count_include_pad = node.int("count_include_pad", 0) != 0 && pool.pads != [0; 4];
            Op::AveragePool { pool, count_include_pad }
        };
        let [rows, columns] = window.output;
        Ok((op, vec![n, c, rows, columns]))
    }

    /// The mean, or the sum.
    fn mean(&self) -> Result<Made, Refusal> {
        let shape = self.activation()?;
        let sum = self.node.op_type() == "ReduceSum";
        if self.reduces_nothing()? {
            return self.unary(Op::Identity(if sum { "ReduceSum" } else { "ReduceMean" }));
        }
        let (axes, keep) = self.reduced()?;
        let made = shape.iter().enumerate().filter(|(axis, _)| keep || !axes.contains(axis));
        let made = made.map(|(axis, &extent)| if axes.contains(&axis) { 1 } else { extent }).collect();
        Ok((if sum { Op::ReduceSum { axes, keep } } else { Op::ReduceMean { op: "ReduceMean", axes, keep } }, made))
    }

    /// Whether it has no axes, and says that it then reduces none.
    fn reduces_nothing(&self) -> Result<bool, Refusal> {
        let given = self.list(1)?.or_else(|| self.node.ints("axes")).unwrap_or_default();
        Ok(given.is_empty() && self.node.int("noop_with_empty_axes", 0) != 0)
    }

    /// The axes that a node reduces, in order, and whether they stay with extent 1.
    pub(super) fn reduced(&self) -> Result<(Vec<usize>, bool), Refusal> {
        let rank = self.activation()?.len();
        let given = self.list(1)?.or_else(|| self.node.ints("axes")).unwrap_or_default();
        let axes: Option<Vec<usize>> = given.iter().map(|&axis| place(axis, rank)).collect();
        let mut axes = axes.ok_or_else(|| self.node.damaged(format_args!("its axes are {given:?}")))?;
        if axes.is_empty() {
            axes = (0..rank).collect();
        }
        axes.sort_unstable();
        axes.dedup();
        Ok((axes, self.node.int("keepdims", 1) != 0))
    }

    fn batch_norm(&self) -> Result<Made, Refusal> {
        let node = self.node;
        let shape = self.activation()?;
        node.not_training()?;
        // Before operator set 14 the number of its outputs says so.
        if node.opset < 14 && node.proto.output.iter().skip(1).any(|name| !name.is_empty()) {
            return Err(node.unsupported("it has the outputs of training, expected one output"));
        }
        let Some(&channels) = shape.get(1) else { return Err(node.damaged("its input has no channels")) };
        let of = |index: usize| -> Result<Vec<f64>, Refusal> {
            let constant = self.constant(index)?;
            let values = constant.reals().filter(|data| data.len() == 4 * channels);
            let values = values.map(|data| floats(data).map(f64::from).collect());
            values.ok_or_else(|| {
                node.damaged(format_args!("input {index} has the shape {:?}, expected [{channels}]", constant.shape))
            })
        };
        let (scale, shift, mean, variance) = (of(1)?, of(2)?, of(3)?, of(4)?);
        let epsilon = f64::from(node.float("epsilon", 1e-5));
        let scale: Vec<f64> = scale.iter().zip(&variance).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
        let shift = shift.iter().zip(&mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
        self.affine(Affine { op: BATCH_NORM, axis: Some(1), scale, shift })
    }

    pub(super) fn affine(&self, affine: Affine) -> Result<Made, Refusal> {
        if affine.scale.iter().chain(&affine.shift).any(|value| !value.is_finite()) {
            return Err(self.node.damaged("it scales by numbers that are not finite"));
        }
        let shape = self.inputs.iter().find_map(|operand| match operand {
            Operand::Activation(shape) => Some(*shape),
            _ => None,
        });
        Ok((Op::Affine(affine), shape.unwrap_or_default().to_vec()))
    }

    fn arithmetic(&self) -> Result<Made, Refusal> {
        let node = self.node;
        let (op, first, shape, constant) = match (node.op_type(), self.operand(0), self.operand(1)) {
            (op, Operand::Activation(a), Operand::Activation(b)) => {
                let binary = match op {
                    "Add" => Op::Add,
                    "Mul" => Op::Mul,
                    _ => return Err(node.unsupported("it joins two activations, expected a constant")),
                };
                if a != b {
                    let problem = format!("it joins activations of the shapes {} and {}", shown(a), shown(b));
                    return Err(node.unsupported(problem + ", expected two of one shape"));
                }
                return Ok((binary, a.to_vec()));
            }
            ("Add", Operand::Activation(shape), Operand::Constant(constant)) => ("Add", false, shape, constant),
            ("Sub", Operand::Activation(shape), Operand::Constant(constant)) => ("Sub", false, shape, constant),
            ("Mul", Operand::Activation(shape), Operand::Constant(constant)) => ("Mul", false, shape, constant),
            ("Div", Operand::Activation(shape), Operand::Constant(constant)) => ("Div", false, shape, constant),
            ("Add", Operand::Constant(constant), Operand::Activation(shape)) => ("Add", true, shape, constant),
            ("Sub", Operand::Constant(constant), Operand::Activation(shape)) => ("Sub", true, shape, constant),
            ("Mul", Operand::Constant(constant), Operand::Activation(shape)) => ("Mul", true, shape, constant),
            ("Div", Operand::Constant(_), Operand::Activation(_)) => {
                return Err(node.unsupported("it divides a constant by an activation"));
            }
            _ => return Err(node.damaged("an input is missing")),
        };
        let (axis, values) = self.along(shape, constant)?;
        let count = values.len();
        let (scale, shift) = match op {
            "Add" => (vec![1.0; count], values),
            "Sub" if first => (vec![-1.0; count], values),
            "Sub" => (vec![1.0; count], values.into_iter().map(|value| -value).collect()),
            "Mul" => (values, vec![0.0; count]),
            _ => (values.into_iter().map(f64::recip).collect(), vec![0.0; count]),
        };
        self.affine(Affine { op, axis, scale, shift })
    }

    /// The numbers of a constant that is broadcast over an activation, and the axis that they run along: the channels' when it is a single
    /// one, none when there is one for each element of an image.
    fn along(&self, shape: &[usize], constant: &Constant) -> Result<(Option<usize>, Vec<f64>), Refusal> {
        let node = self.node;
        let refuse = || {
            let problem = format!("a constant of the shape {:?} for an activation {}", constant.shape, shown(shape));
            node.unsupported(problem + ", expected one number for each channel or element")
        };
        let values: Vec<f64> = constant.reals().map(|data| floats(data).map(f64::from).collect()).ok_or_else(refuse)?;
        let Some(offset) = shape.len().checked_sub(constant.shape.len()) else { return Err(refuse()) };
        if let &[value] = values.as_slice() {
            let channels = shape.get(1).copied().filter(|&channels| channels <= MAX_NUMBERS);
            return Ok((Some(1), vec![value; channels.ok_or_else(refuse)?]));
        }
        let wide: Vec<usize> = constant
            .shape
            .iter()
            .enumerate()
            .filter(|&(_, &extent)| extent != 1)
            .map(|(axis, _)| axis + offset)
            .collect();
        if let &[axis] = wide.as_slice()
            && axis > 0
            && shape.get(axis) == Some(&values.len())
        {
            return Ok((Some(axis), values));
        }
        if wide.contains(&0) {
            return Err(refuse());
        }
        let one: Vec<usize> = std::iter::once(1).chain(shape.iter().skip(1).copied()).collect();
        let all = element_count(&one).filter(|&count| count <= MAX_NUMBERS).and_then(|_| constant.broadcast(&one));
        let all = all.as_ref().and_then(Constant::reals).ok_or_else(refuse)?;
        Ok((None, floats(all).map(f64::from).collect()))
    }

    fn clip(&self) -> Result<Made, Refusal> {
        let bound = |index: usize, name: &str| -> Result<Option<f32>, Refusal> {
            match self.optional(index)? {
                None => Ok(self.node.real(name)),
                Some(constant) => {
                    let value = constant.reals().and_then(|data| floats(data).next());
                    value.map(Some).ok_or_else(|| self.node.damaged(format_args!("its bound {name} is no number")))
                }
            }
        };
        let (min, max) = (bound(1, "min")?, bound(2, "max")?);
        self.unary(match (min, max) {
            (None, None) => Op::Identity("Clip"),
            (Some(0.0), None | Some(f32::INFINITY)) => Op::Activation(Activation::Relu),
            (min, max) => {
                let (min, max) = (min.unwrap_or(f32::NEG_INFINITY), max.unwrap_or(f32::INFINITY));
                Op::Activation(Activation::Clip { min, max })
            }
        })
    }

    fn reshape(&self) -> Result<Made, Refusal> {
        let shape = self.activation()?;
        let given = self.list(1)?;
        let given = given.or_else(|| self.node.ints("axes"));
        // Where the batch is open, a target that was written for one image means as many as there are.
        let target = match given {
            Some([1, rest @ ..]) if self.batch == OPEN && self.node.op_type() == "Reshape" => {
                Some(std::iter::once(whole(OPEN)).chain(rest.iter().copied()).collect::<Vec<i64>>())
            }
            _ => None,
        };
        let made = reshaped(self.node, shape, target.as_deref().or(given))?;
        Ok((Op::Reshape, made))
    }

    fn pad(&self) -> Result<Made, Refusal> {
        let node = self.node;
        let shape = self.activation()?;
        let mode = node.text("mode", "constant");
        if mode != "constant" {
            return Err(node.unsupported(format_args!("it pads by the mode `{mode}`, expected `constant`")));
        }
        let value = match self.optional(2)? {
            Some(constant) => constant.reals().and_then(|data| floats(data).next()),
            None => node.real("value"),
        };
        let pads = self.list(1)?.or_else(|| node.ints("pads")).unwrap_or_default();
        let rank = shape.len();
        let axes: Vec<i64> = match self.list(3)? {
            Some(axes) => axes.to_vec(),
            None => (0..whole(rank)).collect(),
        };
        let refuse = || node.unsupported(format_args!("pads are {pads:?} for {rank} axes, expected numbers from 0 on"));
        let Some((begins, ends)) = pads.split_at_checked(axes.len()).filter(|(a, b)| a.len() == b.len()) else {
            return Err(refuse());
        };
        let mut sides = vec![[0; 2]; rank];
        let mut made = shape.to_vec();
        for ((&axis, &begin), &end) in axes.iter().zip(begins).zip(ends) {
            let side = |pad: i64| usize::try_from(pad).ok().filter(|&pad| pad <= MAX_PAD);
            let (Some(axis), Some(begin), Some(end)) = (place(axis, rank), side(begin), side(end)) else {
                return Err(refuse());
            };
            if let (Some(sides), Some(extent)) = (sides.get_mut(axis), made.get_mut(axis)) {
                *sides = [begin, end];
                *extent += begin + end;
            }
        }
        if sides.first() != Some(&[0, 0]) {
            return Err(node.unsupported("it pads the batch with images"));
        }
        Ok((Op::Pad { sides, value: value.unwrap_or(0.0) }, made))
    }

    fn concat(&self) -> Result<Made, Refusal> {
        let node = self.node;
        let mut shapes = Vec::with_capacity(self.inputs.len());
        for operand in self.inputs {
            match operand {
                Operand::Activation(shape) => shapes.push(*shape),
                _ => return Err(node.unsupported("it joins an activation and a constant")),
            }
        }
        let Some((first, others)) = shapes.split_first() else { return Err(node.damaged("it joins nothing")) };
        let axis = self.axis("axis", 1, first.len())?;
        let mut made = first.to_vec();
        for shape in others {
            let fits = shape.len() == first.len()
                && shape.iter().zip(*first).enumerate().all(|(place, (a, b))| place == axis || a == b);
            if !fits {
                return Err(node.damaged(format_args!("{} cannot be joined to {}", shown(shape), shown(first))));
            }
            if let (Some(all), Some(extent)) = (made.get_mut(axis), shape.get(axis)) {
                *all = all.saturating_add(*extent);
            }
        }
        Ok((if others.is_empty() { Op::Identity("Concat") } else { Op::Concat { axis } }, made))
    }
}

/// Most that is padded on one side.
const MAX_PAD: usize = 1 << 15;

/// The numbers of a constant that has been checked to be of real numbers.
pub(super) fn reals(constant: &Constant) -> Bytes {
    constant.reals().cloned().unwrap_or_default()
}
