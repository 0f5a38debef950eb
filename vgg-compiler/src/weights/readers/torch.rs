//! Files of PyTorch's `torch.save`: a pickle of dictionaries whose tensors point into storages.
//!
//! ```text
//! since 1.6    a ZIP archive: NAME/data.pkl, NAME/data/KEY, NAME/byteorder
//! 0.1.10-1.5   pickles of a magic number, a protocol number, facts about the system, the object, the keys of the storages;
//!              then for each storage its number of elements and its bytes
//! ```
//!
//! Only what state dicts are made of is understood; any other name in the pickle refuses the file. Nothing is run.
//!
//! Source: torch/serialization.py and torch/_utils.py of PyTorch.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::budget::Budget;
use super::cursor::Cursor;
use super::pickle::{Builder, Heap, Made, Ref, Value, load};
use super::problem::{Problem, printable};
use super::zip::Archive;
use crate::weights::safetensors::MAX_KEY;
use crate::weights::view::{ElementType, SourceTensor, View};

/// The first pickle of a legacy file: protocol 2, the number 0x1950a86a20f9469cfc6c.
pub(super) const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// The version of the legacy format, which follows the magic number.
const LEGACY_PROTOCOL: i64 = 1001;

const STATE_DICT: &str = "save the numbers alone: `torch.save(model.state_dict(), \"out.pth\")`";

/// Under these keys checkpoints keep their state dict, most usual first.
const CHECKPOINT_KEYS: [&str; 8] =
    ["state_dict", "model_state_dict", "model", "net", "network", "params", "weights", "model_state"];

/// The storages of tensors and the types of their elements.
const STORAGES: [(&str, ElementType); 10] = [
    ("FloatStorage", ElementType::F32),
    ("HalfStorage", ElementType::F16),
    ("BFloat16Storage", ElementType::Bf16),
    ("DoubleStorage", ElementType::F64),
    ("LongStorage", ElementType::Int(8)),
    ("IntStorage", ElementType::Int(4)),
    ("ShortStorage", ElementType::Int(2)),
    ("CharStorage", ElementType::Int(1)),
    ("ByteStorage", ElementType::Int(1)),
    ("BoolStorage", ElementType::Int(1)),
];

/// The other names that pickles of state dicts use.
const FUNCTIONS: [(&str, &str); 6] = [
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch.nn.parameter", "Parameter"),
    ("torch", "Size"),
];

/// Where the numbers of a tensor are.
#[derive(Debug, Clone)]
struct Storage {
    key: String,
    element: ElementType,
    /// The part of the stored elements that is meant: first and number.
    first: usize,
    len: usize,
}

/// What a pickle of PyTorch is made of beside plain data.
#[derive(Debug, Clone)]
enum Object {
    Storage(Storage),
    Tensor { storage: Storage, offset: usize, shape: Vec<usize>, strides: Vec<usize> },
}

struct Torch;

fn storage_type(module: &str, name: &str) -> Option<ElementType> {
    let known = |wanted: &str| STORAGES.iter().find(|(name, _)| *name == wanted).map(|&(_, element)| element);
    if module == "torch" || module == "torch.storage" { known(name) } else { None }
}

impl Builder<Object> for Torch {
    fn allow(&self, module: &str, name: &str) -> Result<(), Problem> {
        if storage_type(module, name).is_some() || FUNCTIONS.contains(&(module, name)) {
            return Ok(());
        }
        let whole = ["torch.nn.", "torchvision.", "timm.", "torchsummary.", "__torch__", "__main__", "models"];
        let shown = format!("`{}.{}`", printable(module), printable(name));
        if whole.iter().any(|prefix| module.starts_with(prefix)) {
            return Err(Problem::new(
                format!(
                    "it holds a whole model, an object of the class {shown}; only tensors in dictionaries are read"
                ),
                STATE_DICT,
            ));
        }
        Err(Problem::new(
            format!("it names {shown}, which weights do not need; nothing of the file was run"),
            "do not load a file from an unknown source in Python either; if it is yours, save the numbers alone: \
             `torch.save(model.state_dict(), \"out.pth\")`",
        ))
    }

    fn apply(
        &mut self,
        heap: &Heap<Object>,
        function: (&str, &str),
        arguments: &[Ref],
    ) -> Result<Made<Object>, Problem> {
        match (function, arguments) {
            (("collections", "OrderedDict"), []) => Ok(Made::New(Value::Dict(Vec::new()))),
            // Python 2 gives the entries at once.
            (("collections", "OrderedDict"), &[entries]) => ordered(heap, entries),
            (("torch", "Size"), &[extents]) => Ok(Made::Same(extents)),
            (("torch._utils", "_rebuild_parameter") | ("torch.nn.parameter", "Parameter"), &[data, ..]) => {
                Ok(Made::Same(data))
            }
            (("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2"), &[storage, offset, shape, strides, ..]) => {
                let Value::Other(Object::Storage(storage)) = heap.get(storage) else {
                    return Err("a tensor without a storage".into());
                };
                let list = |at| heap.tuple(at)?.iter().map(|&item| heap.usize(item)).collect::<Option<Vec<usize>>>();
                match (heap.usize(offset), list(shape), list(strides)) {
                    (Some(offset), Some(shape), Some(strides)) => {
                        Ok(Made::New(Value::Other(Object::Tensor { storage: storage.clone(), offset, shape, strides })))
                    }
                    _ => Err("a tensor whose extents are no numbers, or negative".into()),
                }
            }
            ((module, name), _) => {
                Err(format!("`{module}.{name}` is called with {} arguments, which it does not take", arguments.len())
                    .into())
            }
        }
    }

