//! The shapes between the layers of a declaration, and what each layer costs.

use std::fmt;

use super::diagnostic::Diagnostic;
use super::limits::{MAX_EXTENT, MAX_TENSOR, MAX_TOTAL};
use super::names::{LayerNames, layer_names};
use super::{Extent, LayerKind, LayerSpec, ModelSpec, PoolSpec};

/// The activations of one image between two layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Channels, height and width.
    Image {
        /// Channels.
        channels: usize,
        /// Height and width.
        extent: Extent,
    },
    /// Features without a place, as a fully connected layer gives them.
    Flat {
        /// How many.
        features: usize,
    },
}

impl Activation {
    /// How many numbers there are. `None` when they cannot be counted in 64 bits.
    pub fn elements(self) -> Option<u64> {
        match self {
            Self::Image { channels, extent } => product(&[channels, extent.height, extent.width]),
            Self::Flat { features } => product(&[features]),
        }
    }
}

/// `64x112x112`, or `4096`.
impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image { channels, extent: Extent { height, width } } => write!(f, "{channels}x{height}x{width}"),
            Self::Flat { features } => write!(f, "{features}"),
        }
    }
}

/// What arrives at a layer, what leaves it, and what it costs for one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerShape {
    /// What arrives. A fully connected layer takes an image in the order channels, height, width.
    pub input: Activation,
    /// What leaves.
    pub output: Activation,
    /// Parameters that training learns: weights and biases, scale and shift of a batch norm (but not its running statistics).
    pub parameters: u64,
    /// Multiplications with a following addition, of convolutions and fully connected layers.
    pub macs: u64,
}

/// Sums over a network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Parameters that training learns.
    pub parameters: u64,
    /// Multiplications with a following addition for one image.
    pub macs: u64,
    /// Numbers that leave all layers together for one image.
    pub activations: u64,
}

/// The shapes at every layer, row by row as in [`ModelSpec::rows`].
///
/// # Errors
///
/// The first layer that cannot work on what arrives, or whose tensors exceed [`super::limits`].
pub fn layer_shapes(spec: &ModelSpec) -> Result<Vec<Vec<LayerShape>>, Diagnostic> {
    let names = layer_names(spec);
    let mut arriving = input(spec)?;
    let mut all = Vec::with_capacity(spec.rows.len());
    for (row, names) in spec.rows.iter().zip(&names) {
        let mut shapes = Vec::with_capacity(row.len());
        for (layer, names) in row.iter().zip(names) {
            let shape = layer_shape(layer, names, arriving)?;
            arriving = shape.output;
            shapes.push(shape);
        }
        all.push(shapes);
    }
    Ok(all)
}

/// The sums over all layers. `None` when they exceed [`MAX_TOTAL`], or the MACs 64 bits.
pub fn totals(shapes: &[Vec<LayerShape>]) -> Option<Totals> {
    let mut totals = Totals::default();
    for shape in shapes.iter().flatten() {
        totals.parameters = totals.parameters.checked_add(shape.parameters)?;
        totals.macs = totals.macs.checked_add(shape.macs)?;
        totals.activations = totals.activations.checked_add(shape.output.elements()?)?;
    }
    (totals.parameters <= MAX_TOTAL && totals.activations <= MAX_TOTAL).then_some(totals)
}

/// What arrives at the first layer.
fn input(spec: &ModelSpec) -> Result<Activation, Diagnostic> {
    let extent = Extent { height: spec.input.height.value, width: spec.input.width.value };
    let input = Activation::Image { channels: spec.input.channels.value, extent };
    match input.elements() {
        Some(elements) if elements <= MAX_TENSOR => Ok(input),
        _ => {
            let message = format!("the input {input} is too large, expected at most {MAX_TENSOR} numbers");
            Err(Diagnostic::new(spec.input.channels.span, message))
        }
    }
}

