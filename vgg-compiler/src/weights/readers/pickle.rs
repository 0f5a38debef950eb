//! Python pickles as data: nothing that they name is run.
//!
//! A pickle is a program for a machine with a stack. The opcodes that build plain data are carried out; names of Python
//! objects stay names, and what applies them is left to a [`Builder`], which knows the few that weights are made of and
//! refuses all others. Values lie in one list and refer to each other by index, so that a pickle whose values contain
//! themselves is no special case.
//!
//! Source: the module `pickletools` of CPython 3.11.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::HashMap;

use bytes::Bytes;

use super::cursor::Cursor;
use super::problem::{Problem, printable};

/// More values than the checkpoints of any network of the family have.
const MAX_VALUES: usize = 1 << 20;

/// The longest pickle. That of a network of the family has some ten thousand bytes.
const MAX_LEN: usize = 16 << 20;

/// The place of a value in its [`Heap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ref(u32);

/// A value of a pickle. `T` are the things that a [`Builder`] makes.
#[derive(Debug, Clone)]
pub(super) enum Value<T> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits.
    Long,
    Float,
    Str(String),
    Bytes,
    Tuple(Vec<Ref>),
    List(Vec<Ref>),
    Dict(Vec<(Ref, Ref)>),
    Set,
    /// A class or a function by its module and name.
    Global(String, String),
    Other(T),
}

/// The values of a pickle.
pub(super) struct Heap<T> {
    values: Vec<Value<T>>,
}

impl<T> Heap<T> {
    pub(super) fn new() -> Self {
        Self { values: Vec::new() }
    }

    pub(super) fn add(&mut self, value: Value<T>) -> Result<Ref, Problem> {
        match u32::try_from(self.values.len()) {
            Ok(index) if self.values.len() < MAX_VALUES => {
                self.values.push(value);
                Ok(Ref(index))
            }
            _ => Err(format!("its pickle has more than {MAX_VALUES} values").into()),
        }
    }

    pub(super) fn get(&self, at: Ref) -> &Value<T> {
        self.values.get(at.0 as usize).unwrap_or(&Value::None)
    }

    /// What a [`Builder`] made.
    pub(super) fn others(&self) -> impl Iterator<Item = &T> {
        self.values.iter().filter_map(|value| match value {
            Value::Other(other) => Some(other),
            _ => None,
        })
    }

