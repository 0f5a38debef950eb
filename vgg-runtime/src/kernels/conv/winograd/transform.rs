//! The transforms of one axis of a tile, on vectors of eight channels.
//!
//! A tile of `m` outputs reads `n = m + 2` inputs and is computed by Toom-Cook's method at `n` points, of which one is infinity:
//! `y = A^T [(G g) * (B^T d)]` (Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", 2016). The points come in pairs
//! `+p, -p`, so that both rows of a pair share an even and an odd part. At a point p:
//!
//! - `G` has the row `[1, p, p^2] / f` with `f = product of (p - q)` over the other points q of the *whole* set,
//! - `B^T` has the coefficients of `product of (x - q)` over the other points of the *span*, times the `(p - q)` of the points of the
//!   whole set that the span leaves out,
//! - `A^T` has the column `[1, p, p^2, ..]`.
//!
//! At infinity `G` has `[0, 0, 1]`, `B^T` the coefficients of `product of (x - q)`, and `A^T` the unit column of the last output.
//!
//! A narrower span at the edge of an image uses a part of the points of the whole set. Its scale is absorbed in `B^T`, so the weights
//! transformed for the whole set serve it too.

use crate::simd::Simd;

/// Points of the largest span.
pub(super) const MAX_POINTS: usize = 8;

/// Outputs of the largest span.
pub(super) const MAX_OUTPUTS: usize = MAX_POINTS - 2;

/// Outputs along one axis of a tile, and the points at which they are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// All points of F(4, 3): 0, ±√½, ±√2, ∞.
    FourOfF4,
    /// 0, ±√½, ∞.
    TwoOfF4,
    /// All points of F(6, 3): 0, ±1, ±2, ±½, ∞.
    SixOfF6,
    /// 0, ±1, ±2, ∞.
    FourOfF6,
    /// 0, ±1, ∞.
    TwoOfF6,
}

impl Span {
    /// Outputs.
    pub(super) const fn outputs(self) -> usize {
        self.points().len() - 2
    }

    /// The places of its points in the whole set.
    pub(super) const fn points(self) -> &'static [usize] {
        match self {
            Self::FourOfF4 => &[0, 1, 2, 3, 4, 5],
            Self::TwoOfF4 => &[0, 1, 2, 5],
            Self::SixOfF6 => &[0, 1, 2, 3, 4, 5, 6, 7],
            Self::FourOfF6 => &[0, 1, 2, 3, 4, 7],
            Self::TwoOfF6 => &[0, 1, 2, 7],
        }
    }

    /// The narrowest span of the same points that has at least `outputs`, which are fewer than those of this whole span.
    pub(super) const fn tail(self, outputs: usize) -> Self {
        match (self, outputs) {
            (Self::FourOfF4, 1 | 2) => Self::TwoOfF4,
            (Self::SixOfF6, 1 | 2) => Self::TwoOfF6,
            (Self::SixOfF6, 3 | 4) => Self::FourOfF6,
            _ => self,
        }
    }
}

/// The finite points of F(4, 3).
pub(super) const POINTS_F4: [f64; 5] = [
    0.0,
    core::f64::consts::FRAC_1_SQRT_2,
    -core::f64::consts::FRAC_1_SQRT_2,
    core::f64::consts::SQRT_2,
    -core::f64::consts::SQRT_2,
];

/// The finite points of F(6, 3).
pub(super) const POINTS_F6: [f64; 7] = [0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5];

/// Up to [`MAX_POINTS`] vectors, of which a span uses the first ones.
pub(super) type Line<S> = [<S as Simd>::Vector; MAX_POINTS];

/// The transforms of a span, with its constants known to the compiler.
pub(super) trait Transform {
    /// Inputs and points.
    const POINTS: usize;
    /// Outputs.
    const OUTPUTS: usize = Self::POINTS - 2;

    /// `B^T d`.
    fn input<S: Simd>(simd: S, d: Line<S>) -> Line<S>;

    /// `A^T m`.
    fn output<S: Simd>(simd: S, m: Line<S>) -> Line<S>;
}

/// Evaluates `$body` with the type `$transform` that belongs to a [`Span`].
macro_rules! with_transform {
    ($span:expr, $transform:ident => $body:expr) => {{
        use $crate::kernels::conv::winograd::transform::{FourOfF4, FourOfF6, SixOfF6, Span, TwoOfF4, TwoOfF6};
        match $span {
            Span::FourOfF4 => {
                type $transform = FourOfF4;
                $body
            }
            Span::TwoOfF4 => {
                type $transform = TwoOfF4;
                $body
            }
            Span::SixOfF6 => {
                type $transform = SixOfF6;
                $body
            }
            Span::FourOfF6 => {
                type $transform = FourOfF6;
                $body
            }
            Span::TwoOfF6 => {
                type $transform = TwoOfF6;
                $body
            }
        }
    }};
}
pub(super) use with_transform;

