//! Every example does what it says.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use predicates::str::contains;

#[test]
fn the_trained_model_is_as_good_as_in_pytorch_and_serves_as_a_dependency() {
    let out = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_fashion"))
        .arg(out.path())
        .assert()
        .success()
        .stdout(contains("939 of 1000 images classified correctly; PyTorch had 939"))
        .stdout(contains("the same as PyTorch"));
    let program = copy_of_generated_crate_example(out.path());
    Command::new(env!("CARGO"))
        .args(["run", "--release", "--offline", "--quiet", "--manifest-path"])
        .arg(program.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", out.path().join("build"))
        .assert()
        .success()
        .stdout(contains("logits of a grey image: ["));
}

/// The program in `generated_crate`, with the generated crate where this test put it.
fn copy_of_generated_crate_example(out: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("generated_crate");
    let program = out.join("program");
    std::fs::create_dir_all(program.join("src")).unwrap();
    std::fs::copy(source.join("src/main.rs"), program.join("src/main.rs")).unwrap();
    let manifest = std::fs::read_to_string(source.join("Cargo.toml")).unwrap();
    let moved = manifest.replace("../../target/fashion/crate", "../crate");
    assert_ne!(moved, manifest, "the manifest names the generated crate in another way");
    std::fs::write(program.join("Cargo.toml"), moved).unwrap();
    program
}

#[test]
fn the_macro_recognises_the_ankle_boot() {
    Command::new(env!("CARGO_BIN_EXE_macro_in_place")).assert().success().stdout(contains("most likely: class 9"));
}

#[test]
fn the_custom_net_gives_probabilities() {
    Command::new(env!("CARGO_BIN_EXE_custom_net"))
        .assert()
        .success()
        .stdout(contains("sum of the 10 probabilities: 1.000000"));
}
