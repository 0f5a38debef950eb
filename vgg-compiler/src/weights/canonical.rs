//! The canonical weights file: safetensors with a header that depends on the network and its preprocessing alone.
//!
//! ```text
//! 8 bytes           length of the JSON with its padding, little-endian
//! JSON              {"__metadata__":{"format":"pt"},"KEY":{"dtype":"F32","shape":[..],"data_offsets":[begin,end]},..}
//!                   with `"vgg.preprocessing":".."` after the format when the preprocessing is known
//! spaces            so that the data begins at a multiple of 64
//! data              the tensors without gaps: those of the widest numbers first, in the order of their keys; last the mean image, if the
//!                   preprocessing has one
//! ```
//!
//! Weights of fully connected layers may be F16, BF16 or I8. Beside an I8 tensor `KEY` of rows there is `KEY_scale`, an F32 factor
//! for each row.
//!
//! The JSON is what the `safetensors` crate writes, so that every reader of the format takes the file. Because the
//! header is known in advance, generated code compares it byte for byte and reads tensors at constant offsets, and an
//! ONNX model may point into the file.
//!
//! Source: <https://github.com/huggingface/safetensors#format>.

use std::cmp::Reverse;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;

use super::error::WeightsError;
use super::metadata::Metadata;
use super::resolve::Weights;
use super::safetensors::MAX_HEADER;
use crate::atomic;
use crate::ir::{Graph, Param, ParamId, Precision, Shape};
use crate::preprocess::{MEAN_KEY, METADATA_KEY, Mean, Preprocess};

/// The data begins at a multiple of this: a cache line, and the widest vector.
const ALIGNMENT: usize = 64;

/// Everything of a canonical weights file but its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The bytes before the data: length, JSON, padding.
    pub bytes: Vec<u8>,
    /// Where the bytes of each parameter are, from the beginning of the data, by [`ParamId`].
    pub ranges: Vec<Range<usize>>,
    /// Where the bytes of the mean image are, from the beginning of the data, when the preprocessing has one.
    pub mean: Option<Range<usize>>,
    /// Bytes of all parameters and of the mean image.
    pub data_len: usize,
}

impl Header {
    /// The header of the file of `graph`'s parameters.
    pub fn of(graph: &Graph) -> Self {
        let image = graph.values.get(graph.input.0).and_then(|input| input.shape);
        Self::with(&graph.params, graph.preprocess.as_ref().zip(image))
    }

    /// The header of a file that holds `params`, which are the parameters of a verified graph, and knows of no preprocessing.
    pub fn new(params: &[Param]) -> Self {
        Self::with(params, None)
    }

