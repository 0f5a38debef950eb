//! The checks of a whole declaration. Each reports every mistake of its kind; nothing that passes them all can fail later for a
//! reason that lies in the declaration.
//!
//! The parser checks the notation and single values as well, since it knows where each value stands.

use std::collections::BTreeMap;

use proc_macro2::Span;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::limits::{self, MAX_LAYERS};
use super::names::{LayerNames, layer_names};
use super::shape::{layer_shapes, totals};
use super::{LayerKind, LayerSpec, ModelSpec, PoolSpec, Spanned};

/// Longest name of a network or layer: it becomes part of file names.
const MAX_NAME: usize = 64;

/// Names that the compiled network uses for itself.
const RESERVED: [&str; 3] = ["input", "output", "flatten"];

/// Every mistake of a declaration. Shapes are judged only when everything else is right, since they would follow from a mistake.
pub fn check(spec: &ModelSpec) -> Diagnostics {
    let mut errors = check_structure(spec);
    check_values(spec, &mut errors);
    check_preprocess(spec, &mut errors);
    if errors.is_empty() {
        check_shapes(spec, &mut errors);
    }
    errors
}

/// The mistakes that do not depend on numbers: names, and the order of the layers.
pub fn check_structure(spec: &ModelSpec) -> Diagnostics {
    let names = layer_names(spec);
    let layers: Vec<_> = spec.rows.iter().flatten().zip(names.iter().flatten()).collect();
    let mut errors = Diagnostics::default();
    check_network_name(spec, &mut errors);
    check_labels(spec, &mut errors);
    check_not_empty(spec, &mut errors);
    check_layer_count(spec, &layers, &mut errors);
    check_batch_norm_follows_conv(spec, &names, &mut errors);
    check_images_before_features(&layers, &mut errors);
    check_softmax(&layers, &mut errors);
    check_unique_names(&layers, &mut errors);
    errors
}

/// The name becomes a Rust type and, in snake case, the stem of file names.
fn check_network_name(spec: &ModelSpec, errors: &mut Diagnostics) {
    if let Some(reason) = refuse_name(&spec.name.value) {
        let message = format!("the name of the network {reason}");
        errors.push(Diagnostic::new(spec.name.span, message).with_help("choose a name like `Vgg16`"));
    }
}

/// Labels become names in ONNX, which asks for C identifiers, and parts of names in Rust.
fn check_labels(spec: &ModelSpec, errors: &mut Diagnostics) {
    for Spanned { value, span } in spec.rows.iter().flatten().filter_map(|layer| layer.label.as_ref()) {
        if let Some(reason) = refuse_name(value) {
            let message = format!("the label {reason}");
            errors.push(Diagnostic::new(*span, message).with_help("choose a label like `conv1`"));
        } else if RESERVED.contains(&value.as_str()) {
            let message = format!("the label `{value}` is a name that every network uses for itself");
            errors.push(Diagnostic::new(*span, message).with_help("choose another label"));
        }
    }
}

/// Why a name is refused.
fn refuse_name(name: &str) -> Option<String> {
    let length = name.chars().count();
    if length > MAX_NAME {
        return Some(format!("has {length} characters, expected at most {MAX_NAME}"));
    }
    if name.starts_with("r#") {
        return Some(format!("is the raw identifier `{name}`, expected a plain one"));
    }
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !plain || !name.contains(|c: char| c.is_ascii_alphabetic()) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Some(format!("is {name:?}, expected ASCII letters, digits and underscores, with a letter among them"));
    }
    // `gen` is a keyword of the edition of the generated code, which `syn` does not know about.
    let keyword = name == "gen" || syn::parse_str::<syn::Ident>(name).is_err();
    keyword.then(|| format!("is `{name}`, which is a keyword of Rust"))
}

/// A network without a layer that computes something would only hand its input on.
fn check_not_empty(spec: &ModelSpec, errors: &mut Diagnostics) {
    let computes = |layer: &LayerSpec| !matches!(layer.kind, LayerKind::Dropout { .. });
    if !spec.rows.iter().flatten().any(computes) {
        let found = if spec.rows.iter().flatten().next().is_some() { "nothing but dropout" } else { "none" };
        let message = format!("`{}` needs at least one layer that computes something, found {found}", spec.name.value);
        errors.push(Diagnostic::new(spec.name.span, message).with_help("add a layer, such as `conv3-64`"));
    }
}

