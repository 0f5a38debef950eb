//! The transforms of one axis of a tile, on vectors of eight channels.
//!
//! With a kernel of `r` taps, 3 or 5, a tile of `m` outputs reads `n = m + r - 1` inputs and is computed by Toom-Cook's method at `n`
//! points, of which one is infinity: `y = A^T [(G g) * (B^T d)]` (Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks",
//! 2016). The points come in pairs `+p, -p`, so that both rows of a pair share an even and an odd part. At a point p:
//!
//! - `G` has the row `[1, p, .. p^(r-1)] / f` with `f = product of (p - q)` over the other points q of the *whole* set,
//! - `B^T` has the coefficients of `product of (x - q)` over the other points of the *span*, times the `(p - q)` of the points of the
//!   whole set that the span leaves out,
//! - `A^T` has the column `[1, p, p^2, ..]`.
//!
//! At infinity `G` has the unit row of the last tap, `B^T` the coefficients of `product of (x - q)`, and `A^T` the unit column of the last
//! output.
//!
//! A narrower span at the edge of an image uses a part of the points of the whole set. Its scale is absorbed in `B^T`, so the weights
//! transformed for the whole set serve it too. `B^T` does not know `r`: F(4, 5) shares that of F(6, 3).

use crate::simd::Simd;

/// Points of the largest span.
pub(super) const MAX_POINTS: usize = 8;

/// Outputs of the largest span.
pub(super) const MAX_OUTPUTS: usize = 6;

/// Taps of the longest kernel.
pub(super) const MAX_TAPS: usize = 5;

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
    /// All points of F(4, 5), which are those of F(6, 3).
    FourOfF4Taps5,
    /// 0, ±1, ±2, ∞ for five taps.
    TwoOfF4Taps5,
}

impl Span {
    /// Outputs.
    pub(super) const fn outputs(self) -> usize {
        match self {
            Self::SixOfF6 => 6,
            Self::FourOfF4 | Self::FourOfF6 | Self::FourOfF4Taps5 => 4,
            Self::TwoOfF4 | Self::TwoOfF6 | Self::TwoOfF4Taps5 => 2,
        }
    }

