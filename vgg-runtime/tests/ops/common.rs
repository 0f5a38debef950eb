//! What the tests of the operations share.

use vgg_runtime::reference::Nchw;
use vgg_runtime::*;

/// Every tier of this machine. Fails when `VGG_ISA_REQUIRED` names one that is missing, so that a tier cannot go untested unnoticed.
pub(crate) fn tiers() -> &'static [Isa] {
    let available = Isa::available();
    if let Ok(required) = std::env::var("VGG_ISA_REQUIRED") {
        for name in required.split(',') {
            let found = available.iter().any(|isa| isa.name() == name);
            assert!(found, "VGG_ISA_REQUIRED names `{name}`, which this machine does not have");
        }
    }
    available
}

/// Numbers between -1 and 1 that are the same on every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.bits() >> 33) as usize % end
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub(crate) fn values(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| (self.bits() >> 40) as f32 / (1u32 << 23) as f32 - 1.0).collect()
    }
}

pub(crate) fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(crate) fn double(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// A call of one operation, or of those that write one output together. Inputs of several follow each other in one slice.
pub(crate) enum Op<'a> {
    Conv(ConvDims, &'a PackedConv),
    GroupedConv(GroupedConvDims, &'a PackedGroupedConv),
    Activation(ActivationDims),
    Affine(AffineDims, &'a PackedAffine),
    Combine(CombineDims),
    Concat(&'a [ConcatDims]),
    MaxPool(MaxPoolDims),
    AveragePool(AveragePoolDims),
    Lrn(LrnDims),
    Pack(PackDims),
    Flatten(FlattenDims),
    Gemm(GemmDims, &'a PackedGemm),
    GemmF16(GemmDims, &'a PackedGemm<F16>),
    GemmBf16(GemmDims, &'a PackedGemm<Bf16>),
    GemmInt8(GemmDims, &'a PackedGemm<Int8>),
    Softmax(SoftmaxDims),
    LogSoftmax(SoftmaxDims),
}

impl Op<'_> {
    pub(crate) fn output_len(&self) -> usize {
        match self {
            Op::Conv(dims, _) => dims.output.len() * dims.batch,
            Op::MaxPool(dims) => dims.output.len() * dims.batch,
            Op::AveragePool(dims) => dims.output.len() * dims.batch,
            Op::Lrn(dims) => dims.output.len() * dims.batch,
            Op::GroupedConv(dims, _) => dims.output.len() * dims.batch,
            Op::Activation(dims) => dims.output.len() * dims.batch,
            Op::Affine(dims, _) => dims.output.len() * dims.batch,
            Op::Combine(dims) => dims.output.len() * dims.batch,
            Op::Concat(operands) => operands[0].output.len() * operands[0].batch,
            Op::Pack(dims) => dims.output.len() * dims.batch,
            Op::Flatten(dims) => dims.features() * dims.batch,
            Op::Gemm(dims, _) | Op::GemmF16(dims, _) | Op::GemmBf16(dims, _) | Op::GemmInt8(dims, _) => {
                dims.out_features * dims.batch
            }
            Op::Softmax(dims) | Op::LogSoftmax(dims) => dims.features * dims.batch,
        }
    }

    fn scratch_len(&self) -> usize {
        match self {
            Op::Conv(dims, _) => ops::conv_scratch_len(*dims),
            Op::GroupedConv(dims, _) => ops::grouped_conv_scratch_len(*dims),
            Op::Lrn(dims) => ops::lrn_scratch_len(*dims),
            _ => 0,
        }
    }
}

struct Call<'a> {
    op: &'a Op<'a>,
    threads: &'a Threads,
    input: &'a [f32],
    output: &'a mut [f32],
    scratch: &'a mut Scratch,
}

impl Program for Call<'_> {
    type Output = ();

    fn run<S: Simd>(self, simd: S) {
        let Self { op, threads, input, output, scratch } = self;
        match op {
            Op::Conv(dims, weights) => ops::conv(simd, threads, *dims, input, weights, output, scratch),
            Op::MaxPool(dims) => ops::max_pool(simd, threads, *dims, input, output),
            Op::AveragePool(dims) => ops::average_pool(simd, threads, *dims, input, output),
            Op::Lrn(dims) => ops::lrn(simd, threads, *dims, input, output, scratch),
            Op::GroupedConv(dims, weights) => {
                ops::grouped_conv(simd, threads, *dims, input, weights, output, scratch);
            }
            Op::Activation(dims) => ops::activation(simd, threads, *dims, input, output),
            Op::Affine(dims, weights) => ops::affine(simd, threads, *dims, input, weights, output),
            Op::Combine(dims) => {
                let (left, right) = input.split_at(dims.inputs[0].len() * dims.batch);
                // Copies, so that each has its own guard pages.
                let (left, right) = (left.to_vec(), right.to_vec());
                ops::combine(simd, threads, *dims, [&left, &right], output);
            }
            Op::Concat(operands) => {
                let mut rest = input;
                for dims in *operands {
                    let (input, others) = rest.split_at(dims.input.len() * dims.batch);
                    rest = others;
                    let input = input.to_vec();
                    ops::concat(simd, threads, *dims, &input, output);
                }
            }
            Op::Pack(dims) => ops::pack(simd, threads, *dims, input, output),
            Op::Flatten(dims) => ops::flatten(simd, threads, *dims, input, output),
            Op::Gemm(dims, weights) => ops::gemm(simd, threads, *dims, input, weights, output),
            Op::GemmF16(dims, weights) => ops::gemm(simd, threads, *dims, input, weights, output),
            Op::GemmBf16(dims, weights) => ops::gemm(simd, threads, *dims, input, weights, output),
            Op::GemmInt8(dims, weights) => ops::gemm(simd, threads, *dims, input, weights, output),
            Op::Softmax(dims) => ops::softmax(simd, threads, *dims, input, output),
            Op::LogSoftmax(dims) => ops::log_softmax(simd, threads, *dims, input, output),
        }
    }
}

const CANARY: f32 = 1.234_567e33;
const CANARIES: usize = if GUARDED { 0 } else { 64 };

/// Whether this is a binary in which a page that may not be touched stands where the canaries do here, and catches reads as well.
const GUARDED: bool = matches!(env!("CARGO_CRATE_NAME").as_bytes(), [b'g', b'u', b'a', b'r', b'd', b'_', ..]);

/// What `op` writes into a buffer that held NaN before, with scratch memory that holds NaN, between canaries that must survive.
pub(crate) fn run(isa: Isa, threads: &Threads, op: &Op<'_>, input: &[f32]) -> Vec<f32> {
    let len = op.output_len();
    let mut buffer = vec![CANARY; len + 2 * CANARIES];
    let output = &mut buffer[CANARIES..CANARIES + len];
    output.fill(f32::NAN);
    let mut scratch = Scratch::new(op.scratch_len(), threads);
    scratch.fill(f32::NAN);
    isa.run(Call { op, threads, input, output, scratch: &mut scratch });
    let (before, rest) = buffer.split_at(CANARIES);
    let (output, after) = rest.split_at(len);
    assert!(before.iter().chain(after).all(|value| *value == CANARY), "the operation wrote outside its output");
    output.to_vec()
}

thread_local! {
    static POOLS: Vec<Threads> = (1..=3).map(Threads::new).collect();
}

/// What `op` gives on this tier; fails unless 1, 2 and 3 threads give the same bits.
pub(crate) fn run_with_all_threads(isa: Isa, op: &Op<'_>, input: &[f32]) -> Vec<f32> {
    POOLS.with(|pools| {
        let output = run(isa, &pools[0], op, input);
        for threads in &pools[1..] {
            let other = run(isa, threads, op, input);
            assert!(same_bits(&output, &other), "1 and {} threads differ on {}", threads.count(), isa.name());
        }
        output
    })
}

pub(crate) fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

pub(crate) fn nchw(shape: Blocked, batch: usize) -> Nchw {
    Nchw { batch, channels: shape.channels, height: shape.height, width: shape.width }
}

/// Index in a blocked buffer of every value of the plain `NCHW` buffer, in its order.
pub(crate) fn places(shape: Blocked, batch: usize) -> Vec<usize> {
    let mut places = Vec::new();
    for image in 0..batch {
        for channel in 0..shape.channels {
            for y in 0..shape.height {
                for x in 0..shape.width {
                    let plane = (image * shape.blocks() + channel / shape.block) * shape.plane_stride();
                    let row = (shape.halo[0] + y) * shape.padded_width() + shape.halo[1] + x;
                    places.push(plane + row * shape.block + channel % shape.block);
                }
            }
        }
    }
    places
}

/// The blocked form of a plain buffer.
pub(crate) fn block(shape: Blocked, batch: usize, plain: &[f32]) -> Vec<f32> {
    let mut blocked = vec![0.0; shape.len() * batch];
    for (place, value) in places(shape, batch).into_iter().zip(plain) {
        blocked[place] = *value;
    }
    blocked
}

/// The plain form of a blocked buffer; fails unless all the rest, halo and padding channels, is exactly 0.0.
pub(crate) fn unblock(shape: Blocked, batch: usize, blocked: &[f32]) -> Vec<f32> {
    let places = places(shape, batch);
    let mut rest = blocked.to_vec();
    let plain = places.into_iter().map(|place| std::mem::replace(&mut rest[place], 0.0)).collect();
    let dirty = rest.iter().position(|value| value.to_bits() != 0);
    assert!(dirty.is_none(), "halo or padding channel at {} is {} in {shape:?}", dirty.unwrap(), rest[dirty.unwrap()]);
    plain
}

/// Runs every case, then fails with a list of those that failed.
pub(crate) fn check_all<C: std::fmt::Debug>(cases: impl IntoIterator<Item = C>, check: impl Fn(&C)) {
    let (mut count, mut failures) = (0, Vec::new());
    for case in cases {
        count += 1;
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&case)));
        if let Err(payload) = result {
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            failures.push(format!("{case:?}: {}", text.unwrap_or_default()));
        }
    }
    assert!(count > 0, "there were no cases");
    assert!(failures.is_empty(), "{} of {count} cases failed:\n{}", failures.len(), failures.join("\n"));
}

/// Fails unless every value is within its bound of the expected one.
pub(crate) fn assert_within(found: &[f32], expected: &[f64], bounds: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, ((found, expected), bound)) in found.iter().zip(expected).zip(bounds).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(error <= *bound, "{what}: value {index} is {found}, expected {expected} within {bound:e}");
    }
}

/// Half the distance from 1 to the next f32.
pub(crate) const UNIT: f64 = 1.0 / (1 << 24) as f64;
