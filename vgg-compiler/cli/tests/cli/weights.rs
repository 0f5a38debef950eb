//! `vgg weights`: files of other programs, looked at and converted.

use std::path::Path;

use crate::support::{Place, keys};

const TINY: &str =
    "Tiny: 3 x 8 x 8 { conv3-4, conv3-4, maxpool; conv3-6, maxpool; fc-8, dropout, fc-7, dropout, fc-5 }";

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name).to_str().unwrap().to_owned()
}

fn photo() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images/cat.png").to_str().unwrap().to_owned()
}

fn place() -> Place {
    let place = Place::empty();
    place.write("tiny.vgg", TINY);
    place
}

#[test]
fn every_format_converts_to_the_same_file() {
    let place = place();
    place.ok(&["weights", "convert", &fixture("tiny.pth"), "-o", "a.safetensors", "--for", "tiny.vgg"]);
    for name in [
        "tiny-legacy.pth",
        "tiny-f16.safetensors",
        "tiny-timm.safetensors",
        "tiny-v1.caffemodel",
        "tiny.mat",
        "tiny-keras2.h5",
        "tiny.keras",
    ] {
        // The name says nothing: the content counts.
        place.write("weights.bin", std::fs::read(fixture(name)).unwrap());
        place.ok(&["weights", "convert", "weights.bin", "-o", "b.safetensors", "--for", "tiny.vgg"]);
        assert_eq!(place.read("a.safetensors"), place.read("b.safetensors"), "{name}");
    }
    // An ONNX file of the same network gives its weights, too.
    place.ok(&["export", "tiny.vgg", "--weights", "a.safetensors", "-o", "tiny.onnx"]);
    place.ok(&["weights", "convert", "tiny.onnx", "-o", "c.safetensors", "--for", "tiny.vgg"]);
    assert_eq!(place.read("a.safetensors"), place.read("c.safetensors"));
}

/// How images become the input goes along, from whichever file.
#[test]
fn converting_keeps_what_is_known_of_images() {
    let place = place();
    let preprocess = ["--preprocess", "torchvision(resize 8)"];
    let to = |file: &str, output: &str| {
        place.ok(&["weights", "convert", file, "-o", output, "--for", "tiny.vgg"]);
        place.read(output)
    };
    let first = ["weights", "convert", &fixture("tiny.pth"), "-o", "a.safetensors", "--for", "tiny.vgg"];
    place.ok(&[&first[..], &preprocess].concat());
    assert!(place.read("a.safetensors").windows(16).any(|text| text == b"vgg.preprocessin"));
    assert_eq!(to("a.safetensors", "b.safetensors"), place.read("a.safetensors"));
    place.ok(&["export", "tiny.vgg", "--weights", "a.safetensors", "-o", "a.onnx"]);
    assert_eq!(to("a.onnx", "c.safetensors"), place.read("a.safetensors"));
    let conflict = ["weights", "convert", "a.safetensors", "-o", "d.safetensors", "--for", "other.vgg"];
    place.write("other.vgg", TINY.replace("{ conv", "{ preprocess keras(resize 8); conv"));
    assert!(place.fails(3, &conflict).contains("differ in"));
}

/// Nothing in a shape shows that red and blue change places, so it is said.
#[test]
fn colours_and_classes_that_the_source_does_not_have_are_doubted() {
    let place = place();
    let doubt = |file: &str, preprocess: &str| {
        let file = fixture(file);
        let arguments = ["weights", "convert", &file, "-o", "a.safetensors", "--for", "tiny.vgg"];
        let (_, stderr) = place.exits(0, &[&arguments[..], &["--preprocess", preprocess]].concat());
        stderr.lines().filter(|line| line.starts_with("warning: ")).collect::<String>()
    };
    let (rgb, bgr) = ("torchvision(resize 8)", "caffe-vgg(resize 8)");
    for (file, whose) in
        [("tiny-v2.caffemodel", "Caffe"), ("tiny-caffe-in-torch.safetensors", "Caffe"), ("tiny-keras2.h5", "Keras")]
    {
        let said = doubt(file, rgb);
        assert!(said.contains(&format!("of {whose} take BGR images")), "{file}: {said}");
        assert_eq!(doubt(file, bgr), "", "{file}");
    }
    for (file, whose) in [("tiny.pth", "torchvision"), ("tiny-timm.safetensors", "timm"), ("tiny.mat", "MatConvNet")] {
        let said = doubt(file, bgr);
        assert!(said.contains(&format!("of {whose} take RGB images")), "{file}: {said}");
        assert_eq!(doubt(file, rgb), "", "{file}");
    }
    let said = doubt("tiny-v2.caffemodel", "caffe-vgg(resize 8, classes imagenet-ilsvrc)");
    assert!(said.contains("their classes in the order `imagenet`"), "{said}");
    // A converted file has torchvision's names, wherever it comes from.
    doubt("tiny-v2.caffemodel", bgr);
    let from = place.path("a.safetensors");
    place.write("b.safetensors", std::fs::read(from).unwrap());
    let again = ["weights", "convert", "b.safetensors", "-o", "c.safetensors", "--for", "tiny.vgg"];
    assert!(!place.exits(0, &again).1.contains("warning: "));
}

