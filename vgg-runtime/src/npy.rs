//! NumPy's `.npy` files of little-endian f32 in C order
//! ([the format](https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html), versions 1.0 to 3.0).

use std::borrow::ToOwned;
use std::format;
use std::path::Path;
use std::string::String;
use std::vec::Vec;

use crate::Error;
use crate::files;

const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads the shape and the values of an array.
///
/// # Errors
/// When the file cannot be read, or is not an `.npy` file of little-endian f32 in C order. The message says what it is instead.
pub fn read_f32(path: &Path) -> Result<(Vec<usize>, Vec<f32>), Error> {
    let bytes = crate::read_file(path)?;
    parse(&bytes).map_err(|reason| Error::Format { path: path.into(), reason })
}

/// Writes an array of this shape: whole, or not at all.
///
/// # Errors
/// When the file cannot be written.
///
/// # Panics
/// When `data` does not have as many values as `shape` says.
pub fn write_f32(path: &Path, shape: &[usize], data: &[f32]) -> Result<(), Error> {
    assert_eq!(data.len(), shape.iter().product::<usize>(), "npy: the values do not fill the shape {shape:?}");
    files::replace(path, |file| {
        file.write_all(&header(shape))?;
        let mut bytes = Vec::with_capacity(4 * 4096);
        for values in data.chunks(4096) {
            bytes.clear();
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            file.write_all(&bytes)?;
        }
        Ok(())
    })
}

/// Everything before the values, padded so that they start at a multiple of 64 bytes.
fn header(shape: &[usize]) -> Vec<u8> {
    let extents: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
    // A tuple of one keeps its comma.
    let extents = if shape.len() == 1 { extents.trim_end() } else { extents.trim_end_matches(", ") };
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({extents}), }}");
    let unpadded = MAGIC.len() + 4 + text.len() + 1;
    text.extend(std::iter::repeat_n(' ', unpadded.next_multiple_of(64) - unpadded));
    text.push('\n');
    let mut bytes = MAGIC.to_owned();
    bytes.extend([1, 0]);
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

fn parse(bytes: &[u8]) -> Result<(Vec<usize>, Vec<f32>), String> {
    let short = || "is cut short inside its header".to_owned();
    let rest = bytes.strip_prefix(MAGIC).ok_or("is not an .npy file: it does not start with \\x93NUMPY")?;
    let ([major, minor], rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
    let (len, rest) = match (major, minor) {
        (1, 0) => rest.split_first_chunk().map(|(len, rest)| (usize::from(u16::from_le_bytes(*len)), rest)),
        (2 | 3, 0) => rest.split_first_chunk().map(|(len, rest)| (u32::from_le_bytes(*len) as usize, rest)),
        _ => return Err(format!("has .npy format version {major}.{minor} where 1.0, 2.0 or 3.0 was expected")),
    }
    .ok_or_else(short)?;
    let (text, data) = rest.split_at_checked(len).ok_or_else(short)?;
    let text = core::str::from_utf8(text).map_err(|_| "has a header that is not text")?;
    let header = Header::parse(text).ok_or_else(|| {
        format!("has the header `{}` where a dictionary of descr, fortran_order and shape was expected", text.trim())
    })?;
    if header.descr != "<f4" {
        let descr = header.descr;
        return Err(format!(
            "holds values of dtype `{descr}` where little-endian f32 (`<f4`) was expected; save array.astype('<f4')"
        ));
    }
    if header.fortran_order {
        return Err("is in Fortran order where C order was expected; save numpy.ascontiguousarray(array)".into());
    }
    let count = header.shape.iter().try_fold(4usize, |bytes, &extent| bytes.checked_mul(extent));
    if count != Some(data.len()) {
        return Err(format!(
            "has {} bytes of values where the shape {:?} of f32 was expected; the file is cut short or damaged",
            data.len(),
            header.shape
        ));
    }
    let (values, _) = data.as_chunks::<4>();
    Ok((header.shape, values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()))
}

/// The dictionary in the header, a Python literal.
struct Header<'a> {
    descr: &'a str,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl<'a> Header<'a> {
    /// `None` when the text is anything but the three entries, in any order.
    fn parse(text: &'a str) -> Option<Self> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
        while !rest.is_empty() {
            let (key, after) = quoted(rest)?;
            let value = after.trim_start().strip_prefix(':')?.trim_start();
            let after = match key {
                "descr" => {
                    // Structured types are lists: reported with their text.
                    let (value, after) =
                        quoted(value).or_else(|| value.split_once(", 'fortran_order'").map(|(v, _)| (v, "")))?;
                    descr = Some(value);
                    after
                }
                "fortran_order" => {
                    let after = value.strip_prefix("True").or_else(|| value.strip_prefix("False"))?;
                    fortran_order = Some(value.starts_with("True"));
                    after
                }
                "shape" => {
                    let (extents, after) = value.strip_prefix('(')?.split_once(')')?;
                    let extents = extents.trim();
                    let extents = extents.strip_suffix(',').unwrap_or(extents);
                    shape = Some(if extents.is_empty() {
                        Vec::new()
                    } else {
                        extents.split(',').map(|extent| extent.trim().parse().ok()).collect::<Option<_>>()?
                    });
                    after
                }
                _ => return None,
            };
            rest = after.trim_start();
            rest = match rest.strip_prefix(',') {
                Some(after) => after.trim_start(),
                None if rest.is_empty() => rest,
                None => return None,
            };
        }
        Some(Self { descr: descr?, fortran_order: fortran_order.unwrap_or(false), shape: shape.unwrap_or_default() })
    }
}

