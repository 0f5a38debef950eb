//! `cargo xtask bench --peers`: this project's runtime and others on the same networks, in turns.
//!
//! - [`peer`]: the others, and where each comes from;
//! - [`process`]: a process that computes when it is told to;
//! - [`table`]: what is written.

mod peer;
mod process;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::project::Project;
use crate::python;
use crate::statistics::Statistics;
use crate::step::Step;
pub(crate) use peer::PEERS_MANIFEST;
use peer::{Installed, PEERS, Peer};
use process::{Ready, Runner};
use table::{Numbers, OURS, Row, Table};

/// Rounds that are not counted.
const WARM_UP: usize = 3;

/// Between two inferences: the threads of the one before may still be waiting for more to do.
const PAUSE: Duration = Duration::from_millis(20);

/// The largest [`difference`] that a peer's arithmetic explains. MNN's reaches 5e-4 on VGG-D, and a fast peer must not be lost.
const TOLERANCE: f64 = 1e-2;

/// What is measured.
pub(crate) struct Settings {
    /// Models, as the command `vgg` takes them.
    pub(crate) variants: Vec<String>,
    /// Numbers of threads.
    pub(crate) threads: Vec<usize>,
    /// Rounds that count.
    pub(crate) runs: usize,
    /// Images of one inference.
    pub(crate) batch: usize,
}

/// Measures everything, prints the table as Markdown, and writes it to `target/bench/peers.md` and `peers.json`.
///
/// # Errors
/// When the command `vgg` or Python is not to be had, or a model cannot be exported. A peer that fails stands in the table.
pub(crate) fn bench(project: &Project, settings: &Settings) -> Result<()> {
    Step::new("command", &project.cargo).args(["build", "--release", "--bin", "vgg"]).run(&project.root)?;
    let vgg = project.target.join("release").join(format!("vgg{}", std::env::consts::EXE_SUFFIX));
    let packages = python::fetch(project)?;
    let peers: Vec<(Peer, Result<Installed, String>)> = PEERS
        .into_iter()
        .map(|peer| {
            let installed = Installed::provide(project, &packages, peer).map_err(|error| format!("{error:#}"));
            if let Err(reason) = &installed {
                eprintln!("xtask: {}: {reason}", peer.name);
            }
            (peer, installed)
        })
        .collect();

    let results = project.target.join("bench");
    fs::create_dir_all(&results).with_context(|| format!("cannot create {}", results.display()))?;
    let mut table = Table { runs: settings.runs, batch: settings.batch, rows: Vec::new() };
    for net in &settings.variants {
        let models = Models::make(&vgg, net, settings.batch, &results)?;
        let converted: Vec<(Peer, Result<Converted<'_>, String>)> =
            peers.iter().map(|(peer, installed)| (*peer, models.convert(installed))).collect();
        for &threads in &settings.threads {
            eprintln!("xtask: {net}: measuring with {threads} thread(s)");
            table.rows.extend(measure(&vgg, net, threads, settings.runs, &models, &converted));
        }
        // What there is already is kept when a later network fails.
        let write = |name: &str, text: String| {
            let path = results.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write("peers.md", table.to_markdown())?;
        write("peers.json", format!("{:#}\n", table.to_json()))?;
    }
    print!("{}", table.to_markdown());
    eprintln!("xtask: written to {} as peers.md and peers.json", results.display());
    Ok(())
}

/// The files of one network.
struct Models {
    directory: tempfile::TempDir,
    logs: PathBuf,
    /// The input of all runtimes.
    input: PathBuf,
    model: PathBuf,
    /// For those that have no batches.
    single: PathBuf,
}

/// A peer and what it reads.
struct Converted<'a> {
    installed: &'a Installed,
    model: PathBuf,
}

impl Models {
    /// Exports `net`, and makes an input for it.
    fn make(vgg: &Path, net: &str, batch: usize, results: &Path) -> Result<Self> {
        let logs = results.join("log");
        fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        let directory = tempfile::Builder::new().prefix(".models-").tempdir_in(results)?;
        let export = |name: &str, batch: usize| -> Result<PathBuf> {
            let path = directory.path().join(name);
            let mut command = Command::new(vgg);
            command.args([
                "export",
                net,
                "--weights",
                "seeded:0",
                "--quiet",
                "--batch",
                &batch.to_string(),
                "--output",
            ]);
            output(command.arg(&path))?;
            Ok(path)
        };
        eprintln!("xtask: {net}: exporting");
        let model = export("model.onnx", batch)?;
        let single = if batch == 1 { model.clone() } else { export("single.onnx", 1)? };
        let shown = output(Command::new(vgg).args(["show", net, "--json"]))?;
        let shown: Value = serde_json::from_slice(&shown).context("`vgg show --json` printed no JSON")?;
        let extents = shown["input"].as_array().context("`vgg show --json` tells no input")?;
        let mut dims = vec![batch];
        dims.extend(extents.iter().filter_map(|extent| usize::try_from(extent.as_u64()?).ok()));
        let input = directory.path().join("input.npy");
        fs::write(&input, array(&dims)).with_context(|| format!("cannot write {}", input.display()))?;
        Ok(Self { directory, logs, input, model, single })
    }

    fn log(&self, net: &str, runtime: &str) -> PathBuf {
        self.logs.join(format!("{}-{runtime}.txt", net.replace(['/', '\\'], "_")))
    }

    fn convert<'a>(&self, installed: &'a Result<Installed, String>) -> Result<Converted<'a>, String> {
        let installed = installed.as_ref().map_err(|reason| reason.lines().next().unwrap_or_default().to_owned())?;
        let onnx = if installed.peer.batches { &self.model } else { &self.single };
        let directory = self.directory.path().join(installed.peer.name);
        let model = installed.convert(onnx, &directory, &self.log("convert", installed.peer.name));
        model.map(|model| Converted { installed, model }).map_err(|error| format!("{error:#}"))
    }
}

