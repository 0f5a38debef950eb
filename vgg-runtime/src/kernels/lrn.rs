//! Local response normalisation across channels, on blocked data.
//!
//! The window runs across the lanes of neighbouring blocks, so the squares of some pixels are first laid out channel after channel, with
//! zeroes beyond both ends; a window sum is then a few unaligned loads.

use super::{halo, shared::Disjoint};
use crate::math;
use crate::shape::{BLOCK, LrnDims};
use crate::simd::{Simd, load, store};
use crate::threads::Threads;

/// Pixels whose squares are laid out at once: far enough apart that a load never waits for the stores it overlaps.
const PIXELS: usize = 8;

/// Channels of a window before its middle.
const fn before(dims: LrnDims) -> usize {
    (dims.size - 1) / 2
}

/// Values of a pixel before the square of its first channel: zeroes, so many that whole blocks of squares are aligned.
const fn lead(dims: LrnDims) -> usize {
    before(dims).next_multiple_of(BLOCK)
}

/// Values of one pixel in the scratch memory.
const fn stride(dims: LrnDims) -> usize {
    (lead(dims) + dims.input.blocks() * BLOCK + dims.size - 1 - before(dims)).next_multiple_of(BLOCK)
}

/// Values of scratch memory for each thread.
pub(crate) const fn scratch_len(dims: LrnDims) -> usize {
    PIXELS * stride(dims)
}

/// The normalisation `dims` of every image in `input`.
#[inline(always)]
pub(crate) fn run<S: Simd>(
    simd: S,
    threads: &Threads,
    dims: LrnDims,
    input: &[f32],
    output: &mut [f32],
    (scratch, scratch_stride): (&mut [f32], usize),
) {
    let output = Disjoint::new(output);
    let scratch = Disjoint::new(scratch);
    let height = dims.input.height;
    threads.split(dims.batch * height, 1, |thread, tasks| {
        let own = thread * scratch_stride;
        // SAFETY: each thread has its own index, and the parts of two threads lie `scratch_stride` apart.
        let squares = unsafe { scratch.part(own..own + scratch_len(dims)) };
        squares.fill(0.0);
        simd.vectorize(
            #[inline(always)]
            || {
                for task in tasks {
                    row(simd, dims, task / height, task % height, input, &output, squares);
                }
            },
        );
    });
}

#[inline(always)]
fn row<S: Simd>(
    simd: S,
    dims: LrnDims,
    image: usize,
    y: usize,
    input: &[f32],
    output: &Disjoint<'_>,
    squares: &mut [f32],
) {
    let (from, to) = (dims.input, dims.output);
    let (stride, lead) = (stride(dims), lead(dims));
    let source = |block: usize, x: usize| {
        image * from.len() + block * from.plane_stride() + from.origin() + y * from.row_stride() + x * BLOCK
    };
    let rows = halo::plane_rows(to, y..y + 1);
    let origin = (to.halo[0] + y - rows.start) * to.row_stride() + to.halo[1] * BLOCK;
    for start in (0..from.width).step_by(PIXELS) {
        let run = BLOCK * PIXELS.min(from.width - start);
        for block in 0..from.blocks() {
            let pixels = &input[source(block, start)..][..run];
            let squares = squares[lead + block * BLOCK..].chunks_mut(stride);
            for (x, squares) in pixels.chunks_exact(BLOCK).zip(squares) {
                let x = load(simd, x, 0);
                store(simd, simd.mul(x, x), squares, 0);
            }
        }
        for block in 0..from.blocks() {
            let plane = image * to.len() + block * to.plane_stride();
            // SAFETY: a row (with the halo above the first and below the last) belongs to one task, and this is its only part now.
            let target =
                unsafe { output.part(plane + rows.start * to.row_stride()..plane + rows.end * to.row_stride()) };
            if start == 0 {
                halo::clear(to, rows.clone(), target);
            }
            let pixels = &input[source(block, start)..][..run];
            let windows = squares[lead - before(dims) + block * BLOCK..].chunks(stride);
            let target = &mut target[origin + start * BLOCK..][..run];
            match dims.size {
                5 => normalise_run::<S, 5>(simd, dims, pixels, windows, target),
                3 => normalise_run::<S, 3>(simd, dims, pixels, windows, target),
                _ => normalise_run::<S, 0>(simd, dims, pixels, windows, target),
            }
            let lanes = BLOCK.min(from.channels - block * BLOCK);
            if lanes < BLOCK {
                target.chunks_exact_mut(BLOCK).for_each(|pixel| pixel[lanes..].fill(0.0));
            }
        }
    }
}

/// Normalises a block of the pixels `input`, each with the squares that `windows` gives for it, into `target`. `SIZE` is the size of the
/// window, or 0 where it need not be known to the compiler.
#[inline(always)]
fn normalise_run<'a, S: Simd, const SIZE: usize>(
    simd: S,
    dims: LrnDims,
    input: &[f32],
    windows: impl Iterator<Item = &'a [f32]>,
    target: &mut [f32],
) {
    let size = if SIZE > 0 { SIZE } else { dims.size };
    for ((x, target), window) in input.chunks_exact(BLOCK).zip(target.chunks_exact_mut(BLOCK)).zip(windows) {
        let window = &window[..BLOCK + size - 1];
        let mut sum = load(simd, window, 0);
        for channel in 1..size {
            sum = simd.add(sum, load(simd, window, channel));
        }
        store(simd, normalise(simd, dims, load(simd, x, 0), sum), target, 0);
    }
}

/// `x / (bias + alpha / size * sum)^beta`.
#[inline(always)]
fn normalise<S: Simd>(simd: S, dims: LrnDims, x: S::Vector, sum: S::Vector) -> S::Vector {
    let scale = simd.splat(dims.alpha / dims.size as f32);
    let base = simd.mul_add(sum, scale, simd.splat(dims.bias));
    let power = if dims.beta == 0.75 {
        let root = simd.sqrt(base);
        simd.mul(root, simd.sqrt(root))
    } else {
        simd.vector(simd.lanes(base).map(|base| math::pow(f64::from(base), f64::from(dims.beta)) as f32))
    };
    simd.div(x, power)
}
