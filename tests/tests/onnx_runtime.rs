//! ONNX Runtime answers as a hand calculation does, and what is wrong is refused.

mod support;

use onnx_protobuf::Message;
use vgg_cli::ort::{GraphOptimizationLevel, NamedTensor, OrtModel, OrtOptions};
use vgg_tests::compare::{Tolerance, assert_close};
use vgg_tests::onnx::with_all_outputs;

const INPUT: [f32; 9] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, -9.0];
const INPUT_SHAPE: [usize; 4] = [1, 1, 3, 3];
/// First filter: x[i][j] + x[i+1][j+1] - 1. Second: x[i][j] - x[i+1][j+1].
const CONV: [f32; 8] = [5.0, 7.0, 11.0, -5.0, -4.0, -4.0, -4.0, 14.0];
const RELU: [f32; 8] = [5.0, 7.0, 11.0, 0.0, 0.0, 0.0, 0.0, 14.0];
const OUTPUT_SHAPE: [usize; 4] = [1, 2, 2, 2];

fn model_bytes() -> Vec<u8> {
    support::conv_relu().write_to_bytes().unwrap()
}

fn assert_is(tensor: &NamedTensor, name: &str, expected: &[f32]) {
    assert_eq!((tensor.name.as_str(), &tensor.shape[..]), (name, &OUTPUT_SHAPE[..]));
    assert_close(name, &OUTPUT_SHAPE, &tensor.data, expected, Tolerance::BIT_IDENTICAL);
}

#[test]
fn a_model_in_memory_gives_the_values_computed_by_hand() {
    for intra_threads in [1, 2] {
        for optimization in [GraphOptimizationLevel::Disable, GraphOptimizationLevel::All] {
            let mut model = OrtModel::from_bytes(&model_bytes(), OrtOptions { intra_threads, optimization }).unwrap();
            assert_eq!((model.input_names(), model.output_names()), (vec!["input"], vec!["output"]));
            let outputs = model.run(&INPUT, &INPUT_SHAPE).unwrap();
            assert_eq!(outputs.len(), 1);
            assert_is(&outputs[0], "output", &RELU);
        }
    }
}

#[test]
fn a_model_in_a_file_gives_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("conv_relu.onnx");
    std::fs::write(&path, model_bytes()).unwrap();
    let outputs = OrtModel::from_file(&path, OrtOptions::default()).unwrap().run(&INPUT, &INPUT_SHAPE).unwrap();
    assert_is(&outputs[0], "output", &RELU);
}

#[test]
fn intermediate_activations_become_outputs() {
    let bytes = with_all_outputs(&model_bytes()).unwrap();
    let mut model = OrtModel::from_bytes(&bytes, OrtOptions::default()).unwrap();
    let outputs = model.run(&INPUT, &INPUT_SHAPE).unwrap();
    assert_eq!(outputs.len(), 2);
    assert_is(&outputs[0], "output", &RELU);
    assert_is(&outputs[1], "conv", &CONV);
    assert!(with_all_outputs(b"no model").unwrap_err().to_string().starts_with("not an ONNX model: "));
}

#[test]
fn a_wrong_expectation_is_seen() {
    let outputs =
        OrtModel::from_bytes(&model_bytes(), OrtOptions::default()).unwrap().run(&INPUT, &INPUT_SHAPE).unwrap();
    let mut wrong = RELU;
    wrong[6] = 1e-3;
    let result =
        vgg_tests::compare::check_close("relu", &OUTPUT_SHAPE, &outputs[0].data, &wrong, Tolerance::WINOGRAD_VS_ORT);
    assert!(result.unwrap_err().to_string().contains("worst at [0, 1, 1, 0]: got 0.0"));
}

#[test]
fn a_broken_model_is_refused() {
    let mut broken = support::conv_relu();
    broken.graph.as_mut().unwrap().node[1].input[0] = "absent".to_owned();
    let error = OrtModel::from_bytes(&broken.write_to_bytes().unwrap(), OrtOptions::default()).unwrap_err();
    let message = error.to_string();
    assert!(message.starts_with("ONNX Runtime refuses the model of ") && message.contains("absent"), "{message}");

    let message = OrtModel::from_file("no/such.onnx".as_ref(), OrtOptions::default()).unwrap_err().to_string();
    assert!(message.starts_with("ONNX Runtime refuses the model no/such.onnx: "), "{message}");
}

#[test]
fn an_input_of_another_shape_is_refused() {
    let mut model = OrtModel::from_bytes(&model_bytes(), OrtOptions::default()).unwrap();
    for (input, shape) in [(&INPUT[..], [1, 1, 9, 1]), (&INPUT[..8], INPUT_SHAPE)] {
        let message = model.run(input, &shape).unwrap_err().to_string();
        assert!(message.contains(&format!("on an input of shape {shape:?}: ")), "{message}");
    }
    // The model is still usable.
    assert_is(&model.run(&INPUT, &INPUT_SHAPE).unwrap()[0], "output", &RELU);
}
