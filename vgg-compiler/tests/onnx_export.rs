//! The ONNX writer: against `prost`, against another implementation of the messages, and against what was asked for.

mod common;

use std::fs;

use common::{Builder, every_operator, normalised, numbers};
use onnx_protobuf as theirs;
use prost::Message as _;
use theirs::Message as _;
use theirs::attribute_proto::AttributeType;
use theirs::tensor_shape_proto::dimension::Value as DimensionValue;
use vgg_compiler::ir::{Conv, Op, ParamId, TypedGraph, ValueId, verify};
use vgg_compiler::onnx::messages as ours;
use vgg_compiler::onnx::{Batch, ExportError, ExportOptions, OPSETS, Outputs, Piece, graph_bytes, pieces, write_model};
use vgg_compiler::weights::{Header, Weights, canonical, seeded};

fn weights(graph: &TypedGraph) -> Weights {
    Weights::resolve(graph, seeded(graph, 3), "seeded:3").unwrap()
}

/// The bytes of the file that is written.
fn export(graph: &TypedGraph, options: &ExportOptions) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.onnx");
    let mut reported = 0;
    write_model(&path, graph, &weights(graph), options, &mut |bytes| reported = bytes).unwrap();
    let bytes = fs::read(path).unwrap();
    assert_eq!(reported, bytes.len() as u64);
    bytes
}

fn external() -> ExportOptions {
    ExportOptions { external: Some("every.safetensors".into()), ..ExportOptions::default() }
}

#[test]
fn pieces_are_the_encoding_of_the_whole_message() {
    let all = [
        ExportOptions::default(),
        external(),
        ExportOptions { opset: 13, batch: Batch::Dynamic, outputs: Outputs::All, ..ExportOptions::default() },
    ];
    for options in all {
        for graph in [every_operator(false), every_operator(true), normalised(true)] {
            let bytes = export(&graph, &options);
            let message = ours::ModelProto::decode(&bytes[..]).unwrap();
            assert!(message.encode_to_vec() == bytes, "{} with {options:?}", graph.name);
            let weights = weights(&graph);
            for (tensor, data) in message.graph.unwrap().initializer.iter().zip(weights.iter()) {
                assert_eq!(tensor.raw_data.as_ref(), options.external.is_none().then_some(data), "{:?}", tensor.name);
            }
        }
    }
}

#[test]
fn weights_are_gaps_between_the_pieces() {
    let graph = every_operator(false);
    let header = Header::new(&graph.params);
    let gaps = |options: &ExportOptions| {
        let pieces = pieces(&graph, &header, options).unwrap();
        pieces
            .iter()
            .filter_map(|piece| if let Piece::Param(id) = piece { Some(id.0) } else { None })
            .collect::<Vec<_>>()
    };
    assert_eq!(gaps(&ExportOptions::default()), (0..graph.params.len()).collect::<Vec<_>>());
    assert!(gaps(&external()).is_empty());
}

/// What another implementation of the messages reads, as text: one line for each part of the model.
fn describe(model: &theirs::ModelProto) -> String {
    let mut lines = vec![format!(
        "ir {} opset {:?} producer {:?} {:?} domain {:?} version {}",
        model.ir_version,
        model.opset_import.iter().map(|set| (&set.domain[..], set.version)).collect::<Vec<_>>(),
        model.producer_name,
        model.producer_version,
        model.domain,
        model.model_version
    )];
    lines.push(format!("doc {:?}", model.doc_string));
    lines.extend(model.metadata_props.iter().map(|entry| format!("meta {} = {:?}", entry.key, entry.value)));
    let graph = &model.graph;
    lines.push(format!("graph {}", graph.name));
    for (what, values) in [("input", &graph.input), ("value", &graph.value_info), ("output", &graph.output)] {
        for value in values {
            let tensor = value.type_.tensor_type();
            let dims: Vec<String> = tensor
                .shape
                .dim
                .iter()
                .map(|dim| match dim.value.as_ref().unwrap() {
                    DimensionValue::DimValue(extent) => extent.to_string(),
                    DimensionValue::DimParam(name) => name.clone(),
                    _ => panic!("an extent of {} is of no known kind", value.name),
                })
                .collect();
            lines.push(format!("{what} {}: {} [{}]", value.name, tensor.elem_type, dims.join(",")));
        }
    }
    for node in &graph.node {
        let attributes: Vec<String> = node
            .attribute
            .iter()
            .map(|attribute| {
                let value = match attribute.type_.enum_value().unwrap() {
                    AttributeType::FLOAT => format!("{:?}", attribute.f),
                    AttributeType::INT => attribute.i.to_string(),
                    AttributeType::INTS => format!("{:?}", attribute.ints),
                    other => panic!("an attribute of type {other:?}"),
                };
                format!(" {}={value}", attribute.name)
            })
            .collect();
        assert_eq!(node.domain, "");
        lines.push(format!(
            "{} = {} {}({}){}",
            node.output.join(","),
            node.name,
            node.op_type,
            node.input.join(","),
            attributes.concat()
        ));
    }
    for tensor in &graph.initializer {
        let place: Vec<String> =
            tensor.external_data.iter().map(|entry| format!(" {}={}", entry.key, entry.value)).collect();
        lines.push(format!(
            "{}: {} {:?} {} bytes at {:?}{}",
            tensor.name,
            tensor.data_type,
            tensor.dims,
            tensor.raw_data.len(),
            tensor.data_location.enum_value().unwrap(),
            place.concat()
        ));
    }
    lines.join("\n")
}

