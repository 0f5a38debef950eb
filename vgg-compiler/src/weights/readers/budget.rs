//! How much memory a compressed file may ask for.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::Read;

use super::problem::Problem;

/// Bytes that files may unpack to, or refer to several times. Trained weights are nearly incompressible; zeros shrink a thousandfold, so that a small file
/// could ask for any amount of memory.
pub(super) struct Budget {
    left: u64,
}

impl Budget {
    /// For a file of `len` bytes: 64 MiB and 16 times its length.
    pub(super) fn new(len: usize) -> Self {
        Self { left: (64 << 20) + 16 * len as u64 }
    }

    /// Bytes that may still be asked for.
    pub(super) fn left(&self) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX)
    }

    /// Takes `bytes` off.
    pub(super) fn spend(&mut self, bytes: u64) -> Result<(), Problem> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(too_much()),
        }
    }

    /// All that `packed` unpacks to.
    pub(super) fn unpack(&mut self, packed: impl Read) -> Result<Vec<u8>, Problem> {
        let mut unpacked = Vec::new();
        packed
            .take(self.left.saturating_add(1))
            .read_to_end(&mut unpacked)
            .map_err(|error| Problem::from(format!("its compressed data is damaged: {error}")))?;
        self.spend(unpacked.len() as u64)?;
        Ok(unpacked)
    }
}

fn too_much() -> Problem {
    Problem::new(
        "what it unpacks to or repeats is more than 16 times the file's length",
        "weights do not shrink that much, so the file is not what it seems; write it anew without compression",
    )
}
