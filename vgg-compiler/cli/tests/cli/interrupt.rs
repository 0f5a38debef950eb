//! Ctrl-C.

#![cfg(unix)]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::Place;

#[test]
fn nothing_is_left_half_written() {
    let place = Place::empty();
    let program = place.vgg(&[]).get_program().to_owned();
    // The weights of a whole variant take long enough to write.
    let child = Command::new(program)
        .args(["export", "vgg-f", "--weights", "seeded", "--quiet", "--external", "-o"])
        .arg(place.path("f.onnx"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while place.names().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(300), "nothing was begun");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), stderr.as_str()),
        (Some(130), "error: interrupted; nothing was left half-written\n")
    );
    assert!(place.names().is_empty(), "{:?}", place.names());
}
