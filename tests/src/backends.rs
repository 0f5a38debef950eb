//! Every way to run a network, behind one trait: what it makes of some images, layer by layer.
//!
//! All report the layers of the graph that is executed, after batch norm was folded and dropout dropped, under its names; a backend
//! that runs the network as it was declared reports a batch norm as the convolution into which it is folded.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vgg_cli::reference::evaluate;
use vgg_cli::session::Session;
use vgg_compiler::ir::{Node, Op, Precision, Shape, TypedGraph, ValueId};
use vgg_compiler::onnx::{self, Batch, ExportOptions, Outputs};
use vgg_compiler::plan::{PlanOptions, plan};
use vgg_compiler::weights::{Weights, canonical, seeded};
use vgg_runtime::reference::Real;
use vgg_runtime::{Isa, Threads};

use crate::cases::Case;
use vgg_cli::ort::{GraphOptimizationLevel, OrtModel, OrtOptions};

/// A case with its weights.
#[derive(Debug)]
pub struct Prepared {
    /// The network as declared, with batch norm and dropout.
    pub declared: TypedGraph,
    /// The network as it is executed.
    pub graph: TypedGraph,
    /// The weights of [`Prepared::graph`].
    pub weights: Weights,
    declared_weights: Weights,
    directory: TempDir,
    weights_file: OnceCell<PathBuf>,
}

/// The name of the weights file in the directory of a [`Prepared`].
const WEIGHTS_FILE: &str = "weights.safetensors";

impl Prepared {
    /// Compiles a case and makes its weights.
    ///
    /// # Panics
    /// When the case cannot be compiled, or there is no place for files.
    pub fn new(case: &Case) -> Self {
        let mut compiled = case.compile(1);
        if case.precision != Precision::F32 {
            // The numbers to be judged by are the rounded ones.
            compiled.declared = compiled.graph.clone();
        }
        let tensors = seeded(&compiled.declared, case.weights_seed);
        let resolve = |graph: &TypedGraph| {
            Weights::resolve(graph, tensors.clone(), "seeded")
                .unwrap_or_else(|errors| panic!("{}: {errors:?}", case.name))
        };
        Self {
            declared_weights: resolve(&compiled.declared),
            weights: resolve(&compiled.graph),
            declared: compiled.declared,
            graph: compiled.graph,
            directory: tempfile::tempdir().expect("a directory for the files of a case"),
            weights_file: OnceCell::new(),
        }
    }

    /// The place of a file of this case, which goes when the case does.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The canonical weights file, written when first asked for.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn weights_file(&self) -> &Path {
        self.weights_file.get_or_init(|| {
            let path = self.path(WEIGHTS_FILE);
            canonical::write(&path, &self.graph, &self.weights, &mut |_| {})
                .unwrap_or_else(|error| panic!("the weights file: {error}"));
            path
        })
    }

    /// The name of every layer, in order.
    pub fn layers(&self) -> impl Iterator<Item = &str> {
        self.graph.nodes.iter().map(|node| &*node.name)
    }

    /// The layer of [`Prepared::graph`] that computes what the layer `declared` does: of a convolution in front of a batch norm there is
    /// none, and none of a dropout.
    fn folded_name(&self, declared: &str) -> Option<String> {
        let node = self.declared.nodes.iter().find(|node| node.name == declared)?;
        let reader = self.declared.consumers(node.output).next().map(|index| &self.declared.nodes[index]);
        let folded = |node: &Node| {
            matches!(node.op, Op::BatchNormalization { .. }) && self.layers().all(|name| name != node.name)
        };
        match node.op {
            Op::Dropout { .. } => None,
            Op::Conv(_) if reader.is_some_and(folded) => None,
            Op::BatchNormalization { .. } if folded(node) => {
                self.declared.producer(node.inputs[0]).map(|conv| self.declared.nodes[conv].name.clone())
            }
            _ => Some(declared.to_owned()),
        }
    }
}

/// What one layer made of some images.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerValues {
    /// The layer of [`Prepared::graph`].
    pub name: String,
    /// `[images, channels, height, width]` or `[images, features]`.
    pub shape: Vec<usize>,
    /// The values in C order. Those that were computed in f32 are exact.
    pub values: Vec<f64>,
}

