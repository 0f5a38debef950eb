//! A network executed in process, from its plan, without generating code: what `run`, `verify` and `bench` use.
//!
//! It calls the same operations as generated code, with the dimensions known only at run time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use vgg_compiler::ir::{ParamId, Precision, TypedGraph};
use vgg_compiler::plan::{self, ExecutionPlan, Operand, Step, StepKind};
use vgg_compiler::weights::Weights;
use vgg_runtime as rt;
use vgg_runtime::{
    Arena, Bf16, F16, Int8, Isa, PackedAffine, PackedConv, PackedGemm, PackedGroupedConv, Program, Scratch,
    SharedBytes, Simd, Threads, Workspace, ops,
};

/// A planned network with packed weights, its memory and its threads.
#[derive(Debug)]
pub struct Session {
    plan: ExecutionPlan,
    weights: Vec<StepWeights>,
    workspace: Workspace,
}

/// The packed weights of one step.
#[derive(Debug)]
enum StepWeights {
    None,
    Conv(PackedConv),
    GroupedConv(PackedGroupedConv),
    Gemm(PackedGemm),
    Affine(PackedAffine),
    GemmF16(PackedGemm<F16>),
    GemmBf16(PackedGemm<Bf16>),
    GemmInt8(PackedGemm<Int8>),
}

/// Looks at a value that a step has completed: the step, and for each image of the batch its values in NCHW order.
pub type Observer<'a> = &'a mut dyn FnMut(&Step, &[f32]);

impl Session {
    /// Packs `weights` for the steps of `plan`, which must be a plan of `graph`. Those of fully connected layers are shared, and large
    /// transformed ones are packed by the second inference.
    ///
    /// # Errors
    ///
    /// When a weight is not finite.
    pub fn new(
        graph: &TypedGraph,
        plan: ExecutionPlan,
        weights: &Weights,
        threads: Threads,
        isa: Isa,
    ) -> Result<Self, rt::Error> {
        Self::taking(graph, plan, weights.clone(), threads, isa)
    }

    /// The same, but the memory of weights that are packed is given back one after the other.
    ///
    /// # Errors
    ///
    /// As [`Session::new`].
    pub fn taking(
        graph: &TypedGraph,
        plan: ExecutionPlan,
        mut weights: Weights,
        threads: Threads,
        isa: Isa,
    ) -> Result<Self, rt::Error> {
        let batch = plan.batch;
        let mut packed = Vec::with_capacity(plan.steps.len());
        for (index, step) in plan.steps.iter().enumerate() {
            let later = plan.steps.get(index + 1..).unwrap_or_default();
            let take = |id: ParamId| {
                let again = later.iter().any(|step| step.kind.params().contains(&id));
                if again { weights.get(id).clone() } else { weights.take(id) }
            };
            let tensors: Vec<Bytes> = step.kind.params().into_iter().map(take).collect();
            packed.push(pack(&step.kind, batch, &tensors).map_err(|error| error.in_layer(step.name.clone()))?);
        }
        let scratch_len = plan.steps.iter().map(|step| scratch_len(&step.kind, batch)).max().unwrap_or(0);
        let workspace = Workspace::new(plan.arena_len, scratch_len, threads, isa);
        debug_assert_eq!(graph.name, plan.name);
        Ok(Self { plan, weights: packed, workspace })
    }

    /// The plan that is executed.
    pub fn plan(&self) -> &ExecutionPlan {
        &self.plan
    }

    /// Values of the input of one inference.
    pub fn input_len(&self) -> usize {
        self.plan.batch * self.plan.input.len()
    }

    /// Values of all outputs of one inference. They lie one output after the other, see [`ExecutionPlan::output_range`].
    pub fn output_len(&self) -> usize {
        self.plan.output_len()
    }

