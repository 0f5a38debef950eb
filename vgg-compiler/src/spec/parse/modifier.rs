//! The modifiers of a layer: what stands in its parentheses.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Ident, Token};

use super::super::diagnostic::Diagnostic;
use super::super::limits::{self, IntegerRange, RealRange};
use super::super::{Extent, Spanned};
use super::{Context, found, number, skip_while};
use crate::suggest::{enumerate, nearest};

/// What follows the name of a modifier, and what it may be.
#[derive(Clone, Copy)]
enum Takes {
    Nothing,
    Extent(IntegerRange),
    Integer(IntegerRange),
    Real(RealRange),
}

/// One modifier that a layer knows. Without a name it is a number that stands alone, as in `maxpool(3)`.
struct Rule {
    name: &'static str,
    takes: Takes,
}

const fn rule(name: &'static str, takes: Takes) -> Rule {
    Rule { name, takes }
}

/// A kind of layer, in the notation.
pub(super) struct Keyword {
    /// The word, for `conv` without its kernel.
    pub(super) word: &'static str,
    /// How it is written.
    pub(super) example: &'static str,
    rules: &'static [Rule],
}

const POOL: &[Rule] = &[
    rule("", Takes::Extent(limits::WINDOW)),
    rule("stride", Takes::Extent(limits::STRIDE)),
    rule("pad", Takes::Extent(limits::PAD)),
    rule("ceil", Takes::Nothing),
];

/// Every kind of layer with its modifiers.
pub(super) const KEYWORDS: &[Keyword] = &[
    Keyword {
        word: "conv",
        example: "conv3-64",
        rules: &[
            rule("stride", Takes::Extent(limits::STRIDE)),
            rule("pad", Takes::Extent(limits::PAD)),
            rule("linear", Takes::Nothing),
            rule("relu", Takes::Nothing),
        ],
    },
    Keyword { word: "bn", example: "bn", rules: &[rule("eps", Takes::Real(limits::EPSILON))] },
    Keyword {
        word: "lrn",
        example: "lrn",
        rules: &[
            rule("size", Takes::Integer(limits::LRN_SIZE)),
            rule("alpha", Takes::Real(limits::LRN_ALPHA)),
            rule("beta", Takes::Real(limits::LRN_BETA)),
            rule("k", Takes::Real(limits::LRN_K)),
        ],
    },
    Keyword { word: "maxpool", example: "maxpool", rules: POOL },
    Keyword { word: "avgpool", example: "avgpool", rules: POOL },
    Keyword { word: "fc", example: "fc-4096", rules: &[rule("linear", Takes::Nothing), rule("relu", Takes::Nothing)] },
    Keyword { word: "dropout", example: "dropout", rules: &[rule("", Takes::Real(limits::RATIO))] },
    Keyword { word: "softmax", example: "softmax", rules: &[] },
];

/// The value of a modifier.
#[derive(Clone, Copy)]
pub(super) enum Value {
    Nothing,
    Extent(Extent),
    Integer(usize),
    Real(f32),
}

/// One modifier of a layer, within its limits.
pub(super) struct Modifier {
    pub(super) name: &'static str,
    pub(super) value: Value,
    /// The value, or the name of a modifier without one.
    pub(super) span: Span,
}

/// Reads the content of the parentheses after a layer. Mistakes are reported, and their modifiers left out.
pub(super) fn modifiers(content: ParseStream<'_>, keyword: &Keyword, context: &mut Context) -> Vec<Modifier> {
    let mut all: Vec<Modifier> = Vec::new();
    while !content.is_empty() && !context.errors.is_full() {
        let start = content.span();
        match modifier(content, keyword) {
            Ok(next) => match all.iter().find(|earlier| excludes(earlier.name, next.name)) {
                None => all.push(next),
                Some(earlier) => context.errors.push(conflict(earlier.name, next.name, keyword, start)),
            },
            Err(error) => {
                context.errors.push(error);
                skip_while(content, |rest| !rest.peek(Token![,]));
            }
        }
        if content.is_empty() || content.parse::<Token![,]>().is_ok() {
            continue;
        }
        let message = format!("expected `,` or `)` after a modifier of `{}`, found {}", keyword.word, found(content));
        context.errors.push(Diagnostic::new(content.span(), message));
        skip_while(content, |rest| !rest.peek(Token![,]));
        let _ = content.parse::<Token![,]>();
    }
    skip_while(content, |_| true);
    all
}

