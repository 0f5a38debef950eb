//! The nodes that make a network's input of the pixels of an image.
//!
//! ```text
//! image: uint8 [N, H, W, 3], red first ─► Cast ─► Transpose ─► Gather (bgr) ─► Div 255 (range 1) ─► Sub mean ─► Div std ─► input
//! ```
//!
//! A node that would change nothing is left out. Each is one operation in f32, in the order in which the runtime does them, so that the
//! input is the same to the bit. Resizing is no part of it: the rules of ONNX's `Resize` are not Pillow's.

use bytes::Bytes;

use super::messages::{
    AttributeProto, AttributeType, DataType, Dimension, DimensionValue, NodeProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::preprocess::{Colours, Mean, Preprocess, Range};

/// Names that are free in a graph, for the values between pixels and input and for what is subtracted.
pub(super) struct PixelNames {
    pub(super) image: String,
    /// Of the values between, as many as there may be.
    pub(super) between: [String; 5],
    pub(super) order: String,
    pub(super) white: String,
    pub(super) mean: String,
    pub(super) std: String,
}

impl PixelNames {
    /// Names that `free` has not given to anything else.
    pub(super) fn new(mut free: impl FnMut(&str) -> String) -> Self {
        let between = ["image_float", "image_nchw", "image_order", "image_scaled", "image_centred"].map(&mut free);
        Self {
            image: free("image"),
            between,
            order: free("colour_order"),
            white: free("white"),
            mean: free("mean"),
            std: free("std"),
        }
    }
}

/// What stands before a network.
pub(super) struct Pixels {
    pub(super) input: ValueInfoProto,
    pub(super) nodes: Vec<NodeProto>,
    pub(super) initializers: Vec<TensorProto>,
}

/// The nodes from the pixels of images of `height` x `width` to the value `input`; none when a mean image is not at hand.
pub(super) fn pixels(
    preprocess: &Preprocess,
    batch: DimensionValue,
    [height, width]: [usize; 2],
    names: &PixelNames,
    input: &str,
) -> Option<Pixels> {
    let Preprocess { colours, range, mean, std, .. } = preprocess;
    let channels = colours.channels();
    let per_channel = [1, channels as i64, 1, 1];
    let float = attribute("to", AttributeType::Int, AttributeProto { i: Some(1), ..AttributeProto::default() });
    let to_planes = ints("perm", &[0, 3, 1, 2]);
    let mut steps: Vec<(&str, Option<TensorProto>, Vec<AttributeProto>)> =
        vec![("Cast", None, vec![float]), ("Transpose", None, vec![to_planes])];
    if *colours == Colours::Bgr {
        let axis = attribute("axis", AttributeType::Int, AttributeProto { i: Some(1), ..AttributeProto::default() });
        steps.push((
            "Gather",
            Some(tensor(&names.order, &[3], DataType::Int64, &[2_i64, 1, 0].map(i64::to_le_bytes))),
            vec![axis],
        ));
    }
    if *range == Range::Unit {
        steps.push(("Div", Some(floats(&names.white, &[], &[255.0])), Vec::new()));
    }
    match mean {
        Mean::Channels(mean) if mean.iter().all(|&mean| mean == 0.0) => {}
        Mean::Channels(mean) => steps.push(("Sub", Some(floats(&names.mean, &per_channel, mean)), Vec::new())),
        Mean::Image(image) => {
            let dims = [1, channels, height, width].map(|extent| extent as i64);
            steps.push(("Sub", Some(floats(&names.mean, &dims, image.as_deref()?)), Vec::new()));
        }
    }
    if std.iter().any(|&std| std != 1.0) {
        steps.push(("Div", Some(floats(&names.std, &per_channel, std)), Vec::new()));
    }
    let last = steps.len() - 1;
    let (mut nodes, mut initializers) = (Vec::new(), Vec::new());
    let mut value = &names.image;
    for (index, (op_type, constant, attribute)) in steps.into_iter().enumerate() {
        let output = if index == last { input } else { &names.between[index] };
        let inputs = std::iter::once(value.clone()).chain(constant.iter().filter_map(|tensor| tensor.name.clone()));
        nodes.push(NodeProto {
            input: inputs.collect(),
            output: vec![output.to_owned()],
            name: Some(format!("{output}_of_image")),
            op_type: Some(op_type.into()),
            attribute,
            ..NodeProto::default()
        });
        initializers.extend(constant);
        value = names.between.get(index).unwrap_or(&names.image);
    }
    let extents = [height, width, channels].map(|extent| DimensionValue::DimValue(extent as i64));
    let dim = std::iter::once(batch).chain(extents).map(|value| Dimension { value: Some(value), denotation: None });
    let shape = TensorShapeProto { dim: dim.collect() };
    let pixels = TensorTypeProto { elem_type: Some(DataType::Uint8.into()), shape: Some(shape) };
    let input = ValueInfoProto {
        name: Some(names.image.clone()),
        r#type: Some(TypeProto { tensor_type: Some(pixels), denotation: None }),
        doc_string: None,
    };
    Some(Pixels { input, nodes, initializers })
}

fn attribute(name: &str, r#type: AttributeType, value: AttributeProto) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(r#type.into()), ..value }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    attribute(name, AttributeType::Ints, AttributeProto { ints: values.into(), ..AttributeProto::default() })
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let bytes: Vec<_> = values.iter().map(|value| value.to_le_bytes()).collect();
    tensor(name, dims, DataType::Float, &bytes)
}

fn tensor<const WIDTH: usize>(name: &str, dims: &[i64], kind: DataType, elements: &[[u8; WIDTH]]) -> TensorProto {
    TensorProto {
        dims: dims.into(),
        data_type: Some(kind.into()),
        name: Some(name.into()),
        raw_data: Some(Bytes::copy_from_slice(elements.as_flattened())),
        ..TensorProto::default()
    }
}