/// A bound on everything that grows with the number of layers.
fn check_layer_count(spec: &ModelSpec, layers: &[(&LayerSpec, &LayerNames)], errors: &mut Diagnostics) {
    if layers.len() > MAX_LAYERS || spec.rows.len() > MAX_LAYERS {
        let count = layers.len().max(spec.rows.len());
        let message = format!("`{}` has {count} layers, expected at most {MAX_LAYERS}", spec.name.value);
        errors.push(Diagnostic::new(spec.name.span, message));
    }
}

/// Batch norm stands between a convolution and its ReLU; anywhere else it would have neither a name nor a convolution to be
/// folded into.
fn check_batch_norm_follows_conv(spec: &ModelSpec, names: &[Vec<LayerNames>], errors: &mut Diagnostics) {
    for (row, names) in spec.rows.iter().zip(names) {
        let mut previous: Option<(&LayerSpec, &LayerNames)> = None;
        for (layer, names) in row.iter().zip(names) {
            let after_conv = previous.is_some_and(|(before, _)| matches!(before.kind, LayerKind::Conv { .. }));
            if matches!(layer.kind, LayerKind::BatchNorm { .. }) && !after_conv {
                let place = previous.map_or("stands at the start of a row".to_owned(), |(_, before)| {
                    format!("follows `{}`", before.name)
                });
                let message =
                    format!("`{}` {place}, expected directly after a convolution of the same row", names.name);
                errors.push(Diagnostic::new(layer.span, message).with_help("write `conv3-64, bn, ..`"));
            }
            previous = Some((layer, names));
        }
    }
}

/// The first fully connected layer flattens the image; after it there are no channels, rows and columns left.
fn check_images_before_features(layers: &[(&LayerSpec, &LayerNames)], errors: &mut Diagnostics) {
    let mut after = layers.iter().skip_while(|(layer, _)| !matches!(layer.kind, LayerKind::Fc { .. }));
    let Some((_, fc)) = after.next() else {
        return;
    };
    for (layer, names) in after.filter(|(layer, _)| layer.kind.is_spatial()) {
        let message = format!("`{}` comes after `{}`, where no image is left", names.name, fc.name);
        errors.push(
            Diagnostic::new(layer.span, message)
                .with_help("after the first fully connected layer only fc, dropout and softmax are possible"),
        );
    }
}

/// Softmax makes probabilities of the classes: it needs classes, and nothing can follow.
fn check_softmax(layers: &[(&LayerSpec, &LayerNames)], errors: &mut Diagnostics) {
    let is_softmax = |layer: &LayerSpec| matches!(layer.kind, LayerKind::Softmax);
    let mut first = None;
    for (index, (layer, names)) in layers.iter().enumerate().filter(|(_, (layer, _))| is_softmax(layer)) {
        let before = layers.get(..index).unwrap_or_default();
        let message = if first.is_some() {
            format!("`{}` is a second softmax, expected one at the end", names.name)
        } else if !before.iter().any(|(layer, _)| matches!(layer.kind, LayerKind::Fc { .. })) {
            format!("`{}` has no classes to work on, expected a fully connected layer before it", names.name)
        } else {
            match layers.get(index + 1..).unwrap_or_default().iter().find(|(layer, _)| !is_softmax(layer)) {
                Some((_, next)) => format!("`{}` is followed by `{}`, expected at the end", names.name, next.name),
                None => String::new(),
            }
        };
        first.get_or_insert(index);
        if !message.is_empty() {
            errors.push(Diagnostic::new(layer.span, message));
        }
    }
}

