//! Pillow's resampling of 8-bit images ([`Resample.c`](https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Resample.c),
//! and for the nearest pixel [`Geometry.c`](https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Geometry.c)): weights in
//! f64, rounded to 22 bits after the point, sums in integers, rounded to a level after each of the two passes. Rows come first, as
//! up to Pillow 12; Pillow 13 exchanges the passes for some sizes, which changes some pixels by one level.
//!
//! Only the pixels of a window of the result are computed, which a crop makes worth while: a narrow image enlarged to its crop would
//! have a side of millions of pixels.

use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;

use super::Filter;

/// Bits after the point: 8 are a level, 2 are left for the sign and for sums that a negative weight makes larger than white.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// How one axis is resized: to `size` pixels, of which `len` from `begin` on are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    size: usize,
    begin: usize,
    len: usize,
}

impl Axis {
    /// All of `size` pixels.
    pub(super) fn whole(size: usize) -> Self {
        Self { size, begin: 0, len: size }
    }

    /// The `len` pixels in the middle of `size`.
    ///
    /// # Panics
    /// When there are not so many.
    pub(super) fn centre(size: usize, len: usize) -> Self {
        assert!(
            len <= size,
            "preprocess: the image becomes {size} pixels long, expected at least the {len} of the input"
        );
        let rest = size - len;
        // Half of it, rounded to even.
        let begin = rest / 2 + usize::from(rest % 4 == 3);
        Self { size, begin, len }
    }
}

/// Resizes an image of `height` x `width` pixels of `channels` bytes.
pub(super) fn resize(
    pixels: &[u8],
    [height, width]: [usize; 2],
    channels: usize,
    filter: Filter,
    rows: Axis,
    columns: Axis,
) -> Vec<u8> {
    if filter == Filter::Nearest {
        return nearest(pixels, [height, width], channels, rows, columns);
    }
    let (vertical, horizontal) = (Weights::new(height, rows, filter), Weights::new(width, columns, filter));
    // The rows that the second pass reads.
    let first = vertical.bounds.iter().map(|&(begin, _)| begin).min().unwrap_or(0);
    let last = vertical.bounds.iter().map(|&(begin, len)| begin + len).max().unwrap_or(0);
    let pixels = &pixels[first * width * channels..last * width * channels];
    let narrowed = match width == columns.size && columns.len == width {
        true => Cow::Borrowed(pixels),
        false => Cow::Owned(horizontal_pass(pixels, width, channels, &horizontal)),
    };
    match height == rows.size && rows.len == height {
        true => narrowed.into_owned(),
        false => vertical_pass(&narrowed, columns.len * channels, first, &vertical),
    }
}

fn horizontal_pass(pixels: &[u8], width: usize, channels: usize, weights: &Weights) -> Vec<u8> {
    let rows = pixels.len() / (width * channels);
    let mut out = Vec::with_capacity(rows * weights.bounds.len() * channels);
    for row in pixels.chunks_exact(width * channels) {
        for (begin, weights) in weights.iter() {
            let source = &row[begin * channels..(begin + weights.len()) * channels];
            for channel in 0..channels {
                let levels = source.iter().skip(channel).step_by(channels);
                out.push(level(weights.iter().zip(levels).map(|(&weight, &level)| weight * i32::from(level)).sum()));
            }
        }
    }
    out
}

/// `first` is the number of the first row of `pixels`.
fn vertical_pass(pixels: &[u8], row_len: usize, first: usize, weights: &Weights) -> Vec<u8> {
    let mut out = Vec::with_capacity(weights.bounds.len() * row_len);
    let mut sums = vec![0; row_len];
    for (begin, weights) in weights.iter() {
        sums.fill(0);
        let source = &pixels[(begin - first) * row_len..(begin - first + weights.len()) * row_len];
        for (&weight, row) in weights.iter().zip(source.chunks_exact(row_len)) {
            for (sum, &level) in sums.iter_mut().zip(row) {
                *sum += weight * i32::from(level);
            }
        }
        out.extend(sums.iter().map(|&sum| level(sum)));
    }
    out
}

/// A sum rounded to a level.
fn level(sum: i32) -> u8 {
    ((sum + (1 << (PRECISION_BITS - 1))) >> PRECISION_BITS).clamp(0, 255) as u8
}

/// The weights of one axis: for each pixel of the window, the source pixels that it is made of.
struct Weights {
    /// The first source pixel, and how many there are.
    bounds: Vec<(usize, usize)>,
    /// Their weights, one pixel of the window after the other.
    values: Vec<i32>,
}

