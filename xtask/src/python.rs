//! The Python packages of the tests, and ONNX Runtime's library inside one of them.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::project::Project;
use crate::step::format_duration;

/// Pinned versions and digests.
const REQUIREMENTS: &str = include_str!("../requirements.txt");
/// Downloads pip for a Python without it.
const FETCH_PIP: &str = include_str!("../fetch_pip.py");
/// The file that says which requirements a directory of packages satisfies.
const STAMP: &str = "vgg-requirements.stamp";
/// The minor versions of Python 3 that the digests cover.
const MINOR_VERSIONS: std::ops::RangeInclusive<u32> = 11..=14;
/// Chooses the interpreter; the tests read it too.
const PYTHON_VARIABLE: &str = "VGG_TEST_PYTHON";
/// Chooses ONNX Runtime's library; the tests read it too.
const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";

/// A Python interpreter that the pinned packages support.
pub(crate) struct Interpreter {
    /// The absolute path of the executable.
    pub(crate) executable: PathBuf,
    minor: u32,
    /// `linux-x86_64` and the like.
    platform: String,
}

/// The packages, ready for use.
pub(crate) struct Packages {
    /// The interpreter they were fetched for (VGG_TEST_PYTHON).
    pub(crate) interpreter: Interpreter,
    /// The directory that holds them (PYTHONPATH).
    pub(crate) directory: PathBuf,
    /// ONNX Runtime's dynamic library (ORT_DYLIB_PATH).
    pub(crate) library: PathBuf,
}

/// Where the packages of `project` are kept.
pub(crate) fn directory(project: &Project) -> PathBuf {
    project.target.join("python")
}

/// Makes sure that the packages of `requirements.txt` are in the target directory.
///
/// # Errors
/// When there is no suitable Python, no pip and no way to fetch it, when pip fails, or when ORT_DYLIB_PATH names no file. Each
/// error names its remedy. What was there before is left as it was.
pub(crate) fn fetch(project: &Project) -> Result<Packages> {
    let chosen_library =
        std::env::var_os(LIBRARY_VARIABLE).filter(|path| !path.is_empty()).map(chosen_library).transpose()?;
    let interpreter = Interpreter::find(std::env::var_os(PYTHON_VARIABLE).as_deref())?;
    let directory = directory(project);
    provide(&interpreter, &directory, REQUIREMENTS, &|staged| find_library(staged).map(drop))?;
    let library = chosen_library.map_or_else(|| find_library(&directory), Ok)?;
    Ok(Packages { interpreter, directory, library })
}

/// Makes sure that the packages of `requirements` are in `directory`, a child of the target directory, and `complete`.
///
/// # Errors
/// As [`fetch`]. What was there before is left as it was.
pub(crate) fn provide(
    interpreter: &Interpreter,
    directory: &Path,
    requirements: &str,
    complete: &dyn Fn(&Path) -> Result<()>,
) -> Result<()> {
    let stamp = stamp(interpreter, requirements);
    if is_up_to_date(directory, &stamp) {
        eprintln!("xtask: Python packages: {} is up to date", directory.display());
        return Ok(());
    }
    install(interpreter, directory, requirements, &stamp, complete)
}

/// The library that the user chose.
fn chosen_library(path: OsString) -> Result<PathBuf> {
    let path = PathBuf::from(path);
    // Tests run in the directories of their packages, where a relative path would mean something else.
    path.canonicalize().with_context(|| {
        format!(
            "{LIBRARY_VARIABLE} is {}, which cannot be read; set it to ONNX Runtime's library or unset it to use the fetched one",
            path.display()
        )
    })
}

/// What a complete directory of packages holds in its stamp file.
fn stamp(interpreter: &Interpreter, requirements: &str) -> String {
    format!("cpython 3.{} {}\n{requirements}", interpreter.minor, interpreter.platform)
}

fn is_up_to_date(directory: &Path, stamp: &str) -> bool {
    fs::read_to_string(directory.join(STAMP)).is_ok_and(|found| found == stamp)
}

impl Interpreter {
    /// `chosen`, or else the first suitable interpreter on the PATH.
    fn find(chosen: Option<&OsStr>) -> Result<Self> {
        if let Some(chosen) = chosen.filter(|name| !name.is_empty()) {
            return Self::probe(chosen).with_context(|| format!("{PYTHON_VARIABLE} is {}", chosen.display()));
        }
        let mut names = vec!["python3".to_owned()];
        names.extend(MINOR_VERSIONS.rev().map(|minor| format!("python3.{minor}")));
        names.push("python".to_owned());
        let mut reasons = Vec::new();
        for name in &names {
            match Self::probe(OsStr::new(name)) {
                Ok(interpreter) => return Ok(interpreter),
                Err(error) => reasons.push(format!("  {error:#}")),
            }
        }
        bail!(
            "no suitable Python for the tests\n{}\nhelp: install CPython 3.{} to 3.{}, or set {PYTHON_VARIABLE} to its executable",
            reasons.join("\n"),
            MINOR_VERSIONS.start(),
            MINOR_VERSIONS.end()
        )
    }

