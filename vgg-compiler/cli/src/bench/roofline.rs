//! The least time that a step can take on this machine: its arithmetic at the peak of multiply-adds, or its bytes at the
//! speed of memory, whichever is longer (Williams, Waterman, Patterson: "Roofline", CACM 52(4), 2009).

use vgg_compiler::ir::TypedGraph;
use vgg_compiler::plan::{Algorithm, ConvStep, ExecutionPlan, Operand, Step, StepKind};
use vgg_runtime::{Isa, Threads, probe};

/// What a step has to do for the whole batch.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Work {
    /// Additions and multiplications of the layer as it is defined: two for each multiply-accumulate of convolutions and fully
    /// connected layers, and none for all others, whose time goes into moving data.
    pub flops: f64,
    /// Of these, what the algorithm cannot do without.
    pub arithmetic: f64,
    /// Bytes of the parameters in the form that the algorithm reads, and of the activations read and written (with their halo), four
    /// each, all once.
    pub bytes: f64,
}

impl Work {
    /// What `step` of `plan`, a plan of `graph`, has to do.
    pub fn of(graph: &TypedGraph, plan: &ExecutionPlan, step: &Step) -> Self {
        let nodes = || graph.nodes.iter().filter(|node| step.layers.contains(&node.name));
        let macs: u64 = nodes().map(|node| graph.macs(node)).sum();
        let parameters: usize = nodes().flat_map(|node| &node.params).map(|id| graph.params[id.0].bytes()).sum();
        let values = |operand: Operand| match operand {
            Operand::Input => plan.batch * plan.input.len(),
            Operand::Output(index) => plan.output_range(index).len(),
            Operand::Buffer(buffer) => plan.buffers[buffer].len,
        };
        let flops = 2.0 * macs as f64 * plan.batch as f64;
        let (arithmetic, weights) = match &step.kind {
            StepKind::Conv(conv) => factors(conv),
            _ => (1.0, 1.0),
        };
        let activations = step.inputs.iter().map(|&input| values(input)).sum::<usize>() + written(plan, step, values);
        let bytes = weights * parameters as f64 + 4.0 * activations as f64;
        Self { flops, arithmetic: arithmetic * flops, bytes }
    }
}

/// Values that `step` writes: of a concatenation, no more than it reads.
fn written(plan: &ExecutionPlan, step: &Step, values: impl Fn(Operand) -> usize) -> usize {
    match &step.kind {
        StepKind::Concat { input, .. } => plan.batch * input.len(),
        _ => values(step.output),
    }
}

/// How much of the arithmetic of a convolution's definition an algorithm does, and how many numbers it reads for each
/// parameter. Those of Winograd's are for whole tiles; its transforms count as nothing.
fn factors(conv: &ConvStep) -> (f64, f64) {
    let ([height, width], [down, right]) = (conv.kernel, conv.strides);
    let winograd = |outputs: f64| {
        let points = |taps: usize| outputs + taps as f64 - 1.0;
        let points = points(height.div_ceil(down)) * points(width.div_ceil(right));
        // With a stride the pixels of each phase are input channels of their own.
        let weights = points * (down * right) as f64 / (height * width) as f64;
        (weights / (outputs * outputs), weights)
    };
    match conv.algorithm {
        Algorithm::Direct | Algorithm::Gemm | Algorithm::Depthwise | Algorithm::General => (1.0, 1.0),
        Algorithm::WinogradF4 => winograd(4.0),
        Algorithm::WinogradF6 => winograd(6.0),
    }
}

impl std::iter::Sum for Work {
    fn sum<I: Iterator<Item = Self>>(works: I) -> Self {
        works.fold(Self::default(), |sum, work| Self {
            flops: sum.flops + work.flops,
            arithmetic: sum.arithmetic + work.arithmetic,
            bytes: sum.bytes + work.bytes,
        })
    }
}

/// What the machine can do at most, with some number of threads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Floating-point operations of multiply-adds in a second.
    pub flops: f64,
    /// Bytes read from memory in a second.
    pub bytes: f64,
}

/// Which limit binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The peak of multiply-adds.
    Arithmetic,
    /// The speed of memory.
    Memory,
}

impl Bound {
    /// Its name in tables and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Arithmetic => "arithmetic",
            Self::Memory => "memory",
        }
    }
}

impl Limits {
    /// Measures the machine, with these instructions and threads: about half a second.
    pub fn measure(isa: Isa, threads: &Threads) -> Self {
        Self { flops: probe::multiply_add_peak(isa, threads), bytes: probe::read_bandwidth(isa, threads) }
    }

    /// The better of two measurements: others can only make the machine look slower than it is.
    #[must_use]
    pub fn or_better(self, other: Self) -> Self {
        Self { flops: self.flops.max(other.flops), bytes: self.bytes.max(other.bytes) }
    }

    /// The least time for `work`, in milliseconds, and what makes it so long.
    pub fn floor(self, work: Work) -> (f64, Bound) {
        let [arithmetic, memory] = [work.arithmetic / self.flops, work.bytes / self.bytes].map(|seconds| 1e3 * seconds);
        if arithmetic >= memory { (arithmetic, Bound::Arithmetic) } else { (memory, Bound::Memory) }
    }
}

