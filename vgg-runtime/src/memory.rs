//! Bytes that are used where they lie: those of a mapped file, and those that somebody else owns as well.
//!
//! A mapped file is not copied: its pages are those of the system's cache, which all processes share, and the system may drop them when
//! memory is short and read them again.

use alloc::sync::Arc;
use core::fmt;

use crate::simd::Element;

#[cfg(feature = "std")]
pub use file::{FileBytes, FilePart};

/// Bytes that have other owners as well, such as a part of a mapped file. A clone costs nothing.
#[derive(Clone)]
pub struct SharedBytes(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl SharedBytes {
    /// The bytes of `owner`, which lives as long as these bytes and their clones.
    pub fn new(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self(Arc::new(owner))
    }

    /// The bytes.
    #[inline(always)]
    pub fn as_slice(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBytes").field("len", &self.as_slice().len()).finish()
    }
}

/// Little-endian bytes as numbers, where they can be used as they are: at an address that a number may have, on a little-endian machine.
#[inline(always)]
pub(crate) fn as_elements<W: Element>(bytes: &[u8]) -> Option<&[W]> {
    if cfg!(target_endian = "big") && size_of::<W>() > 1 {
        return None;
    }
    // SAFETY: elements are f32 and integers (no other type can be one), of which any bytes are a value.
    let (before, values, after) = unsafe { bytes.align_to::<W>() };
    (before.is_empty() && after.is_empty()).then_some(values)
}

/// Asks the system for the memory of `values` in one call instead of page by page, before all of it is written. Nothing changes if it
/// refuses.
pub(crate) fn populate<T>(values: &mut [T]) {
    /// Bytes for which a call pays.
    const WORTHWHILE: usize = 1 << 18;
    if size_of_val(values) >= WORTHWHILE {
        system::populate(values);
    }
}

#[cfg(feature = "std")]
mod file {
    use std::fmt;
    use std::fs::File;
    use std::ops::Range;
    use std::path::Path;
    use std::sync::Arc;
    use std::vec::Vec;

    use super::system::Mapping;
    use crate::Error;

    /// The content of a file, mapped into memory or read.
    ///
    /// # What a mapped file asks of others
    ///
    /// While a file is mapped nobody may write to it or make it shorter. The weights of a network would change between two inferences
    /// (or inside one) when it is written, and the system ends the process (`SIGBUS`) when it reads where the file has been cut off. To
    /// *replace* a file is safe: write another and rename it, as every command of this project does; the old content then stays until
    /// it is no longer mapped. Where that cannot be promised, use [`FileBytes::read`], or compile without the feature `mmap`.
    pub struct FileBytes(Content);

    enum Content {
        Mapped(Mapping),
        Read(Vec<u8>),
    }

    impl FileBytes {
        /// Maps the file at `path`. It is read instead if it is no regular file, if the system cannot map it, or without the feature
        /// `mmap`.
        ///
        /// # Errors
        /// When it cannot be read; the error names the path.
        pub fn map(path: &Path) -> Result<Self, Error> {
            let failed = |source| Error::Io { action: "read", path: path.into(), source };
            let file = File::open(path).map_err(failed)?;
            let kind = file.metadata().map_err(failed)?;
            match Mapping::new(&file, if kind.is_file() { kind.len() } else { 0 }) {
                Some(mapping) => Ok(Self(Content::Mapped(mapping))),
                None => Self::read(path),
            }
        }

        /// Reads the file at `path` as a whole.
        ///
        /// # Errors
        /// When it cannot be read; the error names the path.
        pub fn read(path: &Path) -> Result<Self, Error> {
            let bytes =
                std::fs::read(path).map_err(|source| Error::Io { action: "read", path: path.into(), source })?;
            Ok(Self(Content::Read(bytes)))
        }

        /// Whether the file is mapped.
        pub fn is_mapped(&self) -> bool {
            matches!(self.0, Content::Mapped(_))
        }

        /// Where in the file `bytes` lie, if they are a part of it.
        pub fn range_of(&self, bytes: &[u8]) -> Option<Range<usize>> {
            let start = bytes.as_ptr().addr().checked_sub(self.as_ref().as_ptr().addr())?;
            let end = start.checked_add(bytes.len())?;
            (end <= self.as_ref().len()).then_some(start..end)
        }
    }

    impl AsRef<[u8]> for FileBytes {
        #[inline(always)]
        fn as_ref(&self) -> &[u8] {
            match &self.0 {
                Content::Mapped(mapping) => mapping.as_slice(),
                Content::Read(bytes) => bytes,
            }
        }
    }

    impl fmt::Debug for FileBytes {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("FileBytes").field("len", &self.as_ref().len()).field("mapped", &self.is_mapped()).finish()
        }
    }

    /// A part of a file. When it is dropped, the memory of its pages is given back to the system; whoever still has the same bytes
    /// gets them from the file again.
    #[derive(Debug)]
    pub struct FilePart {
        file: Arc<FileBytes>,
        range: Range<usize>,
    }

    impl FilePart {
        /// The bytes at `range`, if the file has them.
        pub fn new(file: &Arc<FileBytes>, range: Range<usize>) -> Option<Self> {
            file.as_ref().as_ref().get(range.clone())?;
            Some(Self { file: Arc::clone(file), range })
        }
    }

    impl AsRef<[u8]> for FilePart {
        #[inline(always)]
        fn as_ref(&self) -> &[u8] {
            let bytes: &[u8] = (*self.file).as_ref();
            &bytes[self.range.clone()]
        }
    }

    impl Drop for FilePart {
        fn drop(&mut self) {
            if let Content::Mapped(mapping) = &self.file.0 {
                mapping.release(self.range.clone());
            }
        }
    }
}

