//! One case through every backend, and everything that must hold between their results.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use vgg_compiler::ir::{Op, Shape};
use vgg_compiler::plan::{PlanOptions, plan};
use vgg_runtime::Isa;

use crate::backends::{Backend, InOnnxRuntime, InSession, Prepared, Reference, Run};
use crate::cases::Case;
use crate::compare::{Comparison, Mismatch, Tolerance, check_close, check_same_top_k};

/// How much of a case is run.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// Images that every backend is given at once.
    pub images: usize,
    /// Images of the batch whose results must have the bits of the images alone.
    pub batch: usize,
    /// Whether the batch is run on every tier, not on the widest alone.
    pub batch_on_every_tier: bool,
    /// The forms of the exported file.
    pub onnx: &'static [InOnnxRuntime],
}

impl Scope {
    /// Small networks: everything.
    pub const SMALL: Self = Self { images: 3, batch: 3, batch_on_every_tier: true, onnx: &InOnnxRuntime::ALL };

    /// Networks that ONNX Runtime does not take.
    pub const WITHOUT_ONNX_RUNTIME: Self = Self { onnx: &[], ..Self::SMALL };

    /// The built-in variants.
    pub const LARGE: Self = Self { images: 1, batch_on_every_tier: false, ..Self::SMALL };
}

/// What was compared, and what did not agree.
#[derive(Debug, Default)]
pub struct Report {
    /// Cases run.
    pub cases: usize,
    /// Tensors compared.
    pub comparisons: usize,
    /// Every disagreement, with the case, the backend and the layer.
    pub failures: Vec<String>,
    /// The largest errors under each tolerance.
    worst: BTreeMap<&'static str, Worst>,
}

#[derive(Clone, Debug, Default)]
struct Worst {
    normwise: (f64, String),
    peak: (f64, String),
}

impl Worst {
    fn take(&mut self, other: &Self) {
        for (own, other) in [(&mut self.normwise, &other.normwise), (&mut self.peak, &other.peak)] {
            if other.0 > own.0 {
                other.clone_into(own);
            }
        }
    }
}

impl Report {
    /// Adds what another report holds.
    pub fn merge(&mut self, other: Self) {
        self.cases += other.cases;
        self.comparisons += other.comparisons;
        self.failures.extend(other.failures);
        for (name, worst) in &other.worst {
            self.worst.entry(name).or_default().take(worst);
        }
    }

    fn record(&mut self, place: &str, tolerance: Tolerance, result: Result<Comparison, Mismatch>) {
        self.comparisons += 1;
        let comparison = match &result {
            Ok(comparison) => Some(*comparison),
            Err(Mismatch::Values(difference)) => Some(difference.comparison),
            Err(_) => None,
        };
        if let Some(Comparison { normwise, peak, .. }) = comparison {
            let seen = Worst { normwise: (normwise, place.to_owned()), peak: (peak, place.to_owned()) };
            self.worst.entry(tolerance.name).or_default().take(&seen);
        }
        if let Err(mismatch) = result {
            self.failures.push(format!("{place}: {mismatch}"));
        }
    }

    fn fail(&mut self, place: &str, reason: impl fmt::Display) {
        self.failures.push(format!("{place}: {reason}"));
    }

    /// Fails with every disagreement, or when less was compared than `cases` and `comparisons`.
    ///
    /// # Panics
    /// In these cases.
    pub fn assert_conforms(&self, cases: usize, comparisons: usize) {
        const SHOWN: usize = 60;
        if !self.failures.is_empty() {
            let mut text = format!("{} of {} comparisons failed:\n", self.failures.len(), self.comparisons);
            for failure in self.failures.iter().take(SHOWN) {
                let _ = writeln!(text, "  {failure}");
            }
            if self.failures.len() > SHOWN {
                let _ = writeln!(text, "  .. and {} more", self.failures.len() - SHOWN);
            }
            panic!("{text}");
        }
        assert!(self.cases >= cases, "{} cases were run, expected at least {cases}", self.cases);
        assert!(self.comparisons >= comparisons, "{} comparisons, expected at least {comparisons}", self.comparisons);
    }
}

/// The numbers, for the log of a run.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cases, {} comparisons, {} failures", self.cases, self.comparisons, self.failures.len())?;
        for (name, Worst { normwise, peak }) in &self.worst {
            write!(f, "\n  {name}: normwise {:.1e} ({}), peak {:.1e} ({})", normwise.0, normwise.1, peak.0, peak.1)?;
        }
        Ok(())
    }
}

/// Runs `case` through every backend of `scope`.
pub fn conform(case: &Case, scope: Scope) -> Report {
    let prepared = Prepared::new(case);
    let count = scope.images.max(scope.batch);
    let all = case.images(&case.compile(1), count);
    let mut check = Check { case, prepared: &prepared, scope, images: &all, report: Report::default() };
    check.report.cases = 1;
    check.all();
    check.report
}

struct Check<'a> {
    case: &'a Case,
    prepared: &'a Prepared,
    scope: Scope,
    /// Images for the larger of the two counts of the scope.
    images: &'a [f32],
    report: Report,
}

