//! The layers so far while the nodes of a file are gone through in order.
//!
//! What the family has no layer for is absorbed on the way: a normalisation goes into its neighbour's weights, padding into the
//! next window, and the order of axes into the weights behind the flattening.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::affine::Affine;
use super::constant::{Constant, filled, permute};
use super::error::Refusal;
use super::node::Node;
use crate::spec::{Extent, LayerKind, PoolSpec};

/// A layer and its numbers.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) kind: LayerKind,
    /// Weight and bias with the weight's extents, of a convolution or a fully connected layer.
    pub(super) params: Option<Params>,
}

/// OIHW or [out, in], and one bias for each output.
#[derive(Debug, Clone)]
pub(super) struct Params {
    pub(super) shape: Vec<usize>,
    pub(super) weight: Bytes,
    pub(super) bias: Bytes,
}

/// The value at the end of the chain, as a node sees it.
#[derive(Debug, Clone)]
pub(super) struct Activation {
    pub(super) form: Form,
    /// The state of the chain that it is the end of.
    pub(super) version: usize,
}

/// How the elements of one image are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Feature maps. `last` says that the channels are the last axis. `pad` are zeros around them: top, left, bottom, right.
    Image { extents: [usize; 3], last: bool, pad: [usize; 4] },
    /// A vector, with the extents [C, H, W] of the feature maps that it was and whether the channels came last.
    Flat { features: usize, from: Option<([usize; 3], bool)> },
}

impl Form {
    pub(super) fn image(extents: [usize; 3]) -> Self {
        Self::Image { extents, last: false, pad: [0; 4] }
    }

    /// Extents behind the batch, as the file has them.
    pub(super) fn dims(self) -> Vec<usize> {
        match self {
            Self::Image { extents: [c, h, w], last: false, .. } => vec![c, h, w],
            Self::Image { extents: [c, h, w], last: true, .. } => vec![h, w, c],
            Self::Flat { features, .. } => vec![features],
        }
    }
}

/// The layers so far.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) layers: Vec<Layer>,
    /// Counts changes: an activation of an older state was read twice, which is a branch.
    pub(super) version: usize,
    /// What was done to the file's network, for people.
    pub(super) notes: BTreeSet<String>,
    /// What still has to go into the weights of the next layer.
    pub(super) pending: Option<Affine>,
}

impl Chain {
    /// The activation that is now the end.
    pub(super) fn end(&mut self, form: Form) -> Activation {
        self.version += 1;
        Activation { form, version: self.version }
    }

    fn note(&mut self, text: &str) {
        self.notes.insert(text.to_owned());
    }

    /// Refuses a normalisation that no neighbour can take.
    pub(super) fn nothing_pending(&self, node: Node<'_>) -> Result<(), Refusal> {
        match self.pending {
            None => Ok(()),
            Some(_) => Err(node.unsupported("a normalisation before it cannot be folded into a neighbouring layer")),
        }
    }

    /// Feature maps with the channels first.
    fn planes(node: Node<'_>, form: Form) -> Result<([usize; 3], [usize; 4]), Refusal> {
        match form {
            Form::Image { extents, last: false, pad } => Ok((extents, pad)),
            Form::Image { .. } => Err(node.unsupported("its input has the channels last, expected [N, C, H, W]")),
            Form::Flat { .. } => Err(node.damaged("its input is a vector, expected [N, C, H, W]")),
        }
    }

    fn push(&mut self, kind: LayerKind, params: Option<Params>) {
        self.layers.push(Layer { kind, params });
    }

