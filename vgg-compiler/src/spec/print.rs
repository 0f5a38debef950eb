//! Writes a declaration in the canonical notation: reading it again gives the same declaration.

use std::fmt::{self, Write};

use super::{Extent, LayerKind, LayerSpec, ModelSpec, PoolSpec};
use crate::preprocess::name_of;

/// The notation of a declaration: its doc comment, one row a line in columns, defaults left out. It ends in a line break.
///
/// ```
/// use vgg_compiler::spec::{parse, print};
///
/// let spec = parse::parse_file("tiny.vgg", "Tiny: 1x28x28 { conv3-8(stride 1), maxpool(2x2, pad 0); fc-10 }")?;
/// assert_eq!(print::print(&spec), "Tiny: 1 x 28 x 28 {\n    conv3-8, maxpool;\n    fc-10\n}\n");
/// # Ok::<(), vgg_compiler::spec::diagnostic::FileErrors>(())
/// ```
pub fn print(spec: &ModelSpec) -> String {
    spec.to_string()
}

/// The notation of one layer, of a fully connected one as if others followed it.
pub(crate) fn word(kind: &LayerKind) -> String {
    let layer = LayerSpec { label: None, kind: kind.clone(), span: proc_macro2::Span::call_site() };
    Notation { layer: &layer, is_last_fc: false }.to_string()
}

impl fmt::Display for ModelSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.docs {
            write_doc(f, line)?;
        }
        write_visibility(f, &self.visibility)?;
        let input = &self.input;
        writeln!(
            f,
            "{}: {} x {} x {} {{",
            self.name.value, input.channels.value, input.height.value, input.width.value
        )?;
        if let Some(preprocess) = &self.preprocess {
            match name_of(&preprocess.value) {
                Some(name) => writeln!(f, "    preprocess {name};")?,
                None => writeln!(f, "    preprocess({});", preprocess.value)?,
            }
        }
        let rows = cells(self);
        let widths = widths(self, &rows);
        for (index, (row, layers)) in rows.iter().zip(&self.rows).enumerate() {
            f.write_str("   ")?;
            let widths = if holds_fc(layers) { &[][..] } else { &widths[..] };
            for (column, cell) in row.iter().enumerate() {
                if column + 1 < row.len() {
                    let width = widths.get(column).copied().unwrap_or_default();
                    write!(f, " {:width$}", format!("{cell},"))?;
                } else {
                    write!(f, " {cell}")?;
                }
            }
            f.write_str(if index + 1 == self.rows.len() { "\n" } else { ";\n" })?;
        }
        f.write_str("}\n")
    }
}

/// The notation of every entry.
fn cells(spec: &ModelSpec) -> Vec<Vec<String>> {
    let layers = spec.rows.iter().flatten().enumerate();
    let last_fc = layers.filter(|(_, layer)| is_fc(layer)).last().map(|(place, _)| place);
    let mut places = 0..;
    let mut cell = |layer| Notation { layer, is_last_fc: places.next() == last_fc && last_fc.is_some() }.to_string();
    spec.rows.iter().map(|row| row.iter().map(&mut cell).collect()).collect()
}

/// The width of each column of the rows of images, with its comma. Rows of fully connected layers are lists, not a table, and
/// what stands last in a row needs no width.
fn widths(spec: &ModelSpec, rows: &[Vec<String>]) -> Vec<usize> {
    let mut widths = Vec::new();
    for (row, _) in rows.iter().zip(&spec.rows).filter(|(_, layers)| !holds_fc(layers)) {
        let others = row.len().saturating_sub(1);
        widths.resize(widths.len().max(others), 0);
        for (width, cell) in widths.iter_mut().zip(row.iter().take(others)) {
            *width = (*width).max(cell.len() + 1);
        }
    }
    widths
}

fn holds_fc(row: &[LayerSpec]) -> bool {
    row.iter().any(is_fc)
}

fn is_fc(layer: &LayerSpec) -> bool {
    matches!(layer.kind, LayerKind::Fc { .. })
}

/// A line of documentation. A comment ends at the line break, and Rust allows no other control characters in it.
fn write_doc(f: &mut fmt::Formatter<'_>, line: &str) -> fmt::Result {
    if line.contains(|c: char| c.is_control() && c != '\t') {
        writeln!(f, "#[doc = {:?}]", format!(" {line}"))
    } else if line.is_empty() {
        writeln!(f, "///")
    } else {
        writeln!(f, "/// {line}")
    }
}

