//! The parser of the `vgg!` notation, for tokens (the macro) and text (`.vgg` files) alike.
//!
//! ```text
//! network    = doc* visibility name ( ":" input "{" preprocess? row ( ";" row )* ";"? "}" | "=" built-in ( "{" preprocess "}" )? ) ";"?
//! input      = channels "x" height "x" width
//! row        = entry ( "," entry )* ","?
//! entry      = ( label ":" )? layer ( "(" modifier ( "," modifier )* ","? ")" )?
//! layer      = "conv" extent "-" filters | "bn" | "lrn" | "maxpool" | "avgpool" | "fc" "-" units | "dropout" | "softmax"
//! modifier   = word | word number | word extent | number | extent
//! extent     = number | height "x" width
//! preprocess = "preprocess" ( preset ( "(" settings ")" )? | "(" settings ")" ) ";"
//! settings   = setting ( "," setting )* ","?
//! setting    = "rgb" | "bgr" | "grey" | "range" number | "mean" ( number+ | "image" ) | "std" number+ | "resize" number | "stretch"
//!            | "nearest" | "bilinear" | "bicubic" | "classes" order
//! ```
//!
//! It recovers: after a mistake it goes on with the next modifier, layer or row, so that several mistakes are reported at once.
//! Values are checked against [`super::limits`] here, where their spans are known; a whole declaration is checked by
//! [`super::check`].

mod file;
mod layer;
mod model;
mod modifier;
mod number;
mod preprocess;

use proc_macro2::{TokenStream, TokenTree};
use syn::parse::{Parse, ParseBuffer, ParseStream, Parser};

pub use file::{MAX_TEXT, parse_file, parse_models};
pub use preprocess::parse_preprocess;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::{ModelSpec, check};

/// Deepest nesting of brackets. The notation needs two levels; the token buffer of `syn` is built recursively.
const MAX_NESTING: usize = 32;

/// What the parser has to say beside the declarations themselves.
#[derive(Default)]
struct Context {
    errors: Diagnostics,
}

/// One declaration, as far as it could be read.
struct Parsed {
    spec: ModelSpec,
    /// Whether the kind and the place of every layer are known, so that their order may be judged in spite of other mistakes.
    complete: bool,
}

/// A file of several declarations, each in the notation of `vgg!`.
#[derive(Debug, Clone)]
pub struct ModelFile {
    /// The declarations, in the order of the file.
    pub models: Vec<ModelSpec>,
}

impl Parse for ModelSpec {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut context = Context::default();
        match (model::model(input, &mut context), context.errors.is_empty()) {
            (Some(parsed), true) => Ok(parsed.spec),
            _ => Err(context.errors.to_syn_error()),
        }
    }
}

impl Parse for ModelFile {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut context = Context::default();
        let parsed = models(input, &mut context);
        if !context.errors.is_empty() {
            return Err(context.errors.to_syn_error());
        }
        Ok(Self { models: parsed.into_iter().map(|parsed| parsed.spec).collect() })
    }
}

/// Reads and checks the tokens of one declaration, the content of `vgg! { .. }`.
///
/// # Errors
///
/// Every mistake that was found, each with its span.
pub fn parse_tokens(tokens: TokenStream) -> Result<ModelSpec, Diagnostics> {
    let (parsed, errors) = read(tokens, only_model)?;
    checked(parsed, errors)
}

/// Checks a declaration as far as the mistakes found so far allow: shapes would follow from them, the order of known layers
/// does not.
fn checked(parsed: Option<Parsed>, mut errors: Diagnostics) -> Result<ModelSpec, Diagnostics> {
    let Some(Parsed { spec, complete }) = parsed else {
        return Err(errors);
    };
    if errors.is_empty() {
        errors = check::check(&spec);
    } else if complete {
        errors.append(check::check_structure(&spec));
    }
    errors.into_result(spec)
}

/// Runs `parser` over all of `tokens`.
fn read<T>(
    tokens: TokenStream,
    parser: fn(ParseStream<'_>, &mut Context) -> T,
) -> Result<(T, Diagnostics), Diagnostics> {
    check_nesting(&tokens)?;
    let parser = |input: ParseStream<'_>| {
        let mut context = Context::default();
        let parsed = parser(input, &mut context);
        Ok((parsed, context.errors))
    };
    parser.parse2(tokens).map_err(Diagnostics::from)
}

/// Refuses tokens that are nested too deeply for a recursive walk. This walk is not recursive.
fn check_nesting(tokens: &TokenStream) -> Result<(), Diagnostic> {
    let mut open = vec![tokens.clone().into_iter()];
    while let Some(innermost) = open.last_mut() {
        match innermost.next() {
            None => drop(open.pop()),
            Some(TokenTree::Group(group)) => {
                if open.len() > MAX_NESTING {
                    let message =
                        format!("brackets are nested more than {MAX_NESTING} deep, expected at most two levels");
                    return Err(Diagnostic::new(group.span_open(), message));
                }
                open.push(group.stream().into_iter());
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// One declaration and nothing after it.
fn only_model(input: ParseStream<'_>, context: &mut Context) -> Option<Parsed> {
    let parsed = model::model(input, context);
    if parsed.is_some() && !input.is_empty() {
        let message = format!("expected one declaration, found {} after it", found(input));
        context
            .errors
            .push(Diagnostic::new(input.span(), message).with_help("write each network in a place of its own"));
    }
    skip_while(input, |_| true);
    parsed
}

/// Declarations up to the end.
fn models(input: ParseStream<'_>, context: &mut Context) -> Vec<Parsed> {
    let mut all = Vec::new();
    while !input.is_empty() && !context.errors.is_full() {
        match model::model(input, context) {
            Some(parsed) => all.push(parsed),
            // Without a header there is no telling where the next declaration begins.
            None => skip_while(input, |_| true),
        }
    }
    skip_while(input, |_| true);
    all
}

/// The content of the braces that come next.
fn braces(input: ParseStream<'_>) -> syn::Result<ParseBuffer<'_>> {
    let content;
    syn::braced!(content in input);
    Ok(content)
}

/// The content of the parentheses that come next.
fn parentheses(input: ParseStream<'_>) -> syn::Result<ParseBuffer<'_>> {
    let content;
    syn::parenthesized!(content in input);
    Ok(content)
}

/// Skips token trees as long as there are any and `more` says so.
fn skip_while(input: ParseStream<'_>, more: impl Fn(ParseStream<'_>) -> bool) {
    while !input.is_empty() && more(input) && input.parse::<TokenTree>().is_ok() {}
}

/// How to name the next token in a message.
fn found(input: ParseStream<'_>) -> String {
    match input.cursor().token_tree() {
        None => "the end".to_owned(),
        Some((TokenTree::Group(group), _)) => match group.delimiter() {
            proc_macro2::Delimiter::Parenthesis => "`(`".to_owned(),
            proc_macro2::Delimiter::Brace => "`{`".to_owned(),
            proc_macro2::Delimiter::Bracket => "`[`".to_owned(),
            proc_macro2::Delimiter::None => quoted(&group.to_string()),
        },
        Some((token, _)) => quoted(&token.to_string()),
    }
}

/// `text` in backticks, shortened, without control characters.
fn quoted(text: &str) -> String {
    const LONGEST: usize = 40;
    let mut shown: String = text.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}