    /// A convolution.
    pub(super) fn conv(&mut self, node: Node<'_>, form: Form, inputs: &[Option<&Constant>]) -> Result<Form, Refusal> {
        let (extents @ [c, h, w], pad) = Self::planes(node, form)?;
        let group = node.int("group", 1);
        let dilations: [usize; 2] = node.extents("dilations", [1, 1])?;
        if group != 1 {
            return Err(node.unsupported(format_args!("group is {group}, expected 1")));
        }
        if dilations != [1, 1] {
            return Err(node.unsupported(format_args!("dilations are {dilations:?}, expected [1, 1]")));
        }
        let weight = inputs.get(1).copied().flatten();
        let Some((weight, data)) = weight.and_then(|weight| Some((weight, weight.reals()?))) else {
            return Err(node.unsupported("its weight is not a constant"));
        };
        let &[out, channels, kernel_h, kernel_w] = weight.shape.as_slice() else {
            return Err(
                node.unsupported(format_args!("its weight has the shape {:?}, expected four extents", weight.shape))
            );
        };
        let kernel = [kernel_h, kernel_w];
        if channels != c || kernel.contains(&0) || node.extents("kernel_shape", kernel)? != kernel {
            return Err(
                node.damaged(format_args!("its weight has the shape {:?} for an input {extents:?}", weight.shape))
            );
        }
        let bias = bias(node, inputs.get(2).copied().flatten(), out)?;
        let strides: [usize; 2] = node.extents("strides", [1, 1])?;
        let own = pads(node, [h, w], kernel, strides)?;
        let pads = sum(own, pad);
        let (out_h, out_w) = (
            windows(node, h, kernel[0], strides[0], pads[0] + pads[2])?,
            windows(node, w, kernel[1], strides[1], pads[1] + pads[3])?,
        );
        if pads[0] != pads[2] || pads[1] != pads[3] {
            return Err(
                node.unsupported(format_args!("pads are {pads:?}, expected the same above and below, left and right"))
            );
        }
        let (mut weight, mut bias) = (data.clone(), bias);
        if let Some(affine) = self.pending.take() {
            if pads != [0; 4] && affine.shifts() {
                return Err(node.unsupported("a normalisation that moves zero stands before its padding"));
            }
            (weight, bias) = affine.before(&weight, &bias, kernel_h * kernel_w);
            self.note("normalisation folded into the weights behind it");
        }
        let kind = LayerKind::Conv {
            kernel: extent(kernel),
            filters: out,
            stride: extent(strides),
            pad: extent([pads[0], pads[1]]),
            relu: false,
        };
        self.push(kind, Some(Params { shape: vec![out, channels, kernel_h, kernel_w], weight, bias }));
        Ok(Form::image([out, out_h, out_w]))
    }

    /// `max(0, x)`.
    pub(super) fn relu(&mut self, node: Node<'_>, form: Form) -> Result<Form, Refusal> {
        self.nothing_pending(node)?;
        // ReLU and max pooling may change places: both keep the order of numbers.
        let layer = self.layers.iter_mut().rev().find(|layer| !matches!(layer.kind, LayerKind::MaxPool(_)));
        match layer.map(|layer| &mut layer.kind) {
            Some(LayerKind::Conv { relu, .. } | LayerKind::Fc { relu, .. }) => {
                *relu = true;
                Ok(form)
            }
            _ => Err(node.unsupported("it does not follow a convolution or a fully connected layer")),
        }
    }

    /// Max or average pooling.
    pub(super) fn pool(&mut self, node: Node<'_>, form: Form, max: bool) -> Result<Form, Refusal> {
        let ([c, h, w], before) = Self::planes(node, form)?;
        let kernel: [usize; 2] = node.extents("kernel_shape", [0, 0])?;
        let strides: [usize; 2] = node.extents("strides", [1, 1])?;
        if kernel.contains(&0) || strides.contains(&0) {
            return Err(node.damaged(format_args!("its window is {kernel:?} with strides {strides:?}")));
        }
        if node.extents("dilations", [1, 1])? != [1, 1] {
            return Err(node.unsupported("it has dilations, expected [1, 1]"));
        }
        if before != [0; 4] && !(max && self.layers.last().is_some_and(|layer| layer.kind.has_relu())) {
            return Err(node.unsupported("zeros are padded before it, which its windows would count"));
        }
        let mut pads = sum(pads(node, [h, w], kernel, strides)?, before);
        if !max && pads != [0; 4] && node.int("count_include_pad", 0) != 0 {
            return Err(node.unsupported("count_include_pad is 1 with padding, expected 0"));
        }
        if let Some(affine) = &self.pending
            && max
            && affine.scale.iter().any(|&scale| scale <= 0.0)
        {
            return Err(node.unsupported("a normalisation with factors that are not positive stands before it"));
        }
        let mut ceil = node.int("ceil_mode", 0) != 0;
        let count = |ceil: bool, pads: [usize; 4]| -> Result<[usize; 2], Refusal> {
            let along = |size: usize, kernel: usize, stride: usize, before: usize, after: usize| {
                let room = (size + before + after).checked_sub(kernel);
                let room = room.ok_or_else(|| node.damaged("its window is larger than its input"))?;
                let windows = if ceil { room.div_ceil(stride) } else { room / stride } + 1;
                // A window rounded up must begin in the image or the padding before it.
                Ok(windows - usize::from(ceil && (windows - 1) * stride >= size + before))
            };
            Ok([along(h, kernel[0], strides[0], pads[0], pads[2])?, along(w, kernel[1], strides[1], pads[1], pads[3])?])
        };
        let mut windows = count(ceil, pads)?;
        if pads[0] != pads[2] || pads[1] != pads[3] {
            // Elements of the padding take no part, so that padding below and to the right only adds windows.
            let plain = [pads[0], pads[1], pads[0], pads[1]];
            let rounded = count(true, plain)?;
            if rounded != windows {
                return Err(node.unsupported(format_args!(
                    "pads are {pads:?}, expected the same above and below, left and right"
                )));
            }
            (pads, ceil, windows) = (plain, true, rounded);
            self.note("padding of one side of a pool replaced by rounding up");
        }
        let pool = PoolSpec { kernel: extent(kernel), stride: extent(strides), pad: extent([pads[0], pads[1]]), ceil };
        // A 1x1 window of stride 1 changes nothing: what adaptive pooling to the size that is there becomes.
        if kernel == [1, 1] && strides == [1, 1] && pads == [0; 4] {
            self.note("pooling that changes nothing removed");
        } else {
            self.push(if max { LayerKind::MaxPool(pool) } else { LayerKind::AvgPool(pool) }, None);
        }
        Ok(Form::image([c, windows[0], windows[1]]))
    }

