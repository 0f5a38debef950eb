//! `vgg bench --serve`: a process that computes when it is told to, one inference at a time.
//!
//! A comparison of several programs keeps each in a process of its own and lets them take turns. This one loads the network,
//! computes twice, and writes one line of JSON: `{"version", "load_ms", "first_ms", "peak_rss_bytes", "output": [..]}`. For every line
//! that it then reads it computes once more and answers `{"ms"}`. It ends when its input does.

use std::io::{self, BufRead};
use std::path::Path;

use serde_json::json;
use vgg_compiler::ir::Precision;
use vgg_compiler::weights::WeightsSource;
use vgg_runtime::{Isa, Threads};

use super::measure::{Files, Subject, milliseconds};
use crate::console;
use crate::error::Error;
use crate::input::Images;
use crate::model::Model;
use crate::progress::Progress;

/// Computes on the images of the file `input`, all in one batch.
pub(super) fn serve(
    model: &Model,
    source: &WeightsSource,
    input: &Path,
    threads: &Threads,
    isa: Isa,
    exact: bool,
    precision: Precision,
    progress: &Progress,
) -> Result<(), Error> {
    let shape = model.compile(&vgg_compiler::CompileOptions::default())?.graph.input_shape();
    let images = Images::read(input, shape)?;
    let mut files = Files::new(model, images.count, exact, precision)?;
    let compiled = files.compile()?;
    let weights = files.weights(source, progress)?;
    let mut subject = Subject::load(compiled, &weights, images, threads, isa)?;
    drop(files);
    let ready = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "load_ms": milliseconds(subject.load),
        "first_ms": milliseconds(subject.first),
        "peak_rss_bytes": subject.peak_rss,
        "output": subject.output,
    });
    console::print(&format!("{ready}\n"))?;
    for line in io::stdin().lock().lines() {
        line.map_err(|error| Error::system(format!("cannot read from standard input: {error}")))?;
        console::print(&format!("{}\n", json!({"ms": milliseconds(subject.run())})))?;
    }
    Ok(())
}
