//! The tasks: lists of steps.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::peers::PEERS_MANIFEST;
use crate::project::Project;
use crate::python::{self, Packages};
use crate::step::{Step, format_duration};

/// Set by `golden --bless` alone; tests that see it write their golden files.
const BLESS_VARIABLE: &str = "VGG_BLESS";
/// The widest instruction set that the tests must not skip.
const ISA_VARIABLE: &str = "VGG_ISA_REQUIRED";

/// `cargo xtask test`: all checks, or the tests alone when `args` choose some of them.
pub(crate) fn test(project: &Project, args: &[String]) -> Result<()> {
    let start = Instant::now();
    let run = |step: Step| step.run(&project.root);
    // The tests take by far the longest, so they come last: a link that leads nowhere is told before them. Release artefacts
    // throughout: the macros and their dependencies are then built once for all steps.
    if args.is_empty() {
        run(cargo(project, "format").args(["fmt", "--all", "--", "--check"]))?;
        // A workspace of its own, whose dependencies are not worth their time here.
        run(cargo(project, "format of the peers").args(["fmt", "--manifest-path", PEERS_MANIFEST, "--", "--check"]))?;
        run(cargo(project, "lints").args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--release",
            "--",
            "-D",
            "warnings",
        ]))?;
        run(cargo(project, "no_std").args([
            "check",
            "--package",
            "vgg-runtime",
            "--no-default-features",
            "--release",
        ]))?;
        run(cargo(project, "documentation")
            .args(["doc", "--workspace", "--no-deps", "--release"])
            .env("RUSTDOCFLAGS", "-Dwarnings"))?;
    }
    let packages = python::fetch(project).context("step `ort` failed; repeat it with `cargo xtask ort`")?;
    let tests = cargo(project, "tests").args(["test", "--release", "--no-fail-fast"]);
    let tests = if chooses_package(args) { tests } else { tests.args(["--workspace"]) };
    run(test_environment(tests.args(args), &packages))?;
    if args.is_empty() {
        eprintln!("xtask: all checks passed in {}", format_duration(start.elapsed()));
    } else {
        eprintln!(
            "xtask: the chosen tests passed in {}; format, lints, no_std and documentation were not checked",
            format_duration(start.elapsed())
        );
    }
    Ok(())
}

/// `cargo xtask ci`: `test` from a clean state.
pub(crate) fn ci(project: &Project) -> Result<()> {
    cargo(project, "lock file")
        .args(["fetch", "--locked"])
        .run(&project.root)
        .context("Cargo.lock is not up to date with the manifests")?;
    cargo(project, "clean").args(["clean", "--workspace"]).run(&project.root)?;
    let packages = python::directory(project);
    match fs::remove_dir_all(&packages) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot remove {}", packages.display())),
    }
    test(project, &[])
}

/// `cargo xtask ort`: fetches the packages and prints the path of ONNX Runtime's library.
pub(crate) fn ort(project: &Project) -> Result<()> {
    let packages = python::fetch(project)?;
    println!("{}", packages.library.display());
    Ok(())
}

/// `cargo xtask golden`: compares the golden files, or writes them when `bless`.
pub(crate) fn golden(project: &Project, bless: bool) -> Result<()> {
    let step = cargo(project, "golden").args(["test", "--package", "vgg-tests", "--release", "--test", "golden"]);
    let step = if bless { step.env(BLESS_VARIABLE, "1") } else { step.without_env(BLESS_VARIABLE) };
    step.run(&project.root)
}

/// `cargo xtask bench`: the benchmarks of the runtime.
pub(crate) fn bench(project: &Project, args: &[String]) -> Result<()> {
    cargo(project, "benchmarks")
        .args(["bench", "--package", "vgg-runtime", "--bench", "*", "--"])
        .args(args)
        .run(&project.root)
}

fn cargo(project: &Project, name: &'static str) -> Step {
    Step::new(name, &project.cargo)
}

/// Whether arguments of `cargo test` choose packages, which `--workspace` would override.
fn chooses_package(args: &[String]) -> bool {
    args.iter().take_while(|arg| *arg != "--").any(|arg| arg.starts_with("-p") || arg.starts_with("--package"))
}

/// What the tests read from the environment.
fn test_environment(step: Step, packages: &Packages) -> Step {
    let step = step
        .without_env(BLESS_VARIABLE)
        .env("ORT_DYLIB_PATH", &packages.library)
        .env("VGG_TEST_PYTHON", &packages.interpreter.executable)
        .env("PYTHONPATH", &packages.directory);
    let chosen = std::env::var_os(ISA_VARIABLE);
    match required_isa(chosen.as_deref()) {
        Some(isa) => {
            eprintln!("xtask: the kernels are tested with {isa}");
            step.env(ISA_VARIABLE, isa)
        }
        None => step,
    }
}

/// The tiers to require: none when the user has `chosen` some, else all that this CPU has.
fn required_isa(chosen: Option<&OsStr>) -> Option<String> {
    if chosen.is_some() {
        return None;
    }
    let mut tiers = vec!["portable"];
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
        let avx512 = std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512vl")
            && std::arch::is_x86_feature_detected!("avx512dq")
            && std::arch::is_x86_feature_detected!("avx512bw");
        if avx2 {
            tiers.push("avx2");
        }
        if avx2 && avx512 {
            tiers.push("avx512");
        }
    }
    Some(tiers.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_package_is_recognised() {
        let chooses = |text: &str| chooses_package(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert!(chooses("-p vgg-tests") && chooses("-pvgg-tests") && chooses("conv --package=vgg-tests"));
        assert!(!chooses("conv") && !chooses("conv -- -p"));
    }

    #[test]
    fn a_tier_that_the_user_requires_is_left_alone() {
        assert_eq!(required_isa(Some(OsStr::new("portable"))), None);
    }

    #[test]
    fn every_tier_of_this_machine_is_required() {
        let required = required_isa(None).unwrap();
        assert!(required.starts_with("portable"), "{required}");
        #[cfg(target_arch = "x86_64")]
        assert_eq!(required.contains("avx512"), std::arch::is_x86_feature_detected!("avx512bw"), "{required}");
    }
}
