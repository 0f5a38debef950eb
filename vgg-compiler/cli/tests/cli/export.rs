use std::fs;

use prost::Message;
use vgg_compiler::onnx::messages::{DimensionValue, ModelProto};

use crate::support::Place;

fn model(place: &Place, name: &str) -> ModelProto {
    ModelProto::decode(&place.read(name)[..]).unwrap()
}

fn metadata(model: &ModelProto, key: &str) -> Option<String> {
    let entry = model.metadata_props.iter().find(|entry| entry.key.as_deref() == Some(key))?;
    entry.value.clone()
}

fn batch(model: &ModelProto) -> DimensionValue {
    let input = &model.graph.as_ref().unwrap().input[0];
    let tensor = input.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
    tensor.shape.as_ref().unwrap().dim[0].value.clone().unwrap()
}

#[test]
fn a_model_with_everything_inside() {
    let place = Place::new();
    let (stdout, stderr) = place.exits(0, &["export", "tiny.vgg", "-o", "tiny.onnx"]);
    assert_eq!(stdout, "");
    assert!(stderr.contains("using seeded:0") && stderr.contains("wrote tiny.onnx"), "{stderr}");
    let model = model(&place, "tiny.onnx");
    assert_eq!((model.ir_version, model.opset_import[0].version), (Some(8), Some(17)));
    assert_eq!(metadata(&model, "vgg.network").as_deref(), Some("Tiny"));
    assert_eq!(metadata(&model, "vgg.weights").as_deref(), Some("seeded:0"));
    assert_eq!(metadata(&model, "vgg.preprocessing").as_deref(), Some("unknown"));
    assert_eq!(batch(&model), DimensionValue::DimValue(1));
    let graph = model.graph.unwrap();
    assert!(graph.initializer.iter().all(|tensor| tensor.raw_data.is_some()));
    assert_eq!(graph.node.last().unwrap().op_type.as_deref(), Some("Softmax"));
    assert_eq!(place.names(), ["maps.vgg", "tiny.onnx", "tiny.vgg"]);
}

#[test]
fn batch_opset_and_logits() {
    let place = Place::new();
    let export = |arguments: &[&str]| {
        let all = [&["export", "tiny.vgg", "--quiet", "--output", "x.onnx"], arguments].concat();
        let (stdout, stderr) = place.exits(0, &all);
        assert_eq!((stdout.as_str(), stderr.as_str()), ("", ""), "--quiet is silent");
        model(&place, "x.onnx")
    };
    assert_eq!(batch(&export(&["--batch", "dynamic"])), DimensionValue::DimParam("N".into()));
    assert_eq!(batch(&export(&["--batch", "7"])), DimensionValue::DimValue(7));
    let old = export(&["--opset", "13"]);
    assert_eq!((old.ir_version, old.opset_import[0].version), (Some(7), Some(13)));
    let logits = export(&["--logits"]).graph.unwrap();
    assert_eq!(logits.node.last().unwrap().op_type.as_deref(), Some("Gemm"));
}

#[test]
fn external_weights_are_beside_the_model_and_can_be_read_again() {
    let place = Place::new();
    fs::create_dir(place.path("out")).unwrap();
    place.ok(&["export", "tiny.vgg", "-o", "out/net.onnx", "--external", "--weights", "seeded:3"]);
    let graph = model(&place, "out/net.onnx").graph.unwrap();
    let location = |index: usize| {
        let data: &[_] = &graph.initializer[index].external_data;
        data.iter().find(|entry| entry.key.as_deref() == Some("location")).unwrap().value.clone()
    };
    assert!((0..graph.initializer.len()).all(|index| location(index).as_deref() == Some("net.safetensors")));
    assert_eq!(crate::support::names(&place.path("out")), ["net.onnx", "net.safetensors"]);
    // The file is folded weights; the network is declared with batch normalisation, and takes them as they are.
    place.ok(&["export", "tiny.vgg", "-o", "again.onnx", "--external", "--weights", "out/net.safetensors"]);
    assert_eq!(place.read("again.safetensors"), place.read("out/net.safetensors"));
    assert_eq!(metadata(&model(&place, "again.onnx"), "vgg.weights").as_deref(), Some("net.safetensors"));
}

#[test]
fn the_same_command_writes_the_same_bytes() {
    let place = Place::new();
    for name in ["a.onnx", "b.onnx"] {
        place.ok(&["export", "tiny.vgg", "-o", name, "--weights", "seeded:5"]);
    }
    assert_eq!(place.read("a.onnx"), place.read("b.onnx"));
    place.ok(&["export", "tiny.vgg", "-o", "b.onnx", "--weights", "seeded:6"]);
    assert_ne!(place.read("a.onnx"), place.read("b.onnx"));
}

#[test]
fn inputs_are_not_overwritten() {
    let place = Place::new();
    place.ok(&["export", "tiny.vgg", "-o", "net.onnx", "--external"]);
    let weights = place.read("net.safetensors");
    for arguments in [
        &["-o", "tiny.vgg"][..],
        &["-o", "./tiny.vgg"],
        &["-o", "net.safetensors", "--weights", "net.safetensors"],
        &["-o", "net.onnx", "--external", "--weights", "net.safetensors"],
        &["-o", "new.safetensors", "--external"],
    ] {
        let stderr = place.fails(2, &[&["export", "tiny.vgg"], arguments].concat());
        assert!(stderr.contains("help: "), "{stderr}");
    }
    assert_eq!(place.read("net.safetensors"), weights);
    assert_eq!(place.read("tiny.vgg"), crate::support::TINY.as_bytes());
}

#[test]
fn what_cannot_be_written_is_the_systems_failure() {
    let place = Place::new();
    let stderr = place.fails(4, &["export", "tiny.vgg", "-o", "missing/net.onnx"]);
    assert!(stderr.contains("error: missing/net.onnx: ") && stderr.contains("help: create the directory"), "{stderr}");
    fs::create_dir(place.path("directory")).unwrap();
    place.fails(4, &["export", "tiny.vgg", "-o", "directory"]);
    if cfg!(target_os = "linux") {
        place.fails(4, &["export", "tiny.vgg", "-o", "/proc/net.onnx"]);
        let stderr = place.fails(4, &["export", "tiny.vgg", "-o", "/dev/null"]);
        assert!(stderr.contains("something else than a regular file"), "{stderr}");
    }
}
