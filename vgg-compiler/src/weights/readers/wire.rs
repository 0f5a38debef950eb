//! The wire format of protocol buffers: numbered fields, some of them bytes that share the memory of the file.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use bytes::Bytes;

use super::cursor::Cursor;

/// The value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wire {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    /// A text, a message, packed numbers.
    Bytes(Bytes),
}

/// The fields of a message, one after the other.
pub(super) struct Fields {
    cursor: Cursor,
}

impl Fields {
    pub(super) fn new(message: Bytes) -> Self {
        Self { cursor: Cursor::new(message) }
    }

    fn field(&mut self) -> Result<(u64, Wire), String> {
        let tag = varint(&mut self.cursor)?;
        let value = match tag & 7 {
            0 => Wire::Varint(varint(&mut self.cursor)?),
            1 => Wire::Fixed64(self.cursor.array()?),
            2 => {
                let len = varint(&mut self.cursor)?;
                Wire::Bytes(self.cursor.take_long(len)?)
            }
            5 => Wire::Fixed32(self.cursor.array()?),
            kind => return Err(format!("a field of the unknown kind {kind} at byte {}", self.cursor.position())),
        };
        match tag >> 3 {
            0 => Err(format!("a field with the number 0 at byte {}", self.cursor.position())),
            number => Ok((number, value)),
        }
    }
}

impl Iterator for Fields {
    type Item = Result<(u64, Wire), String>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.cursor.remaining() > 0).then(|| {
            let field = self.field();
            if field.is_err() {
                self.cursor.skip(usize::MAX);
            }
            field
        })
    }
}

/// A number of seven bits a byte.
pub(super) fn varint(cursor: &mut Cursor) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = cursor.u8()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(format!("a number of more than ten bytes at byte {}", cursor.position()))
}
