//! Images on every way into a network: in the graph of an ONNX model, run by ONNX Runtime, and in generated code.

use std::fs;
use std::path::Path;

use vgg_cli::export::{Options, export};
use vgg_cli::model::Model;
use vgg_cli::progress::Progress;
use vgg_compiler::onnx::Batch;
use vgg_compiler::preprocess::Mean;
use vgg_compiler::spec::parse::parse_file;
use vgg_compiler::weights::{WeightsSource, canonical, lineage, read};
use vgg_compiler::{CompileOptions, compile, onnx};
use vgg_runtime::preprocess::{Colours, Filter, Preprocess, Resize};
use vgg_runtime::{Threads, npy, vgg};
use vgg_tests::compare::{Tolerance, assert_close};
use vgg_tests::python::{self, Script, check_onnx};

vgg! {
    pub Fashion: 1 x 28 x 28 {
        preprocess fashion;
        conv3-32, bn, conv3-32, bn, maxpool;
        conv3-64, bn, conv3-64, bn, maxpool;
        conv3-128, bn, conv3-128, bn, maxpool;
        fc-256, dropout, fc-10
    }
}

vgg! {
    pub Corner: 3 x 5 x 7 {
        preprocess(bgr, range 255, mean -1.5 0 103.939, std 1 2 57.375, resize 9, bicubic);
        conv3-4
    }
}

vgg! {
    pub Averaged: 3 x 5 x 7 {
        preprocess(rgb, range 255, mean image, stretch);
        conv3-4
    }
}

/// Runs a model on the pixels of two images.
const RUN: &str = "
import sys, numpy as np, onnxruntime as ort
model, pixels, output = sys.argv[1:]
session = ort.InferenceSession(model, providers=['CPUExecutionProvider'])
image = session.get_inputs()[0]
assert image.type == 'tensor(uint8)', image.type
_, height, width, channels = image.shape
array = np.fromfile(pixels, np.uint8).reshape(2, height, width, channels)
np.save(output, session.run(None, {image.name: array})[0])
print(image.shape, sorted(session.get_modelmeta().custom_metadata_map))
";

#[test]
fn onnx_runtime_makes_the_same_input_of_pixels_to_the_bit() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let pixels: Vec<u8> =
        (0..2 * 12 * 10 * 3).map(|index: u32| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let stretched = |colours, white, mean, std| Preprocess {
        colours,
        white,
        mean,
        std,
        resize: Resize::Stretch,
        filter: Filter::Bilinear,
        height: 12,
        width: 10,
    };
    let cases = [
        ("torchvision", stretched(Colours::Rgb, 1.0, &[0.485, 0.456, 0.406][..], &[0.229, 0.224, 0.225][..])),
        ("caffe-vgg", stretched(Colours::Bgr, 255.0, &[103.939, 116.779, 123.68], &[1.0; 3])),
        ("matconvnet", stretched(Colours::Rgb, 255.0, &[123.68, 116.779, 103.939], &[1.0; 3])),
        ("(rgb, range 255, stretch)", stretched(Colours::Rgb, 255.0, &[0.0; 3], &[1.0; 3])),
        ("(bgr, range 1, std 0.5, stretch)", stretched(Colours::Bgr, 1.0, &[0.0; 3], &[0.5; 3])),
        ("(grey, range 1, mean 0.286, std 0.353, stretch)", stretched(Colours::Grey, 1.0, &[0.286], &[0.353])),
    ];
    for (number, (declared, preprocess)) in cases.into_iter().enumerate() {
        let channels = preprocess.colours.channels();
        let text = format!("Mirror: {channels} x 12 x 10 {{ preprocess{}{declared}; maxpool(1, stride 1) }}", " ");
        let file = place.join("mirror.vgg");
        fs::write(&file, text).unwrap();
        let model = Model::open(file.as_os_str()).unwrap_or_else(|error| panic!("{error}"));
        let path = place.join(format!("{number}.onnx"));
        let batch = if number % 2 == 0 { Batch::Dynamic } else { Batch::Fixed(2) };
        let options = Options { preprocess_in_graph: true, batch, external: number > 3, ..Options::default() };
        // A network without weights has no weights file to point into, but one may be asked for.
        export(&model, &WeightsSource::Seeded(0), &path, &options, &Progress::silent())
            .unwrap_or_else(|e| panic!("{e}"));
        let checks = check_onnx(&[&path]).unwrap();
        assert_eq!(checks[0].error, None, "{declared}");

        let len = 12 * 10 * channels;
        fs::write(place.join("pixels"), &pixels[..2 * len]).unwrap();
        let [path, raw, output] =
            [path, place.join("pixels"), place.join("y.npy")].map(|path| path.to_str().unwrap().to_owned());
        let printed =
            python::run(Script::Text(RUN), &[path, raw, output.clone()]).unwrap_or_else(|error| panic!("{error}"));
        let shape =
            if number % 2 == 0 { format!("['N', 12, 10, {channels}]") } else { format!("[2, 12, 10, {channels}]") };
        assert_eq!(
            printed.trim_end(),
            format!("{shape} ['vgg.input', 'vgg.network', 'vgg.preprocessing', 'vgg.weights']")
        );

        let (dims, found) = npy::read_f32(Path::new(&output)).unwrap();
        assert_eq!(dims, [2, channels, 12, 10]);
        for (pixels, found) in pixels.chunks(len).zip(found.chunks(len)) {
            // A grey model takes grey pixels, the runtime RGB.
            let rgb: Vec<u8> =
                if channels == 3 { pixels.into() } else { pixels.iter().flat_map(|&level| [level; 3]).collect() };
            let mut expected = vec![f32::NAN; len];
            preprocess.apply(&rgb, 10, 12, &mut expected).unwrap();
            assert_close(declared, &[channels, 12, 10], found, &expected, Tolerance::BIT_IDENTICAL);
        }
    }
}

