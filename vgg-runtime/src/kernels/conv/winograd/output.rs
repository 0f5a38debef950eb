//! The output transform: `A^T M A` of every tile, then bias, ReLU and max-pooling on the way to the output.
//!
//! A pool of 2x2 windows with stride 2 and without padding happens in registers, since tiles have even sizes. For any other pool the rows
//! go to a band in scratch memory first.

use super::tiles::{CLASSES, Chunk};
use super::transform::{Line, MAX_OUTPUTS, MAX_POINTS, Transform, line, with_transform};
use super::{Frequencies, Problem};
use crate::kernels::shared::Disjoint;
use crate::shape::{BLOCK, Blocked, PANEL};
use crate::simd::Simd;

/// Where the pixels of a tile go.
#[derive(Clone, Copy)]
struct Sink {
    /// The first pixel of the tile.
    start: *mut f32,
    /// Values from one row of pixels to the next.
    row_stride: usize,
    /// The first row that is wanted.
    first_row: usize,
    /// Rows and columns of the convolution that exist.
    rows: usize,
    columns: usize,
    /// Pixels to write in each row; with a pool, those behind it.
    written: usize,
    /// Rows to write; with a pool, those behind it.
    written_rows: usize,
}

impl Sink {
    /// Whether all `outputs` rows and columns of a tile exist and are wanted.
    #[inline(always)]
    fn is_whole<const POOL: bool>(&self, outputs: usize) -> bool {
        let written = if POOL { outputs / 2 } else { outputs };
        self.first_row == 0
            && self.rows == outputs
            && self.columns == outputs
            && self.written == written
            && self.written_rows == written
    }
}

/// What the pixels of one block of channels have in common.
#[derive(Clone, Copy)]
struct Channels<S: Simd> {
    bias: S::Vector,
    /// Channels that exist.
    lanes: usize,
}

