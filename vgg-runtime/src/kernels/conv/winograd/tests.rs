//! The transforms as matrices: read off the vector code with unit vectors, and held against the definition.

use std::vec;
use std::vec::Vec;

use super::transform::{Line, MAX_POINTS, MAX_TAPS, Span, Transform, with_transform};
use super::weights::{Packing, kernel_transform, packed_len};
use super::{block_panels, depth, phases, taps, whole};
use crate::dispatch::Isa;
use crate::shape::{Algorithm, BLOCK, Blocked, ConvDims, PANEL};
use crate::simd::{Portable, Simd};

/// Each span with the whole span of its points, and the taps of the kernel.
const SPANS: [(Span, Span, usize); 7] = [
    (Span::FourOfF4, Span::FourOfF4, 3),
    (Span::TwoOfF4, Span::FourOfF4, 3),
    (Span::SixOfF6, Span::SixOfF6, 3),
    (Span::FourOfF6, Span::SixOfF6, 3),
    (Span::TwoOfF6, Span::SixOfF6, 3),
    (Span::FourOfF4Taps5, Span::FourOfF4Taps5, 5),
    (Span::TwoOfF4Taps5, Span::FourOfF4Taps5, 5),
];

type Matrix = [[f64; MAX_POINTS]; MAX_POINTS];

/// The matrix of a linear function of lines.
fn matrix<const N: usize, const M: usize>(f: impl Fn(Line<Portable, N>) -> Line<Portable, M>) -> Matrix {
    let simd = Portable;
    let mut matrix = [[0.0; MAX_POINTS]; MAX_POINTS];
    for column in 0..N {
        let mut unit = [simd.splat(0.0); N];
        unit[column] = simd.splat(1.0);
        for (row, value) in f(unit).iter().enumerate() {
            matrix[row][column] = f64::from(simd.lanes(*value)[0]);
        }
    }
    matrix
}

/// B^T, G at the points of the span, and A^T.
fn matrices(span: Span, whole: Span, taps: usize) -> (Matrix, [[f64; MAX_TAPS]; MAX_POINTS], Matrix) {
    let points = span.points().len();
    let (input, output) = with_transform!(span, T, N, M => {
        assert_eq!((points, span.outputs()), (N, M));
        (matrix::<N, N>(|d| T::input(Portable, d)), matrix::<N, M>(|m| T::output(Portable, m)))
    });
    assert_eq!(points, span.outputs() + taps - 1, "{span:?}");
    let whole = kernel_transform(whole, taps);
    let mut kernel = [[0.0; MAX_TAPS]; MAX_POINTS];
    for (row, &point) in kernel.iter_mut().zip(span.points()) {
        *row = whole[point];
    }
    (input, kernel, output)
}

/// `sum over p of A^T[y][p] G[p][k] B^T[p][d]` is 1 where `d = y + k` and 0 elsewhere: the product computes a convolution.
#[test]
fn the_transforms_satisfy_the_bilinear_identity() {
    for (span, whole, taps) in SPANS {
        let (input, kernel, output) = matrices(span, whole, taps);
        let points = span.points().len();
        for y in 0..span.outputs() {
            for k in 0..taps {
                for d in 0..points {
                    let sum: f64 = (0..points).map(|p| output[y][p] * kernel[p][k] * input[p][d]).sum();
                    let expected = f64::from(u8::from(d == y + k));
                    let size: f64 = (0..points).map(|p| (output[y][p] * kernel[p][k] * input[p][d]).abs()).sum();
                    assert!((sum - expected).abs() <= 1e-7 * (size + 1.0), "{span:?}: y {y}, k {k}, d {d}: {sum}");
                }
            }
        }
    }
}

/// Coefficients of `product of (x - root)`, the constant first.
fn polynomial(roots: impl Iterator<Item = f64>) -> [f64; MAX_POINTS] {
    let mut coefficients = [0.0; MAX_POINTS];
    coefficients[0] = 1.0;
    for root in roots {
        for power in (0..MAX_POINTS).rev() {
            let below = if power == 0 { 0.0 } else { coefficients[power - 1] };
            coefficients[power] = below - root * coefficients[power];
        }
    }
    coefficients
}

#[test]
fn the_input_transform_is_that_of_toom_and_cook() {
    const HALF: f64 = core::f64::consts::FRAC_1_SQRT_2;
    const TWO: f64 = core::f64::consts::SQRT_2;
    let finite_points = |whole| -> &[f64] {
        match whole {
            Span::FourOfF4 => &[0.0, HALF, -HALF, TWO, -TWO],
            _ => &[0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5],
        }
    };
    for (span, whole, taps) in SPANS {
        let (input, _, output) = matrices(span, whole, taps);
        let whole = finite_points(whole);
        let finite = &span.points()[..span.points().len() - 1];
        assert_eq!(span.points().last(), Some(&whole.len()), "infinity is the last point");
        let own = || finite.iter().map(|&index| whole[index]);
        let left_out = || whole.iter().filter(|&&q| own().all(|p| p != q));
        for (row, p) in own().enumerate() {
            let scale: f64 = left_out().map(|q| p - q).product();
            let expected = polynomial(own().filter(|&q| q != p));
            for d in 0..span.points().len() {
                let expected = scale * expected[d];
                assert!((input[row][d] - expected).abs() < 1e-6, "{span:?}: B^T[{row}][{d}] is {}", input[row][d]);
            }
            for y in 0..span.outputs() {
                let power = (0..y).fold(1.0, |power, _| power * p);
                assert!((output[y][row] - power).abs() < 1e-5, "{span:?}: A^T[{y}][{row}] is {}", output[y][row]);
            }
        }
        let last = polynomial(own());
        for d in 0..span.points().len() {
            assert!((input[finite.len()][d] - last[d]).abs() < 1e-6, "{span:?}: infinity, {d}");
        }
    }
}