    /// The header that `bytes` begin with, when it is that of the parameters of `graph`, whatever preprocessing it tells of.
    fn found(graph: &Graph, bytes: &[u8]) -> Option<Self> {
        let image = graph.values.get(graph.input.0).and_then(|input| input.shape)?;
        let (len, rest) = bytes.split_first_chunk()?;
        let json = rest.get(..usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
        let recorded = Metadata::of(json)?.preprocess().ok()?;
        let header = Self::with(&graph.params, recorded.as_ref().map(|preprocess| (preprocess, image)));
        bytes.starts_with(&header.bytes).then_some(header)
    }

    /// With a preprocessing, and the shape of the input that it makes.
    fn with(params: &[Param], preprocess: Option<(&Preprocess, Shape)>) -> Self {
        let mut json = String::from(r#"{"__metadata__":{"format":"pt""#);
        if let Some((preprocess, _)) = preprocess {
            json += &format!(r#","{METADATA_KEY}":{}"#, serde_json::Value::from(preprocess.to_string()));
        }
        json.push('}');
        let mut ranges = vec![0..0; params.len()];
        let mut end = 0;
        for index in sorted(params) {
            let param = &params[index];
            let begin = end;
            end += param.bytes();
            ranges[index] = begin..end;
            let shape: Vec<String> = param.shape.iter().map(usize::to_string).collect();
            json += &format!(
                r#",{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{begin},{end}]}}"#,
                serde_json::Value::from(param.key.as_str()),
                dtype(param.precision()),
                shape.join(",")
            );
        }
        // The tensor of a mean image comes last, so that the others lie where they do without it.
        let image = preprocess.filter(|(preprocess, _)| matches!(preprocess.mean, Mean::Image(_)));
        let mean = image.map(|(_, shape)| {
            let range = end..end + 4 * shape.len();
            let dims: Vec<String> = shape.dims().iter().map(usize::to_string).collect();
            json += &format!(
                r#","{MEAN_KEY}":{{"dtype":"F32","shape":[{}],"data_offsets":[{},{}]}}"#,
                dims.join(","),
                range.start,
                range.end
            );
            range
        });
        end = mean.as_ref().map_or(end, |range| range.end);
        json.push('}');
        let padded = (8 + json.len()).next_multiple_of(ALIGNMENT) - 8;
        let mut bytes = (padded as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(json.as_bytes());
        bytes.resize(8 + padded, b' ');
        Self { bytes, ranges, mean, data_len: end }
    }

    /// Where the bytes of a parameter are, from the beginning of the file.
    pub fn file_range(&self, param: ParamId) -> Range<usize> {
        let Range { start, end } = self.ranges[param.0];
        self.bytes.len() + start..self.bytes.len() + end
    }

    /// Bytes of the whole file.
    pub fn file_len(&self) -> usize {
        self.bytes.len() + self.data_len
    }
}

/// The format's name of a type.
fn dtype(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "F32",
        Precision::F16 => "F16",
        Precision::Bf16 => "BF16",
        Precision::Int8 => "I8",
    }
}

/// Whether the file at `path` is the canonical file of the parameters of this very graph, as far as its header and its length tell.
pub fn is_of(graph: &Graph, path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        Read::by_ref(&mut file).take(8).read_to_end(&mut head)?;
        let len = head.first_chunk().map_or(0, |len| u64::from_le_bytes(*len));
        Read::by_ref(&mut file).take(len.min(MAX_HEADER)).read_to_end(&mut head)?;
        file.metadata()
    });
    read.is_ok_and(|file| Header::found(graph, &head).is_some_and(|header| file.len() == header.file_len() as u64))
}

/// The weights of `graph` in `bytes`, the content of the file `origin`, when it is the canonical file of the parameters of this very graph.
/// They share its memory.
///
/// # Errors
///
/// When it is that file, but a number in it is not finite: every tensor that holds such.
pub fn open(graph: &Graph, bytes: &Bytes, origin: &str) -> Option<Result<Weights, Vec<WeightsError>>> {
    let header = Header::found(graph, bytes).filter(|header| bytes.len() == header.file_len())?;
    let params = (0..graph.params.len()).map(|index| bytes.slice(header.file_range(ParamId(index))));
    Some(Weights::checked(graph, params.collect(), origin))
}

/// Indices of `params` in the order of the data: so that every tensor begins at a multiple of its numbers' bytes.
fn sorted(params: &[Param]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..params.len()).collect();
    let place = |index: usize| (Reverse(params[index].precision().bytes()), &params[index].key);
    order.sort_by(|&a, &b| place(a).cmp(&place(b)));
    order
}

/// Writes the canonical file of `graph`'s parameters at `path`, whole or not at all. `progress` is told the bytes
/// written so far, of [`Header::file_len`].
///
/// # Panics
///
/// When `weights` were resolved for another graph.
pub fn write(path: &Path, graph: &Graph, weights: &Weights, progress: &mut dyn FnMut(u64)) -> Result<(), WeightsError> {
    atomic::write(path, |file| write_to(file, graph, weights, progress))
        .map_err(|source| WeightsError::Write { path: path.into(), source })
}

/// Writes the canonical file of `graph`'s parameters to `out`, as [`write()`] does.
///
/// # Panics
///
/// When `weights` were resolved for another graph.
pub fn write_to(
    out: &mut impl Write,
    graph: &Graph,
    weights: &Weights,
    progress: &mut dyn FnMut(u64),
) -> io::Result<()> {
    assert!(weights.fit(graph), "the weights were resolved for another graph than `{}`", graph.name);
    let mut written = 0;
    atomic::write_counted(out, &Header::of(graph).bytes, &mut written, progress)?;
    for index in sorted(&graph.params) {
        atomic::write_counted(out, weights.get(ParamId(index)), &mut written, progress)?;
    }
    match graph.preprocess.as_ref().map(|preprocess| &preprocess.mean) {
        Some(Mean::Image(Some(image))) => {
            let bytes: Vec<u8> = image.iter().flat_map(|value| value.to_le_bytes()).collect();
            atomic::write_counted(out, &bytes, &mut written, progress)?;
        }
        Some(Mean::Image(None)) => {
            let problem = "the preprocessing has a mean image, whose numbers are not at hand";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        Some(Mean::Channels(_)) | None => {}
    }
    Ok(())
}
