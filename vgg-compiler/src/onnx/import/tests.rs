//! Files of one node, and what becomes of them.

use super::{Externals, ImportOptions, Network, import_bytes, read};
use crate::onnx::messages::{
    AttributeProto, DataType, Dimension, DimensionValue, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use prost::Message;

/// A file of one node that reads an image of two channels, and with it constants of two numbers.
fn of_one_node(op_type: &str, constants: usize, attribute: (&str, i64)) -> ModelProto {
    let names = (0..constants).map(|index| format!("c{index}"));
    let initializer = names.clone().map(|name| TensorProto {
        name: Some(name),
        dims: vec![2],
        data_type: Some(DataType::Float as i32),
        float_data: vec![1.0, 2.0],
        ..TensorProto::default()
    });
    let node = NodeProto {
        input: std::iter::once("x".to_owned()).chain(names).collect(),
        output: vec!["y".into()],
        name: Some("n".into()),
        op_type: Some(op_type.into()),
        attribute: vec![AttributeProto {
            name: Some(attribute.0.into()),
            i: Some(attribute.1),
            ..AttributeProto::default()
        }],
        ..NodeProto::default()
    };
    let dim = [1, 2, 4, 4].map(|extent| Dimension { value: Some(DimensionValue::DimValue(extent)), denotation: None });
    let shape = Some(TensorShapeProto { dim: dim.to_vec() });
    let tensor_type = Some(TensorTypeProto { elem_type: Some(DataType::Float as i32), shape });
    let kind = Some(TypeProto { tensor_type, ..TypeProto::default() });
    let value = |name: &str| ValueInfoProto { name: Some(name.into()), r#type: kind.clone(), doc_string: None };
    let graph = GraphProto {
        initializer: initializer.collect(),
        node: vec![node],
        input: vec![value("x")],
        output: vec![value("y")],
        ..GraphProto::default()
    };
    let opset_import = vec![OperatorSetIdProto { domain: None, version: Some(17) }];
    ModelProto { ir_version: Some(8), opset_import, graph: Some(graph), ..ModelProto::default() }
}

fn nodes(model: &ModelProto) -> Result<usize, String> {
    let net = read::read(model, None, &mut Externals::new(None));
    net.map(|net| net.nodes.len()).map_err(|refusal| refusal.problem)
}

#[test]
fn a_cast_that_changes_activations_is_refused() {
    for kind in [DataType::Float, DataType::Float16, DataType::Bfloat16, DataType::Double] {
        assert_eq!(nodes(&of_one_node("Cast", 0, ("to", kind as i64))), Ok(1));
    }
    for to in [DataType::Int64 as i64, DataType::Bool as i64, 99] {
        let expected = format!("Cast at node `n`: it casts activations to type {to}, expected real numbers");
        assert_eq!(nodes(&of_one_node("Cast", 0, ("to", to))), Err(expected));
    }
}

#[test]
fn what_is_in_training_is_refused() {
    let problem = |mode| nodes(&of_one_node("BatchNormalization", 4, ("training_mode", mode))).err();
    assert_eq!(problem(1).as_deref(), Some("BatchNormalization at node `n`: training_mode is 1, expected 0"));
    assert_eq!(problem(0), None);
    let mut model = of_one_node("Dropout", 2, ("seed", 1));
    let graph = model.graph.as_mut().unwrap();
    let mode = TensorProto { data_type: Some(DataType::Bool as i32), dims: vec![], ..TensorProto::default() };
    graph.initializer[1] = TensorProto { name: Some("c1".into()), int32_data: vec![1], ..mode.clone() };
    graph.initializer[0].dims = vec![];
    graph.initializer[0].float_data = vec![0.5];
    assert_eq!(nodes(&model).unwrap_err(), "Dropout at node `n`: training_mode is true, expected false");
    model.graph.as_mut().unwrap().initializer[1] = TensorProto { name: Some("c1".into()), int32_data: vec![0], ..mode };
    assert_eq!(nodes(&model), Ok(1));
}

#[test]
fn what_the_notation_lacks_is_a_graph() {
    let model = of_one_node("BatchNormalization", 4, ("training_mode", 0));
    let bytes = model.encode_to_vec().into();
    let imported = import_bytes(bytes, None, "one-node", &ImportOptions::default()).unwrap();
    let Network::Graph { graph, lacks } = imported.network else { panic!("{:?}", imported.network) };
    assert_eq!((graph.name.as_str(), graph.nodes.len()), ("OneNode", 1));
    assert_eq!(lacks, "BatchNormalization at `bn1` has no word in it");
    assert_eq!(imported.aliases[0].nodes, ["n"]);
}

#[test]
fn versions_are_bounded() {
    let mut model = of_one_node("Relu", 0, ("none", 0));
    for (ir_version, opset, expected) in [
        (None, 17, "not an ONNX file: it has no version of the format"),
        (Some(2), 17, "version 2 of the ONNX format, expected 3 to 14"),
        (Some(15), 17, "version 15 of the ONNX format, expected 3 to 14"),
        (Some(3), 6, "opset 6, expected 7 to 28"),
        (Some(14), 29, "opset 29, expected 7 to 28"),
    ] {
        model.ir_version = ir_version;
        model.opset_import[0].version = Some(opset);
        assert_eq!(nodes(&model), Err(expected.to_owned()));
    }
}
