//! Results on standard output, everything else on standard error.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use crate::error::Error;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const HELP: Style = AnsiColor::Cyan.on_default().bold();
const NOTE: Style = AnsiColor::Green.on_default().bold();

/// The style of a table's heading.
pub(crate) const HEADING: Style = Style::new().bold();

/// Writes a result to standard output. A reader that has gone away is no error: it has all it wanted.
///
/// # Errors
///
/// When standard output cannot be written for another reason, such as a full disk.
pub fn print(text: &str) -> Result<(), Error> {
    let mut out = anstream::AutoStream::auto(io::stdout().lock());
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::system(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes one JSON document to standard output.
///
/// # Errors
///
/// As [`print()`].
pub fn print_json(document: &serde_json::Value) -> Result<(), Error> {
    print(&format!("{document:#}\n"))
}

/// Writes an error to standard error.
pub fn report(error: &Error) {
    for line in error.to_string().lines() {
        match line.split_once(':') {
            Some(("error", rest)) => write_labelled("error:", ERROR, rest),
            Some(("help", rest)) => write_labelled("help:", HELP, rest),
            _ => write_line(&printable(line)),
        }
    }
}

/// Writes a remark to standard error.
pub(crate) fn remark(label: &str, text: &str) {
    write_labelled(label, NOTE, &format!(" {text}"));
}

fn write_labelled(label: &str, style: Style, rest: &str) {
    write_line(&format!("{style}{label}{style:#}{}", printable(rest)));
}

fn write_line(line: &str) {
    // There is nobody left to tell when standard error is closed.
    let _ = writeln!(anstream::AutoStream::auto(io::stderr().lock()), "{line}");
}

/// Names of files and layers may hold control sequences of a terminal; they are not passed on.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
