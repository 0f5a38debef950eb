//! What the machine can do at most: multiply-adds and bytes read from memory in a second. Measured, never looked up.
//!
//! A measured time means little without them: a layer that multiplies at the machine's peak, or streams its weights as fast as memory
//! gives them, cannot become faster but by doing less. Both probes use the instructions and the threads that an inference uses.

use core::hint::black_box;
use core::ops::Range;
use std::time::{Duration, Instant};
use std::vec;

use crate::dispatch::{Isa, Program};
use crate::shape::{BLOCK, PANEL};
use crate::simd::{Simd, load};
use crate::threads::{Threads, partition};

/// How long each variant of a probe is repeated, at least.
const PATIENCE: Duration = Duration::from_millis(40);

/// How often at least.
const REPEATS: usize = 3;

/// Multiply-adds of each chain in one measurement: some milliseconds, against which waking a thread takes no time.
const CHAIN: usize = 500_000;

/// Bytes that [`read_bandwidth`] reads: several times the largest cache of common machines.
pub const READ_BYTES: usize = 256 << 20;

/// Floating-point operations in a second (a multiply-add is two) of all `threads` together, in registers alone.
///
/// Independent chains of multiply-adds fill the pipelines. How many chains that takes, and how many fit the registers, depends on the
/// machine: several numbers are tried, and the best time of all counts.
pub fn multiply_add_peak(isa: Isa, threads: &Threads) -> f64 {
    let chains = [
        isa.run(MultiplyAdds::<2>(threads)),
        isa.run(MultiplyAdds::<3>(threads)),
        isa.run(MultiplyAdds::<4>(threads)),
        isa.run(MultiplyAdds::<5>(threads)),
        isa.run(MultiplyAdds::<6>(threads)),
        isa.run(MultiplyAdds::<8>(threads)),
        isa.run(MultiplyAdds::<12>(threads)),
    ];
    chains.into_iter().fold(0.0, f64::max)
}

/// Bytes in a second that all `threads` together read from memory.
///
/// Every thread sums its own part of a buffer of [`READ_BYTES`], from several places at once: how many streams keep the most requests in
/// flight depends on the machine. Several numbers are tried, and the best time of all counts.
pub fn read_bandwidth(isa: Isa, threads: &Threads) -> f64 {
    // Pages that were never written all show the same zeroes, which a cache would hold.
    let values = vec![1.0f32; READ_BYTES / size_of::<f32>()];
    let streams = [
        isa.run(Read::<1>(threads, &values)),
        isa.run(Read::<2>(threads, &values)),
        isa.run(Read::<4>(threads, &values)),
        isa.run(Read::<6>(threads, &values)),
        isa.run(Read::<8>(threads, &values)),
    ];
    streams.into_iter().fold(0.0, f64::max)
}

/// Seconds that `f` takes at best.
fn best_seconds(mut f: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    let mut repeats = 0;
    while repeats < REPEATS || begin.elapsed() < PATIENCE {
        let start = Instant::now();
        f();
        best = best.min(start.elapsed().as_secs_f64());
        repeats += 1;
    }
    best
}

/// `CHAINS` chains of multiply-adds of panels on every thread.
struct MultiplyAdds<'a, const CHAINS: usize>(&'a Threads);

impl<const CHAINS: usize> Program for MultiplyAdds<'_, CHAINS> {
    type Output = f64;

    fn run<S: Simd>(self, simd: S) -> f64 {
        let seconds = best_seconds(|| {
            self.0.share(self.0.count(), |_, _| {
                simd.vectorize(
                    #[inline(always)]
                    || multiply_add::<S, CHAINS>(simd),
                );
            });
        });
        (2 * PANEL * CHAINS * CHAIN * self.0.count()) as f64 / seconds
    }
}

#[inline(always)]
fn multiply_add<S: Simd, const CHAINS: usize>(simd: S) {
    // The values tend to 1; were two chains known to be equal, the compiler would compute one.
    let (factor, summand) = (simd.splat_panel(black_box(0.999)), simd.splat_panel(black_box(0.001)));
    let mut chains: [S::Panel; CHAINS] = core::array::from_fn(|_| simd.splat_panel(black_box(0.5)));
    for _ in 0..CHAIN {
        for chain in &mut chains {
            *chain = simd.mul_add_panel(*chain, factor, summand);
        }
    }
    black_box(chains.map(|chain| simd.halves(chain).map(|half| simd.sum(half))));
}

/// Sums of all values, each thread's from `STREAMS` places at once.
struct Read<'a, const STREAMS: usize>(&'a Threads, &'a [f32]);

impl<const STREAMS: usize> Program for Read<'_, STREAMS> {
    type Output = f64;

    fn run<S: Simd>(self, simd: S) -> f64 {
        let Self(threads, values) = self;
        let seconds = best_seconds(|| {
            threads.share(threads.count(), |_, piece| {
                let part = partition(values.len(), threads.count(), piece);
                simd.vectorize(
                    #[inline(always)]
                    || black_box(sum::<S, STREAMS>(simd, values, part)),
                );
            });
        });
        size_of_val(values) as f64 / seconds
    }
}

/// The sum of `values` in `part`, but for what does not fill a cache line in each of the streams.
#[inline(always)]
fn sum<S: Simd, const STREAMS: usize>(simd: S, values: &[f32], part: Range<usize>) -> f32 {
    const LINE: usize = 2 * BLOCK;
    let len = part.len() / STREAMS / LINE * LINE;
    let streams: [&[f32]; STREAMS] = core::array::from_fn(|i| &values[part.start + i * len..][..len]);
    let mut sums = [[simd.splat(0.0); 2]; STREAMS];
    for at in (0..len).step_by(LINE) {
        for (stream, [first, second]) in streams.iter().zip(&mut sums) {
            *first = simd.add(*first, load(simd, stream, at));
            *second = simd.add(*second, load(simd, stream, at + BLOCK));
        }
    }
    sums.iter().flatten().map(|&sum| simd.sum(sum)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Portable;

    #[test]
    fn every_value_of_the_streams_is_read_once() {
        let values = vec![1.0; 1000];
        // 990 values: 4 streams of 15 lines each, or one of 61.
        assert_eq!(sum::<_, 4>(Portable, &values, 10..1000), 960.0);
        assert_eq!(sum::<_, 1>(Portable, &values, 10..1000), 976.0);
        assert_eq!(sum::<_, 8>(Portable, &values, 0..127), 0.0);
    }

    #[test]
    fn rates_are_positive_and_finite() {
        for &isa in Isa::available() {
            for threads in [Threads::single(), Threads::new(2)] {
                let peak = isa.run(MultiplyAdds::<4>(&threads));
                assert!(peak.is_finite() && peak > 0.0, "{peak}");
            }
        }
        let values = vec![1.0; 1 << 16];
        let bandwidth = Isa::widest().run(Read::<2>(&Threads::new(2), &values));
        assert!(bandwidth.is_finite() && bandwidth > 0.0, "{bandwidth}");
    }
}