#[test]
fn the_narrowest_span_that_covers_the_rest_is_taken() {
    let fours = &[2, 2, 4][..];
    for (whole, widths) in
        [(Span::FourOfF4, fours), (Span::SixOfF6, &[2, 2, 4, 4, 6][..]), (Span::FourOfF4Taps5, fours)]
    {
        for (rest, width) in (1..).zip(widths) {
            assert_eq!(whole.tail(rest).outputs(), *width, "{whole:?} with {rest} left");
        }
    }
}

/// `channels` to `outputs` channels.
fn dims(algorithm: Algorithm, kernel: usize, stride: usize, channels: usize, outputs: usize) -> ConvDims {
    let pad = kernel / 2;
    ConvDims {
        input: Blocked { channels, height: 12, width: 12, block: BLOCK, halo: [pad; 4] },
        output: Blocked { channels: outputs, height: 12 / stride, width: 12 / stride, block: BLOCK, halo: [0; 4] },
        kernel: [kernel; 2],
        strides: [stride; 2],
        pads: [pad; 4],
        relu: false,
        pool: None,
        algorithm,
        batch: 1,
    }
    .check()
}

/// Each value by its definition, `G g G^T` in f64, one after the other.
fn packed_by_definition(dims: ConvDims, weight: &[f32]) -> Vec<f32> {
    let (transform, taps, points) = (kernel_transform(whole(dims), taps(dims)), taps(dims), whole(dims).points().len());
    let (channels, [height, width], stride) = (dims.input.channels, dims.kernel, dims.strides[0]);
    let mut packed = vec![0.0; packed_len(dims)];
    // The channels that fill up the last panel have weights of zero, of either sign once transformed.
    for out in 0..dims.panels() * PANEL {
        let most = block_panels(dims);
        let (block, panel, lane) = (out / PANEL / most, out / PANEL % most, out % PANEL);
        let panels = most.min(dims.panels() - block * most);
        for (channel, phase) in (0..channels).flat_map(|channel| (0..phases(dims)).map(move |phase| (channel, phase))) {
            let tap = |row: usize, column: usize| {
                let [y, x] = [phase / stride + row * stride, phase % stride + column * stride];
                let inside = y < height && x < width && out < dims.output.channels;
                let index = ((out * channels + channel) * height + y) * width + x;
                if inside { f64::from(weight[index]) } else { 0.0 }
            };
            let place = (channel / BLOCK * phases(dims) + phase) * BLOCK + channel % BLOCK;
            for (row, column) in (0..points).flat_map(|row| (0..points).map(move |column| (row, column))) {
                let inner = |x| (0..taps).map(|y| transform[row][y] * tap(y, x)).sum::<f64>();
                let value = (0..taps).map(|x| transform[column][x] * inner(x)).sum::<f64>();
                let frequencies = block * most * points * points + (row * points + column) * panels + panel;
                packed[(frequencies * depth(dims) * BLOCK + place) * PANEL + lane] =
                    (value as f32).clamp(f32::MIN, f32::MAX);
            }
        }
    }
    packed
}

#[test]
fn every_tier_packs_the_same_bits() {
    let cases = [
        dims(Algorithm::WinogradF4, 3, 1, 16, 48),
        dims(Algorithm::WinogradF6, 3, 1, 20, 40),
        dims(Algorithm::WinogradF4, 5, 1, 9, 70),
        dims(Algorithm::WinogradF6, 5, 2, 11, 17),
    ];
    for dims in cases {
        let count = dims.output.channels * dims.input.channels * dims.kernel[0] * dims.kernel[1];
        // All magnitudes and signs, the largest among them, and zeroes of both signs.
        let mut state = 1u32;
        let mut weight: Vec<f32> = (0..count)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f32::from_bits(state & 0xbfff_ffff)
            })
            .collect();
        weight[..4].copy_from_slice(&[0.0, -0.0, f32::MAX, f32::MIN]);
        let bytes: Vec<[u8; 4]> = weight.iter().map(|value| value.to_le_bytes()).collect();
        let expected = packed_by_definition(dims, &weight);
        for &isa in Isa::available() {
            let mut packed = vec![0.0; packed_len(dims)];
            assert!(isa.run(Packing { dims, weight: &bytes, packed: &mut packed }));
            let differing = packed.iter().zip(&expected).position(|(a, b)| a.to_bits() != b.to_bits());
            assert_eq!(differing, None, "{}: {dims:?}", isa.name());
        }
        for index in [0, count / 2, count - 1] {
            let mut broken = bytes.clone();
            broken[index] = f32::NAN.to_le_bytes();
            let mut packed = vec![0.0; packed_len(dims)];
            assert!(!Isa::Portable.run(Packing { dims, weight: &broken, packed: &mut packed }), "{index}");
        }
    }
}
