//! The nine networks as their tables were published, written down a second time and built with a schema of ONNX that the compiler does
//! not use: an oracle that shares nothing with the declarations but the sources.
//!
//! Sources: K. Chatfield et al., "Return of the Devil in the Details", 2014, with the authors' Caffe definitions of their released
//! weights (CNN-F, CNN-M, CNN-S); K. Simonyan & A. Zisserman, "Very Deep Convolutional Networks", 2015, table 1 (A to E).

use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_proto::DataLocation;
use onnx_protobuf::tensor_shape_proto::{Dimension, dimension};
use onnx_protobuf::type_proto::{self, Tensor};
use onnx_protobuf::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto,
};
use serde_json::Value;

/// A line of a table. ReLU follows every convolution and every fully connected layer but the last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Layer {
    /// Filters, kernel, stride, padding.
    Conv(i64, i64, i64, i64),
    /// Alpha, divided by the window of 5, and the constant; the exponent is 0.75.
    Lrn(f32, f32),
    /// Window, stride, and whether the number of windows is rounded up.
    MaxPool(i64, i64, bool),
    /// Brings channels, which lie outermost, innermost, as networks in HWC order have them when they flatten.
    ChannelsLast,
    /// Units.
    Fc(i64),
}

use Layer::{Conv, Fc, Lrn, MaxPool};

/// The head that all nine have.
const HEAD: [Layer; 3] = [Fc(4096), Fc(4096), Fc(1000)];
/// The normalisation of Krizhevsky et al. (2012): 1e-4 for each of 5 channels.
const NORM: Layer = Lrn(5e-4, 2.0);

/// The table of a variant.
///
/// # Panics
/// When there is no such variant.
pub fn table(variant: &str) -> Vec<Layer> {
    let body = match variant {
        "vgg-f" => vec![
            Conv(64, 11, 4, 0),
            NORM,
            MaxPool(3, 2, true),
            Conv(256, 5, 1, 2),
            NORM,
            MaxPool(3, 2, true),
            Conv(256, 3, 1, 1),
            Conv(256, 3, 1, 1),
            Conv(256, 3, 1, 1),
            MaxPool(3, 2, true),
        ],
        "vgg-m" => vec![
            Conv(96, 7, 2, 0),
            NORM,
            MaxPool(3, 2, true),
            Conv(256, 5, 2, 1),
            NORM,
            MaxPool(3, 2, true),
            Conv(512, 3, 1, 1),
            Conv(512, 3, 1, 1),
            Conv(512, 3, 1, 1),
            MaxPool(3, 2, true),
        ],
        "vgg-s" => vec![
            Conv(96, 7, 2, 0),
            NORM,
            MaxPool(3, 3, true),
            Conv(256, 5, 1, 0),
            MaxPool(2, 2, true),
            Conv(512, 3, 1, 1),
            Conv(512, 3, 1, 1),
            Conv(512, 3, 1, 1),
            MaxPool(3, 3, true),
        ],
        "vgg-a" => blocks([&[64], &[128], &[256, 256], &[512, 512], &[512, 512]]),
        "vgg-a-lrn" => {
            let mut layers = blocks([&[64], &[128], &[256, 256], &[512, 512], &[512, 512]]);
            layers.insert(1, NORM);
            layers
        }
        "vgg-b" => blocks([&[64; 2], &[128; 2], &[256; 2], &[512; 2], &[512; 2]]),
        // A negative number of filters: 1x1, without padding.
        "vgg-c" => blocks([&[64; 2], &[128; 2], &[256, 256, -256], &[512, 512, -512], &[512, 512, -512]]),
        "vgg-d" => blocks([&[64; 2], &[128; 2], &[256; 3], &[512; 3], &[512; 3]]),
        "vgg-e" => blocks([&[64; 2], &[128; 2], &[256; 4], &[512; 4], &[512; 4]]),
        _ => panic!("no variant {variant} was published"),
    };
    [body, HEAD.to_vec()].concat()
}

