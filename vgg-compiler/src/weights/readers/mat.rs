//! MATLAB files of version 5: arrays of numbers, cells and structures, each on its own or compressed.
//!
//! Source: "MAT-File Format" of The MathWorks, chapter 1.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::Read;

use bytes::Bytes;
use flate2::read::ZlibDecoder;

use super::budget::Budget;
use super::cursor::Cursor;
use super::problem::{Problem, printable};
use crate::weights::view::{ElementType, View};

/// Cells in structures in cells: MatConvNet has six levels.
const MAX_DEPTH: usize = 24;
/// More arrays than any network has; the names of a thousand classes are among them.
const MAX_ARRAYS: usize = 1 << 18;
/// More axes than any array of a network has.
const MAX_AXES: usize = 8;

const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;

/// An array.
#[derive(Debug, Clone)]
pub(super) enum Array {
    /// Numbers, with their extents and the first axis densest.
    Numbers(View),
    Text(String),
    /// Arrays, in MATLAB's order.
    Cell(Vec<Array>),
    /// The fields of each structure, by their names.
    Struct(Vec<Vec<(String, Array)>>),
    /// What weights are not made of: sparse arrays, objects, functions.
    Other,
}

impl Array {
    /// A field of a single structure.
    pub(super) fn field(&self, name: &str) -> Option<&Array> {
        match self {
            Self::Struct(elements) => match elements.as_slice() {
                [fields] => fields.iter().find(|(found, _)| found == name).map(|(_, value)| value),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn numbers(&self) -> Option<&View> {
        match self {
            Self::Numbers(view) => Some(view),
            _ => None,
        }
    }
}

/// The variables of the file `data` that are `wanted` by their names; of the others no more is unpacked than the name.
pub(super) fn read(
    data: Bytes,
    wanted: impl Fn(&str) -> bool,
    budget: &mut Budget,
) -> Result<Vec<(String, Array)>, Problem> {
    let mut cursor = Cursor::new(data);
    let header = cursor.take(128)?;
    match header.get(124..) {
        Some(b"\x00\x01IM") => {}
        Some(b"\x01\x00MI") => {
            return Err(Problem::new("its numbers are big-endian", "save it again on a machine of today"));
        }
        _ => return Err("its header does not name version 5 of the format".into()),
    }
    let mut reader = Reader { arrays: 0 };
    let mut variables = Vec::new();
    while cursor.remaining() > 0 {
        let (kind, content) = element(&mut cursor)?;
        let content = match kind {
            MATRIX => content,
            COMPRESSED => {
                let mut packed = ZlibDecoder::new(&content[..]);
                let mut head = Vec::new();
                // What is damaged is found by who unpacks the rest.
                let readable = packed.by_ref().take(HEAD).read_to_end(&mut head).is_ok();
                if readable && name(head.get(8..).unwrap_or_default()).is_some_and(|name| !wanted(&name)) {
                    continue;
                }
                let whole = budget.unpack(ZlibDecoder::new(&content[..]))?;
                match element(&mut Cursor::new(whole.into()))? {
                    (MATRIX, content) => content,
                    (kind, _) => return Err(format!("a compressed element of type {kind}, expected an array").into()),
                }
            }
            kind => return Err(format!("an element of type {kind}, expected an array").into()),
        };
        if name(&content).is_none_or(|name| wanted(&name)) {
            variables.push(reader.array(content, 0)?);
        }
    }
    Ok(variables)
}

/// Bytes of an array that hold its name: four tags, the flags, the extents, and 63 characters.
const HEAD: u64 = 256;

/// The name of an array, when it has the parts of one of numbers, texts, cells or structures.
fn name(content: &[u8]) -> Option<String> {
    let mut cursor = Cursor::new(Bytes::copy_from_slice(content.get(..HEAD as usize).unwrap_or(content)));
    let (_flags, _extents, (_, name)) = (element(&mut cursor), element(&mut cursor), element(&mut cursor).ok()?);
    Some(String::from_utf8_lossy(&name).into_owned())
}

/// An element: its type and its content. What fills it up to eight bytes is passed over.
fn element(cursor: &mut Cursor) -> Result<(u32, Bytes), String> {
    let tag = cursor.u32()?;
    // Up to four bytes stand in the tag itself, whose upper half is their number.
    if tag >> 16 != 0 {
        let content = cursor.take(4)?;
        let len = (tag >> 16) as usize;
        if len > 4 {
            return Err(format!("a small element of {len} bytes"));
        }
        return Ok((tag & 0xffff, content.slice(..len)));
    }
    let len = cursor.u32()?;
    let content = cursor.take_long(len.into())?;
    // Compressed elements are not filled up.
    if tag != COMPRESSED {
        cursor.skip((8 - len as usize % 8) % 8);
    }
    Ok((tag, content))
}

struct Reader {
    arrays: usize,
}

impl Reader {
    /// The name and the value of an array.
    fn array(&mut self, content: Bytes, depth: usize) -> Result<(String, Array), Problem> {
        self.arrays += 1;
        if self.arrays > MAX_ARRAYS || depth > MAX_DEPTH {
            return Err(format!("more than {MAX_ARRAYS} arrays, or more than {MAX_DEPTH} in each other").into());
        }
        if content.is_empty() {
            // An empty array may be written without anything.
            return Ok((String::new(), Array::Other));
        }
        let mut cursor = Cursor::new(content);
        let (_, flags) = element(&mut cursor)?;
        let Some(&[class, flags, ..]) = flags.first_chunk::<8>() else { return Err("an array without flags".into()) };
        // Objects and functions have other parts.
        if !(1..=15).contains(&class) || matches!(class, 3 | 5) {
            return Ok((String::new(), Array::Other));
        }
        let (_, dims) = element(&mut cursor)?;
        let dims = dims.as_chunks().0.iter().map(|&extent| usize::try_from(i32::from_le_bytes(extent)));
        let dims = dims.collect::<Result<Vec<usize>, _>>().map_err(|_| "an array with a negative extent")?;
        if dims.len() > MAX_AXES {
            return Err(format!("an array of {} axes, more than the {MAX_AXES} allowed", dims.len()).into());
        }
        let count = dims.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
        let count = count.ok_or_else(|| format!("an array of the extents {dims:?}, too large to address"))?;
        let (_, name) = element(&mut cursor)?;
        let name = String::from_utf8_lossy(&name).into_owned();
        let value = match class {
            1 => Array::Cell(self.arrays(&mut cursor, count, depth)?),
            2 => self.structures(&mut cursor, count, depth)?,
            4 => Array::Text(characters(element(&mut cursor)?)),
            // Complex numbers have a second part, which weights do not.
            _ if flags & 0x08 != 0 => Array::Other,
            _ => {
                let (kind, data) = element(&mut cursor)?;
                let view = numbers(kind, class, dims, data)
                    .map_err(|problem| Problem::from(format!("array `{}`: {problem}", printable(&name))))?;
                Array::Numbers(view)
            }
        };
        Ok((name, value))
    }

    fn arrays(&mut self, cursor: &mut Cursor, count: usize, depth: usize) -> Result<Vec<Array>, Problem> {
        // An array has eight bytes at least.
        if count > cursor.remaining() / 8 {
            return Err(format!("{count} arrays are announced, more than its {} bytes hold", cursor.remaining()).into());
        }
        (0..count)
            .map(|_| match element(cursor)? {
                (MATRIX, content) => self.array(content, depth + 1).map(|(_, array)| array),
                (kind, _) => Err(format!("an element of type {kind}, expected an array").into()),
            })
            .collect()
    }

    fn structures(&mut self, cursor: &mut Cursor, count: usize, depth: usize) -> Result<Array, Problem> {
        let (_, width) = element(cursor)?;
        let width = width.first_chunk().map_or(0, |&width| i32::from_le_bytes(width));
        // MATLAB's names have 63 characters at most, and a zero.
        let width = usize::try_from(width)
            .ok()
            .filter(|width| (1..=64).contains(width))
            .ok_or("a structure whose names of fields have no length, or more than 64 bytes")?;
        let (_, names) = element(cursor)?;
        let names: Vec<String> = names
            .chunks_exact(width)
            .map(|name| {
                let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
                String::from_utf8_lossy(name.get(..end).unwrap_or_default()).into_owned()
            })
            .collect();
        if names.is_empty() {
            // Without fields their number is not bounded by the file.
            return Ok(Array::Struct(Vec::new()));
        }
        let values = self.arrays(cursor, count.saturating_mul(names.len()), depth)?;
        let mut values = values.into_iter();
        let mut elements = Vec::new();
        while values.len() > 0 {
            elements.push(names.iter().cloned().zip(values.by_ref()).collect());
        }
        Ok(Array::Struct(elements))
    }
}

/// Numbers of a class that may be stored in a smaller type.
fn numbers(kind: u32, class: u8, dims: Vec<usize>, data: Bytes) -> Result<View, String> {
    let stored = match kind {
        7 => ElementType::F32,
        9 => ElementType::F64,
        1 | 2 => ElementType::Int(1),
        3 | 4 => ElementType::Int(2),
        5 | 6 => ElementType::Int(4),
        12 | 13 => ElementType::Int(8),
        kind => return Err(format!("numbers of the unknown type {kind}")),
    };
    let view = View::column_major(stored, dims, data)?;
    // The classes double and single: whole numbers are stored as integers to save room.
    match (class, stored) {
        (6 | 7, ElementType::Int(_)) => Ok(view.widened(matches!(kind, 2 | 4 | 6))),
        _ => Ok(view),
    }
}

fn characters((kind, data): (u32, Bytes)) -> String {
    // UTF-8 or bytes, or UTF-16.
    match kind {
        4 | 17 => {
            let units: Vec<u16> = data.as_chunks().0.iter().map(|&unit| u16::from_le_bytes(unit)).collect();
            String::from_utf16_lossy(&units)
        }
        _ => String::from_utf8_lossy(&data).into_owned(),
    }
}