/// Whether a layer may have only one of two modifiers.
fn excludes(earlier: &str, next: &str) -> bool {
    earlier == next || matches!((earlier, next), ("linear", "relu") | ("relu", "linear"))
}

fn conflict(earlier: &str, next: &str, keyword: &Keyword, span: Span) -> Diagnostic {
    let word = keyword.word;
    let message = match (earlier, next) {
        ("", "") => format!("`{word}` has two numbers that stand alone, expected one"),
        (a, b) if a == b => format!("`{word}` has the modifier `{a}` twice, expected it once"),
        (a, b) => format!("`{word}` has both `{a}` and `{b}`, expected one of them"),
    };
    Diagnostic::new(span, message)
}

fn modifier(content: ParseStream<'_>, keyword: &Keyword) -> Result<Modifier, Diagnostic> {
    let word = keyword.word;
    let start = content.span();
    if content.peek(Token![,]) {
        return Err(Diagnostic::new(start, format!("expected a modifier of `{word}`, found `,`")));
    }
    if !content.peek(Ident::peek_any) {
        let Some(rule) = keyword.rules.iter().find(|rule| rule.name.is_empty()) else {
            let message = format!("expected a modifier of `{word}`, found {}", found(content));
            return Err(Diagnostic::new(start, message).with_help(known(keyword)));
        };
        return value(content, rule, start, keyword);
    }
    let name = Ident::parse_any(content).map_err(|error| Diagnostic::new(error.span(), error.to_string()))?;
    let text = name.to_string();
    let Some(rule) = keyword.rules.iter().find(|rule| rule.name == text) else {
        let names = keyword.rules.iter().map(|rule| rule.name).filter(|name| !name.is_empty());
        let message = match nearest(&text, names) {
            Some(name) => format!("unknown modifier `{text}` of `{word}`; did you mean `{name}`?"),
            None => format!("unknown modifier `{text}` of `{word}`"),
        };
        return Err(Diagnostic::new(name.span(), message).with_help(known(keyword)));
    };
    if content.peek(Token![=]) || content.peek(Token![:]) {
        let message = format!("expected a number after `{text}`, found {}", found(content));
        return Err(Diagnostic::new(content.span(), message)
            .with_help("a modifier is a word and a number with nothing between them, such as `stride 2`"));
    }
    value(content, rule, name.span(), keyword)
}

/// Reads the value of a modifier and checks it against its limits.
fn value(content: ParseStream<'_>, rule: &Rule, name: Span, keyword: &Keyword) -> Result<Modifier, Diagnostic> {
    let what = |kind: &str| match rule.name {
        "" => format!("{kind} for `{}`", keyword.word),
        name => format!("{kind} after `{name}`"),
    };
    let (value, span, refused) = match rule.takes {
        Takes::Nothing => (Value::Nothing, name, None),
        Takes::Extent(range) => {
            let Spanned { value, span } = number::extent(content, &what("a whole number"))?;
            (Value::Extent(value), span, range.refuse_extent(value))
        }
        Takes::Integer(range) => {
            let Spanned { value, span } = number::integer(content, &what("a whole number"))?;
            (Value::Integer(value), span, range.refuse(value))
        }
        Takes::Real(range) => {
            let Spanned { value, span } = number::real(content, &what("a number"))?;
            (Value::Real(value), span, range.refuse(value))
        }
    };
    match refused {
        None => Ok(Modifier { name: rule.name, value, span }),
        Some(message) => Err(Diagnostic::new(span, message)),
    }
}

/// Which modifiers a layer has.
fn known(keyword: &Keyword) -> String {
    let named: Vec<_> = keyword.rules.iter().map(|rule| rule.name).filter(|name| !name.is_empty()).collect();
    let alone = named.len() < keyword.rules.len();
    match (named.is_empty(), alone) {
        (true, false) => format!("`{}` has no modifiers", keyword.word),
        (true, true) => format!("`{}` takes one number that stands alone", keyword.word),
        (false, false) => format!("`{}` takes {}", keyword.word, enumerate(named)),
        (false, true) => format!("`{}` takes a window size and {}", keyword.word, enumerate(named)),
    }
}
