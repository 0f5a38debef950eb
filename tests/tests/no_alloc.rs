//! After the first, an inference allocates nothing: not on the calling thread, not on a worker.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use vgg_cli::session::Session;
use vgg_compiler::Compiled;
use vgg_compiler::weights::{Weights, WeightsSource, canonical};
use vgg_runtime::{Isa, Threads, vgg};
use vgg_tests::cases::Case;
use vgg_tests::graphs::{every_operator, two_outputs};

struct Counting;

/// Calls of any thread that give or take memory.
static CALLS: AtomicUsize = AtomicUsize::new(0);
/// Those of them that give memory back.
static RELEASES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        CALLS.fetch_add(1, Ordering::SeqCst);
        RELEASES.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The count is of the whole process: one measurement at a time.
static MEASURING: Mutex<()> = Mutex::new(());

vgg! {
    /// Every kind of step.
    pub Everything: 3 x 24 x 24 {
        conv3-16, bn, conv5-16(stride 2), lrn(beta 0.6), maxpool(3, ceil);
        conv1-24(linear), avgpool(3, stride 1, pad 1), maxpool;
        fc-40, dropout, fc-20(linear), fc-10, softmax
    }
}

const TEXT: &str = "Everything: 3 x 24 x 24 {
    conv3-16, bn, conv5-16(stride 2), lrn(beta 0.6), maxpool(3, ceil);
    conv1-24(linear), avgpool(3, stride 1, pad 1), maxpool;
    fc-40, dropout, fc-20(linear), fc-10, softmax
}";

/// Allocations of ten calls of `infer` after the first.
fn allocations(mut infer: impl FnMut()) -> usize {
    infer();
    let before = CALLS.load(Ordering::SeqCst);
    (0..10).for_each(|_| infer());
    CALLS.load(Ordering::SeqCst) - before
}

fn compiled() -> (Compiled, Weights, Vec<f32>) {
    let case = Case::of_text("everything", TEXT);
    let compiled = case.compile(1);
    let weights = WeightsSource::Seeded(1).load(&compiled.graph).expect("weights");
    let images = case.images(&compiled, 1);
    (compiled, weights, images)
}

/// None in one of some attempts: the test harness may allocate meanwhile, an inference that allocates does so every time.
fn assert_none(what: &str, mut attempt: impl FnMut() -> usize) {
    const ATTEMPTS: usize = 20;
    let counts: Vec<usize> = (0..ATTEMPTS).map(|_| attempt()).take_while(|&count| count > 0).collect();
    assert!(counts.len() < ATTEMPTS, "{what}: allocations: {counts:?}");
}

#[test]
fn the_allocator_counts() {
    let _guard = MEASURING.lock().unwrap();
    assert!(allocations(|| drop(std::hint::black_box(vec![1_u8; 100]))) >= 20);
    let on_a_worker = allocations(|| {
        let started = AtomicUsize::new(0);
        Threads::new(2).share(2, |thread, _| {
            // Each waits for the other, so that neither thread has both.
            started.fetch_add(1, Ordering::SeqCst);
            while started.load(Ordering::SeqCst) < 2 {
                std::thread::yield_now();
            }
            if thread == 1 {
                drop(std::hint::black_box(vec![1_u8; 100]));
            }
        });
    });
    assert!(on_a_worker >= 20);
}

/// Measures sessions of a network with every instruction set and up to three threads.
fn assert_sessions(name: &str, compiled: &Compiled, weights: &Weights, images: &[f32]) {
    let _guard = MEASURING.lock().unwrap();
    for &isa in Isa::available() {
        for threads in 1..=3 {
            let plan = compiled.plan.clone();
            let mut session = Session::new(&compiled.graph, plan, weights, Threads::new(threads), isa).unwrap();
            let mut output = vec![f32::NAN; session.output_len()];
            let what = format!("session of {name}, {}, {threads} threads", isa.name());
            assert_none(&what, || allocations(|| session.run(images, &mut output)));
            assert!(output.iter().all(|value| value.is_finite()), "{what}: {output:?}");
        }
    }
}

#[test]
fn a_session_allocates_nothing() {
    let (compiled, weights, images) = compiled();
    assert_sessions("everything", &compiled, &weights, &images);
}

#[test]
fn a_session_of_a_graph_allocates_nothing() {
    for case in [every_operator(), two_outputs()] {
        let compiled = case.compile(1);
        let weights = WeightsSource::Seeded(1).load(&compiled.graph).expect("weights");
        assert_sessions(&case.name, &compiled, &weights, &case.images(&compiled, 1));
    }
}

/// The first inference transforms such weights as it goes, the second keeps them.
#[test]
fn large_weights_are_packed_without_an_allocation() {
    let case = Case::of_text("large", "Large: 256 x 8 x 8 { conv3-256, maxpool; fc-4(linear), softmax }");
    let compiled = case.compile(1);
    let weights = WeightsSource::Seeded(1).load(&compiled.graph).expect("weights");
    let images = case.images(&compiled, 1);
    let _guard = MEASURING.lock().unwrap();
    for threads in 1..=3 {
        let attempt = || {
            let plan = compiled.plan.clone();
            let (threads, isa) = (Threads::new(threads), Isa::widest());
            let mut session = Session::new(&compiled.graph, plan, &weights, threads, isa).unwrap();
            let mut output = vec![0.0; session.output_len()];
            // The plain weights are given back.
            let taken = || CALLS.load(Ordering::SeqCst) - RELEASES.load(Ordering::SeqCst);
            let before = taken();
            (0..3).for_each(|_| session.run(&images, &mut output));
            taken() - before
        };
        assert_none(&format!("the first inferences with {threads} threads"), attempt);
    }
}

#[test]
fn a_type_of_the_macro_allocates_nothing() {
    let (compiled, weights, images) = compiled();
    let mut file = Vec::new();
    canonical::write_to(&mut file, &compiled.graph, &weights, &mut |_| {}).unwrap();
    let model = Everything::from_bytes(&file).unwrap();
    let image: &[f32; Everything::INPUT_LEN] = images.as_slice().try_into().unwrap();
    let _guard = MEASURING.lock().unwrap();
    for &isa in Isa::available() {
        for threads in 1..=3 {
            let mut workspace = Everything::workspace_for(Threads::new(threads), isa);
            let mut output = [0.0; Everything::OUTPUT_LEN];
            let what = format!("macro, {}, {threads} threads", isa.name());
            assert_none(&what, || allocations(|| model.infer(&mut workspace, image, &mut output)));
            assert!((output.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{output:?}");
        }
    }
}
