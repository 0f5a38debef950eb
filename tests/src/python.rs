//! Python programs of the tests, `onnx.checker` among them.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// The variable that names the Python executable.
pub const PYTHON_VARIABLE: &str = "VGG_TEST_PYTHON";
/// The variable that names the directory of the Python packages, as Python itself reads it.
pub const PACKAGES_VARIABLE: &str = "PYTHONPATH";

/// A Python program.
#[derive(Clone, Copy, Debug)]
pub enum Script<'a> {
    /// A file of `tests/python/`.
    File(&'a str),
    /// The program itself.
    Text(&'a str),
}

/// Why a Python program gave no answer.
#[derive(thiserror::Error)]
pub enum PythonError {
    /// A variable of the environment is unset or empty.
    #[error(
        "{0} is not set, so the Python programs of the tests cannot run; run the tests by `cargo xtask test`, which fetches the packages \
         and sets it"
    )]
    NoVariable(&'static str),
    /// The interpreter could not be started.
    #[error("cannot run VGG_TEST_PYTHON={}: {source}; `cargo xtask test` finds a Python by itself when it is unset", python.display())]
    Start {
        /// The value of `VGG_TEST_PYTHON`.
        python: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The program failed.
    #[error("the Python program {script} failed ({status}):\n{stderr}")]
    Failed {
        /// The program's file, or its first line.
        script: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to stderr.
        stderr: String,
    },
    /// The program succeeded, but what it printed is not what it promises.
    #[error("the Python program {script} printed what was not expected: {reason}\n{stdout}")]
    Output {
        /// The program's file, or its first line.
        script: String,
        /// What is wrong.
        reason: String,
        /// What it printed.
        stdout: String,
    },
}

/// The text for people: `unwrap` in a test prints this.
impl fmt::Debug for PythonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Runs a program with `args` and returns what it writes to stdout.
///
/// # Errors
/// When the environment is not that of `cargo xtask test`, or the program fails; the error holds what it wrote to stderr.
pub fn run<A: AsRef<OsStr>>(script: Script<'_>, args: &[A]) -> Result<String, PythonError> {
    let environment = Environment::read(|name| std::env::var_os(name))?;
    environment.run(script, args)
}

/// Where Python and the packages are.
#[derive(Debug)]
struct Environment {
    python: PathBuf,
    packages: OsString,
}

impl Environment {
    fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, PythonError> {
        let required = |name| variable(name).filter(|value| !value.is_empty()).ok_or(PythonError::NoVariable(name));
        Ok(Self { python: required(PYTHON_VARIABLE)?.into(), packages: required(PACKAGES_VARIABLE)? })
    }

    fn run<A: AsRef<OsStr>>(&self, script: Script<'_>, args: &[A]) -> Result<String, PythonError> {
        let mut command = Command::new(&self.python);
        command.env(PACKAGES_VARIABLE, &self.packages).env("PYTHONNOUSERSITE", "1").env("PYTHONIOENCODING", "utf-8");
        match script {
            Script::File(name) => command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name)),
            Script::Text(text) => command.arg("-c").arg(text),
        };
        let output =
            command.args(args).output().map_err(|source| PythonError::Start { python: self.python.clone(), source })?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(PythonError::Failed { script: script.name(), status: output.status, stderr });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Script<'_> {
    /// The file, or the first line of the text.
    fn name(self) -> String {
        match self {
            Script::File(name) => name.to_owned(),
            Script::Text(text) => format!("`{}`", text.trim_start().lines().next().unwrap_or_default()),
        }
    }
}

/// What `onnx.checker` and shape inference say of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnnxCheck {
    /// The path that was given.
    pub path: String,
    /// Why the model was refused; none when it is valid.
    pub error: Option<String>,
    /// The version of the default operator set; none when the file is no ONNX model or imports none.
    pub opset: Option<i64>,
    /// The IR version; none when the file is no ONNX model.
    pub ir_version: Option<i64>,
}

/// Checks models with `onnx.checker` (`full_check`) and strict shape inference with data propagation.
///
/// # Errors
/// When the checker could not run. A model that it refuses is no error of this function: see [`OnnxCheck::error`].
pub fn check_onnx<P: AsRef<Path>>(models: &[P]) -> Result<Vec<OnnxCheck>, PythonError> {
    const SCRIPT: Script<'_> = Script::File("check_onnx.py");
    let paths = models.iter().map(|path| path.as_ref().as_os_str()).collect::<Vec<_>>();
    let stdout = run(SCRIPT, &paths)?;
    let malformed = |reason: String| PythonError::Output { script: SCRIPT.name(), reason, stdout: stdout.clone() };
    let checks = stdout
        .lines()
        .map(|line| parse_check(line).ok_or_else(|| malformed(format!("no verdict in the line `{line}`"))))
        .collect::<Result<Vec<_>, _>>()?;
    if checks.len() != models.len() {
        return Err(malformed(format!("{} verdicts on {} models", checks.len(), models.len())));
    }
    Ok(checks)
}

/// A line that `check_onnx.py` prints.
fn parse_check(line: &str) -> Option<OnnxCheck> {
    let value = serde_json::from_str::<serde_json::Value>(line).ok()?;
    let error = value.get("error")?.as_str().map(str::to_owned);
    // A verdict that contradicts itself is none.
    if value.get("ok")?.as_bool()? != error.is_none() {
        return None;
    }
    Some(OnnxCheck {
        path: value.get("path")?.as_str()?.to_owned(),
        error,
        opset: value.get("opset")?.as_i64(),
        ir_version: value.get("ir_version")?.as_i64(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_variable_names_the_remedy() {
        for missing in [PYTHON_VARIABLE, PACKAGES_VARIABLE] {
            let environment = Environment::read(|name| (name != missing).then(|| "value".into()));
            let message = environment.unwrap_err().to_string();
            assert!(message.starts_with(&format!("{missing} is not set")), "{message}");
            assert!(message.contains("`cargo xtask test`"), "{message}");
        }
    }

    #[test]
    fn a_missing_interpreter_is_named() {
        let environment = Environment { python: "no/such/python".into(), packages: "packages".into() };
        let message = environment.run(Script::Text("print(1)"), &[""; 0]).unwrap_err().to_string();
        assert!(message.starts_with("cannot run VGG_TEST_PYTHON=no/such/python: "), "{message}");
    }

    #[test]
    fn a_verdict_must_be_complete_and_consistent() {
        let line = r#"{"path": "m.onnx", "ok": true, "error": null, "opset": 17, "ir_version": 8}"#;
        let expected = OnnxCheck { path: "m.onnx".into(), error: None, opset: Some(17), ir_version: Some(8) };
        assert_eq!(parse_check(line), Some(expected));
        assert_eq!(parse_check(&line.replace("true", "false")), None);
        assert_eq!(parse_check(&line.replace("\"opset\": 17, ", "")), None);
        assert_eq!(parse_check("Traceback"), None);
    }
}
