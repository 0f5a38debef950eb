//! The two runs and the judge's.

use std::collections::BTreeMap;

use vgg_compiler::ir::{Op, Precision, Shape, TypedGraph, ValueId};
use vgg_compiler::onnx::{self, Batch, ExportOptions, Outputs};
use vgg_compiler::plan::{self, PlanOptions};
use vgg_compiler::weights::{Loaded, Weights, WeightsSource, canonical};
use vgg_runtime::{Isa, Threads};

use super::report::{Layer, Report, Rounding};
use crate::compare::Difference;
use crate::error::{Error, Status};
use crate::export::{export_error, weights_error};
use crate::input::Images;
use crate::mapped;
use crate::model::load_weights;
use crate::ort::{self, GraphOptimizationLevel, OrtModel, OrtOptions};
use crate::progress::{Progress, Unit};
use crate::session::Session;
use crate::staging::Staging;

/// Largest normwise difference of a layer. Both sides compute chains of sums in f32; each is within half of it of the exact
/// result.
pub const BOUND: f64 = 1e-5;

/// The same for a network where Winograd's algorithm takes part.
const WINOGRAD_BOUND: f64 = 2.0 * BOUND;

/// Largest difference of one number of the network's output, relative to the largest: three times [`BOUND`], since a tensor's
/// worst element is off by more than all together.
pub(super) const OUTPUT_BOUND: f64 = 3.0 * BOUND;

/// How far the scores of rounded weights may be from those of f32 weights, normwise. A weight of f16 is off by 2^-12 of itself at most and by
/// half of that in the mean, and the errors of many weights partly cancel: three layers in a row stay below half of this. One of bf16 is
/// off by eight times as much. One of int8 is off by 1/254 of the largest of its row; of normal numbers this is four to five times their
/// deviation, which makes 1 % a layer.
pub fn rounding_bound(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 0.0,
        Precision::F16 => 1e-3,
        Precision::Bf16 => 8e-3,
        Precision::Int8 => 2e-2,
    }
}

/// The result of every layer, by the value of the graph.
type Values = BTreeMap<ValueId, Vec<f32>>;

/// Compares `graph` on `images` with ONNX Runtime; with `exact`, every convolution is summed directly. Gives the report, and ONNX Runtime's outputs of the network.
///
/// # Errors
///
/// When the weights do not fit, when ONNX Runtime is not there or refuses the model, when there is no room for the exported
/// file. A difference that is too large is no error: the report says so.
pub fn verify(
    graph: &TypedGraph,
    source: &WeightsSource,
    images: &Images,
    threads: &Threads,
    isa: Isa,
    exact: bool,
    progress: &Progress,
) -> Result<(Report, Vec<Vec<f32>>), Error> {
    // Before minutes of work: is there a judge?
    let ort_version = ort::version()?;
    let weights = load_weights(source, graph, progress)?;
    let expected = judge(graph, &weights, images, threads.count(), progress)?;
    let run = |barriers: Vec<ValueId>, what: &str| {
        let _stage = progress.step(format!("running with {what}"));
        let plan = plan::plan(graph, &PlanOptions { batch: images.count, barriers, exact })?;
        let bound = if plan.is_exact() { BOUND } else { WINOGRAD_BOUND };
        let session = Session::new(graph, plan, &weights, threads.clone(), isa)?;
        Ok::<_, Error>((bound, differences(graph, session, images, &expected)))
    };
    let (bound, fused) = run(Vec::new(), "fused layers")?;
    let (_, stored) = run(graph.nodes.iter().map(|node| node.output).collect(), "every layer by itself")?;
    let worst = |value: &ValueId| {
        let stored = stored.get(value).copied().unwrap_or(Difference::INFINITE);
        fused.get(value).map_or(stored, |&fused| stored.worst(fused))
    };
    let layers = graph.nodes.iter().map(|node| Layer {
        in_file: String::new(),
        name: node.name.clone(),
        op: node.op.op_type(),
        shape: graph.shape(node.output),
        worst: worst(&node.output),
        fused: fused.get(&node.output).copied(),
        bound: match node.op {
            // A probability is off, relative to itself, by up to twice what the scores that it is made of are off.
            Op::Softmax => bound + 2.0 * worst(&node.inputs[0]).max_abs,
            // Its logarithm is off by as much, and no smaller than ln 2 in the mean.
            Op::LogSoftmax => bound + 3.0 * worst(&node.inputs[0]).max_abs,
            _ => bound,
        },
    });
    let report = Report {
        model: graph.name.clone(),
        weights: source.to_string(),
        input: images.dims(),
        ort_version,
        threads: threads.count(),
        isa: isa.name(),
        precision: Precision::F32,
        rounding: None,
        outputs: graph.outputs.iter().filter_map(|&output| graph.producer(output)).collect(),
        layers: layers.collect(),
        generated: None,
    };
    let outputs = graph.outputs.iter().map(|output| expected.get(output).cloned().unwrap_or_default());
    Ok((report, outputs.collect()))
}

