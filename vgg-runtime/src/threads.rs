//! How many threads work, and on what: pieces whose borders do not depend on who computes them, so that results do not either.
//!
//! The workers are started once and live as long as the [`Threads`] (or its clones). Between two layers they spin for some tens of
//! microseconds, then they sleep. The calling thread works too. Nothing is allocated by a call.

use core::fmt;
use core::ops::Range;

#[cfg(feature = "std")]
use std::sync::Arc;

#[cfg(feature = "std")]
use crate::kernels::fork_join::ForkJoin;

/// The variable that sets the number of threads.
#[cfg(feature = "std")]
pub const THREADS_VARIABLE: &str = "VGG_NUM_THREADS";

/// The threads that share the work of an operation. Clones share the same workers.
#[derive(Clone)]
pub struct Threads {
    #[cfg(feature = "std")]
    workers: Option<Arc<ForkJoin>>,
}

impl Threads {
    /// The calling thread alone.
    pub const fn single() -> Self {
        Self {
            #[cfg(feature = "std")]
            workers: None,
        }
    }

    /// `count` threads, of which the calling one is the first. Zero means one. If the system refuses to start some, there are fewer.
    #[cfg(feature = "std")]
    pub fn new(count: usize) -> Self {
        if count <= 1 {
            return Self::single();
        }
        let workers = ForkJoin::new(count - 1);
        Self { workers: (workers.workers() > 0).then(|| Arc::new(workers)) }
    }

    /// As many threads as `VGG_NUM_THREADS` says, else as there are physical cores.
    ///
    /// # Errors
    /// When the variable is not a number from 1 to 1024.
    #[cfg(feature = "std")]
    pub fn from_env() -> Result<Self, crate::Error> {
        match std::env::var_os(THREADS_VARIABLE) {
            None => Ok(Self::new(physical_cores())),
            Some(value) => parse_count(&value.to_string_lossy()).map(Self::new),
        }
    }

    /// How many threads there are, the calling one included.
    pub fn count(&self) -> usize {
        #[cfg(feature = "std")]
        let workers = self.workers.as_ref().map_or(0, |workers| workers.workers());
        #[cfg(not(feature = "std"))]
        let workers = 0;
        workers + 1
    }

    /// Calls `job(thread, piece)` once for each of `0..pieces`, and returns when all have returned. `thread` tells the calls apart that may
    /// run at the same time; it is less than [`Threads::count`]. Each thread starts with a part of the pieces that is its own for the same
    /// number of pieces, and when it is done takes over what others have not begun.
    ///
    /// A call from inside a job, or while another thread's job runs on the same workers, makes all its calls on the calling thread.
    ///
    /// # Panics
    /// When a call panics: with that panic, after all have ended.
    pub fn share<F: Fn(usize, usize) + Sync>(&self, pieces: usize, job: F) {
        #[cfg(feature = "std")]
        if let Some(workers) = &self.workers {
            return workers.share(pieces, &job);
        }
        (0..pieces).for_each(|piece| job(0, piece));
    }

    /// Cuts `0..total` into ranges and shares them: one for a single thread, else several for each thread, of at least `least` where
    /// there are more than threads.
    #[inline(always)]
    pub(crate) fn split<F: Fn(usize, Range<usize>) + Sync>(&self, total: usize, least: usize, job: F) {
        /// Ranges of a thread: what another can take over when this one has to wait.
        const RANGES: usize = 4;
        let count = self.count();
        let most = if count > 1 { count * RANGES } else { 1 };
        let pieces = most.min(total / least).max(count).min(total);
        self.share(pieces, |thread, piece| job(thread, partition(total, pieces, piece)));
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("count", &self.count()).finish()
    }
}

/// The part of `0..total` that falls to `index` of `parts`: contiguous, and no two parts differ by more than one.
pub(crate) fn partition(total: usize, parts: usize, index: usize) -> Range<usize> {
    let (share, rest) = (total / parts, total % parts);
    let start = index * share + index.min(rest);
    start..start + share + usize::from(index < rest)
}

