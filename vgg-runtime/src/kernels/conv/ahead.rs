//! Asking for weights before they are read.

use core::ops::Range;

/// Which part of the next weights a register tile asks for, while it computes: they are cut into eight streams, which the tiles that read
/// the current ones share out. Hardware follows a stream only within a page, and weights are read too fast for one request at a time.
pub(super) struct Ahead {
    /// Tiles that read the current weights.
    total: usize,
    /// The tile that comes next.
    tile: usize,
}

impl Ahead {
    const STREAMS: usize = 8;

    pub(super) fn new(total: usize) -> Self {
        Self { total, tile: 0 }
    }

    /// The streams of the next tile.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Range<usize> {
        let [start, end] = [self.tile, self.tile + 1].map(|tile| (tile * Self::STREAMS).div_ceil(self.total));
        self.tile += 1;
        start..end
    }
}
