//! A network that takes images as they come, a few at a time.

use vgg_compiler::ir::{Shape, TypedGraph, ValueId};
use vgg_compiler::plan::{self, PlanOptions};
use vgg_compiler::weights::WeightsSource;
use vgg_runtime::{Isa, Threads};

use crate::error::Error;
use crate::model::load_weights;
use crate::progress::Progress;
use crate::session::Session;

/// What a run gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Outputs {
    /// Shape of the output of one image.
    pub shape: Shape,
    /// The output, one image after the other.
    pub values: Vec<f32>,
    /// The values that were asked for, in that order.
    pub taps: Vec<Tap>,
}

/// An intermediate value.
#[derive(Debug, Clone, PartialEq)]
pub struct Tap {
    /// The layer that makes it.
    pub name: String,
    /// Its shape for one image.
    pub shape: Shape,
    /// Its numbers, one image after the other.
    pub values: Vec<f32>,
}

/// A session, and what it gave so far.
pub(super) struct Runner<'a> {
    session: Session,
    taps: &'a [ValueId],
    batch: usize,
    /// The input and the output of one inference, for fewer images than it takes.
    input: Vec<f32>,
    output: Vec<f32>,
    outputs: Outputs,
}

/// How a network is run.
#[derive(Debug)]
pub(super) struct Settings {
    /// Images of one inference.
    pub(super) batch: usize,
    pub(super) threads: Threads,
    pub(super) isa: Isa,
    /// Whether every convolution is summed directly.
    pub(super) exact: bool,
}

impl<'a> Runner<'a> {
    /// Loads the weights of `graph`, of which it keeps what the layers `taps` compute.
    pub(super) fn new(
        graph: &TypedGraph,
        source: &WeightsSource,
        taps: &'a [ValueId],
        settings: Settings,
        progress: &Progress,
    ) -> Result<Self, Error> {
        let Settings { batch, threads, isa, exact } = settings;
        let weights = load_weights(source, graph, progress)?;
        let plan = plan::plan(graph, &PlanOptions { batch, barriers: taps.to_vec(), exact })?;
        let session = Session::taking(graph, plan, weights, threads, isa)?;
        let tap =
            |&id: &ValueId| Tap { name: graph.values[id.0].name.clone(), shape: graph.shape(id), values: Vec::new() };
        let outputs = Outputs { shape: graph.output_shape(), values: Vec::new(), taps: taps.iter().map(tap).collect() };
        let (input, output) = (vec![0.0; session.input_len()], vec![0.0; session.output_len()]);
        Ok(Self { session, taps, batch, input, output, outputs })
    }

    /// Images of one inference.
    pub(super) fn batch(&self) -> usize {
        self.batch
    }

    /// Computes the images in `input`, at most as many as an inference takes. What fills up the rest of an inference changes no
    /// result: images do not see each other.
    pub(super) fn push(&mut self, input: &[f32]) {
        let images = input.len() / (self.input.len() / self.batch);
        self.input[..input.len()].copy_from_slice(input);
        self.input[input.len()..].fill(0.0);
        let Self { session, taps, outputs, .. } = self;
        if taps.is_empty() {
            // To show every layer costs time.
            session.run(&self.input, &mut self.output);
        } else {
            session.run_observed(&self.input, &mut self.output, &mut |step, values| {
                // Steps without a layer only change the layout of a value that was seen before.
                if let Some(position) = taps.iter().position(|&id| id == step.value && !step.layers.is_empty()) {
                    let tap = &mut outputs.taps[position];
                    tap.values.extend_from_slice(&values[..images * tap.shape.len()]);
                }
            });
        }
        outputs.values.extend_from_slice(&self.output[..images * outputs.shape.len()]);
    }

    /// Everything that came out.
    pub(super) fn finish(self) -> Outputs {
        self.outputs
    }
}