/// One runtime in the rounds of one network.
struct Turn {
    runtime: &'static str,
    state: Result<(Runner, Ready), String>,
    times: Vec<f64>,
}

/// Lets all runtimes take turns on one network, and gives their rows: ours first.
fn measure(
    vgg: &Path,
    net: &str,
    threads: usize,
    runs: usize,
    models: &Models,
    peers: &[(Peer, Result<Converted<'_>, String>)],
) -> Vec<Row> {
    let start = |runtime: &'static str, command: Result<Command, String>| {
        let state = command.and_then(|command| {
            Runner::start(command, threads, &models.log(net, runtime)).map_err(|error| format!("{error:#}"))
        });
        Turn { runtime, state, times: Vec::new() }
    };
    let mut ours = Command::new(vgg);
    ours.args(["bench", net, "--weights", "seeded:0", "--quiet", "--threads", &threads.to_string(), "--serve"]);
    ours.arg(&models.input);
    let mut turns = vec![start(OURS, Ok(ours))];
    for (peer, converted) in peers {
        let command = converted
            .as_ref()
            .map_err(Clone::clone)
            .map(|converted| converted.installed.serve(&converted.model, &models.input, threads));
        turns.push(start(peer.name, command));
    }
    for round in 0..WARM_UP + runs {
        for index in order(round, turns.len()) {
            turns[index].take(round >= WARM_UP);
        }
    }
    let expected = turns[0].state.as_ref().ok().map(|(_, ready)| ready.output.clone());
    turns.into_iter().map(|turn| turn.finish(net, threads, expected.as_deref())).collect()
}

/// In which order `count` runtimes take their turns. Another one is the first in each round, and every other round goes
/// backwards, so that none always follows the same one.
fn order(round: usize, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).map(|index| (index + round) % count).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

impl Turn {
    fn take(&mut self, counts: bool) {
        let Ok((runner, _)) = &mut self.state else { return };
        thread::sleep(PAUSE);
        match runner.run() {
            Ok(time) if counts => self.times.push(time),
            Ok(_) => {}
            Err(error) => self.state = Err(format!("{error:#}")),
        }
    }

    /// The row of what was measured; `expected` is this project's output, unless it has none.
    fn finish(self, net: &str, threads: usize, expected: Option<&[f32]>) -> Row {
        let Self { runtime, state, times } = self;
        let outcome = state.and_then(|(_, ready)| {
            let difference = expected.map(|expected| difference(&ready.output, expected));
            if let Some(difference) = difference.filter(|&difference| difference > TOLERANCE) {
                return Err(format!(
                    "its output differs by {difference:.1e}, where at most {TOLERANCE:.0e} is the same network"
                ));
            }
            Ok(Numbers {
                version: ready.version,
                time: Statistics::of(&times),
                load: ready.load_ms,
                first: ready.first_ms,
                peak_rss: ready.peak_rss_bytes,
                difference,
            })
        });
        if let Err(reason) = &outcome {
            eprintln!("xtask: {net}: {runtime}: {reason}");
        }
        Row { net: net.to_owned(), threads, runtime, outcome }
    }
}

/// The largest difference of two outputs, as a part of the largest number that is expected; infinite when their lengths differ
/// or a number is none.
fn difference(actual: &[f32], expected: &[f32]) -> f64 {
    if actual.len() != expected.len() {
        return f64::INFINITY;
    }
    let largest = expected.iter().fold(0.0, |largest, &value| f64::from(value).abs().max(largest));
    let differences = actual.iter().zip(expected).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs());
    let difference =
        differences.fold(0.0, |worst, found| if found.is_nan() { f64::INFINITY } else { found.max(worst) });
    if difference == 0.0 { 0.0 } else { difference / largest }
}

