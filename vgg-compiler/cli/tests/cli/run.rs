use std::fs;

use serde_json::json;
use vgg_runtime::npy;

use crate::support::{Place, keys};

#[test]
fn the_best_classes_of_each_image() {
    let place = Place::new();
    place.array("x.npy", &[3, 3, 16, 16]);
    let table = place.ok(&["run", "tiny.vgg", "--input", "x.npy", "--top", "2"]);
    let rows: Vec<Vec<&str>> = table.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), ["0", "0", "1", "1", "2", "2"]);
    assert_eq!(place.ok(&["run", "tiny.vgg", "--input", "x.npy"]).lines().count(), 1 + 3 * 5);

    let document = place.json(&["run", "tiny.vgg", "--input", "x.npy", "--top", "2", "--threads", "1", "--json"]);
    assert_eq!(
        keys(&document),
        ["model", "weights", "input", "precision", "threads", "isa", "output", "images", "written", "taps"]
    );
    assert_eq!((&document["input"], &document["output"]), (&json!([3, 3, 16, 16]), &json!([3, 10])));
    assert_eq!((&document["weights"], &document["threads"]), (&json!("seeded:0"), &json!(1)));
    let images = document["images"].as_array().unwrap();
    assert_eq!(images.len(), 3);
    assert!(images.iter().all(|image| keys(image) == ["top", "min", "max", "mean"]));
    assert_eq!(images[2]["top"][1]["index"].to_string(), rows[5][1]);
    assert_eq!(images[0]["top"][0]["score"], images[0]["max"]);
}

#[test]
fn the_output_depends_neither_on_threads_nor_on_the_number_of_images() {
    let place = Place::new();
    place.array("x.npy", &[5, 3, 16, 16]);
    let run = |arguments: &[&str]| {
        let all = [&["run", "tiny.vgg", "--quiet", "--output", "y.npy", "--input"], arguments].concat();
        assert_eq!(place.exits(0, &all), (String::new(), String::new()), "--quiet is silent");
        npy::read_f32(&place.path("y.npy")).unwrap()
    };
    let (dims, all) = run(&["x.npy", "--threads", "1"]);
    assert_eq!(dims, [5, 10]);
    let sums = all.chunks(10).map(|image| image.iter().sum::<f32>());
    assert!(sums.into_iter().all(|sum| (sum - 1.0).abs() < 1e-5), "{all:?}");
    assert_eq!(run(&["x.npy", "--threads", "3"]), (dims, all.clone()));
    let (_, exact) = run(&["x.npy", "--exact"]);
    let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
    assert!(exact.iter().zip(&all).all(close), "{exact:?} differs from {all:?}");
    let (_, images) = npy::read_f32(&place.path("x.npy")).unwrap();
    for (image, expected) in images.chunks(3 * 16 * 16).zip(all.chunks(10)) {
        npy::write_f32(&place.path("one.npy"), &[1, 3, 16, 16], image).unwrap();
        assert_eq!(run(&["one.npy"]).1, expected);
    }
}

#[test]
fn the_number_of_threads_may_come_from_the_environment() {
    let place = Place::new();
    place.array("x.npy", &[1, 3, 16, 16]);
    let run = |threads: &str| {
        place.vgg(&["run", "tiny.vgg", "--input", "x.npy", "--json"]).env("VGG_NUM_THREADS", threads).output().unwrap()
    };
    let document: serde_json::Value = serde_json::from_slice(&run("2").stdout).unwrap();
    assert_eq!(document["threads"], 2);
    let refused = run("many");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("VGG_NUM_THREADS"));
}

#[test]
fn logits_come_before_the_softmax() {
    let place = Place::new();
    place.array("x.npy", &[1, 3, 16, 16]);
    let read = |arguments: &[&str]| {
        place.ok(&[&["run", "tiny.vgg", "--input", "x.npy", "--output", "y.npy"], arguments].concat());
        npy::read_f32(&place.path("y.npy")).unwrap().1
    };
    let (scores, probabilities) = (read(&["--logits"]), read(&[]));
    let sum: f32 = scores.iter().map(|score| score.exp()).sum();
    for (score, probability) in scores.iter().zip(probabilities) {
        assert!((score.exp() / sum - probability).abs() < 1e-5);
    }
}

