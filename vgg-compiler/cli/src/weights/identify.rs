//! Which of the built-in networks a file's layers are.

use vgg_compiler::spec::variants::VARIANTS;
use vgg_compiler::weights::readers::{Comparison, Match, Role, WeightsFile};
use vgg_compiler::{CompileOptions, compile};

use crate::error::Error;

/// How sure it is that the weights are those of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Certainty {
    /// Names and shapes are the network's, and no other network's.
    Certain,
    /// Only the shapes, or several networks have these tensors.
    Likely,
}

impl Certainty {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
        }
    }
}

/// A network that the weights fit.
#[derive(Debug, Clone)]
pub(super) struct Fit {
    pub(super) model: &'static str,
    pub(super) certainty: Certainty,
    /// What speaks for it, and what differs: a clause each.
    pub(super) reasons: Vec<String>,
    pub(super) comparison: Comparison,
}

/// A network and how the layers of a file compare with its.
pub(super) type Closest = (&'static str, Comparison);

/// The networks that the weights of `file` fit, the surest first; and in their absence the closest one.
pub(super) fn identify(file: &WeightsFile) -> Result<(Vec<Fit>, Option<Closest>), Error> {
    let mut fits: Vec<Fit> = Vec::new();
    let mut closest: Option<Closest> = None;
    for variant in &VARIANTS {
        let graph = compile(&variant.spec()?, &CompileOptions::default())?.graph;
        let Some(comparison) = file.compare(&graph) else { continue };
        let better = |(_, best): &(_, Comparison)| distance(&comparison) < distance(best);
        if closest.as_ref().is_none_or(better) {
            closest = Some((variant.name, comparison.clone()));
        }
        if comparison.how.is_some() {
            fits.push(Fit { model: variant.name, certainty: Certainty::Likely, reasons: Vec::new(), comparison });
        }
    }
    // A file that lists its other layers tells networks apart that have the same tensors.
    if fits.iter().any(|fit| fit.comparison.lrn.is_none()) {
        fits.retain(|fit| fit.comparison.lrn.is_none());
    }
    let alone = fits.len() == 1;
    for fit in &mut fits {
        let Comparison { how, classes, to_fold, lrn, layers, .. } = &fit.comparison;
        fit.reasons.push(match how {
            Some(Match::Keys) => format!("all {layers} layers have its names and shapes"),
            Some(Match::Names) => format!("all {layers} layers have the names and shapes of its layers"),
            Some(Match::Order) | None => format!("all {layers} layers have its shapes, under other names"),
        });
        if let Some(classes) = classes {
            fit.reasons[0] = format!("all {layers} layers but the last have its shapes");
            fit.reasons.push(format!("it has {classes} classes"));
        }
        if *to_fold {
            fit.reasons.push("with batch normalisation, which is folded in".into());
        }
        if let Some((found, expected)) = lrn {
            fit.reasons.push(format!("it lists {found} local response normalisations, the network has {expected}"));
        }
        let named = matches!(how, Some(Match::Keys | Match::Names)) || file.lrn_layers.is_some();
        if alone && named && classes.is_none() && lrn.is_none() {
            fit.certainty = Certainty::Certain;
        }
        if !alone {
            fit.reasons.push("other networks have the same tensors: see the other lines".into());
        }
    }
    fits.sort_by_key(|fit| (fit.certainty, fit.comparison.lrn.is_some()));
    let closest = closest.filter(|_| fits.is_empty());
    Ok((fits, closest))
}

/// Layers that differ.
fn distance(comparison: &Comparison) -> usize {
    comparison.layers.max(comparison.found) - comparison.same
}

/// The layers of `file` in the notation of declarations: `conv3-64 bn`, `fc-4096`.
pub(super) fn outline(file: &WeightsFile) -> String {
    let layers = file.layers.iter().map(|layer| match layer.parts.get(&Role::Weight).map(|part| part.view.shape()) {
        Some(&[outputs, _, height, width]) if height == width => format!("conv{height}-{outputs}"),
        Some(&[outputs, _, height, width]) => format!("conv{height}x{width}-{outputs}"),
        Some(&[outputs, ..]) => format!("fc-{outputs}"),
        Some([]) => "a number".to_owned(),
        None if layer.is_norm() => "bn".to_owned(),
        None => format!("`{}`", layer.name),
    });
    layers.collect::<Vec<_>>().join(", ")
}
