//! A buffer that starts on a cache line.

use alloc::vec;
use alloc::vec::Vec;

/// Bytes of alignment: a cache line, and the widest vector there is.
const ALIGNMENT: usize = 64;

/// Values of f32, or of what weights are made of, 64-byte aligned.
#[derive(Debug)]
pub(crate) struct Aligned<T = f32> {
    // The vector is never resized, so that `start` stays where the alignment is.
    values: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Copy + Default> Aligned<T> {
    pub(crate) fn zeroed(len: usize) -> Self {
        let slack = ALIGNMENT / size_of::<T>() - 1;
        let values = vec![T::default(); len + slack];
        // A miss of the alignment costs speed only: `align_offset` may answer usize::MAX.
        let start = values.as_ptr().align_offset(ALIGNMENT).min(slack);
        Self { values, start, len }
    }

    #[inline(always)]
    pub(crate) fn as_slice(&self) -> &[T] {
        &self.values[self.start..self.start + self.len]
    }

    #[inline(always)]
    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.values[self.start..self.start + self.len]
    }
}
