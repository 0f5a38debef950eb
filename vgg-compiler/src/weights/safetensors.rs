//! The reader of .safetensors files.
//!
//! The format and most of its checks are the `safetensors` crate's: no gap, no overlap, no length that the file has
//! not. Beyond them this reader refuses what parsers disagree about (keys that occur twice, entries with fields that
//! nobody knows) and says which tensor is meant.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::marker::PhantomData;
use std::path::Path;

use ::safetensors::{SafeTensorError, SafeTensors};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::error::WeightsError;
use super::magic::foreign;
use super::tensors::Tensors;
use super::view::{ElementType, SourceTensor, View};

/// The longest header. Parsed, a header takes a few times its length; those of the family have about three thousand
/// bytes.
pub(super) const MAX_HEADER: u64 = 16 << 20;

/// The longest key. Torchvision's have about twenty bytes.
pub(super) const MAX_KEY: usize = 1024;

/// Reads the tensors of the file at `path` into memory once.
pub fn read(path: &Path) -> Result<Tensors, WeightsError> {
    parse(bytes(path)?, path)
}

/// The content of the file at `path`.
pub(super) fn bytes(path: &Path) -> Result<Bytes, WeightsError> {
    let io = |source| WeightsError::Read { path: path.into(), source };
    let kind = fs::metadata(path).map_err(io)?;
    if !kind.is_file() {
        let found = if kind.is_dir() { "a directory" } else { "something else" };
        return Err(WeightsError::NotAFile { path: path.into(), found });
    }
    Ok(read_whole(path, kind.len()).map_err(io)?.into())
}

fn read_whole(path: &Path, len: u64) -> io::Result<Vec<u8>> {
    let capacity = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(capacity)?;
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The tensors in `bytes`, the content of the file at `path`. Those of f32 share its memory; f16, bf16 and f64 are converted.
///
/// PyTorch's counters `*.num_batches_tracked` are passed over.
pub fn parse(bytes: Bytes, path: &Path) -> Result<Tensors, WeightsError> {
    let tensors = scan(&bytes, path)?;
    Ok(tensors
        .into_iter()
        .filter(|tensor| tensor.view.element().is_float())
        .map(|SourceTensor { name, view }| (name, view.to_tensor()))
        .collect())
}

/// The tensors in `bytes` as they are stored, in the order of their bytes; counters are among them.
pub(super) fn scan(bytes: &Bytes, path: &Path) -> Result<Vec<SourceTensor>, WeightsError> {
    let malformed = |problem: String| WeightsError::Malformed { path: path.into(), problem };
    let json = header(bytes).map_err(|problem| match foreign(bytes) {
        Some((found, help)) => WeightsError::Format { path: path.into(), found, help },
        None => malformed(problem),
    })?;
    let entries: Entries =
        serde_json::from_slice(json).map_err(|error| malformed(printable(&format!("its header: {error}"))))?;
    entries.0.iter().try_for_each(|(key, _)| check_key(key)).map_err(malformed)?;
    let foreign = entries.0.iter().filter(|(key, entry)| element(key, entry).is_none());
    if let Some((key, entry)) = foreign.min_by_key(|(key, _)| key) {
        let (path, dtype) = (path.into(), printable(&entry.dtype));
        return Err(WeightsError::Dtype { path, key: key.clone(), dtype });
    }
    entries.0.iter().try_for_each(|(key, entry)| check_bytes(key, entry)).map_err(malformed)?;
    let file = SafeTensors::deserialize(bytes).map_err(|error| malformed(explain(&error, &entries, bytes)))?;
    let elements: BTreeMap<&str, ElementType> =
        entries.0.iter().filter_map(|(key, entry)| Some((key.as_str(), element(key, entry)?))).collect();
    file.iter()
        .map(|(key, found)| {
            let element = elements.get(key).copied().unwrap_or(ElementType::F32);
            let view = View::new(element, found.shape().to_vec(), bytes.slice_ref(found.data()));
            let view = view.map_err(|problem| malformed(format!("tensor `{key}`: {problem}")))?;
            Ok(SourceTensor { name: key.to_owned(), view })
        })
        .collect()
}

/// The JSON of the header, or what is wrong with its frame.
fn header(bytes: &[u8]) -> Result<&[u8], String> {
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return Err(format!("it has {} bytes, not even the 8 of the header's length", bytes.len()));
    };
    let length = u64::from_le_bytes(*length);
    let available = rest.len();
    let json = usize::try_from(length).ok().and_then(|length| rest.get(..length)).ok_or_else(|| {
        format!("its header should have {length} bytes, but {available} follow: the file is cut off or not safetensors")
    })?;
    if length > MAX_HEADER {
        return Err(format!("its header has {length} bytes, more than the {MAX_HEADER} allowed"));
    }
    match json.first() {
        Some(b'{') => Ok(json),
        _ => Err("its header does not begin with `{`".into()),
    }
}

