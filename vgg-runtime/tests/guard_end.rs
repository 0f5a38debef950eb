//! The tests of the operations once more, where each buffer ends at a page that may not be touched: any access just after it faults.
#![cfg(unix)]

#[path = "guard_pages/allocator.rs"]
mod allocator;
#[path = "ops/main.rs"]
mod ops;

#[global_allocator]
static ALLOCATOR: allocator::Guarded = allocator::Guarded(allocator::Side::End);
