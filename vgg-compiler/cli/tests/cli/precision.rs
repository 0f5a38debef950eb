//! `--precision`: weights of fully connected layers in f16, bf16 and int8.

use serde_json::{Value, json};
use vgg_cli::compare::Difference;
use vgg_runtime::npy;

use crate::support::{Place, keys};

/// A network that is mostly fully connected.
const HEAD: &str =
    "Head: 3 x 8 x 8 { preprocess torchvision(resize 8); conv3-8, maxpool; fc-60, fc-50, fc-10, softmax }";

/// How far scores may be from those of f32 weights.
const BOUNDS: [(&str, f64); 3] = [("f16", 1e-3), ("bf16", 8e-3), ("int8", 2e-2)];

fn place() -> Place {
    let place = Place::empty();
    place.write("head.vgg", HEAD);
    place.array("x.npy", &[3, 3, 8, 8]);
    place
}

fn values(place: &Place, name: &str) -> Vec<f32> {
    npy::read_f32(&place.path(name)).unwrap().1
}

#[test]
fn show_tells_the_bytes() {
    let place = place();
    let whole = place.json(&["show", "head.vgg", "--json"]);
    assert_eq!(whole["precision"], "f32");
    for (precision, width) in [("f16", 2), ("bf16", 2), ("int8", 1)] {
        let shown = place.json(&["show", "head.vgg", "--json", "--precision", precision]);
        assert_eq!(shown["precision"], precision);
        for field in ["parameters", "macs", "arena_bytes"] {
            assert_eq!(shown[field], whole[field], "{field}");
        }
        let fc = &shown["steps"].as_array().unwrap().iter().find(|step| step["name"] == "fc2").unwrap().clone();
        assert!(fc["computes"].as_str().unwrap().contains(&format!(", {precision} + relu")), "{fc}");
        assert_eq!(fc["parameters"], 60 * 128 + 60);
        // The weight, the bias, and the scales of int8 rows.
        let scales = if precision == "int8" { 4 * 60 } else { 0 };
        assert_eq!(fc["bytes"], width * 60 * 128 + 4 * 60 + scales);
        let text = place.ok(&["show", "head.vgg", "--precision", precision]);
        assert!(text.contains(&format!("gemm 128 to 60, {precision} + relu")), "{text}");
    }
}

#[test]
fn a_wrong_precision_is_a_wrong_usage() {
    let place = place();
    for command in ["show", "run", "bench", "verify"] {
        let stderr = place.fails(2, &[command, "head.vgg", "--precision", "int4"]);
        assert!(stderr.contains("int4") && stderr.contains("expected f32, f16, bf16 or int8"), "{stderr}");
    }
}

#[test]
fn what_was_exported_is_run_as_it_is() {
    let place = place();
    place.ok(&["run", "head.vgg", "--input", "x.npy", "--output", "f32.npy", "--logits"]);
    for (precision, bound) in BOUNDS {
        let run = |weights: &str, output: &str| {
            let arguments = ["run", "head.vgg", "--input", "x.npy", "--logits", "--precision", precision];
            place.ok(&[&arguments[..], &["--weights", weights, "--output", output]].concat());
            values(&place, output)
        };
        let rounded = run("seeded:0", "rounded.npy");
        let difference = Difference::between(&rounded, &values(&place, "f32.npy"));
        assert!(difference.normwise > 1e-6 && difference.normwise < bound, "{precision}: {difference:?}");

        let files = ["export", "head.vgg", "-o", "head.onnx", "--external", "--precision", precision];
        place.ok(&files);
        assert_eq!(run("head.safetensors", "again.npy"), rounded, "{precision}");
        // The same bytes when it is made of itself.
        let first = place.read("head.safetensors");
        let again = ["export", "head.vgg", "-o", "again.onnx", "--external", "--precision", precision];
        place.ok(&[&again[..], &["--weights", "head.safetensors"]].concat());
        assert!(first == place.read("again.safetensors"), "{precision}");
        assert!(first.len() < place.json(&["show", "head.vgg", "--json"])["weights_bytes"].as_u64().unwrap() as usize);
    }
}

#[test]
fn int8_weights_are_refused_where_f32_ones_are_meant() {
    let place = place();
    place.ok(&["export", "head.vgg", "-o", "head.onnx", "--external", "--precision", "int8"]);
    for precision in ["f32", "f16"] {
        let arguments =
            ["run", "head.vgg", "--input", "x.npy", "--weights", "head.safetensors", "--precision", precision];
        let stderr = place.fails(3, &arguments);
        assert!(stderr.contains("holds I8 numbers") && stderr.contains("help: int8 weights are read with"), "{stderr}");
    }
}

#[test]
fn exported_models_are_read_back() {
    let place = place();
    for (precision, exact) in [("f16", true), ("bf16", true), ("int8", false)] {
        for external in [&[][..], &["--external"]] {
            let arguments = ["export", "head.vgg", "-o", "head.onnx", "--logits", "--precision", precision];
            place.ok(&[&arguments[..], external].concat());
            place.ok(&["run", "head.onnx", "--input", "x.npy", "--output", "imported.npy"]);
            let arguments = ["run", "head.vgg", "--input", "x.npy", "--output", "direct.npy", "--logits"];
            place.ok(&[&arguments[..], &["--precision", precision]].concat());
            let difference = Difference::between(&values(&place, "imported.npy"), &values(&place, "direct.npy"));
            // Scaled one by one or all together, int8 weights differ in the last bit.
            assert!(difference.normwise < if exact { 1e-9 } else { 1e-6 }, "{precision} {external:?}: {difference:?}");
        }
    }
}

