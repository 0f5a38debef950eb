//! Which tiles are computed together, so that matrices and products stay in the caches.

use core::ops::Range;

use super::tiles::{Axis, Chunk};
use super::{block_panels, depth, whole};
use crate::shape::{BLOCK, ConvDims, PANEL, PoolWindow};
use crate::threads::partition;

/// Transformed weights that are read again for every chunk, at most; larger ones are read once for a chunk that all threads share.
const RESIDENT_WEIGHTS: usize = 6 * MB;

/// Transformed tiles of a chunk of one thread, at most.
const OWN_TILES: usize = 320 * KB;

/// The same with a band: the rows of tiles at its borders are computed twice, so that many rows are worth the way to farther caches.
const BAND_TILES: usize = 1300 * KB;

/// Transformed tiles of a chunk that all threads share, at most.
const SHARED_TILES: usize = 3400 * KB;

/// Values in so many bytes.
const KB: usize = 1024 / size_of::<f32>();
const MB: usize = 1024 * KB;

/// The distance of two matrices of `len` values: an odd number of cache lines, so that the same row of many matrices does not fall into
/// one set of a cache.
pub(super) const fn stride(len: usize) -> usize {
    const LINE: usize = 16;
    let lines = len.div_ceil(LINE);
    (lines + (lines + 1) % 2) * LINE
}

/// How the tiles of a convolution are cut into chunks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocking {
    /// Images of a chunk, at most.
    images: usize,
    /// Rows and columns of tiles of a chunk, at most.
    rows: usize,
    columns: usize,
    /// Whether all threads work on the same chunk.
    pub(super) shared: bool,
    /// Whether the rows of the convolution wait in a band for the pool.
    pub(super) band: bool,
    /// Rows behind the pool of a chunk with a band, at most.
    outputs: usize,
    /// Values of the transformed tiles of a chunk.
    pub(super) matrices_len: usize,
    /// Values of the products and the band of a thread.
    pub(super) own_len: usize,
}

/// Whether the pool is part of the output transform: its windows do not overlap, are 2x2 and start with the tiles.
const fn is_aligned(window: PoolWindow) -> bool {
    let ([height, width], [down, right], [top, left, ..]) = (window.kernel, window.strides, window.pads);
    height == 2 && width == 2 && down == 2 && right == 2 && top == 0 && left == 0
}

impl Blocking {
    pub(super) const fn of(dims: ConvDims) -> Self {
        let span = whole(dims);
        let (size, points) = (span.outputs(), span.points().len());
        let rows = Axis { whole: span, outputs: dims.conv_height() }.len();
        let columns = Axis { whole: span, outputs: dims.conv_width() }.len();
        let tile = points * points * depth(dims) * BLOCK;
        let shared = tile * dims.panels() * PANEL > RESIDENT_WEIGHTS;
        let band = match dims.pool {
            Some(window) => !is_aligned(window),
            None => false,
        };

        let most = if shared {
            SHARED_TILES
        } else if band {
            BAND_TILES
        } else {
            OWN_TILES
        };
        let room = most / tile;
        let mut chunk = if room >= rows * columns {
            let images = room / (rows * columns);
            [if images < dims.batch { images } else { dims.batch }, rows, columns]
        } else if room >= columns || band {
            [1, if room > columns { room / columns } else { 1 }, columns]
        } else {
            [1, 1, if room > 1 { room } else { 1 }]
        };
        let mut outputs = dims.output.height;
        let mut band_len = 0;
        if band && let Some(window) = dims.pool {
            chunk[0] = 1;
            if chunk[1] < rows {
                // However the rows of a band fall on the tiles, they touch no more rows of tiles than this.
                let (kernel, stride) = (window.kernel[0], window.strides[0]);
                let reach = chunk[1] * size - (size - 1);
                outputs = if reach > kernel { (reach - kernel) / stride + 1 } else { 1 };
                let needed = ((outputs - 1) * stride + kernel + size - 1).div_ceil(size);
                chunk[1] = if needed < rows { needed } else { rows };
            }
            let height = chunk[1] * size;
            let height = if height < dims.conv_height() { height } else { dims.conv_height() };
            band_len = PANEL * height * dims.conv_width();
        }
        let [images, rows, columns] = chunk;
        let tiles = if images > 0 { images * rows * columns } else { rows * columns };
        Self {
            images: if images > 0 { images } else { 1 },
            rows,
            columns,
            shared,
            band,
            outputs,
            matrices_len: points * points * stride(tiles * depth(dims) * BLOCK),
            own_len: points * points * stride(tiles * block_panels(dims) * PANEL) + band_len,
        }
    }

