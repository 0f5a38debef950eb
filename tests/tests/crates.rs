//! Generated crates stand alone: they build offline without a warning, depend on nothing but their copy of the runtime, pass their own
//! tests, and compute what every other way to run the network does.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;
use vgg_cli::build::Options;
use vgg_cli::compare::Difference;
use vgg_cli::ort::{OrtModel, OrtOptions};
use vgg_cli::session::Session;
use vgg_cli::verify::Array;
use vgg_compiler::ir::Precision;
use vgg_compiler::spec::parse::parse_file;
use vgg_compiler::spec::variants::VARIANTS;
use vgg_compiler::weights::{WeightsSource, read};
use vgg_compiler::{CompileOptions, Compiled, compile};
use vgg_runtime::{Isa, Threads, npy, vgg};
use vgg_tests::cases::Case;
use vgg_tests::compare::{Tolerance, assert_close, check_same_top_k};
use vgg_tests::generated::{Package, copy, tree, write_crate, write_graph_crate};
use vgg_tests::graphs::two_outputs;
use vgg_tests::python::check_onnx;

vgg! {
    /// A network with every kind of layer.
    pub Assorted: 3 x 23 x 19 {
        conv3-16, bn, conv5-8(stride 2, linear), lrn, maxpool(3, ceil);
        conv1-24, avgpool(3, stride 1, pad 1), conv3-9, maxpool;
        fc-30, dropout, fc-10, softmax
    }
}

const ASSORTED: &str = "/// A network with every kind of layer.
pub Assorted: 3 x 23 x 19 {
    conv3-16, bn, conv5-8(stride 2, linear), lrn, maxpool(3, ceil);
    conv1-24, avgpool(3, stride 1, pad 1), conv3-9, maxpool;
    fc-30, dropout, fc-10, softmax
}";

/// The variants in crates of their own take minutes: set this to run those that are not run otherwise.
const ALL_VARIABLE: &str = "VGG_TEST_ALL_CRATES";

/// Crates of hundreds of megabytes are made one after the other.
static LARGE: Mutex<()> = Mutex::new(());

const SEED: WeightsSource = WeightsSource::Seeded(6);

/// A place outside the workspace.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").canonicalize().expect("the workspace");
    assert!(!directory.path().canonicalize().expect("a directory").starts_with(workspace));
    directory
}

fn named(name: &str) -> Options {
    Options { name: Some(name.to_owned()), ..Options::default() }
}

fn declared(directory: &Path, text: &str) -> PathBuf {
    let path = directory.join("network.vgg");
    fs::write(&path, text).expect("a file");
    path
}

/// Tests the crate at `path`, in a copy, and looks at its dependencies.
fn assert_stands_alone(path: &Path, directory: &Path, name: &str) -> Package {
    let package = Package { path: directory.join("copy"), target: directory.join("target") };
    copy(path, &package.path);
    let output = package.cargo(&["test", "--release", "--offline"]);
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    for test in [
        "the_recorded_output_comes_out",
        "the_number_of_threads_changes_no_bit",
        "weights_of_another_length_are_refused",
    ] {
        assert!(stdout.contains(&format!("test {test} ... ok")), "{stdout}");
    }
    let output = package.cargo(&["tree", "--offline", "--edges", "normal,build,dev", "--prefix", "none"]);
    let packages: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(packages, [name, "vgg-runtime"]);
    package
}

/// What the crate's example makes of `images`.
fn example(package: &Package, images: &[f32], shape: &[usize]) -> Vec<f32> {
    examples(package, images, shape, 1).remove(0).1
}

/// The same for a network of `count` outputs, each with its extents.
fn examples(package: &Package, images: &[f32], shape: &[usize], count: usize) -> Vec<Array> {
    let input = package.target.join("x.npy");
    let outputs: Vec<PathBuf> = (0..count).map(|index| package.target.join(format!("y{index}.npy"))).collect();
    npy::write_f32(&input, shape, images).expect("a file");
    let arguments = ["run", "--release", "--offline", "--example", "infer", "--"].map(OsStr::new);
    let files: Vec<&OsStr> =
        [input.as_os_str()].into_iter().chain(outputs.iter().map(|path| path.as_os_str())).collect();
    package.cargo(&[&arguments[..], &files].concat());
    outputs.iter().map(|output| npy::read_f32(output).expect("the output")).collect()
}

