//! How the output of a convolution is cut into tiles, and tiles into chunks that are computed together.

use core::ops::Range;

use super::transform::{MAX_POINTS, Span};

/// The tiles along one axis: whole ones, then perhaps one narrower tile for what remains.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// The span of a whole tile.
    pub(super) whole: Span,
    /// Outputs along the axis.
    pub(super) outputs: usize,
}

impl Axis {
    /// Tiles.
    pub(super) const fn len(self) -> usize {
        self.outputs.div_ceil(self.whole.outputs())
    }

    /// The span of tile `index`.
    pub(super) const fn span(self, index: usize) -> Span {
        let rest = self.outputs - index * self.whole.outputs();
        if rest < self.whole.outputs() { self.whole.tail(rest) } else { self.whole }
    }

    /// The first output of tile `index`.
    pub(super) const fn start(self, index: usize) -> usize {
        index * self.whole.outputs()
    }

    /// Outputs of tile `index` that exist.
    pub(super) fn valid(self, index: usize) -> usize {
        (self.outputs - self.start(index)).min(self.whole.outputs())
    }

    /// The tiles `tiles` of the axis.
    pub(super) fn part(self, tiles: Range<usize>) -> AxisPart {
        let last = self.span(tiles.end - 1);
        let narrow = last != self.whole;
        let mut present = [true; MAX_POINTS];
        if narrow {
            present = [false; MAX_POINTS];
            last.points().iter().for_each(|&point| present[point] = true);
        }
        AxisPart { first: tiles.start, len: tiles.len(), narrow, present }
    }
}

/// Some tiles of an axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct AxisPart {
    /// The first.
    pub(super) first: usize,
    /// How many.
    pub(super) len: usize,
    /// Whether the last tile is narrower than the others.
    narrow: bool,
    /// For each point of the whole span, whether the last tile has it, too.
    pub(super) present: [bool; MAX_POINTS],
}

impl AxisPart {
    /// Tiles that have the point `point`.
    fn at(&self, point: usize) -> usize {
        self.len - usize::from(self.narrow && !self.present[point])
    }
}

/// The kinds of frequencies of a chunk: whether the tiles of the last row and those of the last column take part.
pub(super) const CLASSES: usize = 4;

/// Tiles that are computed together: a rectangle of some images.
///
/// A frequency is a pair of points. For each frequency there is a matrix product of transformed weights with a row for every tile
/// that has this frequency: all tiles of the chunk, but for narrower tiles at the edge of the image, which lack some. The rows of a
/// frequency are ordered by image, row and column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    /// The first image.
    pub(super) image: usize,
    /// Images.
    pub(super) images: usize,
    /// Rows of tiles.
    pub(super) rows: AxisPart,
    /// Columns of tiles.
    pub(super) columns: AxisPart,
}

impl Chunk {
    /// The class of the frequency at the points `row` and `column`.
    pub(super) fn class(&self, row: usize, column: usize) -> usize {
        2 * usize::from(self.rows.present[row]) + usize::from(self.columns.present[column])
    }

    /// Rows and columns of tiles that have the frequencies of a class.
    fn extents(&self, class: usize) -> [usize; 2] {
        [
            self.rows.len - usize::from(self.rows.narrow && class & 2 == 0),
            self.columns.len - usize::from(self.columns.narrow && class & 1 == 0),
        ]
    }

    /// Tiles of one image that have the frequencies of a class.
    fn image_tiles(&self, class: usize) -> usize {
        let [rows, columns] = self.extents(class);
        rows * columns
    }

    /// Tiles that have the frequency at the points `row` and `column`.
    pub(super) fn tiles_at(&self, row: usize, column: usize) -> usize {
        self.images * self.rows.at(row) * self.columns.at(column)
    }

    /// Tiles.
    pub(super) const fn tiles(&self) -> usize {
        self.images * self.rows.len * self.columns.len
    }

    /// The row in the matrices of each class of the tile at `row` and `column` (counted in the chunk) of image `image`. It means nothing
    /// for classes whose frequencies the tile lacks.
    pub(super) fn places(&self, image: usize, row: usize, column: usize) -> [usize; CLASSES] {
        core::array::from_fn(|class| image * self.image_tiles(class) + row * self.extents(class)[1] + column)
    }
}

/// The rows of a matrix, cut into register tiles that are as large and as equal as possible: first `larger` ones of `size + 1` rows,
/// then some of `size`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Groups {
    pub(super) size: usize,
    pub(super) larger: usize,
    pub(super) count: usize,
}

impl Groups {
    /// Cuts `rows` rows into groups of at most `largest`.
    #[inline(always)]
    pub(super) fn new(rows: usize, largest: usize) -> Self {
        let count = rows.div_ceil(largest);
        Self { size: (rows / count.max(1)).max(1), larger: rows % count.max(1), count }
    }

    /// The first row and the size of the group of `row`, which must exist.
    #[inline(always)]
    pub(super) fn of(self, row: usize) -> [usize; 2] {
        let large = self.size + 1;
        if row < self.larger * large {
            [row / large * large, large]
        } else {
            let rest = row - self.larger * large;
            [row - rest % self.size, self.size]
        }
    }
}
