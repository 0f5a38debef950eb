//! A directory to work in, small networks, and the command itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// Everything that a network can have, small enough to take no time.
pub(crate) const TINY: &str = "\
/// A small one.
pub Tiny: 3 x 16 x 16 {
    conv3-8, bn, conv3-8, lrn, maxpool;
    conv3-12(stride 2), avgpool(3);
    fc-20, dropout, fc-10, softmax
}
";

/// A network that ends in feature maps.
pub(crate) const MAPS: &str = "Maps: 2 x 9 x 7 { conv3-5, maxpool(ceil) }";

/// An empty directory in which the command is run.
pub(crate) struct Place {
    directory: TempDir,
}

impl Place {
    /// An empty one.
    pub(crate) fn empty() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// One with `tiny.vgg` and `maps.vgg`.
    pub(crate) fn new() -> Self {
        let place = Self::empty();
        place.write("tiny.vgg", TINY);
        place.write("maps.vgg", MAPS);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Writes an array of numbers that repeat after 251, between -1 and 1.
    pub(crate) fn array(&self, name: &str, dims: &[usize]) {
        let values: Vec<f32> = (0..dims.iter().product()).map(|index| (index % 251) as f32 / 125.0 - 1.0).collect();
        vgg_runtime::npy::write_f32(&self.path(name), dims, &values).unwrap();
    }

    /// Names of what is in the directory, sorted, hidden ones too.
    pub(crate) fn names(&self) -> Vec<String> {
        names(self.directory.path())
    }

    /// The command, with nothing of the caller's settings that would change its output.
    pub(crate) fn vgg(&self, arguments: &[&str]) -> Command {
        let mut command = assert_cmd::cargo::cargo_bin_cmd!("vgg");
        command.current_dir(self.directory.path()).args(arguments);
        for variable in ["VGG_NUM_THREADS", "VGG_ISA", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs the command, which must succeed, and gives what it wrote to standard output.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let (stdout, _) = self.exits(0, arguments);
        stdout
    }

    /// Runs the command, which must succeed, and gives the one JSON document on its standard output.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(arguments)).unwrap()
    }

    /// Runs the command, which must fail with this status, write nothing to standard output, and say in `error:` lines what
    /// is wrong. Gives its standard error.
    pub(crate) fn fails(&self, status: i32, arguments: &[&str]) -> String {
        let before = self.names();
        let (stdout, stderr) = self.exits(status, arguments);
        assert_eq!(stdout, "", "{arguments:?}");
        assert!(stderr.lines().any(|line| line.starts_with("error: ")), "{arguments:?}: {stderr}");
        assert_eq!(self.names(), before, "{arguments:?} left something behind");
        stderr
    }

    /// Runs the command and gives what it wrote to standard output and to standard error.
    pub(crate) fn exits(&self, status: i32, arguments: &[&str]) -> (String, String) {
        let output = self.vgg(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        assert_eq!(output.status.code(), Some(status), "{arguments:?}\n{stdout}{stderr}");
        assert!(
            !stdout.contains('\u{1b}') && !stderr.contains('\u{1b}'),
            "colour without a terminal: {stdout}{stderr}"
        );
        (stdout, stderr)
    }
}

/// Names of what is in a directory, sorted.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Every file below a directory with its content, but for what cargo makes.
pub(crate) fn tree(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(current) = open.pop() {
        for name in names(&current) {
            let path = current.join(&name);
            if path.is_dir() {
                open.push(path);
            } else {
                let relative = path.strip_prefix(directory).unwrap().to_str().unwrap().replace('\\', "/");
                files.insert(relative, fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// The keys of a JSON object, in order.
pub(crate) fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}