fn write_visibility(f: &mut fmt::Formatter<'_>, visibility: &syn::Visibility) -> fmt::Result {
    match visibility {
        syn::Visibility::Inherited => Ok(()),
        syn::Visibility::Public(_) => f.write_str("pub "),
        syn::Visibility::Restricted(restricted) => {
            let segments: Vec<_> = restricted.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            let keyword = if restricted.in_token.is_some() { "in " } else { "" };
            let root = if restricted.path.leading_colon.is_some() { "::" } else { "" };
            write!(f, "pub({keyword}{root}{}) ", segments.join("::"))
        }
    }
}

/// One entry of a row, which is displayed in the notation.
struct Notation<'a> {
    layer: &'a LayerSpec,
    is_last_fc: bool,
}

impl fmt::Display for Notation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(label) = &self.layer.label {
            write!(f, "{}: ", label.value)?;
        }
        let mut modifiers = Modifiers::default();
        match &self.layer.kind {
            LayerKind::Conv { kernel, filters, stride, pad, relu } => {
                write!(f, "conv{kernel}-{filters}")?;
                modifiers.unless_default("stride", *stride, Extent::square(1));
                modifiers.unless_default("pad", *pad, kernel.same_pad());
                modifiers.word_if(!relu, "linear");
            }
            LayerKind::BatchNorm { epsilon } => {
                f.write_str("bn")?;
                modifiers.unless_default("eps", Real(*epsilon), Real(LayerKind::DEFAULT_EPSILON));
            }
            LayerKind::Lrn { size, alpha, beta, k } => {
                f.write_str("lrn")?;
                modifiers.unless_default("size", *size, LayerKind::DEFAULT_LRN_SIZE);
                modifiers.unless_default("alpha", Real(*alpha), Real(LayerKind::DEFAULT_LRN_ALPHA));
                modifiers.unless_default("beta", Real(*beta), Real(LayerKind::DEFAULT_LRN_BETA));
                modifiers.unless_default("k", Real(*k), Real(LayerKind::DEFAULT_LRN_K));
            }
            LayerKind::MaxPool(pool) => {
                f.write_str("maxpool")?;
                modifiers.pool(*pool);
            }
            LayerKind::AvgPool(pool) => {
                f.write_str("avgpool")?;
                modifiers.pool(*pool);
            }
            LayerKind::Fc { units, relu } => {
                write!(f, "fc-{units}")?;
                modifiers.word_if(self.is_last_fc && *relu, "relu");
                modifiers.word_if(!self.is_last_fc && !relu, "linear");
            }
            LayerKind::Dropout { ratio } => {
                f.write_str("dropout")?;
                modifiers.unless_default("", Real(*ratio), Real(LayerKind::DEFAULT_RATIO));
            }
            LayerKind::Softmax => f.write_str("softmax")?,
        }
        if modifiers.0.is_empty() { Ok(()) } else { write!(f, "({})", modifiers.0) }
    }
}

/// The modifiers of a layer, with commas between them.
#[derive(Default)]
struct Modifiers(String);

impl Modifiers {
    fn unless_default<T: fmt::Display + PartialEq>(&mut self, name: &str, value: T, default: T) {
        if value != default {
            self.push(name, &value.to_string());
        }
    }

    fn word_if(&mut self, condition: bool, word: &str) {
        if condition {
            self.push("", word);
        }
    }

    fn pool(&mut self, pool: PoolSpec) {
        let default = PoolSpec::default();
        self.unless_default("", pool.kernel, default.kernel);
        self.unless_default("stride", pool.stride, default.stride);
        self.unless_default("pad", pool.pad, default.pad);
        self.word_if(pool.ceil, "ceil");
    }

    fn push(&mut self, name: &str, value: &str) {
        let separator = if self.0.is_empty() { "" } else { ", " };
        let space = if name.is_empty() { "" } else { " " };
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{separator}{name}{space}{value}");
    }
}

/// A number in the shorter of its plain and its exponential form; both are read back as the same number.
#[derive(PartialEq)]
struct Real(f32);

impl fmt::Display for Real {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (plain, exponential) = (format!("{}", self.0), format!("{:e}", self.0));
        f.write_str(if exponential.len() < plain.len() { &exponential } else { &plain })
    }
}