#[test]
fn a_model_of_pixels_needs_a_preprocessing() {
    let spec = parse_file("net.vgg", "Net: 3 x 8 x 8 { conv3-4 }").unwrap();
    let compiled = compile(&spec, &CompileOptions::default()).unwrap();
    let options = onnx::ExportOptions {
        preprocess: true,
        external: Some("a.safetensors".into()),
        ..onnx::ExportOptions::default()
    };
    let error = onnx::graph_bytes(&compiled.graph, &compiled.header(), &options).unwrap_err();
    assert_eq!(error.to_string(), "`Net` is to take pixels, but its preprocessing is unknown");
}

#[test]
fn generated_code_takes_images() {
    let fashion = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/fashion");
    let spec = parse_file("fashion.vgg", &fs::read_to_string(fashion.join("fashion.vgg")).unwrap()).unwrap();
    let graph = compile(&spec, &CompileOptions::default()).unwrap().graph;
    let weights = WeightsSource::File(fashion.join("fashion-vgg.safetensors")).load(&graph).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fashion.safetensors");
    canonical::write(&path, &graph, &weights, &mut |_| {}).unwrap();
    assert_eq!(lineage(&path).unwrap(), graph.preprocess);
    // The metadata are part of the header that the type expects.
    let model = Fashion::load(&path).unwrap();
    let mut without = graph.clone().into_graph();
    without.preprocess = None;
    let mut file = Vec::new();
    canonical::write_to(&mut file, &without, &weights, &mut |_| {}).unwrap();
    let error = Fashion::from_bytes(&file).unwrap_err().to_string();
    assert!(error.contains("not the one this network was compiled for"), "{error}");

    let pixels = fs::read(fashion.join("images.idx3-ubyte")).unwrap().split_off(16);
    let recorded = read(&fashion.join("expected-logits.safetensors")).unwrap().remove("logits").expect("logits");
    let recorded: Vec<f32> = recorded.values().collect();
    let mut workspace = Fashion::workspace(Threads::new(1)).unwrap();
    for (image, expected) in pixels.chunks(784).zip(recorded.chunks(10)).take(10) {
        let rgb: Vec<u8> = image.iter().flat_map(|&level| [level; 3]).collect();
        let mut logits = [f32::NAN; Fashion::OUTPUT_LEN];
        model.infer(&mut workspace, &Fashion::preprocess(&rgb, 28, 28).unwrap(), &mut logits);
        assert_close("PyTorch", &[10], &logits, expected, Tolerance::RECORDED_LOGITS);
    }
}

#[test]
fn generated_code_reads_its_mean_image() {
    let text = "Averaged: 3 x 5 x 7 { preprocess(rgb, range 255, mean image, stretch); conv3-4 }";
    let mut spec = parse_file("averaged.vgg", text).unwrap();
    let mean: Vec<f32> = (0..105).map(|index| index as f32 * 0.5).collect();
    let mut preprocess = spec.preprocess.as_ref().unwrap().value.clone();
    preprocess.mean = Mean::Image(Some(mean.clone().into()));
    spec.set_preprocess(preprocess.clone());
    let graph = compile(&spec, &CompileOptions::default()).unwrap().graph;
    let weights = WeightsSource::Seeded(0).load(&graph).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("averaged.safetensors");
    canonical::write(&path, &graph, &weights, &mut |_| {}).unwrap();
    assert_eq!(lineage(&path).unwrap(), Some(preprocess));
    let again = WeightsSource::File(path.clone()).load(&graph).unwrap();
    assert_eq!(again, weights);

    let model = Averaged::load(&path).unwrap();
    let image: Vec<u8> = (0..105).map(|index| 255 - index as u8).collect();
    let input = model.preprocess(&image, 7, 5).unwrap();
    let expected: Vec<f32> =
        (0..3).flat_map(|channel| (0..35).map(move |pixel| 255.0 - (pixel * 3 + channel) as f32)).collect();
    assert!(input.iter().zip(&expected).zip(&mean).all(|((value, level), mean)| *value == level - mean));
}

#[test]
fn generated_code_has_what_was_declared() {
    let expected = Preprocess {
        colours: Colours::Bgr,
        white: 255.0,
        mean: &[-1.5, 0.0, 103.939],
        std: &[1.0, 2.0, 57.375],
        resize: Resize::ShortSide(9),
        filter: Filter::Bicubic,
        height: 5,
        width: 7,
    };
    assert_eq!(Corner::PREPROCESS, expected);
    assert_eq!(Corner::IMAGE_LEN, 3 * 5 * 7);
    let image: Vec<u8> = (0..20 * 11 * 3).map(|index: u32| (index * 37 % 256) as u8).collect();
    assert_eq!(Corner::preprocess(&image, 20, 11).unwrap(), expected.input(&image, 20, 11).unwrap());
    assert!(Corner::preprocess(&image, 11, 21).is_err());
}
