//! Every kernel on every tier, over the layer shapes of the VGG networks.
//!
//! `cargo bench -p vgg-runtime` times all; `-- conv/avx2` those whose name matches. `VGG_NUM_THREADS` sets the threads (here 1 by default).
//! Convolutions report operations (two for each multiply-add of the definition, whatever the algorithm), fully connected layers the bytes of their weights.

use std::fmt;
use std::sync::OnceLock;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use vgg_runtime::*;

fn main() {
    divan::main();
}

/// A layer on a tier.
#[derive(Clone, Copy)]
struct Case<L> {
    isa: Isa,
    layer: L,
    name: &'static str,
}

impl<L> fmt::Display for Case<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.isa.name(), self.name)
    }
}

fn on_all_tiers<L: Copy>(layers: &[(&'static str, L)]) -> Vec<Case<L>> {
    let case = |isa| move |&(name, layer): &(&'static str, L)| Case { isa, layer, name };
    Isa::available().iter().flat_map(|&isa| layers.iter().map(case(isa))).collect()
}

fn threads() -> &'static Threads {
    static THREADS: OnceLock<Threads> = OnceLock::new();
    THREADS.get_or_init(|| match std::env::var_os(THREADS_VARIABLE) {
        Some(_) => Threads::from_env().unwrap(),
        None => Threads::single(),
    })
}

fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 7919 % 1013) as f32 / 1013.0 - 0.5).collect()
}

fn bytes(len: usize) -> Vec<u8> {
    values(len).iter().flat_map(|value| value.to_le_bytes()).collect()
}

const fn image(channels: usize, size: usize, halo: usize) -> Blocked {
    Blocked { channels, height: size, width: size, block: if channels < BLOCK { 1 } else { BLOCK }, halo: [halo; 4] }
}

const fn window(kernel: usize, stride: usize) -> PoolWindow {
    PoolWindow { kernel: [kernel; 2], strides: [stride; 2], pads: [0; 4], ceil_mode: true }
}

const fn conv(
    [input, output]: [usize; 2],
    size: usize,
    kernel: usize,
    stride: usize,
    pad: usize,
    pool: Option<PoolWindow>,
) -> ConvDims {
    let convolved = (size + 2 * pad - kernel) / stride + 1;
    let written = match pool {
        Some(window) => window.windows(0, convolved),
        None => convolved,
    };
    ConvDims {
        input: image(input, size, pad),
        output: image(output, written, 1),
        kernel: [kernel; 2],
        strides: [stride; 2],
        pads: [pad; 4],
        relu: true,
        pool,
        algorithm: if kernel == 1 { Algorithm::Gemm } else { Algorithm::Direct },
        batch: 1,
    }
    .check()
}

const CONVOLUTIONS: [(&str, ConvDims); 20] = [
    ("d_conv1_1", conv([3, 64], 224, 3, 1, 1, None)),
    ("d_conv1_2_pool", conv([64, 64], 224, 3, 1, 1, Some(window(2, 2)))),
    ("d_conv2_1", conv([64, 128], 112, 3, 1, 1, None)),
    ("d_conv2_2_pool", conv([128, 128], 112, 3, 1, 1, Some(window(2, 2)))),
    ("d_conv3_1", conv([128, 256], 56, 3, 1, 1, None)),
    ("d_conv3_2", conv([256, 256], 56, 3, 1, 1, None)),
    ("d_conv3_3_pool", conv([256, 256], 56, 3, 1, 1, Some(window(2, 2)))),
    ("d_conv4_1", conv([256, 512], 28, 3, 1, 1, None)),
    ("d_conv4_2", conv([512, 512], 28, 3, 1, 1, None)),
    ("d_conv4_3_pool", conv([512, 512], 28, 3, 1, 1, Some(window(2, 2)))),
    ("d_conv5_1", conv([512, 512], 14, 3, 1, 1, None)),
    ("d_conv5_3_pool", conv([512, 512], 14, 3, 1, 1, Some(window(2, 2)))),
    ("c_conv3_3_pool", conv([256, 256], 56, 1, 1, 0, Some(window(2, 2)))),
    ("c_conv5_3_pool", conv([512, 512], 14, 1, 1, 0, Some(window(2, 2)))),
    ("f_conv1", conv([3, 64], 224, 11, 4, 0, None)),
    ("f_conv2", conv([64, 256], 27, 5, 1, 2, None)),
    ("f_conv5_pool", conv([256, 256], 13, 3, 1, 1, Some(window(3, 2)))),
    ("m_conv1", conv([3, 96], 224, 7, 2, 0, None)),
    ("m_conv2", conv([96, 256], 54, 5, 2, 1, None)),
    ("s_conv4", conv([512, 512], 17, 3, 1, 1, None)),
];