/// Calls `body(0)` to `body(count - 1)`, on threads of its own when `values`, the number of values that they go through, is large: for
/// work outside an inference, such as the packing of weights. There are as many threads as [`Threads::from_env`] has.
#[cfg(feature = "std")]
pub(crate) fn share_out(count: usize, values: usize, body: impl Fn(usize) + Sync) {
    let threads = helpers(values).min(count);
    std::thread::scope(|scope| {
        let body = &body;
        for thread in 1..threads {
            let work = move || partition(count, threads, thread).for_each(body);
            // The system may have no more threads.
            if std::thread::Builder::new().spawn_scoped(scope, work).is_err() {
                work();
            }
        }
        partition(count, threads.max(1), 0).for_each(body);
    });
}

/// Calls `body(0)` to `body(count - 1)`.
#[cfg(not(feature = "std"))]
pub(crate) fn share_out(count: usize, _: usize, body: impl Fn(usize)) {
    (0..count).for_each(body);
}

/// Calls `body(index, chunk)` for every chunk of `len` of the `values`, shared out as [`share_out`] does.
#[cfg(feature = "std")]
pub(crate) fn in_chunks<T: Send>(values: &mut [T], len: usize, body: impl Fn(usize, &mut [T]) + Sync) {
    let (count, total) = (values.len().div_ceil(len), values.len());
    let threads = helpers(total).min(count);
    let mut parts = std::vec::Vec::with_capacity(threads);
    let mut rest = values;
    for thread in 0..threads {
        let own = partition(count, threads, thread);
        let (part, others) = rest.split_at_mut((own.len() * len).min(rest.len()));
        rest = others;
        parts.push(std::sync::Mutex::new((own.start, part)));
    }
    // Each part is looked at once: as many calls as parts, each with its own.
    share_out(threads, total, |thread| {
        let mut part = parts[thread].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (first, chunks) = &mut *part;
        chunks.chunks_mut(len).enumerate().for_each(|(index, chunk)| body(*first + index, chunk));
    });
}

/// Calls `body(index, chunk)` for every chunk of `len` of the `values`.
#[cfg(not(feature = "std"))]
pub(crate) fn in_chunks<T>(values: &mut [T], len: usize, body: impl Fn(usize, &mut [T])) {
    values.chunks_mut(len).enumerate().for_each(|(index, chunk)| body(index, chunk));
}

/// Threads that work on so many values.
#[cfg(feature = "std")]
fn helpers(values: usize) -> usize {
    /// Values for which starting a thread pays.
    const WORTHWHILE: usize = 1 << 19;
    static COUNT: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    if values < WORTHWHILE {
        return 1;
    }
    let count = *COUNT.get_or_init(|| {
        let asked = std::env::var(THREADS_VARIABLE).ok().and_then(|value| parse_count(&value).ok());
        asked.unwrap_or_else(physical_cores)
    });
    count.min(1 + values / WORTHWHILE)
}

#[cfg(feature = "std")]
fn parse_count(value: &str) -> Result<usize, crate::Error> {
    match value.trim().parse() {
        Ok(count @ 1..=1024) => Ok(count),
        _ => Err(crate::Error::Setting {
            name: THREADS_VARIABLE,
            found: value.into(),
            expected: "a number of threads from 1 to 1024".into(),
        }),
    }
}

/// Physical cores that this process may use: SMT siblings share one core's arithmetic units, so a second thread there gains nothing.
#[cfg(feature = "std")]
pub fn physical_cores() -> usize {
    let logical = std::thread::available_parallelism().map_or(1, |count| count.get());
    linux_cores().unwrap_or(logical).clamp(1, logical)
}

