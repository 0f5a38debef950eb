//! Networks of ONNX files, imported and run.

use std::path::Path;

use vgg_cli::input::Images;
use vgg_cli::progress::Progress;
use vgg_compiler::onnx::{ImportOptions, Network, import};
use vgg_compiler::weights::WeightsSource;
use vgg_compiler::{CompileOptions, Compiled, compile, compile_graph};
use vgg_runtime::{Isa, Threads, npy};

/// Imports the file at `model`, runs it on the array at `input`, whose first axis counts the images, and returns the first output.
///
/// # Errors
/// Why the file is refused.
///
/// # Panics
/// When what was imported cannot be run: the importer has promised that it can.
pub fn run(model: &Path, options: &ImportOptions, input: &Path) -> Result<Vec<f32>, String> {
    let imported = import(model, options).map_err(|error| error.to_string())?;
    let compiled = match imported.network {
        Network::Declared(spec) => compile(&spec, &CompileOptions::default()),
        Network::Graph { graph, .. } => compile_graph(*graph, &CompileOptions::default()),
    };
    let Compiled { graph, .. } = compiled.map_err(|error| format!("{}: {error}", model.display()))?;
    let source = WeightsSource::Imported { path: model.to_owned(), tensors: imported.tensors.into(), preprocess: None };
    if let Err(errors) = source.load(&graph) {
        return Err(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
    }
    let (dims, values) = npy::read_f32(input).unwrap_or_else(|error| panic!("{}: {error}", input.display()));
    let (shape, count) = (graph.input_shape(), dims.first().copied().unwrap_or(1));
    assert_eq!(values.len(), count * shape.len(), "{}: an array {dims:?} for images of {shape}", model.display());
    let images = Images { count, shape, values };
    let isa = Isa::detect().unwrap_or_else(|error| panic!("{error}"));
    let progress = Progress::silent();
    let outputs = vgg_cli::run::run(&graph, &source, &images, &[], Threads::new(2), isa, false, &progress);
    Ok(outputs.unwrap_or_else(|error| panic!("{}: {error}", model.display())).values)
}

/// Why `actual` is not `expected` by the rule of ONNX's own tests, NumPy's `assert_allclose`: |a - e| <= atol + rtol |e|, and what is not
/// finite is the same.
pub fn mismatch(actual: &[f32], expected: &[f32], rtol: f64, atol: f64) -> Option<String> {
    if actual.len() != expected.len() {
        return Some(format!("differs: {} elements, expected {}", actual.len(), expected.len()));
    }
    let close = |a: f32, e: f32| {
        let near = || (f64::from(a) - f64::from(e)).abs() <= atol + rtol * f64::from(e).abs();
        a == e || (a.is_nan() && e.is_nan()) || (e.is_finite() && near())
    };
    let wrong = actual.iter().zip(expected).position(|(&a, &e)| !close(a, e))?;
    Some(format!("differs: element {wrong} is {}, expected {}", actual[wrong], expected[wrong]))
}

#[cfg(test)]
mod tests {
    use super::mismatch;

    #[test]
    fn closeness_is_that_of_numpy() {
        assert_eq!(mismatch(&[1.0, f32::NAN, f32::INFINITY], &[1.0009, f32::NAN, f32::INFINITY], 1e-3, 1e-7), None);
        assert!(mismatch(&[1.0], &[1.002], 1e-3, 1e-7).is_some());
        assert!(mismatch(&[f32::INFINITY], &[f32::NEG_INFINITY], 1e-3, 1e-7).is_some());
        assert!(mismatch(&[f32::NAN], &[1.0], 1e-3, 1e-7).is_some());
        assert!(mismatch(&[1.0], &[1.0, 2.0], 1e-3, 1e-7).is_some());
    }
}
