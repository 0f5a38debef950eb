//! The inference runtimes that are measured, and where each comes from.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::process::last_line;
use crate::project::Project;
use crate::python::{self, Packages};
use crate::step::Step;

/// Serves one peer of Python over a pipe.
const WORKER: &str = include_str!("../../peers/worker.py");

/// The program that serves those of Rust, from the project's root.
pub(crate) const PEERS_MANIFEST: &str = "xtask/peers/rust/Cargo.toml";

/// An inference runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its name, as its worker knows it.
    pub(crate) name: &'static str,
    /// Where it comes from.
    pub(crate) origin: Origin,
    /// Whether it reads a file of its own kind, made of the ONNX file.
    pub(crate) converts: bool,
    /// Whether it computes images of a batch together.
    pub(crate) batches: bool,
}

/// Where a peer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// PyPI; it is among the packages of the tests.
    Tests,
    /// PyPI: `requirements`, complete when they hold the file or directory `witness`.
    PyPi { requirements: &'static str, witness: &'static str },
    /// crates.io: a dependency of the program in `xtask/peers/rust`.
    Crates,
}

/// Those that are measured.
pub(crate) const PEERS: [Peer; 6] = [
    Peer { name: "onnxruntime", origin: Origin::Tests, converts: false, batches: true },
    Peer {
        name: "openvino",
        origin: Origin::PyPi { requirements: include_str!("../../peers/openvino.txt"), witness: "openvino" },
        converts: false,
        batches: true,
    },
    Peer {
        name: "ncnn",
        origin: Origin::PyPi { requirements: include_str!("../../peers/ncnn.txt"), witness: "pnnx/pnnx" },
        converts: true,
        batches: false,
    },
    Peer {
        name: "mnn",
        origin: Origin::PyPi { requirements: include_str!("../../peers/mnn.txt"), witness: "MNN" },
        converts: true,
        batches: true,
    },
    Peer { name: "tract", origin: Origin::Crates, converts: false, batches: true },
    Peer { name: "rten", origin: Origin::Crates, converts: false, batches: true },
];

/// A peer whose worker can be started.
pub(crate) struct Installed {
    pub(crate) peer: Peer,
    program: PathBuf,
    /// What stands before the task, the interpreter's script.
    script: Option<PathBuf>,
    env: Vec<(&'static str, OsString)>,
}

impl Installed {
    /// Fetches the packages of `peer` into `target/peers`, beside those of the tests, or builds its worker there.
    ///
    /// # Errors
    /// When they are not to be had for this machine.
    pub(crate) fn provide(project: &Project, packages: &Packages, peer: Peer) -> Result<Self> {
        let root = project.target.join("peers");
        fs::create_dir_all(&root).with_context(|| format!("cannot create {}", root.display()))?;
        let mut directories = vec![packages.directory.clone()];
        match peer.origin {
            Origin::Tests => {}
            Origin::PyPi { requirements, witness } => {
                let directory = root.join(peer.name);
                python::provide(&packages.interpreter, &directory, requirements, &|staged| {
                    if staged.join(witness).exists() { Ok(()) } else { bail!("the packages hold no {witness}") }
                })?;
                directories.insert(0, directory);
            }
            Origin::Crates => {
                return Ok(Self { peer, program: build(project, &root.join("rust"))?, script: None, env: Vec::new() });
            }
        }
        let worker = root.join("worker.py");
        fs::write(&worker, WORKER).with_context(|| format!("cannot write {}", worker.display()))?;
        let python_path = std::env::join_paths(directories).context("the target directory cannot be in PYTHONPATH")?;
        // What is not pinned is not to be installed by anybody.
        let env = vec![("PYTHONPATH", python_path), ("PIP_NO_INDEX", "1".into())];
        Ok(Self { peer, program: packages.interpreter.executable.clone(), script: Some(worker), env })
    }

    fn command(&self, task: &str, model: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.script).arg(task).arg(self.peer.name).arg(model);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// What the peer reads: `model`, or what it is converted to in `directory`, which is made for it.
    ///
    /// # Errors
    /// When the peer refuses the model: with the last line of what it said.
    pub(crate) fn convert(&self, model: &Path, directory: &Path, log: &Path) -> Result<PathBuf> {
        if !self.peer.converts {
            return Ok(model.to_owned());
        }
        eprintln!("xtask: {}: converting", self.peer.name);
        fs::create_dir(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let mut command = self.command("convert", model);
        command.arg(directory);
        let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let status = command.status().context("cannot start its converter")?;
        if !status.success() {
            bail!("cannot convert the model ({status}): {}", last_line(log));
        }
        Ok(directory.to_owned())
    }

    /// The command that serves what [`Installed::convert`] has given.
    pub(crate) fn serve(&self, model: &Path, input: &Path, threads: usize) -> Command {
        let mut command = self.command("serve", model);
        command.arg(input).arg(threads.to_string());
        command
    }
}

/// Builds the worker of the peers that are crates into `directory`; its path.
fn build(project: &Project, directory: &Path) -> Result<PathBuf> {
    Step::new("crates", &project.cargo)
        .args(["build", "--release", "--locked", "--manifest-path", PEERS_MANIFEST, "--target-dir"])
        .args([directory])
        .run(&project.root)?;
    Ok(directory.join("release").join(format!("vgg-peers{}", std::env::consts::EXE_SUFFIX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUST_WORKER: &str = include_str!("../../peers/rust/src/main.rs");

    #[test]
    fn every_worker_knows_its_peers() {
        for Peer { name, origin, .. } in PEERS {
            let known = match origin {
                Origin::Crates => RUST_WORKER.contains(&format!("name: \"{name}\"")),
                Origin::Tests | Origin::PyPi { .. } => WORKER.contains(&format!("\"{name}\": ")),
            };
            assert!(known, "the worker does not know {name}");
        }
    }

    #[test]
    fn every_requirement_of_a_peer_is_pinned_by_version_and_digest() {
        let mut packages = Vec::new();
        for peer in PEERS {
            let Origin::PyPi { requirements, .. } = peer.origin else { continue };
            for line in requirements.replace("\\\n", " ").lines() {
                assert!(line.starts_with('#') || line.contains("==") && line.contains("--hash=sha256:"), "{line}");
            }
            packages.extend(python::pinned_packages(requirements));
        }
        assert_eq!(packages.len(), 4, "{packages:?}");
    }
}
