//! An allocator that puts every vector of values of four bytes, two or one against a page that may not be touched.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{c_int, c_void};
use std::ptr;

// A multiple of every page size in use.
const PAGE: usize = 64 * 1024;

const PROT_NONE: c_int = 0;
const PROT_READ_WRITE: c_int = 3;
const MAP_PRIVATE: c_int = 2;
#[cfg(target_os = "linux")]
const MAP_ANONYMOUS: c_int = 0x20;
#[cfg(not(target_os = "linux"))]
const MAP_ANONYMOUS: c_int = 0x1000;

unsafe extern "C" {
    fn mmap(at: *mut c_void, len: usize, access: c_int, flags: c_int, file: c_int, offset: i64) -> *mut c_void;
    fn mprotect(at: *mut c_void, len: usize, access: c_int) -> c_int;
    fn munmap(at: *mut c_void, len: usize) -> c_int;
}

/// Which end of an allocation touches its guard page.
#[allow(dead_code, reason = "each test binary has one of the two")]
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Side {
    Start,
    End,
}

/// Allocations aligned like `f32` or less lie between two guard pages and touch the one at their `Side`; all others come from the system.
pub(crate) struct Guarded(pub(crate) Side);

impl Guarded {
    fn guards(layout: Layout) -> bool {
        layout.align() <= align_of::<f32>()
    }

    /// Bytes between the guard pages.
    fn open(layout: Layout) -> usize {
        layout.size().next_multiple_of(PAGE)
    }

    /// Bytes from the end of the first guard page to the allocation.
    fn offset(&self, layout: Layout) -> usize {
        match self.0 {
            Side::Start => 0,
            Side::End => (Self::open(layout) - layout.size()) & !(layout.align() - 1),
        }
    }
}

// SAFETY: an allocation has its own mapping, as large as asked for and aligned, until `dealloc` gives back that same mapping.
unsafe impl GlobalAlloc for Guarded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !Self::guards(layout) {
            // SAFETY: the caller's promise.
            return unsafe { System.alloc(layout) };
        }
        let open = Self::open(layout);
        // SAFETY: a new mapping, and then the part of it between the guard pages.
        unsafe {
            let base = mmap(ptr::null_mut(), open + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if base.addr() == usize::MAX || mprotect(base.byte_add(PAGE), open, PROT_READ_WRITE) != 0 {
                return ptr::null_mut();
            }
            base.cast::<u8>().add(PAGE + self.offset(layout))
        }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if !Self::guards(layout) {
            // SAFETY: the caller's promise; `alloc` asked the system for it.
            return unsafe { System.dealloc(at, layout) };
        }
        // SAFETY: the mapping that `alloc` made for this layout.
        unsafe {
            munmap(at.sub(PAGE + self.offset(layout)).cast(), Self::open(layout) + 2 * PAGE);
        }
    }
}