/// What a command prints.
fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed ({}); its own message stands above", output.status);
    }
    Ok(output.stdout)
}

/// The bytes of a NumPy file of f32 between -1 and 1, the same on every machine.
fn array(dims: &[usize]) -> Vec<u8> {
    let extents: String = dims.iter().map(|extent| format!("{extent}, ")).collect();
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({extents}), }}");
    // Magic, version, length and header fill a multiple of 64 bytes, of which a line feed is the last.
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((padded as u16).to_le_bytes());
    bytes.extend(format!("{header:<width$}\n", width = padded - 1).into_bytes());
    // Knuth's linear congruential generator (MMIX), of which the upper bits are used.
    let mut state = 1u64;
    for _ in 0..dims.iter().product() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let value = (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0;
        bytes.extend(value.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn an_output_of_something_else_has_no_time() {
        let directory = tempfile::tempdir().unwrap();
        let row = |expected: Option<&[f32]>| {
            let script = r#"echo '{"version":"1","load_ms":2,"first_ms":3,"output":[4.0,1.0]}'; while read line; do echo '{"ms":5}'; done"#;
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            let state = Runner::start(command, 1, &directory.path().join("log")).map_err(|error| format!("{error:#}"));
            let mut turn = Turn { runtime: "peer", state, times: Vec::new() };
            turn.take(false);
            turn.take(true);
            turn.finish("net", 1, expected).outcome
        };
        let numbers = row(Some(&[4.0, 1.002])).unwrap();
        assert!((numbers.difference.unwrap() - 5e-4).abs() < 1e-6 && numbers.time.median == 5.0, "{numbers:?}");
        assert_eq!(row(None).unwrap().difference, None);
        let reason = row(Some(&[4.0, 1.2])).unwrap_err();
        assert_eq!(reason, "its output differs by 5.0e-2, where at most 1e-2 is the same network");
    }

    #[test]
    fn no_runtime_always_follows_the_same_one() {
        let rounds: Vec<Vec<usize>> = (0..4).map(|round| order(round, 3)).collect();
        assert_eq!(rounds, [[0, 1, 2], [0, 2, 1], [2, 0, 1], [2, 1, 0]]);
        assert_eq!(order(5, 1), [0]);
    }

    #[test]
    fn outputs_differ_by_their_worst_number() {
        assert_eq!(difference(&[1.0, 2.5], &[1.0, -2.0]), 2.25);
        assert_eq!(difference(&[0.0, 0.0], &[0.0, 0.0]), 0.0);
        assert_eq!(difference(&[1.0, 0.0], &[0.0, 0.0]), f64::INFINITY);
        assert_eq!(difference(&[1.0], &[1.0, 2.0]), f64::INFINITY);
        assert_eq!(difference(&[f32::NAN], &[1.0]), f64::INFINITY);
    }

    #[test]
    fn arrays_are_numpy_files() {
        let bytes = array(&[2, 3, 5]);
        let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert_eq!((header % 64, bytes[header - 1]), (0, b'\n'));
        assert_eq!(bytes.len(), header + 4 * 30);
        assert!(String::from_utf8_lossy(&bytes[10..header]).contains("'shape': (2, 3, 5, )"));
        let (values, rest) = bytes[header..].as_chunks::<4>();
        assert!(rest.is_empty());
        let values: Vec<f32> = values.iter().map(|value| f32::from_le_bytes(*value)).collect();
        assert!(values.iter().all(|value| (-1.0..1.0).contains(value)));
        assert!(values.iter().any(|&value| value < -0.5) && values.iter().any(|&value| value > 0.5));
    }

    #[test]
    fn a_command_that_fails_is_named() {
        let error = format!("{:#}", output(Command::new("cargo").arg("no-such-command")).unwrap_err());
        assert!(error.contains("no-such-command"), "{error}");
    }
}
