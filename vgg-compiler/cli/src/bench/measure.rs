//! The measurements: loading, the first inference, the runs.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use vgg_compiler::ir::{Precision, TypedGraph};
use vgg_compiler::onnx::Batch;
use vgg_compiler::plan::Step;
use vgg_compiler::weights::{WeightsSource, canonical};
use vgg_compiler::{CompileOptions, Compiled};
use vgg_runtime::{Isa, Threads};

use super::memory;
use super::report::{Layer, Peer, Report};
use super::roofline::{Limits, Work};
use super::statistics::Statistics;
use crate::error::Error;
use crate::export::{self, export};
use crate::input::{Images, SEED};
use crate::mapped;
use crate::model::Model;
use crate::ort::{self, GraphOptimizationLevel, OrtModel, OrtOptions};
use crate::progress::{Progress, Unit};
use crate::session::Session;
use crate::staging::Staging;

/// Runs that are not counted, for caches, branch predictors and clocks to settle.
const WARM_UP: usize = 3;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// Images of one inference.
    pub batch: usize,
    /// Runs that count, at least 1.
    pub runs: usize,
    /// The threads, for either side.
    pub threads: Threads,
    /// The vector instructions.
    pub isa: Isa,
    /// Whether every convolution is summed directly.
    pub exact: bool,
    /// How the weights of fully connected layers are kept.
    pub precision: Precision,
    /// Whether ONNX Runtime is measured, too, run by run in turns.
    pub against_ort: bool,
}

/// Measures `model` with the weights of `source`.
///
/// # Errors
///
/// When the weights do not fit, when there is no room for a temporary file, when ONNX Runtime is asked for and is not there.
pub fn bench(model: &Model, source: &WeightsSource, options: &Options, progress: &Progress) -> Result<Report, Error> {
    let Options { batch, runs, threads, isa, exact, precision, against_ort } = options;
    // Before anything that takes time: is there an opponent?
    let ort_version = if *against_ort { Some(ort::version()?) } else { None };
    let mut files = Files::new(model, *batch, *exact, *precision)?;
    let compiled = files.compile()?;
    let weights = files.weights(source, progress)?;
    let images = Images::generated(compiled.graph.input_shape(), *batch, SEED);
    let mut ours = Subject::load(compiled, &weights, images, threads, *isa)?;
    let mut theirs = match &ort_version {
        Some(_) => Some(Opponent::load(&files.export(&weights, progress)?, &ours.images, threads.count())?),
        None => None,
    };
    let limits = Limits::measure(*isa, threads);

    let steps = ours.session.plan().steps.len();
    let mut samples = Samples { total: Vec::new(), steps: vec![Vec::new(); steps] };
    let mut opponent = Vec::new();
    {
        let stage = progress.stage("measuring", (WARM_UP + runs) as u64, Unit::Items);
        for round in 0..WARM_UP + runs {
            let total = ours.run();
            let other = theirs.as_mut().map(|theirs| theirs.run(&ours.images)).transpose()?;
            if round >= WARM_UP {
                samples.add(total, &ours.times);
                opponent.extend(other.map(milliseconds));
            }
            stage.at(round as u64 + 1);
        }
    }
    // Measured at both ends: the machine is at its best in neither for sure.
    let limits = limits.or_better(Limits::measure(*isa, threads));

    let plan = ours.session.plan();
    let layer = |(step, times): (&Step, &Vec<f64>)| Layer {
        name: step.name.clone(),
        layers: step.layers.clone(),
        computes: step.kind.to_string(),
        algorithm: step.kind.algorithm().map(|algorithm| algorithm.name()),
        time: Statistics::of(times),
        work: Work::of(&ours.graph, plan, step),
    };
    Ok(Report {
        model: model.name().to_owned(),
        weights: source.to_string(),
        batch: *batch,
        runs: *runs,
        threads: threads.count(),
        precision: *precision,
        isa: isa.name(),
        time: Statistics::of(&samples.total),
        first: milliseconds(ours.first),
        second: milliseconds(ours.second),
        load: milliseconds(ours.load),
        peak_rss: ours.peak_rss,
        limits,
        layers: plan.steps.iter().zip(&samples.steps).map(layer).collect(),
        ort: ort_version.zip(theirs).map(|(version, theirs)| Peer {
            version,
            time: Statistics::of(&opponent),
            first: milliseconds(theirs.first),
            load: milliseconds(theirs.load),
        }),
    })
}

/// A duration in the unit of all reports.
pub(super) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// All times of the runs, in milliseconds.
struct Samples {
    total: Vec<f64>,
    /// For each step of the plan.
    steps: Vec<Vec<f64>>,
}

