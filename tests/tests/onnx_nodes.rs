//! The operator tests that the package `onnx` generates, through the importer and the session, and its light models.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;
use vgg_compiler::onnx::{ImportOptions, SUPPORTED};
use vgg_tests::imported::{mismatch, run};
use vgg_tests::python::{self, Script};

/// What is not compiled, and why: lines of form, name, and a part of the message, in the order of the names. Where the message begins
/// with `differs`, the network is computed, in more exact numbers than the test has.
const BY_DESIGN: &str = "tests/onnx_nodes.by_design.txt";

/// Counts of one operator.
#[derive(Default)]
struct Counts {
    passed: usize,
    by_design: usize,
    failed: usize,
}

/// Every test of every supported operator passes, or is in the list of those that are refused by design.
#[test]
fn the_operator_tests_of_onnx() {
    let directory = tempfile::tempdir().unwrap();
    let mut arguments = vec![directory.path().to_str().unwrap()];
    arguments.extend(SUPPORTED.iter().map(|(name, _)| *name));
    let cases = python::run(Script::File("onnx_node_cases.py"), &arguments).unwrap();
    let mut listed: BTreeMap<String, &str> = BTreeMap::new();
    let list = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(BY_DESIGN)).unwrap();
    for line in list.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (case, reason) = line.split_once(": ").unwrap_or_else(|| panic!("no reason in the line `{line}`"));
        assert!(listed.insert(case.to_owned(), reason).is_none(), "`{case}` is listed twice");
    }
    let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
    let mut failures = String::new();
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| case[key].as_str().unwrap_or_default();
        let name = format!("{} {}", text("form"), text("name"));
        let entry = counts.entry(text("op").to_owned()).or_default();
        let outcome = outcome(&case);
        let reason = listed.remove(&name);
        match (&outcome, reason) {
            (None, None) => entry.passed += 1,
            (Some(message), Some(reason)) if message.contains(reason) => entry.by_design += 1,
            (None, Some(_)) => {
                entry.failed += 1;
                writeln!(failures, "{name}: passes, but is listed").unwrap();
            }
            (Some(message), _) => {
                entry.failed += 1;
                writeln!(failures, "{name}: {message}").unwrap();
            }
        }
    }
    for case in listed.keys() {
        writeln!(failures, "{case}: listed, but there is no such test").unwrap();
    }
    let mut total = Counts::default();
    for (op, Counts { passed, by_design, failed }) in &counts {
        println!("{op}: {passed} passed, {failed} failed, {by_design} refused by design");
        total.passed += passed;
        total.by_design += by_design;
        total.failed += failed;
    }
    let Counts { passed, by_design, failed } = total;
    println!("all: {passed} passed, {failed} failed, {by_design} refused by design");
    assert!(failures.is_empty(), "{failures}");
    assert!(passed + by_design > 600, "only {} tests were found", passed + by_design);
    let proven: BTreeSet<&str> =
        counts.iter().filter(|(_, counts)| counts.passed > 0).map(|(op, _)| op.as_str()).collect();
    let unproven: Vec<&str> = SUPPORTED.iter().map(|(name, _)| *name).filter(|name| !proven.contains(name)).collect();
    assert!(unproven.is_empty(), "no test of {unproven:?} passes");
}

/// Why a case does not pass.
fn outcome(case: &Value) -> Option<String> {
    let path = |key: &str| case[key].as_str().map(Path::new);
    let model = path("model").unwrap();
    let options = ImportOptions::default();
    let (Some(input), Some(output)) = (path("input"), path("output")) else {
        // There are no real numbers to compute with.
        let imported = vgg_compiler::onnx::import(model, &options);
        return Some(
            imported.map_or_else(|error| error.to_string(), |_| "imported, but cannot be compared".to_owned()),
        );
    };
    let (_, expected) = vgg_runtime::npy::read_f32(output).unwrap();
    match run(model, &options, input) {
        Ok(actual) => mismatch(&actual, &expected, case["rtol"].as_f64().unwrap(), case["atol"].as_f64().unwrap()),
        Err(message) => Some(message),
    }
}

/// Networks of the model zoo whose weights their files compute, with the outputs that come with them.
#[test]
fn the_light_models_of_onnx() {
    let directory = tempfile::tempdir().unwrap();
    let names = ["bvlc_alexnet", "zfnet512", "vgg19"];
    let mut arguments = vec![directory.path().to_str().unwrap()];
    arguments.extend(names);
    let models = python::run(Script::File("onnx_light_models.py"), &arguments).unwrap();
    assert_eq!(models.lines().count(), names.len());
    for (name, model) in names.iter().zip(models.lines()) {
        let array = |kind: &str| directory.path().join(format!("{name}.{kind}.npy"));
        let (_, expected) = vgg_runtime::npy::read_f32(&array("y")).unwrap();
        let actual = run(Path::new(model), &ImportOptions::default(), &array("x")).unwrap();
        if let Some(mismatch) = mismatch(&actual, &expected, 1e-3, 1e-7) {
            panic!("{name}: {mismatch}");
        }
    }
}

/// A really trained network as PyTorch exported it gives the logits that PyTorch had.
#[test]
fn the_trained_model_of_the_examples() {
    let fashion = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/fashion");
    let meta: Value = serde_json::from_slice(&std::fs::read(fashion.join("meta.json")).unwrap()).unwrap();
    let number = |key: &str| meta[key].as_f64().unwrap() as f32;
    let expected = vgg_compiler::weights::read(&fashion.join("expected-logits.safetensors")).unwrap();
    let (_, logits) = expected.iter().next().unwrap();
    let count = logits.shape[0];
    let file = std::fs::read(fashion.join("images.idx3-ubyte")).unwrap();
    let pixels = file[16..][..count * 28 * 28].iter();
    let images: Vec<f32> = pixels.map(|&pixel| (f32::from(pixel) / 255.0 - number("mean")) / number("std")).collect();
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("x.npy");
    vgg_runtime::npy::write_f32(&input, &[count, 1, 28, 28], &images).unwrap();
    let actual = run(&fashion.join("fashion-vgg.onnx"), &ImportOptions::default(), &input).unwrap();
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let error = norm(&mut actual.iter().zip(logits.values()).map(|(a, b)| a - b)) / norm(&mut logits.values());
    assert!(actual.len() == 10 * count && error < 1e-5, "{error}");
}