/// What the session makes of `images`, one after the other.
fn session(compiled: &Compiled, weights: &WeightsSource, images: &[f32]) -> Vec<f32> {
    let weights = weights.load(&compiled.graph).expect("weights");
    let Compiled { graph, plan, .. } = compiled;
    let mut session = Session::new(graph, plan.clone(), &weights, Threads::new(2), Isa::widest()).expect("a session");
    let mut output = vec![f32::NAN; session.output_len()];
    let mut run = |image: &[f32]| {
        session.run(image, &mut output);
        output.clone()
    };
    images.chunks_exact(graph.input_shape().len()).flat_map(&mut run).collect()
}

/// What ONNX Runtime makes of one image with the crate's file.
fn judge(path: &Path, image: &[f32], shape: &[usize]) -> Vec<f32> {
    let onnx = path.join("model.onnx");
    let check = check_onnx(&[&onnx]).unwrap().remove(0);
    assert_eq!(check.error, None);
    OrtModel::from_file(&onnx, OrtOptions::default()).unwrap().run(image, shape).unwrap().remove(0).data
}

#[test]
fn a_small_network() {
    let directory = directory();
    let place = directory.path();
    let model = declared(place, ASSORTED);
    let path = place.join("assorted");
    write_crate(model.as_os_str(), &SEED, &path, &named("assorted"));
    let package = assert_stands_alone(&path, place, "assorted");
    package.cargo(&["doc", "--release", "--offline", "--no-deps"]);

    // The same outputs, whichever way.
    let case = Case::of_text("assorted", ASSORTED);
    let compiled = case.compile(1);
    let images = case.images(&compiled, 3);
    let expected = session(&compiled, &SEED, &images);
    let from_example = example(&package, &images, &[3, 3, 23, 19]);
    assert_close("the example", &[3, 10], &from_example, &expected, Tolerance::BIT_IDENTICAL);
    let model = Assorted::load(path.join("weights.safetensors")).expect("the crate's weights are those of the macro");
    let mut workspace = Assorted::workspace(Threads::new(2)).unwrap();
    for (image, expected) in images.as_chunks::<{ Assorted::INPUT_LEN }>().0.iter().zip(expected.as_chunks::<10>().0) {
        let mut output = [f32::NAN; Assorted::OUTPUT_LEN];
        model.infer(&mut workspace, image, &mut output);
        assert_close("the macro", &[10], &output, expected, Tolerance::BIT_IDENTICAL);
        let judged = judge(&path, image, &[1, 3, 23, 19]);
        assert_close("ONNX Runtime", &[10], &output, &judged, Tolerance::probabilities(10.0));
    }

    as_a_dependency(&path, place, &images[..3 * 23 * 19], &expected[..10]);
}

/// A program that depends on the crate and prints the bits of an output.
fn as_a_dependency(path: &Path, place: &Path, image: &[f32], expected: &[f32]) {
    let program = Package { path: place.join("program"), target: place.join("program-target") };
    fs::create_dir_all(program.path.join("src")).unwrap();
    let manifest = format!(
        "[package]\nname = \"program\"\nedition = \"2024\"\n\n[dependencies]\nassorted = {{ path = {:?} }}\n\n[workspace]\n",
        path.display().to_string()
    );
    fs::write(program.path.join("Cargo.toml"), manifest).unwrap();
    let main = "#![forbid(unsafe_code)]
        use assorted::{Assorted, Model, Threads, npy};
        fn main() {
            let model: Assorted = Model::load(assorted::WEIGHTS).unwrap();
            let mut workspace = Model::workspace(Threads::from_env().unwrap()).unwrap();
            let (_, input) = npy::read_f32(std::env::args_os().nth(1).unwrap().as_ref()).unwrap();
            let mut output = [0.0; Model::OUTPUT_LEN];
            model.infer(&mut workspace, input.as_slice().try_into().unwrap(), &mut output);
            for value in output {
                println!(\"{}\", value.to_bits());
            }
        }";
    fs::write(program.path.join("src/main.rs"), main).unwrap();
    let input = place.join("image.npy");
    npy::write_f32(&input, &[1, 3, 23, 19], image).unwrap();
    let arguments = ["run", "--release", "--offline", "--"].map(OsStr::new);
    let output = program.cargo(&[&arguments[..], &[input.as_os_str()]].concat());
    let printed: Vec<f32> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| f32::from_bits(line.parse().expect("the bits of a number")))
        .collect();
    assert_close("the program", &[10], &printed, expected, Tolerance::BIT_IDENTICAL);
}

