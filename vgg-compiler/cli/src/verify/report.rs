//! What was found, for people and for programs.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vgg_compiler::ir::{Precision, Shape};

use super::generated::Array;
use super::measure::OUTPUT_BOUND;
use crate::compare::Difference;
use crate::error::{Error, Problem, Status};
use crate::table::{Align, Table};

/// How far a network and ONNX Runtime are apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The model, as it was named.
    pub model: String,
    /// Where its weights come from.
    pub weights: String,
    /// Extents of the input.
    pub input: Vec<usize>,
    /// The version of ONNX Runtime.
    pub ort_version: String,
    /// Threads of either.
    pub threads: usize,
    /// Vector instructions that were used here.
    pub isa: &'static str,
    /// How the weights of fully connected layers are kept.
    pub precision: Precision,
    /// What their rounding costs.
    pub rounding: Option<Rounding>,
    /// Which of the layers make the network's outputs.
    pub outputs: Vec<usize>,
    /// The layers, in order.
    pub layers: Vec<Layer>,
    /// A generated crate of the same network.
    pub generated: Option<Generated>,
}

/// How far the result of one layer is from ONNX Runtime's.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Its name, as `vgg show` has it.
    pub name: String,
    /// Its ONNX operator.
    pub op: &'static str,
    /// Its shape for one image.
    pub shape: Shape,
    /// The larger difference of the two runs.
    pub worst: Difference,
    /// That of the run as planned, when the value is stored there.
    pub fused: Option<Difference>,
    /// The largest normwise difference allowed.
    pub bound: f64,
    /// What an ONNX file calls it; empty for other models.
    pub in_file: String,
}

/// How far the scores of rounded weights are from those of the f32 weights that they were made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Rounding {
    /// The difference of the scores, before a softmax.
    pub difference: Difference,
    /// The largest normwise difference allowed.
    pub bound: f64,
    /// The layers that give vectors, in order, and how far their results are apart, normwise.
    pub layers: Vec<(String, f64)>,
    /// Images.
    pub images: usize,
    /// Images whose best class is the same, for a network of classes.
    pub same_top1: Option<usize>,
}

/// How far the output of a generated crate is from ONNX Runtime's.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// The crate.
    pub path: PathBuf,
    /// The difference.
    pub difference: Difference,
    /// The largest normwise difference allowed: that of the network's last layer.
    pub bound: f64,
}

impl Layer {
    /// Whether the bound holds. A figure that is not a number does not hold it.
    pub fn pass(&self) -> bool {
        self.worst.normwise <= self.bound
    }
}

impl Rounding {
    /// Whether the bound holds. A figure that is not a number does not hold it.
    pub fn pass(&self) -> bool {
        self.difference.normwise <= self.bound
    }

    /// The layer whose own rounding adds most.
    fn worst_layer(&self) -> Option<&str> {
        let mut before = 0.0;
        let added =
            self.layers.iter().map(|(name, normwise)| (name, normwise - std::mem::replace(&mut before, *normwise)));
        added.max_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(name, _)| name.as_str())
    }

    /// What is wrong when the bound does not hold.
    fn problem(&self, precision: Precision) -> Problem {
        let (figure, bound) = (self.difference.normwise, self.bound);
        let layer = self.worst_layer().map_or_else(String::new, |layer| format!("layer `{layer}`: "));
        let smaller = if precision == Precision::Int8 { "`--precision f16`" } else { "`--precision f32`" };
        let classes = self.same_top1.map_or_else(String::new, |same| {
            format!("; the best class is the same for {same} of {} images", self.images)
        });
        Problem {
            message: format!(
                "{layer}{precision} weights put the scores {figure:.2e} (normwise) from those of f32 weights, expected at most {bound:.0e}, \
                 and most of that comes from this layer{classes}"
            ),
            help: Some(format!(
                "keep them as they are with {smaller}, or see with --input what it costs on images of your own"
            )),
        }
    }
}

impl Generated {
    /// Whether the bound holds.
    pub fn pass(&self) -> bool {
        self.difference.normwise <= self.bound
    }
}

impl Report {
    /// The difference of the network's output, the larger of each figure where there are several. Without any output all are
    /// infinite.
    pub fn output(&self) -> Difference {
        let differences = self.output_layers().map(|layer| layer.worst);
        differences.reduce(Difference::worst).unwrap_or(Difference::INFINITE)
    }

    fn output_layers(&self) -> impl Iterator<Item = &Layer> {
        self.outputs.iter().filter_map(|&output| self.layers.get(output))
    }

