//! Networks declared with `vgg!` in this very crate: their results, their ONNX files, and the weights that they refuse.

use std::fs;
use std::path::Path;

use vgg_cli::ort::{OrtModel, OrtOptions};
use vgg_cli::session::Session;
use vgg_compiler::weights::{Weights, WeightsSource, canonical, seeded};
use vgg_compiler::{CompileOptions, Compiled, compile, spec};
use vgg_runtime::{Isa, Threads, vgg};
use vgg_tests::cases::Case;
use vgg_tests::compare::{Tolerance, assert_close, check_same_top_k};
use vgg_tests::python::check_onnx;

vgg! {
    /// A network with batch norm, local response normalisation and a head.
    pub Small: 3 x 20 x 17 {
        conv3-16, bn, conv3-8, maxpool;
        conv5-24(stride 2, linear), lrn, maxpool(3, stride 2, pad 1, ceil);
        head: fc-30, dropout, fc-10, softmax
    }
}

const SMALL: &str = "Small: 3 x 20 x 17 {
    conv3-16, bn, conv3-8, maxpool;
    conv5-24(stride 2, linear), lrn, maxpool(3, stride 2, pad 1, ceil);
    head: fc-30, dropout, fc-10, softmax
}";

vgg! {
    // Feature maps as output, and a private type.
    Images: 5 x 9 x 8 { conv3-7, avgpool(3, stride 1, pad 1), conv1-3(linear) };
}

const IMAGES: &str = "Images: 5 x 9 x 8 { conv3-7, avgpool(3, stride 1, pad 1), conv1-3(linear) }";

mod nested {
    use super::vgg;

    // A built-in variant, in another module, seen by its parent alone.
    vgg! { pub(super) Fast = vgg-f; }
}

/// A declaration compiled at run time, with weights and the bytes of its weights file.
struct Twin {
    compiled: Compiled,
    weights: Weights,
    file: Vec<u8>,
    images: Vec<f32>,
}

impl Twin {
    fn new(case: &Case) -> Self {
        let compiled = case.compile(1);
        let weights = WeightsSource::Seeded(3).load(&compiled.graph).unwrap();
        let mut file = Vec::new();
        canonical::write_to(&mut file, &compiled.graph, &weights, &mut |_| {}).unwrap();
        let images = case.images(&compiled, 1);
        Self { compiled, weights, file, images }
    }

    fn session(&self, isa: Isa, threads: usize) -> Vec<f32> {
        let Compiled { graph, plan, .. } = &self.compiled;
        let mut session = Session::new(graph, plan.clone(), &self.weights, Threads::new(threads), isa).unwrap();
        let mut output = vec![f32::NAN; session.output_len()];
        session.run(&self.images, &mut output);
        output
    }
}

/// The output of a type of the macro, which must be that of the session to the bit and that of ONNX Runtime on what `write_onnx` wrote.
macro_rules! assert_right {
    ($model:ty, $case:expr, $stem:literal) => {{
        let twin = Twin::new(&$case);
        assert_eq!(<$model>::WEIGHTS_LEN, twin.file.len());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weights.safetensors");
        fs::write(&path, &twin.file).unwrap();
        let model = <$model>::load(&path).unwrap();
        let image: &[f32; <$model>::INPUT_LEN] = twin.images.as_slice().try_into().unwrap();
        let mut output = [f32::NAN; <$model>::OUTPUT_LEN];
        for &isa in Isa::available() {
            for threads in 1..=3 {
                let mut workspace = <$model>::workspace_for(Threads::new(threads), isa);
                for _ in 0..2 {
                    output.fill(f32::NAN);
                    model.infer(&mut workspace, image, &mut output);
                    let expected = twin.session(isa, threads);
                    assert_close($stem, &<$model>::OUTPUT_SHAPE, &output, &expected, Tolerance::BIT_IDENTICAL);
                }
            }
        }

        let onnx = <$model>::write_onnx(directory.path(), &twin.file).unwrap();
        assert_eq!(onnx, directory.path().join(concat!($stem, ".onnx")));
        assert_eq!(fs::read(directory.path().join(concat!($stem, ".safetensors"))).unwrap(), twin.file);
        assert_eq!(fs::read(&onnx).unwrap(), <$model>::ONNX_GRAPH);
        let checks = check_onnx(&[&onnx]).unwrap();
        assert_eq!((&checks[0].error, checks[0].opset), (&None, Some(17)));
        let mut judge = OrtModel::from_file(&onnx, OrtOptions::default()).unwrap();
        let expected = judge.run(image, &<$model>::INPUT_SHAPE).unwrap().remove(0);
        assert_eq!(expected.shape, <$model>::OUTPUT_SHAPE);
        assert_close($stem, &expected.shape, &output, &expected.data, Tolerance::probabilities(10.0));
        check_same_top_k(&output, &expected.data, 5, 1e-6).unwrap();
    }};
}