/// The entry of a tensor.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// The type of a tensor's elements, none for types that are refused.
fn element(key: &str, entry: &Entry) -> Option<ElementType> {
    match entry.dtype.as_str() {
        "F16" => Some(ElementType::F16),
        "BF16" => Some(ElementType::Bf16),
        "F32" => Some(ElementType::F32),
        "F64" => Some(ElementType::F64),
        // PyTorch's batch normalisation counts the batches of the training.
        "I64" if key.ends_with(".num_batches_tracked") => Some(ElementType::Int(8)),
        _ => None,
    }
}

/// `text` from a file with nothing in it that a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// What is wrong with a key.
fn check_key(key: &str) -> Result<(), String> {
    if key.len() > MAX_KEY {
        return Err(format!("a key of {} bytes, more than the {MAX_KEY} allowed", key.len()));
    }
    if key.chars().any(char::is_control) {
        return Err(format!("the key `{}` holds control characters", key.escape_debug()));
    }
    Ok(())
}

/// What is wrong with the bytes that a tensor claims, compared with its shape.
fn check_bytes(name: &str, entry: &Entry) -> Result<(), String> {
    let (begin, end) = entry.data_offsets;
    let claimed = end
        .checked_sub(begin)
        .ok_or_else(|| format!("tensor `{name}` ends at byte {end}, before it begins at {begin}"))?;
    let width = element(name, entry).map_or(0, |element| element.width() as u64);
    let needed = entry.shape.iter().try_fold(width, |product, &extent| product.checked_mul(extent));
    match needed {
        Some(needed) if needed == claimed => Ok(()),
        Some(needed) => {
            Err(format!("tensor `{name}` of shape {:?} needs {needed} bytes, but claims {claimed}", entry.shape))
        }
        None => Err(format!("tensor `{name}` of shape {:?} is too large to address", entry.shape)),
    }
}

/// The tensors of a header, in the order in which it lists them.
struct Entries(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tensors;

        impl<'de> Visitor<'de> for Tensors {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tensors by key")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut seen = BTreeSet::new();
                let mut entries = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    if !seen.insert(key.clone()) {
                        return Err(de::Error::custom(format!("`{}` is declared twice", key.escape_debug())));
                    }
                    if key == "__metadata__" {
                        map.next_value::<Distinct<String>>()?;
                    } else {
                        let entry = map
                            .next_value()
                            .map_err(|error| de::Error::custom(format!("tensor `{}`: {error}", key.escape_debug())))?;
                        entries.push((key, entry));
                    }
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Tensors)
    }
}

/// A map of distinct keys to values of type `V`, which are only looked at.
struct Distinct<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Distinct<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Distinct(PhantomData))
    }
}

impl<'de, V: Deserialize<'de>> Visitor<'de> for Distinct<V> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("texts by key")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            map.next_value::<V>()?;
            if let Some(key) = seen.replace(key) {
                return Err(de::Error::custom(format!("`{}` is declared twice", key.escape_debug())));
            }
        }
        Ok(self)
    }
}

/// What the `safetensors` crate found, in words that say which tensor and which bytes are meant.
fn explain(error: &SafeTensorError, entries: &Entries, bytes: &[u8]) -> String {
    match error {
        SafeTensorError::InvalidOffset(key) => {
            let offsets = entries.0.iter().find(|(name, _)| name == key).map(|(_, entry)| entry.data_offsets);
            let (begin, end) = offsets.unwrap_or_default();
            format!(
                "tensor `{key}` claims bytes {begin} to {end} of the data, which overlap another tensor's or leave a gap"
            )
        }
        SafeTensorError::MetadataIncompleteBuffer => {
            let claimed = entries.0.iter().map(|(_, entry)| entry.data_offsets.1).max().unwrap_or(0);
            let available = header(bytes).map_or(0, |json| bytes.len() - 8 - json.len());
            format!(
                "its tensors need {claimed} bytes of data, but the file has {available}: it is cut off or has a tail"
            )
        }
        other => format!("its header: {other}"),
    }
}