/// The constants of four points 0, ±a, ∞.
struct Four {
    a: f32,
    /// a^2.
    aa: f32,
    /// Scales of `B^T` at 0 and at ±a.
    scale: [f32; 2],
}

impl Four {
    #[inline(always)]
    fn input<S: Simd>(&self, simd: S, d: Line<S>) -> Line<S> {
        let c = |x: f32| simd.splat(x);
        let [zero, pair] = self.scale;
        // x^2 - a^2, x (x ± a), x (x^2 - a^2)
        let even = simd.mul(d[2], c(pair));
        let odd = simd.mul(d[1], c(self.a * pair));
        let mut v = d;
        v[0] = simd.mul_add(d[0], c(-self.aa * zero), simd.mul(d[2], c(zero)));
        v[1] = simd.add(even, odd);
        v[2] = simd.sub(even, odd);
        v[3] = simd.mul_add(d[1], c(-self.aa), d[3]);
        v
    }

    #[inline(always)]
    fn output<S: Simd>(&self, simd: S, m: Line<S>) -> Line<S> {
        let mut y = m;
        y[0] = simd.add(m[0], simd.add(m[1], m[2]));
        y[1] = simd.mul_add(simd.sub(m[1], m[2]), simd.splat(self.a), m[3]);
        y
    }
}

/// The constants of six points 0, ±a, ±b, ∞.
struct Six {
    a: f32,
    b: f32,
    /// a^2 and b^2.
    aa: f32,
    bb: f32,
    /// Scales of `B^T` at 0, at ±a and at ±b.
    scale: [f32; 3],
}

impl Six {
    #[inline(always)]
    fn input<S: Simd>(&self, simd: S, d: Line<S>) -> Line<S> {
        let Self { a, b, aa, bb, .. } = *self;
        let [zero, first, second] = self.scale;
        let c = |x: f32| simd.splat(x);
        // (x^2 - a^2) (x^2 - b^2)
        let quartic = |d: [S::Vector; 3]| simd.mul_add(d[1], c(-(aa + bb)), simd.mul_add(d[0], c(aa * bb), d[2]));
        // x (x ± p) (x^2 - q^2), where `qq` is q^2.
        let pair = |p: f32, qq: f32, scale: f32| {
            let even = simd.mul_add(d[2], c(-qq), d[4]);
            let odd = simd.mul_add(d[1], c(-qq), d[3]);
            let even = if scale == 1.0 { even } else { simd.mul(even, c(scale)) };
            let odd = simd.mul(odd, c(p * scale));
            [simd.add(even, odd), simd.sub(even, odd)]
        };
        let first = pair(a, bb, first);
        let second = pair(b, aa, second);
        let even = quartic([d[0], d[2], d[4]]);
        let mut v = d;
        v[0] = if zero == 1.0 { even } else { simd.mul(even, c(zero)) };
        [v[1], v[2]] = first;
        [v[3], v[4]] = second;
        v[5] = quartic([d[1], d[3], d[5]]);
        v
    }

    #[inline(always)]
    fn output<S: Simd>(&self, simd: S, m: Line<S>) -> Line<S> {
        let Self { a, b, aa, bb, .. } = *self;
        let c = |x: f32| simd.splat(x);
        let (sum_a, difference_a) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
        let (sum_b, difference_b) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
        let mut y = m;
        y[0] = simd.add(m[0], simd.add(sum_a, sum_b));
        y[1] = simd.mul_add(difference_a, c(a), simd.mul(difference_b, c(b)));
        y[2] = simd.mul_add(sum_a, c(aa), simd.mul(sum_b, c(bb)));
        y[3] = simd.mul_add(difference_a, c(a * aa), simd.mul_add(difference_b, c(b * bb), m[5]));
        y
    }
}

/// [`Span::FourOfF4`].
pub(super) struct FourOfF4;

impl FourOfF4 {
    const AT: Six =
        Six { a: core::f32::consts::FRAC_1_SQRT_2, b: core::f32::consts::SQRT_2, aa: 0.5, bb: 2.0, scale: [1.0; 3] };
}

impl Transform for FourOfF4 {
    const POINTS: usize = 6;

    #[inline(always)]
    fn input<S: Simd>(simd: S, d: Line<S>) -> Line<S> {
        Self::AT.input(simd, d)
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, m: Line<S>) -> Line<S> {
        Self::AT.output(simd, m)
    }
}

/// [`Span::TwoOfF4`].
pub(super) struct TwoOfF4;

impl TwoOfF4 {
    // ±√2 are left out: p^2 - 2.
    const AT: Four = Four { a: core::f32::consts::FRAC_1_SQRT_2, aa: 0.5, scale: [-2.0, -1.5] };
}

impl Transform for TwoOfF4 {
    const POINTS: usize = 4;

