//! Numbers and extents.
//!
//! A lexer of Rust sees `3x224x224` as one literal with a suffix, `3 x224` as a literal and a name, and `0x1` as a hexadecimal
//! one; here they are all decimal numbers with an `x` between them. Numbers are therefore read from the text of the literals.

use proc_macro2::{Ident, Literal, Span};
use syn::Token;
use syn::parse::ParseStream;

use super::super::diagnostic::Diagnostic;
use super::super::{Extent, Spanned};
use super::{found, quoted};

/// A whole number without sign or suffix. `what` completes "expected ..".
pub(super) fn integer(input: ParseStream<'_>, what: &str) -> Result<Spanned<usize>, Diagnostic> {
    let literal = literal(input, what)?;
    let span = literal.span();
    Ok(Spanned { value: whole(&literal.to_string(), span, what)?, span })
}

/// One or more whole numbers with `x` between them. `what` completes "expected ..".
pub(super) fn dimensions(input: ParseStream<'_>, what: &str) -> Result<Vec<Spanned<usize>>, Diagnostic> {
    let mut all = Vec::new();
    let mut expect_number = true;
    loop {
        let (text, span) = if expect_number {
            let literal = literal(input, what)?;
            (literal.to_string(), literal.span())
        } else if let Some(word) = times(input) {
            let _ = input.parse::<Ident>();
            // The leading `x` is the one between the last number and the next.
            (word.to_string().chars().skip(1).collect(), word.span())
        } else {
            return Ok(all);
        };
        expect_number = text.is_empty() || text.ends_with('x');
        for digits in text.split('x').filter(|digits| !digits.is_empty()) {
            all.push(Spanned { value: whole(digits, span, what).map_err(|error| renamed(error, &text, what))?, span });
        }
        if text.contains("xx") {
            return Err(Diagnostic::new(span, format!("expected {what}, found {}", quoted(&text))));
        }
    }
}

/// One number for both directions, or height `x` width.
pub(super) fn extent(input: ParseStream<'_>, what: &str) -> Result<Spanned<Extent>, Diagnostic> {
    let start = input.span();
    let numbers = dimensions(input, what)?;
    match numbers.as_slice() {
        [both] => Ok(Spanned { value: Extent::square(both.value), span: both.span }),
        [height, width] => {
            Ok(Spanned { value: Extent { height: height.value, width: width.value }, span: height.span })
        }
        _ => Err(Diagnostic::new(start, format!("expected {what}, found {} numbers", numbers.len()))
            .with_help("write one number for both directions, or height x width")),
    }
}

/// A real number, which may have a sign.
pub(super) fn real(input: ParseStream<'_>, what: &str) -> Result<Spanned<f32>, Diagnostic> {
    let negative = input.peek(Token![-]) && input.parse::<Token![-]>().is_ok();
    let literal = literal(input, what)?;
    let (text, span) = (literal.to_string(), literal.span());
    let refused = || Diagnostic::new(span, format!("expected {what}, found {}", quoted(&text)));
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-' | '_');
    if !starts_with_digit(&text) || !text.chars().all(plain) {
        return Err(refused().with_help("write a plain number, such as 0.75 or 5e-4"));
    }
    let magnitude: f32 = text.replace('_', "").parse().map_err(|_| refused())?;
    if !magnitude.is_finite() {
        return Err(refused().with_help("the number is too large for f32"));
    }
    Ok(Spanned { value: if negative { -magnitude } else { magnitude }, span })
}

/// The digits of a kernel, as in `conv3` or `conv3x5`: one or two numbers. `None` when `digits` is something else.
pub(super) fn kernel(digits: &str, span: Span) -> Option<Result<Extent, Diagnostic>> {
    let parts: Vec<&str> = digits.split('x').collect();
    if parts.iter().any(|part| part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    let number = |text: &str| whole(text, span, "a kernel size");
    match parts.as_slice() {
        [both] => Some(number(both).map(Extent::square)),
        [height, width] => {
            let extent = |(height, width)| Extent { height, width };
            Some(number(height).and_then(|height| Ok((height, number(width)?))).map(extent))
        }
        _ => None,
    }
}

/// The next token, when it is a literal; it is consumed.
fn literal(input: ParseStream<'_>, what: &str) -> Result<Literal, Diagnostic> {
    let span = input.span();
    if let Ok(literal) = input.parse::<Literal>() {
        return Ok(literal);
    }
    let refused = |found: String| Diagnostic::new(span, format!("expected {what}, found {found}"));
    match input.cursor().punct() {
        Some((punct, rest)) if punct.as_char() == '-' => match rest.literal() {
            Some((number, _)) => Err(refused(quoted(&format!("-{number}"))).with_help("it cannot be negative")),
            None => Err(refused("`-`".to_owned())),
        },
        _ => Err(refused(found(input))),
    }
}

/// The next token, when it is a name of `x`s and digits that begins with `x`, as in `3 x 224` and `3 x224`.
fn times(input: ParseStream<'_>) -> Option<Ident> {
    let (word, _) = input.cursor().ident()?;
    let text = word.to_string();
    (text.starts_with('x') && text.bytes().all(|byte| byte == b'x' || byte.is_ascii_digit())).then_some(word)
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

/// The value of decimal digits; underscores between them are allowed, as in Rust.
fn whole(text: &str, span: Span, what: &str) -> Result<usize, Diagnostic> {
    let digits = text.replace('_', "");
    let refused = Diagnostic::new(span, format!("expected {what}, found {}", quoted(text)));
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return digits.parse().map_err(|_| refused.with_help("the number is too large"));
    }
    if !starts_with_digit(text) {
        return Err(refused);
    }
    let leading: String = digits.chars().take_while(char::is_ascii_digit).collect();
    let rest = digits.get(leading.len()..).unwrap_or_default();
    if rest.starts_with(['.', 'e', 'E']) {
        return Err(refused.with_help("it must be a whole number"));
    }
    Err(refused.with_help(format!("write it in decimal without a suffix, such as {leading}")))
}

/// The error of one number, told about the whole literal in which it stands.
fn renamed(mut error: Diagnostic, text: &str, what: &str) -> Diagnostic {
    error.message = format!("expected {what}, found {}", quoted(text));
    error
}
