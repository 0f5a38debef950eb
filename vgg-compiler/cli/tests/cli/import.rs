//! ONNX files as models.

use std::path::Path;

use crate::support::Place;

/// The trained model of the examples, as PyTorch's exporter wrote it.
fn fashion() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fashion")
}

#[test]
fn what_was_exported_comes_back_as_the_same_network() {
    let place = Place::new();
    for (name, dims) in [("tiny", [2, 3, 16, 16]), ("maps", [2, 2, 9, 7])] {
        let (file, onnx, again) = (format!("{name}.vgg"), format!("{name}.onnx"), format!("{name}2.onnx"));
        place.ok(&["export", &file, "-o", &onnx, "--weights", "seeded:3"]);
        place.ok(&["export", &onnx, "-o", &again]);
        let graph = |file: &str| place.ok(&["show", file, "--json"]);
        assert_eq!(graph(&onnx), graph(&again));
        place.array("x.npy", &dims);
        place.ok(&["run", &file, "--weights", "seeded:3", "--input", "x.npy", "--output", "direct.npy"]);
        place.ok(&["run", &again, "--input", "x.npy", "--output", "imported.npy"]);
        assert_eq!(place.read("direct.npy"), place.read("imported.npy"), "{name}");
        place.ok(&["export", &file, "-o", &onnx, "--weights", "seeded:3", "--external"]);
        place.ok(&["run", &onnx, "--input", "x.npy", "--output", "external.npy"]);
        assert_eq!(place.read("direct.npy"), place.read("external.npy"), "{name}");
    }
}

#[test]
fn a_file_of_pytorch_computes_what_its_weights_do_under_the_declaration() {
    let (place, fashion) = (Place::empty(), fashion());
    let path = |name: &str| fashion.join(name).to_str().unwrap().to_owned();
    let onnx = path("fashion-vgg.onnx");
    place.array("x.npy", &[3, 1, 28, 28]);
    place.ok(&["run", &onnx, "--input", "x.npy", "--output", "onnx.npy"]);
    let weights = path("fashion-vgg.safetensors");
    place.ok(&[
        "run",
        &path("fashion.vgg"),
        "--weights",
        &weights,
        "--input",
        "x.npy",
        "--output",
        "vgg.npy",
        "--logits",
    ]);
    let values = |name: &str| vgg_runtime::npy::read_f32(&place.path(name)).unwrap().1;
    let (imported, declared) = (values("onnx.npy"), values("vgg.npy"));
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let error = norm(&mut imported.iter().zip(&declared).map(|(a, b)| a - b)) / norm(&mut declared.iter().copied());
    assert!(imported.len() == 30 && error < 1e-5, "{error}");
    let shown = place.ok(&["show", &onnx]);
    assert!(shown.contains("none of the variants; the closest is vgg-"), "{shown}");
    place.write("again.vgg", place.ok(&["show", &onnx, "--vgg"]));
    place.ok(&["show", "again.vgg"]);
}

#[test]
fn a_variant_is_recognised_with_its_deviations() {
    let place = Place::empty();
    place.write(
        "four.vgg",
        "pub Four: 1 x 32 x 32 {
            conv3-64, maxpool; conv3-128, maxpool; conv3-256, conv3-256, maxpool; conv3-512, conv3-512, maxpool;
            conv3-512, conv3-512, maxpool; fc-4096, fc-4096, fc-4
        }",
    );
    place.ok(&["export", "four.vgg", "-o", "four.onnx"]);
    let shown = place.ok(&["show", "four.onnx"]);
    assert!(
        shown.starts_with("vgg-a with 4 classes, with 1 input channels, input 32x32, without softmax\n"),
        "{shown}"
    );
    let declared = place.ok(&["show", "four.onnx", "--vgg"]);
    assert!(declared.contains("fc-4096, dropout, fc-4096, dropout, fc-4"), "{declared}");
}

#[test]
fn damaged_files_are_refused() {
    let place = Place::new();
    place.ok(&["export", "tiny.vgg", "-o", "whole.onnx"]);
    let whole = place.read("whole.onnx");
    for length in (0..whole.len()).step_by(whole.len() / 23) {
        place.write("cut.onnx", &whole[..length]);
        let stderr = place.fails(3, &["show", "cut.onnx"]);
        assert!(stderr.contains("error: cut.onnx: ") && stderr.contains("help: "), "{stderr}");
    }
    place.ok(&["export", "tiny.vgg", "-o", "apart.onnx", "--external"]);
    std::fs::remove_file(place.path("apart.safetensors")).unwrap();
    let stderr = place.fails(3, &["show", "apart.onnx"]);
    assert!(stderr.contains("`apart.safetensors`, which cannot be read"), "{stderr}");
    let at = whole.windows(7).position(|bytes| bytes == b"MaxPool").unwrap();
    let mut foreign = whole;
    foreign[at..at + 7].copy_from_slice(b"MaxFool");
    place.write("foreign.onnx", foreign);
    let stderr = place.fails(3, &["show", "foreign.onnx"]);
    assert!(stderr.contains("MaxFool at node `pool1`: the operator is not supported"), "{stderr}");
}
