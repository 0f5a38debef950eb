//! Inference kernels for the VGG family: convolution with ReLU and max-pooling fused into it, pooling, local response normalisation,
//! fully connected layers, softmax. No dependencies; without the feature `std` only `core` and `alloc` are used.
//!
//! # How a network uses it
//!
//! Code that was generated for a network declares its layers as constants, packs its weights once, and runs the operations of [`ops`] in
//! a [`Program`], which is generic over the vector instructions. All of it is safe code.
//!
//! ```
//! #![forbid(unsafe_code)]
//! use vgg_runtime::*;
//!
//! // 3 x 4 x 4 -> conv3-8, ReLU, 2x2 max-pool -> fc-10 -> softmax
//! const IMAGE: Blocked = Blocked { channels: 3, height: 4, width: 4, block: 1, halo: [1; 4] };
//! const POOL1: Blocked = Blocked { channels: 8, height: 2, width: 2, block: 8, halo: [0; 4] };
//!
//! layer! {
//!     Input: PackDims = PackDims { output: IMAGE, batch: 1 };
//!     Conv1: ConvDims = ConvDims {
//!         input: IMAGE,
//!         output: POOL1,
//!         kernel: [3, 3],
//!         strides: [1, 1],
//!         pads: [1; 4],
//!         relu: true,
//!         pool: Some(PoolWindow { kernel: [2, 2], strides: [2, 2], pads: [0; 4], ceil_mode: false }),
//!         algorithm: Algorithm::Direct,
//!         batch: 1,
//!     };
//!     Flat: FlattenDims = FlattenDims { input: POOL1, batch: 1 };
//!     Fc2: GemmDims = GemmDims { in_features: 32, out_features: 10, relu: false, batch: 1 };
//!     Prob: SoftmaxDims = SoftmaxDims { features: 10, batch: 1 };
//! }
//!
//! struct Net {
//!     conv1: PackedConv,
//!     fc2: PackedGemm,
//! }
//!
//! impl Net {
//!     // Values of the largest activations that are alive at the same time, and of a thread's own memory.
//!     const ARENA: usize = 160;
//!     const SCRATCH: usize = ops::conv_scratch_len(Conv1::DIMS);
//!
//!     fn infer(&self, workspace: &mut Workspace, input: &[f32; 48], output: &mut [f32; 10]) {
//!         workspace.isa().run(Forward { net: self, workspace, input, output });
//!     }
//! }
//!
//! struct Forward<'a> {
//!     net: &'a Net,
//!     workspace: &'a mut Workspace,
//!     input: &'a [f32],
//!     output: &'a mut [f32],
//! }
//!
//! impl Program for Forward<'_> {
//!     type Output = ();
//!
//!     fn run<S: Simd>(self, simd: S) {
//!         let (threads, arena, scratch) = self.workspace.parts();
//!         ops::pack(simd, threads, Input, self.input, arena.get_mut(0..108));
//!         let (x, y) = arena.pair(0..108, 112..144);
//!         ops::conv(simd, threads, Conv1, x, &self.net.conv1, y, scratch);
//!         let (x, y) = arena.pair(112..144, 0..32);
//!         ops::flatten(simd, threads, Flat, x, y);
//!         let (x, y) = arena.pair(0..32, 32..42);
//!         ops::gemm(simd, threads, Fc2, x, &self.net.fc2, y);
//!         ops::softmax(simd, threads, Prob, arena.get(32..42), self.output);
//!     }
//! }
//!
//! # fn main() -> Result<(), Error> {
//! let ones = |count: usize| 1.0f32.to_le_bytes().repeat(count);
//! let net = Net {
//!     conv1: PackedConv::pack(Conv1::DIMS, &ones(8 * 3 * 9), &ones(8)).map_err(|e| e.in_layer("conv1"))?,
//!     fc2: PackedGemm::pack(Fc2::DIMS, &ones(10 * 32), &ones(10)).map_err(|e| e.in_layer("fc2"))?,
//! };
//! let mut workspace = Workspace::new(Net::ARENA, Net::SCRATCH, Threads::from_env()?, Isa::detect()?);
//! let mut output = [0.0; 10];
//! net.infer(&mut workspace, &[0.5; 48], &mut output);
//! assert_eq!(output, [0.1; 10]);
//! # Ok(())
//! # }
//! ```
//!
//! A program that learns its network at run time passes the dimensions where this one passes a layer's type: see [`Layer`].
//!
//! # Layouts
//!
//! - *Blocked* ([`Blocked`]): `[batch][channels / block][top + height + bottom][left + width + right][block]` f32 with a block of 8 (or 1:
//!   planar, for the input of a network when it has few channels). Channels are filled up to whole blocks. The rows and columns around the
//!   image are the *halo*, as wide as the padding of the convolution that reads the buffer. Halo and filling channels hold 0.0; every
//!   operation writes those of its output and relies on those of its input.
//! - *Flat*: `[batch][features]`, in `CHW` order where the features were an image.
//! - Weights of a convolution are panels of 16 output channels ([`PackedConv`]); those of a fully connected layer stay `[out][in]`
//!   ([`PackedGemm`]).
//!
//! # Vector instructions
//!
//! The algorithms are written once, over the trait [`Simd`]. An [`Isa`] is one of the tiers that this machine has; [`Isa::run`] turns it
//! into a token, once per inference. There are `portable` (plain Rust), `avx2` (with FMA and F16C) and `avx512`.
//!
//! # The first two inferences
//!
//! Where the transformed weights of a convolution ([`PackedConv::share`]) take much memory, the first inference transforms them as it goes
//! and the second, which takes about as long as packing them, keeps them. So a program that computes once has its result earlier.
//!
//! # Threads and reproducibility
//!
//! The [`Threads`] share pieces of work: each has a part of its own, then takes over what others have not begun. The additions of one
//! output value have an order that depends on the layer alone, so results have the same bits for any number of threads, and for an image
//! alone or in a batch. Tiers differ in rounding: all but `portable` round a multiply-add once.
//!
//! # Special values
//!
//! - ReLU is `if 0.0 > x { 0.0 } else { x }`: NaN and -0.0 pass through. NaN passes through every other [`Activation`] as well.
//! - The maximum of a window that holds NaN is NaN, wherever it stands. Padding is never part of a maximum.
//! - Weights must be finite ([`Error::NotFinite`]), so that the zeroes of a halo add nothing. Those of fully connected layers, which see
//!   no halo, are not looked at by [`PackedGemm::share`].
//! - Denormals are computed with, and the floating-point environment is left as it is.
//!
//! # Environment
//!
//! - `VGG_NUM_THREADS`: threads of [`Threads::from_env`], instead of one for each physical core.
//! - `VGG_ISA`: the tier of [`Isa::detect`], `portable`, `avx2` or `avx512`, instead of the widest.
//!
//! # Features
//!
//! - `std` (default): threads, files and run-time detection of the instruction set.
//! - `mmap` (default): weights files are mapped into memory on 64-bit unix instead of being read: see [`FileBytes`].
//! - `macros`: the `vgg!` macro.
//! - `source`: the text of this crate, from which standalone crates get a copy.
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
mod finite;
mod kernels;
#[cfg(feature = "std")]
mod later;
mod math;
mod memory;
#[cfg(feature = "std")]
pub mod npy;
#[cfg(feature = "std")]
pub mod onnx;
pub mod ops;
pub mod preprocess;
#[cfg(feature = "std")]
pub mod probe;
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
pub use memory::SharedBytes;
#[cfg(feature = "std")]
pub use memory::{FileBytes, FilePart};
pub use shape::{
    Activation, ActivationDims, AffineDims, Algorithm, AveragePoolDims, BLOCK, Blocked, Combination, CombineDims,
    ConcatDims, ConvDims, FlattenDims, GemmDims, GroupedAlgorithm, GroupedConvDims, Layer, LrnDims, MaxPoolDims, PANEL,
    PackDims, PoolWindow, SoftmaxDims,
};
pub use simd::{Bf16, Element, F16, Float, Int8, Simd};
pub use threads::Threads;
#[cfg(feature = "std")]
pub use threads::{THREADS_VARIABLE, physical_cores};
#[cfg(feature = "std")]
pub use weights::read_file;
pub use weights::{PackedAffine, PackedConv, PackedGemm, PackedGroupedConv, TensorPlace, WeightsFile};
pub use workspace::{Arena, Scratch, Workspace};

#[cfg(feature = "macros")]
pub use vgg_macros::vgg;