/// Calls one operation; what [`Isa::run`] needs where closures cannot be generic.
struct Call<'a> {
    op: Op<'a>,
    input: &'a [f32],
    output: &'a mut [f32],
    scratch: &'a mut Scratch,
}

#[derive(Clone, Copy)]
enum Op<'a> {
    Conv(ConvDims, &'a PackedConv),
    Gemm(GemmDims, &'a PackedGemm),
    GemmF16(GemmDims, &'a PackedGemm<F16>),
    GemmBf16(GemmDims, &'a PackedGemm<Bf16>),
    GemmInt8(GemmDims, &'a PackedGemm<Int8>),
    Lrn(LrnDims),
    MaxPool(MaxPoolDims),
    AveragePool(AveragePoolDims),
    Activation(ActivationDims),
    Pack(PackDims),
    Flatten(FlattenDims),
    Softmax(SoftmaxDims),
}

impl Program for Call<'_> {
    type Output = ();

    fn run<S: Simd>(self, simd: S) {
        let Self { op, input, output, scratch } = self;
        match op {
            Op::Conv(layer, weights) => ops::conv(simd, threads(), layer, input, weights, output, scratch),
            Op::Gemm(layer, weights) => ops::gemm(simd, threads(), layer, input, weights, output),
            Op::GemmF16(layer, weights) => ops::gemm(simd, threads(), layer, input, weights, output),
            Op::GemmBf16(layer, weights) => ops::gemm(simd, threads(), layer, input, weights, output),
            Op::GemmInt8(layer, weights) => ops::gemm(simd, threads(), layer, input, weights, output),
            Op::Lrn(layer) => ops::lrn(simd, threads(), layer, input, output, scratch),
            Op::MaxPool(layer) => ops::max_pool(simd, threads(), layer, input, output),
            Op::AveragePool(layer) => ops::average_pool(simd, threads(), layer, input, output),
            Op::Activation(layer) => ops::activation(simd, threads(), layer, input, output),
            Op::Pack(layer) => ops::pack(simd, threads(), layer, input, output),
            Op::Flatten(layer) => ops::flatten(simd, threads(), layer, input, output),
            Op::Softmax(layer) => ops::softmax(simd, threads(), layer, input, output),
        }
    }
}

fn time(bencher: Bencher<'_, '_>, isa: Isa, op: Op<'_>, lens: [usize; 2], scratch: usize) {
    let input = values(lens[0]);
    let mut output = vec![0.0; lens[1]];
    let mut scratch = Scratch::new(scratch, threads());
    bencher.bench_local(|| isa.run(Call { op, input: &input, output: &mut output, scratch: &mut scratch }));
}

/// Every convolution with every algorithm that computes it.
fn convolutions() -> Vec<Case<ConvDims>> {
    let algorithms = |dims: ConvDims| -> &[(&str, Algorithm)] {
        match (dims.kernel, dims.strides, dims.input.block) {
            ([1, 1], ..) => &[("gemm", Algorithm::Gemm)],
            ([5, 5], [1, 1], BLOCK) => &[("direct", Algorithm::Direct), ("winograd-4x4", Algorithm::WinogradF4)],
            ([3, 3], [1, 1], BLOCK) | ([5, 5], [2, 2], BLOCK) => &[
                ("direct", Algorithm::Direct),
                ("winograd-4x4", Algorithm::WinogradF4),
                ("winograd-6x6", Algorithm::WinogradF6),
            ],
            _ => &[("direct", Algorithm::Direct)],
        }
    };
    let cases = on_all_tiers(&CONVOLUTIONS);
    let cases = cases.iter().flat_map(|case| {
        algorithms(case.layer).iter().map(|&(algorithm, choice)| Case {
            layer: ConvDims { algorithm: choice, ..case.layer },
            // Names live as long as the program, as those of constants do.
            name: Box::leak(format!("{}/{algorithm}", case.name).into_boxed_str()),
            ..*case
        })
    });
    cases.collect()
}

#[divan::bench(args = convolutions(), sample_count = 10, sample_size = 1)]
fn f32_conv(bencher: Bencher<'_, '_>, case: &Case<ConvDims>) {
    let dims = case.layer;
    let taps = dims.input.channels * dims.kernel[0] * dims.kernel[1];
    let weights = PackedConv::pack(dims, &bytes(dims.output.channels * taps), &bytes(dims.output.channels)).unwrap();
    let bencher = bencher.counter(ItemsCount::new(dims.macs() * 2));
    let lens = [dims.input.len(), dims.output.len()];
    time(bencher, case.isa, Op::Conv(dims, &weights), lens, ops::conv_scratch_len(dims));
}

const fn gemm(in_features: usize, out_features: usize, batch: usize) -> GemmDims {
    GemmDims { in_features, out_features, relu: true, batch }
}

const FULLY_CONNECTED: [(&str, GemmDims); 5] = [
    ("fc6", gemm(25088, 4096, 1)),
    ("fc7", gemm(4096, 4096, 1)),
    ("fc8", gemm(4096, 1000, 1)),
    ("fc7_batch4", gemm(4096, 4096, 4)),
    ("fc7_batch16", gemm(4096, 4096, 16)),
];

/// Times a fully connected layer whose weights have `width` bytes.
fn time_gemm(bencher: Bencher<'_, '_>, isa: Isa, dims: GemmDims, width: usize, op: Op<'_>) {
    let size = dims.in_features * dims.out_features;
    let bencher = bencher.counter(BytesCount::new(size * width)).counter(ItemsCount::new(size * dims.batch * 2));
    time(bencher, isa, op, [dims.in_features * dims.batch, dims.out_features * dims.batch], 0);
}

#[divan::bench(args = on_all_tiers(&FULLY_CONNECTED), sample_count = 10, sample_size = 1)]
fn f32_gemm(bencher: Bencher<'_, '_>, case: &Case<GemmDims>) {
    let dims = case.layer;
    let bias = bytes(dims.out_features);
    let weights = PackedGemm::pack(dims, &bytes(dims.in_features * dims.out_features), &bias).unwrap();
    time_gemm(bencher, case.isa, dims, 4, Op::Gemm(dims, &weights));
}

#[divan::bench(args = on_all_tiers(&FULLY_CONNECTED), sample_count = 10, sample_size = 1)]
fn f16_gemm(bencher: Bencher<'_, '_>, case: &Case<GemmDims>) {
    let dims = case.layer;
    let weight = [0x00, 0x3c].repeat(dims.in_features * dims.out_features);
    let weights = PackedGemm::pack(dims, &weight, &bytes(dims.out_features)).unwrap();
    time_gemm(bencher, case.isa, dims, 2, Op::GemmF16(dims, &weights));
}

#[divan::bench(args = on_all_tiers(&FULLY_CONNECTED), sample_count = 10, sample_size = 1)]
fn bf16_gemm(bencher: Bencher<'_, '_>, case: &Case<GemmDims>) {
    let dims = case.layer;
    let weight = [0x80, 0x3f].repeat(dims.in_features * dims.out_features);
    let weights = PackedGemm::pack(dims, &weight, &bytes(dims.out_features)).unwrap();
    time_gemm(bencher, case.isa, dims, 2, Op::GemmBf16(dims, &weights));
}

#[divan::bench(args = on_all_tiers(&FULLY_CONNECTED), sample_count = 10, sample_size = 1)]
fn int8_gemm(bencher: Bencher<'_, '_>, case: &Case<GemmDims>) {
    let dims = case.layer;
    let (weight, row) = (vec![1; dims.in_features * dims.out_features], bytes(dims.out_features));
    let weights = PackedGemm::pack_scaled(dims, &weight, &row, &row).unwrap();
    time_gemm(bencher, case.isa, dims, 1, Op::GemmInt8(dims, &weights));
}

const fn lrn(channels: usize, size: usize) -> LrnDims {
    let image = image(channels, size, 0);
    LrnDims { input: image, output: image, size: 5, alpha: 5e-4, beta: 0.75, bias: 2.0, batch: 1 }
}

const NORMALISATIONS: [(&str, LrnDims); 3] =
    [("a_norm1", lrn(64, 224)), ("m_norm1", lrn(96, 109)), ("f_norm2", lrn(256, 27))];

#[divan::bench(args = on_all_tiers(&NORMALISATIONS), sample_count = 10, sample_size = 1)]
fn f32_lrn(bencher: Bencher<'_, '_>, case: &Case<LrnDims>) {
    let dims = case.layer;
    let len = dims.input.len();
    time(bencher.counter(ItemsCount::new(len)), case.isa, Op::Lrn(dims), [len, len], ops::lrn_scratch_len(dims));
}

const POOLS: [(&str, MaxPoolDims); 3] = [
    ("a_pool1", MaxPoolDims { input: image(64, 224, 0), output: image(64, 112, 1), window: window(2, 2), batch: 1 }),
    ("m_pool1", MaxPoolDims { input: image(96, 109, 0), output: image(96, 54, 1), window: window(3, 2), batch: 1 }),
    ("s_pool1", MaxPoolDims { input: image(96, 109, 0), output: image(96, 37, 0), window: window(3, 3), batch: 1 }),
];

#[divan::bench(args = on_all_tiers(&POOLS), sample_count = 10, sample_size = 1)]
fn f32_max_pool(bencher: Bencher<'_, '_>, case: &Case<MaxPoolDims>) {
    let dims = case.layer;
    let lens = [dims.input.len(), dims.output.len()];
    time(bencher.counter(ItemsCount::new(lens[0])), case.isa, Op::MaxPool(dims), lens, 0);
}

#[divan::bench(args = on_all_tiers(&POOLS), sample_count = 10, sample_size = 1)]
fn f32_average_pool(bencher: Bencher<'_, '_>, case: &Case<MaxPoolDims>) {
    let MaxPoolDims { input, output, window, batch } = case.layer;
    let dims = AveragePoolDims { input, output, window, count_include_pad: false, batch };
    let lens = [input.len(), output.len()];
    time(bencher.counter(ItemsCount::new(lens[0])), case.isa, Op::AveragePool(dims), lens, 0);
}

const IMAGES: [(&str, Blocked); 3] =
    [("3x224x224", image(3, 224, 1)), ("64x112x112", image(64, 112, 1)), ("512x7x7", image(512, 7, 0))];

#[divan::bench(args = on_all_tiers(&IMAGES))]
fn f32_pack(bencher: Bencher<'_, '_>, case: &Case<Blocked>) {
    let dims = PackDims { output: case.layer, batch: 1 };
    let lens = [dims.input_len(), case.layer.len()];
    time(bencher.counter(ItemsCount::new(lens[0])), case.isa, Op::Pack(dims), lens, 0);
}

#[divan::bench(args = on_all_tiers(&IMAGES))]
fn f32_flatten(bencher: Bencher<'_, '_>, case: &Case<Blocked>) {
    let dims = FlattenDims { input: case.layer, batch: 1 };
    let lens = [case.layer.len(), dims.features()];
    time(bencher.counter(ItemsCount::new(lens[1])), case.isa, Op::Flatten(dims), lens, 0);
}

#[divan::bench(args = on_all_tiers(&IMAGES[1..]))]
fn f32_relu(bencher: Bencher<'_, '_>, case: &Case<Blocked>) {
    let (image, len) = (case.layer, case.layer.len());
    let dims = ActivationDims { input: image, output: image, function: Activation::Relu, batch: 1 };
    time(bencher.counter(ItemsCount::new(len)), case.isa, Op::Activation(dims), [len, len], 0);
}

const HEADS: [(&str, SoftmaxDims); 1] = [("prob", SoftmaxDims { features: 1000, batch: 1 })];

#[divan::bench(args = on_all_tiers(&HEADS))]
fn f32_softmax(bencher: Bencher<'_, '_>, case: &Case<SoftmaxDims>) {
    let features = case.layer.features;
    time(bencher.counter(ItemsCount::new(features)), case.isa, Op::Softmax(case.layer), [features; 2], 0);
}
