use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use vgg_runtime::npy;

use crate::support::{Place, keys};

const FIELDS: [&str; 21] = [
    "model",
    "weights",
    "batch",
    "runs",
    "threads",
    "precision",
    "isa",
    "median_ms",
    "min_ms",
    "max_ms",
    "spread",
    "noisy",
    "images_per_second",
    "first_ms",
    "second_ms",
    "load_ms",
    "peak_rss_bytes",
    "limits",
    "floor_ms",
    "limit_percent",
    "layers",
];

const LAYER_FIELDS: [&str; 16] = [
    "name",
    "layers",
    "computes",
    "algorithm",
    "median_ms",
    "min_ms",
    "max_ms",
    "spread",
    "flops",
    "bytes",
    "gflops",
    "gbytes_per_second",
    "limit",
    "floor_ms",
    "limit_percent",
    "in_file",
];

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn the_document_has_the_fields_that_the_help_tells() {
    let place = Place::new();
    let document = place.json(&["bench", "tiny.vgg", "--runs", "5", "--threads", "2", "--batch", "3", "--json"]);
    assert_eq!(keys(&document), [&FIELDS[..], &["ort"]].concat());
    assert_eq!(
        (&document["model"], &document["weights"], &document["precision"], &document["ort"]),
        (&json!("Tiny"), &json!("seeded:0"), &json!("f32"), &json!(null))
    );
    assert_eq!((&document["threads"], &document["batch"], &document["runs"]), (&json!(2), &json!(3), &json!(5)));
    for field in ["median_ms", "min_ms", "max_ms", "images_per_second", "first_ms", "second_ms", "load_ms", "floor_ms"]
    {
        assert!(number(&document[field]) > 0.0, "{field}: {document}");
    }
    assert!(number(&document["min_ms"]) <= number(&document["median_ms"]));
    assert!(number(&document["median_ms"]) <= number(&document["max_ms"]));
    assert_eq!(document["noisy"], number(&document["spread"]) > 0.1);
    assert_eq!(keys(&document["limits"]), ["gflops", "gbytes_per_second"]);
    if cfg!(target_os = "linux") {
        assert!(document["peak_rss_bytes"].as_u64().unwrap() > 1 << 20);
    } else {
        assert!(document["peak_rss_bytes"].is_null());
    }

    // The steps are those of the plan; only what changes the layout stands in no layer table.
    let steps = document["layers"].as_array().unwrap();
    assert!(steps.iter().all(|step| keys(step) == LAYER_FIELDS));
    assert_eq!((&steps[0]["name"], &steps[0]["layers"]), (&json!("pack"), &json!([])));
    let shown = place.json(&["show", "tiny.vgg", "--json"]);
    let names = |steps: &[Value]| {
        let computing = steps.iter().filter(|step| step["layers"] != json!([]));
        computing.map(|step| (step["name"].clone(), step["computes"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(names(steps), names(shown["steps"].as_array().unwrap()));
    let flops: f64 = steps.iter().map(|step| number(&step["flops"])).sum();
    assert_eq!(flops, 3.0 * 2.0 * number(&shown["macs"]));
    for step in steps {
        assert!(number(&step["bytes"]) > 0.0 && number(&step["limit_percent"]) > 0.0, "{step}");
        let ratio = number(&step["gflops"]) * number(&step["median_ms"]) * 1e6;
        assert!((ratio - number(&step["flops"])).abs() <= 1e-6 * ratio, "{step}");
    }
}

#[test]
fn the_table_has_the_steps_and_the_totals() {
    let place = Place::new();
    let (stdout, stderr) = place.exits(0, &["bench", "maps.vgg", "--runs", "1", "--threads", "1"]);
    for text in ["Maps: 1 image, f32, 1 thread, ", "conv1_1", "unpack", "total", "of 1 runs", "first inference"] {
        assert!(stdout.contains(text), "{text:?}: {stdout}");
    }
    assert!(stderr.contains("using seeded:0"), "{stderr}");
    let (_, stderr) = place.exits(0, &["bench", "maps.vgg", "--runs", "1", "--quiet"]);
    assert_eq!(stderr, "");
}

#[test]
fn exact_means_direct_sums() {
    let place = Place::new();
    place.write("wide.vgg", "Wide: 3 x 32 x 32 { conv3-64, conv3-64 }");
    let second = |arguments: &[&str]| {
        let all = [&["bench", "wide.vgg", "--runs", "1", "--threads", "1", "--json"], arguments].concat();
        place.json(&all)["layers"].as_array().unwrap().iter().find(|step| step["name"] == "conv1_2").unwrap().clone()
    };
    let (chosen, exact) = (second(&[]), second(&["--exact"]));
    assert_eq!(exact["algorithm"], "direct");
    assert!(chosen["algorithm"].as_str().unwrap().starts_with("winograd"), "{chosen}");
    // The work is that of the layer's definition; what the limits allow is the algorithm's.
    assert_eq!(chosen["flops"], exact["flops"]);
    assert!(number(&chosen["bytes"]) > number(&exact["bytes"]));
}

#[test]
fn weights_of_a_file_are_loaded_from_there() {
    let place = Place::new();
    place.ok(&["export", "tiny.vgg", "--external", "-o", "tiny.onnx"]);
    let before = place.names();
    let document = place.json(&["bench", "tiny.vgg", "--weights", "tiny.safetensors", "--runs", "1", "--json"]);
    assert_eq!(document["weights"], "tiny.safetensors");
    assert_eq!(place.names(), before);
    let stderr = place.fails(3, &["bench", "maps.vgg", "--weights", "tiny.safetensors"]);
    assert!(stderr.contains("tiny.safetensors"), "{stderr}");
}

#[test]
fn wrong_usage_is_told() {
    let place = Place::new();
    let cases: [(i32, &[&str]); 7] = [
        (2, &["--runs", "0"]),
        (2, &["--batch", "0"]),
        (2, &["--threads", "0"]),
        (2, &["--against", "nobody"]),
        (3, &["--weights", "seeded:x"]),
        (3, &["--weights", "missing.safetensors"]),
        (2, &["--serve", "x.npy", "--runs", "3"]),
    ];
    for (status, arguments) in cases {
        place.fails(status, &[&["bench", "tiny.vgg"], arguments].concat());
    }
    place.fails(3, &["bench", "vgg-z"]);
}

#[test]
fn onnx_runtime_takes_turns() {
    let place = Place::new();
    let mut command = place.vgg(&[]);
    if std::env::var_os("ORT_DYLIB_PATH").is_none_or(|path| path.is_empty()) {
        // The library is looked for from here on upwards.
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
    }
    let model = place.path("tiny.vgg");
    let output = command
        .args(["bench", "--against", "ort", "--runs", "2", "--threads", "1", "--json", "--quiet"])
        .arg(model)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let ort = &document["ort"];
    let fields = [
        "version",
        "median_ms",
        "min_ms",
        "max_ms",
        "spread",
        "noisy",
        "images_per_second",
        "first_ms",
        "load_ms",
        "ratio",
    ];
    assert_eq!(keys(ort), fields);
    assert!(ort["version"].as_str().unwrap().starts_with("1."), "{ort}");
    let ratio = number(&ort["median_ms"]) / number(&document["median_ms"]);
    assert!((number(&ort["ratio"]) - ratio).abs() < 1e-9 * ratio, "{document}");
}

#[test]
fn without_the_library_the_remedy_is_named() {
    let place = Place::new();
    let mut command = place.vgg(&["bench", "tiny.vgg", "--against", "ort"]);
    let output = command.env_remove("ORT_DYLIB_PATH").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(4), &b""[..]), "{stderr}");
    assert!(stderr.contains("help: `cargo xtask ort`"), "{stderr}");
}

#[test]
fn a_server_computes_once_for_every_line() {
    let place = Place::new();
    place.array("x.npy", &[2, 3, 16, 16]);
    place.ok(&["run", "tiny.vgg", "--input", "x.npy", "--output", "y.npy"]);
    let (_, expected) = npy::read_f32(&place.path("y.npy")).unwrap();

    let mut server = Command::new(env!("CARGO_BIN_EXE_vgg"))
        .args(["bench", "tiny.vgg", "--weights", "seeded", "--threads", "1", "--quiet", "--serve", "x.npy"])
        .current_dir(place.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = server.stdin.take().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let mut line = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let ready = line();
    assert_eq!(keys(&ready), ["version", "load_ms", "first_ms", "peak_rss_bytes", "output"]);
    let output: Vec<f32> = ready["output"].as_array().unwrap().iter().map(|value| number(value) as f32).collect();
    assert_eq!(output, expected);
    for _ in 0..3 {
        stdin.write_all(b"run\n").unwrap();
        let answer = line();
        assert_eq!(keys(&answer), ["ms"]);
        assert!(number(&answer["ms"]) > 0.0);
    }
    drop(stdin);
    assert!(server.wait().unwrap().success());
}