    /// The places of its points in the whole set.
    pub(super) const fn points(self) -> &'static [usize] {
        match self {
            Self::FourOfF4 => &<FourOfF4 as Transform<6, 4>>::PLACES,
            Self::TwoOfF4 => &<TwoOfF4 as Transform<4, 2>>::PLACES,
            Self::SixOfF6 => &<SixOfF6 as Transform<8, 6>>::PLACES,
            Self::FourOfF6 => &<FourOfF6 as Transform<6, 4>>::PLACES,
            Self::TwoOfF6 => &<TwoOfF6 as Transform<4, 2>>::PLACES,
            Self::FourOfF4Taps5 => &<FourOfF4Taps5 as Transform<8, 4>>::PLACES,
            Self::TwoOfF4Taps5 => &<TwoOfF4Taps5 as Transform<6, 2>>::PLACES,
        }
    }

    /// The narrowest span of the same points that has at least `outputs`, which are fewer than those of this whole span.
    pub(super) const fn tail(self, outputs: usize) -> Self {
        match (self, outputs) {
            (Self::FourOfF4, 1 | 2) => Self::TwoOfF4,
            (Self::FourOfF4Taps5, 1 | 2) => Self::TwoOfF4Taps5,
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

/// The finite points of F(6, 3) and F(4, 5).
pub(super) const POINTS_F6: [f64; 7] = [0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5];

/// `N` vectors of eight channels.
pub(super) type Line<S, const N: usize> = [<S as Simd>::Vector; N];

/// The vectors that `value` gives for the indices of a line.
#[inline(always)]
pub(super) fn line<S: Simd, const N: usize>(simd: S, mut value: impl FnMut(usize) -> S::Vector) -> Line<S, N> {
    // A loop, since `array::from_fn` may be a call, which returns its array through memory.
    let mut line = [simd.splat(0.0); N];
    for (index, vector) in line.iter_mut().enumerate() {
        *vector = value(index);
    }
    line
}

/// The transforms of a span of `N` points and `M` outputs, with its constants known to the compiler.
pub(super) trait Transform<const N: usize, const M: usize> {
    /// The places of the points in the whole set.
    const PLACES: [usize; N];

    /// `B^T d`.
    fn input<S: Simd>(simd: S, d: Line<S, N>) -> Line<S, N>;

    /// `A^T m`.
    fn output<S: Simd>(simd: S, m: Line<S, N>) -> Line<S, M>;
}

/// Evaluates `$body` with the type `$transform` that belongs to a [`Span`], and the numbers `$n` of its points and `$m` of its outputs.
macro_rules! with_transform {
    ($span:expr, $transform:ident, $n:ident, $m:ident => $body:expr) => {
        $crate::kernels::conv::winograd::transform::with_transform!(
            @ $span, $transform, $n, $m => $body,
            [FourOfF4 6 4] [TwoOfF4 4 2] [SixOfF6 8 6] [FourOfF6 6 4] [TwoOfF6 4 2] [FourOfF4Taps5 8 4] [TwoOfF4Taps5 6 2]
        )
    };
    (@ $span:expr, $transform:ident, $n:ident, $m:ident => $body:expr, $([$name:ident $points:literal $outputs:literal])*) => {
        match $span {
            $($crate::kernels::conv::winograd::transform::Span::$name => {
                type $transform = $crate::kernels::conv::winograd::transform::$name;
                const $n: usize = $points;
                const $m: usize = $outputs;
                $body
            })*
        }
    };
}
pub(super) use with_transform;

/// `even + odd` and `even - odd`.
#[inline(always)]
fn pair<S: Simd>(simd: S, even: S::Vector, odd: S::Vector) -> Line<S, 2> {
    [simd.add(even, odd), simd.sub(even, odd)]
}

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
    fn input<S: Simd>(&self, simd: S, d: Line<S, 4>) -> Line<S, 4> {
        let [zero, scale] = self.scale;
        // x^2 - a^2, x (x ± a), x (x^2 - a^2)
        let even = simd.mul(d[2], simd.splat(scale));
        let odd = simd.mul(d[1], simd.splat(self.a * scale));
        let [plus, minus] = pair(simd, even, odd);
        [
            simd.mul_add(d[0], simd.splat(-self.aa * zero), simd.mul(d[2], simd.splat(zero))),
            plus,
            minus,
            simd.mul_add(d[1], simd.splat(-self.aa), d[3]),
        ]
    }

    #[inline(always)]
    fn output<S: Simd>(&self, simd: S, m: Line<S, 4>) -> Line<S, 2> {
        [simd.add(m[0], simd.add(m[1], m[2])), simd.mul_add(simd.sub(m[1], m[2]), simd.splat(self.a), m[3])]
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
    fn input<S: Simd>(&self, simd: S, d: Line<S, 6>) -> Line<S, 6> {
        let Self { a, b, aa, bb, .. } = *self;
        let [zero, first, second] = self.scale;
        let [plus_a, minus_a] = Self::pair(simd, d, a, bb, first);
        let [plus_b, minus_b] = Self::pair(simd, d, b, aa, second);
        let even = self.quartic(simd, [d[0], d[2], d[4]]);
        let even = if zero == 1.0 { even } else { simd.mul(even, simd.splat(zero)) };
        [even, plus_a, minus_a, plus_b, minus_b, self.quartic(simd, [d[1], d[3], d[5]])]
    }

    /// `(x^2 - a^2) (x^2 - b^2)` of the even or the odd inputs.
    #[inline(always)]
    fn quartic<S: Simd>(&self, simd: S, d: Line<S, 3>) -> S::Vector {
        let Self { aa, bb, .. } = *self;
        simd.mul_add(d[1], simd.splat(-(aa + bb)), simd.mul_add(d[0], simd.splat(aa * bb), d[2]))
    }

    /// `x (x ± p) (x^2 - qq)`, scaled, where `qq` is the square of the other point.
    #[inline(always)]
    fn pair<S: Simd>(simd: S, d: Line<S, 6>, p: f32, qq: f32, scale: f32) -> Line<S, 2> {
        let even = simd.mul_add(d[2], simd.splat(-qq), d[4]);
        let odd = simd.mul_add(d[1], simd.splat(-qq), d[3]);
        let even = if scale == 1.0 { even } else { simd.mul(even, simd.splat(scale)) };
        pair(simd, even, simd.mul(odd, simd.splat(p * scale)))
    }

    #[inline(always)]
    fn output<S: Simd>(&self, simd: S, m: Line<S, 6>) -> Line<S, 4> {
        let Self { a, b, aa, bb, .. } = *self;
        let [sum_a, difference_a] = pair(simd, m[1], m[2]);
        let [sum_b, difference_b] = pair(simd, m[3], m[4]);
        [
            simd.add(m[0], simd.add(sum_a, sum_b)),
            simd.mul_add(difference_a, simd.splat(a), simd.mul(difference_b, simd.splat(b))),
            simd.mul_add(sum_a, simd.splat(aa), simd.mul(sum_b, simd.splat(bb))),
            simd.mul_add(difference_a, simd.splat(a * aa), simd.mul_add(difference_b, simd.splat(b * bb), m[5])),
        ]
    }
}

/// [`Span::FourOfF4`].
pub(super) struct FourOfF4;

impl FourOfF4 {
    const AT: Six =
        Six { a: core::f32::consts::FRAC_1_SQRT_2, b: core::f32::consts::SQRT_2, aa: 0.5, bb: 2.0, scale: [1.0; 3] };
}

impl Transform<6, 4> for FourOfF4 {
    const PLACES: [usize; 6] = [0, 1, 2, 3, 4, 5];

    #[inline(always)]
    fn input<S: Simd>(simd: S, d: Line<S, 6>) -> Line<S, 6> {
        Self::AT.input(simd, d)
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, m: Line<S, 6>) -> Line<S, 4> {
        Self::AT.output(simd, m)
    }
}

/// [`Span::TwoOfF4`].
pub(super) struct TwoOfF4;

impl TwoOfF4 {
    // ±√2 are left out: p^2 - 2.
    const AT: Four = Four { a: core::f32::consts::FRAC_1_SQRT_2, aa: 0.5, scale: [-2.0, -1.5] };
}

impl Transform<4, 2> for TwoOfF4 {
    const PLACES: [usize; 4] = [0, 1, 2, 5];

    #[inline(always)]
    fn input<S: Simd>(simd: S, d: Line<S, 4>) -> Line<S, 4> {
        Self::AT.input(simd, d)
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, m: Line<S, 4>) -> Line<S, 2> {
        Self::AT.output(simd, m)
    }
}

/// [`Span::FourOfF6`].
pub(super) struct FourOfF6;

impl FourOfF6 {
    // ±½ are left out: p^2 - ¼.
    const AT: Six = Six { a: 1.0, b: 2.0, aa: 1.0, bb: 4.0, scale: [-0.25, 0.75, 3.75] };
}

impl Transform<6, 4> for FourOfF6 {
    const PLACES: [usize; 6] = [0, 1, 2, 3, 4, 7];

    #[inline(always)]
    fn input<S: Simd>(simd: S, d: Line<S, 6>) -> Line<S, 6> {
        Self::AT.input(simd, d)
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, m: Line<S, 6>) -> Line<S, 4> {
        Self::AT.output(simd, m)
    }
}

/// [`Span::TwoOfF6`].
pub(super) struct TwoOfF6;

impl TwoOfF6 {
    // ±2 and ±½ are left out: (p^2 - 4) (p^2 - ¼).
    const AT: Four = Four { a: 1.0, aa: 1.0, scale: [1.0, -2.25] };
}

impl Transform<4, 2> for TwoOfF6 {
    const PLACES: [usize; 4] = [0, 1, 2, 7];

    #[inline(always)]
    fn input<S: Simd>(simd: S, d: Line<S, 4>) -> Line<S, 4> {
        Self::AT.input(simd, d)
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, m: Line<S, 4>) -> Line<S, 2> {
        Self::AT.output(simd, m)
    }
}

/// [`Span::SixOfF6`].
pub(super) struct SixOfF6;

impl Transform<8, 6> for SixOfF6 {
    const PLACES: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

    #[inline(always)]
    fn input<S: Simd>(simd: S, d: Line<S, 8>) -> Line<S, 8> {
        // At 0 and infinity: (x^2 - 1) (x^2 - 4) (x^2 - ¼) = x^6 - 21/4 x^4 + 21/4 x^2 - 1.
        let zero = simd.mul_add(simd.sub(d[2], d[4]), simd.splat(5.25), simd.sub(d[6], d[0]));
        let infinity = simd.mul_add(simd.sub(d[3], d[5]), simd.splat(5.25), simd.sub(d[7], d[1]));
        // At ±1: x (x ± 1) (x^4 - 17/4 x^2 + 1).
        let even = simd.mul_add(d[4], simd.splat(-4.25), simd.add(d[2], d[6]));
        let odd = simd.mul_add(d[3], simd.splat(-4.25), simd.add(d[1], d[5]));
        let [plus_1, minus_1] = pair(simd, even, odd);
        // At ±2: x (x ± 2) (x^4 - 5/4 x^2 + ¼), and at ±½: x (x ± ½) (x^4 - 5 x^2 + 4). Both have the same middle terms, as
        // -5 = 4 (-5/4) and ½ (-5) = 2 (-5/4).
        let middle = simd.mul_add(d[4], simd.splat(-1.25), d[2]);
        let half_even = simd.mul_add(middle, simd.splat(4.0), d[6]);
        let two_even = simd.mul_add(d[2], simd.splat(0.25), simd.mul_add(d[4], simd.splat(-1.25), d[6]));
        let middle = simd.mul(d[3], simd.splat(-2.5));
        let two_odd = simd.mul_add(d[1], simd.splat(0.5), simd.add(simd.add(d[5], d[5]), middle));
        let half_odd = simd.mul_add(d[5], simd.splat(0.5), simd.add(simd.add(d[1], d[1]), middle));
        let [plus_2, minus_2] = pair(simd, two_even, two_odd);
        let [plus_h, minus_h] = pair(simd, half_even, half_odd);
        [zero, plus_1, minus_1, plus_2, minus_2, plus_h, minus_h, infinity]
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, m: Line<S, 8>) -> Line<S, 6> {
        let sums = Eight::new(simd, m);
        [sums.zeroth(), sums.power(1), sums.power(2), sums.power(3), sums.power(4), simd.add(sums.power(5), m[7])]
    }
}

/// Products at the points of F(6, 3), those of each pair of points added and subtracted.
struct Eight<S: Simd> {
    simd: S,
    zero: S::Vector,
    /// Of ±1, ±2 and ±½.
    sums: Line<S, 3>,
    differences: Line<S, 3>,
}

impl<S: Simd> Eight<S> {
    #[inline(always)]
    fn new(simd: S, m: Line<S, 8>) -> Self {
        let sums = [simd.add(m[1], m[2]), simd.add(m[3], m[4]), simd.add(m[5], m[6])];
        let differences = [simd.sub(m[1], m[2]), simd.sub(m[3], m[4]), simd.sub(m[5], m[6])];
        Self { simd, zero: m[0], sums, differences }
    }

    /// The sum over all finite points.
    #[inline(always)]
    fn zeroth(&self) -> S::Vector {
        let (simd, [one, two, half]) = (self.simd, self.sums);
        simd.add(simd.add(self.zero, one), simd.add(two, half))
    }

    /// The sum over the finite points with the factor `p^exponent`, which is not `p^0`.
    #[inline(always)]
    fn power(&self, exponent: u32) -> S::Vector {
        let simd = self.simd;
        let [one, two, half] = if exponent.is_multiple_of(2) { self.sums } else { self.differences };
        let scale = (1u32 << exponent) as f32;
        simd.mul_add(half, simd.splat(1.0 / scale), simd.mul_add(two, simd.splat(scale), one))
    }
}

/// [`Span::FourOfF4Taps5`].
pub(super) struct FourOfF4Taps5;

impl Transform<8, 4> for FourOfF4Taps5 {
    const PLACES: [usize; 8] = SixOfF6::PLACES;

    #[inline(always)]
    fn input<S: Simd>(simd: S, d: Line<S, 8>) -> Line<S, 8> {
        SixOfF6::input(simd, d)
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, m: Line<S, 8>) -> Line<S, 4> {
        let sums = Eight::new(simd, m);
        [sums.zeroth(), sums.power(1), sums.power(2), simd.add(sums.power(3), m[7])]
    }
}

/// [`Span::TwoOfF4Taps5`].
pub(super) struct TwoOfF4Taps5;

impl Transform<6, 2> for TwoOfF4Taps5 {
    const PLACES: [usize; 6] = FourOfF6::PLACES;

    #[inline(always)]
    fn input<S: Simd>(simd: S, d: Line<S, 6>) -> Line<S, 6> {
        FourOfF6::input(simd, d)
    }

    #[inline(always)]
    fn output<S: Simd>(simd: S, m: Line<S, 6>) -> Line<S, 2> {
        let (sum_1, difference_1) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
        let (sum_2, difference_2) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
        [
            simd.add(m[0], simd.add(sum_1, sum_2)),
            simd.add(simd.mul_add(difference_2, simd.splat(2.0), difference_1), m[5]),
        ]
    }
}