#[cfg(test)]
mod tests {
    use vgg_compiler::spec::parse::parse_file;
    use vgg_compiler::{CompileOptions, compile};

    use super::*;

    const LIMITS: Limits = Limits { flops: 100e9, bytes: 20e9 };

    fn work(flops: f64, bytes: f64) -> Work {
        Work { flops, arithmetic: flops, bytes }
    }

    #[test]
    fn the_longer_of_the_two_times_binds() {
        assert_eq!(LIMITS.floor(work(1e9, 20e6)), (10.0, Bound::Arithmetic));
        assert_eq!(LIMITS.floor(work(1e9, 400e6)), (20.0, Bound::Memory));
        assert_eq!(LIMITS.floor(work(0.0, 20e6)), (1.0, Bound::Memory));
        // At the ridge, 5 operations a byte here, both bind.
        assert_eq!(LIMITS.floor(work(5e9, 1e9)), (50.0, Bound::Arithmetic));
        assert_eq!(LIMITS.floor(Work::default()).0, 0.0);
    }

    #[test]
    fn what_the_algorithm_saves_lowers_the_floor() {
        let saving = Work { flops: 4e9, arithmetic: 1e9, bytes: 0.0 };
        assert_eq!(LIMITS.floor(saving), (10.0, Bound::Arithmetic));
    }

    #[test]
    fn winograd_multiplies_less_and_reads_more() {
        let factors = |declaration: &str, index: usize| {
            let spec = parse_file("n.vgg", declaration).unwrap();
            let plan = compile(&spec, &CompileOptions::default()).unwrap().plan;
            let convs = plan.steps.iter().filter_map(|step| match &step.kind {
                StepKind::Conv(conv) => Some(conv.clone()),
                _ => None,
            });
            let conv = convs.collect::<Vec<_>>().swap_remove(index);
            let (arithmetic, weights) = factors(&conv);
            (conv.algorithm, 1.0 / arithmetic, weights)
        };
        let network = "N: 64 x 14 x 14 { a: conv3-512, b: conv3-512, fc-2 }";
        assert_eq!(factors(network, 1), (Algorithm::WinogradF4, 4.0, 4.0));
        let network = "N: 64 x 56 x 56 { a: conv3-64, b: conv5-64, c: conv5-64(stride 2, pad 2), d: conv7-8, fc-2 }";
        let close = |(algorithm, saved, weights): (Algorithm, f64, f64), expected: (Algorithm, f64, f64)| {
            assert_eq!(algorithm, expected.0);
            assert!((saved - expected.1).abs() < 1e-12 && (weights - expected.2).abs() < 1e-12, "{saved}, {weights}");
        };
        close(factors(network, 0), (Algorithm::WinogradF6, 81.0 / 16.0, 64.0 / 9.0));
        close(factors(network, 1), (Algorithm::WinogradF4, 6.25, 64.0 / 25.0));
        close(factors(network, 3), (Algorithm::Direct, 1.0, 1.0));
        let (algorithm, saved, weights) = factors(network, 2);
        assert_eq!((algorithm, saved), (Algorithm::WinogradF6, 36.0 * 25.0 / 256.0));
        assert!((weights - 256.0 / 25.0).abs() < 1e-12);
    }

    #[test]
    fn the_better_measurement_counts() {
        let other = Limits { flops: 90e9, bytes: 30e9 };
        assert_eq!(LIMITS.or_better(other), Limits { flops: 100e9, bytes: 30e9 });
    }

    #[test]
    fn work_is_counted_for_the_batch_and_parameters_once() {
        let spec = parse_file("n.vgg", "N: 3 x 8 x 8 { conv3-16, maxpool; fc-10 }").unwrap();
        let count = |batch: usize| {
            let compiled = compile(&spec, &CompileOptions { batch, exact: true, ..CompileOptions::default() }).unwrap();
            let (graph, plan) = (&compiled.graph, &compiled.plan);
            plan.steps.iter().map(|step| (step.name.clone(), Work::of(graph, plan, step))).collect::<Vec<_>>()
        };
        for batch in [1, 3] {
            let images = batch as f64;
            let works = count(batch);
            let of = |name: &str| works.iter().find(|(step, _)| step == name).unwrap().1;
            // The image with its halo of one: 3 x 10 x 10 values. The pool is fused: 16 x 4 x 4.
            let conv = of("conv1_1");
            assert_eq!(conv.flops, images * 2.0 * (8 * 8 * 16 * 3 * 9) as f64);
            assert_eq!(conv.bytes, 4.0 * ((16 * 3 * 9 + 16) as f64 + images * (300 + 256) as f64));
            let fc = of("fc2");
            assert_eq!(fc.flops, images * 2.0 * 2560.0);
            assert_eq!(fc.bytes, 4.0 * (2570.0 + images * 266.0));
            assert_eq!(of("pack").flops, 0.0);
            assert_eq!(of("pack").bytes, images * 4.0 * (192 + 300) as f64);
            let total: Work = works.iter().map(|(_, work)| *work).sum();
            assert_eq!(total.flops, conv.flops + fc.flops);
        }
    }
}
