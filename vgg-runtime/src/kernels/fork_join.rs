//! Worker threads that wait for a borrowed closure, call it, and report back: the part of [`crate::threads`] that erases a lifetime.

use std::any::Any;
use std::boxed::Box;
use std::cell::UnsafeCell;
use std::format;
use std::hint;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::vec::Vec;

/// Turns of waiting before a worker goes to sleep: some tens of microseconds, longer than the pause between two layers.
const SPIN_TURNS: u32 = if cfg!(miri) { 10 } else { 20_000 };

/// Turns of waiting for the workers before the caller offers its processor to them.
const CALLER_SPIN_TURNS: u32 = if cfg!(miri) { 10 } else { 10_000 };

/// A closure that takes the index of a thread.
type Job<'a> = dyn Fn(usize) + Sync + 'a;

/// What the caller and the workers share.
struct Shared {
    /// Counts jobs. A worker that sees a new value may read `job`.
    generation: AtomicUsize,
    /// The closure of the current generation.
    job: UnsafeCell<Option<*const Job<'static>>>,
    /// Workers that have not finished the current generation.
    pending: AtomicUsize,
    /// What the first panicking worker of the current generation threw.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Tells the workers to end.
    stop: AtomicBool,
    /// For each worker, whether it sleeps or is about to.
    parked: Vec<AtomicBool>,
}

// SAFETY: `job` is written by the caller only while no worker works (`pending` is 0), and read by workers only after they saw the new
// generation, which is stored after the write. The closure it points to is `Sync`. Everything else is `Sync` by itself.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is not tied to a thread.
unsafe impl Send for Shared {}

/// Workers that live as long as this value.
pub(crate) struct ForkJoin {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Held by the caller whose job runs.
    busy: AtomicBool,
}

impl ForkJoin {
    /// Starts `workers` threads. Those that the system refuses are missing: see [`ForkJoin::workers`].
    pub(crate) fn new(workers: usize) -> Self {
        let shared = Arc::new(Shared {
            generation: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            pending: AtomicUsize::new(0),
            panic: Mutex::new(None),
            stop: AtomicBool::new(false),
            parked: (0..workers).map(|_| AtomicBool::new(false)).collect(),
        });
        let mut handles = Vec::with_capacity(workers);
        for index in 0..workers {
            let shared = Arc::clone(&shared);
            match thread::Builder::new().name(format!("vgg-{}", index + 1)).spawn(move || work(&shared, index)) {
                Ok(handle) => handles.push(handle),
                Err(_) => break,
            }
        }
        Self { shared, workers: handles, busy: AtomicBool::new(false) }
    }

    /// Workers that were started.
    pub(crate) fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Calls `job(0)` here and `job(1)` to `job(workers)` on the workers, and returns when all have returned. When the workers are busy
    /// with another caller's job (or this very job calls again), all the calls happen here, one after the other.
    ///
    /// A panic of any call is thrown again here, after all have ended.
    pub(crate) fn run(&self, job: &Job<'_>) {
        if self.busy.swap(true, Ordering::Acquire) {
            (0..=self.workers.len()).for_each(job);
            return;
        }
        let job_pointer: *const Job<'_> = job;
        // SAFETY: only the lifetime changes. The pointer is used by workers between here and `pending` reaching 0, and this function
        // does not return, by panic or otherwise, before that.
        let job_pointer = unsafe { core::mem::transmute::<*const Job<'_>, *const Job<'static>>(job_pointer) };
        // SAFETY: `busy` keeps other callers out and no worker works, so nobody else looks at `job`.
        unsafe { *self.shared.job.get() = Some(job_pointer) };
        self.shared.pending.store(self.workers.len(), Ordering::Relaxed);
        // Sequentially consistent, as is the worker's announcement that it parks: one of the two sees the other.
        self.shared.generation.fetch_add(1, Ordering::SeqCst);
        for (worker, parked) in self.workers.iter().zip(&self.shared.parked) {
            if parked.load(Ordering::SeqCst) {
                worker.thread().unpark();
            }
        }
        let here = catch_unwind(AssertUnwindSafe(|| job(0)));
        let mut turns = 0;
        while self.shared.pending.load(Ordering::Acquire) != 0 {
            if turns < CALLER_SPIN_TURNS {
                turns += 1;
                hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
        let there = self.shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.busy.store(false, Ordering::Release);
        if let Some(payload) = here.err().or(there) {
            resume_unwind(payload);
        }
    }
}

impl Drop for ForkJoin {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.generation.fetch_add(1, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its jobs, so it ends in order.
            let _ = worker.join();
        }
    }
}

/// A worker's life: wait for a generation, do its job, report.
fn work(shared: &Shared, index: usize) {
    let mut seen = 0;
    loop {
        seen = wait(shared, index, seen);
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        // SAFETY: the generation changed, so the caller has written `job` and waits until `pending` is 0 before it writes again.
        let job = unsafe { *shared.job.get() };
        if let Some(job) = job {
            // SAFETY: the caller keeps the closure alive until `pending` is 0.
            let job = unsafe { &*job };
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| job(index + 1))) {
                shared.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(payload);
            }
        }
        shared.pending.fetch_sub(1, Ordering::Release);
    }
}

/// Returns the generation once it is no longer `seen`: looks often at first, then sleeps.
fn wait(shared: &Shared, index: usize, seen: usize) -> usize {
    for _ in 0..SPIN_TURNS {
        let generation = shared.generation.load(Ordering::Acquire);
        if generation != seen {
            return generation;
        }
        hint::spin_loop();
    }
    loop {
        shared.parked[index].store(true, Ordering::SeqCst);
        let generation = shared.generation.load(Ordering::SeqCst);
        if generation != seen {
            shared.parked[index].store(false, Ordering::Relaxed);
            return generation;
        }
        thread::park();
    }
}