fn blocks(blocks: [&[i64]; 5]) -> Vec<Layer> {
    let conv = |&filters: &i64| if filters > 0 { Conv(filters, 3, 1, 1) } else { Conv(-filters, 1, 1, 0) };
    blocks.into_iter().flat_map(|block| block.iter().map(conv).chain([MaxPool(2, 2, false)])).collect()
}

/// A tensor in a safetensors file.
#[derive(Clone, Debug)]
struct Stored {
    dims: Vec<i64>,
    offset: u64,
    len: u64,
}

/// The weights and biases in a safetensors file with torchvision's keys, in the order of the layers: by the number in `features.N`, then
/// by that in `classifier.N`.
fn stored(file: &[u8]) -> Vec<[Stored; 2]> {
    let json_len = u64::from_le_bytes(file[..8].try_into().expect("eight bytes"));
    let header: Value = serde_json::from_slice(&file[8..8 + json_len as usize]).expect("a header in JSON");
    let tensor = |key: &str| {
        let entry = &header[key];
        let numbers = |name: &str| -> Vec<u64> {
            let list = entry[name].as_array().unwrap_or_else(|| panic!("{key} has no {name}"));
            list.iter().map(|number| number.as_u64().expect("a number")).collect()
        };
        let (dims, offsets) = (numbers("shape"), numbers("data_offsets"));
        let dims = dims.into_iter().map(|extent| extent as i64).collect();
        Stored { dims, offset: 8 + json_len + offsets[0], len: offsets[1] - offsets[0] }
    };
    let mut layers: Vec<(bool, u32)> = Vec::new();
    for key in header.as_object().expect("an object").keys().filter(|key| key.ends_with(".weight")) {
        let [place, number, _] = key.split('.').collect::<Vec<_>>()[..] else { panic!("the key {key}") };
        layers.push((place == "classifier", number.parse().expect("a number")));
    }
    layers.sort_unstable();
    let name =
        |(classifier, number): (bool, u32)| format!("{}.{number}", if classifier { "classifier" } else { "features" });
    layers
        .into_iter()
        .map(name)
        .map(|name| ["weight", "bias"].map(|suffix| tensor(&format!("{name}.{suffix}"))))
        .collect()
}

/// The model of `layers` on images of `input` (channels, height, width), without softmax. Its weights are those in the safetensors file
/// `name`, whose content is `file`, beside the model; their shapes are taken as they are.
///
/// # Panics
/// When the file holds no parameters for as many layers.
pub fn model(layers: &[Layer], input: [i64; 3], name: &str, file: &[u8]) -> ModelProto {
    let mut builder = Builder { graph: GraphProto::new(), last: "x".to_owned(), location: name.to_owned() };
    let mut weights = stored(file).into_iter();
    let mut next = || weights.next().expect("weights for every layer");
    let mut fully_connected = layers.iter().filter(|layer| matches!(layer, Fc(_))).count();
    let mut flat = false;
    for layer in layers {
        match *layer {
            Conv(filters, kernel, stride, pad) => {
                let parameters = builder.parameters(next(), filters);
                let attributes =
                    vec![ints("kernel_shape", &[kernel; 2]), ints("strides", &[stride; 2]), ints("pads", &[pad; 4])];
                builder.node("Conv", parameters, attributes);
                builder.node("Relu", vec![], vec![]);
            }
            Lrn(alpha, bias) => {
                let attributes = vec![float("alpha", alpha), float("beta", 0.75), float("bias", bias), int("size", 5)];
                builder.node("LRN", vec![], attributes);
            }
            MaxPool(kernel, stride, ceil) => {
                let attributes = vec![
                    ints("kernel_shape", &[kernel; 2]),
                    ints("strides", &[stride; 2]),
                    int("ceil_mode", i64::from(ceil)),
                ];
                builder.node("MaxPool", vec![], attributes);
            }
            Layer::ChannelsLast => builder.node("Transpose", vec![], vec![ints("perm", &[0, 2, 3, 1])]),
            Fc(units) => {
                if !flat {
                    builder.node("Flatten", vec![], vec![int("axis", 1)]);
                    flat = true;
                }
                let parameters = builder.parameters(next(), units);
                builder.node("Gemm", parameters, vec![int("transB", 1)]);
                fully_connected -= 1;
                if fully_connected > 0 {
                    builder.node("Relu", vec![], vec![]);
                }
            }
        }
    }
    assert!(weights.next().is_none(), "the file holds more layers than the table");
    let Builder { mut graph, last, .. } = builder;
    graph.name = "published".to_owned();
    graph.input = vec![value("x", Some(&[&[1][..], &input].concat()))];
    graph.output = vec![value(&last, None)];
    ModelProto {
        ir_version: 8,
        producer_name: "published tables".to_owned(),
        opset_import: vec![OperatorSetIdProto { version: 17, ..OperatorSetIdProto::default() }],
        graph: Some(graph).into(),
        ..ModelProto::default()
    }
}

