//! Once the workspace exists, operations allocate nothing, on any thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use vgg_runtime::*;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const IMAGE: Blocked = Blocked { channels: 3, height: 12, width: 12, block: 1, halo: [1; 4] };
const CONVOLVED: Blocked = Blocked { channels: 24, height: 6, width: 6, block: 8, halo: [0; 4] };
const POOLED: Blocked = Blocked { channels: 24, height: 3, width: 3, block: 8, halo: [0; 4] };
const VECTOR: Blocked = Blocked { channels: 1, height: 1, width: 10, block: 1, halo: [0; 4] };
const WINDOW: PoolWindow = PoolWindow { kernel: [2, 2], strides: [2, 2], pads: [0; 4], ceil_mode: false };

layer! {
    /// The entrance.
    Input: PackDims = PackDims { output: IMAGE, batch: 1 };
    /// A convolution with everything behind it.
    Conv: ConvDims = ConvDims {
        input: IMAGE,
        output: CONVOLVED,
        kernel: [3, 3],
        strides: [1, 1],
        pads: [1; 4],
        relu: true,
        pool: Some(WINDOW),
        algorithm: Algorithm::Direct,
        batch: 1,
    };
    /// Normalisation.
    Norm: LrnDims = LrnDims { input: CONVOLVED, output: CONVOLVED, size: 5, alpha: 5e-4, beta: 0.6, bias: 2.0, batch: 1 };
    /// ReLU on its own.
    Relu: ActivationDims =
        ActivationDims { input: CONVOLVED, output: CONVOLVED, function: Activation::Relu, batch: 1 };
    /// Max-pooling on its own.
    MaxPool: MaxPoolDims = MaxPoolDims { input: CONVOLVED, output: POOLED, window: WINDOW, batch: 1 };
    /// Average pooling.
    AveragePool: AveragePoolDims =
        AveragePoolDims { input: CONVOLVED, output: POOLED, window: WINDOW, count_include_pad: true, batch: 1 };
    /// The exit of the images.
    Flatten: FlattenDims = FlattenDims { input: POOLED, batch: 1 };
    /// A fully connected layer.
    Fc: GemmDims = GemmDims { in_features: 216, out_features: 10, relu: false, batch: 1 };
    /// A function of each feature.
    FlatSigmoid: ActivationDims =
        ActivationDims { input: VECTOR, output: VECTOR, function: Activation::Sigmoid, batch: 1 };
    /// The head.
    Softmax: SoftmaxDims = SoftmaxDims { features: 10, batch: 1 };
}

struct Forward<'a> {
    conv: &'a PackedConv,
    fc: &'a PackedGemm,
    workspace: &'a mut Workspace,
    input: &'a [f32],
    output: &'a mut [f32],
}

impl Program for Forward<'_> {
    type Output = ();

    fn run<S: Simd>(self, simd: S) {
        let (threads, arena, scratch) = self.workspace.parts();
        ops::pack(simd, threads, Input, self.input, arena.get_mut(0..588));
        let (x, y) = arena.pair(0..588, 600..1464);
        ops::conv(simd, threads, Conv, x, self.conv, y, scratch);
        let (x, y) = arena.pair(600..1464, 1500..2364);
        ops::lrn(simd, threads, Norm, x, y, scratch);
        let (x, y) = arena.pair(1500..2364, 600..1464);
        ops::activation(simd, threads, Relu, x, y);
        let (x, y) = arena.pair(600..1464, 0..216);
        ops::max_pool(simd, threads, MaxPool, x, y);
        ops::average_pool(simd, threads, AveragePool, x, y);
        let (x, y) = arena.pair(0..216, 300..516);
        ops::flatten(simd, threads, Flatten, x, y);
        let (x, y) = arena.pair(300..516, 0..10);
        ops::gemm(simd, threads, Fc, x, self.fc, y);
        let (x, y) = arena.pair(0..10, 10..20);
        ops::activation(simd, threads, FlatSigmoid, x, y);
        ops::softmax(simd, threads, Softmax, arena.get(10..20), self.output);
    }
}

#[test]
fn an_inference_allocates_nothing() {
    let values = |len: usize| (0..len).flat_map(|i| ((i % 7) as f32 * 0.01).to_le_bytes()).collect::<Vec<u8>>();
    let conv = PackedConv::pack(Conv.dims(), &values(24 * 27), &values(24)).unwrap();
    let fc = PackedGemm::pack(Fc.dims(), &values(2160), &values(10)).unwrap();
    let input = [0.5; 432];
    const SCRATCH: usize = {
        let (conv, lrn) = (ops::conv_scratch_len(Conv::DIMS), ops::lrn_scratch_len(Norm::DIMS));
        if conv > lrn { conv } else { lrn }
    };
    for &isa in Isa::available() {
        for count in 1..=3 {
            let mut workspace = Workspace::new(2364, SCRATCH, Threads::new(count), isa);
            let mut output = [0.0; 10];
            let mut infer = || {
                let workspace = &mut workspace;
                isa.run(Forward { conv: &conv, fc: &fc, workspace, input: &input, output: &mut output });
            };
            infer();
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            for _ in 0..10 {
                infer();
            }
            let after = ALLOCATIONS.load(Ordering::Relaxed);
            assert_eq!(after, before, "{} with {count} threads allocated", isa.name());
            assert!((output.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
    }
}
