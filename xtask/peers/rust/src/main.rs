//! One inference runtime of Rust in a process of its own, for `cargo xtask bench --peers`.
//!
//! ```text
//! vgg-peers serve PEER MODEL.onnx INPUT.npy THREADS
//! ```
//!
//! It loads the model, computes once, and writes one line of JSON: `{"version", "load_ms", "first_ms", "peak_rss_bytes", "output"}`. For
//! every line on standard input it computes once more and answers `{"ms"}`. It ends when standard input does. All arithmetic and all
//! weights are f32. `worker.py` does the same for the runtimes that have Python packages.
//!
//! - [`array`]: the input;
//! - [`rten`], [`tract`]: the runtimes.

mod array;
mod rten;
mod tract;

use std::fs;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::array::Array;

/// The versions that this program is built with.
const LOCK: &str = include_str!("../Cargo.lock");

/// A network, ready to compute on one input.
trait Network {
    /// Computes on the input that it was loaded with.
    fn run(&mut self) -> Result<Vec<f32>>;
}

/// A runtime: its name, the crate that it is, and how it loads a network for an input and a number of threads.
struct Peer {
    name: &'static str,
    package: &'static str,
    load: fn(&Path, Array, usize) -> Result<Box<dyn Network>>,
}

const PEERS: [Peer; 2] = [
    Peer { name: "tract", package: "tract-onnx", load: tract::load },
    Peer { name: "rten", package: "rten", load: rten::load },
];

fn main() -> ExitCode {
    // The last line on standard error becomes the reason in the table: the message, without the advice that follows it.
    std::panic::set_hook(Box::new(|panic| eprintln!("{}", panic.to_string().replace('\n', " "))));
    match serve(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", reason(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes in one line. Some errors repeat their causes, which are then left out.
fn reason(error: &anyhow::Error) -> String {
    let mut reason = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !reason.contains(&cause) {
            reason = if reason.is_empty() { cause } else { format!("{reason}: {cause}") };
        }
    }
    reason.replace('\n', " ")
}

fn serve(args: &[String]) -> Result<()> {
    let [task, name, model, input, threads] = args else {
        bail!("expected `serve PEER MODEL.onnx INPUT.npy THREADS`, got {args:?}");
    };
    let peer = PEERS.iter().find(|peer| task == "serve" && peer.name == name);
    let Some(peer) = peer else {
        bail!("cannot `{task} {name}`; known are {}", PEERS.map(|peer| format!("`serve {}`", peer.name)).join(", "));
    };
    let threads = threads.parse().with_context(|| format!("`{threads}` is no number of threads"))?;
    let input = Array::read(Path::new(input))?;

    let (network, load) = timed(|| (peer.load)(Path::new(model), input, threads));
    let mut network = network.context("cannot load the model")?;
    let (output, first) = timed(|| network.run());
    answer(&json!({
        "version": locked_version(peer.package)?,
        "load_ms": milliseconds(load),
        "first_ms": milliseconds(first),
        "peak_rss_bytes": peak_rss(),
        "output": output?,
    }))?;
    for line in io::stdin().lock().lines() {
        line.context("cannot read from standard input")?;
        let (output, time) = timed(|| network.run());
        output?;
        answer(&json!({"ms": milliseconds(time)}))?;
    }
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn answer(value: &Value) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{value}").and_then(|()| stdout.flush()).context("cannot write to standard output")
}

/// The version of `package` in the lock file.
fn locked_version(package: &str) -> Result<&'static str> {
    let entry = LOCK.split_once(&format!("name = \"{package}\"\nversion = \""));
    let version = entry.and_then(|(_, rest)| rest.split('"').next());
    version.with_context(|| format!("Cargo.lock does not hold {package}"))
}

/// The most memory that this process has held at once, where the system tells it.
fn peak_rss() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_has_a_version() {
        for Peer { package, .. } in PEERS {
            assert!(locked_version(package).unwrap().starts_with("0."), "{package}");
        }
        assert!(locked_version("no-such-package").is_err());
    }

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow::anyhow!("no LRN").context("norm1: no\nLRN").context("cannot load");
        assert_eq!(reason(&error), "cannot load: norm1: no LRN: no LRN");
        let error = anyhow::anyhow!("no LRN").context("norm1: no LRN").context("cannot load");
        assert_eq!(reason(&error), "cannot load: norm1: no LRN");
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let refused = |args: &str| {
            let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
            format!("{:#}", serve(&args).unwrap_err())
        };
        assert!(refused("serve").starts_with("expected `serve PEER"));
        assert_eq!(refused("serve mnn m i 1"), "cannot `serve mnn`; known are `serve tract`, `serve rten`");
        assert!(refused("serve rten m i x").starts_with("`x` is no number of threads"));
        assert!(refused("serve rten m no/such.npy 1").starts_with("cannot read no/such.npy"));
    }
}
