//! Declarations that `vgg!` takes and refuses, as the Rust compiler shows them, and the same texts as `.vgg` files.
//!
//! `ui/err/*.rs` hold one broken declaration each, with what rustc says beside it (`TRYBUILD=overwrite` writes it anew).

use std::fs;
use std::path::{Path, PathBuf};

use vgg_compiler::spec::parse::parse_file;

fn files(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui").join(directory);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files.sort();
    files
}

/// What the macro takes is part of this very test: `trybuild` would have to build every dependency a second time to run it.
#[path = "ui/ok/forms.rs"]
mod forms;

#[test]
fn the_macro_takes_every_form() {
    forms::main();
}

#[test]
fn the_macro_refuses_with_a_place() {
    trybuild::TestCases::new().compile_fail("tests/ui/err/*.rs");
}

/// The text of the one `vgg! { .. }` of a file, with as many empty lines before it as it has lines before it there: the places of its
/// mistakes are then the same.
fn declaration(source: &str) -> String {
    let start = source.find("vgg! {").expect("a declaration");
    let end = start + source[start..].find("\n}").expect("its end") + 2;
    "\n".repeat(source[..start].matches('\n').count()) + &source[start..end]
}

/// A mistake as rustc shows it: line, column, and the lines of its message.
#[derive(Debug, PartialEq)]
struct Shown {
    line: usize,
    column: usize,
    message: Vec<String>,
}

fn shown_by_rustc(stderr: &str) -> Vec<Shown> {
    let mut all = Vec::new();
    let mut message: Vec<String> = Vec::new();
    for line in stderr.lines() {
        if let Some(text) = line.strip_prefix("error: ") {
            message = vec![text.to_owned()];
        } else if let Some(place) = line.trim_start().strip_prefix("--> ") {
            let mut numbers = place.rsplit(':').map(|number| number.parse().expect("a number"));
            let (column, line) = (numbers.next().expect("a column"), numbers.next().expect("a line"));
            all.push(Shown { line, column, message: std::mem::take(&mut message) });
        } else if !message.is_empty() {
            message.push(line.trim_start().to_owned());
        }
    }
    all.sort_by_key(|shown| (shown.line, shown.column));
    all
}

/// The parser of files finds the same mistakes in the same places and the same words.
#[test]
fn a_file_is_refused_with_the_words_of_the_macro() {
    let files = files("err");
    assert!(files.len() >= 15, "{} cases", files.len());
    let mut failures = Vec::new();
    let mut mistakes = 0;
    for path in &files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let source = fs::read_to_string(path).unwrap();
        let stderr = fs::read_to_string(path.with_extension("stderr"))
            .unwrap_or_else(|error| panic!("{name} has no .stderr: {error}; `TRYBUILD=overwrite` writes it"));
        let Err(errors) = parse_file(name, &declaration(&source)) else {
            failures.push(format!("{name} is accepted as a file"));
            continue;
        };
        let from_file: Vec<Shown> = errors
            .errors
            .iter()
            .map(|error| {
                let help = error.help.iter().map(|help| format!("help: {help}"));
                let message = std::iter::once(error.message.clone()).chain(help).collect();
                Shown { line: error.line, column: error.column, message }
            })
            .collect();
        let from_macro = shown_by_rustc(&stderr);
        mistakes += from_file.len();
        if from_file != from_macro {
            failures.push(format!("{name}:\nas a file  {from_file:#?}\nas a macro {from_macro:#?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(mistakes >= 30, "{mistakes} mistakes");
}

/// And what the macro takes, the parser of files takes.
#[test]
fn a_file_is_taken_where_the_macro_takes_it() {
    let mut count = 0;
    for path in files("ok") {
        let source = fs::read_to_string(&path).unwrap();
        for part in source.split("vgg! {").skip(1) {
            let mut depth = 1;
            let end = part.find(|c: char| {
                depth += match c {
                    '{' => 1,
                    '}' => -1,
                    _ => 0,
                };
                depth == 0
            });
            let text = &part[..end.expect("balanced braces")];
            parse_file("ok.vgg", text).unwrap_or_else(|errors| panic!("{errors}"));
            count += 1;
        }
    }
    assert!(count >= 5, "{count} declarations");
}