#[test]
fn tapped_layers_are_written_beside_the_output() {
    let place = Place::new();
    place.array("x.npy", &[2, 3, 16, 16]);
    fs::create_dir(place.path("out")).unwrap();
    let arguments = ["run", "tiny.vgg", "--input", "x.npy", "--output", "out/y.npy", "--json", "--tap"];
    let document = place.json(&[&arguments[..], &["conv1_1", "relu1_1", "--tap", "norm1", "--tap", "prob"]].concat());
    assert_eq!(document["taps"][2], json!({"name": "norm1", "shape": [2, 8, 16, 16], "path": "out/norm1.npy"}));
    let read = |name: &str| npy::read_f32(&place.path(&format!("out/{name}.npy"))).unwrap();
    let ((dims, conv), (_, relu)) = (read("conv1_1"), read("relu1_1"));
    assert_eq!(dims, [2, 8, 16, 16]);
    assert!(conv.iter().any(|&x| x < 0.0));
    assert!(conv.iter().zip(&relu).all(|(&x, &y)| y == x.max(0.0)));
    assert_eq!(read("prob"), read("y"));
    // Without an output they are in the current directory.
    place.ok(&["run", "tiny.vgg", "--input", "x.npy", "--tap", "conv1_1"]);
    assert_eq!(place.read("conv1_1.npy"), place.read("out/conv1_1.npy"));
}

#[test]
fn feature_maps_have_a_range_instead_of_classes() {
    let place = Place::new();
    place.array("x.npy", &[2, 2, 9, 7]);
    let table = place.ok(&["run", "maps.vgg", "--input", "x.npy", "--output", "y.npy", "--top", "1"]);
    assert!(table.lines().next().unwrap().contains("mean"), "{table}");
    assert_eq!(npy::read_f32(&place.path("y.npy")).unwrap().0, [2, 5, 5, 4]);
    let document = place.json(&["run", "maps.vgg", "--input", "x.npy", "--json"]);
    assert_eq!(document["images"][0]["top"], json!([]));
}

#[test]
fn arrays_that_do_not_fit_are_refused() {
    let place = Place::new();
    let refused = |name: &str, expected: &[&str]| {
        let stderr = place.fails(3, &["run", "tiny.vgg", "--weights", "seeded", "--input", name]);
        for text in [&[name, "help: "], expected].concat() {
            assert!(stderr.contains(text), "{text:?}: {stderr}");
        }
    };
    for (dims, expected) in [
        (&[1, 3, 16, 15][..], &["[1, 3, 16, 15]", "[N, 3, 16, 16]"][..]),
        (&[3, 16, 16], &["[3, 16, 16]", "an axis more"]),
        (&[2, 16, 16, 3], &["[2, 16, 16, 3]", "channels come before"]),
        (&[0, 3, 16, 16], &["N of at least 1"]),
    ] {
        place.array("x.npy", dims);
        refused("x.npy", expected);
    }
    place.array("x.npy", &[1, 3, 16, 16]);
    let good = place.read("x.npy");
    let header = |descr: &str, order: &str| {
        let mut bytes = good.clone();
        let text = String::from_utf8_lossy(&good[10..128]).into_owned();
        let text =
            text.replace("<f4", descr).replace("'fortran_order': False", &format!("'fortran_order': {order:<5}"));
        bytes[10..128].copy_from_slice(&text.as_bytes()[..118]);
        bytes
    };
    place.write("x.npy", header("<f8", "False"));
    refused("x.npy", &["<f8", "astype"]);
    place.write("x.npy", header("<f4", "True"));
    refused("x.npy", &["Fortran"]);
    place.write("x.npy", &good[..good.len() - 1]);
    refused("x.npy", &["3071 bytes"]);
    place.write("x.npy", "no array");
    refused("x.npy", &[]);
    refused("missing.npy", &[]);
    refused(".", &[]);
}

#[test]
fn unknown_layers_and_overwritten_inputs_are_refused() {
    let place = Place::new();
    place.array("x.npy", &[1, 3, 16, 16]);
    let fails = |arguments: &[&str], expected: &str| {
        let stderr = place.fails(2, &[&["run", "tiny.vgg", "--input", "x.npy"], arguments].concat());
        assert!(stderr.contains(expected), "{expected:?}: {stderr}");
    };
    fails(&["--tap", "conv1_11"], "did you mean `conv1_1`?");
    fails(&["--tap", "nothing_like_it"], "`vgg show MODEL --json` lists all layers");
    fails(&["--tap", "drop3"], "tap `relu3`");
    fails(&["--tap", "bn1_1"], "folded into `conv1_1`");
    fails(&["--output", "x.npy"], "overwrite the input");
    fails(&["--output", "tiny.vgg"], "overwrite the model");
    fails(&["--output", "conv1_1.npy", "--tap", "conv1_1"], "one file");
    fails(&["--threads", "0"], "--threads");
    fails(&["--top", "0"], "--top");
    place.write("conv1_1.npy", place.read("x.npy"));
    let stderr = place.fails(2, &["run", "tiny.vgg", "--input", "conv1_1.npy", "--tap", "conv1_1"]);
    assert!(stderr.contains("overwrite the input"), "{stderr}");
}
