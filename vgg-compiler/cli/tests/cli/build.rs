use std::fs;

use vgg_compiler::rust::MARKER;
use vgg_runtime::npy;

use crate::support::{Place, tree};

#[test]
fn the_crate_has_all_its_files() {
    let place = Place::new();
    let (stdout, stderr) = place.exits(0, &["build", "tiny.vgg", "--out", "new/tiny", "--batch", "2"]);
    assert_eq!(stdout, "");
    assert!(stderr.contains("using seeded:0") && stderr.contains("wrote new/tiny"), "{stderr}");
    let files = tree(&place.path("new/tiny"));
    for name in [
        "Cargo.toml",
        "README.md",
        "src/lib.rs",
        "src/model.rs",
        "src/names.rs",
        "tests/reference.rs",
        "tests/input.npy",
        "tests/expected.npy",
        "examples/infer.rs",
        "runtime/Cargo.toml",
        "runtime/src/lib.rs",
        "weights.safetensors",
        "model.onnx",
    ] {
        assert!(files.contains_key(name), "{name}");
    }
    let manifest = String::from_utf8(files["Cargo.toml"].clone()).unwrap();
    assert!(manifest.contains("name = \"tiny\"") && manifest.contains(MARKER), "{manifest}");
    // The numbers are on the disk once.
    let numbers = files["weights.safetensors"].last_chunk::<64>().unwrap();
    assert!(!files["model.onnx"].windows(64).any(|window| window == numbers));
    let read = |name: &str| npy::read_f32(&place.path("new/tiny/tests").join(name)).unwrap();
    assert_eq!((read("input.npy").0, read("expected.npy").0), (vec![2, 3, 16, 16], vec![2, 10]));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::create_dir(place.path("plain")).unwrap();
        let mode = |name: &str| fs::metadata(place.path(name)).unwrap().permissions().mode();
        assert_eq!(mode("new/tiny"), mode("plain"));
    }
}

#[test]
fn the_recorded_output_is_what_run_computes() {
    let place = Place::new();
    place.ok(&["build", "tiny.vgg", "--out", "tiny", "--weights", "seeded:4", "--logits"]);
    place.ok(&[
        "run",
        "tiny.vgg",
        "--weights",
        "seeded:4",
        "--logits",
        "--input",
        "tiny/tests/input.npy",
        "--output",
        "y.npy",
    ]);
    let [actual, expected] =
        ["y.npy", "tiny/tests/expected.npy"].map(|name| npy::read_f32(&place.path(name)).unwrap().1);
    assert!(vgg_cli::compare::Difference::between(&actual, &expected).normwise < 5e-6);
}

#[test]
fn two_builds_in_different_places_are_identical() {
    let [here, there] = [Place::new(), Place::new()];
    here.ok(&["build", "tiny.vgg", "--out", "a"]);
    fs::create_dir(there.path("elsewhere")).unwrap();
    there.write("elsewhere/other.vgg", crate::support::TINY);
    there.ok(&["build", "elsewhere/other.vgg", "--out", "elsewhere/b", "--weights", "seeded:0", "--quiet"]);
    let [a, b] = [tree(&here.path("a")), tree(&there.path("elsewhere/b"))];
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, content) in &a {
        assert!(content == &b[name], "{name} differs");
    }
}

#[test]
fn names_of_crates() {
    let place = Place::new();
    let name = |arguments: &[&str]| {
        place.ok(&[&["build", "tiny.vgg", "--out", "x", "--force"], arguments].concat());
        let manifest = String::from_utf8(place.read("x/Cargo.toml")).unwrap();
        manifest.lines().find(|line| line.starts_with("name")).unwrap().to_owned()
    };
    assert_eq!(name(&[]), "name = \"tiny\"");
    assert_eq!(name(&["--name", "my_network"]), "name = \"my_network\"");
    for wrong in ["Tiny", "my-network", "fn", "std", "x\"\n[dependencies]", ""] {
        let stderr = place.fails(2, &["build", "tiny.vgg", "--out", "y", "--name", wrong]);
        assert!(stderr.contains("cannot be the name of a crate"), "{stderr}");
    }
}

#[test]
fn embedded_weights_are_limited() {
    let place = Place::new();
    place.ok(&["build", "tiny.vgg", "--out", "x", "--embed"]);
    assert!(String::from_utf8(place.read("x/src/lib.rs")).unwrap().contains("include_bytes!"));
    let stderr = place.fails(2, &["build", "vgg-f", "--out", "y", "--embed"]);
    assert!(
        stderr.contains("243.3 MB") && stderr.contains("100.0 MB") && stderr.contains("help: leave --embed out"),
        "{stderr}"
    );
}

#[test]
fn only_generated_crates_are_replaced() {
    let place = Place::new();
    fs::create_dir(place.path("empty")).unwrap();
    place.ok(&["build", "tiny.vgg", "--out", "empty"]);
    let first = tree(&place.path("empty"));
    let stderr = place.fails(2, &["build", "tiny.vgg", "--out", "empty", "--weights", "seeded:1"]);
    assert!(stderr.contains("help: replace it with --force"), "{stderr}");
    assert!(tree(&place.path("empty")) == first);
    place.write("empty/left over", "");
    place.ok(&["build", "tiny.vgg", "--out", "empty", "--weights", "seeded:1", "--force"]);
    let second = tree(&place.path("empty"));
    assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>());
    assert_ne!(first["weights.safetensors"], second["weights.safetensors"]);

    fs::create_dir(place.path("mine")).unwrap();
    place.write("mine/Cargo.toml", "[package]\nname = \"mine\"\n");
    for target in ["mine", "tiny.vgg", ".", "/"] {
        for arguments in [&[][..], &["--force"]] {
            place.fails(2, &[&["build", "tiny.vgg", "--out", target], arguments].concat());
        }
    }
    assert_eq!(tree(&place.path("mine")).len(), 1);
}

#[test]
fn a_failed_build_leaves_nothing() {
    let place = Place::new();
    place.write("bad.safetensors", "no weights");
    place.fails(3, &["build", "tiny.vgg", "--out", "new/x", "--weights", "bad.safetensors"]);
    if cfg!(target_os = "linux") {
        place.fails(4, &["build", "tiny.vgg", "--out", "/proc/new/x"]);
    }
    place.fails(2, &["build", "tiny.vgg", "--out", "new/x", "--batch", "0"]);
}
