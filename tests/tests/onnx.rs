//! What stands in the exported files, read by implementations that share nothing with the exporter: `onnx.checker` with strict shape
//! inference, and the schema of the crate `onnx-protobuf`.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::path::PathBuf;

use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_proto::DataLocation;
use onnx_protobuf::tensor_shape_proto::dimension;
use onnx_protobuf::type_proto;
use onnx_protobuf::{AttributeProto, Message, ModelProto, NodeProto, ValueInfoProto};
use vgg_compiler::ir::TypedGraph;
use vgg_compiler::onnx::{Batch, ExportOptions, Outputs, graph_bytes, write_model};
use vgg_compiler::weights::{Header, WeightsSource};
use vgg_tests::cases::{self, Case};
use vgg_tests::published::{self, Layer};
use vgg_tests::python::check_onnx;

const WEIGHTS: &str = "weights.safetensors";

fn exported(graph: &TypedGraph, options: &ExportOptions) -> Vec<u8> {
    graph_bytes(graph, &Header::new(&graph.params), options).expect("a model")
}

fn external(opset: u32, batch: Batch) -> ExportOptions {
    ExportOptions { opset, batch, external: Some(WEIGHTS.to_owned()), ..ExportOptions::default() }
}

fn assert_valid(paths: &[PathBuf], opsets: &[i64]) {
    let checks = check_onnx(paths).unwrap();
    let failures: Vec<String> = checks
        .iter()
        .zip(opsets)
        .filter(|(check, opset)| check.error.is_some() || check.opset != Some(**opset))
        .map(|(check, opset)| format!("{check:?}, expected opset {opset}"))
        .collect();
    assert!(failures.is_empty(), "{} of {} models are refused:\n{}", failures.len(), checks.len(), failures.join("\n"));
}

/// The nine variants, executed and declared, in three opsets, with a fixed and an open batch.
#[test]
fn the_variants_pass_the_checker() {
    let directory = tempfile::tempdir().unwrap();
    let (mut paths, mut opsets) = (Vec::new(), Vec::new());
    for case in cases::variants() {
        let compiled = case.compile(1);
        for (kind, graph) in [("executed", &compiled.graph), ("declared", &compiled.declared)] {
            let place = directory.path().join(&case.name).join(kind);
            fs::create_dir_all(&place).unwrap();
            // A file of the right length whose blocks were never written: the checker reads no weights, and looks whether they are there.
            let len = Header::new(&graph.params).file_len();
            File::create(place.join(WEIGHTS)).and_then(|file| file.set_len(len as u64)).unwrap();
            for opset in [13, 17, 21] {
                for (name, batch) in [("fixed", Batch::Fixed(1)), ("dynamic", Batch::Dynamic)] {
                    let path = place.join(format!("{name}-{opset}.onnx"));
                    fs::write(&path, exported(graph, &external(opset, batch))).unwrap();
                    paths.push(path);
                    opsets.push(i64::from(opset));
                }
            }
        }
    }
    assert_eq!(paths.len(), 9 * 2 * 3 * 2);
    assert_valid(&paths, &opsets);
}

/// Small networks with every option, their weights in the file.
#[test]
fn small_networks_pass_the_checker() {
    let directory = tempfile::tempdir().unwrap();
    let (mut paths, mut opsets) = (Vec::new(), Vec::new());
    let lists = [cases::options(), cases::even_lrn(), cases::channels(), cases::random()];
    for (index, case) in lists.into_iter().flatten().enumerate() {
        let compiled = case.compile(1);
        let batch = if index % 2 == 0 { Batch::Fixed(2) } else { Batch::Dynamic };
        let outputs = if index % 3 == 0 { Outputs::All } else { Outputs::Final };
        for opset in [13, 17, 21, 22] {
            let options = ExportOptions { opset, batch, outputs, ..ExportOptions::default() };
            for (kind, graph) in [("executed", &compiled.graph), ("declared", &compiled.declared)] {
                let weights = WeightsSource::Seeded(0).load(graph).expect("weights");
                let path = directory.path().join(format!("{index}-{kind}-{opset}.onnx"));
                write_model(&path, graph, &weights, &options, &mut |_| {}).expect("a model");
                paths.push(path);
                opsets.push(i64::from(opset));
            }
        }
    }
    assert!(paths.len() > 1000, "{}", paths.len());
    assert_valid(&paths, &opsets);
}

