//! The shapes between the layers of a declaration, and what each layer costs.
//!
//! The shapes themselves are those of [`crate::ir::shape`]; here they get the place of the layer that cannot take them, and
//! the limits of [`super::limits`].

use super::diagnostic::Diagnostic;
use super::limits::{MAX_EXTENT, MAX_TENSOR, MAX_TOTAL};
use super::names::{LayerNames, layer_names};
use super::{LayerKind, LayerSpec, ModelSpec};
use crate::ir::shape::{infer, param_shapes};
use crate::ir::{Op, Shape, ShapeError};

/// What arrives at a layer, what leaves it, and what it costs for one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerShape {
    /// What arrives. A fully connected layer takes an image in the order channels, height, width.
    pub input: Shape,
    /// What leaves.
    pub output: Shape,
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
        totals.activations = totals.activations.checked_add(elements(shape.output)?)?;
    }
    (totals.parameters <= MAX_TOTAL && totals.activations <= MAX_TOTAL).then_some(totals)
}

/// What arrives at the first layer.
fn input(spec: &ModelSpec) -> Result<Shape, Diagnostic> {
    let input = &spec.input;
    let shape = Shape::Image { channels: input.channels.value, height: input.height.value, width: input.width.value };
    match elements(shape) {
        Some(elements) if elements <= MAX_TENSOR => Ok(shape),
        _ => {
            let message = format!("the input {shape} is too large, expected at most {MAX_TENSOR} numbers");
            Err(Diagnostic::new(spec.input.channels.span, message))
        }
    }
}

fn layer_shape(layer: &LayerSpec, names: &LayerNames, input: Shape) -> Result<LayerShape, Diagnostic> {
    let (name, op) = (&names.name, layer.kind.op());
    let refused = |error| refusal(layer, name, input, &error);
    // A fully connected layer flattens what arrives.
    let taken = match op {
        Op::Gemm { .. } => Shape::Flat { features: input.len() },
        _ => input,
    };
    let output = infer(&op, &[taken]).map_err(refused)?;
    let shapes = param_shapes(&op, taken).map_err(refused)?;
    let counts: Option<Vec<u64>> = shapes.iter().map(|shape| product(shape)).collect();
    // The first is the weight; of a batch norm only scale and shift are learned.
    let weights = counts.as_ref().map(|counts| counts.first().copied().unwrap_or(0));
    let parameters = counts.as_ref().and_then(|counts| sum(counts.iter().take(2)));
    let macs = match (&op, shapes.first()) {
        (Op::Conv(_), Some(weight)) => elements(output)
            .zip(product(weight.get(1..).unwrap_or_default()))
            .and_then(|(pixels, taps)| pixels.checked_mul(taps)),
        (Op::Gemm { .. }, _) => weights,
        _ => Some(0),
    };
    match (weights, parameters, macs) {
        (Some(weights), Some(parameters), Some(macs)) if weights <= MAX_TENSOR => {
            bounded(layer, name, LayerShape { input, output, parameters, macs })
        }
        _ => {
            let count = weights.map_or("more than 2^64".to_owned(), |weights| weights.to_string());
            let message = format!(
                "`{name}` would have {count} weights for the {input} that arrives, expected at most {MAX_TENSOR}"
            );
            Err(Diagnostic::new(layer.span, message))
        }
    }
}

/// Why a layer cannot take what arrives, in terms of the notation.
fn refusal(layer: &LayerSpec, name: &str, input: Shape, error: &ShapeError) -> Diagnostic {
    let what = if matches!(layer.kind, LayerKind::Conv { .. }) { "kernel" } else { "window" };
    match (error, input) {
        (ShapeError::Window { kernel: [kernel_height, kernel_width], padded: [height, width], .. }, arrived) => {
            let unpadded = matches!(arrived, Shape::Image { height: h, width: w, .. } if (h, w) == (*height, *width));
            let padded = if unpadded { String::new() } else { format!(" ({height}x{width} with padding)") };
            let message = format!(
                "`{name}` has a {kernel_height}x{kernel_width} {what}, but an image of {arrived} arrives{padded}; expected \
                 at least {kernel_height}x{kernel_width}"
            );
            let help =
                format!("give it a smaller {what} or more padding, leave out a pool before it, or enlarge the input");
            Diagnostic::new(layer.span, message).with_help(help)
        }
        (ShapeError::Rank { .. }, Shape::Flat { features }) => {
            let message = format!("`{name}` needs an image, but {features} features without a place arrive");
            Diagnostic::new(layer.span, message)
        }
        (ShapeError::Rank { .. }, Shape::Image { .. }) => {
            let message =
                format!("`{name}` needs the classes of a fully connected layer, but an image of {input} arrives");
            Diagnostic::new(layer.span, message)
        }
        (error, _) => Diagnostic::new(layer.span, format!("`{name}`: {error}")),
    }
}

/// Refuses an output that exceeds the limits.
fn bounded(layer: &LayerSpec, name: &str, shape: LayerShape) -> Result<LayerShape, Diagnostic> {
    let output = shape.output;
    if let Shape::Image { height, width, .. } = output
        && height.max(width) > MAX_EXTENT
    {
        let message = format!("`{name}` gives an image of {output}, expected at most {MAX_EXTENT} rows and columns");
        return Err(Diagnostic::new(layer.span, message));
    }
    match elements(output) {
        Some(elements) if elements <= MAX_TENSOR => Ok(shape),
        _ => {
            let message = format!("`{name}` gives {output}, expected at most {MAX_TENSOR} numbers");
            Err(Diagnostic::new(layer.span, message))
        }
    }
}

/// How many numbers a shape holds. `None` when they cannot be counted in 64 bits.
fn elements(shape: Shape) -> Option<u64> {
    product(&shape.dims())
}

fn product(factors: &[usize]) -> Option<u64> {
    factors.iter().try_fold(1_u64, |product, &factor| product.checked_mul(u64::try_from(factor).ok()?))
}

fn sum<'a>(mut terms: impl Iterator<Item = &'a u64>) -> Option<u64> {
    terms.try_fold(0_u64, |sum, &term| sum.checked_add(term))
}
