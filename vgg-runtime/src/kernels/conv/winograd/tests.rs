//! The transforms as matrices: read off the vector code with unit vectors, and held against the definition.

use super::transform::{Line, MAX_POINTS, MAX_TAPS, Span, Transform, with_transform};
use super::weights::kernel_transform;
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