    /// Computes one batch: all outputs, one after the other. Allocates nothing.
    ///
    /// # Panics
    ///
    /// When `input` or `output` does not have the length of [`Session::input_len`] or [`Session::output_len`].
    pub fn run(&mut self, input: &[f32], output: &mut [f32]) {
        self.execute(input, output, Unwatched);
    }

    /// Computes one batch and shows every value that is stored while its buffer is alive.
    ///
    /// # Panics
    ///
    /// As [`Session::run`].
    pub fn run_observed(&mut self, input: &[f32], output: &mut [f32], observer: Observer<'_>) {
        self.execute(input, output, Values(observer));
    }

    /// Computes one batch and notes how long each step of the plan takes. Allocates nothing.
    ///
    /// # Panics
    ///
    /// As [`Session::run`], and when there are not as many `times` as steps.
    pub fn run_timed(&mut self, input: &[f32], output: &mut [f32], times: &mut [Duration]) {
        assert_eq!(times.len(), self.plan.steps.len(), "there must be a time for each step");
        self.execute(input, output, Clock { times, last: Instant::now() });
    }

    fn execute<W: Watcher>(&mut self, input: &[f32], output: &mut [f32], watcher: W) {
        assert_eq!(input.len(), self.input_len(), "the input has the wrong number of values");
        assert_eq!(output.len(), self.output_len(), "the output has the wrong number of values");
        let isa = self.workspace.isa();
        let (threads, arena, scratch) = self.workspace.parts();
        let (plan, weights) = (&self.plan, &self.weights[..]);
        isa.run(Inference { plan, weights, threads, arena, scratch, input, output, watcher });
    }
}

/// Packs the tensors of a step, in the order of [`StepKind::params`].
fn pack(kind: &StepKind, batch: usize, tensors: &[Bytes]) -> Result<StepWeights, rt::Error> {
    let share = |weight: &Bytes| SharedBytes::new(weight.clone());
    match (kind, tensors) {
        (StepKind::Conv(conv), [weight, bias]) if conv.is_plain() => {
            PackedConv::share(conv_dims(conv, batch), &share(weight), bias).map(StepWeights::Conv)
        }
        (StepKind::Conv(conv), [weight, bias]) => {
            PackedGroupedConv::pack(grouped_dims(conv, batch), weight, bias).map(StepWeights::GroupedConv)
        }
        (StepKind::Affine { .. }, [scale, shift, mean, variance]) => {
            PackedAffine::pack(affine_dims(kind, batch), scale, shift, mean, variance).map(StepWeights::Affine)
        }
        (StepKind::Gemm { .. }, [weight, scale, bias]) => {
            PackedGemm::share_scaled(gemm_dims(kind, batch), &share(weight), scale, bias).map(StepWeights::GemmInt8)
        }
        (StepKind::Gemm { precision, .. }, [weight, bias]) => {
            let dims = gemm_dims(kind, batch);
            match precision {
                Precision::F16 => PackedGemm::share(dims, &share(weight), bias).map(StepWeights::GemmF16),
                Precision::Bf16 => PackedGemm::share(dims, &share(weight), bias).map(StepWeights::GemmBf16),
                _ => PackedGemm::share(dims, &share(weight), bias).map(StepWeights::Gemm),
            }
        }
        _ => Ok(StepWeights::None),
    }
}

/// Is told of every step that has been computed. A type parameter of the inference, so that nobody looking costs nothing.
trait Watcher {
    fn computed<S: Simd>(&mut self, step: usize, state: State<'_, S>);
}

/// Where an inference is when a step has been computed.
struct State<'a, S> {
    simd: S,
    threads: &'a Threads,
    plan: &'a ExecutionPlan,
    arena: &'a Arena,
    output: &'a [f32],
}

/// Nobody looks.
struct Unwatched;

impl Watcher for Unwatched {
    #[inline(always)]
    fn computed<S: Simd>(&mut self, _: usize, _: State<'_, S>) {}
}

/// Notes how long each step takes.
struct Clock<'a> {
    times: &'a mut [Duration],
    last: Instant,
}