    /// The mean of each feature map.
    pub(super) fn mean(&mut self, node: Node<'_>, form: Form) -> Result<Form, Refusal> {
        let ([c, h, w], pad) = Self::planes(node, form)?;
        if pad != [0; 4] {
            return Err(node.unsupported("zeros are padded before it"));
        }
        if [h, w] != [1, 1] {
            let kernel = extent([h, w]);
            self.push(LayerKind::AvgPool(PoolSpec { kernel, stride: kernel, ..PoolSpec::default() }), None);
        }
        Ok(Form::image([c, 1, 1]))
    }

    /// Local response normalisation.
    pub(super) fn lrn(&mut self, node: Node<'_>, form: Form) -> Result<Form, Refusal> {
        self.nothing_pending(node)?;
        let (extents, pad) = Self::planes(node, form)?;
        let size = usize::try_from(node.int("size", 0)).unwrap_or(0);
        if pad != [0; 4] || size == 0 {
            return Err(node.damaged("its size is missing, or zeros are padded before it"));
        }
        let (alpha, beta, k) = (node.float("alpha", 1e-4), node.float("beta", 0.75), node.float("bias", 1.0));
        self.push(LayerKind::Lrn { size, alpha, beta, k }, None);
        Ok(Form::image(extents))
    }

    /// A fully connected layer of `weight`, [in, out] or, with `transposed`, [out, in].
    pub(super) fn fc(
        &mut self,
        node: Node<'_>,
        form: Form,
        weight: &Constant,
        transposed: bool,
    ) -> Result<Form, Refusal> {
        let Form::Flat { features, from } = form else {
            return Err(node.unsupported("its input is not flattened, expected [N, features]"));
        };
        let (Some(data), &[rows, columns]) = (weight.reals(), weight.shape.as_slice()) else {
            return Err(node.unsupported("its weight is not a constant matrix"));
        };
        let (units, inputs) = if transposed { (rows, columns) } else { (columns, rows) };
        if inputs != features {
            return Err(node.damaged(format_args!("its weight takes {inputs} features, but {features} arrive")));
        }
        let permuted = match (from, transposed) {
            (Some(([c, h, w], true)), true) => permute(data, &[units, h, w, c], &[0, 3, 1, 2]),
            (Some(([c, h, w], true)), false) => permute(data, &[h, w, c, units], &[3, 2, 0, 1]),
            (_, true) => Some(data.clone()),
            (_, false) => permute(data, &[inputs, units], &[1, 0]),
        };
        if matches!(from, Some((_, true))) {
            self.note("channels-last order (NHWC) taken into the weights");
        }
        let mut weight = permuted.ok_or_else(|| node.damaged("its weight has another size than its shape says"))?;
        let mut bias = filled(0.0, units);
        if let Some(affine) = self.pending.take() {
            (weight, bias) = affine.before(&weight, &bias, 1);
            self.note("normalisation folded into the weights behind it");
        }
        self.push(LayerKind::Fc { units, relu: false }, Some(Params { shape: vec![units, inputs], weight, bias }));
        Ok(Form::Flat { features: units, from: None })
    }

