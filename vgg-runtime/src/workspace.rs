//! Everything mutable of one inference, allocated once.

use core::ops::Range;

use crate::aligned::Aligned;
use crate::dispatch::Isa;
use crate::threads::Threads;

/// The memory and the threads of an inference. One workspace serves one inference at a time; several may share a network's weights.
#[derive(Debug)]
pub struct Workspace {
    arena: Arena,
    scratch: Scratch,
    threads: Threads,
    isa: Isa,
}

impl Workspace {
    /// Memory for activations (`arena_len` values of f32, batch included) and `scratch_len` values for each thread: the largest of what
    /// [`ops::conv_scratch_len`](crate::ops::conv_scratch_len), [`ops::grouped_conv_scratch_len`](crate::ops::grouped_conv_scratch_len)
    /// and [`ops::lrn_scratch_len`](crate::ops::lrn_scratch_len) ask for.
    pub fn new(arena_len: usize, scratch_len: usize, threads: Threads, isa: Isa) -> Self {
        let scratch = Scratch::new(scratch_len, &threads);
        Self { arena: Arena { values: Aligned::zeroed(arena_len) }, scratch, threads, isa }
    }

    /// The tier that inferences in this workspace use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The threads that inferences in this workspace use.
    pub fn threads(&self) -> &Threads {
        &self.threads
    }

    /// The parts that the operations of one inference take.
    pub fn parts(&mut self) -> (&Threads, &mut Arena, &mut Scratch) {
        (&self.threads, &mut self.arena, &mut self.scratch)
    }
}

/// The activations of an inference: one buffer, 64-byte aligned, in which the plan gave each activation its place.
#[derive(Debug)]
pub struct Arena {
    values: Aligned,
}

impl Arena {
    /// The activation at `range`, to read.
    ///
    /// # Panics
    /// When `range` is not inside the arena.
    pub fn get(&self, range: Range<usize>) -> &[f32] {
        &self.values.as_slice()[range]
    }

    /// The activation at `range`, to write.
    ///
    /// # Panics
    /// When `range` is not inside the arena.
    pub fn get_mut(&mut self, range: Range<usize>) -> &mut [f32] {
        &mut self.values.as_mut_slice()[range]
    }

    /// Some activations to read, which may be the same, and another to write.
    ///
    /// # Panics
    /// When one of the first overlaps the last, or one is not inside the arena.
    pub fn reads<const N: usize>(
        &mut self,
        reads: [Range<usize>; N],
        write: Range<usize>,
    ) -> ([&[f32]; N], &mut [f32]) {
        let (left, rest) = self.values.as_mut_slice().split_at_mut(write.start);
        let (target, right) = rest.split_at_mut(write.end - write.start);
        let (left, right) = (&*left, &*right);
        let sources = reads.map(|read| {
            assert!(
                read.end <= write.start || write.end <= read.start,
                "the activations {read:?} and {write:?} overlap in the arena"
            );
            if read.end <= write.start { &left[read] } else { &right[read.start - write.end..read.end - write.end] }
        });
        (sources, target)
    }

    /// One activation to read and another to write.
    ///
    /// # Panics
    /// When the two overlap or are not inside the arena.
    pub fn pair(&mut self, read: Range<usize>, write: Range<usize>) -> (&[f32], &mut [f32]) {
        let ([read], write) = self.reads([read], write);
        (read, write)
    }
}

/// Memory that each thread uses inside one operation and nobody reads afterwards.
#[derive(Debug)]
pub struct Scratch {
    values: Aligned,
    stride: usize,
    len: usize,
    parts: usize,
}

impl Scratch {
    /// `len` values of f32 for each of the threads.
    pub fn new(len: usize, threads: &Threads) -> Self {
        // A cache line of distance, so that two threads never write to the same one.
        let stride = len.next_multiple_of(16) + 16;
        Self { values: Aligned::zeroed(stride * threads.count()), stride, len, parts: threads.count() }
    }

    /// Values for each thread.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the threads have no memory here.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Overwrites the memory, as one operation after the other does: no operation relies on what it held before.
    pub fn fill(&mut self, value: f32) {
        self.values.as_mut_slice().fill(value);
    }

    /// The whole memory, and the distance between the parts of two threads, once it is known to suffice.
    pub(crate) fn split(&mut self, len: usize, threads: &Threads) -> (&mut [f32], usize) {
        assert!(
            self.len >= len && self.parts >= threads.count(),
            "the scratch memory has {} values for each of {} threads where {len} for each of {} were expected",
            self.len,
            self.parts,
            threads.count()
        );
        (self.values.as_mut_slice(), self.stride)
    }
}
