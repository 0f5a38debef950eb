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
    assert!(shown.starts_with("vgg-a with 4 classes, 1 input channel, input 32x32, without softmax\n"), "{shown}");
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

/// Runs a Python program of the tests in the place's directory, and gives what it prints.
fn python(place: &Place, script: &str) -> String {
    let missing = "VGG_TEST_PYTHON is not set; run the tests by `cargo xtask test`, which sets it";
    let python = std::env::var_os("VGG_TEST_PYTHON").expect(missing);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/python").join(script);
    let output = std::process::Command::new(python).arg(script).arg(place.path("")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn normwise(actual: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(actual.len(), expected.len());
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    norm(&mut actual.iter().zip(expected).map(|(a, b)| a - b)) / norm(&mut expected.iter().copied())
}

/// Networks as the exporters in use write them compute what ONNX Runtime makes of the files.
#[test]
fn what_exporters_write_computes_the_same_as_in_onnx_runtime() {
    let place = Place::empty();
    let models = python(&place, "onnx_models.py");
    let mut count = 0;
    for line in models.lines() {
        let model: serde_json::Value = serde_json::from_str(line).unwrap();
        let name = model["name"].as_str().unwrap();
        let texts = |key: &str| -> Vec<String> {
            model[key].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let (file, arguments) = (format!("{name}.onnx"), texts("arguments"));
        let with = |command: &[&str]| -> Vec<String> {
            command.iter().map(|argument| (*argument).to_owned()).chain(arguments.iter().cloned()).collect()
        };
        let ok = |command: &[&str]| {
            let all = with(command);
            place.ok(&all.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let shown = ok(&["show", &file]);
        for text in texts("shown") {
            assert!(shown.contains(&text), "{name}: no `{text}` in\n{shown}");
        }
        ok(&["run", &file, "--input", &format!("{name}.x.npy"), "--output", "y.npy"]);
        let values = |file: &str| vgg_runtime::npy::read_f32(&place.path(file)).unwrap().1;
        let error = normwise(&values("y.npy"), &values(&format!("{name}.y.npy")));
        // A network of half-precision numbers is computed in f32 here, in half precision there.
        let bound = if name == "half" { 2e-2 } else { 2e-5 };
        assert!(error < bound, "{name}: {error}");
        let declared = with(&["show", &file, "--vgg"]);
        let declared: Vec<&str> = declared.iter().map(String::as_str).collect();
        if model["declared"] == true {
            place.write("again.vgg", place.ok(&declared));
            let layers = |shown: &str| {
                let document: serde_json::Value = serde_json::from_str(shown).unwrap();
                document["steps"].clone()
            };
            assert_eq!(layers(&ok(&["show", &file, "--json"])), layers(&place.ok(&["show", "again.vgg", "--json"])));
        } else {
            let stderr = place.fails(3, &declared);
            assert!(stderr.contains("the notation has no words for this network: "), "{stderr}");
        }
        count += 1;
    }
    assert_eq!(count, 28);
    names_of_the_file(&place);
    open_extents(&place);
    passes(&place);
    contents(&place);
}

/// Layers are told and tapped under the names of the file.
fn names_of_the_file(place: &Place) {
    let document = place.json(&["show", "torchvision.onnx", "--json"]);
    let layer = |name: &str| {
        let layers = document["layers"].as_array().unwrap();
        layers.iter().find(|layer| layer["name"] == name).unwrap()["in_file"].clone()
    };
    assert_eq!(layer("conv1_1"), serde_json::json!(["/features/features.0/Conv"]));
    let tapped = |name: &str| {
        let document =
            place.json(&["run", "torchvision.onnx", "--input", "torchvision.x.npy", "--tap", name, "--json"]);
        document["taps"][0]["name"].clone()
    };
    for name in ["conv1_1", "/features/features.0/Conv", "conv_1_output_0"] {
        assert_eq!(tapped(name), "conv1_1");
    }
    // A normalisation that was folded: the convolution bears its name, for its result is that.
    let document = place.json(&["show", "torch_view.onnx", "--json"]);
    assert_eq!(document["layers"][0]["in_file"].as_array().unwrap().len(), 2);
}

/// What a file leaves open must be given, and nothing else can be.
fn open_extents(place: &Place) {
    let stderr = place.fails(3, &["show", "open_extents.onnx"]);
    assert!(stderr.contains("[batch, 3, height, width]") && stderr.contains("--input-shape 3x224x224"), "{stderr}");
    let shown = |shape: &str| place.ok(&["show", "open_extents.onnx", "--input-shape", shape]);
    assert_eq!(shown("3x20x12"), shown("1,3,20,12"));
    for shape in ["4x20x12", "20x12"] {
        place.fails(3, &["show", "open_extents.onnx", "--input-shape", shape]);
    }
    place.fails(2, &["show", "vgg-f", "--input-shape", "3x64x64"]);
    let (_, stderr) = place.exits(2, &["show", "open_extents.onnx", "--input-shape", "3x-1x12"]);
    assert!(stderr.contains("expected numbers from 1 on"), "{stderr}");
}

/// The network after each pass, and those that there are.
fn passes(place: &Place) {
    let read = place.ok(&["show", "keras.onnx", "--print-after", "read"]);
    let without = place.ok(&["show", "keras.onnx", "--print-after", "cancel_transposes"]);
    assert!(read.contains("Transpose(") && !without.contains("Transpose("), "{read}{without}");
    let lowered = place.ok(&["show", "keras.onnx", "--print-after", "fold_batch_norm"]);
    assert!(lowered.contains("%conv1_1: "), "{lowered}");
    place.ok(&["show", "vgg-f", "--print-after", "drop_dropout"]);
    let stderr = place.fails(2, &["show", "keras.onnx", "--print-after", "nothing"]);
    assert!(
        stderr
            .contains("read, drop_dead, drop_identities, merge_means, fold_gathers, channel_order, cancel_transposes"),
        "{stderr}"
    );
}

/// Files are what they hold.
fn contents(place: &Place) {
    place.write("model.bin", place.read("torchvision.onnx"));
    place.write("model", place.read("torchvision.onnx"));
    assert_eq!(
        place.ok(&["show", "model.bin", "--vgg"]),
        place.ok(&["show", "torchvision.onnx", "--vgg"]).replace("Torchvision", "Model")
    );
    place.ok(&["show", "model"]);
    place.write("text.onnx", "pub Tiny: 3 x 8 x 8 { fc-10 }\n");
    place.write("empty.onnx", "");
    place.write("weights.onnx", b"PK\x03\x04 and so on");
    for (file, found) in
        [("text.onnx", "found text"), ("empty.onnx", "an empty one"), ("weights.onnx", "a ZIP archive")]
    {
        let stderr = place.fails(3, &["show", file]);
        assert!(
            stderr.contains(&format!("error: {file}: expected an ONNX file, found")) && stderr.contains(found),
            "{stderr}"
        );
    }
}

/// Networks that are something else are refused at once, by name.
#[test]
fn foreign_networks_are_refused_with_the_reason() {
    let place = Place::empty();
    let models = python(&place, "onnx_foreign.py");
    assert!(models.lines().count() >= 12);
    for line in models.lines() {
        let model: serde_json::Value = serde_json::from_str(line).unwrap();
        let (name, reason) = (model["name"].as_str().unwrap(), model["reason"].as_str().unwrap());
        let begin = std::time::Instant::now();
        let stderr = place.fails(3, &["show", &format!("{name}.onnx")]);
        assert!(stderr.contains(reason) && stderr.contains("help: "), "{name}: {stderr}");
        // Within a second on a machine that does nothing else; busy ones get ten.
        assert!(begin.elapsed().as_secs() < 10, "{name}");
    }
}

/// What this compiler writes it reads back to the last byte.
#[test]
fn exporting_what_was_imported_gives_the_same_bytes() {
    let place = Place::new();
    for name in ["tiny", "maps"] {
        for more in [&[][..], &["--batch", "dynamic", "--opset", "21"]] {
            let export = |model: &str, output: &str, weights: &[&str]| {
                place.ok(&[&["export", model, "-o", output], weights, more].concat());
            };
            export(&format!("{name}.vgg"), "first.onnx", &["--weights", "seeded:5"]);
            export("first.onnx", "second.onnx", &[]);
            assert_eq!(place.read("first.onnx"), place.read("second.onnx"), "{name}");
        }
    }
}

/// The same for the nine variants, with one weights file of zeros that only claims its length.
#[test]
fn the_nine_variants_come_back_as_they_went() {
    let place = Place::empty();
    for variant in &vgg_compiler::spec::variants::VARIANTS {
        let spec = variant.spec().unwrap();
        let graph = vgg_compiler::compile(&spec, &vgg_compiler::CompileOptions::default()).unwrap().graph;
        let header = vgg_compiler::weights::Header::new(&graph.params);
        let file = std::fs::File::create(place.path("w.safetensors")).unwrap();
        file.set_len(header.file_len() as u64).unwrap();
        let options =
            vgg_compiler::onnx::ExportOptions { external: Some("w.safetensors".into()), ..Default::default() };
        let bytes = vgg_compiler::onnx::graph_bytes(&graph, &header, &options).unwrap();
        place.write("first.onnx", &bytes);
        let imported = vgg_compiler::onnx::import(&place.path("first.onnx"), &Default::default()).unwrap();
        assert_eq!(imported.recognised, variant.name);
        let vgg_compiler::onnx::Network::Declared(again) = imported.network else { panic!("{}", variant.name) };
        assert_eq!(
            again.rows.iter().map(Vec::len).collect::<Vec<_>>(),
            spec.rows.iter().map(Vec::len).collect::<Vec<_>>()
        );
        let again = vgg_compiler::compile(&again, &vgg_compiler::CompileOptions::default()).unwrap().graph;
        assert_eq!(*again, *graph, "{}", variant.name);
        for param in &graph.params {
            assert_eq!(imported.tensors[&param.key].shape, param.shape, "{}: {}", variant.name, param.key);
        }
        assert_eq!(vgg_compiler::onnx::graph_bytes(&again, &header, &options).unwrap(), bytes, "{}", variant.name);
    }
}