/// A file of MatConvNet says itself how images become its input, and that is what is done, recorded and shown.
#[test]
fn what_a_matlab_file_says_of_images_is_done() {
    let place = place();
    let (mat, photo) = (fixture("tiny-meta.mat"), photo());
    let text = "rgb, range 255, mean image, resize 10, bilinear, classes imagenet";
    let run = |model: &str, weights: &str, output: &str| {
        place.ok(&["run", model, "--weights", weights, "--image", &photo, "--logits", "--output", output]);
        place.read(output)
    };
    let expected = run("tiny.vgg", &mat, "a.npy");
    place.ok(&["weights", "convert", &mat, "-o", "a.safetensors", "--for", "tiny.vgg"]);
    assert_eq!(run("tiny.vgg", "a.safetensors", "b.npy"), expected);
    // What the file is believed to say, said by hand: numbers of the fixture's formula, as a mean image.
    let mean: Vec<f32> = (0..3)
        .flat_map(|channel| (0..64).map(move |pixel| ((pixel * 3 + channel) * 37 + 77) % 251))
        .map(|level| (level as f32 - 125.0) / 64.0 + 120.0)
        .collect();
    vgg_runtime::npy::write_f32(&place.path("mean.npy"), &[3, 8, 8], &mean).unwrap();
    let by_hand = ["--preprocess", "rgb, range 255, resize 10, classes imagenet", "--mean-image", "mean.npy"];
    let plain = fixture("tiny.pth");
    let arguments = ["run", "tiny.vgg", "--weights", &plain, "--image", &photo, "--output", "c.npy"];
    place.ok(&[&arguments[..], &by_hand].concat());
    assert_eq!(place.read("c.npy"), expected);

    for file in [mat.as_str(), "a.safetensors"] {
        let document = place.json(&["weights", "inspect", file, "--json"]);
        assert_eq!(document["preprocessing"]["text"], text, "{file}");
        assert!(place.ok(&["weights", "inspect", file]).contains(&format!("\npreprocessing: {text}\n")), "{file}");
    }
    assert!(place.json(&["weights", "inspect", &plain, "--json"])["preprocessing"].is_null());

    // Whoever says otherwise is told, once.
    place.write("other.vgg", TINY.replace("{ conv", "{ preprocess keras(resize 8); conv"));
    let stderr = place.fails(3, &["run", "other.vgg", "--weights", &mat, "--image", &photo]);
    assert!(stderr.contains(&format!("the weights were trained with {text}, but")), "{stderr}");
    let decided = ["run", "tiny.vgg", "--weights", &mat, "--image", &photo, "--preprocess", "caffe-vgg(resize 8)"];
    let (_, stderr) = place.exits(0, &decided);
    let warnings: Vec<&str> = stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("they differ in colour order, mean, resizing"), "{stderr}");
}

