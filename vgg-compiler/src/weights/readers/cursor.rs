//! Reading bytes of a file from front to back, never beyond their end.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use bytes::Bytes;

/// A place in bytes.
pub(super) struct Cursor {
    data: Bytes,
    at: usize,
}

impl Cursor {
    pub(super) fn new(data: Bytes) -> Self {
        Self { data, at: 0 }
    }

    /// Bytes before the place.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Bytes behind the place.
    pub(super) fn remaining(&self) -> usize {
        self.data.len().saturating_sub(self.at)
    }

    /// The next `count` bytes, which share the memory of the file.
    pub(super) fn take(&mut self, count: usize) -> Result<Bytes, String> {
        if count > self.remaining() {
            return Err(format!(
                "{count} bytes are announced at byte {}, but {} follow: it is cut off or damaged",
                self.at,
                self.remaining()
            ));
        }
        let taken = self.data.slice(self.at..self.at + count);
        self.at += count;
        Ok(taken)
    }

    /// As [`Cursor::take`], for a length of a file.
    pub(super) fn take_long(&mut self, count: u64) -> Result<Bytes, String> {
        // What does not fit in memory is not there either.
        self.take(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Passes over `count` bytes, or over all that are left.
    pub(super) fn skip(&mut self, count: usize) {
        self.at += count.min(self.remaining());
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let bytes = self.take(N)?;
        <[u8; N]>::try_from(&bytes[..]).map_err(|_| "it is cut off".to_owned())
    }

    pub(super) fn u8(&mut self) -> Result<u8, String> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, String> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.array()?))
    }
}
