//! Tasks of the project, run as `cargo xtask TASK`.
//!
//! - [`project`]: where the workspace and its target directory are, and the `cargo` to call;
//! - [`step`]: one command of a task: announced, timed, and repeatable by hand when it fails;
//! - [`python`]: the interpreter and the packages that the tests need, ONNX Runtime's library among them;
//! - [`tasks`]: the lists of steps;
//! - [`peers`]: this project's runtime measured against others.
//!
//! Progress goes to stderr; stdout holds only what a task is asked for (the path that `cargo xtask ort` prints).

mod peers;
mod project;
mod python;
// The same definition of median and spread as in `vgg bench`, without a dependency on the whole command.
#[path = "../../vgg-compiler/cli/src/bench/statistics.rs"]
#[allow(unreachable_pub, reason = "it is public in the library that it belongs to")]
mod statistics;
mod step;
mod tasks;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::project::Project;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Tasks of the vgg project", version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check everything: format, lints, tests against ONNX Runtime, the no_std build, documentation
    ///
    /// Fetches the Python packages of the tests first (see `cargo xtask ort`) and sets for the tests: ORT_DYLIB_PATH (ONNX
    /// Runtime's library), VGG_TEST_PYTHON (the interpreter), PYTHONPATH (the packages), and VGG_ISA_REQUIRED to the tiers that this
    /// CPU has (of portable,avx2,avx512), which it prints, so that a tier that cannot be tested is a failure. Stops at the first
    /// step that fails and prints the command that repeats it.
    Test {
        /// Arguments of `cargo test`, such as the name of a test; only the tests run then, without the other checks
        #[arg(last = true, value_name = "ARGS")]
        args: Vec<String>,
    },
    /// Do what `test` does from a clean state, with the committed Cargo.lock
    ///
    /// Removes the artefacts of the workspace's own crates and the fetched Python packages first, and fails when Cargo.lock is
    /// not up to date.
    Ci,
    /// Fetch ONNX Runtime and onnx from PyPI into the target directory; print the path of the library
    ///
    /// The versions and digests are pinned in xtask/requirements.txt. Does nothing when they are there already. A set
    /// ORT_DYLIB_PATH wins for the library; VGG_TEST_PYTHON chooses the interpreter (else the first of python3, python3.14 to
    /// python3.11 and python that is recent enough); pip's own variables (PIP_INDEX_URL, PIP_FIND_LINKS, ..) choose the index.
    Ort,
    /// Compare the golden files with what is generated now, or write them anew
    Golden(GoldenArgs),
    /// Run the benchmarks of the runtime, or measure whole networks against other runtimes
    ///
    /// With --peers, ONNX Runtime, OpenVINO, ncnn and MNN are fetched from PyPI into target/peers (pinned, wheels only), tract and
    /// rten are built there from crates.io with a lock file of their own (some minutes, the first time), every network is exported
    /// and converted, and all runtimes compute it in turns, each in a process of its own. The table goes to stdout, and to
    /// peers.md and peers.json in target/bench. A peer that cannot be had, cannot load a network or computes something else
    /// stands in it with the reason.
    Bench(BenchArgs),
}

#[derive(clap::Args)]
struct BenchArgs {
    /// Measure whole networks against other runtimes
    #[arg(long)]
    peers: bool,
    /// Networks to measure: names of `vgg list` or paths of .vgg files, separated by commas [default: the nine variants]
    #[arg(long, requires = "peers", value_delimiter = ',', value_name = "MODELS")]
    variants: Vec<String>,
    /// Numbers of threads to measure with, separated by commas
    #[arg(long, requires = "peers", value_delimiter = ',', default_value = "1,2", value_parser = parse_positive)]
    threads: Vec<usize>,
    /// Runs of each runtime that count
    #[arg(long, requires = "peers", default_value = "15", value_parser = parse_positive, value_name = "N")]
    runs: usize,
    /// Images of one inference
    #[arg(long, requires = "peers", default_value = "1", value_parser = parse_positive, value_name = "N")]
    batch: usize,
    /// Arguments of the benchmark harness, such as the name of a benchmark
    #[arg(last = true, value_name = "ARGS", conflicts_with = "peers")]
    args: Vec<String>,
}

/// The networks that are measured unless others are named.
const VARIANTS: [&str; 9] = ["vgg-f", "vgg-m", "vgg-s", "vgg-a", "vgg-a-lrn", "vgg-b", "vgg-c", "vgg-d", "vgg-e"];

fn parse_positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&count| count > 0).ok_or_else(|| "expected a number of at least 1".to_owned())
}

impl BenchArgs {
    fn run(self, project: &Project) -> anyhow::Result<()> {
        if !self.peers {
            return tasks::bench(project, &self.args);
        }
        let Self { mut variants, threads, runs, batch, .. } = self;
        if variants.is_empty() {
            variants = VARIANTS.map(str::to_owned).to_vec();
        }
        peers::bench(project, &peers::Settings { variants, threads, runs, batch })
    }
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct GoldenArgs {
    /// Fail when a golden file differs from what is generated
    #[arg(long)]
    check: bool,
    /// Write what is generated over the golden files; read the difference before you commit it
    #[arg(long)]
    bless: bool,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let project = Project::locate()?;
    match cli.task {
        Task::Test { args } => tasks::test(&project, &args),
        Task::Ci => tasks::ci(&project),
        Task::Ort => tasks::ort(&project),
        Task::Golden(GoldenArgs { bless, .. }) => tasks::golden(&project, bless),
        Task::Bench(args) => args.run(&project),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn golden_wants_exactly_one_mode() {
        assert!(Cli::try_parse_from(["xtask", "golden"]).is_err());
        assert!(Cli::try_parse_from(["xtask", "golden", "--check", "--bless"]).is_err());
        assert!(Cli::try_parse_from(["xtask", "golden", "--check"]).is_ok());
    }

    #[test]
    fn what_is_measured_belongs_to_the_peers() {
        assert!(Cli::try_parse_from(["xtask", "bench", "--runs", "3"]).is_err());
        assert!(Cli::try_parse_from(["xtask", "bench", "--peers", "--threads", "1,0"]).is_err());
        assert!(Cli::try_parse_from(["xtask", "bench", "--peers", "--", "conv"]).is_err());
        let cli =
            Cli::try_parse_from(["xtask", "bench", "--peers", "--variants", "vgg-a,x.vgg", "--runs", "3"]).unwrap();
        let Task::Bench(args) = cli.task else { panic!("another task") };
        assert_eq!((args.variants, args.threads), (vec!["vgg-a".to_owned(), "x.vgg".to_owned()], vec![1, 2]));
        assert_eq!((args.runs, args.batch), (3, 1));
    }

    #[test]
    fn arguments_of_the_tests_stand_after_two_dashes() {
        let cli = Cli::try_parse_from(["xtask", "test", "--", "-p", "vgg-tests", "conv"]).unwrap();
        assert!(matches!(cli.task, Task::Test { args } if args == ["-p", "vgg-tests", "conv"]));
        assert!(Cli::try_parse_from(["xtask", "test", "conv"]).is_err());
    }
}