    /// The chunks of `dims`, for so many threads.
    pub(super) fn works(self, dims: ConvDims, rows: Axis, columns: Axis, threads: usize) -> Works {
        // What the rows of chunks are cut from, and how much of it a chunk takes.
        let (extent, most) = if self.band { (dims.output.height, self.outputs) } else { (rows.len(), self.rows) };
        let column_chunks = columns.len().div_ceil(self.columns);
        let (mut image_chunks, least) = (dims.batch.div_ceil(self.images), extent.div_ceil(most));
        let mut row_chunks = least;
        if !self.shared {
            image_chunks = dims.batch.min(image_chunks.max(threads));
            // The fewest for which no more than a tenth of the threads' time is idle.
            let idle = |rows: usize| {
                let works = rows * image_chunks * column_chunks;
                let slots = works.div_ceil(threads) * threads;
                (slots - works) * 10 <= slots
            };
            let limit = extent.min(least + threads);
            row_chunks = (least..=limit).find(|&rows| idle(rows)).unwrap_or(limit);
        }
        Works { dims, rows, columns, band: self.band, image_chunks, row_chunks, column_chunks, extent }
    }
}

/// Values of scratch memory for each thread.
pub(crate) const fn scratch_len(dims: ConvDims) -> usize {
    let blocking = Blocking::of(dims);
    blocking.matrices_len + blocking.own_len + if can_wait(dims) { block_len(dims) } else { 0 }
}

/// Whether an inference may transform the weights as it goes, block by block: large ones, which are read once for a chunk of tiles.
pub(crate) const fn can_wait(dims: ConvDims) -> bool {
    dims.algorithm.is_winograd() && Blocking::of(dims).shared
}

/// Values of the transformed weights of a block of panels.
pub(super) const fn block_len(dims: ConvDims) -> usize {
    let points = whole(dims).points().len();
    block_panels(dims) * points * points * depth(dims) * BLOCK * PANEL
}

/// The chunks of a convolution.
pub(super) struct Works {
    dims: ConvDims,
    rows: Axis,
    columns: Axis,
    band: bool,
    image_chunks: usize,
    row_chunks: usize,
    column_chunks: usize,
    /// Rows of tiles, or with a band rows behind the pool.
    extent: usize,
}

/// A chunk and, with a band, what it is good for.
pub(super) struct Work {
    pub(super) chunk: Chunk,
    /// Rows behind the pool.
    pub(super) outputs: Option<Range<usize>>,
    /// The rows of the convolution that they need.
    pub(super) conv_rows: Range<usize>,
}

impl Works {
    pub(super) fn len(&self) -> usize {
        self.image_chunks * self.row_chunks * self.column_chunks
    }

    pub(super) fn get(&self, index: usize) -> Work {
        let (rest, column) = (index / self.column_chunks, index % self.column_chunks);
        let (image, row) = (rest / self.row_chunks, rest % self.row_chunks);
        let images = partition(self.dims.batch, self.image_chunks, image);
        let columns = self.columns.part(partition(self.columns.len(), self.column_chunks, column));
        let part = partition(self.extent, self.row_chunks, row);
        let (rows, outputs, conv_rows) = match self.dims.pool {
            Some(window) if self.band => {
                let height = self.dims.conv_height();
                let (start, _) = window.span(0, part.start, height);
                let (_, end) = window.span(0, part.end - 1, height);
                let size = self.rows.whole.outputs();
                (start / size..end.div_ceil(size), Some(part), start..end)
            }
            _ => (part, None, 0..0),
        };
        let rows = self.rows.part(rows);
        Work { chunk: Chunk { image: images.start, images: images.len(), rows, columns }, outputs, conv_rows }
    }
}