fn read_by_theirs(bytes: &[u8]) -> theirs::ModelProto {
    theirs::ModelProto::parse_from_bytes(bytes).unwrap()
}

#[test]
fn another_implementation_reads_every_field() {
    let options = ExportOptions {
        weights: Some("seeded:3".into()),
        metadata: vec![("vgg.preprocessing".into(), "mean".into()), ("author".into(), "Ü".into())],
        ..ExportOptions::default()
    };
    let model = read_by_theirs(&export(&every_operator(true), &options));
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        r#"ir 8 opset [("", 17)] producer "vgg" "{version}" domain "" version 0
doc "Every operator once.\n\nGrüße."
meta author = "Ü"
meta vgg.network = "Every"
meta vgg.preprocessing = "mean"
meta vgg.weights = "seeded:3"
graph Every
input input: 1 [1,2,9,7]
value conv1_1: 1 [1,4,10,7]
value bn1_1: 1 [1,4,10,7]
value relu1_1: 1 [1,4,10,7]
value norm1: 1 [1,4,10,7]
value pool1: 1 [1,4,5,7]
value average1: 1 [1,4,3,7]
value flatten: 1 [1,84]
value drop6: 1 [1,84]
value fc6: 1 [1,5]
output prob: 1 [1,5]
conv1_1 = conv1_1 Conv(input,conv1_1_weight,conv1_1_bias) dilations=[1, 1] group=1 kernel_shape=[3, 2] pads=[1, 0, 2, 1] strides=[1, 1]
bn1_1 = bn1_1 BatchNormalization(conv1_1,bn1_1_weight,bn1_1_bias,bn1_1_running_mean,bn1_1_running_var) epsilon=0.001
relu1_1 = relu1_1 Relu(bn1_1)
norm1 = norm1 LRN(relu1_1) alpha=0.0005 beta=0.75 bias=2.0 size=3
pool1 = pool1 MaxPool(norm1) ceil_mode=1 kernel_shape=[3, 2] pads=[1, 0, 0, 1] strides=[2, 1]
average1 = average1 AveragePool(pool1) ceil_mode=0 kernel_shape=[2, 2] pads=[0, 1, 1, 0] strides=[2, 1] count_include_pad=0
flatten = flatten Flatten(average1) axis=1
drop6 = drop6 Dropout(flatten,drop6_ratio)
fc6 = fc6 Gemm(drop6,fc6_weight,fc6_bias) alpha=1.0 beta=1.0 transA=0 transB=1
prob = prob Softmax(fc6) axis=1
conv1_1_weight: 1 [4, 2, 3, 2] 192 bytes at DEFAULT
conv1_1_bias: 1 [4] 16 bytes at DEFAULT
bn1_1_weight: 1 [4] 16 bytes at DEFAULT
bn1_1_bias: 1 [4] 16 bytes at DEFAULT
bn1_1_running_mean: 1 [4] 16 bytes at DEFAULT
bn1_1_running_var: 1 [4] 16 bytes at DEFAULT
fc6_weight: 1 [5, 84] 1680 bytes at DEFAULT
fc6_bias: 1 [5] 20 bytes at DEFAULT
drop6_ratio: 1 [] 4 bytes at DEFAULT"#
    );
    assert_eq!(describe(&model), expected);
    let ratio = model.graph.initializer.last().unwrap();
    assert_eq!(numbers(&ratio.raw_data), [0.25]);
}

/// A message with the fields that proto3 leaves out because they are zero.
fn without_zeros(mut model: ours::ModelProto) -> ours::ModelProto {
    for set in &mut model.opset_import {
        set.domain = set.domain.take().filter(|domain| !domain.is_empty());
    }
    for attribute in model.graph.iter_mut().flat_map(|graph| &mut graph.node).flat_map(|node| &mut node.attribute) {
        attribute.i = attribute.i.filter(|&i| i != 0);
        attribute.f = attribute.f.filter(|&f| f != 0.0);
    }
    model
}

