//! Inference kernels for the VGG family.
#![no_std]

extern crate alloc;
#[cfg(any(feature = "std", test))]
#[macro_use]
extern crate std;

mod aligned;
mod dispatch;
mod error;
#[cfg(feature = "std")]
mod files;
mod kernels;
mod math;
#[cfg(feature = "std")]
pub mod npy;
#[cfg(feature = "std")]
pub mod onnx;
pub mod ops;
pub mod reference;
mod shape;
pub mod simd;
#[cfg(feature = "source")]
pub mod source;
mod threads;
mod weights;
mod workspace;

#[cfg(feature = "std")]
pub use dispatch::ISA_VARIABLE;
pub use dispatch::{Isa, Program};
pub use error::Error;
pub use shape::{
    AveragePoolDims, BLOCK, Blocked, ConvDims, FlatReluDims, FlattenDims, GemmDims, Layer, LrnDims, MaxPoolDims, PANEL,
    PackDims, PoolWindow, ReluDims, SoftmaxDims,
};
pub use simd::Simd;
pub use threads::Threads;
#[cfg(feature = "std")]
pub use threads::{THREADS_VARIABLE, physical_cores};
#[cfg(feature = "std")]
pub use weights::read_file;
pub use weights::{PackedConv, PackedGemm, WeightsFile};
pub use workspace::{Arena, Scratch, Workspace};

#[cfg(feature = "macros")]
pub use vgg_macros::vgg;
