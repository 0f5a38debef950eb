//! The directory of a ZIP archive and the records in it.
//!
//! Source: APPNOTE.TXT 6.3.10 of PKWARE. What PyTorch and Keras do not write is refused: encryption, several disks,
//! other methods than stored and deflated.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use bytes::Bytes;
use flate2::read::DeflateDecoder;

use super::budget::Budget;
use super::cursor::Cursor;
use super::problem::{Problem, printable};

/// More records than the archives of any network have.
const MAX_RECORDS: u64 = 1 << 16;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// What stands in a 32-bit field whose value is in the ZIP64 extra field.
const ELSEWHERE: u64 = 0xffff_ffff;

/// A ZIP archive.
pub(super) struct Archive {
    data: Bytes,
    records: BTreeMap<String, Record>,
}

#[derive(Clone, Copy)]
struct Record {
    method: u16,
    crc: u32,
    packed: u64,
    unpacked: u64,
    header: u64,
}

impl Archive {
    /// The archive in `data`.
    pub(super) fn open(data: Bytes) -> Result<Self, Problem> {
        let (count, offset) = directory(&data)?;
        if count > MAX_RECORDS {
            return Err(format!("its directory has {count} records, more than the {MAX_RECORDS} allowed").into());
        }
        let mut cursor = Cursor::new(data.clone());
        cursor.take_long(offset)?;
        let mut records = BTreeMap::new();
        for _ in 0..count {
            let (name, record) = entry(&mut cursor)?;
            let shown = printable(&name);
            if records.insert(name, record).is_some() {
                return Err(format!("the record `{shown}` is in it twice").into());
            }
        }
        Ok(Self { data, records })
    }

    /// The names of the records, sorted.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.records.keys().map(String::as_str)
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.records.contains_key(name)
    }

    /// The content of a record: a part of the file, or unpacked. Its checksum has been compared.
    pub(super) fn read(&self, name: &str, budget: &mut Budget) -> Result<Bytes, Problem> {
        let shown = || printable(name);
        let record = *self.records.get(name).ok_or_else(|| format!("the record `{}` is missing", shown()))?;
        let packed = self.packed(&record).map_err(|problem| format!("record `{}`: {problem}", shown()))?;
        let content = match record.method {
            STORED => {
                // Any number of records may be the same bytes.
                budget.spend(packed.len() as u64)?;
                packed
            }
            DEFLATED => {
                // The announced length is a limit as well: what exceeds it is damage.
                let decoder = DeflateDecoder::new(&packed[..]);
                Bytes::from(budget.unpack(std::io::Read::take(decoder, record.unpacked.saturating_add(1)))?)
            }
            method => return Err(format!("record `{}` is packed by the unknown method {method}", shown()).into()),
        };
        if content.len() as u64 != record.unpacked {
            return Err(
                format!("record `{}` announces {} bytes, but has {}", shown(), record.unpacked, content.len()).into()
            );
        }
        let mut crc = flate2::Crc::new();
        crc.update(&content);
        if crc.sum() != record.crc {
            return Err(format!("the checksum of record `{}` does not match: it is damaged", shown()).into());
        }
        Ok(content)
    }

    fn packed(&self, record: &Record) -> Result<Bytes, String> {
        let mut cursor = Cursor::new(self.data.clone());
        cursor.take_long(record.header)?;
        if cursor.array()? != *b"PK\x03\x04" {
            return Err("the directory does not point to it".into());
        }
        cursor.take(22)?;
        let (name, extra) = (cursor.u16()?, cursor.u16()?);
        cursor.take(usize::from(name) + usize::from(extra))?;
        cursor.take_long(record.packed)
    }
}

/// The number of records and the place of the directory.
fn directory(data: &Bytes) -> Result<(u64, u64), Problem> {
    const END: usize = 22;
    let from = data.len().saturating_sub(END + usize::from(u16::MAX));
    let tail = data.get(from..).unwrap_or_default();
    let at = tail
        .windows(4)
        .rposition(|window| window == b"PK\x05\x06")
        .ok_or_else(|| Problem::from("it has no directory at its end: it is cut off or damaged"))?;
    let mut cursor = Cursor::new(data.slice(from + at..));
    cursor.take(4)?;
    let (disk, first) = (cursor.u16()?, cursor.u16()?);
    if (disk, first) != (0, 0) && (disk, first) != (u16::MAX, u16::MAX) {
        return Err("it is one of several parts of an archive".into());
    }
    cursor.u16()?;
    let count = u64::from(cursor.u16()?);
    cursor.u32()?;
    let offset = u64::from(cursor.u32()?);
    let comment = cursor.u16()?;
    cursor.take(comment.into())?;
    if count != u64::from(u16::MAX) && offset != ELSEWHERE {
        return Ok((count, offset));
    }
    // The locator of the ZIP64 record stands directly before.
    let locator = (from + at).checked_sub(20).ok_or("its ZIP64 directory is missing")?;
    let mut cursor = Cursor::new(data.slice(locator..));
    if cursor.array()? != *b"PK\x06\x07" {
        // A small archive may hold these very numbers.
        return Ok((count, offset));
    }
    cursor.u32()?;
    let record = cursor.u64()?;
    let mut cursor = Cursor::new(data.clone());
    cursor.take_long(record)?;
    if cursor.array()? != *b"PK\x06\x06" {
        return Err("its ZIP64 directory is missing".into());
    }
    cursor.take(28)?;
    let count = cursor.u64()?;
    cursor.u64()?;
    Ok((count, cursor.u64()?))
}

/// One record of the directory.
fn entry(cursor: &mut Cursor) -> Result<(String, Record), Problem> {
    if cursor.array()? != *b"PK\x01\x02" {
        return Err("its directory is damaged".into());
    }
    cursor.take(4)?;
    let flags = cursor.u16()?;
    let method = cursor.u16()?;
    cursor.u32()?;
    let crc = cursor.u32()?;
    let (packed, unpacked) = (cursor.u32()?, cursor.u32()?);
    let (name_len, extra_len, comment_len) = (cursor.u16()?, cursor.u16()?, cursor.u16()?);
    cursor.take(8)?;
    let header = cursor.u32()?;
    let name = String::from_utf8_lossy(&cursor.take(name_len.into())?).into_owned();
    let mut extra = Cursor::new(cursor.take(extra_len.into())?);
    cursor.take(comment_len.into())?;
    if flags & 1 != 0 {
        return Err(format!("the record `{}` is encrypted", printable(&name)).into());
    }
    let [mut unpacked, mut packed, mut header] = [unpacked, packed, header].map(u64::from);
    while extra.remaining() >= 4 {
        let (kind, len) = (extra.u16()?, extra.u16()?);
        let mut field = Cursor::new(extra.take(usize::from(len).min(extra.remaining()))?);
        if kind == 1 {
            for value in [&mut unpacked, &mut packed, &mut header] {
                if *value == ELSEWHERE {
                    *value = field.u64()?;
                }
            }
        }
    }
    Ok((name, Record { method, crc, packed, unpacked, header }))
}