    /// The first output that differs by more than is allowed of one number, relative to the largest number, with this bound.
    fn failed_output(&self) -> Option<(&Layer, f64)> {
        let bounded = self.output_layers().map(|layer| (layer, OUTPUT_BOUND * layer.bound / super::BOUND));
        bounded.into_iter().find(|(layer, bound)| layer.worst.max_rel > *bound || layer.worst.max_rel.is_nan())
    }

    /// Whether every bound holds.
    pub fn pass(&self) -> bool {
        self.agrees() && self.rounding.iter().all(Rounding::pass)
    }

    /// Whether the bounds hold that concern ONNX Runtime.
    fn agrees(&self) -> bool {
        self.layers.iter().all(Layer::pass)
            && self.output_layers().next().is_some()
            && self.failed_output().is_none()
            && self.generated.iter().all(Generated::pass)
    }

    /// The largest normwise difference of all layers.
    pub fn normwise(&self) -> f64 {
        self.layers.iter().map(|layer| layer.worst.normwise).fold(0.0, f64::max)
    }

    /// Adds the outputs of the crate at `path`: their extents and numbers, beside the expected ones for one image and for all.
    ///
    /// # Errors
    ///
    /// When the shapes differ.
    pub fn compare_generated(
        &mut self,
        path: &Path,
        actual: &[Array],
        images: &[Vec<usize>],
        expected: &[Vec<f32>],
    ) -> Result<(), Error> {
        let mut found = Vec::new();
        for (((dims, values), image), expected) in actual.iter().zip(images).zip(expected) {
            found.push(self.compare_output(path, (dims, values), image, expected)?);
        }
        let difference = found.into_iter().reduce(Difference::worst).unwrap_or(Difference::INFINITE);
        let bound = self.output_layers().map(|layer| layer.bound).reduce(f64::max).unwrap_or(super::BOUND);
        self.generated = Some(Generated { path: path.to_owned(), difference, bound });
        Ok(())
    }

    fn compare_output(
        &self,
        path: &Path,
        (dims, values): (&[usize], &[f32]),
        image: &[usize],
        expected: &[f32],
    ) -> Result<Difference, Error> {
        if dims.get(1..) != Some(image) || values.len() != expected.len() {
            let batch = self.input.first().copied().unwrap_or_default();
            let wanted: Vec<usize> = std::iter::once(batch).chain(image.iter().copied()).collect();
            return Err(Error::refused(format!(
                "{}: the output of the crate has shape {dims:?}, expected {wanted:?}",
                path.display()
            ))
            .with_help("the crate is of another network: build it again with `vgg build`"));
        }
        Ok(Difference::between(values, expected))
    }

    /// Every bound that does not hold, as an error.
    pub fn failure(&self) -> Error {
        let exceeds = |what: String, figure: f64, of: &str, bound: f64| Problem {
            message: format!("{what}: {of} difference to ONNX Runtime is {figure:.2e}, expected at most {bound:.1e}"),
            help: None,
        };
        let mut problems: Vec<Problem> = Vec::new();
        let failed = |layer: &&Layer| !layer.pass();
        // The first that fails is the cause; those behind it compute with its result.
        if let Some(layer) = self.layers.iter().find(failed) {
            let more = self.layers.iter().filter(failed).count() - 1;
            let mut problem =
                exceeds(format!("layer `{}`", layer.name), layer.worst.normwise, "the normwise", layer.bound);
            if more > 0 {
                problem.message += &format!(", and that of {more} more layers is too large");
            }
            problems.push(problem);
        }
        if let Some((layer, bound)) = self.failed_output() {
            let what =
                if self.outputs.len() == 1 { "the output".into() } else { format!("the output `{}`", layer.name) };
            problems.push(exceeds(what, layer.worst.max_rel, "the largest relative", bound));
        }
        if let Some(generated) = self.generated.as_ref().filter(|generated| !generated.pass()) {
            let what = format!("{}", generated.path.display());
            let mut problem = exceeds(what, generated.difference.normwise, "the normwise", generated.bound);
            problem.help = Some(
                "was the crate built with the weights that were given here? build it again with `vgg build`".into(),
            );
            problems.push(problem);
        }
        let rounding = self.rounding.iter().filter(|rounding| !rounding.pass());
        problems.extend(rounding.map(|rounding| rounding.problem(self.precision)));
        Error::all(Status::Comparison, problems)
    }

