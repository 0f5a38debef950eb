//! Text of `.vgg` files.

use proc_macro2::{Span, TokenStream};
use syn::parse::ParseStream;
use syn::{Ident, Token};

use super::super::ModelSpec;
use super::super::check;
use super::super::diagnostic::{Diagnostic, Diagnostics, FileErrors};
use super::{Context, Parsed, braces, checked, found, models, only_model, read, skip_while};

/// Longest text, in bytes. The largest network that fits the limits is far shorter.
pub const MAX_TEXT: usize = 1 << 20;

/// Reads and checks a `.vgg` file: one declaration, bare or inside `vgg! { .. }`. `file` is its name in messages.
///
/// # Errors
///
/// Every mistake that was found, each with its line and column. No text makes it panic.
pub fn parse_file(file: &str, text: &str) -> Result<ModelSpec, FileErrors> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let result = read(tokens(file, text)?, bare_or_wrapped).and_then(|(parsed, errors)| checked(parsed, errors));
    result.map_err(|errors| errors.locate(file, text))
}

/// Reads a file of any number of declarations, such as the built-in one, and checks each.
///
/// # Errors
///
/// Every mistake that was found, each with its line and column.
pub fn parse_models(file: &str, text: &str) -> Result<Vec<ModelSpec>, FileErrors> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let tokens = tokens(file, text)?;
    let checked = || -> Result<Vec<ModelSpec>, Diagnostics> {
        let (parsed, mut errors) = read(tokens, models)?;
        let specs: Vec<_> = parsed.into_iter().map(|parsed| parsed.spec).collect();
        if errors.is_empty() {
            specs.iter().for_each(|spec| errors.append(check::check(spec)));
        }
        errors.into_result(specs)
    };
    checked().map_err(|errors| errors.locate(file, text))
}

/// The tokens of a text of bearable length.
fn tokens(file: &str, text: &str) -> Result<TokenStream, FileErrors> {
    let error = if text.len() > MAX_TEXT {
        let message = format!("the file has {} bytes, expected at most {MAX_TEXT}", text.len());
        Diagnostic::new(Span::call_site(), message)
    } else {
        match text.parse::<TokenStream>() {
            Ok(tokens) => return Ok(tokens),
            Err(error) => {
                Diagnostic::new(error.span(), "expected words, numbers and matching brackets, found something else")
                    .with_help(
                        "look here for a bracket without its partner, a stray quote or a character that has no meaning",
                    )
            }
        }
    };
    Err(Diagnostics::from(error).locate_in_raw(file, text))
}

/// One declaration, or one in `vgg! { .. }`.
fn bare_or_wrapped(input: ParseStream<'_>, context: &mut Context) -> Option<Parsed> {
    if !(input.peek(Ident) && input.peek2(Token![!]) && input.cursor().ident().is_some_and(|(word, _)| word == "vgg")) {
        return only_model(input, context);
    }
    let _ = input.parse::<Ident>();
    let _ = input.parse::<Token![!]>();
    let span = input.span();
    let Ok(content) = braces(input) else {
        context.errors.push(Diagnostic::new(span, format!("expected `{{` after `vgg!`, found {}", found(input))));
        skip_while(input, |_| true);
        return None;
    };
    let parsed = only_model(&content, context);
    let _ = input.parse::<Token![;]>();
    if !input.is_empty() {
        let message = format!("expected the end after `vgg! {{ .. }}`, found {}", found(input));
        context.errors.push(Diagnostic::new(input.span(), message));
    }
    skip_while(input, |_| true);
    parsed
}