#[test]
fn a_network_with_batch_norm() {
    assert_right!(Small, Case::of_text("Small", SMALL), "small");
}

#[test]
fn a_network_that_gives_images() {
    assert_right!(Images, Case::of_text("Images", IMAGES), "images");
}

#[test]
fn a_built_in_variant_by_name() {
    assert_eq!((nested::Fast::INPUT_SHAPE, nested::Fast::OUTPUT_SHAPE), ([1, 3, 224, 224], [1, 1000]));
    let text = spec::variants::variant("vgg-f").unwrap().spec().unwrap().to_string().replace("VggF", "Fast");
    assert_right!(nested::Fast, Case::of_text("Fast", text), "fast");
}

#[test]
fn another_seed_gives_another_output() {
    let twin = Twin::new(&Case::of_text("Small", SMALL));
    let other = WeightsSource::Seeded(4).load(&twin.compiled.graph).unwrap();
    let mut file = Vec::new();
    canonical::write_to(&mut file, &twin.compiled.graph, &other, &mut |_| {}).unwrap();
    let model = Small::from_bytes(&file).unwrap();
    let mut workspace = Small::workspace(Threads::single()).unwrap();
    let mut output = [0.0; Small::OUTPUT_LEN];
    model.infer(&mut workspace, twin.images.as_slice().try_into().unwrap(), &mut output);
    assert_ne!(output[..], twin.session(Isa::widest(), 1));
}

fn refusal(bytes: &[u8]) -> String {
    Small::from_bytes(bytes).expect_err("weights that do not fit").to_string()
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let twin = Twin::new(&Case::of_text("Small", SMALL));
    let file = &twin.file;
    for len in [0, 7, 8, 100, file.len() / 2, file.len() - 4, file.len() - 1] {
        refusal(&file[..len]);
    }
    refusal(&[&file[..], &[0]].concat());

    // Every byte of the header counts.
    let header = twin.compiled.header();
    for position in [0, 8, 9, header.bytes.len() / 2, header.bytes.len() - 1] {
        let mut changed = file.clone();
        changed[position] ^= 1;
        let message = refusal(&changed);
        assert!(message.contains("header"), "{message}");
    }

    // The weights of a network that differs in one padding have the same shapes, and fit; those of one more filter do not.
    let text = SMALL.replace("conv3-8", "conv3-9");
    let other = spec::parse::parse_file("other", &text).unwrap();
    let other = compile(&other, &CompileOptions::default()).unwrap();
    let weights = Weights::resolve(&other.graph, seeded(&other.graph, 3), "seeded").unwrap();
    let mut foreign = Vec::new();
    canonical::write_to(&mut foreign, &other.graph, &weights, &mut |_| {}).unwrap();
    let message = refusal(&foreign);
    assert!(message.contains("header"), "{message}");
}

#[test]
fn numbers_that_are_not_finite_are_refused_by_layer() {
    let twin = Twin::new(&Case::of_text("Small", SMALL));
    let header = twin.compiled.header();
    for (index, param) in twin.compiled.graph.params.iter().enumerate() {
        let layer = param.name.trim_end_matches("_weight").trim_end_matches("_bias");
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut file = twin.file.clone();
            let range = header.file_range(vgg_compiler::ir::ParamId(index));
            file[range.end - 4..range.end].copy_from_slice(&value.to_le_bytes());
            let message = refusal(&file);
            assert!(message.contains(layer), "{}: {message}", param.name);
            let directory = tempfile::tempdir().unwrap();
            let error = Small::write_onnx(directory.path(), &file).expect_err("no ONNX file of such weights");
            assert_eq!(error.to_string(), message);
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left half-written");
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let message = Small::load(Path::new("no/such.safetensors")).expect_err("no file").to_string();
    assert!(message.contains("no/such.safetensors"), "{message}");
}
