//! The program does what it says.

use assert_cmd::Command;
use predicates::str::contains;

#[test]
fn the_network_of_the_build_script_gives_probabilities() {
    Command::new(env!("CARGO_BIN_EXE_vgg-example-build-script")).assert().success().stdout(contains("sum 1.000000"));
}
