//! The bytes of a model, with gaps where the weights belong.

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::messages::{GraphProto, ModelProto, TensorProto};
use crate::ir::ParamId;

/// A stretch of an encoded model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The numbers of a parameter.
    Param(ParamId),
}

/// Field numbers of the messages that are taken apart.
const MODEL_GRAPH: u32 = 7;
const GRAPH_INITIALIZER: u32 = 5;
const TENSOR_RAW_DATA: u32 = 9;

/// Lays `model` out as `prost` would encode it if the first of its initializers had data of `lens` bytes each. Those
/// initializers have no other field after the data.
pub(super) fn pieces(mut model: ModelProto, lens: &[usize]) -> Vec<Piece> {
    let mut graph = model.graph.take().unwrap_or_default();
    let initializers = std::mem::take(&mut graph.initializer);
    // Fields are encoded in the order of their numbers: what comes before the initializers, and what after them.
    let graph_tail = GraphProto {
        doc_string: graph.doc_string.take(),
        input: std::mem::take(&mut graph.input),
        output: std::mem::take(&mut graph.output),
        value_info: std::mem::take(&mut graph.value_info),
        ..GraphProto::default()
    };
    let model_tail = ModelProto {
        opset_import: std::mem::take(&mut model.opset_import),
        metadata_props: std::mem::take(&mut model.metadata_props),
        ..ModelProto::default()
    };
    let data = lens.iter().copied().map(Some).chain(std::iter::repeat(None));
    let tensors: Vec<(TensorProto, Option<usize>)> = initializers.into_iter().zip(data).collect();
    let tensors_len: usize =
        tensors.iter().map(|(tensor, data)| field_len(GRAPH_INITIALIZER, tensor_len(tensor, *data))).sum();

    let mut layout = Layout::default();
    layout.message(&model);
    layout.open(MODEL_GRAPH, graph.encoded_len() + tensors_len + graph_tail.encoded_len());
    layout.message(&graph);
    for (index, (tensor, data)) in tensors.into_iter().enumerate() {
        layout.open(GRAPH_INITIALIZER, tensor_len(&tensor, data));
        layout.message(&tensor);
        if let Some(len) = data {
            layout.open(TENSOR_RAW_DATA, len);
            layout.gap(ParamId(index));
        }
    }
    layout.message(&graph_tail);
    layout.message(&model_tail);
    layout.close()
}

/// Bytes of a tensor's message with data of `data` bytes.
fn tensor_len(tensor: &TensorProto, data: Option<usize>) -> usize {
    tensor.encoded_len() + data.map_or(0, |len| field_len(TENSOR_RAW_DATA, len))
}

/// Bytes of a field of `len` bytes with its key and its length.
fn field_len(tag: u32, len: usize) -> usize {
    key_len(tag) + encoded_len_varint(len as u64) + len
}

/// Pieces under construction.
#[derive(Default)]
struct Layout {
    done: Vec<Piece>,
    bytes: Vec<u8>,
}

impl Layout {
    fn message(&mut self, message: &impl Message) {
        self.bytes.extend_from_slice(&message.encode_to_vec());
    }

    /// The key and the length of a field whose `len` bytes follow.
    fn open(&mut self, tag: u32, len: usize) {
        encode_key(tag, WireType::LengthDelimited, &mut self.bytes);
        encode_varint(len as u64, &mut self.bytes);
    }

    fn gap(&mut self, param: ParamId) {
        self.done.push(Piece::Bytes(std::mem::take(&mut self.bytes)));
        self.done.push(Piece::Param(param));
    }

    fn close(mut self) -> Vec<Piece> {
        self.done.push(Piece::Bytes(self.bytes));
        self.done
    }
}