#[test]
fn weights_in_the_binary() {
    let directory = directory();
    let place = directory.path();
    let model = declared(place, ASSORTED);
    let path = place.join("assorted");
    write_crate(model.as_os_str(), &SEED, &path, &Options { embed: true, ..named("assorted") });
    let package = assert_stands_alone(&path, place, "assorted");
    let case = Case::of_text("assorted", ASSORTED);
    let compiled = case.compile(1);
    let images = case.images(&compiled, 2);
    example(&package, &images, &[2, 3, 23, 19]);
    // The program that is built needs the file no more.
    fs::remove_file(package.path.join("weights.safetensors")).unwrap();
    let (input, output) = (package.target.join("x.npy"), package.target.join("z.npy"));
    let program = package.target.join("release/examples").join(format!("infer{}", std::env::consts::EXE_SUFFIX));
    assert!(std::process::Command::new(program).args([&input, &output]).status().unwrap().success());
    let outputs = npy::read_f32(&output).unwrap().1;
    assert_close("embedded", &[2, 10], &outputs, &session(&compiled, &SEED, &images), Tolerance::BIT_IDENTICAL);
}

#[test]
fn several_images_at_a_time() {
    let directory = directory();
    let place = directory.path();
    let model = declared(place, ASSORTED);
    let path = place.join("assorted");
    write_crate(model.as_os_str(), &SEED, &path, &Options { batch: 3, ..named("assorted") });
    let package = assert_stands_alone(&path, place, "assorted");
    let case = Case::of_text("assorted", ASSORTED);
    let compiled = case.compile(1);
    let images = case.images(&compiled, 6);
    let outputs = example(&package, &images, &[6, 3, 23, 19]);
    assert_close("a batch of 3", &[6, 10], &outputs, &session(&compiled, &SEED, &images), Tolerance::BIT_IDENTICAL);
}

#[test]
fn rounded_weights() {
    for precision in [Precision::F16, Precision::Int8] {
        let directory = directory();
        let place = directory.path();
        let model = declared(place, ASSORTED);
        let path = place.join("assorted");
        write_crate(model.as_os_str(), &SEED, &path, &Options { precision, ..named("assorted") });
        let package = assert_stands_alone(&path, place, "assorted");
        let case = Case::of_text("assorted", ASSORTED).rounded(precision);
        let compiled = case.compile(1);
        let images = case.images(&compiled, 2);
        let outputs = example(&package, &images, &[2, 3, 23, 19]);
        let expected = session(&compiled, &SEED, &images);
        assert_close("rounded", &[2, 10], &outputs, &expected, Tolerance::BIT_IDENTICAL);
        let image = &images[..3 * 23 * 19];
        let judged = judge(&path, image, &[1, 3, 23, 19]);
        assert_close("ONNX Runtime", &[10], &outputs[..10], &judged, Tolerance::probabilities(10.0));
    }
}

