//! A process that loads a network and computes when it is told to.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A process that computes when it is told to.
pub(crate) struct Runner {
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
}

/// What a process says when it has computed once.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ready {
    pub(crate) version: String,
    pub(crate) load_ms: f64,
    pub(crate) first_ms: f64,
    pub(crate) peak_rss_bytes: Option<u64>,
    pub(crate) output: Vec<f32>,
}

impl Runner {
    /// Starts `command` with `threads`, and waits until it has computed once. What it says on stderr goes to `log`.
    ///
    /// # Errors
    /// When it ends before: with the last line of what it said.
    pub(crate) fn start(mut command: Command, threads: usize, log: &Path) -> Result<(Self, Ready)> {
        let stderr = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        // Some have threads that only a variable counts: rten's, which pack its weights.
        command.env("OMP_NUM_THREADS", threads.to_string()).env("RTEN_NUM_THREADS", threads.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().context("cannot start it")?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().context("it has no standard output")?);
        let mut runner = Self { child, stdin, answers: BufReader::new(stdout).lines(), log: log.to_owned() };
        let ready = ready(&runner.answer()?)?;
        Ok((runner, ready))
    }

    /// Computes once; the time in milliseconds that the process took by its own clock.
    ///
    /// # Errors
    /// When it ends instead.
    pub(crate) fn run(&mut self) -> Result<f64> {
        let told = self.stdin.as_mut().map(|stdin| stdin.write_all(b"run\n"));
        if !matches!(told, Some(Ok(()))) {
            bail!("it has ended: {}", last_line(&self.log));
        }
        self.answer()?["ms"].as_f64().context("its answer holds no time")
    }

    fn answer(&mut self) -> Result<Value> {
        match self.answers.next() {
            Some(Ok(line)) => serde_json::from_str(&line).with_context(|| format!("its answer is no JSON: {line}")),
            _ => bail!("it has ended: {}", last_line(&self.log)),
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // The end of its input ends it; one that does not listen is ended.
        drop(self.stdin.take());
        for _ in 0..100 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ready(answer: &Value) -> Result<Ready> {
    let number = |field: &str| answer[field].as_f64().with_context(|| format!("its first answer holds no {field}"));
    let output = answer["output"].as_array().context("its first answer holds no output")?;
    Ok(Ready {
        version: answer["version"].as_str().context("its first answer holds no version")?.to_owned(),
        load_ms: number("load_ms")?,
        first_ms: number("first_ms")?,
        peak_rss_bytes: answer["peak_rss_bytes"].as_u64(),
        // A number that is not finite has no JSON, and differs from everything.
        output: output.iter().map(|value| value.as_f64().map_or(f32::NAN, |value| value as f32)).collect(),
    })
}

/// The last line of a log that says something, and where the log is.
pub(crate) fn last_line(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    let line = line.map_or_else(|| "it said nothing".to_owned(), |line| line.chars().take(200).collect());
    format!("{line} (see {})", log.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    #[cfg(unix)]
    fn a_process_answers_until_its_input_ends() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let script = r#"echo '{"version":"1","load_ms":2,"first_ms":3.5,"peak_rss_bytes":null,"output":[1.5,null]}'
                        while read line; do echo "{\"ms\":$OMP_NUM_THREADS}"; done"#;
        let (mut runner, ready) = Runner::start(shell(script), 4, &log).unwrap();
        assert_eq!(
            (ready.version.as_str(), ready.load_ms, ready.first_ms, ready.peak_rss_bytes),
            ("1", 2.0, 3.5, None)
        );
        assert!(ready.output[0] == 1.5 && ready.output[1].is_nan());
        assert_eq!((runner.run().unwrap(), runner.run().unwrap()), (4.0, 4.0));
    }

    #[test]
    #[cfg(unix)]
    fn a_process_that_ends_is_reported_with_what_it_said() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        for (script, expected) in [
            ("echo first >&2; echo no such layer >&2; exit 1", "it has ended: no such layer (see "),
            ("exit 1", "it has ended: it said nothing"),
            ("echo hello", "its answer is no JSON: hello"),
            ("echo '{}'", "its first answer holds no"),
        ] {
            let error = format!("{:#}", Runner::start(shell(script), 1, &log).err().unwrap());
            assert!(error.contains(expected), "{error}");
        }
        let script = r#"echo '{"version":"1","load_ms":2,"first_ms":3,"output":[]}'; read line; echo gone >&2"#;
        let (mut runner, _) = Runner::start(shell(script), 1, &log).unwrap();
        assert!(format!("{:#}", runner.run().unwrap_err()).contains("it has ended: gone"));
    }
}