impl Check<'_> {
    fn all(&mut self) {
        let Some(exact) = self.run(&Reference::F64, self.scope.images) else { return };
        if exact.outputs.iter().flatten().any(|value| !value.is_finite()) {
            self.report.fail(&self.case.name, "the f64 reference gives values that are not finite");
        }
        if let Some(run) = self.run(&Reference::F32, self.scope.images) {
            self.complete(&Reference::F32, &run);
            self.close(&Reference::F32, &run, &exact, "f64", Tolerance::NAIVE_VS_F64);
        }
        let mut sessions = Vec::new();
        for &isa in Isa::available() {
            sessions.extend(self.session(isa, &exact));
        }
        for &form in self.scope.onnx {
            let Some(run) = self.run(&form, self.scope.images) else { continue };
            if form != InOnnxRuntime::Optimised {
                self.complete(&form, &run);
            }
            self.close(&form, &run, &exact, "f64", Tolerance::DIRECT_VS_F64);
            for (backend, session) in &sessions {
                let [_, tolerance] = self.session_tolerances();
                self.close(backend, session, &run, &form.name(), tolerance);
                self.same_classes(&form.name(), session, &run);
            }
        }
    }

    /// The session in every arrangement; returns the run that shows every layer.
    fn session(&mut self, isa: Isa, exact: &Run) -> Option<(InSession, Run)> {
        let images = self.scope.images;
        let first = InSession { isa, threads: 1, stored: false, exact: false };
        let [tolerance, _] = self.session_tolerances();
        let planned = self.run(&first, images)?;
        self.close(&first, &planned, exact, "f64", tolerance);
        self.same_classes("f64", &planned, exact);
        for threads in [2, 3] {
            let backend = InSession { threads, ..first };
            if let Some(run) = self.run(&backend, images) {
                self.close(&backend, &run, &planned, "one thread", Tolerance::BIT_IDENTICAL);
            }
        }
        let backend = InSession { threads: 2, stored: true, ..first };
        let stored = self.run(&backend, images)?;
        self.complete(&backend, &stored);
        self.close(&backend, &stored, exact, "f64", tolerance);
        self.close(&first, &planned, &stored, "nothing fused", Tolerance::BIT_IDENTICAL);
        if self.scope.batch_on_every_tier || isa == Isa::widest() {
            self.batch(first);
        }
        if isa == Isa::widest() && tolerance != Tolerance::DIRECT_VS_F64 {
            let backend = InSession { exact: true, ..first };
            if let Some(run) = self.run(&backend, images) {
                self.close(&backend, &run, exact, "f64", Tolerance::DIRECT_VS_F64);
            }
        }
        Some((backend, stored))
    }

    /// How far a session may be from f64 and from ONNX Runtime: as the algorithms that the plan chooses.
    fn session_tolerances(&self) -> [Tolerance; 2] {
        let exact = plan(&self.prepared.graph, &PlanOptions::default()).is_ok_and(|plan| plan.is_exact());
        if exact {
            [Tolerance::DIRECT_VS_F64, Tolerance::DIRECT_VS_ORT]
        } else {
            [Tolerance::WINOGRAD_VS_F64, Tolerance::WINOGRAD_VS_ORT]
        }
    }

    /// A batch against its images alone.
    fn batch(&mut self, backend: InSession) {
        let Some(together) = self.run(&backend, self.scope.batch) else { return };
        let len = self.images.len() / self.scope.images.max(self.scope.batch);
        for (index, image) in self.images.chunks_exact(len).take(self.scope.batch).enumerate() {
            let alone = match backend.run(self.prepared, image, 1) {
                Ok(run) => run,
                Err(reason) => return self.report.fail(&self.place(&backend), reason),
            };
            for layer in &together.layers {
                let place = format!("{}, image {index} of a batch of {}", self.place(&backend), self.scope.batch);
                match alone.layer(&layer.name) {
                    Some(expected) => {
                        let tolerance = Tolerance::BIT_IDENTICAL;
                        let result =
                            check_close(&layer.name, &expected.shape, layer.image(index), &expected.values, tolerance);
                        self.report.record(&place, tolerance, result);
                    }
                    None => self.report.fail(&place, format!("layer `{}` is not shown for one image", layer.name)),
                }
            }
        }
    }

    fn place(&self, backend: &dyn Backend) -> String {
        format!("{}: {}", self.case.name, backend.name())
    }

    fn run(&mut self, backend: &dyn Backend, count: usize) -> Option<Run> {
        let len = self.images.len() / self.scope.images.max(self.scope.batch);
        match backend.run(self.prepared, &self.images[..count * len], count) {
            Ok(run) => Some(run),
            Err(reason) => {
                self.report.fail(&self.place(backend), reason);
                None
            }
        }
    }

    /// Whether a run shows every layer.
    fn complete(&mut self, backend: &dyn Backend, run: &Run) {
        let shown: Vec<&str> = run.layers.iter().map(|layer| &*layer.name).collect();
        let expected: Vec<&str> = self.prepared.layers().collect();
        if shown != expected {
            self.report.fail(&self.place(backend), format!("shows the layers {shown:?}, expected {expected:?}"));
        }
    }

    /// Every layer of `actual`, and the output, against `expected`, the run of the backend `by`.
    fn close(&mut self, backend: &dyn Backend, actual: &Run, expected: &Run, by: &str, tolerance: Tolerance) {
        let place = format!("{} against {by}", self.place(backend));
        let mut compared = 0;
        for layer in &actual.layers {
            let Some(other) = expected.layer(&layer.name) else { continue };
            let tolerance = self.tolerance(&layer.name, expected, tolerance);
            let result = check_close(&layer.name, &layer.shape, &layer.values, &other.values, tolerance);
            self.report.record(&format!("{place}, {}", layer.name), tolerance, result);
            compared += 1;
        }
        if compared == 0 {
            self.report.fail(&place, "no layer is shown by both");
        }
        let graph = &self.prepared.graph;
        if (actual.outputs.len(), expected.outputs.len()) != (graph.outputs.len(), graph.outputs.len()) {
            return self.report.fail(&place, "not every output of the network is given");
        }
        let names: Vec<String> = graph.outputs.iter().map(|output| graph.values[output.0].name.clone()).collect();
        for ((actual, other), name) in actual.outputs.iter().zip(&expected.outputs).zip(&names) {
            let tolerance = self.tolerance(name, expected, tolerance);
            let result = check_close("the output", &[actual.len()], actual, other, tolerance);
            self.report.record(&format!("{place}, output {name}"), tolerance, result);
        }
    }

    /// The tolerance of one layer: that of probabilities follows from their logits.
    fn tolerance(&self, layer: &str, expected: &Run, tolerance: Tolerance) -> Tolerance {
        let graph = &self.prepared.graph;
        let softmax = graph.nodes.iter().find(|node| node.name == layer && is_softmax(&node.op));
        match softmax {
            Some(node) if !tolerance.bit_identical => {
                let logits = expected.layer(&graph.values[node.inputs[0].0].name);
                let largest =
                    logits.map_or(10.0, |logits| logits.values.iter().fold(0.0, |most: f64, x| most.max(x.abs())));
                Tolerance::probabilities(largest)
            }
            _ => tolerance,
        }
    }

    /// The five best classes of every image, by the logits where both runs show them: probabilities of large logits are all but equal.
    fn same_classes(&mut self, by: &str, actual: &Run, expected: &Run) {
        let graph = &self.prepared.graph;
        let Shape::Flat { features } = graph.output_shape() else { return };
        let softmax =
            graph.producer(graph.outputs[0]).map(|index| &graph.nodes[index]).filter(|node| is_softmax(&node.op));
        let logits = softmax.map(|softmax| graph.values[softmax.inputs[0].0].name.as_str());
        let both = logits.and_then(|logits| Some((&actual.layer(logits)?.values, &expected.layer(logits)?.values)));
        let (actual, expected) = both.unwrap_or((&actual.outputs[0], &expected.outputs[0]));
        let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
        for (actual, expected) in actual.chunks_exact(features).zip(expected.chunks_exact(features)) {
            // Closer than this no order of classes is known.
            let largest = expected.iter().fold(0.0, |most: f64, score| most.max(score.abs()));
            let slack = largest * Tolerance::DIRECT_VS_F64.peak;
            let result = check_same_top_k(&narrow(actual), &narrow(expected), 5, slack as f32);
            self.report.comparisons += 1;
            if let Err(mismatch) = result {
                self.report.fail(&format!("{} against {by}", self.case.name), mismatch);
            }
        }
    }
}