    /// A scale and a shift for each channel of `form`.
    pub(super) fn affine(&mut self, node: Node<'_>, form: Form, affine: Affine) -> Result<Form, Refusal> {
        if matches!(form, Form::Image { pad, .. } if pad != [0; 4]) {
            return Err(node.unsupported("zeros are padded before it"));
        }
        if affine.scale.iter().chain(&affine.shift).any(|value| !value.is_finite()) {
            return Err(node.damaged("it scales by numbers that are not finite"));
        }
        if let Some(pending) = &self.pending {
            self.pending = Some(pending.then(&affine));
            return Ok(form);
        }
        let last =
            self.layers.last_mut().filter(|layer| !layer.kind.has_relu()).and_then(|layer| layer.params.as_mut());
        match last.filter(|params| params.shape.first() == Some(&affine.scale.len())) {
            Some(params) => {
                (params.weight, params.bias) = affine.behind(&params.weight, &params.bias);
                if affine.scale.iter().any(|&scale| scale != 1.0) {
                    self.note("normalisation folded into the weights before it");
                }
            }
            None => self.pending = Some(affine),
        }
        Ok(form)
    }

    /// Flattening to [N, C * H * W], or what does nothing to a vector.
    pub(super) fn flatten(&mut self, node: Node<'_>, form: Form) -> Result<Form, Refusal> {
        match form {
            Form::Flat { .. } => Ok(form),
            Form::Image { extents: extents @ [c, h, w], last, pad: [0, 0, 0, 0] } => {
                if let Some(affine) = self.pending.take() {
                    self.pending = Some(affine.repeated(h * w));
                }
                let order = if h * w == 1 { false } else { last };
                Ok(Form::Flat { features: c * h * w, from: Some((extents, order)) })
            }
            Form::Image { .. } => Err(node.unsupported("zeros are padded before it")),
        }
    }
}

fn extent([height, width]: [usize; 2]) -> Extent {
    Extent { height, width }
}

fn sum(a: [usize; 4], b: [usize; 4]) -> [usize; 4] {
    let [a0, a1, a2, a3] = a;
    let [b0, b1, b2, b3] = b;
    [a0 + b0, a1 + b1, a2 + b2, a3 + b3]
}

fn bias(node: Node<'_>, bias: Option<&Constant>, out: usize) -> Result<Bytes, Refusal> {
    match bias {
        None => Ok(filled(0.0, out)),
        Some(constant) => match constant.reals().filter(|data| data.len() == 4 * out) {
            Some(data) => Ok(data.clone()),
            None => Err(node.damaged(format_args!("its bias has the shape {:?}, expected [{out}]", constant.shape))),
        },
    }
}

/// Zero rows and columns: top, left, bottom, right.
fn pads(node: Node<'_>, input: [usize; 2], kernel: [usize; 2], strides: [usize; 2]) -> Result<[usize; 4], Refusal> {
    let auto = node.text("auto_pad", "NOTSET");
    let [h, w] = input;
    let along = |size: usize, kernel: usize, stride: usize| {
        let total = (size.div_ceil(stride.max(1)).saturating_sub(1) * stride + kernel).saturating_sub(size);
        if auto == "SAME_UPPER" { [total / 2, total - total / 2] } else { [total - total / 2, total / 2] }
    };
    match auto.as_str() {
        "NOTSET" => node.extents("pads", [0; 4]),
        "VALID" => Ok([0; 4]),
        "SAME_UPPER" | "SAME_LOWER" => {
            let ([top, bottom], [left, right]) = (along(h, kernel[0], strides[0]), along(w, kernel[1], strides[1]));
            Ok([top, left, bottom, right])
        }
        other => Err(node.damaged(format_args!("auto_pad is `{other}`"))),
    }
}

/// How many windows there are.
fn windows(node: Node<'_>, size: usize, kernel: usize, stride: usize, pads: usize) -> Result<usize, Refusal> {
    let room = (size + pads).checked_sub(kernel).and_then(|room| room.checked_div(stride));
    room.map(|room| room + 1).ok_or_else(|| {
        node.damaged(format_args!("a window of {kernel} with stride {stride} on {size} elements and {pads} of padding"))
    })
}
