//! A node's attributes and its name for messages.

use super::error::{Refusal, printable};
use crate::onnx::messages::{AttributeProto, NodeProto};

/// A node of the file.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    pub(super) proto: &'a NodeProto,
    /// The version of the standard operators.
    pub(super) opset: i64,
}

impl<'a> Node<'a> {
    pub(super) fn op_type(self) -> &'a str {
        self.proto.op_type.as_deref().unwrap_or_default()
    }

    /// Operator and name, for messages.
    pub(super) fn shown(self) -> String {
        let name = self.proto.name.as_deref().filter(|name| !name.is_empty());
        match name.or_else(|| self.proto.output.first().map(String::as_str)) {
            Some(name) => format!("{} at node `{}`", printable(self.op_type()), printable(name)),
            None => format!("{} without an output", printable(self.op_type())),
        }
    }

    /// This node is outside of what is compiled.
    pub(super) fn unsupported(self, why: impl std::fmt::Display) -> Refusal {
        Refusal::unsupported(format!("{}: {why}", self.shown()))
    }

    /// This node is outside of what is compiled, and there is something to do about it.
    pub(super) fn refused(self, why: impl std::fmt::Display, help: impl Into<String>) -> Refusal {
        Refusal::new(format!("{}: {why}", self.shown()), help)
    }

    /// This node breaks ONNX's rules.
    pub(super) fn damaged(self, why: impl std::fmt::Display) -> Refusal {
        Refusal::damaged(format!("{}: {why}", self.shown()))
    }

    /// Refuses Dropout that drops.
    pub(super) fn not_training(self) -> Result<(), Refusal> {
        // Up to opset 6, and in files of that time, `is_test` says the same.
        if self.int("training_mode", 0) != 0 {
            return Err(self.unsupported("training_mode is 1, expected 0"));
        }
        Ok(())
    }

    pub(super) fn attribute(self, name: &str) -> Option<&'a AttributeProto> {
        self.proto.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
    }

    /// Bounds of numbers: the attribute, or none.
    pub(super) fn real(self, name: &str) -> Option<f32> {
        self.attribute(name).and_then(|attribute| attribute.f)
    }

    pub(super) fn int(self, name: &str, default: i64) -> i64 {
        self.attribute(name).and_then(|attribute| attribute.i).unwrap_or(default)
    }

    pub(super) fn float(self, name: &str, default: f32) -> f32 {
        self.attribute(name).and_then(|attribute| attribute.f).unwrap_or(default)
    }

    pub(super) fn text(self, name: &str, default: &'static str) -> String {
        let bytes = self.attribute(name).and_then(|attribute| attribute.s.as_ref());
        bytes.map_or_else(|| default.to_owned(), |bytes| printable(&String::from_utf8_lossy(bytes)))
    }

    pub(super) fn ints(self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    /// `N` whole numbers that are not negative, or `default` when the attribute is absent.
    pub(super) fn extents<const N: usize>(self, name: &str, default: [usize; N]) -> Result<[usize; N], Refusal> {
        let Some(ints) = self.ints(name).filter(|ints| !ints.is_empty()) else { return Ok(default) };
        let extents: Option<Vec<usize>> =
            ints.iter().map(|&int| usize::try_from(int).ok().filter(|&int| int <= 1 << 20)).collect();
        extents
            .and_then(|extents| extents.try_into().ok())
            .ok_or_else(|| self.unsupported(format_args!("`{name}` is {ints:?}, expected {N} numbers from 0 on")))
    }
}
