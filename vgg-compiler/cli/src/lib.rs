//! The session and the subcommands behind the `vgg` binary.
//!
//! Each subcommand is a module: its arguments, a function that does the work and can be called from any program
//! ([`export::export`], [`build::build`], [`run::run`], [`verify::verify`], [`bench::bench`]), and what the command prints.
//!
//! ```text
//! cli ─► list  show  export  build  run  verify  bench  weights   one file or folder a subcommand
//!          │     │     │       │      │     │      │
//!          └─────┴─────┴───┬───┴──────┴─────┼──────┘
//!   model  input  staging  progress         ort  compare    what they share
//!                          session  reference               a plan executed; the same in 64-bit arithmetic
//!   image  labels  lineage                                  what `--image` needs: pixels, names, how pixels become inputs
//!   error  console  table                                   what is said, and how
//! ```
//!
//! The only package that sees the compiler and the runtime together.
#![forbid(unsafe_code)]

pub mod bench;
pub mod build;
mod cli;
pub mod compare;
pub mod console;
pub mod error;
pub mod export;
pub mod image;
pub mod input;
pub mod labels;
mod lineage;
pub mod list;
mod mapped;
pub mod model;
pub mod ort;
pub mod progress;
pub mod reference;
pub mod run;
pub mod session;
pub mod show;
pub mod staging;
mod table;
pub mod verify;
pub mod weights;

pub use cli::main;
pub use error::{Error, Status};
pub use model::Model;
pub use progress::Progress;