#[test]
fn bench_reports_the_precision_and_counts_its_bytes() {
    let place = place();
    let bytes = |precision: &str| {
        let document = place.json(&["bench", "head.vgg", "--runs", "3", "--json", "--precision", precision]);
        assert_eq!(document["precision"], precision);
        let layers = document["layers"].as_array().unwrap();
        layers.iter().find(|layer| layer["name"] == "fc2").unwrap()["bytes"].as_f64().unwrap()
    };
    let activations = 4.0 * (128.0 + 60.0);
    assert_eq!(bytes("f32"), 4.0 * (60.0 * 128.0 + 60.0) + activations);
    assert_eq!(bytes("f16"), 2.0 * 60.0 * 128.0 + 4.0 * 60.0 + activations);
    assert_eq!(bytes("int8"), 60.0 * 128.0 + 8.0 * 60.0 + activations);
    let text = place.ok(&["bench", "head.vgg", "--runs", "3", "--precision", "int8"]);
    assert!(text.contains("Head: 1 image, int8, "), "{text}");
}

/// Needs ONNX Runtime; without it the command fails with the remedy.
#[test]
fn verify_compares_the_rounded_network_and_tells_what_rounding_costs() {
    let place = place();
    let verify_to = |status: i32, arguments: &[&str]| {
        let head = place.path("head.vgg");
        let input = place.path("x.npy");
        let mut command = place.vgg(&["verify", head.to_str().unwrap(), "--input", input.to_str().unwrap()]);
        if std::env::var_os("ORT_DYLIB_PATH").is_none_or(|path| path.is_empty()) {
            command.current_dir(env!("CARGO_MANIFEST_DIR"));
        }
        let output = command.args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        assert_eq!(output.status.code(), Some(status), "{stdout}{stderr}");
        (stdout, stderr)
    };
    let verify = |arguments: &[&str]| verify_to(0, arguments).0;
    for (precision, bound) in BOUNDS {
        let document: Value = serde_json::from_str(&verify(&["--precision", precision, "--json"])).unwrap();
        assert_eq!((&document["precision"], &document["pass"]), (&json!(precision), &json!(true)), "{document}");
        let cost = &document["against_f32"];
        assert_eq!(keys(cost), ["max_abs", "max_rel", "normwise", "bound", "pass", "images", "same_top1", "layers"]);
        assert_eq!((&cost["bound"], &cost["pass"]), (&json!(bound), &json!(true)), "{precision}");
        let layers: Vec<&str> =
            cost["layers"].as_array().unwrap().iter().map(|layer| layer["name"].as_str().unwrap()).collect();
        assert_eq!(layers.last(), Some(&"prob"), "{layers:?}");
        let normwise = cost["normwise"].as_f64().unwrap();
        assert!(normwise > 1e-6 && normwise < bound, "{precision}: {cost}");
        assert_eq!((&cost["images"], &cost["same_top1"]), (&json!(3), &json!(3)), "{precision}");
    }
    let text = verify(&["--precision", "int8"]);
    assert!(
        text.contains("seeded:0 rounded to int8") && text.contains("int8 against f32 weights: the scores differ by"),
        "{text}"
    );
    let document: Value = serde_json::from_str(&verify(&["--json"])).unwrap();
    assert_eq!((&document["precision"], &document["against_f32"]), (&json!("f32"), &Value::Null));
    // A file of int8 weights has no others.
    place.ok(&["export", "head.vgg", "-o", "head.onnx", "--external", "--precision", "int8"]);
    let file = place.path("head.safetensors");
    let text = verify(&["--precision", "int8", "--weights", file.to_str().unwrap()]);
    assert!(text.contains("int8 against f32 weights: not known"), "{text}");

    // A last layer of weights so small that nothing is left of them as f16: the scores are lost.
    place.ok(&["export", "head.vgg", "-o", "whole.onnx", "--external"]);
    let mut bytes = place.read("whole.safetensors");
    let data = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..data]).unwrap();
    let last = header
        .as_object()
        .unwrap()
        .keys()
        .rfind(|key| key.starts_with("classifier") && key.ends_with(".weight"))
        .unwrap();
    let last = last.trim_end_matches(".weight");
    for (part, factor) in [("weight", 1e-7), ("bias", 0.0)] {
        let place = |end: usize| header[format!("{last}.{part}")]["data_offsets"][end].as_u64().unwrap() as usize;
        for number in bytes[data + place(0)..data + place(1)].as_chunks_mut().0 {
            *number = (f32::from_le_bytes(*number) * factor).to_le_bytes();
        }
    }
    place.write("small.safetensors", bytes);
    let small = place.path("small.safetensors");
    let small = ["--precision", "f16", "--weights", small.to_str().unwrap()];
    let (text, stderr) = verify_to(1, &small);
    assert!(text.contains("at most 1e-3: FAILED") && text.contains(": agrees with ONNX Runtime"), "{text}");
    assert!(stderr.contains("error: layer `fc4`: f16 weights put the scores "), "{stderr}");
    assert!(stderr.contains("expected at most 1e-3") && stderr.contains("help: keep them as they are"), "{stderr}");
    let (document, _) = verify_to(1, &[&small[..], &["--json"]].concat());
    assert_eq!(serde_json::from_str::<Value>(&document).unwrap()["pass"], json!(false));
}