fn layer_shape(layer: &LayerSpec, names: &LayerNames, input: Activation) -> Result<LayerShape, Diagnostic> {
    let name = &names.name;
    let same = LayerShape { input, output: input, parameters: 0, macs: 0 };
    let shape = match (&layer.kind, input) {
        (&LayerKind::Conv { kernel, filters, stride, pad, .. }, Activation::Image { channels, extent }) => {
            let extent = Extent {
                height: windows(extent.height, kernel.height, stride.height, pad.height, false),
                width: windows(extent.width, kernel.width, stride.width, pad.width, false),
            };
            let taps = [channels, kernel.height, kernel.width];
            let weights = product(&[&taps[..], &[filters]].concat());
            let macs = product(&[&taps[..], &[filters, extent.height, extent.width]].concat());
            let output = Activation::Image { channels: filters, extent };
            fits(layer, name, same, kernel, pad)?;
            parametric(layer, name, LayerShape { output, ..same }, weights, filters, macs)?
        }
        (LayerKind::MaxPool(pool) | LayerKind::AvgPool(pool), Activation::Image { channels, extent }) => {
            let &PoolSpec { kernel, stride, pad, ceil } = pool;
            fits(layer, name, same, kernel, pad)?;
            let extent = Extent {
                height: windows(extent.height, kernel.height, stride.height, pad.height, ceil),
                width: windows(extent.width, kernel.width, stride.width, pad.width, ceil),
            };
            LayerShape { output: Activation::Image { channels, extent }, ..same }
        }
        (LayerKind::BatchNorm { .. }, Activation::Image { channels, .. }) => {
            parametric(layer, name, same, product(&[channels]), channels, Some(0))?
        }
        (LayerKind::Lrn { .. }, Activation::Image { .. }) | (LayerKind::Dropout { .. }, _) => same,
        (LayerKind::Softmax, Activation::Flat { .. }) => same,
        (&LayerKind::Fc { units, .. }, _) => {
            let weights = product(&[units]).and_then(|units| units.checked_mul(input.elements()?));
            let output = Activation::Flat { features: units };
            parametric(layer, name, LayerShape { output, ..same }, weights, units, weights)?
        }
        (_, Activation::Flat { features }) => {
            let message = format!("`{name}` needs an image, but {features} features without a place arrive");
            return Err(Diagnostic::new(layer.span, message));
        }
        (LayerKind::Softmax, Activation::Image { .. }) => {
            let message =
                format!("`{name}` needs the classes of a fully connected layer, but an image of {input} arrives");
            return Err(Diagnostic::new(layer.span, message));
        }
    };
    bounded(layer, name, shape)
}

/// Positions of a window along one direction. With `ceil` a last window may reach beyond the padded image, but it must begin
/// inside the image or the padding before it, as in Caffe, PyTorch and ONNX.
fn windows(size: usize, kernel: usize, stride: usize, pad: usize, ceil: bool) -> usize {
    let steps = size.saturating_add(pad.saturating_mul(2)).saturating_sub(kernel);
    let stride = stride.max(1);
    let last = if ceil { steps.div_ceil(stride) } else { steps / stride };
    let begins_outside = ceil && last > 0 && last.saturating_mul(stride) >= size.saturating_add(pad);
    last.saturating_add(1) - usize::from(begins_outside)
}

/// Refuses a window that is larger than the padded image.
fn fits(layer: &LayerSpec, name: &str, shape: LayerShape, kernel: Extent, pad: Extent) -> Result<(), Diagnostic> {
    let Activation::Image { extent, .. } = shape.input else {
        return Ok(());
    };
    let height = extent.height.saturating_add(pad.height.saturating_mul(2));
    let width = extent.width.saturating_add(pad.width.saturating_mul(2));
    if kernel.height <= height && kernel.width <= width {
        return Ok(());
    }
    let (what, arrives) = (window(layer), shape.input);
    let padded = if pad == Extent::square(0) { String::new() } else { format!(" ({height}x{width} with padding)") };
    let message = format!(
        "`{name}` has a {}x{} {what}, but an image of {arrives} arrives{padded}; expected at least {}x{}",
        kernel.height, kernel.width, kernel.height, kernel.width
    );
    let help = format!("give it a smaller {what} or more padding, leave out a pool before it, or enlarge the input");
    Err(Diagnostic::new(layer.span, message).with_help(help))
}

fn window(layer: &LayerSpec) -> &'static str {
    if matches!(layer.kind, LayerKind::Conv { .. }) { "kernel" } else { "window" }
}

/// Completes the shape of a layer that has `weights` and as many biases as `outputs`.
fn parametric(
    layer: &LayerSpec,
    name: &str,
    shape: LayerShape,
    weights: Option<u64>,
    outputs: usize,
    macs: Option<u64>,
) -> Result<LayerShape, Diagnostic> {
    let parameters = weights.zip(product(&[outputs])).and_then(|(weights, biases)| weights.checked_add(biases));
    match (weights, parameters, macs) {
        (Some(weights), Some(parameters), Some(macs)) if weights <= MAX_TENSOR => {
            Ok(LayerShape { parameters, macs, ..shape })
        }
        (weights, ..) => {
            let count = weights.map_or("more than 2^64".to_owned(), |weights| weights.to_string());
            let arrives = shape.input;
            let message = format!(
                "`{name}` would have {count} weights for the {arrives} that arrives, expected at most {MAX_TENSOR}"
            );
            Err(Diagnostic::new(layer.span, message))
        }
    }
}

/// Refuses an output that exceeds the limits.
fn bounded(layer: &LayerSpec, name: &str, shape: LayerShape) -> Result<LayerShape, Diagnostic> {
    let output = shape.output;
    if let Activation::Image { extent, .. } = output
        && extent.height.max(extent.width) > MAX_EXTENT
    {
        let message = format!("`{name}` gives an image of {output}, expected at most {MAX_EXTENT} rows and columns");
        return Err(Diagnostic::new(layer.span, message));
    }
    match output.elements() {
        Some(elements) if elements <= MAX_TENSOR => Ok(shape),
        _ => {
            let message = format!("`{name}` gives {output}, expected at most {MAX_TENSOR} numbers");
            Err(Diagnostic::new(layer.span, message))
        }
    }
}

fn product(factors: &[usize]) -> Option<u64> {
    factors.iter().try_fold(1_u64, |product, &factor| product.checked_mul(u64::try_from(factor).ok()?))
}
