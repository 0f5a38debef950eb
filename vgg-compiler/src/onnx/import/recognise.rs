//! Which of the built-in variants a chain of layers is.

use std::collections::BTreeSet;

use proc_macro2::Span;

use super::passes::{BATCH_NORM_FOLDED, NHWC};
use crate::spec::print;
use crate::spec::variants::VARIANTS;
use crate::spec::{InputSpec, LayerKind, LayerSpec, ModelSpec, Spanned};

/// The declaration of a chain, and what it is in words: a variant with its deviations, or the closest one. Some `notes` become part
/// of the words.
///
/// A chain that is a variant but for its input, its classes and its softmax gets the rows, labels and dropouts of the variant.
pub(super) fn declare(
    name: String,
    docs: Vec<String>,
    input: [usize; 3],
    kinds: &[LayerKind],
    notes: &mut BTreeSet<String>,
) -> (ModelSpec, String) {
    let [channels, height, width] = input.map(|value| Spanned { value, span: Span::call_site() });
    let mut spec = ModelSpec {
        docs,
        visibility: syn::Visibility::Public(syn::Token![pub](Span::call_site())),
        name: Spanned { value: name, span: Span::call_site() },
        input: InputSpec { channels, height, width },
        preprocess: None,
        rows: rows(kinds),
    };
    for variant in &VARIANTS {
        let Ok(declared) = variant.spec() else { continue };
        let theirs = layers(&declared);
        if same_features(&theirs, kinds) {
            let deviations = deviations(&declared, &theirs, input, kinds, notes);
            adopt(&mut spec, declared, kinds);
            return (spec, format!("{}{deviations}", variant.name));
        }
    }
    let told: Vec<&str> = [BATCH_NORM_FOLDED, NHWC].into_iter().filter(|note| notes.remove(*note)).collect();
    let told = if told.is_empty() { String::new() } else { format!("; {}", told.join(", ")) };
    (spec, format!("none of the variants; {}{told}", closest(kinds)))
}

/// The variant from which the fewest changes lead to a chain, and these.
pub(super) fn closest(kinds: &[LayerKind]) -> String {
    let all = VARIANTS.iter().filter_map(|variant| Some((variant, changes(&layers(&variant.spec().ok()?), kinds))));
    let Some((variant, (_, changes))) = all.min_by_key(|(_, (cost, _))| *cost) else { return String::new() };
    let shown: Vec<&str> = changes.iter().take(SHOWN).map(String::as_str).collect();
    let more = changes.len().saturating_sub(SHOWN);
    let more = if more == 0 { String::new() } else { format!(", and {more} more") };
    let but = if shown.is_empty() { String::new() } else { format!(", but {}", shown.join(", ")) };
    format!("the closest is {}{but}{more}", variant.name)
}

/// What a declaration computes at inference.
fn layers(spec: &ModelSpec) -> Vec<LayerKind> {
    flat(spec).filter(|kind| !is_dropout(kind)).collect()
}

/// How many deviations are told one by one.
const SHOWN: usize = 8;

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