    /// The document of `--json`.
    pub fn to_json(&self) -> Value {
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|layer| {
                json!({
                    "name": layer.name,
                    "op": layer.op,
                    "shape": self.input.first().copied().into_iter().chain(layer.shape.dims()).collect::<Vec<_>>(),
                    "max_abs": layer.worst.max_abs,
                    "max_rel": layer.worst.max_rel,
                    "normwise": layer.worst.normwise,
                    "bound": layer.bound,
                    "pass": layer.pass(),
                    "fused": layer.fused.map(figures),
                    "in_file": layer.in_file,
                })
            })
            .collect();
        let generated = self.generated.as_ref().map(|generated| {
            let mut object = figures(generated.difference);
            object["path"] = json!(generated.path.display().to_string());
            object["bound"] = json!(generated.bound);
            object["pass"] = json!(generated.pass());
            object
        });
        let rounding = self.rounding.as_ref().map(|rounding| {
            let mut object = figures(rounding.difference);
            object["bound"] = json!(rounding.bound);
            object["pass"] = json!(rounding.pass());
            object["images"] = json!(rounding.images);
            object["same_top1"] = json!(rounding.same_top1);
            let layers = rounding.layers.iter().map(|(name, normwise)| json!({"name": name, "normwise": normwise}));
            object["layers"] = layers.collect();
            object
        });
        let output = self.output();
        json!({
            "model": self.model,
            "weights": self.weights,
            "input": self.input,
            "ort_version": self.ort_version,
            "threads": self.threads,
            "isa": self.isa,
            "precision": self.precision.name(),
            "pass": self.pass(),
            "max_abs": output.max_abs,
            "max_rel": output.max_rel,
            "normwise": self.normwise(),
            "layers": layers,
            "against_f32": rounding,
            "crate": generated,
        })
    }

    /// The table for people.
    pub fn to_text(&self) -> String {
        let mut table = Table::new(&[
            ("layer", Align::Left),
            ("op", Align::Left),
            ("output", Align::Right),
            ("max abs", Align::Right),
            ("max rel", Align::Right),
            ("normwise", Align::Right),
            ("fused", Align::Right),
            ("", Align::Left),
            ("in the file", Align::Left),
        ]);
        let figure = |value: f64| if value == 0.0 { "0".to_owned() } else { format!("{value:.1e}") };
        let verdict = |pass: bool| if pass { "ok" } else { "FAILED" }.to_owned();
        for layer in &self.layers {
            table.row(vec![
                layer.name.clone(),
                layer.op.to_owned(),
                layer.shape.to_string(),
                figure(layer.worst.max_abs),
                figure(layer.worst.max_rel),
                figure(layer.worst.normwise),
                layer.fused.map_or_else(|| "-".to_owned(), |fused| figure(fused.normwise)),
                verdict(layer.pass()),
                layer.in_file.clone(),
            ]);
        }
        if let Some(Generated { path, difference, .. }) = &self.generated {
            table.row(vec![
                "crate".into(),
                path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                String::new(),
                figure(difference.max_abs),
                figure(difference.max_rel),
                figure(difference.normwise),
                String::new(),
                verdict(self.generated.iter().all(Generated::pass)),
            ]);
        }
        let threads = if self.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", self.threads) };
        let precision =
            if self.precision == Precision::F32 { String::new() } else { format!(" rounded to {}", self.precision) };
        let text = format!(
            "{}\n{} with {}{precision}, {threads}, {}: {} ONNX Runtime {}\n",
            table.render(),
            self.model,
            self.weights,
            self.isa,
            if self.agrees() { "agrees with" } else { "DISAGREES with" },
            self.ort_version
        );
        text + &self.rounding_text()
    }

    /// The line about what the rounding of weights costs, if they are rounded.
    fn rounding_text(&self) -> String {
        match &self.rounding {
            Some(rounding @ Rounding { difference, bound, images, same_top1, .. }) => {
                let classes = same_top1.map_or_else(String::new, |same| {
                    format!("; the best class is the same for {same} of {images} images")
                });
                format!(
                    "{} against f32 weights: the scores differ by {:.1e} (normwise), at most {bound:.0e}: {}{classes}\n",
                    self.precision,
                    difference.normwise,
                    if rounding.pass() { "ok" } else { "FAILED" }
                )
            }
            None if self.precision != Precision::F32 => {
                format!("{} against f32 weights: not known, {} has no other numbers\n", self.precision, self.weights)
            }
            None => String::new(),
        }
    }
}

