//! Weights: from the bytes of a file to the order in which the kernels read them.

mod affine;
mod conv;
mod file;
mod gemm;
mod grouped;
mod values;

#[cfg(feature = "std")]
use crate::Error;

pub use affine::PackedAffine;
pub use conv::PackedConv;
pub use file::{TensorPlace, WeightsFile};
pub use gemm::PackedGemm;
pub(crate) use gemm::Rows;
pub(crate) use grouped::GroupedWeights;
pub use grouped::PackedGroupedConv;

/// The whole content of a file.
///
/// # Errors
/// When it cannot be read; the error names the path.
#[cfg(feature = "std")]
pub fn read_file(path: &std::path::Path) -> Result<alloc::vec::Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Io { action: "read", path: path.into(), source })
}
