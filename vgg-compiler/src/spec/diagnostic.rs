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

/// A mistake that `syn` found.
impl From<syn::Error> for Diagnostic {
    fn from(error: syn::Error) -> Self {
        Self::new(error.span(), error.to_string())
    }
}

/// The mistakes found so far, in the order in which they were found; at most 64 are kept.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Adds a mistake.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if !self.is_full() {
            self.0.push(diagnostic);
        }
    }

    /// Adds all mistakes of `other`.
    pub fn append(&mut self, other: Self) {
        other.0.into_iter().for_each(|diagnostic| self.push(diagnostic));
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether further mistakes would not be kept.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= MAX_DIAGNOSTICS
    }

    /// The mistakes, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
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
        let combined = self.0.iter().map(one).reduce(|mut all, next| {
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
        let place = |span: Span| {
            // Only the end of the text has no token to point at: its span is the empty one at the very start.
            let (start, end) = (span.start(), span.end());
            let at_end = start == end && start.line <= 1 && start.column == 0;
            if at_end { Place::end_of(text) } else { Place::of(span) }
        };
        self.locate_with(file, text, place)
    }

    /// The same for a text that could not be taken apart into tokens: an empty span at its start means its start.
    pub(crate) fn locate_in_raw(&self, file: &str, text: &str) -> FileErrors {
        self.locate_with(file, text, Place::of)
    }

    fn locate_with(&self, file: &str, text: &str, place: impl Fn(Span) -> Place) -> FileErrors {
        let mut errors: Vec<_> = self.iter().map(|error| FileError::new(error, place(error.span), text)).collect();
        errors.sort_by_key(|error| (error.line, error.column));
        FileErrors { file: file.to_owned(), errors, truncated: self.is_full() }
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl From<syn::Error> for Diagnostics {
    fn from(error: syn::Error) -> Self {
        let mut all = Self::default();
        error.into_iter().for_each(|one| all.push(one.into()));
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
    /// Whether reading stopped since there were too many mistakes to list.
    pub truncated: bool,
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

/// Where a mistake stands: line and column from 1, and how many characters of that line it covers.
struct Place {
    line: usize,
    column: usize,
    width: usize,
}

impl Place {
    fn of(span: Span) -> Self {
        let (start, end) = (span.start(), span.end());
        let width = if end.line == start.line { end.column.saturating_sub(start.column) } else { 1 };
        Self { line: start.line.max(1), column: start.column + 1, width }
    }

    /// Just after the last visible character.
    fn end_of(text: &str) -> Self {
        let visible = text.trim_end();
        let line = visible.lines().count().max(1);
        let column = visible.lines().next_back().unwrap_or_default().chars().count() + 1;
        Self { line, column, width: 1 }
    }
}

impl FileError {
    fn new(diagnostic: &Diagnostic, place: Place, text: &str) -> Self {
        let Place { line, column, width } = place;
        let source: Vec<char> = text.lines().nth(line - 1).unwrap_or_default().chars().collect();
        let before = (column - 1).min(source.len());
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
            width: width.clamp(1, MAX_EXCERPT.saturating_sub(indent).max(1)),
        }
    }
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
        if self.truncated {
            write!(f, "\nerror: {}: stopped after {MAX_DIAGNOSTICS} mistakes", self.file)?;
        }
        Ok(())
    }
}

impl std::error::Error for FileErrors {}
