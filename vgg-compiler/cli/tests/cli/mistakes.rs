use std::process::Stdio;

use crate::support::{MAPS, Place, TINY};

#[test]
fn wrong_usage() {
    let place = Place::new();
    for arguments in [
        &[][..],
        &["frobnicate"],
        &["list", "--frobnicate"],
        &["show"],
        &["show", "vgg-d", "--json", "--vgg"],
        &["export", "tiny.vgg"],
        &["export", "tiny.vgg", "-o", "x.onnx", "--batch", "0"],
        &["export", "tiny.vgg", "-o", "x.onnx", "--batch", "many"],
        &["export", "tiny.vgg", "-o", "x.onnx", "--opset", "12"],
        &["export", "tiny.vgg", "-o", "x.onnx", "--opset", "23"],
        &["build", "tiny.vgg"],
        &["run", "tiny.vgg"],
        &["verify"],
    ] {
        let (stdout, stderr) = place.exits(2, arguments);
        assert_eq!(stdout, "");
        assert!(stderr.contains("Usage: vgg") || stderr.contains("error: "), "{stderr}");
    }
    assert_eq!(place.names(), ["maps.vgg", "tiny.vgg"]);
}

#[test]
fn models_that_are_none() {
    let place = Place::new();
    place.write("model.onnx", "");
    place.write("weights.safetensors", "");
    place.write("latin1.vgg", b"Tiny: 3 x 8 x 8 {\n  // caf\xe9\n  conv3-4\n}");
    place.write("huge.vgg", vec![b' '; 3 << 20]);
    for (model, expected) in [
        ("vgg-16", &["`vgg-16`", "did you mean `vgg16`?"][..]),
        ("VGG-D", &["did you mean `vgg-d`?"]),
        ("resnet50", &["`resnet50`", "vgg-a-lrn"]),
        ("missing.vgg", &["missing.vgg: "]),
        ("model.onnx", &["model.onnx: expected an ONNX file, found an empty one", "help: "]),
        ("missing.onnx", &["missing.onnx: cannot read the file", ".onnx file"]),
        ("weights.safetensors", &["expected a declaration in a .vgg file", "--weights FILE"]),
        ("latin1.vgg", &["error: latin1.vgg:2:9: expected UTF-8"]),
        ("huge.vgg", &["huge.vgg:"]),
        (".", &[]),
        ("", &[]),
    ] {
        for command in [
            &["show", model][..],
            &["export", model, "-o", "x.onnx"],
            &["build", model, "--out", "x"],
            &["verify", model],
        ] {
            let stderr = place.fails(3, command);
            for text in expected {
                assert!(stderr.contains(text), "{command:?} {text:?}: {stderr}");
            }
        }
    }
}

#[test]
fn every_mistake_of_a_declaration_has_its_place() {
    let place = Place::empty();
    /// What is wrong, the declaration, the line and a word of each mistake.
    type Case = (&'static str, &'static str, &'static [(usize, &'static str)]);
    let cases: &[Case] = &[
        ("a misspelt layer", "pub A: 3 x 8 x 8 {\n    conv3-4,\n    maxpol\n}", &[(3, "maxpool")]),
        ("a window larger than the image", "pub A: 3 x 8 x 8 {\n    conv3-4;\n    maxpool(9)\n}", &[(3, "8")]),
        ("a convolution after the classifier", "pub A: 3 x 8 x 8 {\n    fc-4;\n    conv3-4\n}", &[(3, "fc")]),
        ("softmax in the middle", "pub A: 3 x 8 x 8 {\n    fc-4, softmax,\n    fc-2\n}", &[(2, "softmax")]),
        ("batch norm without a convolution", "pub A: 3 x 8 x 8 {\n\n    bn, conv3-4\n}", &[(3, "convolution")]),
        ("no filters", "pub A: 3 x 8 x 8 {\n    conv3-0\n}", &[(2, "0")]),
        ("no input", "pub A: 3 x 0 x 8 {\n    conv3-4\n}", &[(1, "0")]),
        ("an unknown modifier", "pub A: 3 x 8 x 8 {\n    conv3-4(strid 2)\n}", &[(2, "stride")]),
        ("two labels of one name", "pub A: 3 x 8 x 8 {\n    a: conv3-4,\n    a: conv3-4\n}", &[(3, "`a`")]),
        ("an unclosed brace", "pub A: 3 x 8 x 8 {\n    conv3-4\n", &[(1, "bracket")]),
        ("nothing", "", &[(1, "")]),
        ("no layers", "pub A: 3 x 8 x 8 {\n}", &[(1, "layer")]),
        ("an unknown variant", "\npub A = vgg-z;", &[(2, "vgg-z")]),
        (
            "several at once",
            "pub A: 3 x 8 x 8 {\n    conv3-4(strid 2),\n    maxpol;\n    fc-0\n}",
            &[(2, "stride"), (3, "maxpool"), (4, "0")],
        ),
    ];
    let mut failures = Vec::new();
    for (what, text, mistakes) in cases {
        place.write("bad.vgg", text);
        let stderr = place.fails(3, &["show", "bad.vgg"]);
        for (line, word) in *mistakes {
            let prefix = format!("error: bad.vgg:{line}:");
            let block: String = stderr
                .lines()
                .skip_while(|found| !found.starts_with(&prefix))
                .take_while(|found| found.starts_with(&prefix) || !found.starts_with("error:"))
                .collect();
            if !block.contains(word) || block.is_empty() {
                failures.push(format!("{what}: expected {word:?} in line {line}:\n{stderr}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn weights_that_do_not_fit() {
    let place = Place::new();
    place.write("bad.safetensors", "no weights at all");
    place.write("model.pth", b"PK\x03\x04 and so on");
    place.ok(&["export", "maps.vgg", "-o", "maps.onnx", "--external"]);
    for (weights, expected) in [
        ("missing.safetensors", &["missing.safetensors: "][..]),
        ("bad.safetensors", &["bad.safetensors: "]),
        ("model.pth", &["model.pth: ", "ZIP archive"]),
        ("maps.safetensors", &["features.0.weight", "missing"]),
        (".", &["directory"]),
        ("seeded:x", &["`seeded:x`"]),
    ] {
        for command in [&["export", "tiny.vgg", "-o", "x.onnx"][..], &["build", "tiny.vgg", "--out", "x"]] {
            let stderr = place.fails(3, &[command, &["--weights", weights]].concat());
            for text in [&["help: "], expected].concat() {
                assert!(stderr.contains(text), "{weights} {text:?}: {stderr}");
            }
        }
    }
}

#[test]
fn a_reader_that_has_gone_away_is_no_error() {
    let place = Place::new();
    let program = place.vgg(&[]).get_program().to_owned();
    let mut child = std::process::Command::new(program)
        .args(["list", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_behind_standard_output_is_one() {
    let place = Place::new();
    let program = place.vgg(&[]).get_program().to_owned();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = std::process::Command::new(program).arg("list").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("error: cannot write to standard output"));
}

#[test]
fn the_declaration_may_stand_in_the_macro() {
    let place = Place::empty();
    for (name, text) in [("bare.vgg", MAPS.to_owned()), ("wrapped.vgg", format!("vgg! {{ {MAPS} }}"))] {
        place.write(name, text);
    }
    assert_eq!(place.ok(&["show", "bare.vgg"]), place.ok(&["show", "wrapped.vgg"]));
    place.write("no_extension", TINY);
    assert!(place.ok(&["show", "./no_extension"]).contains("Tiny"));
}
