//! The writer of ONNX models.

use std::path::Path;

use super::error::ExportError;
use super::model::model;
use super::options::ExportOptions;
use super::pieces::{self, Piece};
use crate::atomic;
use crate::ir::TypedGraph;
use crate::weights::{Header, Weights};

/// The bytes of the model of `graph`, with gaps where the weights belong. There are none when the options name an
/// external weights file; `header` is that of the canonical weights file of `graph`.
pub fn pieces(graph: &TypedGraph, header: &Header, options: &ExportOptions) -> Result<Vec<Piece>, ExportError> {
    let message = model(graph, header, options)?;
    let lens: Vec<usize> = match options.external {
        Some(_) => Vec::new(),
        None => graph.params.iter().map(|param| param.bytes()).collect(),
    };
    let pieces = pieces::pieces(message, &lens);
    let bytes = pieces.iter().map(|piece| match piece {
        Piece::Bytes(bytes) => bytes.len() as u64,
        Piece::Param(param) => lens[param.0] as u64,
    });
    match bytes.sum() {
        bytes if bytes <= i32::MAX as u64 => Ok(pieces),
        bytes => Err(ExportError::TooLarge { bytes }),
    }
}

/// The whole model of `graph` without its weights, for which it points into the file that `options.external` names: the
/// canonical weights file, whose header is `header`.
pub fn graph_bytes(graph: &TypedGraph, header: &Header, options: &ExportOptions) -> Result<Vec<u8>, ExportError> {
    if options.external.is_none() {
        return Err(ExportError::NoExternal);
    }
    let mut all = Vec::new();
    for piece in pieces(graph, header, options)? {
        if let Piece::Bytes(bytes) = piece {
            all.extend_from_slice(&bytes);
        }
    }
    Ok(all)
}

/// Writes the model of `graph` with `weights` at `path`, whole or not at all. `progress` is told the bytes written so
/// far.
///
/// With an external weights file only the model is written: that file is [`crate::weights::canonical::write`]'s, and
/// should be written first.
///
/// # Panics
///
/// When `weights` were resolved for another graph.
pub fn write_model(
    path: &Path,
    graph: &TypedGraph,
    weights: &Weights,
    options: &ExportOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<(), ExportError> {
    assert!(weights.fit(graph), "the weights were resolved for another graph than `{}`", graph.name);
    let pieces = pieces(graph, &Header::of(graph), options)?;
    let written = atomic::write(path, |file| {
        let mut written = 0;
        for piece in &pieces {
            let bytes = match piece {
                Piece::Bytes(bytes) => &bytes[..],
                Piece::Param(param) => weights.get(*param),
            };
            atomic::write_counted(file, bytes, &mut written, progress)?;
        }
        Ok(())
    });
    written.map_err(|source| ExportError::Io { path: path.into(), source })
}