impl LayerValues {
    /// The values of one image.
    pub fn image(&self, index: usize) -> &[f64] {
        let len = self.values.len() / self.shape[0];
        &self.values[index * len..(index + 1) * len]
    }
}

/// What a backend made of some images.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The layers that it can show, in order.
    pub layers: Vec<LayerValues>,
    /// The network's outputs.
    pub outputs: Vec<Vec<f64>>,
}

impl Run {
    /// The values of a layer, when it is among those shown.
    pub fn layer(&self, name: &str) -> Option<&LayerValues> {
        self.layers.iter().find(|layer| layer.name == name)
    }
}

/// A way to run a network.
pub trait Backend {
    /// What reports call it.
    fn name(&self) -> String;

    /// Runs a network on `count` images, NCHW, one after the other.
    ///
    /// # Errors
    /// When it refuses the network or contradicts itself.
    fn run(&self, prepared: &Prepared, images: &[f32], count: usize) -> Result<Run, String>;
}

fn shape(graph: &TypedGraph, value: ValueId, count: usize) -> Vec<usize> {
    std::iter::once(count).chain(graph.shape(value).dims()).collect()
}

/// The outputs of `graph` that lie one after the other in `values`.
fn split(graph: &TypedGraph, mut values: &[f64], count: usize) -> Vec<Vec<f64>> {
    let mut take = |shape: Shape| {
        let (output, rest) = values.split_at(count * shape.len());
        values = rest;
        output.to_vec()
    };
    let outputs = graph.output_shapes().map(&mut take).collect();
    assert!(values.is_empty(), "more was written than the outputs of the network");
    outputs
}

fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// Naive loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// In 64-bit arithmetic, on the network as declared: the judge of all others.
    F64,
    /// In 32-bit arithmetic, on the network as executed.
    F32,
}

impl Backend for Reference {
    fn name(&self) -> String {
        match self {
            Self::F64 => "f64 reference".to_owned(),
            Self::F32 => "f32 reference".to_owned(),
        }
    }

    fn run(&self, prepared: &Prepared, images: &[f32], count: usize) -> Result<Run, String> {
        fn all<T: Real + Into<f64>>(
            graph: &TypedGraph,
            weights: &Weights,
            images: &[f32],
            count: usize,
            name: &dyn Fn(&str) -> Option<String>,
        ) -> Run {
            let wide = |values: &[T]| values.iter().map(|&value| value.into()).collect::<Vec<f64>>();
            let mut layers = Vec::new();
            let output = evaluate(graph, weights, count, images, &mut |node, values: &[T]| {
                if let Some(name) = name(&node.name) {
                    layers.push(LayerValues { name, shape: shape(graph, node.output, count), values: wide(values) });
                }
            });
            Run { layers, outputs: split(graph, &wide(&output), count) }
        }
        let Prepared { declared, declared_weights, graph, weights, .. } = prepared;
        Ok(match self {
            Self::F64 => all::<f64>(declared, declared_weights, images, count, &|name| prepared.folded_name(name)),
            Self::F32 => all::<f32>(graph, weights, images, count, &|name| Some(name.to_owned())),
        })
    }
}

/// The session: the runtime's kernels, from the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InSession {
    /// The tier.
    pub isa: Isa,
    /// The number of threads.
    pub threads: usize,
    /// Whether nothing is fused, so that every layer can be seen.
    pub stored: bool,
    /// Whether every convolution is summed directly.
    pub exact: bool,
}

impl Backend for InSession {
    fn name(&self) -> String {
        let planned = if self.stored { "stored" } else { "planned" };
        let exact = if self.exact { " exactly" } else { "" };
        format!("session {planned}{exact}, {}, {} threads", self.isa.name(), self.threads)
    }

    fn run(&self, prepared: &Prepared, images: &[f32], count: usize) -> Result<Run, String> {
        let graph = &prepared.graph;
        let barriers = if self.stored { (0..graph.values.len()).map(ValueId).collect() } else { Vec::new() };
        let plan = plan(graph, &PlanOptions { batch: count, barriers, exact: self.exact })
            .map_err(|error| error.to_string())?;
        let threads = Threads::new(self.threads);
        let mut session =
            Session::new(graph, plan, &prepared.weights, threads, self.isa).map_err(|error| error.to_string())?;
        let (mut observed, mut again) = (vec![f32::NAN; session.output_len()], vec![f32::NAN; session.output_len()]);
        let mut layers = Vec::new();
        session.run_observed(images, &mut observed, &mut |step, values| {
            if !step.layers.is_empty() {
                let name = graph.values[step.value.0].name.clone();
                layers.push(LayerValues { name, shape: shape(graph, step.value, count), values: widened(values) });
            }
        });
        // The second time the arena holds what the first left behind.
        session.run(images, &mut again);
        if observed.iter().zip(&again).any(|(a, b)| a.to_bits() != b.to_bits()) {
            return Err("a second inference gives other bits than the first".to_owned());
        }
        Ok(Run { layers, outputs: split(graph, &widened(&again), count) })
    }
}