/// Whether the scores before the operator tell more than what it makes of them.
fn is_softmax(op: &Op) -> bool {
    matches!(op, Op::Softmax | Op::LogSoftmax)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report { cases: 1, ..Report::default() };
        let tolerance = Tolerance::DIRECT_VS_F64;
        report.record("net: session", tolerance, check_close("fc1", &[2], &[1.0, 2.0], &[1.0, 2.000_002], tolerance));
        report
    }

    #[test]
    fn what_agrees_passes_and_its_error_is_shown() {
        let report = report();
        report.assert_conforms(1, 1);
        assert_eq!(
            report.to_string(),
            "1 cases, 1 comparisons, 0 failures\n  direct-vs-f64: normwise 8.9e-7 (net: session), peak 1.0e-6 (net: session)"
        );
    }

    #[test]
    #[should_panic(expected = "1 comparisons, expected at least 2")]
    fn too_few_comparisons_fail() {
        report().assert_conforms(1, 2);
    }

    #[test]
    #[should_panic(expected = "1 of 3 comparisons failed:\n  net: ONNX Runtime: layer `fc1`: normwise")]
    fn one_disagreement_fails_all() {
        let mut all = report();
        let mut other = report();
        let tolerance = Tolerance::DIRECT_VS_ORT;
        other.record("net: ONNX Runtime", tolerance, check_close("fc1", &[2], &[1.0, 2.0], &[1.0, 2.1], tolerance));
        all.merge(other);
        all.assert_conforms(2, 3);
    }
}