struct Builder {
    graph: GraphProto,
    last: String,
    location: String,
}

impl Builder {
    fn node(&mut self, op_type: &str, parameters: Vec<String>, attribute: Vec<AttributeProto>) {
        let output = format!("{}_{}", op_type.to_lowercase(), self.graph.node.len());
        let mut input = vec![std::mem::replace(&mut self.last, output.clone())];
        input.extend(parameters);
        let (name, output) = (format!("node_{output}"), vec![output]);
        self.graph.node.push(NodeProto {
            op_type: op_type.to_owned(),
            name,
            input,
            output,
            attribute,
            ..NodeProto::default()
        });
    }

    /// The names of a weight and a bias for `outputs` filters or units.
    fn parameters(&mut self, tensors: [Stored; 2], outputs: i64) -> Vec<String> {
        let mut names = Vec::new();
        for tensor in tensors {
            assert_eq!(tensor.dims[0], outputs, "the weights are those of another table");
            let name = format!("parameter_{}", self.graph.initializer.len());
            let entry = |key: &str, text: String| StringStringEntryProto {
                key: key.to_owned(),
                value: text,
                ..StringStringEntryProto::default()
            };
            self.graph.initializer.push(TensorProto {
                name: name.clone(),
                dims: tensor.dims,
                data_type: FLOAT,
                data_location: DataLocation::EXTERNAL.into(),
                external_data: vec![
                    entry("location", self.location.clone()),
                    entry("offset", tensor.offset.to_string()),
                    entry("length", tensor.len.to_string()),
                ],
                ..TensorProto::default()
            });
            names.push(name);
        }
        names
    }
}

/// The element type float of `TensorProto.DataType`.
const FLOAT: i32 = 1;

fn attribute(name: &str, type_: AttributeType) -> AttributeProto {
    AttributeProto { name: name.to_owned(), type_: type_.into(), ..AttributeProto::default() }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.to_vec(), ..attribute(name, AttributeType::INTS) }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: value, ..attribute(name, AttributeType::INT) }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: value, ..attribute(name, AttributeType::FLOAT) }
}

/// A value of these extents, or of any.
fn value(name: &str, dims: Option<&[i64]>) -> ValueInfoProto {
    let shape = dims.map(|dims| TensorShapeProto {
        dim: dims
            .iter()
            .map(|&extent| Dimension { value: Some(dimension::Value::DimValue(extent)), ..Dimension::default() })
            .collect(),
        ..TensorShapeProto::default()
    });
    let tensor = Tensor { elem_type: FLOAT, shape: shape.into(), ..Tensor::default() };
    let type_ = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: name.to_owned(), type_: Some(type_).into(), ..ValueInfoProto::default() }
}