/// A mean image as Caffe keeps it: blue first, and its centre where it is larger than the input.
#[test]
fn a_mean_image_of_caffe_is_subtracted() {
    let place = Place::empty();
    let (mean, photo) = (fixture("mean.binaryproto"), photo());
    // The fixture's formula: [1, 3, 2, 2] of seed 1.
    let levels: Vec<f32> = (0..12).map(|index| (((index * 37 + 11) % 251) as f32 - 125.0) / 64.0).collect();
    for (extent, colours) in [(2, "bgr"), (2, "rgb"), (1, "bgr")] {
        place.write("mirror.vgg", format!("Mirror: 3 x {extent} x {extent} {{ maxpool(1, stride 1) }}"));
        let preprocess = format!("{colours}, range 255, stretch");
        let run = |output: &str, more: &[&str]| {
            let run = ["run", "mirror.vgg", "--image", &photo, "--preprocess", &preprocess, "--output", output];
            place.ok(&[&run[..], more].concat());
            vgg_runtime::npy::read_f32(&place.path(output)).unwrap().1
        };
        let (plain, centred) = (run("a.npy", &[]), run("b.npy", &["--mean-image", &mean]));
        let area = extent * extent;
        for (index, (plain, centred)) in plain.iter().zip(&centred).enumerate() {
            let (channel, pixel) = (index / area, index % area);
            let channel = if colours == "rgb" { 2 - channel } else { channel };
            assert_eq!(plain - centred, levels[4 * channel + pixel], "{colours} {extent}: {index}");
        }
    }
    place.write("mirror.vgg", "Mirror: 3 x 4 x 4 { maxpool(1, stride 1) }");
    let run =
        ["run", "mirror.vgg", "--image", &photo, "--preprocess", "bgr, range 255, stretch", "--mean-image", &mean];
    let stderr = place.fails(3, &run);
    assert!(stderr.contains("has shape [3, 2, 2], expected [3, 4, 4] or larger"), "{stderr}");
}

#[test]
fn every_command_takes_every_format_and_says_what_it_did() {
    let place = place();
    place.array("x.npy", &[1, 3, 8, 8]);
    place.ok(&["run", "tiny.vgg", "--weights", &fixture("tiny.pth"), "--input", "x.npy", "--output", "a.npy"]);
    for name in ["tiny-v0.caffemodel", "tiny-compressed.mat", "tiny-keras3.weights.h5"] {
        let arguments = ["run", "tiny.vgg", "--weights", &fixture(name), "--input", "x.npy", "--output", "b.npy"];
        let (_, stderr) = place.exits(0, &arguments);
        assert!(stderr.contains("note: ") && stderr.contains("layers matched by order"), "{name}: {stderr}");
        assert_eq!(place.read("a.npy"), place.read("b.npy"), "{name}");
        let (_, quiet) = place.exits(0, &[&arguments[..], &["--quiet"]].concat());
        assert_eq!(quiet, "");
    }
    place.ok(&["export", "tiny.vgg", "--weights", &fixture("tiny-v2.caffemodel"), "-o", "a.onnx"]);
    place.ok(&["run", "tiny.vgg", "--weights", "a.onnx", "--input", "x.npy", "--output", "b.npy"]);
    assert_eq!(place.read("a.npy"), place.read("b.npy"));
}

#[test]
fn a_trained_model_of_pytorch_is_the_same_in_each_of_its_files() {
    let place = Place::empty();
    let fashion = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fashion");
    let path = |name: &str| fashion.join(name).to_str().unwrap().to_owned();
    place.array("x.npy", &[1, 1, 28, 28]);
    let run = |weights: &str, output: &str| {
        let (model, weights) = (path("fashion.vgg"), path(weights));
        place.exits(0, &["run", &model, "--weights", &weights, "--input", "x.npy", "--output", output, "--exact"]).1
    };
    run("fashion-vgg.safetensors", "a.npy");
    // The exporter folded the batch normalisation in f32.
    let notes = run("fashion-vgg.onnx", "b.npy");
    assert!(notes.contains("the file has no batch normalisation"), "{notes}");
    let values = |name: &str| vgg_runtime::npy::read_f32(&place.path(name)).unwrap().1;
    for (a, b) in values("a.npy").into_iter().zip(values("b.npy")) {
        assert!((a - b).abs() < 1e-3 * a.abs().max(1.0), "{a} {b}");
    }
}

