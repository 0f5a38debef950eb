//! Functions of single numbers and copies of channels, plane by plane.
//!
//! The loops run over rows of plain slices, which the compiler turns into vectors inside the target features of a tier. They hold no
//! multiply-add, so that every tier gives the same bits.

use super::halo;
use crate::math;
use crate::shape::{Activation, ActivationDims, AffineDims, BLOCK, Blocked, Combination, CombineDims, ConcatDims};

/// Plane `index` of the batch.
#[inline(always)]
fn plane(image: Blocked, index: usize, values: &[f32]) -> &[f32] {
    &values[index * image.plane_stride()..][..image.plane_stride()]
}

/// The pixels of row `y` in a plane.
#[inline(always)]
fn row(image: Blocked, y: usize) -> core::ops::Range<usize> {
    let start = image.origin() + y * image.row_stride();
    start..start + image.width * image.block
}

#[inline(always)]
fn relu(x: f32) -> f32 {
    if 0.0 > x { 0.0 } else { x }
}

/// Writes plane `index` of the activation.
#[inline(always)]
pub(crate) fn activate(dims: ActivationDims, index: usize, input: &[f32], target: &mut [f32]) {
    match dims.function {
        Activation::Relu => map(dims, index, input, target, relu),
        Activation::Clip { min, max } => map(
            dims,
            index,
            input,
            target,
            #[inline(always)]
            |x| {
                let x = if x < min { min } else { x };
                if x > max { max } else { x }
            },
        ),
        Activation::LeakyRelu { alpha } => map(
            dims,
            index,
            input,
            target,
            #[inline(always)]
            |x| if x >= 0.0 { x } else { alpha * x },
        ),
        Activation::Sigmoid => map(
            dims,
            index,
            input,
            target,
            #[inline(always)]
            |x| (1.0 / (1.0 + math::exp(-f64::from(x)))) as f32,
        ),
    }
}

#[inline(always)]
fn map(dims: ActivationDims, index: usize, input: &[f32], target: &mut [f32], f: impl Fn(f32) -> f32) {
    let (from, to) = (dims.input, dims.output);
    let source = plane(from, index, input);
    halo::clear_plane(to, target);
    for y in 0..to.height {
        for (y, &x) in target[row(to, y)].iter_mut().zip(&source[row(from, y)]) {
            *y = f(x);
        }
    }
    // What fills up the last block is zero, whatever the function makes of zero.
    halo::clear_filling(to, index % to.blocks(), target);
}

/// Writes plane `index` of the affine map. The numbers of the channels that fill up the last block are zero.
#[inline(always)]
pub(crate) fn affine(dims: AffineDims, index: usize, input: &[f32], factors: (&[f32], &[f32]), target: &mut [f32]) {
    if dims.output.block == BLOCK {
        affine_blocks::<BLOCK>(dims, index, input, factors, target);
    } else {
        affine_blocks::<1>(dims, index, input, factors, target);
    }
}

#[inline(always)]
fn affine_blocks<const LANES: usize>(
    dims: AffineDims,
    index: usize,
    input: &[f32],
    (scale, shift): (&[f32], &[f32]),
    target: &mut [f32],
) {
    let (from, to) = (dims.input, dims.output);
    let (source, block) = (plane(from, index, input), index % to.blocks());
    let (scale, shift) = (&scale.as_chunks::<LANES>().0[block], &shift.as_chunks::<LANES>().0[block]);
    halo::clear_plane(to, target);
    for y in 0..to.height {
        let target = target[row(to, y)].as_chunks_mut::<LANES>().0;
        let source = source[row(from, y)].as_chunks::<LANES>().0;
        for (target, source) in target.iter_mut().zip(source) {
            for lane in 0..LANES {
                let value = source[lane] * scale[lane] + shift[lane];
                target[lane] = if dims.relu { relu(value) } else { value };
            }
        }
    }
}

/// Writes plane `index` of the combination.
#[inline(always)]
pub(crate) fn combine(dims: CombineDims, index: usize, inputs: [&[f32]; 2], target: &mut [f32]) {
    match (dims.operation, dims.relu) {
        (Combination::Add, false) => zip(dims, index, inputs, target, |x, y| x + y),
        (Combination::Add, true) => zip(dims, index, inputs, target, |x, y| relu(x + y)),
        (Combination::Mul, false) => zip(dims, index, inputs, target, |x, y| x * y),
        (Combination::Mul, true) => zip(dims, index, inputs, target, |x, y| relu(x * y)),
    }
}

#[inline(always)]
fn zip(dims: CombineDims, index: usize, inputs: [&[f32]; 2], target: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    let ([first, second], to) = (dims.inputs, dims.output);
    let (left, right) = (plane(first, index, inputs[0]), plane(second, index, inputs[1]));
    halo::clear_plane(to, target);
    for y in 0..to.height {
        let pairs = left[row(first, y)].iter().zip(&right[row(second, y)]);
        for (y, (&left, &right)) in target[row(to, y)].iter_mut().zip(pairs) {
            *y = f(left, right);
        }
    }
}

/// Copies to plane `index` of the output the channels that lie there.
#[inline(always)]
pub(crate) fn concat(dims: ConcatDims, index: usize, input: &[f32], target: &mut [f32]) {
    let ConcatDims { input: from, output: to, first, .. } = dims;
    let (image, block) = (index / to.blocks(), index % to.blocks());
    let (start, end) = (block * to.block, (block + 1) * to.block);
    let (low, high) = (first.max(start), (first + from.channels).min(end));
    if low >= high {
        return;
    }
    let source = &input[image * from.len()..][..from.len()];
    if low == start {
        halo::clear_plane(to, target);
    }
    if low == start && (first.is_multiple_of(to.block)) {
        // The blocks of both lie alike. What fills up the input's last one is zero, and stays unless other channels follow.
        let source = plane(from, (start - first) / from.block, source);
        for y in 0..to.height {
            target[row(to, y)].copy_from_slice(&source[row(from, y)]);
        }
        return;
    }
    for channel in low..high {
        let read = channel - first;
        let source = plane(from, read / from.block, source);
        for y in 0..to.height {
            let pixels = source[row(from, y)].chunks_exact(from.block);
            for (target, pixel) in target[row(to, y)].chunks_exact_mut(to.block).zip(pixels) {
                target[channel - start] = pixel[read % from.block];
            }
        }
    }
    if high == to.channels {
        halo::clear_filling(to, block, target);
    }
}