#[test]
fn what_another_implementation_writes_is_read() {
    for options in
        [ExportOptions::default(), ExportOptions { outputs: Outputs::All, batch: Batch::Dynamic, ..external() }]
    {
        let bytes = export(&every_operator(true), &options);
        let again = read_by_theirs(&bytes).write_to_bytes().unwrap();
        let [ours, theirs] = [&bytes, &again].map(|bytes| ours::ModelProto::decode(&bytes[..]).unwrap());
        assert!(ours.graph.as_ref().is_some_and(|graph| graph.initializer.len() == 9));
        assert_eq!(without_zeros(ours), theirs);
    }
}

#[test]
fn external_tensors_are_where_the_weights_file_has_them() {
    let graph = every_operator(false);
    let mut file = Vec::new();
    canonical::write_to(&mut file, &graph, &weights(&graph), &mut |_| ()).unwrap();
    let bytes = export(&graph, &external());
    assert_eq!(bytes, graph_bytes(&graph, &Header::new(&graph.params), &external()).unwrap());
    let model = read_by_theirs(&bytes);
    assert_eq!(model.graph.initializer.len(), graph.params.len());
    for (index, tensor) in model.graph.initializer.iter().enumerate() {
        let entries: Vec<(&str, &str)> =
            tensor.external_data.iter().map(|entry| (&entry.key[..], &entry.value[..])).collect();
        let [("location", "every.safetensors"), ("offset", offset), ("length", length)] = entries[..] else {
            panic!("{}: {entries:?}", tensor.name);
        };
        assert_eq!(tensor.data_location.value(), ours::DataLocation::External as i32);
        assert!(tensor.raw_data.is_empty());
        let offset: usize = offset.parse().unwrap();
        let length: usize = length.parse().unwrap();
        assert_eq!(&file[offset..offset + length], &weights(&graph).get(ParamId(index))[..], "{}", tensor.name);
    }
}

#[test]
fn batch_and_outputs_are_those_asked_for() {
    let graph = every_operator(false);
    let options = ExportOptions { batch: Batch::Dynamic, outputs: Outputs::All, opset: 13, ..ExportOptions::default() };
    let text = describe(&read_by_theirs(&export(&graph, &options)));
    assert!(text.starts_with(r#"ir 7 opset [("", 13)]"#), "{text}");
    let outputs: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("output ")).collect();
    let expected = [
        "conv1_1: 1 [N,4,10,7]",
        "bn1_1: 1 [N,4,10,7]",
        "relu1_1: 1 [N,4,10,7]",
        "norm1: 1 [N,4,10,7]",
        "pool1: 1 [N,4,5,7]",
        "average1: 1 [N,4,3,7]",
        "flatten: 1 [N,84]",
        "fc6: 1 [N,5]",
        "prob: 1 [N,5]",
    ];
    assert_eq!(outputs, expected);
    assert!(text.contains("input input: 1 [N,2,9,7]") && !text.contains("\nvalue "), "{text}");

    let fixed = ExportOptions { batch: Batch::Fixed(3), ..ExportOptions::default() };
    let text = describe(&read_by_theirs(&export(&graph, &fixed)));
    assert!(text.contains("input input: 1 [3,2,9,7]") && text.contains("output prob: 1 [3,5]"), "{text}");
}

#[test]
fn branches_bounds_and_outputs_are_written() {
    let none = f32::INFINITY;
    let grouped = Conv { dilations: [2, 1], group: 2, pads: [2, 1, 2, 1], ..Conv::new(2, [3, 3]) };
    let mut graph = Builder::new("Branched", [2, 4, 4])
        .node("conv1", Op::Conv(grouped), "a", vec![vec![2, 1, 3, 3], vec![2]])
        .plain("both", Op::Clip { min: 0.0, max: 6.0 })
        .plain("low", Op::Clip { min: -1.0, max: none })
        .plain("high", Op::Clip { min: -none, max: 1.0 })
        .plain("neither", Op::Clip { min: -none, max: none })
        .plain("leaky", Op::LeakyRelu { alpha: 0.25 })
        .reading(&["conv1"])
        .plain("gate", Op::Sigmoid)
        .plain("sum", Op::Add)
        .reading(&["gate", "neither"])
        .plain("product", Op::Mul)
        .reading(&["sum", "sum"])
        .plain("joined", Op::Concat)
        .reading(&["leaky", "product", "input"])
        .graph();
    graph.outputs = [10, 2, 9].map(ValueId).to_vec();
    let text = describe(&read_by_theirs(&export(&verify(graph).unwrap(), &ExportOptions::default())));
    let nodes = [
        "conv1 = conv1 Conv(input,conv1_weight,conv1_bias) dilations=[2, 1] group=2 kernel_shape=[3, 3] pads=[2, 1, 2, 1] strides=[1, 1]",
        "both = both Clip(conv1,both_min,both_max)",
        "low = low Clip(both,low_min)",
        "high = high Clip(low,,high_max)",
        "neither = neither Clip(high)",
        "leaky = leaky LeakyRelu(conv1) alpha=0.25",
        "gate = gate Sigmoid(leaky)",
        "sum = sum Add(gate,neither)",
        "product = product Mul(sum,sum)",
        "joined = joined Concat(leaky,product,input) axis=1",
        "both_min: 1 [] 4 bytes at DEFAULT",
        "high_max: 1 [] 4 bytes at DEFAULT",
    ];
    for line in nodes {
        assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
    }
    let outputs: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("output ")).collect();
    assert_eq!(outputs, ["joined: 1 [1,6,4,4]", "both: 1 [1,2,4,4]", "product: 1 [1,2,4,4]"]);
}

