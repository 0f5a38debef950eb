//! Python programs run, and `onnx.checker` tells a good model from a broken one.

mod support;

use std::path::{Path, PathBuf};

use onnx_protobuf::{Message, ModelProto};
use vgg_tests::python::{self, Script, check_onnx};

fn write(directory: &Path, name: &str, model: &ModelProto) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, model.write_to_bytes().unwrap()).unwrap();
    path
}

#[test]
fn a_program_prints_and_gets_its_arguments() {
    let stdout = python::run(Script::Text("import sys\nprint(sys.argv[1:])"), &["a b", "c"]).unwrap();
    assert_eq!(stdout.trim_end(), "['a b', 'c']");
}

#[test]
fn a_program_that_fails_shows_its_stderr() {
    let message = python::run(Script::Text("raise SystemExit('no luck')"), &[""; 0]).unwrap_err().to_string();
    assert!(message.starts_with("the Python program `raise SystemExit('no luck')` failed ("), "{message}");
    assert!(message.ends_with("):\nno luck\n"), "{message}");
}

#[test]
fn the_packages_are_those_that_are_pinned() {
    let text = "import numpy, onnx, onnxruntime\nprint(onnx.__version__, onnxruntime.__version__)";
    assert_eq!(python::run(Script::Text(text), &[""; 0]).unwrap().trim_end(), "1.23.2 1.32.0");
}

#[test]
fn a_good_model_passes() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "good.onnx", &support::conv_relu());
    let checks = check_onnx(&[&path]).unwrap();
    assert_eq!(checks.len(), 1);
    assert_eq!(checks[0].path, path.to_str().unwrap());
    assert_eq!((&checks[0].error, checks[0].opset, checks[0].ir_version), (&None, Some(17), Some(8)));
}

#[test]
fn broken_models_are_refused_one_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let broken = |name: &str, change: fn(&mut ModelProto)| {
        let mut model = support::conv_relu();
        change(&mut model);
        write(directory.path(), name, &model)
    };
    let no_model = directory.path().join("no_model.onnx");
    std::fs::write(&no_model, b"no model").unwrap();
    let cases = [
        (broken("attribute.onnx", |m| m.graph.as_mut().unwrap().node[0].attribute[0].name = "kernel".into()), "kernel"),
        (broken("dangling.onnx", |m| m.graph.as_mut().unwrap().node[1].input[0] = "absent".into()), "absent"),
        (broken("weight.onnx", |m| m.graph.as_mut().unwrap().initializer[0].dims = vec![2, 1, 2, 3]), "weight"),
        (
            broken("kernel.onnx", |m| m.graph.as_mut().unwrap().node[0].attribute[0].ints = vec![3, 3]),
            "dimension 2: (1) vs (2)",
        ),
        (no_model, "no_model.onnx"),
        (directory.path().join("absent.onnx"), "absent.onnx"),
        (broken("good.onnx", |_| {}), ""),
    ];
    let paths = cases.iter().map(|(path, _)| path).collect::<Vec<_>>();
    for (check, (path, culprit)) in check_onnx(&paths).unwrap().iter().zip(&cases) {
        assert_eq!(check.path, path.to_str().unwrap());
        match &check.error {
            Some(error) => assert!(!culprit.is_empty() && error.contains(culprit), "{}: {error}", check.path),
            None => assert_eq!(*culprit, "", "{} passes", check.path),
        }
    }
}
