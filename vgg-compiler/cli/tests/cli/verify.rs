//! These need ONNX Runtime. Without it they fail with the remedy, which is what the command says.

use std::fs;

use serde_json::json;

use crate::support::{MAPS, Place, TINY, keys};

/// The command may run anywhere: it is told where the library is that its tests would find.
fn ok(place: &Place, status: i32, arguments: &[&str]) -> (String, String) {
    let mut command = place.vgg(&[&["verify"], arguments].concat());
    if std::env::var_os("ORT_DYLIB_PATH").is_none_or(|path| path.is_empty()) {
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
    }
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(status), "{arguments:?}\n{stdout}{stderr}");
    (stdout, stderr)
}

fn path(place: &Place, name: &str) -> String {
    place.path(name).to_str().unwrap().to_owned()
}

#[test]
fn every_layer_is_compared() {
    let place = Place::new();
    let (stdout, stderr) = ok(&place, 0, &[&path(&place, "tiny.vgg"), "--json", "--quiet", "--threads", "2"]);
    assert_eq!(stderr, "");
    let document: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        keys(&document),
        [
            "model",
            "weights",
            "input",
            "ort_version",
            "threads",
            "isa",
            "precision",
            "pass",
            "max_abs",
            "max_rel",
            "normwise",
            "layers",
            "against_f32",
            "crate"
        ]
    );
    assert_eq!(
        (&document["model"], &document["pass"], &document["threads"]),
        (&json!("Tiny"), &json!(true), &json!(2))
    );
    assert!(document["ort_version"].as_str().unwrap().starts_with("1."), "{document}");
    let layers = document["layers"].as_array().unwrap();
    let shown = place.json(&["show", "tiny.vgg", "--json"]);
    let names = |layers: &[serde_json::Value]| layers.iter().map(|layer| layer["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(layers), names(shown["layers"].as_array().unwrap()));
    let fields = ["name", "op", "shape", "max_abs", "max_rel", "normwise", "bound", "pass", "fused", "in_file"];
    for layer in layers {
        assert_eq!(keys(layer), fields);
        assert!(layer["normwise"].as_f64().unwrap() <= 1e-6, "{layer}");
    }
    let fused = |name: &str| &layers.iter().find(|layer| layer["name"] == name).unwrap()["fused"];
    // The convolution is fused with its ReLU, whose value is stored.
    assert!(fused("conv1_1").is_null() && fused("relu1_1").is_object());
    let last = layers.last().unwrap();
    assert_eq!((&last["max_abs"], &last["max_rel"]), (&document["max_abs"], &document["max_rel"]));
}

#[test]
fn the_table_and_its_silence() {
    let place = Place::new();
    let maps = path(&place, "maps.vgg");
    let (stdout, stderr) = ok(&place, 0, &[&maps]);
    assert!(stdout.contains("conv1_1") && stdout.contains("agrees with ONNX Runtime"), "{stdout}");
    assert!(stderr.contains("using seeded:0"), "{stderr}");
    assert_eq!(ok(&place, 0, &[&maps, "--quiet"]), (String::new(), String::new()));
}

#[test]
fn batches_of_given_images_and_logits() {
    let place = Place::new();
    place.array("x.npy", &[3, 3, 16, 16]);
    let (stdout, _) = ok(
        &place,
        0,
        &[&path(&place, "tiny.vgg"), "--input", &path(&place, "x.npy"), "--weights", "seeded:7", "--logits", "--json"],
    );
    let document: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(document["input"], json!([3, 3, 16, 16]));
    let last = document["layers"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["op"], &last["shape"], &last["bound"]), (&json!("Gemm"), &json!([3, 10]), &json!(1e-5)));
}

#[test]
fn a_generated_crate_is_compared_too_and_a_different_one_fails() {
    let place = Place::new();
    place.ok(&["build", "tiny.vgg", "--out", "crate"]);
    let [tiny, directory] = ["tiny.vgg", "crate"].map(|name| path(&place, name));
    let (stdout, _) = ok(&place, 0, &[&tiny, "--crate", &directory, "--json"]);
    let document: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(keys(&document["crate"]), ["max_abs", "max_rel", "normwise", "path", "bound", "pass"]);
    assert_eq!((&document["pass"], &document["crate"]["pass"]), (&json!(true), &json!(true)));

    // The crate has other weights: a comparison that is not met, with the whole document.
    let (stdout, stderr) = ok(&place, 1, &[&tiny, "--crate", &directory, "--weights", "seeded:1", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&document["pass"], &document["crate"]["pass"]), (&json!(false), &json!(false)));
    assert!(document["layers"].as_array().unwrap().iter().all(|layer| layer["pass"] == true));
    assert!(stderr.contains("error: ") && stderr.contains("expected at most"), "{stderr}");

    // The crate of another network.
    place.write("other.vgg", TINY.replace("fc-10", "fc-11"));
    let (stdout, stderr) = ok(&place, 3, &[&path(&place, "other.vgg"), "--crate", &directory, "--json"]);
    assert_eq!(stdout, "");
    assert!(stderr.contains("has shape [1, 10], expected [1, 11]"), "{stderr}");

    // A crate that does not build.
    fs::write(place.path("crate/src/model.rs"), "no Rust").unwrap();
    let (_, stderr) = ok(&place, 3, &[&tiny, "--crate", &directory]);
    assert!(stderr.contains("its example failed"), "{stderr}");
}

#[test]
fn only_generated_crates_are_built() {
    let place = Place::new();
    fs::create_dir(place.path("mine")).unwrap();
    place.write("mine/Cargo.toml", "[package]\nname = \"mine\"\n");
    for name in ["mine", "missing"] {
        place.fails(3, &["verify", "tiny.vgg", "--crate", name]);
    }
}

#[test]
fn without_the_library_the_remedy_is_named() {
    let place = Place::empty();
    place.write("maps.vgg", MAPS);
    let fails = |library: Option<&str>| {
        let mut command = place.vgg(&["verify", "maps.vgg"]);
        match library {
            Some(library) => command.env("ORT_DYLIB_PATH", library),
            None => command.env_remove("ORT_DYLIB_PATH"),
        };
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{stderr}");
        assert!(stderr.contains("help: `cargo xtask ort`"), "{stderr}");
        stderr
    };
    assert!(fails(None).contains("ORT_DYLIB_PATH is not set"));
    assert!(fails(Some("no/such/library.so")).contains("error: no/such/library.so: "));
    assert!(fails(Some("maps.vgg")).contains("error: maps.vgg: cannot load ONNX Runtime"));
}