impl Watcher for Clock<'_> {
    #[inline(always)]
    fn computed<S: Simd>(&mut self, step: usize, _: State<'_, S>) {
        let now = Instant::now();
        self.times[step] = now - self.last;
        self.last = now;
    }
}

/// Shows the values that a step has written, in NCHW order.
struct Values<'a>(Observer<'a>);

impl Watcher for Values<'_> {
    fn computed<S: Simd>(&mut self, step: usize, state: State<'_, S>) {
        let State { simd, threads, plan, arena, output } = state;
        let (step, batch) = (&plan.steps[step], plan.batch);
        if matches!(step.kind, StepKind::Concat { .. }) && step.layers.is_empty() {
            return; // a part of a value
        }
        let buffer = match step.output {
            Operand::Buffer(buffer) => &plan.buffers[buffer],
            Operand::Output(index) => return (self.0)(step, &output[plan.output_range(index)]),
            Operand::Input => return,
        };
        let written = arena.get(buffer.range());
        match &buffer.layout {
            plan::Layout::Blocked(input) => {
                let dims = rt::FlattenDims { input: blocked(input), batch };
                let mut plain = vec![0.0; dims.features() * batch];
                ops::flatten(simd, threads, dims, written, &mut plain);
                (self.0)(step, &plain);
            }
            plan::Layout::Flat { .. } => (self.0)(step, written),
        }
    }
}

/// One inference, as a program over the instruction set.
struct Inference<'a, W> {
    plan: &'a ExecutionPlan,
    weights: &'a [StepWeights],
    threads: &'a Threads,
    arena: &'a mut Arena,
    scratch: &'a mut Scratch,
    input: &'a [f32],
    output: &'a mut [f32],
    watcher: W,
}

impl<W: Watcher> Program for Inference<'_, W> {
    type Output = ();

    fn run<S: Simd>(self, simd: S) {
        let Self { plan, weights, threads, arena, scratch, input, output, mut watcher } = self;
        for (index, (step, weights)) in plan.steps.iter().zip(weights).enumerate() {
            let (reads, write) = operands(plan, step, input, arena, output);
            call(simd, threads, &step.kind, plan.batch, weights, reads, write, scratch);
            watcher.computed(index, State { simd, threads, plan, arena, output });
        }
    }
}

