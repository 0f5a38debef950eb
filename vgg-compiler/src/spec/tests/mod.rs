//! Tests of the notation: the variants against published figures, broken declarations, the printer, mutated texts.

mod broken;
mod mutated;
mod names;
mod print;
mod random;
mod shape;
mod variants;

use super::ModelSpec;
use super::parse::parse_file;

/// The declaration in `text`, which must be right.
fn parsed(text: &str) -> ModelSpec {
    parse_file("test.vgg", text).unwrap_or_else(|errors| panic!("refused:\n{text}\n{errors}"))
}
