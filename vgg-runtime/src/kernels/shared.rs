//! One output slice, written by several threads at disjoint places.

use core::marker::PhantomData;
use core::ops::Range;

use crate::simd::Simd;
use crate::threads::Threads;

/// A mutable slice of which several threads take parts that do not overlap.
#[derive(Debug)]
pub(crate) struct Disjoint<'a> {
    start: *mut f32,
    len: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: the only way to the values is `part`, whose callers promise that parts alive at the same time do not overlap.
unsafe impl Send for Disjoint<'_> {}
// SAFETY: as above.
unsafe impl Sync for Disjoint<'_> {}

impl<'a> Disjoint<'a> {
    pub(crate) fn new(values: &'a mut [f32]) -> Self {
        Self { start: values.as_mut_ptr(), len: values.len(), borrow: PhantomData }
    }

    /// The values at `range`.
    ///
    /// # Safety
    /// - No other part that is alive at the same time, on any thread, overlaps `range`.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "the caller keeps the parts disjoint")]
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len, "a part lies outside its buffer");
        // SAFETY: the range is inside the slice that `new` borrowed mutably, and the caller promises that nobody else has it.
        unsafe { core::slice::from_raw_parts_mut(self.start.add(range.start), range.end - range.start) }
    }

    /// The first of the values at `range`, valid for accesses to all of them by those who keep out of each other's way.
    #[inline(always)]
    pub(crate) fn pointer(&self, range: Range<usize>) -> *mut f32 {
        assert!(range.start <= range.end && range.end <= self.len, "a part lies outside its buffer");
        self.start.wrapping_add(range.start)
    }
}

/// Cuts `output` into chunks of `chunk` values and calls `body(index, chunk)` for each, on all threads, inside the
/// target features of the tier. `body` should be `#[inline(always)]`.
#[inline(always)]
pub(crate) fn for_each_chunk<S: Simd, F>(simd: S, threads: &Threads, output: &mut [f32], chunk: usize, body: F)
where
    F: Fn(usize, &mut [f32]) + Sync,
{
    let chunks = output.len() / chunk;
    let output = Disjoint::new(output);
    threads.split(chunks, 1, |_, chunks| {
        simd.vectorize(
            #[inline(always)]
            || {
                for index in chunks {
                    // SAFETY: each index occurs once, in one range, and chunks of different indices do not overlap.
                    let values = unsafe { output.part(index * chunk..(index + 1) * chunk) };
                    body(index, values);
                }
            },
        );
    });
}