#[test]
fn weights_are_inspected() {
    let place = place();
    let document = place.json(&["weights", "inspect", &fixture("tiny-f16.pth"), "--json"]);
    assert_eq!(
        keys(&document),
        [
            "file",
            "format",
            "convention",
            "colour_order",
            "preprocessing",
            "network",
            "layers",
            "notes",
            "tensors",
            "fits",
            "closest"
        ]
    );
    assert_eq!(document["format"], "torch-zip");
    assert_eq!(document["convention"], "torchvision");
    assert_eq!(document["layers"], "conv3-4, conv3-4, conv3-6, fc-8, fc-7, fc-5");
    let tensors = document["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), 12);
    assert_eq!(keys(&tensors[0]), ["name", "shape", "dtype", "min", "max", "mean", "std", "not_finite", "denormal"]);
    // The numbers are (37 i + 11) mod 251 - 125, over 64: those of a bias of four.
    let bias: [f64; 4] = [11.0, 48.0, 85.0, 122.0].map(|number| (number - 125.0) / 64.0);
    let mean = bias.iter().sum::<f64>() / 4.0;
    let std = (bias.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 4.0).sqrt();
    assert_eq!(tensors[1]["name"], "features.0.bias");
    assert_eq!(
        (&tensors[1]["dtype"], &tensors[1]["min"], &tensors[1]["max"]),
        (&"F16".into(), &bias[0].into(), &bias[3].into())
    );
    for (key, expected) in [("mean", mean), ("std", std)] {
        assert!((tensors[1][key].as_f64().unwrap() - expected).abs() < 1e-12, "{key}");
    }
    let text = place.ok(&["weights", "inspect", &fixture("tiny-v1.caffemodel")]);
    assert!(
        text.contains("Caffe model, network `TINY_CNN_S`") && text.contains("fits none of the built-in networks"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_computed_with_is_shown() {
    let place = place();
    let json = r#"{"a.weight":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#;
    let values = [f32::NAN, f32::NEG_INFINITY, 1e-40, 2.0];
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend(json.as_bytes());
    file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    place.write("broken.safetensors", file);
    let document = place.json(&["weights", "inspect", "broken.safetensors", "--json"]);
    let tensor = &document["tensors"][0];
    assert_eq!((&tensor["not_finite"], &tensor["denormal"], &tensor["max"]), (&2.into(), &1.into(), &2.0.into()));
    let text = place.ok(&["weights", "inspect", "broken.safetensors"]);
    assert!(text.contains("2 numbers are NaN or infinite: no command computes with this file"), "{text}");
}

#[test]
fn the_network_of_weights_is_named() {
    let place = Place::empty();
    // CNN-F is the smallest of the nine.
    place.ok(&["weights", "convert", &exported(&place, "vgg-f"), "-o", "f.safetensors", "--for", "vgg-f"]);
    let document = place.json(&["weights", "inspect", "f.safetensors", "--json"]);
    let fits = document["fits"].as_array().unwrap();
    assert_eq!(fits.len(), 1, "{fits:?}");
    assert_eq!((&fits[0]["model"], &fits[0]["certainty"]), (&"vgg-f".into(), &"certain".into()));
}

/// The ONNX file of a variant with generated weights.
fn exported(place: &Place, model: &str) -> String {
    place.ok(&["export", model, "-o", "model.onnx", "--logits"]);
    "model.onnx".into()
}

#[test]
fn files_that_cannot_be_read_are_refused() {
    let place = place();
    let convert =
        |file: &str| place.fails(3, &["weights", "convert", file, "-o", "a.safetensors", "--for", "tiny.vgg"]);
    for (name, words) in [
        ("whole-model.pth", "it holds a whole model"),
        ("script.pt", "TorchScript"),
        ("mean.binaryproto", "a single blob of Caffe"),
        ("arrays.h5", "it has no layers"),
    ] {
        let stderr = convert(&fixture(name));
        assert!(stderr.contains(words) && stderr.contains("\nhelp: "), "{stderr}");
    }
    place.write("page.pth", "<!DOCTYPE html><html>404</html>");
    assert!(convert("page.pth").contains("this is a web page"));
    assert!(convert("missing.pth").contains("cannot read the weights"));
    // Another network: the layers that differ are named.
    place.write("other.vgg", TINY.replace("fc-5", "fc-9"));
    let arguments = ["weights", "convert", &fixture("tiny.mat"), "-o", "a.safetensors", "--for", "other.vgg"];
    let stderr = place.fails(3, &arguments);
    assert!(stderr.contains("tensor `fc8.weights{1}`, found to be that of layer `fc5`, has shape"), "{stderr}");
    place.write("other.vgg", TINY.replace("conv3-6, ", ""));
    let stderr = place.fails(3, &arguments);
    assert!(
        stderr.contains("6 layers with weights (`conv1_1`, `conv1_2`, `conv2_1`, `fc6`, `fc7`, `fc8`), expected the 5"),
        "{stderr}"
    );
    // What is read is not overwritten.
    place.write("w.pth", std::fs::read(fixture("tiny.pth")).unwrap());
    place.fails(2, &["weights", "convert", "w.pth", "-o", "w.pth", "--for", "tiny.vgg"]);
}
