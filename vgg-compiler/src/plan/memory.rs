//! plan_memory: liveness of the buffers, then their places in one arena.

use super::step::{Buffer, Operand, Step};

/// Alignment of every buffer, in f32: a cache line.
const ALIGNMENT: usize = 16;

/// Fills in when each buffer lives and where it lies, and returns the size of the arena in f32.
///
/// Buffers are placed from the largest to the smallest, each at the lowest offset where it overlaps no placed buffer
/// that lives at the same time (Pisarchyk & Lee, 2020, "greedy by size").
pub(super) fn plan_memory(steps: &[Step], buffers: &mut [Buffer]) -> usize {
    let mut written = vec![false; buffers.len()];
    for (index, step) in steps.iter().enumerate() {
        if let Operand::Buffer(buffer) = step.output {
            // A concatenation writes its buffer in several steps.
            if !std::mem::replace(&mut written[buffer], true) {
                buffers[buffer].written = index;
            }
            buffers[buffer].last_read = index;
        }
        for &input in &step.inputs {
            if let Operand::Buffer(buffer) = input {
                buffers[buffer].last_read = index;
            }
        }
    }
    let mut by_size: Vec<usize> = (0..buffers.len()).collect();
    by_size.sort_by_key(|&index| (std::cmp::Reverse(buffers[index].len), index));
    let mut placed: Vec<usize> = Vec::new();
    for index in by_size {
        let mut neighbours: Vec<&Buffer> = placed
            .iter()
            .map(|&other| &buffers[other])
            .filter(|other| overlap_in_time(other, &buffers[index]))
            .collect();
        neighbours.sort_by_key(|other| other.offset);
        let mut offset = 0;
        for neighbour in neighbours {
            if offset + buffers[index].len <= neighbour.offset {
                break;
            }
            offset = offset.max((neighbour.offset + neighbour.len).next_multiple_of(ALIGNMENT));
        }
        buffers[index].offset = offset;
        placed.push(index);
    }
    buffers.iter().map(|buffer| buffer.offset + buffer.len).max().unwrap_or(0).next_multiple_of(ALIGNMENT)
}

fn overlap_in_time(a: &Buffer, b: &Buffer) -> bool {
    a.written <= b.last_read && b.written <= a.last_read
}
