//! From a plan to Rust: the files of a standalone crate, or the same module in place for the macro.
//!
//! Identifiers are made of what a step computes and of its number; the names of the network and of its layers live in one
//! table, as literals. The output depends on the network alone: no time, host or path enters it.

mod expand;
mod format;
mod model;
mod names;
mod package;
mod preprocess;
mod step;

pub(crate) use expand::in_place;
pub(crate) use format::source_text;
pub use model::Network;
pub use package::{
    EXPECTED_FILE, INPUT_FILE, MARKER, ONNX_FILE, PackageOptions, RuntimeSource, SourceFile, WEIGHTS_FILE, package,
};

use proc_macro2::{Ident, Span};

/// Why a crate cannot be emitted.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    /// The crate's name would not be one.
    #[error(
        "`{name}` cannot be the name of a crate; use a lower-case letter, then up to 63 lower-case letters, digits or `_`, \
         and no word that Rust reserves"
    )]
    CrateName {
        /// The name that was asked for.
        name: String,
    },
    /// The emitter produced something that is not Rust. This is a defect of the compiler.
    #[error("the generated code is not valid Rust: {0}; this is a defect of vgg, please report it")]
    Syntax(#[from] syn::Error),
}

/// Crates that a generated one must not be confused with.
const TAKEN: &[&str] = &["std", "core", "alloc", "test", "proc_macro", "vgg_runtime"];

/// Whether `name` can be the name of a generated crate.
pub fn is_crate_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|first| first.is_ascii_lowercase())
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && name.len() <= 64
        && !TAKEN.contains(&name)
        && safe_ident(name).is_some()
}

/// `name` as an identifier, when it is one that Rust does not reserve. The only way from a model's name to an identifier.
pub(crate) fn safe_ident(name: &str) -> Option<Ident> {
    let ascii = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (ascii && syn::parse_str::<Ident>(name).is_ok()).then(|| Ident::new(name, Span::call_site()))
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod name_tests {
    use super::*;

    #[test]
    fn only_names_that_cargo_and_rust_take_become_crates() {
        for good in ["vgg16", "vgg_a_lrn", "a", &"a".repeat(64)] {
            assert!(is_crate_name(good), "{good}");
        }
        for bad in
            ["", "16vgg", "Vgg", "vgg-16", "fn", "std", "vgg_runtime", "x\"\n[dependencies]", "é", &"a".repeat(65)]
        {
            assert!(!is_crate_name(bad), "{bad}");
        }
    }
}