impl Samples {
    fn add(&mut self, total: Duration, times: &[Duration]) {
        self.total.push(milliseconds(total));
        for (samples, &time) in self.steps.iter_mut().zip(times) {
            samples.push(milliseconds(time));
        }
    }
}

/// The network's files, made when they are needed and removed in the end.
pub(super) struct Files<'a> {
    model: &'a Model,
    batch: usize,
    exact: bool,
    precision: Precision,
    staging: Staging,
    exported: bool,
}

impl<'a> Files<'a> {
    pub(super) fn new(model: &'a Model, batch: usize, exact: bool, precision: Precision) -> Result<Self, Error> {
        let staging = Staging::temporary().map_err(|error| Error::writing(&std::env::temp_dir(), &error))?;
        Ok(Self { model, batch, exact, precision, staging, exported: false })
    }

    pub(super) fn compile(&self) -> Result<Compiled, Error> {
        let &Self { batch, exact, precision, .. } = self;
        self.model.compile(&CompileOptions { batch, exact, precision, ..CompileOptions::default() })
    }

    /// The network as an ONNX file, its weights in a file of their own beside it. Written once.
    fn export(&mut self, source: &WeightsSource, progress: &Progress) -> Result<PathBuf, Error> {
        let path = self.staging.path().join("model.onnx");
        if !self.exported {
            let options = export::Options {
                batch: Batch::Fixed(self.batch),
                external: true,
                precision: self.precision,
                ..export::Options::default()
            };
            export(self.model, source, &path, &options, progress)?;
            self.exported = true;
        }
        Ok(path)
    }

    /// A file with the weights of `source`: generated ones, and those that are rounded, are written to one first, so that loading means
    /// the same for all.
    pub(super) fn weights(&mut self, source: &WeightsSource, progress: &Progress) -> Result<WeightsSource, Error> {
        match source {
            WeightsSource::File(_) if self.precision == Precision::F32 => Ok(source.clone()),
            WeightsSource::File(path) if canonical::is_of(&self.compile()?.graph, path) => Ok(source.clone()),
            _ => {
                let weights = self.export(source, progress)?.with_extension("safetensors");
                memory::reset_peak();
                Ok(WeightsSource::File(weights))
            }
        }
    }
}

/// A loaded network that has computed twice.
pub(super) struct Subject {
    session: Session,
    graph: TypedGraph,
    pub(super) images: Images,
    pub(super) output: Vec<f32>,
    /// Of each step in the last run.
    times: Vec<Duration>,
    /// From the file to packed weights.
    pub(super) load: Duration,
    /// The first inference.
    pub(super) first: Duration,
    /// The second, which packs large weights.
    pub(super) second: Duration,
    /// The largest resident set until then, in bytes.
    pub(super) peak_rss: Option<u64>,
}

impl Subject {
    pub(super) fn load(
        compiled: Compiled,
        weights: &WeightsSource,
        images: Images,
        threads: &Threads,
        isa: Isa,
    ) -> Result<Self, Error> {
        let Compiled { graph, plan, .. } = compiled;
        let start = Instant::now();
        let tensors = mapped::load(weights, &graph)?.weights;
        let session = Session::taking(&graph, plan, tensors, threads.clone(), isa)?;
        let load = start.elapsed();
        let output = vec![0.0; session.output_len()];
        let times = vec![Duration::ZERO; session.plan().steps.len()];
        let [first, second] = [Duration::ZERO; 2];
        let mut subject = Self { session, graph, images, output, times, load, first, second, peak_rss: None };
        subject.first = subject.run();
        subject.second = subject.run();
        subject.peak_rss = memory::peak();
        Ok(subject)
    }

    /// One inference, and how long it took.
    pub(super) fn run(&mut self) -> Duration {
        let start = Instant::now();
        self.session.run_timed(&self.images.values, &mut self.output, &mut self.times);
        start.elapsed()
    }
}

/// The same network in ONNX Runtime.
struct Opponent {
    model: OrtModel,
    dims: Vec<usize>,
    load: Duration,
    first: Duration,
}

impl Opponent {
    fn load(path: &Path, images: &Images, threads: usize) -> Result<Self, Error> {
        let start = Instant::now();
        let options = OrtOptions { intra_threads: threads, optimization: GraphOptimizationLevel::All };
        let model = OrtModel::from_file(path, options)?;
        let load = start.elapsed();
        let mut opponent = Self { model, dims: images.dims(), load, first: Duration::ZERO };
        opponent.first = opponent.run(images)?;
        Ok(opponent)
    }

    fn run(&mut self, images: &Images) -> Result<Duration, Error> {
        let start = Instant::now();
        self.model.run(&images.values, &self.dims)?;
        Ok(start.elapsed())
    }
}
