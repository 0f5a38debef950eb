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

use crate::threads::partition;

/// Turns of waiting before a worker goes to sleep: some tens of microseconds, longer than the pause between two layers.
const SPIN_TURNS: u32 = if cfg!(miri) { 10 } else { 20_000 };

/// Turns of waiting for the workers before the caller offers its processor to them.
const CALLER_SPIN_TURNS: u32 = if cfg!(miri) { 10 } else { 10_000 };

/// A closure that takes the index of a thread and that of a piece of work.
type Job<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// In [`Shared::state`]: whether workers may still enter the job. Below it stands how many are inside, above it the job's number.
const OPEN: usize = 1 << 15;

/// In [`Shared::state`]: the number of the first job.
const FIRST: usize = OPEN << 1;

/// What the caller and the workers share.
struct Shared {
    /// Which job it is, whether it is open, and how many workers are inside.
    state: AtomicUsize,
    /// The closure of the current job, and how many pieces of work it has.
    job: UnsafeCell<Option<(*const Job<'static>, usize)>>,
    /// For each thread, how many pieces of its part have been taken. Each on cache lines of its own.
    taken: Vec<Line<AtomicUsize>>,
    /// What the first panicking worker of the current job threw.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Workers that have started to wait.
    started: AtomicUsize,
    /// Tells the workers to end.
    stop: AtomicBool,
    /// For each worker, whether it sleeps or is about to.
    parked: Vec<AtomicBool>,
}

/// A value that shares no cache line, nor the one that is fetched beside it, with another.
#[repr(align(128))]
struct Line<T>(T);

// SAFETY: `job` is written by the caller only while the state is closed and no worker inside, and read by workers only while they are
// inside. The closure it points to is `Sync`. Everything else is `Sync` by itself.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is not tied to a thread.
unsafe impl Send for Shared {}

impl Shared {
    /// Takes pieces until none is left: first those of the part of `thread`, then what is left of the parts of the others.
    fn take(&self, thread: usize, pieces: usize, job: &Job<'_>) {
        let threads = self.taken.len();
        for part in (thread..threads).chain(0..thread) {
            let own = partition(pieces, threads, part);
            loop {
                let index = self.taken[part].0.fetch_add(1, Ordering::Relaxed);
                if index >= own.len() {
                    break;
                }
                job(thread, own.start + index);
            }
        }
    }
}

/// Workers that live as long as this value.
pub(crate) struct ForkJoin {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Held by the caller whose job runs.
    busy: AtomicBool,
}

impl ForkJoin {
    /// Starts `workers` threads, and returns when they wait for work: what the system allocates for a thread it allocates here. Those that
    /// the system refuses are missing: see [`ForkJoin::workers`].
    pub(crate) fn new(workers: usize) -> Self {
        let shared = Arc::new(Shared {
            state: AtomicUsize::new(FIRST),
            job: UnsafeCell::new(None),
            taken: (0..=workers).map(|_| Line(AtomicUsize::new(0))).collect(),
            panic: Mutex::new(None),
            started: AtomicUsize::new(0),
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
        while shared.started.load(Ordering::Acquire) < handles.len() {
            thread::yield_now();
        }
        Self { shared, workers: handles, busy: AtomicBool::new(false) }
    }

    /// Workers that were started.
    pub(crate) fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Calls `job(thread, piece)` once for each of the `pieces`, on this thread, which is 0, and on the workers, 1 and up; returns when all
    /// have returned. Each thread has a part of the pieces, and helps the others when it is done with it, so a worker that the system lets
    /// wait keeps nobody waiting. When the workers are busy with another caller's job (or this very job calls again), all the calls happen
    /// here, one after the other.
    ///
    /// A panic of any call is thrown again here, after all have ended; its thread takes no more pieces.
    pub(crate) fn share(&self, pieces: usize, job: &Job<'_>) {
        if self.busy.swap(true, Ordering::Acquire) {
            (0..pieces).for_each(|piece| job(0, piece));
            return;
        }
        let shared = &*self.shared;
        let job_pointer: *const Job<'_> = job;
        // SAFETY: only the lifetime changes. Workers use the pointer while they are inside the job, and this function does not return, by
        // panic or otherwise, before the job is closed and all have left it.
        let job_pointer = unsafe { core::mem::transmute::<*const Job<'_>, *const Job<'static>>(job_pointer) };
        // SAFETY: `busy` keeps other callers out, the state is closed and no worker inside, so nobody else looks at `job`.
        unsafe { *shared.job.get() = Some((job_pointer, pieces)) };
        for taken in &shared.taken {
            taken.0.store(0, Ordering::Relaxed);
        }
        // Sequentially consistent, as is the worker's announcement that it parks: one of the two sees the other.
        shared.state.fetch_add(FIRST | OPEN, Ordering::SeqCst);
        for (worker, parked) in self.workers.iter().zip(&shared.parked) {
            if parked.load(Ordering::SeqCst) {
                worker.thread().unpark();
            }
        }
        let here = catch_unwind(AssertUnwindSafe(|| shared.take(0, pieces, job)));
        let mut inside = shared.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut turns = 0;
        while inside & (OPEN - 1) != 0 {
            if turns < CALLER_SPIN_TURNS {
                turns += 1;
                hint::spin_loop();
            } else {
                thread::yield_now();
            }
            inside = shared.state.load(Ordering::Acquire);
        }
        let there = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.busy.store(false, Ordering::Release);
        if let Some(payload) = here.err().or(there) {
            resume_unwind(payload);
        }
    }
}

impl Drop for ForkJoin {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.state.fetch_add(FIRST, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its jobs, so it ends in order.
            let _ = worker.join();
        }
    }
}

/// A worker's life: wait for a job, enter it if it is still open, take pieces, leave.
fn work(shared: &Shared, index: usize) {
    let mut seen = FIRST;
    shared.started.fetch_add(1, Ordering::Release);
    loop {
        let state = wait(shared, index, seen);
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        if state & OPEN == 0 {
            seen = state;
            continue;
        }
        if shared.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            // Another worker entered or left, or the job was closed: look again.
            continue;
        }
        seen = state;
        // SAFETY: this worker is inside the job, so the caller has written `job` and does not write it again before the worker has left.
        if let Some((job, pieces)) = unsafe { *shared.job.get() } {
            // SAFETY: the caller keeps the closure alive as long as a worker is inside.
            let job = unsafe { &*job };
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| shared.take(index + 1, pieces, job))) {
                shared.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(payload);
            }
        }
        shared.state.fetch_sub(1, Ordering::Release);
    }
}

/// Returns the state once it is of another job than `seen`: looks often at first, then sleeps.
fn wait(shared: &Shared, index: usize, seen: usize) -> usize {
    let is_new = |state: usize| state / FIRST != seen / FIRST;
    for _ in 0..SPIN_TURNS {
        let state = shared.state.load(Ordering::Acquire);
        if is_new(state) {
            return state;
        }
        hint::spin_loop();
    }
    loop {
        shared.parked[index].store(true, Ordering::SeqCst);
        let state = shared.state.load(Ordering::SeqCst);
        if is_new(state) {
            shared.parked[index].store(false, Ordering::Relaxed);
            return state;
        }
        thread::park();
    }
}