/// The checker that passes all of the above does refuse.
#[test]
fn a_weights_file_that_is_missing_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("m.onnx");
    let compiled = cases::options().remove(0).compile(1);
    fs::write(&path, exported(&compiled.graph, &external(17, Batch::Dynamic))).unwrap();
    let check = check_onnx(&[&path]).unwrap().remove(0);
    assert!(check.error.as_ref().is_some_and(|error| error.contains(WEIGHTS)), "{check:?}");
}

fn parsed(case: &Case, options: &ExportOptions) -> ModelProto {
    ModelProto::parse_from_bytes(&exported(&case.compile(1).graph, options)).expect("an ONNX model")
}

fn attributes(node: &NodeProto) -> BTreeMap<&str, &AttributeProto> {
    let all: BTreeMap<_, _> = node.attribute.iter().map(|attribute| (attribute.name.as_str(), attribute)).collect();
    assert_eq!(all.len(), node.attribute.len(), "{}: an attribute is given twice", node.name);
    all
}

fn ints(node: &NodeProto, name: &str) -> Vec<i64> {
    let attribute = attributes(node)[name];
    assert_eq!(attribute.type_.enum_value(), Ok(AttributeType::INTS), "{name}");
    attribute.ints.clone()
}

fn int(node: &NodeProto, name: &str) -> i64 {
    let attribute = attributes(node)[name];
    assert_eq!(attribute.type_.enum_value(), Ok(AttributeType::INT), "{name}");
    attribute.i
}

fn float(node: &NodeProto, name: &str) -> f32 {
    let attribute = attributes(node)[name];
    assert_eq!(attribute.type_.enum_value(), Ok(AttributeType::FLOAT), "{name}");
    attribute.f
}

/// The extents of a value; 0 stands for the open batch `N`.
fn dims(value: &ValueInfoProto) -> Vec<i64> {
    let Some(type_proto::Value::TensorType(tensor)) = &value.type_.value else { panic!("{} is no tensor", value.name) };
    assert_eq!(tensor.elem_type, 1, "{} is not f32", value.name);
    let extent = |dim: &onnx_protobuf::tensor_shape_proto::Dimension| match &dim.value {
        Some(dimension::Value::DimValue(extent)) => *extent,
        Some(dimension::Value::DimParam(name)) if name == "N" => 0,
        other => panic!("{}: extent {other:?}", value.name),
    };
    tensor.shape.dim.iter().map(extent).collect()
}

/// The table of a variant, read back from the nodes of its file.
fn read_back(model: &ModelProto) -> Vec<Layer> {
    let mut layers = Vec::new();
    for node in &model.graph.node {
        let square = |name: &str| {
            let values = ints(node, name);
            assert!(values.iter().all(|value| *value == values[0]), "{}: {name} is {values:?}", node.name);
            values[0]
        };
        match node.op_type.as_str() {
            "Conv" => {
                assert_eq!((int(node, "group"), ints(node, "dilations")), (1, vec![1, 1]));
                assert_eq!((ints(node, "pads").len(), node.input.len()), (4, 3));
                let weight =
                    model.graph.initializer.iter().find(|tensor| tensor.name == node.input[1]).expect("weight");
                layers.push(Layer::Conv(weight.dims[0], square("kernel_shape"), square("strides"), square("pads")));
                assert_eq!(weight.dims[2..], ints(node, "kernel_shape"), "OIHW");
            }
            "LRN" => {
                assert_eq!((int(node, "size"), float(node, "beta")), (5, 0.75));
                layers.push(Layer::Lrn(float(node, "alpha"), float(node, "bias")));
            }
            "MaxPool" => {
                assert_eq!(ints(node, "pads"), [0; 4]);
                layers.push(Layer::MaxPool(square("kernel_shape"), square("strides"), int(node, "ceil_mode") == 1));
            }
            "Gemm" => {
                assert_eq!((int(node, "transA"), int(node, "transB")), (0, 1));
                assert_eq!((float(node, "alpha"), float(node, "beta")), (1.0, 1.0));
                let weight =
                    model.graph.initializer.iter().find(|tensor| tensor.name == node.input[1]).expect("weight");
                assert_eq!(weight.dims.len(), 2, "[out, in]");
                layers.push(Layer::Fc(weight.dims[0]));
            }
            "Flatten" | "Softmax" => assert_eq!(int(node, "axis"), 1),
            "Relu" => {}
            other => panic!("{other} has no place in this network"),
        }
    }
    layers
}

