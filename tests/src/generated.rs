//! Generated crates, built and run outside this workspace as their users do.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use vgg_cli::build::{Options, build};
use vgg_cli::model::Model;
use vgg_cli::progress::Progress;
use vgg_cli::reference::evaluate;
use vgg_compiler::Compiled;
use vgg_compiler::rust::{EXPECTED_FILE, INPUT_FILE, Network, PackageOptions, RuntimeSource, WEIGHTS_FILE, package};
use vgg_compiler::weights::{WeightsSource, canonical};
use vgg_runtime::{npy, source};

/// Writes the crate of a network, a variant's name or the path of a declaration, to `out`.
///
/// # Panics
/// When it cannot be written.
pub fn write_crate(model: &OsStr, weights: &WeightsSource, out: &Path, options: &Options) {
    let model = Model::open(model).unwrap_or_else(|error| panic!("{error}"));
    build(&model, weights, out, options, &Progress::silent()).unwrap_or_else(|error| panic!("{error}"));
}

/// Writes the crate of a compiled graph to `out`, without its ONNX file.
///
/// # Panics
/// When it cannot be written.
pub fn write_graph_crate(compiled: &Compiled, weights: &WeightsSource, out: &Path, name: &str, image: &[f32]) {
    let Compiled { graph, plan, .. } = compiled;
    let weights = weights.load(graph).expect("weights");
    let header = compiled.header();
    let options = PackageOptions { name: name.to_owned(), embed: false, tolerance: 1e-5 };
    let runtime = RuntimeSource { manifest: source::MANIFEST, files: source::FILES };
    let files = package(Network { graph, plan, header: &header }, &options, runtime).expect("a crate");
    for file in files {
        let path = out.join(file.path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(&path, file.text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    canonical::write(&out.join(WEIGHTS_FILE), graph, &weights, &mut |_| {}).expect("the weights file");
    let expected = evaluate(graph, &weights, 1, image, &mut |_, _: &[f64]| {});
    let expected: Vec<f32> = expected.iter().map(|&value| value as f32).collect();
    npy::write_f32(&out.join(INPUT_FILE), &[image.len()], image).expect("a file");
    npy::write_f32(&out.join(EXPECTED_FILE), &[expected.len()], &expected).expect("a file");
}

/// A package outside the workspace, and where cargo builds it.
#[derive(Debug)]
pub struct Package {
    /// Its directory.
    pub path: PathBuf,
    /// Its target directory.
    pub target: PathBuf,
}

impl Package {
    /// Runs `cargo` with `arguments`, offline, every warning an error.
    ///
    /// # Panics
    /// When it fails, with all that it wrote.
    pub fn cargo<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Output {
        let mut command = Command::new(env!("CARGO"));
        command.args(arguments).current_dir(&self.path);
        // What cargo tells the tests of this workspace is not for another one.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO") && text != "CARGO_HOME" || text.starts_with("VGG_") || text == "RUSTDOCFLAGS" {
                command.env_remove(name);
            }
        }
        command.env("CARGO_TARGET_DIR", &self.target).env("RUSTFLAGS", "-Dwarnings").env("CARGO_NET_OFFLINE", "true");
        let output = command.output().expect("cargo runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let arguments: Vec<_> = arguments.iter().map(|argument| argument.as_ref().to_string_lossy()).collect();
        assert!(
            output.status.success() && !text(&output.stderr).contains("warning"),
            "cargo {} in {}: {}\n{}\n{}",
            arguments.join(" "),
            self.path.display(),
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        );
        output
    }
}

/// Every file below `directory` by its path, with `/`.
///
/// # Panics
/// When a file cannot be read.
pub fn tree(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(place) = open.pop() {
        for entry in fs::read_dir(&place).unwrap_or_else(|error| panic!("{}: {error}", place.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(directory).expect("a path below").to_string_lossy().replace('\\', "/");
                files.insert(name, fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
            }
        }
    }
    files
}

/// Copies every file of `from` to `to`.
///
/// # Panics
/// When a file cannot be copied.
pub fn copy(from: &Path, to: &Path) {
    for (name, bytes) in tree(from) {
        let path = to.join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