/// ONNX Runtime on an exported file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InOnnxRuntime {
    /// The weights in the file, the batch fixed.
    Inline,
    /// The weights in the canonical file beside it.
    External,
    /// The weights beside it, the batch left open.
    DynamicBatch,
    /// The oldest operator set.
    Opset13,
    /// The newest operator set that is written.
    Opset22,
    /// The network as declared, with its batch norms and dropouts.
    Declared,
    /// The file as users have it, with the final output alone, and all of ONNX Runtime's optimisations.
    Optimised,
}

impl InOnnxRuntime {
    /// All forms of a file.
    pub const ALL: [Self; 7] = [
        Self::Inline,
        Self::External,
        Self::DynamicBatch,
        Self::Opset13,
        Self::Opset22,
        Self::Declared,
        Self::Optimised,
    ];

    fn options(self, count: usize) -> ExportOptions {
        let inline = matches!(self, Self::Inline | Self::Declared);
        ExportOptions {
            opset: match self {
                Self::Opset13 => 13,
                Self::Opset22 => 22,
                _ => onnx::DEFAULT_OPSET,
            },
            batch: if self == Self::DynamicBatch { Batch::Dynamic } else { Batch::Fixed(count) },
            external: (!inline).then(|| WEIGHTS_FILE.to_owned()),
            outputs: if self == Self::Optimised { Outputs::Final } else { Outputs::All },
            ..ExportOptions::default()
        }
    }
}

impl Backend for InOnnxRuntime {
    fn name(&self) -> String {
        format!("ONNX Runtime, {self:?}")
    }

    fn run(&self, prepared: &Prepared, images: &[f32], count: usize) -> Result<Run, String> {
        let (graph, weights) = match self {
            Self::Declared => (&prepared.declared, &prepared.declared_weights),
            _ => (&prepared.graph, &prepared.weights),
        };
        let options = self.options(count);
        if options.external.is_some() {
            prepared.weights_file();
        }
        let path = prepared.path("model.onnx");
        onnx::write_model(&path, graph, weights, &options, &mut |_| {}).map_err(|error| error.to_string())?;
        let optimization = match self {
            Self::Optimised => GraphOptimizationLevel::All,
            _ => GraphOptimizationLevel::Disable,
        };
        let mut model = OrtModel::from_file(&path, OrtOptions { optimization, ..OrtOptions::default() })
            .map_err(|error| error.to_string())?;
        let tensors = model.run(images, &shape(graph, graph.input, count)).map_err(|error| error.to_string())?;
        let values: HashMap<&str, ValueId> =
            graph.nodes.iter().map(|node| (&*graph.values[node.output.0].name, node.output)).collect();
        let (mut layers, mut outputs) = (Vec::new(), vec![None; graph.outputs.len()]);
        for tensor in tensors {
            let id = *values.get(&*tensor.name).ok_or_else(|| format!("no layer makes `{}`", tensor.name))?;
            let expected = shape(graph, id, count);
            if tensor.shape != expected {
                return Err(format!("`{}` has shape {:?}, expected {expected:?}", tensor.name, tensor.shape));
            }
            if let Some(index) = graph.outputs.iter().position(|&output| output == id) {
                outputs[index] = Some(widened(&tensor.data));
            }
            let name = if *self == Self::Declared { prepared.folded_name(&tensor.name) } else { Some(tensor.name) };
            layers.extend(name.map(|name| LayerValues { name, shape: tensor.shape, values: widened(&tensor.data) }));
        }
        let outputs: Option<Vec<Vec<f64>>> = outputs.into_iter().collect();
        Ok(Run { layers, outputs: outputs.ok_or("the model does not give every output of the network")? })
    }
}