/// Every attribute of the nine variants is that of the published tables.
#[test]
fn the_attributes_are_those_published() {
    for case in cases::variants() {
        let model = parsed(&case, &external(17, Batch::Dynamic));
        assert_eq!(read_back(&model), published::table(&case.name), "{}", case.name);
        let graph = &model.graph;
        assert_eq!((dims(&graph.input[0]), dims(&graph.output[0])), (vec![0, 3, 224, 224], vec![0, 1000]));
        let ops: Vec<&str> = graph.node.iter().map(|node| node.op_type.as_str()).collect();
        assert_eq!(ops.last(), Some(&"Softmax"));
        // ReLU after every convolution and after all but the last fully connected layer.
        for pair in ops.windows(2) {
            let expected = match pair[0] {
                "Conv" => pair[1] == "Relu",
                "Gemm" => pair[1] == "Relu" || pair[1] == "Softmax",
                _ => pair[1] != "Relu",
            };
            assert!(expected, "{}: {pair:?}", case.name);
        }
    }
}

/// Initialisers are inputs of no graph, and each is read by one node; external data lies in the weights file without gaps or overlaps.
#[test]
fn initialisers_are_no_inputs_and_tile_the_weights_file() {
    let lists = [cases::variants(), cases::options()];
    for case in lists.into_iter().flatten() {
        let compiled = case.compile(1);
        let model = parsed(&case, &external(17, Batch::Fixed(1)));
        let graph = &model.graph;
        assert_eq!((graph.input.len(), graph.output.len()), (1, 1), "{}", case.name);
        let read: Vec<&String> = graph.node.iter().flat_map(|node| &node.input).collect();
        let mut names = HashSet::new();
        let mut ranges = Vec::new();
        for tensor in &graph.initializer {
            assert!(names.insert(&tensor.name) && graph.input[0].name != tensor.name, "{}", tensor.name);
            assert_eq!(read.iter().filter(|name| **name == &tensor.name).count(), 1, "{}", tensor.name);
            assert_eq!(tensor.data_type, 1);
            assert_eq!(tensor.data_location.enum_value(), Ok(DataLocation::EXTERNAL));
            assert!(tensor.raw_data.is_empty() && tensor.float_data.is_empty());
            let entries: BTreeMap<&str, &str> =
                tensor.external_data.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect();
            assert_eq!(entries["location"], WEIGHTS);
            let number = |key: &str| entries[key].parse::<usize>().expect("a decimal number");
            assert_eq!(number("length") as i64, 4 * tensor.dims.iter().product::<i64>(), "{}", tensor.name);
            ranges.push((number("offset"), number("length")));
        }
        ranges.sort_unstable();
        let header = Header::new(&compiled.graph.params);
        let mut end = header.bytes.len();
        for (offset, len) in ranges {
            assert_eq!(offset, end, "{}: a gap or an overlap", case.name);
            end += len;
        }
        assert_eq!(end, header.file_len(), "{}", case.name);
    }
}

/// A fixed batch stands in the shapes of all values, an open one as `N`.
#[test]
fn the_batch_is_in_every_shape() {
    let case = &cases::options()[0];
    for (batch, extent) in [(Batch::Fixed(1), 1), (Batch::Fixed(7), 7), (Batch::Dynamic, 0)] {
        let options = ExportOptions { outputs: Outputs::All, ..external(17, batch) };
        let model = parsed(case, &options);
        let graph = &model.graph;
        let values: Vec<&ValueInfoProto> = graph.input.iter().chain(&graph.output).chain(&graph.value_info).collect();
        assert_eq!(values.len(), graph.node.len() + 1);
        assert!(values.iter().all(|value| dims(value)[0] == extent), "{batch:?}");
    }
}
