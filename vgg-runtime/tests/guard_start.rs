//! The tests of the operations once more, where each buffer begins at a page that may not be touched: any access just before it faults.
#![cfg(unix)]

#[path = "guard_pages/allocator.rs"]
mod allocator;
#[path = "ops/main.rs"]
mod ops;

#[global_allocator]
static ALLOCATOR: allocator::Guarded = allocator::Guarded(allocator::Side::Start);
