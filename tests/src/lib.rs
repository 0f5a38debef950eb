//! Support of the conformance tests.
//!
//! - [`cases`]: the networks on which everything is compared, and [`random`], which some of them are made of;
//! - [`graphs`]: networks of operators that the language of declarations has no words for;
//! - [`backends`]: every way to run one; [`conform`]: what must hold between their results;
//! - [`published`]: the nine networks written down a second time, as an oracle of their declarations;
//! - [`imported`]: networks of ONNX files that others wrote;
//! - [`onnx`]: changes to an ONNX file that make every intermediate activation visible;
//! - [`compare`]: how far two results may be apart, and reports of where they are;
//! - [`golden`]: files that hold what came out before;
//! - [`generated`]: generated crates, built and run;
//! - [`python`]: `onnx.checker` and other Python programs.
//!
//! ONNX Runtime, the judge of every exported file, is loaded by [`vgg_cli::ort`].
//!
//! `cargo xtask test` fetches what these need and tells the tests through the environment: `ORT_DYLIB_PATH`, `VGG_TEST_PYTHON` and
//! `PYTHONPATH`. A test that needs one and does not find it fails; none is skipped.
#![forbid(unsafe_code)]

pub mod backends;
pub mod cases;
pub mod compare;
pub mod conform;
pub mod generated;
pub mod golden;
pub mod graphs;
pub mod imported;
pub mod onnx;
pub mod published;
pub mod python;
pub mod random;