fn figures(difference: Difference) -> Value {
    json!({"max_abs": difference.max_abs, "max_rel": difference.max_rel, "normwise": difference.normwise})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(normwise: f64) -> Report {
        let layer = |name: &str, normwise: f64| Layer {
            name: name.into(),
            op: "Conv",
            shape: Shape::Flat { features: 2 },
            worst: Difference { max_abs: normwise, max_rel: normwise, normwise },
            fused: None,
            bound: super::super::BOUND,
            in_file: String::new(),
        };
        Report {
            model: "tiny".into(),
            weights: "seeded:0".into(),
            input: vec![3, 1, 4, 4],
            ort_version: "1.32.0".into(),
            threads: 1,
            isa: "portable",
            precision: Precision::F32,
            rounding: None,
            outputs: vec![1],
            layers: vec![layer("conv1", 1e-7), layer("conv2", normwise)],
            generated: None,
        }
    }

    #[test]
    fn a_bound_that_does_not_hold_fails_everywhere() {
        assert!(report(1e-6).pass());
        for normwise in [1e-4, f64::INFINITY, f64::NAN] {
            let report = report(normwise);
            assert!(!report.pass(), "{normwise}");
            let document = report.to_json();
            assert_eq!((&document["pass"], &document["layers"][1]["pass"]), (&json!(false), &json!(false)));
            assert!(report.failure().to_string().starts_with("error: layer `conv2`: "), "{}", report.failure());
            assert!(report.to_text().contains("FAILED") && report.to_text().contains("DISAGREES"));
        }
    }

    #[test]
    fn what_rounding_costs_is_told_and_bounded() {
        let rounded = |normwise: f64| {
            let difference = Difference { max_abs: 0.5, max_rel: 0.25, normwise };
            let layers = vec![("fc6".to_owned(), 0.5 * normwise), ("fc7".to_owned(), 0.75 * normwise)];
            let rounding = Some(Rounding { difference, bound: 2e-2, layers, images: 3, same_top1: Some(2) });
            Report { precision: Precision::Int8, rounding, ..report(0.0) }
        };
        let good = rounded(0.015625);
        assert!(good.pass());
        let document = good.to_json();
        assert_eq!(document["precision"], "int8");
        let layers = json!([{"name": "fc6", "normwise": 0.0078125}, {"name": "fc7", "normwise": 0.01171875}]);
        assert_eq!(
            document["against_f32"],
            json!({"max_abs": 0.5, "max_rel": 0.25, "normwise": 0.015625, "bound": 0.02, "pass": true, "images": 3,
                   "same_top1": 2, "layers": layers})
        );
        let text = good.to_text();
        let line = "int8 against f32 weights: the scores differ by 1.6e-2 (normwise), at most 2e-2: ok; the best class is the same \
                    for 2 of 3 images";
        assert!(text.contains(line) && text.contains("seeded:0 rounded to int8"), "{text}");
        for normwise in [0.0201, f64::INFINITY, f64::NAN] {
            let bad = rounded(normwise);
            assert!(!bad.pass(), "{normwise}");
            let document = bad.to_json();
            assert_eq!((&document["pass"], &document["against_f32"]["pass"]), (&json!(false), &json!(false)));
            let text = bad.to_text();
            // ONNX Runtime computes with the same rounded weights.
            assert!(text.contains(": agrees with ONNX Runtime") && text.contains("at most 2e-2: FAILED"), "{text}");
            let failure = bad.failure().to_string();
            assert!(failure.starts_with("error: layer `fc") && failure.contains("expected at most 2e-2"), "{failure}");
            assert!(failure.contains("\nhelp: ") && failure.contains("`--precision f16`"), "{failure}");
        }
        assert!(rounded(0.0201).failure().to_string().starts_with("error: layer `fc6`: "));
        let unknown = Report { rounding: None, ..good };
        assert_eq!(unknown.to_json()["against_f32"], Value::Null);
        assert!(unknown.to_text().contains("int8 against f32 weights: not known"), "{}", unknown.to_text());
    }

    #[test]
    fn a_crate_of_another_network_is_refused_and_a_different_result_fails() {
        let mut report = report(0.0);
        let mut compare = |dims: &[usize], values: &[f32]| {
            report
                .compare_generated(Path::new("x"), &[(dims.to_vec(), values.to_vec())], &[vec![2]], &[vec![1.0; 6]])
                .map(|()| report.pass())
        };
        assert_eq!(compare(&[3, 2], &[1.0; 6]), Ok(true));
        assert_eq!(compare(&[3, 2], &[1.0, 1.0, 1.0, 1.0, 1.0, 1.1]), Ok(false));
        assert_eq!(compare(&[2, 3], &[1.0; 6]).unwrap_err().status(), Status::Refused);
    }
}