    fn persistent(&mut self, heap: &Heap<Object>, id: Ref) -> Result<Object, Problem> {
        let storage = || {
            let [kind, class, key, _, len, rest @ ..] = heap.tuple(id)? else { return None };
            let (true, Value::Global(module, name)) = (heap.str(*kind) == Some("storage"), heap.get(*class)) else {
                return None;
            };
            let element = storage_type(module, name)?;
            let (mut first, mut len) = (0, heap.usize(*len)?);
            // A view of another storage: its key, where it begins and how many elements it has.
            if let Some(&[_, begin, part]) = rest.first().and_then(|&view| heap.tuple(view)) {
                (first, len) = (heap.usize(begin)?, heap.usize(part)?);
            }
            Some(Storage { key: text(heap, *key)?, element, first, len })
        };
        storage().map(Object::Storage).ok_or_else(|| "it points to something that is no storage of a tensor".into())
    }
}

/// The key of a storage: a text, or a number in very old files.
fn text(heap: &Heap<Object>, at: Ref) -> Option<String> {
    match heap.get(at) {
        Value::Str(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

fn ordered(heap: &Heap<Object>, entries: Ref) -> Result<Made<Object>, Problem> {
    let Value::List(entries) = heap.get(entries) else { return Err("an OrderedDict of what is no list".into()) };
    let pair = |&at: &Ref| match heap.get(at) {
        Value::List(pair) | Value::Tuple(pair) => <[Ref; 2]>::try_from(pair.as_slice()).ok().map(|[a, b]| (a, b)),
        _ => None,
    };
    let pairs: Option<Vec<_>> = entries.iter().map(pair).collect();
    pairs.map(|pairs| Made::New(Value::Dict(pairs))).ok_or_else(|| "an OrderedDict of what are no pairs".into())
}

/// The tensors of the ZIP archive `archive`, and remarks.
pub(super) fn zipped(archive: &Archive, budget: &mut Budget) -> Result<(Vec<SourceTensor>, Vec<String>), Problem> {
    let pickles: Vec<&str> =
        archive.names().filter(|name| *name == "data.pkl" || name.ends_with("/data.pkl")).collect();
    let &[name] = pickles.as_slice() else {
        return Err(match pickles.len() {
            0 => "it has no record `data.pkl`".into(),
            count => format!("it has {count} records `data.pkl`").into(),
        });
    };
    let folder = name.strip_suffix("data.pkl").unwrap_or_default();
    if archive.contains(&format!("{folder}constants.pkl")) {
        return Err(Problem::new(
            "it is a TorchScript archive, a program with its weights",
            "save the numbers alone: `torch.save(torch.jit.load(\"in.pt\").state_dict(), \"out.pth\")`",
        ));
    }
    let order = format!("{folder}byteorder");
    if archive.contains(&order) && archive.read(&order, budget)? != "little" {
        return Err("its numbers are big-endian, expected little-endian".into());
    }
    let mut heap = Heap::new();
    let root = load(&mut Cursor::new(archive.read(name, budget)?), &mut heap, &mut Torch)?;
    let mut storages = BTreeMap::new();
    tensors(&heap, root, budget, &mut |storage, budget| {
        if let Some(data) = storages.get(&storage.key) {
            return Ok(Bytes::clone(data));
        }
        let data = archive.read(&format!("{folder}data/{}", storage.key), budget)?;
        storages.insert(storage.key.clone(), data.clone());
        Ok(data)
    })
}

/// The tensors of the legacy file `data`, and remarks.
pub(super) fn legacy(data: Bytes, budget: &mut Budget) -> Result<(Vec<SourceTensor>, Vec<String>), Problem> {
    let mut cursor = Cursor::new(data);
    cursor.take(LEGACY_MAGIC.len())?;
    let mut heap = Heap::new();
    let mut next = |cursor: &mut Cursor| load(cursor, &mut heap, &mut Torch);
    let (protocol, system, root, keys) =
        (next(&mut cursor)?, next(&mut cursor)?, next(&mut cursor)?, next(&mut cursor)?);
    match heap.get(protocol) {
        Value::Int(LEGACY_PROTOCOL) => {}
        _ => return Err(format!("it has not the protocol {LEGACY_PROTOCOL} of legacy files").into()),
    }
    if let Value::Dict(facts) = heap.get(system) {
        let big = facts.iter().any(|&(key, value)| {
            heap.str(key) == Some("little_endian") && matches!(heap.get(value), Value::Bool(false))
        });
        if big {
            return Err("its numbers are big-endian, expected little-endian".into());
        }
    }
    let Value::List(keys) = heap.get(keys) else { return Err("it does not list its storages".into()) };
    let elements = storage_elements(&heap);
    let mut storages = BTreeMap::new();
    for &key in keys {
        let key = text(&heap, key).ok_or("the key of a storage is no text")?;
        let element = *elements.get(key.as_str()).ok_or_else(|| {
            format!("the storage `{}` belongs to no tensor, so that its length is unknown", printable(&key))
        })?;
        let len = cursor.u64()?.saturating_mul(element.width() as u64);
        let data = cursor.take_long(len).map_err(|problem| format!("storage `{}`: {problem}", printable(&key)))?;
        storages.insert(key, data);
    }
    tensors(&heap, root, budget, &mut |storage, _| {
        let missing = || Problem::from(format!("the storage `{}` is missing", printable(&storage.key)));
        storages.get(&storage.key).cloned().ok_or_else(missing)
    })
}

/// The types of the elements of all storages that a pickle mentions.
fn storage_elements(heap: &Heap<Object>) -> BTreeMap<&str, ElementType> {
    heap.others()
        .map(|object| match object {
            Object::Storage(storage) | Object::Tensor { storage, .. } => (storage.key.as_str(), storage.element),
        })
        .collect()
}

/// The bytes of a storage.
type Read<'a> = &'a mut dyn FnMut(&Storage, &mut Budget) -> Result<Bytes, Problem>;

/// The tensors of the state dict in the value `root`, in its order, and remarks. Any number of them may share a storage, so that each is
/// charged with what it takes as f32.
fn tensors(
    heap: &Heap<Object>,
    root: Ref,
    budget: &mut Budget,
    read: Read<'_>,
) -> Result<(Vec<SourceTensor>, Vec<String>), Problem> {
    let mut notes = Vec::new();
    let dict = state_dict(heap, root, &mut notes)?;
    let mut tensors = Vec::new();
    let mut others = Vec::new();
    let mut seen = BTreeSet::new();
    for &(key, value) in dict {
        let Some(key) = text(heap, key) else { continue };
        if key.len() > MAX_KEY {
            return Err(format!("a key of {} bytes, more than the {MAX_KEY} allowed", key.len()).into());
        }
        match heap.get(value) {
            Value::Other(Object::Tensor { storage, offset, shape, strides }) => {
                let place = |problem: Problem| Problem {
                    text: format!("tensor `{}`: {}", printable(&key), problem.text),
                    ..problem
                };
                let data = read(storage, budget).map_err(place)?;
                let view = view(storage, &data, *offset, shape, strides).map_err(place)?;
                budget.spend(4 * view.len() as u64).map_err(place)?;
                if !seen.insert(key.clone()) {
                    return Err(format!("tensor `{}` is in it twice", printable(&key)).into());
                }
                tensors.push(SourceTensor { name: key, view });
            }
            _ => others.push(format!("`{}`", printable(&key))),
        }
    }
    if !others.is_empty() {
        others.truncate(6);
        notes.push(format!("passed over what is no tensor: {}", others.join(", ")));
    }
    Ok((tensors, notes))
}

/// The dictionary of tensors in a checkpoint: itself, or under one of the usual keys.
fn state_dict<'a>(heap: &'a Heap<Object>, root: Ref, notes: &mut Vec<String>) -> Result<&'a [(Ref, Ref)], Problem> {
    let mut at = root;
    // A checkpoint in a checkpoint is as deep as it gets; a dictionary may contain itself.
    for _ in 0..3 {
        let Value::Dict(dict) = heap.get(at) else { break };
        let tensor = |&(_, value): &(Ref, Ref)| matches!(heap.get(value), Value::Other(Object::Tensor { .. }));
        if dict.iter().any(tensor) {
            return Ok(dict);
        }
        let inner = CHECKPOINT_KEYS.iter().find_map(|wanted| {
            let found = dict.iter().find(|&&(key, _)| heap.str(key) == Some(wanted));
            found.filter(|&&(_, value)| matches!(heap.get(value), Value::Dict(_))).map(|&(_, value)| (*wanted, value))
        });
        let Some((key, value)) = inner else { break };
        notes.push(format!("took the tensors under the key `{key}` of a checkpoint"));
        at = value;
    }
    Err(Problem::new("it holds no dictionary of tensors", STATE_DICT))
}

fn view(storage: &Storage, bytes: &Bytes, offset: usize, shape: &[usize], strides: &[usize]) -> Result<View, Problem> {
    let width = storage.element.width();
    // In bytes, from the beginning of the stored ones.
    let range = || {
        let begin = storage.first.checked_mul(width)?;
        let end = begin.checked_add(storage.len.checked_mul(width)?)?;
        let first = begin.checked_add(offset.checked_mul(width)?)?;
        (first <= end && end <= bytes.len()).then(|| bytes.slice(first..end))
    };
    let data = range().ok_or_else(|| {
        format!("its storage `{}` has {} bytes, fewer than it should have", printable(&storage.key), bytes.len())
    })?;
    Ok(View::strided(storage.element, shape.to_vec(), strides.to_vec(), data)?)
}
