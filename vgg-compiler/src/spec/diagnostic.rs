//! Mistakes in a declaration: collected with their spans, shown by the Rust compiler (macro) or as text (`.vgg` file).

use std::fmt;

use proc_macro2::{Span, TokenStream};

/// More mistakes than this help nobody, and a hostile text could hold a million of them.
const MAX_DIAGNOSTICS: usize = 64;

/// The longest part of a source line that is quoted, in characters.
const MAX_EXCERPT: usize = 160;

/// One mistake: what arrived and what was expected, where, and what to do.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// What arrived and what was expected, in lower case without a full stop.
    pub message: String,
    /// The offending tokens.
    pub span: Span,
    /// What to do, when there is more to say than the message does.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A mistake without further help.
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self { message: message.into(), span, help: None }
    }

    /// The same mistake, with what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The mistakes found so far, in the order in which they were found; at most 64 are kept.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    kept: Vec<Diagnostic>,
    dropped: usize,
}

impl Diagnostics {
    /// Adds a mistake.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.kept.len() < MAX_DIAGNOSTICS {
            self.kept.push(diagnostic);
        } else {
            self.dropped += 1;
        }
    }

    /// Adds all mistakes of `other`.
    pub fn append(&mut self, other: Self) {
        self.dropped += other.dropped;
        other.kept.into_iter().for_each(|diagnostic| self.push(diagnostic));
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Whether further mistakes would not be kept.
    pub(crate) fn is_full(&self) -> bool {
        self.kept.len() >= MAX_DIAGNOSTICS
    }

    /// The mistakes, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.kept.iter()
    }

    /// `value`, or the mistakes when there are any.
    ///
    /// # Errors
    ///
    /// These mistakes.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }

    /// All mistakes as one `syn` error, which the Rust compiler shows each at its own place.
    pub fn to_syn_error(&self) -> syn::Error {
        let one = |diagnostic: &Diagnostic| {
            let text = match &diagnostic.help {
                Some(help) => format!("{}\nhelp: {help}", diagnostic.message),
                None => diagnostic.message.clone(),
            };
            syn::Error::new(diagnostic.span, text)
        };
        let combined = self.kept.iter().map(one).reduce(|mut all, next| {
            all.combine(next);
            all
        });
        combined.unwrap_or_else(|| syn::Error::new(Span::call_site(), "the declaration was refused"))
    }

    /// All mistakes as `compile_error!` invocations.
    pub fn to_compile_error(&self) -> TokenStream {
        self.to_syn_error().into_compile_error()
    }

    /// All mistakes with their places in `text`, which was read from `file`. The result holds no spans, and may go to another thread.
    pub(crate) fn locate(&self, file: &str, text: &str) -> FileErrors {
        let mut errors: Vec<_> = self.kept.iter().map(|diagnostic| FileError::new(diagnostic, text)).collect();
        errors.sort_by_key(|error| (error.line, error.column));
        FileErrors { file: file.to_owned(), errors, dropped: self.dropped }
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { kept: vec![diagnostic], dropped: 0 }
    }
}

impl From<syn::Error> for Diagnostics {
    fn from(error: syn::Error) -> Self {
        let mut all = Self::default();
        error.into_iter().for_each(|one| all.push(Diagnostic::new(one.span(), one.to_string())));
        all
    }
}

/// The mistakes of one `.vgg` file, in the order of the text. `Display` renders them all, each as an `error:` line with file,
/// line and column, the source line with the place marked, and a `help:` line where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileErrors {
    /// The name of the file, as it was given.
    pub file: String,
    /// The mistakes, in the order of the text.
    pub errors: Vec<FileError>,
    /// How many further mistakes are not listed.
    pub dropped: usize,
}

/// One mistake in a `.vgg` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What arrived and what was expected.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// The source line, or the part of it that is shown, fit for a terminal.
    excerpt: String,
    /// Characters before the marked place in `excerpt`.
    indent: usize,
    /// Characters marked, at least 1.
    width: usize,
}

impl FileError {
    fn new(diagnostic: &Diagnostic, text: &str) -> Self {
        let (start, end) = (diagnostic.span.start(), diagnostic.span.end());
        // Only the end of the text has no token to point at: its span is the empty one at the start.
        let at_end = (start.line, start.column) == (end.line, end.column) && start.line <= 1 && start.column == 0;
        let (line, column) = if at_end { end_of(text) } else { (start.line, start.column + 1) };
        let source: Vec<char> = text.lines().nth(line.saturating_sub(1)).unwrap_or_default().chars().collect();
        let before = (column - 1).min(source.len());
        let width = if !at_end && end.line == start.line { end.column.saturating_sub(start.column) } else { 1 };
        let skipped = if source.len() > MAX_EXCERPT { before.saturating_sub(MAX_EXCERPT / 2) } else { 0 };
        let indent = before - skipped;
        let excerpt = source.iter().skip(skipped).take(MAX_EXCERPT).map(|&c| printable(c)).collect();
        Self {
            line,
            column,
            message: diagnostic.message.clone(),
            help: diagnostic.help.clone(),
            excerpt,
            indent,
            width: width.clamp(1, (MAX_EXCERPT - indent.min(MAX_EXCERPT - 1)).max(1)),
        }
    }
}

/// Line and column just after the last visible character.
fn end_of(text: &str) -> (usize, usize) {
    let visible = text.trim_end();
    let line = visible.lines().count().max(1);
    let column = visible.lines().next_back().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// A source text may hold terminal control sequences; they are not passed on.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

impl fmt::Display for FileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "error: {}:{}:{}: {}", self.file, error.line, error.column, error.message)?;
            if !error.excerpt.is_empty() {
                let indent = " ".repeat(error.indent);
                let marks = "^".repeat(error.width);
                write!(f, "\n  | {}\n  | {indent}{marks}", error.excerpt)?;
            }
            if let Some(help) = &error.help {
                write!(f, "\nhelp: {help}")?;
            }
        }
        if self.dropped > 0 {
            write!(f, "\nerror: {}: {} more mistakes are not shown", self.file, self.dropped)?;
        }
        Ok(())
    }
}

impl std::error::Error for FileErrors {}
