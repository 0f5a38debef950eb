//! Which of the built-in variants a chain of layers is.

use proc_macro2::Span;

use crate::spec::variants::{VARIANTS, Variant};
use crate::spec::{InputSpec, LayerKind, LayerSpec, ModelSpec, Spanned};

/// The declaration of a chain, and what it is in words: a variant with its deviations, or the closest one.
///
/// A chain that is a variant but for its input, its classes and its softmax gets the rows, labels and dropouts of the variant.
pub(super) fn declare(name: String, docs: Vec<String>, input: [usize; 3], kinds: &[LayerKind]) -> (ModelSpec, String) {
    let [channels, height, width] = input.map(|value| Spanned { value, span: Span::call_site() });
    let mut spec = ModelSpec {
        docs,
        visibility: syn::Visibility::Public(syn::Token![pub](Span::call_site())),
        name: Spanned { value: name, span: Span::call_site() },
        input: InputSpec { channels, height, width },
        preprocess: None,
        rows: rows(kinds),
    };
    let mut closest: Option<(usize, &Variant)> = None;
    for variant in &VARIANTS {
        let Ok(declared) = variant.spec() else { continue };
        let theirs: Vec<LayerKind> = flat(&declared).filter(|kind| !is_dropout(kind)).collect();
        if same_features(&theirs, kinds) {
            let deviations = deviations(&declared, &theirs, input, kinds);
            adopt(&mut spec, declared, kinds);
            return (spec, format!("{}{deviations}", variant.name));
        }
        let distance = distance(&theirs, kinds);
        if closest.is_none_or(|(least, _)| distance < least) {
            closest = Some((distance, variant));
        }
    }
    let recognised = closest.map_or_else(String::new, |(distance, variant)| {
        format!("none of the variants; the closest is {}, from which {distance} layers differ", variant.name)
    });
    (spec, recognised)
}

fn flat(spec: &ModelSpec) -> impl Iterator<Item = LayerKind> + '_ {
    spec.rows.iter().flatten().map(|layer| layer.kind.clone())
}

fn is_dropout(kind: &LayerKind) -> bool {
    matches!(kind, LayerKind::Dropout { .. })
}

/// Without the softmax at the end.
fn body(kinds: &[LayerKind]) -> &[LayerKind] {
    match kinds {
        [body @ .., LayerKind::Softmax] => body,
        body => body,
    }
}

/// Whether two chains are the same but for the softmax and the number of classes.
fn same_features(a: &[LayerKind], b: &[LayerKind]) -> bool {
    match (body(a), body(b)) {
        ([a @ .., LayerKind::Fc { relu: x, .. }], [b @ .., LayerKind::Fc { relu: y, .. }]) => a == b && x == y,
        _ => false,
    }
}

fn classes(kinds: &[LayerKind]) -> Option<usize> {
    match body(kinds) {
        [.., LayerKind::Fc { units, .. }] => Some(*units),
        _ => None,
    }
}

/// `" with 4 classes, input 240x240, without softmax"`, or nothing.
fn deviations(declared: &ModelSpec, theirs: &[LayerKind], input: [usize; 3], kinds: &[LayerKind]) -> String {
    let mut found = Vec::new();
    if let Some(count) = classes(kinds).filter(|_| classes(kinds) != classes(theirs)) {
        found.push(format!("with {count} classes"));
    }
    let [c, h, w] = input;
    if c != declared.input.channels.value {
        found.push(format!("with {c} input channels"));
    }
    if (h, w) != (declared.input.height.value, declared.input.width.value) {
        found.push(format!("input {h}x{w}"));
    }
    if !matches!(kinds, [.., LayerKind::Softmax]) {
        found.push("without softmax".into());
    }
    if found.is_empty() { String::new() } else { format!(" {}", found.join(", ")) }
}

/// Gives `spec` the rows of a variant that has the layers `kinds`.
fn adopt(spec: &mut ModelSpec, declared: ModelSpec, kinds: &[LayerKind]) {
    let softmax = matches!(kinds, [.., LayerKind::Softmax]);
    let mut ours = kinds.iter();
    spec.rows = declared.rows;
    for row in &mut spec.rows {
        row.retain(|layer| softmax || layer.kind != LayerKind::Softmax);
        for layer in row.iter_mut().filter(|layer| !is_dropout(&layer.kind)) {
            if let Some(kind) = ours.next() {
                layer.kind = kind.clone();
            }
        }
    }
}

/// A row ends behind a pool; the fully connected layers are one row.
fn rows(kinds: &[LayerKind]) -> Vec<Vec<LayerSpec>> {
    let mut rows: Vec<Vec<LayerSpec>> = Vec::new();
    let mut row: Vec<LayerSpec> = Vec::new();
    let mut spatial = true;
    for kind in kinds {
        if spatial && !kind.is_spatial() && !row.is_empty() {
            rows.push(std::mem::take(&mut row));
        }
        spatial = kind.is_spatial();
        row.push(LayerSpec { label: None, kind: kind.clone(), span: Span::call_site() });
        if matches!(kind, LayerKind::MaxPool(_) | LayerKind::AvgPool(_)) {
            rows.push(std::mem::take(&mut row));
        }
    }
    if !row.is_empty() {
        rows.push(row);
    }
    rows
}

/// Layers that must be changed, added or taken away to make `b` of `a` (Levenshtein).
fn distance(a: &[LayerKind], b: &[LayerKind]) -> usize {
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for (row, x) in a.iter().enumerate() {
        let mut left = row + 1;
        let mut current = vec![left];
        for (y, pair) in b.iter().zip(previous.windows(2)) {
            if let [diagonal, above] = *pair {
                left = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
                current.push(left);
            }
        }
        previous = current;
    }
    previous.last().copied().unwrap_or(0)
}
