//! One command of a task.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A command with a name. It inherits stdin, stdout, stderr and the environment, changed as `env` says.
pub(crate) struct Step {
    name: &'static str,
    program: OsString,
    args: Vec<OsString>,
    /// Variables to set (`Some`) or to remove (`None`).
    env: Vec<(&'static str, Option<OsString>)>,
}

impl Step {
    /// A step that runs `program`.
    pub(crate) fn new(name: &'static str, program: impl Into<OsString>) -> Self {
        Self { name, program: program.into(), args: Vec::new(), env: Vec::new() }
    }

    /// Appends arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the environment.
    pub(crate) fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.env.push((name, Some(value.into())));
        self
    }

    /// Removes a variable from the environment.
    pub(crate) fn without_env(mut self, name: &'static str) -> Self {
        self.env.push((name, None));
        self
    }

    /// Runs the step in `directory`, and says on stderr that it starts and how long it took.
    ///
    /// # Errors
    /// When the program cannot be started or does not succeed: the error names the step and the command that repeats it.
    pub(crate) fn run(&self, directory: &Path) -> Result<()> {
        eprintln!("xtask: {}: {}", self.name, self.command_line(false));
        let start = Instant::now();
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(directory);
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let status = command
            .status()
            .with_context(|| format!("step `{}` failed: cannot run `{}`", self.name, self.program.display()))?;
        let duration = format_duration(start.elapsed());
        if !status.success() {
            bail!(
                "step `{}` failed after {duration} ({status})\nhelp: repeat it with: {}",
                self.name,
                self.command_line(true)
            );
        }
        eprintln!("xtask: {}: ok in {duration}", self.name);
        Ok(())
    }

    /// The command as one would type it in a shell, with the changes of the environment when `with_env`.
    fn command_line(&self, with_env: bool) -> String {
        let mut words = Vec::new();
        if with_env {
            let removed =
                self.env.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| *name).collect::<Vec<_>>();
            if !removed.is_empty() {
                words.push("env".to_owned());
                words.extend(removed.iter().map(|name| format!("-u {name}")));
            }
            for (name, value) in &self.env {
                if let Some(value) = value {
                    words.push(format!("{name}={}", quote(value)));
                }
            }
        }
        // cargo is known by its absolute path here; a reader has it on the PATH.
        let program = Path::new(&self.program);
        let is_cargo = program.file_stem().is_some_and(|stem| stem == "cargo");
        words.push(if is_cargo { "cargo".to_owned() } else { quote(&self.program) });
        words.extend(self.args.iter().map(|arg| quote(arg)));
        words.join(" ")
    }
}

/// `12.3 s`, or `2 min 5 s` from a minute on.
pub(crate) fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    // 59.95 would be rounded to "60.0 s".
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let seconds = seconds.round() as u64;
    format!("{} min {} s", seconds / 60, seconds % 60)
}

/// A word of a POSIX shell.
fn quote(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@%+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_when_a_shell_would_split_them() {
        assert_eq!(quote(OsStr::new("--release")), "--release");
        assert_eq!(quote(OsStr::new("-D warnings")), "'-D warnings'");
        assert_eq!(quote(OsStr::new("it's")), r"'it'\''s'");
        assert_eq!(quote(OsStr::new("")), "''");
    }

    #[test]
    fn durations_change_unit_at_a_minute() {
        assert_eq!(format_duration(Duration::from_millis(1240)), "1.2 s");
        assert_eq!(format_duration(Duration::from_millis(59_960)), "1 min 0 s");
        assert_eq!(format_duration(Duration::from_secs(125)), "2 min 5 s");
    }

    #[test]
    fn the_command_to_repeat_holds_the_environment() {
        let step = Step::new("tests", "/opt/bin/cargo").args(["test"]).env("A", "b c").without_env("VGG_BLESS");
        assert_eq!(step.command_line(true), "env -u VGG_BLESS A='b c' cargo test");
        assert_eq!(step.command_line(false), "cargo test");
    }

    #[cfg(unix)]
    #[test]
    fn a_failure_names_the_step_and_the_command() {
        let step = Step::new("doomed", "sh").args(["-c", "exit $CODE"]).env("CODE", "3");
        let message = format!("{:#}", step.run(Path::new(".")).unwrap_err());
        assert!(message.starts_with("step `doomed` failed after ") && message.contains("exit status: 3"), "{message}");
        assert!(message.ends_with("help: repeat it with: CODE=3 sh -c 'exit $CODE'"), "{message}");
        step.env("CODE", "0").run(Path::new(".")).unwrap();
    }

    #[test]
    fn a_missing_program_is_named() {
        let message = format!("{:#}", Step::new("absent", "no-such-program").run(Path::new(".")).unwrap_err());
        assert!(message.starts_with("step `absent` failed: cannot run `no-such-program`: "), "{message}");
    }
}
