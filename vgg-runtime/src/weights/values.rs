//! Tensors of little-endian numbers in the bytes of a file.

use core::marker::PhantomData;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::Error;
use crate::aligned::Aligned;
use crate::finite::all_finite;
use crate::memory::populate;
use crate::simd::Element;
use crate::threads::{in_chunks, share_out};

/// Values that are copied or looked at together: they stay in a second-level cache.
const RUN: usize = 1 << 16;

/// A tensor of little-endian numbers in the bytes of a file.
pub(super) struct Values<'a, W = f32> {
    what: &'static str,
    bytes: &'a [u8],
    numbers: PhantomData<fn() -> W>,
}

impl<'a, W: Element> Values<'a, W> {
    pub(super) fn new(what: &'static str, bytes: &'a [u8], expected: usize) -> Result<Self, Error> {
        if bytes.len() != expected * size_of::<W>() {
            return Err(Error::Length { what, expected: expected * size_of::<W>(), found: bytes.len() });
        }
        Ok(Self { what, bytes, numbers: PhantomData })
    }

    fn len(&self) -> usize {
        self.bytes.len() / size_of::<W>()
    }

    #[inline(always)]
    pub(super) fn get(&self, index: usize) -> Result<f32, Error> {
        let value = W::from_le_bytes(&self.bytes[index * size_of::<W>()..]);
        if value.is_finite() {
            Ok(value.to_f32())
        } else {
            Err(Error::NotFinite { what: self.what, index, value: value.to_f32() })
        }
    }

    /// The bytes of the values that are copied or looked at together.
    pub(super) fn run(&self, run: usize) -> &'a [u8] {
        &self.bytes[run * RUN * size_of::<W>()..self.bytes.len().min((run + 1) * RUN * size_of::<W>())]
    }

    /// Fails unless all values are finite.
    pub(super) fn check(&self) -> Result<(), Error> {
        let finite = AtomicBool::new(true);
        share_out(self.len().div_ceil(RUN), self.len(), |run| {
            if !all_finite::<W>(self.run(run)) {
                finite.store(false, Ordering::Relaxed);
            }
        });
        if !finite.into_inner() {
            for index in 0..self.len() {
                self.get(index)?;
            }
        }
        Ok(())
    }

    /// All values, in their order.
    pub(super) fn aligned(&self) -> Result<Aligned<W>, Error> {
        let mut aligned = Aligned::zeroed(self.len());
        let finite = AtomicBool::new(true);
        in_chunks(aligned.as_mut_slice(), RUN, |run, target| {
            populate(target);
            let bytes = self.run(run);
            for (target, bytes) in target.iter_mut().zip(bytes.chunks_exact(size_of::<W>())) {
                *target = W::from_le_bytes(bytes);
            }
            if !all_finite::<W>(bytes) {
                finite.store(false, Ordering::Relaxed);
            }
        });
        if !finite.into_inner() {
            self.check()?;
        }
        Ok(aligned)
    }
}

impl<'a> Values<'a> {
    /// The four bytes of each value.
    pub(super) fn words(&self) -> &'a [[u8; 4]] {
        self.bytes.as_chunks().0
    }
}