/// A string in single or double quotes at the start of `text`, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    match text.strip_prefix('\'') {
        Some(text) => text.split_once('\''),
        None => text.strip_prefix('"')?.split_once('"'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u8, header: &str, data: &[f32]) -> Vec<u8> {
        let mut bytes = MAGIC.to_owned();
        bytes.extend([version, 0]);
        if version == 1 {
            bytes.extend((header.len() as u16).to_le_bytes());
        } else {
            bytes.extend((header.len() as u32).to_le_bytes());
        }
        bytes.extend(header.as_bytes());
        bytes.extend(data.iter().flat_map(|value| value.to_le_bytes()));
        bytes
    }

    #[test]
    fn what_is_written_is_read_back() {
        let directory = std::env::temp_dir().join(format!("vgg-npy-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        for shape in [&[2usize, 3][..], &[6], &[], &[1, 0, 4], &[1, 3, 2, 2]] {
            let data: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| i as f32 - 0.5).collect();
            let path = directory.join("array.npy");
            write_f32(&path, shape, &data).unwrap();
            assert_eq!(read_f32(&path).unwrap(), (shape.to_vec(), data), "{shape:?}");
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!((bytes.len() - shape.iter().product::<usize>() * 4) % 64, 0, "values start at a multiple of 64");
        }
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1, "no temporary file is left");
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn every_version_and_spelling_of_the_header_is_read() {
        for version in 1..=3 {
            for text in [
                "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }   \n",
                "{\"shape\":(2,),\"fortran_order\":False,\"descr\":\"<f4\"}\n",
            ] {
                assert_eq!(parse(&file(version, text, &[1.0, -2.0])).unwrap(), (vec![2], vec![1.0, -2.0]), "{text}");
            }
        }
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
        let cases = [
            (b"PK\x03\x04".to_vec(), "is not an .npy file"),
            (file(9, good, &[1.0, 2.0]), "version 9.0"),
            (file(1, &good.replace("<f4", "<f8"), &[1.0, 2.0]), "dtype `<f8`"),
            (file(1, &good.replace("'<f4'", "[('a', '<f4')]"), &[1.0, 2.0]), "dtype `[('a', '<f4')]`"),
            (file(1, &good.replace("False", "True"), &[1.0, 2.0]), "Fortran order"),
            (file(1, &good.replace("(2,)", "(3,)"), &[1.0, 2.0]), "8 bytes of values where the shape [3]"),
            (file(1, &good.replace("(2,)", "(4611686018427387904, 2)"), &[]), "0 bytes of values"),
            (file(1, &good.replace("(2,)", "(-2,)"), &[1.0, 2.0]), "has the header"),
            (file(1, &good.replace("shape", "size"), &[1.0, 2.0]), "has the header"),
            (file(1, good, &[1.0]), "4 bytes of values"),
            (file(1, good, &[])[..20].to_vec(), "cut short inside its header"),
        ];
        for (bytes, expected) in cases {
            let reason = parse(&bytes).unwrap_err();
            assert!(reason.contains(expected), "`{reason}` does not say `{expected}`");
        }
    }

    #[test]
    fn no_prefix_of_a_file_panics() {
        let bytes = file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", &[1.0, 2.0]);
        for len in 0..bytes.len() {
            assert!(parse(&bytes[..len]).is_err(), "the first {len} bytes were read");
        }
    }
}
