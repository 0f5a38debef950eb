//! What a command reports when it does not succeed, and its exit status.

use std::fmt;
use std::io;
use std::path::Path;

use vgg_compiler::CompileError;
use vgg_compiler::onnx::{ExportError, ImportError};
use vgg_compiler::plan::PlanError;
use vgg_compiler::rust::EmitError;
use vgg_compiler::spec::diagnostic::FileErrors;
use vgg_compiler::weights::WeightsError;
use vgg_runtime as rt;

/// The exit status of a command that did not succeed. Success is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// A comparison was not met.
    Comparison = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A model, weights or an array was refused.
    Refused = 3,
    /// The system failed: disk, permission, a library or a program that is not there.
    System = 4,
}

/// One thing that is wrong: what was found and what was expected, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Lower case, without a full stop. It names the file, the layer or the tensor.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// Why a command did not succeed: everything that is wrong, and the exit status.
///
/// `Display` gives the lines that the command prints: `error:` and `help:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    status: Status,
    text: Text,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Text {
    Problems(Vec<Problem>),
    /// Lines that the parser of declarations has laid out, with the source text beneath.
    Rendered(String),
}

impl Error {
    /// An error of one problem.
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Self::all(status, vec![Problem { message: message.into(), help: None }])
    }

    /// An error of several problems.
    pub fn all(status: Status, problems: Vec<Problem>) -> Self {
        Self { status, text: Text::Problems(problems) }
    }

    /// The command line is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Status::Usage, message)
    }

    /// A model, weights or an array was refused.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Status::Refused, message)
    }

    /// The system failed.
    pub fn system(message: impl Into<String>) -> Self {
        Self::new(Status::System, message)
    }

    /// An input file could not be read: refused when it is not there, a failure of the system otherwise.
    pub fn reading(path: &Path, source: &io::Error) -> Self {
        let message = format!("{}: cannot read the file: {source}", path.display());
        Self::new(reading_status(source), message)
    }

    /// A file or directory could not be written.
    pub fn writing(path: &Path, source: &io::Error) -> Self {
        let error = Self::system(format!("{}: cannot write it: {source}", path.display()));
        match source.kind() {
            io::ErrorKind::NotFound => error.with_help("create the directory first, or choose another place"),
            io::ErrorKind::PermissionDenied => error.with_help("choose a place that you may write to"),
            io::ErrorKind::StorageFull => error.with_help("make room, or choose another disk"),
            _ => error,
        }
    }

    /// An error of a library that says what to do behind the last semicolon of its message.
    fn from_sentence(status: Status, sentence: &str) -> Self {
        match sentence.rsplit_once("; ") {
            Some((message, help)) => Self::new(status, message).with_help(help),
            None => Self::new(status, sentence),
        }
    }

    /// The same error with what to do about its last problem.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        if let Text::Problems(problems) = &mut self.text
            && let Some(last) = problems.last_mut()
        {
            last.help = Some(help.into());
        }
        self
    }

    /// The same error with what to do about its last problem, unless that says so already.
    #[must_use]
    pub(crate) fn or_help(self, help: &str) -> Self {
        match &self.text {
            Text::Problems(problems) if problems.last().is_some_and(|last| last.help.is_none()) => self.with_help(help),
            _ => self,
        }
    }

    /// The exit status.
    pub fn status(&self) -> Status {
        self.status
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems = match &self.text {
            Text::Rendered(lines) => return f.write_str(lines),
            Text::Problems(problems) => problems,
        };
        for (index, Problem { message, help }) in problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}error: {message}")?;
            if let Some(help) = help {
                write!(f, "\nhelp: {help}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

fn reading_status(source: &io::Error) -> Status {
    match source.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::InvalidData => Status::Refused,
        _ => Status::System,
    }
}

impl From<FileErrors> for Error {
    fn from(errors: FileErrors) -> Self {
        Self { status: Status::Refused, text: Text::Rendered(errors.to_string()) }
    }
}

impl From<Vec<WeightsError>> for Error {
    fn from(errors: Vec<WeightsError>) -> Self {
        let system = |error: &WeightsError| match error {
            WeightsError::Read { source, .. } => reading_status(source) == Status::System,
            WeightsError::Write { .. } => true,
            _ => false,
        };
        let status = if errors.iter().any(system) { Status::System } else { Status::Refused };
        let problem = |error: &WeightsError| Problem { message: error.to_string(), help: error.help() };
        Self::all(status, errors.iter().map(problem).collect())
    }
}

impl From<WeightsError> for Error {
    fn from(error: WeightsError) -> Self {
        vec![error].into()
    }
}

impl From<ImportError> for Error {
    fn from(error: ImportError) -> Self {
        match &error {
            ImportError::Read { path, source } => Self::reading(path, source)
                .with_help("give the path of a .onnx file, or a variant that `vgg list` shows"),
            ImportError::Refused { .. } => {
                let refused = Self::refused(error.to_string());
                match error.help() {
                    Some(help) => refused.with_help(help),
                    None => refused,
                }
            }
        }
    }
}

impl From<ExportError> for Error {
    fn from(error: ExportError) -> Self {
        let status = match error {
            ExportError::Io { .. } => Status::System,
            _ => Status::Usage,
        };
        let help = error.help();
        let error = Self::new(status, error.to_string());
        match help {
            Some(help) => error.with_help(help),
            None => error,
        }
    }
}

impl From<PlanError> for Error {
    fn from(error: PlanError) -> Self {
        let status = match error {
            PlanError::EmptyBatch | PlanError::Overflow { .. } => Status::Usage,
            PlanError::Unprepared { .. } => Status::Refused,
        };
        Self::from_sentence(status, &error.to_string())
    }
}

impl From<CompileError> for Error {
    fn from(error: CompileError) -> Self {
        match error {
            CompileError::Plan(error) => error.into(),
            error => Self::refused(error.to_string()),
        }
    }
}

impl From<EmitError> for Error {
    fn from(error: EmitError) -> Self {
        let status = match error {
            EmitError::CrateName { .. } => Status::Usage,
            EmitError::Syntax(_) => Status::System,
        };
        Self::from_sentence(status, &error.to_string())
    }
}

impl From<rt::Error> for Error {
    fn from(error: rt::Error) -> Self {
        let setting = matches!(error, rt::Error::Setting { .. });
        let error = Self::from_sentence(runtime_status(&error), &error.to_string());
        if setting { error.or_help("set the variable to what was expected, or unset it") } else { error }
    }
}

fn runtime_status(error: &rt::Error) -> Status {
    match error {
        rt::Error::Io { action: "read", source, .. } => reading_status(source),
        rt::Error::Io { .. } => Status::System,
        rt::Error::Setting { .. } => Status::Usage,
        rt::Error::Layer { source, .. } => runtime_status(source),
        _ => Status::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_has_its_lines() {
        let problem =
            |message: &str, help: Option<&str>| Problem { message: message.into(), help: help.map(Into::into) };
        let error = Error::all(Status::Refused, vec![problem("a is wrong", Some("mend it")), problem("b too", None)]);
        assert_eq!(error.to_string(), "error: a is wrong\nhelp: mend it\nerror: b too");
        assert_eq!(error.with_help("x").to_string().lines().last(), Some("help: x"));
    }

    #[test]
    fn a_missing_input_is_refused_and_a_forbidden_one_is_the_systems() {
        let reading = |kind: io::ErrorKind| Error::reading(Path::new("a"), &kind.into()).status();
        assert_eq!(reading(io::ErrorKind::NotFound), Status::Refused);
        assert_eq!(reading(io::ErrorKind::PermissionDenied), Status::System);
        let source = io::ErrorKind::NotFound.into();
        let error = Error::from(WeightsError::Read { path: "a".into(), source });
        assert_eq!(error.status(), Status::Refused);
    }
}
