//! A tiny ONNX model, made with a schema that is independent of the compiler's.

use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_shape_proto::{Dimension, dimension};
use onnx_protobuf::type_proto::{self, Tensor};
use onnx_protobuf::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto,
};

/// The element type float of `TensorProto.DataType`.
const FLOAT: i32 = 1;

/// `Relu(Conv(input))`: an input of 1 x 1 x 3 x 3, two filters of 2 x 2, an output of 1 x 2 x 2 x 2. The first filter adds the
/// corners of its window that lie on the falling diagonal, less 1; the second takes the element below right from the one above left.
pub(crate) fn conv_relu() -> ModelProto {
    let weight = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, -1.0];
    let graph = GraphProto {
        name: "conv_relu".to_owned(),
        node: vec![
            node("Conv", &["input", "weight", "bias"], "conv", vec![ints("kernel_shape", &[2, 2])]),
            node("Relu", &["conv"], "output", vec![]),
        ],
        initializer: vec![tensor("weight", &[2, 1, 2, 2], &weight), tensor("bias", &[2], &[-1.0, 0.0])],
        input: vec![value("input", &[1, 1, 3, 3])],
        output: vec![value("output", &[1, 2, 2, 2])],
        ..GraphProto::default()
    };
    ModelProto {
        ir_version: 8,
        producer_name: "vgg-tests".to_owned(),
        opset_import: vec![OperatorSetIdProto { version: 17, ..OperatorSetIdProto::default() }],
        graph: Some(graph).into(),
        ..ModelProto::default()
    }
}

fn node(op_type: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: op_type.to_owned(),
        name: format!("{output}_node"),
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        attribute,
        ..NodeProto::default()
    }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        type_: AttributeType::INTS.into(),
        ints: values.to_vec(),
        ..AttributeProto::default()
    }
}

fn tensor(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: FLOAT,
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}

fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = dims
        .iter()
        .map(|&extent| Dimension { value: Some(dimension::Value::DimValue(extent)), ..Dimension::default() })
        .collect();
    let shape = TensorShapeProto { dim, ..TensorShapeProto::default() };
    let tensor = Tensor { elem_type: FLOAT, shape: Some(shape).into(), ..Tensor::default() };
    let type_ = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: name.to_owned(), type_: Some(type_).into(), ..ValueInfoProto::default() }
}