/// `" with 4 classes, batch norm folded, input 240x240, NHWC, without softmax"`, or nothing.
fn deviations(
    declared: &ModelSpec,
    theirs: &[LayerKind],
    input: [usize; 3],
    kinds: &[LayerKind],
    notes: &mut BTreeSet<String>,
) -> String {
    let mut found = Vec::new();
    if let Some(count) = classes(kinds).filter(|_| classes(kinds) != classes(theirs)) {
        found.push(if count == 1 { "with 1 class".to_owned() } else { format!("with {count} classes") });
    }
    if notes.remove(BATCH_NORM_FOLDED) {
        found.push(BATCH_NORM_FOLDED.into());
    }
    let [c, h, w] = input;
    if c != declared.input.channels.value {
        found.push(if c == 1 { "1 input channel".to_owned() } else { format!("{c} input channels") });
    }
    if (h, w) != (declared.input.height.value, declared.input.width.value) {
        found.push(format!("input {h}x{w}"));
    }
    if notes.remove(NHWC) {
        found.push(NHWC.into());
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

/// What a layer more or less costs.
const MISSING: usize = 2;

/// What it costs to take one layer for another: least where only a number of channels or units differs.
fn exchange(a: &LayerKind, b: &LayerKind) -> usize {
    match (a, b) {
        _ if a == b => 0,
        (LayerKind::Conv { kernel, stride, .. }, LayerKind::Conv { kernel: other, stride: step, .. }) => {
            if (kernel, stride) == (other, step) { 1 } else { MISSING }
        }
        (LayerKind::MaxPool(_), LayerKind::MaxPool(_)) | (LayerKind::AvgPool(_), LayerKind::AvgPool(_)) => 1,
        (LayerKind::Fc { .. }, LayerKind::Fc { .. }) | (LayerKind::Lrn { .. }, LayerKind::Lrn { .. }) => 1,
        _ => 2 * MISSING,
    }
}

/// What must be changed, added or taken away to make `ours` of `theirs`, for the least cost (Levenshtein), and that cost.
fn changes(theirs: &[LayerKind], ours: &[LayerKind]) -> (usize, Vec<String>) {
    // For each prefix of both, the least cost.
    let width = ours.len() + 1;
    let mut table = vec![0_usize; (theirs.len() + 1) * width];
    let at = |table: &[usize], row: usize, column: usize| table.get(row * width + column).copied().unwrap_or(0);
    let pair = |row: usize, column: usize| -> Option<(usize, usize, &LayerKind, &LayerKind)> {
        let (up, left) = (row.checked_sub(1)?, column.checked_sub(1)?);
        Some((up, left, theirs.get(up)?, ours.get(left)?))
    };
    for row in 0..=theirs.len() {
        for column in 0..width {
            let least = match pair(row, column) {
                None => (row + column) * MISSING,
                Some((up, left, a, b)) => (at(&table, up, left) + exchange(a, b))
                    .min(at(&table, up, column) + MISSING)
                    .min(at(&table, row, left) + MISSING),
            };
            if let Some(cell) = table.get_mut(row * width + column) {
                *cell = least;
            }
        }
    }
    let mut found = Vec::new();
    let (mut row, mut column) = (theirs.len(), ours.len());
    while row > 0 || column > 0 {
        let here = at(&table, row, column);
        match pair(row, column) {
            Some((up, left, a, b)) if here == at(&table, up, left) + exchange(a, b) => {
                if a != b {
                    found.push(format!("{} is {}", place(theirs, up), print::word(b)));
                }
                (row, column) = (up, left);
            }
            _ if column > 0 && here == at(&table, row, column - 1) + MISSING => {
                let added = ours.get(column - 1).map(print::word).unwrap_or_default();
                found.push(match row.checked_sub(1) {
                    Some(before) => format!("{added} more behind {}", place(theirs, before)),
                    None => format!("{added} more in front"),
                });
                column -= 1;
            }
            _ => {
                row = row.saturating_sub(1);
                found.push(format!("no {}", place(theirs, row)));
            }
        }
    }
    found.reverse();
    (at(&table, theirs.len(), ours.len()), found)
}

/// A layer of a variant by its word and its number among those of its kind: `convolution 3 (conv3-128)`.
fn place(kinds: &[LayerKind], index: usize) -> String {
    let Some(kind) = kinds.get(index) else { return String::new() };
    let alike = |other: &&LayerKind| std::mem::discriminant(*other) == std::mem::discriminant(kind);
    let number = kinds.iter().take(index + 1).filter(alike).count();
    let name = match kind {
        LayerKind::Conv { .. } => "convolution",
        LayerKind::MaxPool(_) | LayerKind::AvgPool(_) => "pool",
        LayerKind::Lrn { .. } => "lrn",
        LayerKind::Fc { .. } => "fc",
        LayerKind::BatchNorm { .. } => "bn",
        LayerKind::Dropout { .. } => "dropout",
        LayerKind::Softmax => return "softmax".to_owned(),
    };
    format!("{name} {number} ({})", print::word(kind))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    #[test]
    fn every_deviation_of_a_chain_is_named() {
        let declared = VARIANTS.iter().find(|variant| variant.name == "vgg-a").unwrap().spec().unwrap();
        let theirs = layers(&declared);
        let mut ours = theirs.clone();
        assert!(changes(&theirs, &ours).1.is_empty());
        if let LayerKind::Conv { filters, .. } = &mut ours[2] {
            *filters = 96;
        }
        let mut extra = ours[0].clone();
        if let LayerKind::Conv { filters, .. } = &mut extra {
            *filters = 32;
        }
        ours.insert(1, extra);
        ours.pop();
        assert_eq!(
            changes(&theirs, &ours).1,
            ["conv3-32 more behind convolution 1 (conv3-64)", "convolution 2 (conv3-128) is conv3-96", "no softmax"]
        );
        let (_, words) = declare("Net".into(), Vec::new(), [3, 224, 224], &ours, &mut BTreeSet::new());
        assert!(words.starts_with("none of the variants; the closest is vgg-a, but conv3-32 more"), "{words}");
    }
}