/// What `step` reads, its only operand twice where it has one, and what it writes.
fn operands<'a>(
    plan: &ExecutionPlan,
    step: &Step,
    input: &'a [f32],
    arena: &'a mut Arena,
    output: &'a mut [f32],
) -> ([&'a [f32]; 2], &'a mut [f32]) {
    let operands = [step.inputs[0], step.inputs[step.inputs.len() - 1]];
    // Nothing of the arena is read where the operand is the caller's.
    let ranges = operands.map(|operand| match operand {
        Operand::Buffer(buffer) => plan.buffers[buffer].range(),
        Operand::Input | Operand::Output(_) => 0..0,
    });
    let (mut reads, write) = match step.output {
        Operand::Output(index) => {
            let arena = &*arena;
            (ranges.map(|range| arena.get(range)), &mut output[plan.output_range(index)])
        }
        Operand::Buffer(to) => arena.reads(ranges, plan.buffers[to].range()),
        Operand::Input => unreachable!("a plan writes to no input"),
    };
    for (read, operand) in reads.iter_mut().zip(operands) {
        if operand == Operand::Input {
            *read = input;
        }
    }
    (reads, write)
}

fn call<S: Simd>(
    simd: S,
    threads: &Threads,
    kind: &StepKind,
    batch: usize,
    weights: &StepWeights,
    [read, second]: [&[f32]; 2],
    write: &mut [f32],
    scratch: &mut Scratch,
) {
    match (kind, weights) {
        (StepKind::Pack { output }, _) => {
            ops::pack(simd, threads, rt::PackDims { output: blocked(output), batch }, read, write);
        }
        (StepKind::Conv(conv), StepWeights::Conv(packed)) => {
            ops::conv(simd, threads, conv_dims(conv, batch), read, packed, write, scratch);
        }
        (StepKind::MaxPool { input, output, pool }, _) => {
            let (input, output, window) = (blocked(input), blocked(output), window(pool));
            ops::max_pool(simd, threads, rt::MaxPoolDims { input, output, window, batch }, read, write);
        }
        (&StepKind::AveragePool { ref input, ref output, ref pool, count_include_pad }, _) => {
            let (input, output, window) = (blocked(input), blocked(output), window(pool));
            let dims = rt::AveragePoolDims { input, output, window, count_include_pad, batch };
            ops::average_pool(simd, threads, dims, read, write);
        }
        (StepKind::Lrn { .. }, _) => ops::lrn(simd, threads, lrn_dims(kind, batch), read, write, scratch),
        (StepKind::Conv(conv), StepWeights::GroupedConv(packed)) => {
            ops::grouped_conv(simd, threads, grouped_dims(conv, batch), read, packed, write, scratch);
        }
        (StepKind::Activation { input, output, function }, _) => {
            let (input, output) = (blocked(input), blocked(output));
            let function = match *function {
                plan::Activation::Relu => rt::Activation::Relu,
                plan::Activation::Clip { min, max } => rt::Activation::Clip { min, max },
                plan::Activation::LeakyRelu { alpha } => rt::Activation::LeakyRelu { alpha },
                plan::Activation::Sigmoid => rt::Activation::Sigmoid,
            };
            ops::activation(simd, threads, rt::ActivationDims { input, output, function, batch }, read, write);
        }
        (StepKind::Affine { .. }, StepWeights::Affine(packed)) => {
            ops::affine(simd, threads, affine_dims(kind, batch), read, packed, write);
        }
        (&StepKind::Combine { ref inputs, ref output, operation, relu }, _) => {
            let operation = match operation {
                plan::Combination::Add => rt::Combination::Add,
                plan::Combination::Mul => rt::Combination::Mul,
            };
            let (inputs, output) = (inputs.each_ref().map(blocked), blocked(output));
            ops::combine(
                simd,
                threads,
                rt::CombineDims { inputs, output, operation, relu, batch },
                [read, second],
                write,
            );
        }
        (&StepKind::Concat { ref input, ref output, first }, _) => {
            let dims = rt::ConcatDims { input: blocked(input), output: blocked(output), first, batch };
            ops::concat(simd, threads, dims, read, write);
        }
        (StepKind::Flatten { input }, _) => {
            ops::flatten(simd, threads, rt::FlattenDims { input: blocked(input), batch }, read, write);
        }
        (StepKind::Gemm { .. }, StepWeights::Gemm(packed)) => {
            ops::gemm(simd, threads, gemm_dims(kind, batch), read, packed, write);
        }
        (StepKind::Gemm { .. }, StepWeights::GemmF16(packed)) => {
            ops::gemm(simd, threads, gemm_dims(kind, batch), read, packed, write);
        }
        (StepKind::Gemm { .. }, StepWeights::GemmBf16(packed)) => {
            ops::gemm(simd, threads, gemm_dims(kind, batch), read, packed, write);
        }
        (StepKind::Gemm { .. }, StepWeights::GemmInt8(packed)) => {
            ops::gemm(simd, threads, gemm_dims(kind, batch), read, packed, write);
        }
        (StepKind::Softmax { features }, _) => {
            ops::softmax(simd, threads, rt::SoftmaxDims { features: *features, batch }, read, write);
        }
        (StepKind::LogSoftmax { features }, _) => {
            ops::log_softmax(simd, threads, rt::SoftmaxDims { features: *features, batch }, read, write);
        }
        (StepKind::Conv(_) | StepKind::Gemm { .. } | StepKind::Affine { .. }, _) => {
            unreachable!("`Session::taking` packs the weights of this step")
        }
    }
}

fn scratch_len(kind: &StepKind, batch: usize) -> usize {
    match kind {
        StepKind::Conv(conv) if conv.is_plain() => ops::conv_scratch_len(conv_dims(conv, batch)),
        StepKind::Conv(conv) => ops::grouped_conv_scratch_len(grouped_dims(conv, batch)),
        StepKind::Lrn { .. } => ops::lrn_scratch_len(lrn_dims(kind, batch)),
        _ => 0,
    }
}

fn conv_dims(conv: &plan::ConvStep, batch: usize) -> rt::ConvDims {
    rt::ConvDims {
        input: blocked(&conv.input),
        output: blocked(&conv.output),
        kernel: conv.kernel,
        strides: conv.strides,
        pads: conv.pads,
        relu: conv.relu,
        pool: conv.pool.as_ref().map(window),
        algorithm: match algorithm(conv) {
            rt::GroupedAlgorithm::Each(algorithm) => algorithm,
            _ => unreachable!("a plain convolution has none of these algorithms"),
        },
        batch,
    }
}

fn grouped_dims(conv: &plan::ConvStep, batch: usize) -> rt::GroupedConvDims {
    rt::GroupedConvDims {
        input: blocked(&conv.input),
        output: blocked(&conv.output),
        kernel: conv.kernel,
        strides: conv.strides,
        pads: conv.pads,
        dilations: conv.dilations,
        groups: conv.group,
        relu: conv.relu,
        pool: conv.pool.as_ref().map(window),
        algorithm: algorithm(conv),
        batch,
    }
}

fn algorithm(conv: &plan::ConvStep) -> rt::GroupedAlgorithm {
    rt::GroupedAlgorithm::Each(match conv.algorithm {
        plan::Algorithm::Direct => rt::Algorithm::Direct,
        plan::Algorithm::Gemm => rt::Algorithm::Gemm,
        plan::Algorithm::WinogradF4 => rt::Algorithm::WinogradF4,
        plan::Algorithm::WinogradF6 => rt::Algorithm::WinogradF6,
        plan::Algorithm::Depthwise => return rt::GroupedAlgorithm::Depthwise,
        plan::Algorithm::General => return rt::GroupedAlgorithm::General,
    })
}

fn affine_dims(kind: &StepKind, batch: usize) -> rt::AffineDims {
    match *kind {
        StepKind::Affine { ref input, ref output, epsilon, relu, .. } => {
            rt::AffineDims { input: blocked(input), output: blocked(output), epsilon, relu, batch }
        }
        _ => unreachable!("only batch normalisation has these dimensions"),
    }
}

fn gemm_dims(kind: &StepKind, batch: usize) -> rt::GemmDims {
    match *kind {
        StepKind::Gemm { in_features, out_features, relu, .. } => {
            rt::GemmDims { in_features, out_features, relu, batch }
        }
        _ => unreachable!("only fully connected layers have these dimensions"),
    }
}

fn lrn_dims(kind: &StepKind, batch: usize) -> rt::LrnDims {
    match kind {
        StepKind::Lrn { input, output, lrn } => rt::LrnDims {
            input: blocked(input),
            output: blocked(output),
            size: lrn.size,
            alpha: lrn.alpha,
            beta: lrn.beta,
            bias: lrn.bias,
            batch,
        },
        _ => unreachable!("only local response normalisation has these dimensions"),
    }
}

fn blocked(blocked: &plan::Blocked) -> rt::Blocked {
    let plan::Blocked { channels, height, width, block, halo } = *blocked;
    rt::Blocked { channels, height, width, block, halo }
}

fn window(pool: &vgg_compiler::ir::Pool) -> rt::PoolWindow {
    rt::PoolWindow { kernel: pool.kernel_shape, strides: pool.strides, pads: pool.pads, ceil_mode: pool.ceil_mode }
}