/// What rounding costs a trained network: no class of a thousand images with f16, and 0.3 % of them at most with int8.
#[test]
fn the_trained_network_with_rounded_weights() {
    let fashion = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/fashion");
    let weights = WeightsSource::File(fashion.join("fashion-vgg.safetensors"));
    let meta: serde_json::Value = serde_json::from_slice(&fs::read(fashion.join("meta.json")).unwrap()).unwrap();
    let [mean, std] = ["mean", "std"].map(|key| meta[key].as_f64().expect("a number") as f32);
    let pixels = fs::read(fashion.join("images.idx3-ubyte")).unwrap().split_off(16);
    let labels = fs::read(fashion.join("labels.idx1-ubyte")).unwrap().split_off(8);
    let images: Vec<f32> = pixels.iter().map(|&pixel| (f32::from(pixel) / 255.0 - mean) / std).collect();
    assert_eq!((labels.len(), images.len()), (1000, 1000 * 784));
    let text = fs::read_to_string(fashion.join("fashion.vgg")).unwrap();
    let spec = parse_file("fashion.vgg", &text).unwrap();
    let logits = |precision: Precision| {
        let compiled = compile(&spec, &CompileOptions { precision, ..CompileOptions::default() }).unwrap();
        session(&compiled, &weights, &images)
    };
    let classes = |logits: &[f32]| -> Vec<usize> {
        let best = |scores: &[f32]| (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or(0);
        logits.chunks_exact(10).map(best).collect()
    };
    let correct =
        |classes: &[usize]| classes.iter().zip(&labels).filter(|&(&class, &label)| class == usize::from(label)).count();
    let exact = logits(Precision::F32);
    let exact_classes = classes(&exact);
    for (precision, bound, may_differ) in
        [(Precision::F16, 1e-3, 0), (Precision::Bf16, 8e-3, 3), (Precision::Int8, 2e-2, 3)]
    {
        let rounded = logits(precision);
        let difference = Difference::between(&rounded, &exact);
        assert!(difference.normwise > 1e-6 && difference.normwise <= bound, "{precision}: {difference:?}");
        let rounded_classes = classes(&rounded);
        let (before, after) = (correct(&exact_classes), correct(&rounded_classes));
        assert!(
            before.abs_diff(after) <= may_differ,
            "{precision}: {after} of 1000 images are correct, {before} with f32"
        );
        if precision == Precision::F16 {
            assert_eq!(rounded_classes, exact_classes);
        }
    }
}

#[test]
fn the_same_bytes_in_every_place() {
    let directory = directory();
    let place = directory.path();
    let model = declared(place, ASSORTED);
    let elsewhere = place.join("a longer/path with spaces/and/more");
    fs::create_dir_all(&elsewhere).unwrap();
    let other_model = declared(&elsewhere, ASSORTED);
    for options in [named("assorted"), Options { embed: true, batch: 2, ..named("assorted") }] {
        let options = Options { force: true, ..options };
        write_crate(model.as_os_str(), &SEED, &place.join("one"), &options);
        write_crate(other_model.as_os_str(), &SEED, &elsewhere.join("two"), &options);
        let (one, two) = (tree(&place.join("one")), tree(&elsewhere.join("two")));
        assert!(one.len() > 30, "{:?}", one.keys());
        assert_eq!(one.keys().collect::<Vec<_>>(), two.keys().collect::<Vec<_>>());
        let differing: Vec<_> = one.keys().filter(|name| one[*name] != two[*name]).collect();
        assert!(differing.is_empty(), "{differing:?}");
        let here = place.to_str().unwrap().as_bytes();
        let with_path: Vec<_> =
            one.iter().filter(|(_, bytes)| bytes.windows(here.len()).any(|part| part == here)).collect();
        assert!(with_path.is_empty(), "a file holds the path of its place");
    }
}

#[test]
fn names_are_in_the_name_table_alone() {
    let directory = directory();
    let place = directory.path();
    let renamed = ASSORTED
        .replace("A network with every kind of layer.", "Another text.")
        .replace("Assorted", "Zoo")
        .replace("{\n    conv3-16", "{\n    entrance: conv3-16")
        .replace("fc-30", "hidden: fc-30")
        .replace("softmax", "chances: softmax");
    let model = declared(place, ASSORTED);
    write_crate(model.as_os_str(), &SEED, &place.join("one"), &named("same"));
    let model = declared(place, &renamed);
    write_crate(model.as_os_str(), &SEED, &place.join("two"), &named("same"));
    let (one, two) = (tree(&place.join("one")), tree(&place.join("two")));
    let differing: BTreeSet<_> =
        one.keys().filter(|name| two.get(*name) != Some(&one[*name])).map(String::as_str).collect();
    assert_eq!(differing, BTreeSet::from(["model.onnx", "src/names.rs"]));
    assert_eq!(one.len(), two.len());
    // And the model differs in its names alone.
    let image = Case::of_text("a", ASSORTED).images(&Case::of_text("a", ASSORTED).compile(1), 1);
    let outputs = ["one", "two"].map(|name| judge(&place.join(name), &image, &[1, 3, 23, 19]));
    assert_close("renamed", &[10], &outputs[1], &outputs[0], Tolerance::BIT_IDENTICAL);
}

/// A graph with a branch and two outputs.
#[test]
fn a_graph_that_no_declaration_says() {
    let (case, name) = (two_outputs(), "outputs");
    let directory = directory();
    let place = directory.path();
    let compiled = case.compile(1);
    let images = case.images(&compiled, 2);
    let len = images.len() / 2;
    write_graph_crate(&compiled, &SEED, &place.join(name), name, &images[..len]);
    let package = assert_stands_alone(&place.join(name), place, name);
    let shape: Vec<usize> = [2].into_iter().chain(compiled.graph.input_shape().dims()).collect();
    let expected = session(&compiled, &SEED, &images);
    let found = examples(&package, &images, &shape, compiled.plan.outputs.len());
    for (index, (dims, found)) in found.iter().enumerate() {
        let range = compiled.plan.output_range(index);
        let own: Vec<f32> =
            expected.chunks_exact(compiled.plan.output_len()).flat_map(|all| &all[range.clone()]).copied().collect();
        let shape: Vec<usize> = [2].into_iter().chain(compiled.plan.outputs[index].dims()).collect();
        assert_eq!(*dims, shape, "{name}");
        assert_close(name, &shape, found, &own, Tolerance::BIT_IDENTICAL);
    }
}

/// The trained network gives the logits that PyTorch recorded.
#[test]
fn the_trained_network() {
    let directory = directory();
    let place = directory.path();
    let fashion = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/fashion");
    let weights = WeightsSource::File(fashion.join("fashion-vgg.safetensors"));
    let path = place.join("fashion");
    write_crate(fashion.join("fashion.vgg").as_os_str(), &weights, &path, &named("fashion"));
    let package = assert_stands_alone(&path, place, "fashion");

    let meta: serde_json::Value = serde_json::from_slice(&fs::read(fashion.join("meta.json")).unwrap()).unwrap();
    let [mean, std] = ["mean", "std"].map(|key| meta[key].as_f64().expect("a number") as f32);
    let recorded = read(&fashion.join("expected-logits.safetensors")).unwrap().remove("logits").expect("logits");
    let recorded: Vec<f32> = recorded.values().collect();
    let count = recorded.len() / 10;
    // An IDX file: a magic number and three extents, then the pixels.
    let pixels = fs::read(fashion.join("images.idx3-ubyte")).unwrap().split_off(16);
    let images: Vec<f32> = pixels[..count * 784].iter().map(|&pixel| (f32::from(pixel) / 255.0 - mean) / std).collect();
    let logits = example(&package, &images, &[count, 1, 28, 28]);
    assert!(count >= 100, "{count} recorded images");
    assert_close("PyTorch", &[count, 10], &logits, &recorded, Tolerance::RECORDED_LOGITS);

    let text = fs::read_to_string(fashion.join("fashion.vgg")).unwrap();
    let compiled = compile(&parse_file("fashion.vgg", &text).unwrap(), &CompileOptions::default()).unwrap();
    let few = &images[..5 * 784];
    assert_close("the session", &[5, 10], &logits[..50], &session(&compiled, &weights, few), Tolerance::BIT_IDENTICAL);
    let judged = judge(&path, &few[..784], &[1, 1, 28, 28]);
    assert_close("ONNX Runtime", &[10], &logits[..10], &judged, Tolerance::DIRECT_VS_ORT);
}

/// The crate of a variant: its own tests, its dependencies, the session and ONNX Runtime.
fn variant_crate(name: &str) {
    let _guard = LARGE.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = directory();
    let place = directory.path();
    let crate_name = name.replace('-', "_");
    let path = place.join("crate");
    write_crate(name.as_ref(), &SEED, &path, &named(&crate_name));
    let package = assert_stands_alone(&path, place, &crate_name);
    let variant = VARIANTS.iter().find(|variant| variant.name == name).expect("a variant");
    let case = Case::of_variant(variant);
    let compiled = case.compile(1);
    let image = case.images(&compiled, 1);
    let shape = [1, 3, 224, 224];
    let output = example(&package, &image, &shape);
    assert_close(name, &[1000], &output, &session(&compiled, &SEED, &image), Tolerance::BIT_IDENTICAL);
    let judged = judge(&path, &image, &shape);
    assert_close(name, &[1000], &output, &judged, Tolerance::probabilities(100.0));
    check_same_top_k(&output, &judged, 5, 1e-6).unwrap();
}

#[test]
fn the_crate_of_vgg_f() {
    variant_crate("vgg-f");
}

#[test]
fn the_crates_of_the_other_variants_when_asked_for() {
    let asked = std::env::var_os(ALL_VARIABLE).is_some_and(|value| !value.is_empty());
    for variant in VARIANTS.iter().filter(|variant| variant.name != "vgg-f") {
        if asked {
            variant_crate(variant.name);
        } else {
            // What differs between variants is the generated source: at least it is written, and is Rust.
            let compiled = Case::of_variant(variant).compile(1);
            for (file, text) in vgg_tests::golden::generated_modules(&compiled) {
                assert!(text.parse::<proc_macro2::TokenStream>().is_ok(), "{}: {file}", variant.name);
            }
        }
    }
}