impl<S: Simd> Problem<'_, S> {
    /// Transforms the products of some panels, the first of which is `first_panel`, straight into the output.
    ///
    /// # Safety
    /// - No other thread writes these panels of the tiles of `chunk`.
    pub(super) unsafe fn transform_output(
        &self,
        chunk: &Chunk,
        frequencies: &Frequencies,
        first_panel: usize,
        panels: usize,
        products: &[f32],
        output: &Disjoint<'_>,
    ) {
        self.check_products(frequencies, panels, products);
        let (simd, shape) = (self.simd, self.dims.output);
        let step = if self.pooled { 2 } else { 1 };
        simd.vectorize(
            #[inline(always)]
            || {
                let mut square = [[simd.splat(0.0); MAX_POINTS]; MAX_OUTPUTS];
                for panel in 0..panels {
                    let block = 2 * (first_panel + panel);
                    let halves = self.dims.panel_blocks(first_panel + panel);
                    each_tile(
                        chunk,
                        #[inline(always)]
                        |image, row, column| {
                            let offsets = self.offsets(chunk, frequencies, panel, [image, row, column]);
                            let (row, column) = (chunk.rows.first + row, chunk.columns.first + column);
                            let (y, x) = (self.rows.start(row) / step, self.columns.start(column) / step);
                            let (rows, columns) = (self.rows.valid(row), self.columns.valid(column));
                            let written_rows = rows.div_ceil(step).min(shape.height - y);
                            let written = columns.div_ceil(step).min(shape.width - x);
                            if written_rows == 0 || written == 0 {
                                return;
                            }
                            for half in 0..halves {
                                let plane = (chunk.image + image) * shape.len() + (block + half) * shape.plane_stride();
                                let start = plane + shape.origin() + y * shape.row_stride() + x * BLOCK;
                                let len = (written_rows - 1) * shape.row_stride() + written * BLOCK;
                                let sink = Sink {
                                    start: output.pointer(start..start + len),
                                    row_stride: shape.row_stride(),
                                    first_row: 0,
                                    rows,
                                    columns,
                                    written,
                                    written_rows,
                                };
                                for row in 0..written_rows {
                                    let next = sink.start.wrapping_add(row * sink.row_stride + written * BLOCK);
                                    for line in 0..MAX_OUTPUTS / 2 / step {
                                        simd.prefetch_write(next.wrapping_add(line * 2 * BLOCK));
                                    }
                                }
                                let channels = self.channels(block + half);
                                let products = products.as_ptr().wrapping_add(half * BLOCK);
                                let spans = [row, column];
                                // SAFETY: `check_products` covers the products of the tile, the sink the pixels, which are this thread's.
                                unsafe {
                                    if self.pooled {
                                        self.tile::<true>(
                                            spans,
                                            frequencies,
                                            offsets,
                                            products,
                                            channels,
                                            &mut square,
                                            sink,
                                        );
                                    } else {
                                        self.tile::<false>(
                                            spans,
                                            frequencies,
                                            offsets,
                                            products,
                                            channels,
                                            &mut square,
                                            sink,
                                        );
                                    }
                                }
                            }
                        },
                    );
                }
            },
        );
    }

    /// Transforms the products of panel `panel` of a chunk of one image into the rows `wanted` of the convolution, which `band` holds
    /// without gaps, first those of the panel's first block.
    pub(super) fn transform_band(
        &self,
        chunk: &Chunk,
        frequencies: &Frequencies,
        first_panel: usize,
        panel: usize,
        products: &[f32],
        wanted: core::ops::Range<usize>,
        band: &mut [f32],
    ) {
        self.check_products(frequencies, panel + 1, products);
        let simd = self.simd;
        let width = self.dims.conv_width();
        let halves = self.dims.panel_blocks(first_panel + panel);
        let half_len = wanted.len() * width * BLOCK;
        assert!(band.len() >= halves * half_len);
        let band = band.as_mut_ptr();
        simd.vectorize(
            #[inline(always)]
            || {
                let mut square = [[simd.splat(0.0); MAX_POINTS]; MAX_OUTPUTS];
                each_tile(
                    chunk,
                    #[inline(always)]
                    |image, row, column| {
                        let offsets = self.offsets(chunk, frequencies, panel, [image, row, column]);
                        let (row, column) = (chunk.rows.first + row, chunk.columns.first + column);
                        let (y, x) = (self.rows.start(row), self.columns.start(column));
                        let columns = self.columns.valid(column);
                        let rows = self.rows.valid(row).min(wanted.end.saturating_sub(y));
                        let first_row = wanted.start.saturating_sub(y);
                        if first_row >= rows {
                            return;
                        }
                        for half in 0..halves {
                            // The first row may lie before the band; only wanted rows are written.
                            let start = (half * half_len + x * BLOCK) as isize
                                + (y as isize - wanted.start as isize) * (width * BLOCK) as isize;
                            let sink = Sink {
                                start: band.wrapping_offset(start),
                                row_stride: width * BLOCK,
                                first_row,
                                rows,
                                columns,
                                written: columns,
                                written_rows: rows,
                            };
                            let channels = self.channels(2 * (first_panel + panel) + half);
                            let products = products.as_ptr().wrapping_add(half * BLOCK);
                            // SAFETY: `check_products` covers the products of the tile; the wanted rows and existing columns lie
                            // in the band.
                            unsafe {
                                self.tile::<false>(
                                    [row, column],
                                    frequencies,
                                    offsets,
                                    products,
                                    channels,
                                    &mut square,
                                    sink,
                                );
                            }
                        }
                    },
                );
            },
        );
    }

    fn check_products(&self, frequencies: &Frequencies, panels: usize, products: &[f32]) {
        assert!(products.len() >= self.points() * self.points() * frequencies.product_stride);
        assert!(frequencies.product_stride >= panels * frequencies.tiles * PANEL);
    }

    /// Offsets of a tile's products of panel `panel` in those of a frequency of each class.
    #[inline(always)]
    fn offsets(
        &self,
        chunk: &Chunk,
        frequencies: &Frequencies,
        panel: usize,
        [image, row, column]: [usize; 3],
    ) -> [usize; CLASSES] {
        chunk.places(image, row, column).map(|place| (panel * frequencies.tiles + place) * PANEL)
    }

    #[inline(always)]
    fn channels(&self, block: usize) -> Channels<S> {
        let bias: &[f32] = &self.bias[block * BLOCK..(block + 1) * BLOCK];
        // SAFETY: the slice holds 8 values.
        let bias = unsafe { self.simd.load(bias.as_ptr()) };
        Channels { bias, lanes: BLOCK.min(self.dims.output.channels - block * BLOCK) }
    }

    /// Transforms one tile of one block of channels.
    ///
    /// # Safety
    /// - `products` plus the offset of its class is valid for reads of 8 values for each frequency of the tile.
    /// - `sink.start` plus each wanted row that exists (or plus each row behind the pool) is valid for writes of `8 * sink.written` values.
    #[inline(always)]
    unsafe fn tile<const POOL: bool>(
        &self,
        [row, column]: [usize; 2],
        frequencies: &Frequencies,
        offsets: [usize; CLASSES],
        products: *const f32,
        channels: Channels<S>,
        square: &mut [Line<S, MAX_POINTS>; MAX_OUTPUTS],
        sink: Sink,
    ) {
        let simd = self.simd;
        let (rows, columns) = (self.rows.span(row), self.columns.span(column));
        if rows == columns && channels.lanes == BLOCK && sink.is_whole::<POOL>(rows.outputs()) {
            with_transform!(rows, T, N, M => {
                // SAFETY: passed on; the sink takes all rows and pixels.
                unsafe {
                    self.whole_tile::<POOL, T, N, M>(frequencies, offsets, products, channels.bias, square, sink);
                }
            });
            return;
        }
        with_transform!(rows, T, N, M => {
            // SAFETY: passed on.
            unsafe { self.tile_columns::<T, N, M>(columns.points(), frequencies, offsets, products, square) };
        });
        with_transform!(columns, T, N, M => {
            let mut above = [simd.splat(0.0); M];
            for (row, values) in square.iter().enumerate().take(sink.rows).skip(sink.first_row) {
                let m: Line<S, N> = line(simd, #[inline(always)] |column| values[column]);
                let mut y: Line<S, M> = T::output(simd, m);
                for y in &mut y {
                    *y = simd.add(*y, channels.bias);
                    if self.dims.relu {
                        *y = simd.relu(*y);
                    }
                    if channels.lanes < BLOCK {
                        let mut lanes = simd.lanes(*y);
                        lanes[channels.lanes..].fill(0.0);
                        *y = simd.vector(lanes);
                    }
                }
                if POOL {
                    // A window that reaches beyond the convolution takes its existing elements twice.
                    if sink.columns < M && sink.columns % 2 == 1 {
                        y[sink.columns] = y[sink.columns - 1];
                    }
                    if row % 2 == 0 {
                        above = y;
                        if row + 1 < sink.rows {
                            continue;
                        }
                    }
                    if row / 2 >= sink.written_rows {
                        continue;
                    }
                    // SAFETY: the row lies before `written_rows`, the pixels before `written`.
                    unsafe {
                        let target = sink.start.add(row / 2 * sink.row_stride);
                        for pixel in 0..M / 2 {
                            if pixel < sink.written {
                                let upper = simd.max(above[2 * pixel], above[2 * pixel + 1]);
                                let lower = simd.max(y[2 * pixel], y[2 * pixel + 1]);
                                simd.store(simd.max(upper, lower), target.add(pixel * BLOCK));
                            }
                        }
                    }
                } else {
                    // SAFETY: the row is wanted and exists, the pixels lie before `written`.
                    unsafe {
                        let target = sink.start.wrapping_add(row * sink.row_stride);
                        for pixel in 0..M {
                            if pixel < sink.written {
                                simd.store(y[pixel], target.add(pixel * BLOCK));
                            }
                        }
                    }
                }
            }
        });
    }

    /// Transforms the columns of a tile's products, at the points `points`, into those of `square`.
    ///
    /// # Safety
    /// - `products` plus the offset of its class is valid for reads of 8 values for each frequency of the tile.
    #[inline(always)]
    unsafe fn tile_columns<T: Transform<N, M>, const N: usize, const M: usize>(
        &self,
        points: &[usize],
        frequencies: &Frequencies,
        offsets: [usize; CLASSES],
        products: *const f32,
        square: &mut [Line<S, MAX_POINTS>; MAX_OUTPUTS],
    ) {
        let simd = self.simd;
        let places = frequencies.places(T::PLACES, self.points() * frequencies.product_stride, offsets);
        for (index, &column) in points.iter().enumerate() {
            let products = products.wrapping_add(column * frequencies.product_stride);
            let places = &places[frequencies.column_present[column]];
            let m: Line<S, N> = line(
                simd,
                #[inline(always)]
                // SAFETY: the tile has this frequency.
                |row| unsafe { simd.load(products.add(places[row])) },
            );
            for (values, y) in square.iter_mut().zip(T::output(simd, m)) {
                // The index is below 8 anyway.
                values[index % MAX_POINTS] = y;
            }
        }
    }

    /// Transforms one tile of which all outputs exist and are wanted.
    ///
    /// # Safety
    /// - As for [`Problem::tile`].
    #[inline(always)]
    unsafe fn whole_tile<const POOL: bool, T: Transform<N, M>, const N: usize, const M: usize>(
        &self,
        frequencies: &Frequencies,
        offsets: [usize; CLASSES],
        products: *const f32,
        bias: S::Vector,
        square: &mut [Line<S, MAX_POINTS>; MAX_OUTPUTS],
        sink: Sink,
    ) {
        let simd = self.simd;
        // SAFETY: passed on.
        unsafe { self.tile_columns::<T, N, M>(&T::PLACES, frequencies, offsets, products, square) };
        let mut above = [simd.splat(0.0); M];
        for (row, values) in square.iter().enumerate().take(M) {
            let m: Line<S, N> = line(
                simd,
                #[inline(always)]
                |column| values[column],
            );
            let y: Line<S, M> = T::output(simd, m);
            if POOL && row % 2 == 0 {
                above = y;
                continue;
            }
            let target = sink.start.wrapping_add(if POOL { row / 2 } else { row } * sink.row_stride);
            for pixel in 0..if POOL { M / 2 } else { M } {
                // Adding the bias and ReLU keep the order of numbers, so the maximum comes before them.
                let y = if POOL {
                    let upper = simd.max(above[2 * pixel], above[2 * pixel + 1]);
                    simd.max(upper, simd.max(y[2 * pixel], y[2 * pixel + 1]))
                } else {
                    y[pixel]
                };
                let y = simd.add(y, bias);
                let y = if self.dims.relu { simd.relu(y) } else { y };
                // SAFETY: all rows and pixels of the tile are written.
                unsafe { simd.store(y, target.add(pixel * BLOCK)) };
            }
        }
    }

    /// Zeroes the halo beside the pixels of the tiles of `chunk` in some panels, the first of which is `first_panel`. The corners and the
    /// rows above and below belong to the first and last tiles.
    ///
    /// # Safety
    /// - No other thread writes these panels of the tiles of `chunk`.
    pub(super) unsafe fn clear_halo(&self, chunk: &Chunk, first_panel: usize, panels: usize, output: &Disjoint<'_>) {
        let shape: Blocked = self.dims.output;
        if shape.is_dense() {
            return;
        }
        let step = if self.pooled { 2 } else { 1 };
        let [top, left, _, _] = shape.halo;
        // The rows and columns of pixels, counted with the halo, that belong to the chunk.
        let own = |axis: super::Axis, part: super::tiles::AxisPart, before: usize, extent: usize, padded: usize| {
            let (first, end) = (part.first, part.first + part.len);
            let start = if first == 0 { 0 } else { before + (axis.start(first) / step).min(extent) };
            let end = if end == axis.len() { padded } else { before + (axis.start(end) / step).min(extent) };
            start..end
        };
        let rows = own(self.rows, chunk.rows, top, shape.height, shape.padded_height());
        let columns = own(self.columns, chunk.columns, left, shape.width, shape.padded_width());
        let image = [left.clamp(columns.start, columns.end), (left + shape.width).clamp(columns.start, columns.end)];
        let blocks = 2 * first_panel..shape.blocks().min(2 * (first_panel + panels));
        for plane in chunk.image..chunk.image + chunk.images {
            for block in blocks.clone() {
                let plane = plane * shape.len() + block * shape.plane_stride();
                for row in rows.clone() {
                    let clear = |columns: core::ops::Range<usize>| {
                        let row = plane + row * shape.row_stride();
                        // SAFETY: the pixels belong to this chunk, and this thread holds no other part of the output now.
                        unsafe { output.part(row + columns.start * BLOCK..row + columns.end * BLOCK) }.fill(0.0);
                    };
                    if (top..top + shape.height).contains(&row) {
                        clear(columns.start..image[0]);
                        clear(image[1]..columns.end);
                    } else {
                        clear(columns.clone());
                    }
                }
            }
        }
    }
}

/// Calls `body` with the image, the row and the column of every tile, counted in the chunk.
#[inline(always)]
fn each_tile(chunk: &Chunk, mut body: impl FnMut(usize, usize, usize)) {
    for image in 0..chunk.images {
        for row in 0..chunk.rows.len {
            for column in 0..chunk.columns.len {
                body(image, row, column);
            }
        }
    }
}