/// Groups of sibling threads that Linux lists.
#[cfg(feature = "std")]
fn linux_cores() -> Option<usize> {
    let mut cores = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir("/sys/devices/system/cpu").ok()? {
        let path = entry.ok()?.path().join("topology/thread_siblings_list");
        if let Ok(siblings) = std::fs::read_to_string(path) {
            cores.insert(siblings);
        }
    }
    (!cores.is_empty()).then_some(cores.len())
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::vec::Vec;

    use super::*;

    #[test]
    fn parts_cover_everything_once() {
        for total in 0..40 {
            for parts in 1..9 {
                let all: Vec<usize> = (0..parts).flat_map(|index| partition(total, parts, index)).collect();
                assert_eq!(all, (0..total).collect::<Vec<_>>(), "{total} in {parts} parts");
            }
        }
    }

    #[test]
    fn every_piece_is_called_once_and_a_thread_makes_one_call_at_a_time() {
        for count in 1..5 {
            let threads = Threads::new(count);
            assert_eq!(threads.count(), count);
            for pieces in [0, 1, 2, 3, 7, 40] {
                let calls: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
                let inside: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                for _ in 0..300 {
                    threads.share(pieces, |thread, piece| {
                        assert_eq!(inside[thread].fetch_add(1, Ordering::Relaxed), 0, "thread {thread} works twice");
                        calls[piece].fetch_add(1, Ordering::Relaxed);
                        inside[thread].fetch_sub(1, Ordering::Relaxed);
                    });
                }
                assert!(calls.iter().all(|calls| calls.load(Ordering::Relaxed) == 300), "{count} threads: {calls:?}");
            }
        }
    }

    #[test]
    fn a_thread_that_waits_keeps_no_piece_from_the_others() {
        let threads = Threads::new(2);
        for _ in 0..20 {
            // Whoever has the first piece waits for all others, so the other thread must do all of these.
            let done = AtomicUsize::new(0);
            let start = std::time::Instant::now();
            threads.share(9, |_, piece| {
                if piece == 0 {
                    while done.load(Ordering::Acquire) < 8 {
                        assert!(
                            start.elapsed().as_secs() < 60,
                            "nobody takes over what the waiting thread has not begun"
                        );
                        std::thread::yield_now();
                    }
                } else {
                    done.fetch_add(1, Ordering::Release);
                }
            });
            assert_eq!(done.into_inner(), 8);
        }
    }

    #[test]
    fn ranges_cover_everything_once() {
        for count in 1..4 {
            let threads = Threads::new(count);
            for total in [0, 1, 2, 5, 23, 96, 1000] {
                for least in [1, 10, 96] {
                    let seen: Vec<AtomicUsize> = (0..total).map(|_| AtomicUsize::new(0)).collect();
                    let ranges = AtomicUsize::new(0);
                    threads.split(total, least, |_, range| {
                        ranges.fetch_add(1, Ordering::Relaxed);
                        for index in range {
                            seen[index].fetch_add(1, Ordering::Relaxed);
                        }
                    });
                    assert!(seen.iter().all(|seen| seen.load(Ordering::Relaxed) == 1), "{total}, {count} threads");
                    let ranges = ranges.into_inner();
                    assert!(
                        ranges <= count.max(total / least) && ranges >= count.min(total),
                        "{total}: {ranges} ranges"
                    );
                }
            }
        }
    }

    #[test]
    fn sleeping_workers_wake_up() {
        let threads = Threads::new(3);
        for _ in 0..5 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let sum = AtomicUsize::new(0);
            threads.share(3, |_, piece| {
                sum.fetch_add(piece + 1, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 6);
        }
    }

    #[test]
    fn a_panic_of_any_piece_reaches_the_caller_and_the_pool_survives() {
        let threads = Threads::new(3);
        for culprit in 0..3 {
            let thrown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                threads.share(3, |_, piece| assert!(piece != culprit, "piece {piece} fails"));
            }))
            .unwrap_err();
            assert_eq!(thrown.downcast_ref::<std::string::String>().unwrap(), &std::format!("piece {culprit} fails"));
            let sum = AtomicUsize::new(0);
            threads.share(3, |_, piece| {
                sum.fetch_add(piece, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 3);
        }
    }

    #[test]
    fn nested_and_concurrent_jobs_are_complete() {
        let threads = Threads::new(2);
        let sum = AtomicUsize::new(0);
        threads.share(2, |_, _| {
            threads.share(2, |_, piece| {
                sum.fetch_add(piece + 1, Ordering::Relaxed);
            });
        });
        assert_eq!(sum.into_inner(), 6);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let sum = AtomicUsize::new(0);
                        threads.share(2, |_, piece| {
                            sum.fetch_add(piece + 1, Ordering::Relaxed);
                        });
                        assert_eq!(sum.into_inner(), 3);
                    }
                });
            }
        });
    }

    #[test]
    fn a_wrong_number_of_threads_is_refused() {
        for value in ["", "0", "-1", "two", "1025"] {
            let error = std::format!("{}", parse_count(value).unwrap_err());
            assert!(error.contains("VGG_NUM_THREADS") && error.contains("from 1 to 1024"), "{value:?}: {error}");
        }
        assert_eq!(parse_count(" 3 ").unwrap(), 3);
        assert!(physical_cores() >= 1);
    }
}