    pub(super) fn str(&self, at: Ref) -> Option<&str> {
        match self.get(at) {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn usize(&self, at: Ref) -> Option<usize> {
        match self.get(at) {
            Value::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }

    pub(super) fn tuple(&self, at: Ref) -> Option<&[Ref]> {
        match self.get(at) {
            Value::Tuple(items) => Some(items),
            _ => None,
        }
    }
}

/// Gives meaning to the names in a pickle.
pub(super) trait Builder<T> {
    /// Refuses the names of what must not be used.
    fn allow(&self, module: &str, name: &str) -> Result<(), Problem>;
    /// What the function or class `module.name` makes of its arguments.
    fn apply(&mut self, heap: &Heap<T>, function: (&str, &str), arguments: &[Ref]) -> Result<Made<T>, Problem>;
    /// What a persistent id stands for.
    fn persistent(&mut self, heap: &Heap<T>, id: Ref) -> Result<T, Problem>;
}

/// A new value, or one that is there already.
pub(super) enum Made<T> {
    New(Value<T>),
    Same(Ref),
}

/// Carries out the pickle at the place of `cursor` up to its end and gives its value.
pub(super) fn load<T, B: Builder<T>>(cursor: &mut Cursor, heap: &mut Heap<T>, builder: &mut B) -> Result<Ref, Problem> {
    let mut machine = Machine { heap, builder, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    let begin = cursor.position();
    loop {
        let at = cursor.position();
        if at - begin > MAX_LEN {
            return Err(format!("its pickle has more than {MAX_LEN} bytes").into());
        }
        let opcode = cursor.u8().map_err(|_| "its pickle ends before its end is marked: it is cut off")?;
        if opcode == b'.' {
            return machine.pop();
        }
        machine
            .step(opcode, cursor)
            .map_err(|problem| Problem { text: format!("byte {at} of its pickle: {}", problem.text), ..problem })?;
    }
}

struct Machine<'a, T, B> {
    heap: &'a mut Heap<T>,
    builder: &'a mut B,
    stack: Vec<Ref>,
    /// Lengths of the stack when a mark was set.
    marks: Vec<usize>,
    memo: HashMap<u32, Ref>,
}

impl<T, B: Builder<T>> Machine<'_, T, B> {
    fn step(&mut self, opcode: u8, cursor: &mut Cursor) -> Result<(), Problem> {
        match opcode {
            // PROTO, FRAME
            0x80 => match cursor.u8()? {
                2..=5 => Ok(()),
                other => Err(format!("protocol {other}, expected 2 to 5").into()),
            },
            0x95 => Ok(cursor.u64().map(drop)?),
            b'(' => {
                self.marks.push(self.stack.len());
                match self.marks.len() {
                    ..MAX_VALUES => Ok(()),
                    _ => Err("too many marks".into()),
                }
            }
            // POP, POP_MARK, DUP
            b'0' => match self.marks.last() {
                Some(&mark) if mark == self.stack.len() => {
                    self.marks.pop();
                    Ok(())
                }
                _ => self.pop().map(drop),
            },
            b'1' => self.pop_mark().map(drop),
            b'2' => {
                let top = self.top()?;
                self.keep(top)
            }
            b'N' => self.push(Value::None),
            0x88 | 0x89 => self.push(Value::Bool(opcode == 0x88)),
            b'J' => {
                let value = i32::from_le_bytes(cursor.array()?);
                self.push(Value::Int(value.into()))
            }
            b'K' => {
                let value = cursor.u8()?;
                self.push(Value::Int(value.into()))
            }
            b'M' => {
                let value = cursor.u16()?;
                self.push(Value::Int(value.into()))
            }
            0x8a | 0x8b => {
                let len = if opcode == 0x8a { cursor.u8()?.into() } else { cursor.u32()? };
                let bytes = cursor.take_long(len.into())?;
                self.push(integer(&bytes))
            }
            b'G' => {
                cursor.take(8)?;
                self.push(Value::Float)
            }
            // BINUNICODE, SHORT_BINUNICODE, BINUNICODE8; BINSTRING and SHORT_BINSTRING of Python 2
            b'X' | 0x8c | 0x8d | b'T' | b'U' => {
                let bytes = sized(cursor, opcode, [0x8c, b'U'], [b'X', b'T'])?;
                self.push(Value::Str(String::from_utf8_lossy(&bytes).into_owned()))
            }
            // BINBYTES, SHORT_BINBYTES, BINBYTES8, BYTEARRAY8
            b'B' | b'C' | 0x8e | 0x96 => {
                sized(cursor, opcode, [b'C'; 2], [b'B'; 2])?;
                self.push(Value::Bytes)
            }
            b']' => self.push(Value::List(Vec::new())),
            b')' => self.push(Value::Tuple(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            0x8f => self.push(Value::Set),
            b't' => {
                let items = self.pop_mark()?;
                self.push(Value::Tuple(items))
            }
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(opcode - 0x84))?;
                self.push(Value::Tuple(items))
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.append(&items)
            }
            b's' => {
                let pair = self.pop_many(2)?;
                self.set(&pair)
            }
            b'u' => {
                let pairs = self.pop_mark()?;
                self.set(&pairs)
            }
            // ADDITEMS, FROZENSET: sets hold no weights.
            0x90 => {
                self.pop_mark()?;
                match self.heap.get(self.top()?) {
                    Value::Set => Ok(()),
                    _ => Err("items are added to what is no set".into()),
                }
            }
            0x91 => {
                self.pop_mark()?;
                self.push(Value::Set)
            }
            b'c' => {
                let (module, name) = (line(cursor)?, line(cursor)?);
                self.global(module, name)
            }
            0x93 => {
                let names = self.pop_many(2)?;
                let text = |at: Option<&Ref>| at.and_then(|&at| self.heap.str(at)).map(str::to_owned);
                match (text(names.first()), text(names.last())) {
                    (Some(module), Some(name)) => self.global(module, name),
                    _ => Err("a name that is no text".into()),
                }
            }
            // REDUCE and NEWOBJ
            b'R' | 0x81 => {
                let operands = self.pop_many(2)?;
                let &[function, arguments] = operands.as_slice() else { return Err("an empty stack".into()) };
                self.apply(function, arguments)
            }
            // BUILD: the state of an object. The objects of weights have none that matters.
            b'b' => {
                self.pop()?;
                match self.heap.get(self.top()?) {
                    Value::Dict(_) | Value::Other(_) => Ok(()),
                    _ => Err("state for what is no object".into()),
                }
            }
            b'h' | b'j' => {
                let index = if opcode == b'h' { cursor.u8()?.into() } else { cursor.u32()? };
                let value = *self.memo.get(&index).ok_or_else(|| format!("nothing was remembered as {index}"))?;
                self.keep(value)
            }
            b'q' | b'r' | 0x94 => {
                let index = match opcode {
                    b'q' => cursor.u8()?.into(),
                    b'r' => cursor.u32()?,
                    _ => self.memo.len() as u32,
                };
                let top = self.top()?;
                self.memo.insert(index, top);
                within(self.memo.len())
            }
            b'Q' => {
                let id = self.pop()?;
                let made = self.builder.persistent(self.heap, id)?;
                self.push(Value::Other(made))
            }
            b'I' | b'L' | b'F' | b'S' | b'V' | b'P' | b'g' | b'p' | b'd' | b'l' => {
                Err("an opcode of protocol 0, expected protocol 2 or newer".into())
            }
            b'i' | b'o' | 0x92 | 0x82..=0x84 => {
                Err("it makes objects by running their classes, which weights do not need".into())
            }
            other => Err(format!("the unknown opcode {other:#04x}").into()),
        }
    }

    fn keep(&mut self, value: Ref) -> Result<(), Problem> {
        if self.stack.len() >= MAX_VALUES {
            return Err("too many values on the stack".into());
        }
        self.stack.push(value);
        Ok(())
    }

    fn push(&mut self, value: Value<T>) -> Result<(), Problem> {
        let value = self.heap.add(value)?;
        self.keep(value)
    }

    /// The bottom of what may be taken: a mark cannot be passed.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Ref, Problem> {
        match self.stack.pop() {
            Some(value) if self.stack.len() >= self.floor() => Ok(value),
            _ => Err("an empty stack".into()),
        }
    }

    fn top(&self) -> Result<Ref, Problem> {
        self.stack.last().copied().ok_or_else(|| "an empty stack".into())
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Ref>, Problem> {
        match self.stack.len().checked_sub(count) {
            Some(from) if from >= self.floor() => Ok(self.stack.split_off(from)),
            _ => Err("an empty stack".into()),
        }
    }

    fn pop_mark(&mut self) -> Result<Vec<Ref>, Problem> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn append(&mut self, items: &[Ref]) -> Result<(), Problem> {
        let Ref(at) = self.top()?;
        match self.heap.values.get_mut(at as usize) {
            Some(Value::List(list)) => within(list.len() + items.len()).map(|()| list.extend_from_slice(items)),
            _ => Err("items are appended to what is no list".into()),
        }
    }

    fn set(&mut self, flat: &[Ref]) -> Result<(), Problem> {
        let Ref(at) = self.top()?;
        let (pairs, rest) = flat.as_chunks();
        if !rest.is_empty() {
            return Err("a key without its value".into());
        }
        match self.heap.values.get_mut(at as usize) {
            Some(Value::Dict(dict)) => {
                within(dict.len() + pairs.len()).map(|()| dict.extend(pairs.iter().map(|&[key, value]| (key, value))))
            }
            _ => Err("items are set in what is no dictionary".into()),
        }
    }

    fn global(&mut self, module: String, name: String) -> Result<(), Problem> {
        self.builder.allow(&module, &name)?;
        self.push(Value::Global(module, name))
    }

    fn apply(&mut self, function: Ref, arguments: Ref) -> Result<(), Problem> {
        let (Value::Global(module, name), Value::Tuple(arguments)) =
            (self.heap.get(function), self.heap.get(arguments))
        else {
            return Err("something is called that is no function, or with what are no arguments".into());
        };
        match self.builder.apply(self.heap, (module, name), arguments)? {
            Made::New(value) => self.push(value),
            Made::Same(value) => self.keep(value),
        }
    }
}

/// A list may hold one value many times, and the lists all of them: the sum is bounded by the stack, which each item passed.
fn within(len: usize) -> Result<(), Problem> {
    if len > MAX_VALUES { Err(format!("a collection of more than {MAX_VALUES} values").into()) } else { Ok(()) }
}

/// Bytes whose length stands before them in one byte, four or eight, as the opcode says.
fn sized(cursor: &mut Cursor, opcode: u8, short: [u8; 2], medium: [u8; 2]) -> Result<Bytes, Problem> {
    let len = match opcode {
        opcode if short.contains(&opcode) => cursor.u8()?.into(),
        opcode if medium.contains(&opcode) => cursor.u32()?.into(),
        _ => cursor.u64()?,
    };
    Ok(cursor.take_long(len)?)
}

/// A name up to the end of its line.
fn line(cursor: &mut Cursor) -> Result<String, Problem> {
    const MAX_NAME: usize = 256;
    let mut bytes = Vec::new();
    loop {
        match cursor.u8()? {
            b'\n' => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            _ if bytes.len() == MAX_NAME => {
                return Err(format!("the name `{}` is too long", printable(&String::from_utf8_lossy(&bytes))).into());
            }
            byte => bytes.push(byte),
        }
    }
}

/// A little-endian integer in two's complement.
fn integer<T>(bytes: &[u8]) -> Value<T> {
    if bytes.len() > 8 {
        return Value::Long;
    }
    let fill = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
    let mut whole = [fill; 8];
    whole.iter_mut().zip(bytes).for_each(|(whole, &byte)| *whole = byte);
    Value::Int(i64::from_le_bytes(whole))
}
