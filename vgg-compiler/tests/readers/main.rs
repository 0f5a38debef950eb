//! Weight files of other programs: converted tensor by tensor, and refused when they are damaged or hostile.
//!
//! `tests/fixtures/make.py` writes the files with the programs that people have them from. All hold one small network, whose numbers are
//! a formula.

mod converted;
mod damaged;
mod lineage;
mod pickles;
mod support;