impl Weights {
    fn new(source: usize, axis: Axis, filter: Filter) -> Self {
        let scale = source as f64 / axis.size as f64;
        let filter_scale = if scale < 1.0 { 1.0 } else { scale };
        let support = support(filter) * filter_scale;
        let inverse = 1.0 / filter_scale;
        let (mut bounds, mut values) = (Vec::with_capacity(axis.len), Vec::new());
        let mut exact = Vec::new();
        for index in axis.begin..axis.begin + axis.len {
            let center = (index as f64 + 0.5) * scale;
            // Conversions cut the fraction off, and make 0 of what is negative.
            let begin = (center - support + 0.5) as usize;
            let end = ((center + support + 0.5) as usize).min(source);
            exact.clear();
            exact.extend((begin..end).map(|pixel| value(filter, (pixel as f64 - center + 0.5) * inverse)));
            let sum: f64 = exact.iter().fold(0.0, |sum, weight| sum + weight);
            bounds.push((begin, exact.len()));
            values.extend(exact.iter().map(|&weight| {
                let weight = if sum == 0.0 { weight } else { weight / sum };
                let fixed = weight * f64::from(1u32 << PRECISION_BITS);
                (if weight < 0.0 { fixed - 0.5 } else { fixed + 0.5 }) as i32
            }));
        }
        Self { bounds, values }
    }

    /// The first source pixel and the weights of each pixel.
    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let mut rest = &self.values[..];
        self.bounds.iter().map(move |&(begin, len)| {
            let (weights, after) = rest.split_at(len);
            rest = after;
            (begin, weights)
        })
    }
}

/// How far a filter reaches, in pixels.
fn support(filter: Filter) -> f64 {
    match filter {
        Filter::Nearest => 0.5,
        Filter::Bilinear => 1.0,
        Filter::Bicubic => 2.0,
    }
}

/// The weight of a pixel at a distance.
fn value(filter: Filter, distance: f64) -> f64 {
    const A: f64 = -0.5;
    let x = if distance < 0.0 { -distance } else { distance };
    match filter {
        Filter::Nearest => 1.0,
        Filter::Bilinear if x < 1.0 => 1.0 - x,
        Filter::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        Filter::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        Filter::Bilinear | Filter::Bicubic => 0.0,
    }
}

fn nearest(pixels: &[u8], [height, width]: [usize; 2], channels: usize, rows: Axis, columns: Axis) -> Vec<u8> {
    let (rows, columns) = (nearest_sources(height, rows), nearest_sources(width, columns));
    let mut out = Vec::with_capacity(rows.len() * columns.len() * channels);
    for row in rows {
        let row = &pixels[row * width * channels..(row + 1) * width * channels];
        for &column in &columns {
            out.extend_from_slice(&row[column * channels..(column + 1) * channels]);
        }
    }
    out
}

/// The source pixel of each pixel of the window. Pillow adds up the places, so that they are rounded as a sum is.
fn nearest_sources(source: usize, axis: Axis) -> Vec<usize> {
    let scale = source as f64 / axis.size as f64;
    let mut place = scale * 0.5;
    let mut sources = Vec::with_capacity(axis.len);
    for index in 0..axis.begin + axis.len {
        if index >= axis.begin {
            sources.push((place as usize).min(source - 1));
        }
        place += scale;
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_centre_is_rounded_to_even() {
        let begin = |size, len| Axis::centre(size, len).begin;
        assert_eq!([224, 225, 226, 227, 228, 229].map(|size| begin(size, 224)), [0, 0, 1, 2, 2, 2]);
    }

    #[test]
    fn a_window_is_a_part_of_the_whole() {
        let pixels: Vec<u8> = (0..31 * 17 * 3).map(|index: u32| (index * index % 251) as u8).collect();
        for filter in [Filter::Nearest, Filter::Bilinear, Filter::Bicubic] {
            for (size, begin, len) in [(40, 3, 30), (9, 2, 5), (31, 4, 20), (31, 0, 31)] {
                let columns = Axis { size, begin, len };
                let all = resize(&pixels, [17, 31], 3, filter, Axis::whole(11), Axis::whole(size));
                let part = resize(&pixels, [17, 31], 3, filter, Axis { size: 11, begin: 5, len: 4 }, columns);
                let expected: Vec<u8> = (5..9)
                    .flat_map(|row| &all[(row * size + begin) * 3..(row * size + begin + len) * 3])
                    .copied()
                    .collect();
                assert_eq!(part, expected, "{filter:?} {columns:?}");
            }
        }
    }
}