/// The calls of the system. The standard library links the C library on every unix, so that its functions need only be declared.
#[cfg(all(feature = "mmap", unix, target_pointer_width = "64", not(miri)))]
mod system {
    use core::ffi::{c_int, c_void};
    use core::ops::Range;
    use core::ptr::{self, NonNull};
    use std::fs::File;
    use std::os::fd::AsRawFd;

    // The same on Linux, macOS and the BSDs. A 64-bit unix has an `off_t` of 64 bits.
    const PROT_READ: c_int = 1;
    const MAP_PRIVATE: c_int = 2;

    unsafe extern "C" {
        fn mmap(
            address: *mut c_void,
            len: usize,
            protection: c_int,
            flags: c_int,
            file: c_int,
            offset: i64,
        ) -> *mut c_void;
        fn munmap(address: *mut c_void, len: usize) -> c_int;
        #[cfg(target_os = "linux")]
        fn madvise(address: *mut c_void, len: usize, advice: c_int) -> c_int;
    }

    /// Bytes of the largest page that is common on 64-bit machines: parts are cut to multiples of it, whatever the machine's own is.
    #[cfg(target_os = "linux")]
    const PAGE: usize = 1 << 16;

    /// A file mapped to be read.
    pub(super) struct Mapping {
        start: NonNull<u8>,
        len: usize,
    }

    // SAFETY: the memory is only read, and not tied to a thread.
    unsafe impl Send for Mapping {}
    // SAFETY: as above.
    unsafe impl Sync for Mapping {}

    impl Mapping {
        /// The first `len` bytes of `file`, of which there are at least so many. None if the system refuses, or there are none.
        pub(super) fn new(file: &File, len: u64) -> Option<Self> {
            let len = usize::try_from(len).ok().filter(|len| (1..=isize::MAX as usize).contains(len))?;
            // SAFETY: a new mapping at an address of the system's choice touches no memory that is in use.
            let start = unsafe { mmap(ptr::null_mut(), len, PROT_READ, MAP_PRIVATE, file.as_raw_fd(), 0) };
            // Failure is the address -1.
            let start = (start.addr() != usize::MAX).then_some(start)?;
            Some(Self { start: NonNull::new(start.cast())?, len })
        }

        #[inline(always)]
        pub(super) fn as_slice(&self) -> &[u8] {
            // SAFETY: the mapping has `len` readable bytes and lives as long as `self`. That nobody changes the file is what `FileBytes`
            // asks of the system around the program.
            unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.len) }
        }

        /// Lets the system take back the memory of the whole pages in `range`; they are read from the file again when they are needed.
        pub(super) fn release(&self, range: Range<usize>) {
            #[cfg(target_os = "linux")]
            {
                const MADV_DONTNEED: c_int = 4;
                let (start, end) = whole_pages(self.start.as_ptr().addr(), range);
                if start < end && end <= self.len {
                    // SAFETY: the pages are inside the mapping, which is of a file and never written: their content stays.
                    unsafe { madvise(self.start.as_ptr().add(start).cast(), end - start, MADV_DONTNEED) };
                }
            }
            #[cfg(not(target_os = "linux"))]
            let _ = range;
        }
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            // SAFETY: this is the mapping that `new` made, and nobody can have its bytes any more.
            unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        }
    }

    /// Asks for all whole pages of `values`.
    pub(super) fn populate<T>(values: &mut [T]) {
        #[cfg(target_os = "linux")]
        {
            const MADV_POPULATE_WRITE: c_int = 23;
            let base = values.as_mut_ptr().cast::<u8>();
            let (start, end) = whole_pages(base.addr(), 0..size_of_val(values));
            if start < end {
                // SAFETY: the pages are inside the slice, and their content stays as it is. Systems before Linux 5.14 refuse.
                unsafe { madvise(base.add(start).cast(), end - start, MADV_POPULATE_WRITE) };
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = values;
    }

    /// The part of `range`, counted from `base`, that begins and ends at addresses of pages.
    #[cfg(target_os = "linux")]
    fn whole_pages(base: usize, range: Range<usize>) -> (usize, usize) {
        let start = (base + range.start).next_multiple_of(PAGE) - base;
        let end = (base + range.end) / PAGE * PAGE;
        (start, end.saturating_sub(base))
    }
}

/// A system without these calls.
#[cfg(not(all(feature = "mmap", unix, target_pointer_width = "64", not(miri))))]
mod system {
    /// A file mapped to be read: there are none.
    #[cfg(feature = "std")]
    pub(super) enum Mapping {}

    #[cfg(feature = "std")]
    impl Mapping {
        pub(super) fn new(_: &std::fs::File, _: u64) -> Option<Self> {
            None
        }

        pub(super) fn as_slice(&self) -> &[u8] {
            match *self {}
        }

        pub(super) fn release(&self, _: core::ops::Range<usize>) {
            match *self {}
        }
    }

    pub(super) fn populate<T>(_: &mut [T]) {}
}