    #[inline(always)]
    fn input<S: Simd>(simd: S, d: Line<S>) -> Line<S> {
        Self::AT.input(simd, d)
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, m: Line<S>) -> Line<S> {
        Self::AT.output(simd, m)
    }
}

/// [`Span::FourOfF6`].
pub(super) struct FourOfF6;

impl FourOfF6 {
    // ±½ are left out: p^2 - ¼.
    const AT: Six = Six { a: 1.0, b: 2.0, aa: 1.0, bb: 4.0, scale: [-0.25, 0.75, 3.75] };
}

impl Transform for FourOfF6 {
    const POINTS: usize = 6;

    #[inline(always)]
    fn input<S: Simd>(simd: S, d: Line<S>) -> Line<S> {
        Self::AT.input(simd, d)
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, m: Line<S>) -> Line<S> {
        Self::AT.output(simd, m)
    }
}

/// [`Span::TwoOfF6`].
pub(super) struct TwoOfF6;

impl TwoOfF6 {
    // ±2 and ±½ are left out: (p^2 - 4) (p^2 - ¼).
    const AT: Four = Four { a: 1.0, aa: 1.0, scale: [1.0, -2.25] };
}

impl Transform for TwoOfF6 {
    const POINTS: usize = 4;

    #[inline(always)]
    fn input<S: Simd>(simd: S, d: Line<S>) -> Line<S> {
        Self::AT.input(simd, d)
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, m: Line<S>) -> Line<S> {
        Self::AT.output(simd, m)
    }
}

/// [`Span::SixOfF6`].
pub(super) struct SixOfF6;

impl Transform for SixOfF6 {
    const POINTS: usize = 8;

    #[inline(always)]
    fn input<S: Simd>(simd: S, d: Line<S>) -> Line<S> {
        let c = |x: f32| simd.splat(x);
        // (x^2 - 1) (x^2 - 4) (x^2 - ¼) = x^6 - 21/4 x^4 + 21/4 x^2 - 1
        let sextic = |d: [S::Vector; 4]| simd.mul_add(simd.sub(d[1], d[2]), c(5.25), simd.sub(d[3], d[0]));
        // x^4 + outer x^2 + inner, of the even or the odd inputs, times `scale`
        let quartic = |d: [S::Vector; 3], outer: f32, inner: f32, scale: f32| {
            simd.mul_add(d[0], c(inner * scale), simd.mul_add(d[1], c(outer * scale), simd.mul(d[2], c(scale))))
        };
        let (evens, odds) = ([d[2], d[4], d[6]], [d[1], d[3], d[5]]);
        // (x^2 - 4) (x^2 - ¼), (x^2 - 1) (x^2 - ¼), (x^2 - 1) (x^2 - 4)
        let one = |d: [S::Vector; 3]| simd.mul_add(d[1], c(-4.25), simd.add(d[0], d[2]));
        let two = |d: [S::Vector; 3]| simd.mul_add(d[0], c(0.25), simd.mul_add(d[1], c(-1.25), d[2]));
        let half = |d: [S::Vector; 3]| simd.mul_add(d[0], c(4.0), simd.mul_add(d[1], c(-5.0), d[2]));
        let mut v = d;
        v[0] = sextic([d[0], d[2], d[4], d[6]]);
        let (even, odd) = (one(evens), one(odds));
        (v[1], v[2]) = (simd.add(even, odd), simd.sub(even, odd));
        let (even, odd) = (two(evens), quartic(odds, -1.25, 0.25, 2.0));
        (v[3], v[4]) = (simd.add(even, odd), simd.sub(even, odd));
        let (even, odd) = (half(evens), quartic(odds, -5.0, 4.0, 0.5));
        (v[5], v[6]) = (simd.add(even, odd), simd.sub(even, odd));
        v[7] = sextic([d[1], d[3], d[5], d[7]]);
        v
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, m: Line<S>) -> Line<S> {
        let c = |x: f32| simd.splat(x);
        let (sum_1, difference_1) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
        let (sum_2, difference_2) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
        let (sum_h, difference_h) = (simd.add(m[5], m[6]), simd.sub(m[5], m[6]));
        // one + 2^k two + 2^-k half
        let power = |one, two, half, k: i32| {
            let scale = (1u32 << k) as f32;
            simd.mul_add(half, c(1.0 / scale), simd.mul_add(two, c(scale), one))
        };
        let mut y = m;
        y[0] = simd.add(simd.add(m[0], sum_1), simd.add(sum_2, sum_h));
        y[1] = power(difference_1, difference_2, difference_h, 1);
        y[2] = power(sum_1, sum_2, sum_h, 2);
        y[3] = power(difference_1, difference_2, difference_h, 3);
        y[4] = power(sum_1, sum_2, sum_h, 4);
        y[5] = simd.add(power(difference_1, difference_2, difference_h, 5), m[7]);
        y
    }
}