/// How far the scores (the first output) of `graph`, whose weights are rounded to `precision`, are from those of `whole`, the same network
/// in f32: both as they are planned. None when `source` holds nothing but rounded numbers.
///
/// # Errors
///
/// When the weights do not fit.
pub fn rounding(
    graph: &TypedGraph,
    whole: &TypedGraph,
    precision: Precision,
    source: &WeightsSource,
    images: &Images,
    threads: &Threads,
    isa: Isa,
    exact: bool,
    progress: &Progress,
) -> Result<Option<Rounding>, Error> {
    // The scores, and what the layers on vectors give, by their names.
    let run = |graph: &TypedGraph, weights: &Weights| {
        let plan = plan::plan(graph, &PlanOptions { batch: images.count, barriers: Vec::new(), exact })?;
        let mut session = Session::new(graph, plan, weights, threads.clone(), isa)?;
        let last = graph.producer(graph.outputs[0]).map(|index| &graph.nodes[index]);
        let softmax = last.filter(|node| matches!(node.op, Op::Softmax | Op::LogSoftmax));
        let (mut scores, mut vectors) = (Vec::new(), BTreeMap::new());
        let mut output = vec![f32::NAN; session.output_len()];
        session.run_observed(&images.values, &mut output, &mut |step, values| {
            if softmax.is_some_and(|softmax| softmax.inputs.contains(&step.value)) {
                scores = values.to_vec();
            }
            if let (Shape::Flat { .. }, Some(index)) = (graph.shape(step.value), graph.producer(step.value)) {
                vectors.insert(index, values.to_vec());
            }
        });
        output.truncate(session.plan().output_range(0).len());
        Ok::<_, Error>((if softmax.is_some() { scores } else { output }, vectors))
    };
    let _stage = progress.step("running with f32 weights");
    // What could be read for the rounded network and cannot for this one holds rounded numbers.
    let Ok(Loaded { weights, .. }) = mapped::load(source, whole) else { return Ok(None) };
    let (expected, whole_vectors) = run(whole, &weights)?;
    drop(weights);
    let (actual, vectors) = run(graph, &load_weights(source, graph, progress)?)?;
    let same_top1 = match graph.output_shape() {
        Shape::Image { .. } => None,
        Shape::Flat { features } => {
            let best = |scores: &[f32]| (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
            let pairs = actual.chunks_exact(features).zip(expected.chunks_exact(features));
            Some(pairs.filter(|(actual, expected)| best(actual) == best(expected)).count())
        }
    };
    let difference = Difference::between(&actual, &expected);
    // Both graphs have the same nodes.
    let layers = vectors.iter().filter_map(|(&index, actual)| {
        let difference = Difference::between(actual, whole_vectors.get(&index)?);
        Some((graph.nodes.get(index)?.name.clone(), difference.normwise))
    });
    let (layers, bound) = (layers.collect(), rounding_bound(precision));
    Ok(Some(Rounding { difference, bound, layers, images: images.count, same_top1 }))
}

/// What ONNX Runtime computes for every layer of the exported model.
fn judge(
    graph: &TypedGraph,
    weights: &Weights,
    images: &Images,
    threads: usize,
    progress: &Progress,
) -> Result<Values, Error> {
    const WEIGHTS: &str = "model.safetensors";
    let staging = Staging::temporary().map_err(|error| Error::writing(&std::env::temp_dir(), &error))?;
    let path = staging.path().join("model.onnx");
    {
        let stage = progress.stage("exporting", weights.total_bytes(), Unit::Bytes);
        canonical::write(&staging.path().join(WEIGHTS), graph, weights, &mut |done| stage.at(done))
            .map_err(|error| weights_error(error, staging.path()))?;
    }
    let options = ExportOptions {
        batch: Batch::Fixed(images.count),
        external: Some(WEIGHTS.to_owned()),
        outputs: Outputs::All,
        ..ExportOptions::default()
    };
    onnx::write_model(&path, graph, weights, &options, &mut |_| {}).map_err(|error| export_error(error, &path))?;

    let _stage = progress.step("running ONNX Runtime");
    let options = OrtOptions { intra_threads: threads, optimization: GraphOptimizationLevel::All };
    let tensors = OrtModel::from_file(&path, options)?.run(&images.values, &images.dims())?;
    let mut by_name: BTreeMap<String, ort::NamedTensor> =
        tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
    let mut values = Values::new();
    for node in &graph.nodes {
        let dims: Vec<usize> = std::iter::once(images.count).chain(graph.shape(node.output).dims()).collect();
        let name = &graph.values[node.output.0].name;
        match by_name.remove(name) {
            Some(tensor) if tensor.shape == dims => values.insert(node.output, tensor.data),
            found => {
                let found = found.map_or("nothing".to_owned(), |tensor| format!("the shape {:?}", tensor.shape));
                return Err(Error::new(
                    Status::Comparison,
                    format!("layer `{name}`: ONNX Runtime computes {found}, expected the shape {dims:?}"),
                ));
            }
        };
    }
    Ok(values)
}

/// Runs the session and compares every layer that it stores.
fn differences(
    graph: &TypedGraph,
    mut session: Session,
    images: &Images,
    expected: &Values,
) -> BTreeMap<ValueId, Difference> {
    let mut found = BTreeMap::new();
    let mut note = |value: ValueId, actual: &[f32]| {
        // The input has no layer that makes it, and nothing to be compared with.
        let Some(expected) = expected.get(&value) else { return };
        let difference = Difference::between(actual, expected);
        let worst = found.get(&value).map_or(difference, |&earlier: &Difference| earlier.worst(difference));
        found.insert(value, worst);
    };
    let mut outputs = vec![f32::NAN; session.output_len()];
    session.run_observed(&images.values, &mut outputs, &mut |step, values| note(step.value, values));
    for (index, &output) in graph.outputs.iter().enumerate() {
        note(output, &outputs[session.plan().output_range(index)]);
    }
    found
}