/// Names tell the activations apart, in ONNX and in every report.
fn check_unique_names(layers: &[(&LayerSpec, &LayerNames)], errors: &mut Diagnostics) {
    let mut seen: BTreeMap<&str, &LayerNames> = BTreeMap::new();
    for (layer, names) in layers {
        let span = layer.label.as_ref().map_or(layer.span, |label| label.span);
        let own: Vec<&String> = std::iter::once(&names.name).chain(&names.relu).collect();
        // One mistake a layer: with its name the name of its ReLU is taken as well.
        if let Some((name, earlier)) = own.iter().find_map(|name| Some((name, seen.get(name.as_str())?))) {
            let owner = if **name == earlier.name { String::new() } else { format!(" by `{}`", earlier.name) };
            let message = format!("the name `{name}` is taken already{owner}, expected one of its own");
            errors.push(Diagnostic::new(span, message).with_help("give one of the two another label"));
        }
        seen.extend(own.into_iter().map(|name| (name.as_str(), *names)));
    }
}

/// Values out of their range, in declarations that were not written in the notation.
fn check_values(spec: &ModelSpec, errors: &mut Diagnostics) {
    let input = &spec.input;
    let numbers = [
        (&input.channels, limits::INPUT_CHANNELS),
        (&input.height, limits::INPUT_HEIGHT),
        (&input.width, limits::INPUT_WIDTH),
    ];
    for (number, range) in numbers {
        refuse(range.refuse(number.value), number.span, errors);
    }
    for (layer, names) in spec.rows.iter().flatten().zip(layer_names(spec).iter().flatten()) {
        for reason in refuse_values(&layer.kind).into_iter().flatten() {
            refuse(Some(format!("`{}`: {reason}", names.name)), layer.span, errors);
        }
    }
}

fn refuse(message: Option<String>, span: Span, errors: &mut Diagnostics) {
    message.into_iter().for_each(|message| errors.push(Diagnostic::new(span, message)));
}

/// Images must become what the first layer takes.
fn check_preprocess(spec: &ModelSpec, errors: &mut Diagnostics) {
    let input = &spec.input;
    if let Some(Spanned { value, span }) = &spec.preprocess
        && let Some(reason) = value.refuse(input.channels.value, input.height.value, input.width.value)
    {
        let error = Diagnostic::new(*span, format!("the preprocessing does not fit the input: {reason}"));
        errors.push(
            error.with_help(
                "choose another preprocessing, or change its settings: `preprocess torchvision(resize 320);`",
            ),
        );
    }
}

/// Why the values of a layer are refused, one by one.
fn refuse_values(kind: &LayerKind) -> Vec<Option<String>> {
    match kind {
        LayerKind::Conv { kernel, filters, stride, pad, .. } => vec![
            limits::KERNEL.refuse_extent(*kernel),
            limits::FILTERS.refuse(*filters),
            limits::STRIDE.refuse_extent(*stride),
            limits::PAD.refuse_extent(*pad),
        ],
        LayerKind::BatchNorm { epsilon } => vec![limits::EPSILON.refuse(*epsilon)],
        LayerKind::Lrn { size, alpha, beta, k } => vec![
            limits::LRN_SIZE.refuse(*size),
            limits::LRN_ALPHA.refuse(*alpha),
            limits::LRN_BETA.refuse(*beta),
            limits::LRN_K.refuse(*k),
        ],
        LayerKind::MaxPool(pool) | LayerKind::AvgPool(pool) => {
            let PoolSpec { kernel, stride, pad, .. } = pool;
            vec![
                limits::WINDOW.refuse_extent(*kernel),
                limits::STRIDE.refuse_extent(*stride),
                limits::PAD.refuse_extent(*pad),
                limits::refuse_pool_pad(*pool),
            ]
        }
        LayerKind::Fc { units, .. } => vec![limits::UNITS.refuse(*units)],
        LayerKind::Dropout { ratio } => vec![limits::RATIO.refuse(*ratio)],
        LayerKind::Softmax => Vec::new(),
    }
}

/// Every window fits the image that arrives, and no tensor is beyond the limits.
fn check_shapes(spec: &ModelSpec, errors: &mut Diagnostics) {
    match layer_shapes(spec) {
        Err(error) => errors.push(error),
        Ok(shapes) if totals(&shapes).is_none() => {
            let message = format!(
                "`{}` is too large, expected at most {} parameters and as many activations",
                spec.name.value,
                limits::MAX_TOTAL
            );
            errors.push(Diagnostic::new(spec.name.span, message));
        }
        Ok(_) => {}
    }
}