#[test]
fn an_initializer_never_bears_the_name_of_an_activation() {
    let graph = Builder::new("Clash", [1, 2, 2])
        .plain("flatten", Op::Flatten)
        .gemm("fc1", "classifier.0", 4, 4)
        .plain("fc1_weight", Op::Relu)
        .plain("drop_ratio", Op::Relu)
        .plain("drop", Op::Dropout { ratio: 0.5 })
        .build();
    let text = describe(&read_by_theirs(&export(&graph, &ExportOptions::default())));
    assert!(text.contains("fc1 = fc1 Gemm(flatten,fc1_weight_,fc1_bias)"), "{text}");
    assert!(text.contains("drop = drop Dropout(drop_ratio,drop_ratio_)"), "{text}");
    assert!(text.contains("\nfc1_weight_: 1 [4, 4] 64 bytes"), "{text}");
}

#[test]
fn impossible_options_are_refused() {
    let graph = every_operator(false);
    let with = |change: fn(&mut ExportOptions)| {
        let mut options = ExportOptions::default();
        change(&mut options);
        options
    };
    let cases = [
        (with(|o| o.opset = 12), "opset 12 cannot be written, expected 13 to 22"),
        (with(|o| o.opset = 23), "opset 23 cannot be written, expected 13 to 22"),
        (with(|o| o.batch = Batch::Fixed(0)), "a batch of 0 images, expected 1 to"),
        (with(|o| o.external = Some("../a.safetensors".into())), "`../a.safetensors` cannot be the weights file"),
        (
            with(|o| o.metadata = vec![("a".into(), "1".into()), ("a".into(), "2".into())]),
            "the metadata `a` is given twice",
        ),
    ];
    let directory = tempfile::tempdir().unwrap();
    for (options, words) in cases {
        let path = directory.path().join("model.onnx");
        let error = write_model(&path, &graph, &weights(&graph), &options, &mut |_| ()).unwrap_err();
        assert!(error.to_string().starts_with(words), "{error}");
        assert!(error.help().is_some(), "{error}");
        assert!(!path.exists(), "{error}");
    }
    let header = Header::new(&graph.params);
    assert!(matches!(graph_bytes(&graph, &header, &ExportOptions::default()), Err(ExportError::NoExternal)));
    for opset in OPSETS {
        assert!(pieces(&graph, &header, &ExportOptions { opset, ..ExportOptions::default() }).is_ok(), "{opset}");
    }
}

#[test]
fn a_message_larger_than_protobuf_allows_is_refused_before_its_weights_exist() {
    let graph = Builder::new("Huge", [1, 1 << 15, 1]).plain("flatten", Op::Flatten).gemm(
        "fc1",
        "classifier.0",
        1 << 14,
        1 << 15,
    );
    let graph = graph.build();
    let header = Header::new(&graph.params);
    let error = pieces(&graph, &header, &ExportOptions::default()).unwrap_err();
    assert!(error.to_string().starts_with("the model would have 2147549"), "{error}");
    assert!(pieces(&graph, &header, &external()).is_ok());
}

#[test]
fn an_error_names_the_file() {
    let graph = every_operator(false);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing").join("model.onnx");
    let error = write_model(&path, &graph, &weights(&graph), &ExportOptions::default(), &mut |_| ()).unwrap_err();
    assert!(error.to_string().starts_with(&format!("{}: cannot write the ONNX model: ", path.display())), "{error}");
}