    /// Asks the interpreter `name` what it is.
    fn probe(name: &OsStr) -> Result<Self> {
        let code = "import sys, sysconfig; print(sys.executable, sys.implementation.name, sys.version_info[0], \
                    sys.version_info[1], sysconfig.get_platform(), sep='\\n')";
        let output = Command::new(name)
            .args(["-c", code])
            .output()
            .with_context(|| format!("cannot run `{}`", name.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let lines = text.lines().collect::<Vec<_>>();
        let &[executable, implementation, major, minor, platform] = lines.as_slice() else {
            bail!("`{}` did not say what it is ({})", name.display(), output.status);
        };
        let version = (major.parse::<u32>().ok(), minor.parse::<u32>().ok());
        match version {
            (Some(3), Some(minor)) if implementation == "cpython" && MINOR_VERSIONS.contains(&minor) => {
                Ok(Self { executable: executable.into(), minor, platform: platform.to_owned() })
            }
            _ => bail!(
                "`{}` is {implementation} {major}.{minor}, expected CPython 3.{} to 3.{}",
                name.display(),
                MINOR_VERSIONS.start(),
                MINOR_VERSIONS.end()
            ),
        }
    }
}

/// Installs the packages into a temporary sibling of `directory` and renames it.
fn install(
    interpreter: &Interpreter,
    directory: &Path,
    requirements: &str,
    stamp: &str,
    complete: &dyn Fn(&Path) -> Result<()>,
) -> Result<()> {
    let parent = directory.parent().context("the target directory has no parent")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let temporary = tempfile::Builder::new()
        .prefix(".python-")
        .tempdir_in(parent)
        .with_context(|| format!("cannot create a temporary directory in {}", parent.display()))?;
    let start = Instant::now();
    eprintln!(
        "xtask: Python packages: fetching {} for {} (3.{}, {})",
        pinned_packages(requirements).join(", "),
        interpreter.executable.display(),
        interpreter.minor,
        interpreter.platform
    );

    let list = temporary.path().join("requirements.txt");
    fs::write(&list, requirements).with_context(|| format!("cannot write {}", list.display()))?;
    let staged = temporary.path().join("python");
    let status = Command::new(&interpreter.executable)
        .args(pip(interpreter, temporary.path())?)
        .args(["install", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-compile"])
        .args(["--progress-bar", "off", "--disable-pip-version-check", "--no-input", "--target"])
        .arg(&staged)
        .arg("--requirement")
        .arg(&list)
        // `--target` excludes both, which a user's configuration may ask for.
        .envs([("PIP_USER", "0"), ("PIP_REQUIRE_VIRTUALENV", "0"), ("PIP_ROOT_USER_ACTION", "ignore")])
        .stdout(io::stderr())
        .status()
        .with_context(|| format!("cannot run {}", interpreter.executable.display()))?;
    if !status.success() {
        bail!(
            "pip could not install the Python packages {} ({status}); its own message stands above\nhelp: they come from \
             PyPI: check the network, or set PIP_INDEX_URL to a mirror, PIP_FIND_LINKS to a directory of wheels, PIP_PROXY to a \
             proxy; {PYTHON_VARIABLE} chooses another Python; then run the command again",
            pinned_packages(requirements).join(", ")
        );
    }
    complete(&staged)?;
    fs::write(staged.join(STAMP), stamp).context("cannot write the stamp of the Python packages")?;
    // Another task may have finished meanwhile, and its tests may be using what it installed.
    if !is_up_to_date(directory, stamp) {
        replace(&staged, directory, &temporary.path().join("old"))?;
    }
    eprintln!("xtask: Python packages: installed in {} in {}", directory.display(), format_duration(start.elapsed()));
    Ok(())
}

/// Puts `new` in the place of `directory`; what was there moves to `old`, and back when `new` cannot take its place.
fn replace(new: &Path, directory: &Path, old: &Path) -> Result<()> {
    let existed = match fs::rename(directory, old) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error).with_context(|| format!("cannot move {} away", directory.display())),
    };
    let Err(error) = fs::rename(new, directory) else { return Ok(()) };
    if existed {
        fs::rename(old, directory)
            .with_context(|| format!("cannot move {} back to {}", old.display(), directory.display()))?;
    }
    Err(error).with_context(|| format!("cannot move {} to {}", new.display(), directory.display()))
}

/// The arguments that make the interpreter run pip: its own, or the pinned wheel fetched into `temporary`.
fn pip(interpreter: &Interpreter, temporary: &Path) -> Result<Vec<OsString>> {
    let probe = Command::new(&interpreter.executable)
        .args(["-m", "pip", "--version"])
        .output()
        .with_context(|| format!("cannot run {}", interpreter.executable.display()))?;
    if probe.status.success() {
        return Ok(vec!["-m".into(), "pip".into()]);
    }
    eprintln!("xtask: Python packages: {} has no pip; fetching it", interpreter.executable.display());
    let wheel = temporary.join("pip-26.3-py3-none-any.whl");
    let status = Command::new(&interpreter.executable)
        .args(["-c", FETCH_PIP])
        .arg(&wheel)
        .status()
        .with_context(|| format!("cannot run {}", interpreter.executable.display()))?;
    if !status.success() {
        bail!(
            "{} has no pip, and pip could not be fetched ({status})\nhelp: install it (`apt install python3-pip`, `dnf install \
             python3-pip`, `{} -m ensurepip`), or set {PYTHON_VARIABLE} to a Python that has it",
            interpreter.executable.display(),
            interpreter.executable.display()
        );
    }
    // A wheel is a zip file, and Python runs the `__main__` of a package inside one.
    Ok(vec![wheel.join("pip").into_os_string()])
}

/// `name version` of each pinned package.
pub(crate) fn pinned_packages(requirements: &str) -> Vec<String> {
    requirements
        .lines()
        .filter_map(|line| line.split_once("=="))
        .map(|(name, rest)| format!("{name} {}", rest.trim_end_matches('\\').trim_end()))
        .collect()
}

/// ONNX Runtime's dynamic library in a directory of packages.
fn find_library(packages: &Path) -> Result<PathBuf> {
    let capi = packages.join("onnxruntime").join("capi");
    let entries = fs::read_dir(&capi).with_context(|| format!("cannot list {}", capi.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", capi.display()))?;
        if is_library(&entry.file_name().to_string_lossy()) {
            found.push(entry.path());
        }
    }
    found.sort();
    found.into_iter().next().with_context(|| {
        format!(
            "{} holds no ONNX Runtime library; remove {} and run `cargo xtask ort` again",
            capi.display(),
            packages.display()
        )
    })
}

/// Whether a file of `onnxruntime/capi` is the library itself rather than one of its plug-ins or the Python module.
fn is_library(name: &str) -> bool {
    if cfg!(windows) {
        name == "onnxruntime.dll"
    } else if cfg!(target_os = "macos") {
        name.starts_with("libonnxruntime.") && name.ends_with(".dylib")
    } else {
        name.starts_with("libonnxruntime.so")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_requirement_is_pinned_by_version_and_digest() {
        let packages = pinned_packages(REQUIREMENTS);
        assert!(packages.contains(&"onnxruntime 1.32.0".to_owned()), "{packages:?}");
        assert!(packages.contains(&"onnx 1.23.2".to_owned()), "{packages:?}");
        let logical_lines = REQUIREMENTS.replace("\\\n", " ");
        for line in logical_lines.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.contains("==") && line.contains("--hash=sha256:"), "{line}");
        }
    }

    #[test]
    fn a_stamp_is_bound_to_the_interpreter() {
        let interpreter = |minor| Interpreter { executable: "python3".into(), minor, platform: "linux-x86_64".into() };
        let stamp = |minor, requirements| stamp(&interpreter(minor), requirements);
        assert_ne!(stamp(11, REQUIREMENTS), stamp(12, REQUIREMENTS));
        assert!(stamp(11, REQUIREMENTS).ends_with(REQUIREMENTS));
        assert!(!is_up_to_date(Path::new("no/such/directory"), &stamp(11, "")));
    }

    #[test]
    fn a_missing_interpreter_is_named() {
        let message = format!("{:#}", Interpreter::find(Some(OsStr::new("no-such-python"))).err().unwrap());
        assert!(message.starts_with("VGG_TEST_PYTHON is no-such-python: cannot run `no-such-python`: "), "{message}");
    }

    #[test]
    fn a_program_that_is_no_python_is_refused() {
        // cargo refuses `-c` and prints nothing on stdout.
        let message = format!("{:#}", Interpreter::probe(OsStr::new("cargo")).err().unwrap());
        assert!(message.starts_with("`cargo` did not say what it is"), "{message}");
    }

    #[test]
    fn a_library_that_is_not_there_is_an_error() {
        let message = format!("{:#}", chosen_library("no/such/libonnxruntime.so".into()).unwrap_err());
        assert!(message.starts_with("ORT_DYLIB_PATH is no/such/libonnxruntime.so, which cannot be read"), "{message}");
        let empty = tempfile::tempdir().unwrap();
        assert!(find_library(empty.path()).is_err());
        fs::create_dir_all(empty.path().join("onnxruntime/capi")).unwrap();
        let message = format!("{:#}", find_library(empty.path()).unwrap_err());
        assert!(message.contains("holds no ONNX Runtime library"), "{message}");
    }

    #[test]
    fn replacing_puts_the_new_one_in_place_or_leaves_the_old() {
        let parent = tempfile::tempdir().unwrap();
        let [new, directory, old] = ["new", "python", "old"].map(|name| parent.path().join(name));
        fs::create_dir(&new).unwrap();
        replace(&new, &directory, &old).unwrap();
        assert!(directory.is_dir() && !new.exists() && !old.exists());
        fs::create_dir(&new).unwrap();
        fs::write(new.join("second"), "").unwrap();
        replace(&new, &directory, &old).unwrap();
        assert!(directory.join("second").exists() && old.is_dir());
        fs::remove_dir(&old).unwrap();
        let message = format!("{:#}", replace(&new, &directory, &old).unwrap_err());
        assert!(message.starts_with("cannot move ") && message.contains("new"), "{message}");
        assert!(directory.join("second").exists() && !old.exists());
    }
}
