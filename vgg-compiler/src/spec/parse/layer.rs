//! One entry of a row: a label, a keyword, the number that belongs to it, and modifiers.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Ident, Token};

use super::super::diagnostic::Diagnostic;
use super::super::{Extent, LayerKind, LayerSpec, PoolSpec, Spanned, limits};
use super::modifier::{KEYWORDS, Keyword, Modifier, Value, modifiers};
use super::{Context, found, number, parentheses};
use crate::suggest::{enumerate, nearest};

/// An entry, and whether its ReLU still depends on its place in the network.
pub(super) struct Entry {
    pub(super) layer: LayerSpec,
    pub(super) default_relu: bool,
}

/// The keyword of a layer, with the kernel for `conv`.
struct Head {
    keyword: &'static Keyword,
    kernel: Option<Extent>,
    text: String,
    span: Span,
}

/// Reads one entry of a row.
///
/// # Errors
///
/// When it cannot be told which layer is meant. Mistakes in its modifiers are reported in `context` instead.
pub(super) fn layer(input: ParseStream<'_>, context: &mut Context) -> Result<Entry, Diagnostic> {
    let label = if input.peek(Ident::peek_any) && input.peek2(Token![:]) {
        let label = name(input, "a label")?;
        let _ = input.parse::<Token![:]>();
        Some(label)
    } else {
        None
    };
    let head = head(input)?;
    let count = match head.keyword.word {
        "conv" => Some(count(input, &head.text, "filters", limits::FILTERS, context)?),
        "fc" => Some(count(input, &head.text, "units", limits::UNITS, context)?),
        _ => None,
    };
    let given = match parentheses(input) {
        Err(_) => Vec::new(),
        Ok(content) => modifiers(&content, head.keyword, context),
    };
    let default_relu =
        head.keyword.word == "fc" && !given.iter().any(|modifier| matches!(modifier.name, "linear" | "relu"));
    if let Some((message, span)) = pool_pad(&head, &given) {
        context.errors.push(Diagnostic::new(span, message));
    }
    let kind = kind(&head, count.unwrap_or(1), &given);
    Ok(Entry { layer: LayerSpec { label, kind, span: head.span }, default_relu })
}

/// A name that somebody gave to a network or a layer. Whether it is a good one is checked later.
pub(super) fn name(input: ParseStream<'_>, what: &str) -> Result<Spanned<String>, Diagnostic> {
    let span = input.span();
    match Ident::parse_any(input) {
        Ok(name) => Ok(Spanned { value: name.to_string(), span }),
        Err(_) => Err(Diagnostic::new(span, format!("expected {what}, found {}", found(input)))),
    }
}

fn head(input: ParseStream<'_>) -> Result<Head, Diagnostic> {
    let example = "a layer, such as `conv3-64` or `maxpool`";
    if input.peek(Token![#]) {
        return Err(Diagnostic::new(input.span(), format!("expected {example}, found a doc comment or an attribute"))
            .with_help("only the network has a doc comment; inside it write an ordinary comment with `//`"));
    }
    let Spanned { value: text, span } = name(input, example)?;
    if let Some(keyword) = KEYWORDS.iter().find(|keyword| keyword.word == text && text != "conv") {
        return Ok(Head { keyword, kernel: None, text, span });
    }
    let conv = KEYWORDS.iter().find(|keyword| keyword.word == "conv");
    let after_conv = conv.and_then(|keyword| text.strip_prefix(keyword.word).map(|digits| (keyword, digits)));
    match after_conv.map(|(keyword, digits)| (keyword, digits, number::kernel(digits, span))) {
        Some((keyword, _, Some(kernel))) => {
            let kernel = kernel?;
            match limits::KERNEL.refuse_extent(kernel) {
                None => Ok(Head { keyword, kernel: Some(kernel), text, span }),
                Some(message) => Err(Diagnostic::new(span, message)),
            }
        }
        Some((_, "", None)) => Err(Diagnostic::new(span, "`conv` has no kernel size, expected one such as `conv3-64`")
            .with_help("the kernel size follows `conv`, then `-` and the number of filters")),
        _ => Err(unknown(&text, span)),
    }
}

/// The mistake of a word that is no layer.
fn unknown(text: &str, span: Span) -> Diagnostic {
    const ELSEWHERE: &[(&str, &str)] = &[
        ("relu", "relu follows every conv and fc but the last fc by itself; `conv3-64(linear)` has none"),
        ("flatten", "the first `fc` flattens by itself"),
        ("batchnorm", "batch normalisation is written `bn`"),
        ("linear", "a fully connected layer without relu is written `fc-10(linear)`"),
        ("dense", "a fully connected layer is written `fc-4096`"),
        ("pool", "write `maxpool` or `avgpool`"),
        ("preprocess", "`preprocess torchvision;` stands before the first layer"),
    ];
    if let Some((_, help)) = ELSEWHERE.iter().find(|(word, _)| text.eq_ignore_ascii_case(word)) {
        return Diagnostic::new(span, format!("unknown layer `{text}`")).with_help(*help);
    }
    let help = format!("the layers are {}", enumerate(KEYWORDS.iter().map(|keyword| keyword.example)));
    // The kernel size is no part of the word that was misspelt.
    let digits = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
    let (letters, kernel) = text.split_at(digits);
    let message = match nearest(letters, KEYWORDS.iter().map(|keyword| keyword.word)) {
        Some("conv") if !kernel.is_empty() && number::kernel(kernel, span).is_some() => {
            format!("unknown layer `{text}`; did you mean `conv{kernel}`?")
        }
        Some("fc") if !kernel.is_empty() => format!("unknown layer `{text}`; did you mean `fc-{kernel}`?"),
        Some(word @ ("maxpool" | "avgpool")) if !kernel.is_empty() => {
            format!("unknown layer `{text}`; did you mean `{word}({kernel})`?")
        }
        Some(word) if word != letters => format!("unknown layer `{text}`; did you mean `{word}`?"),
        _ => format!("unknown layer `{text}`"),
    };
    Diagnostic::new(span, message).with_help(help)
}

/// The number after the `-` of `conv3-64` and `fc-4096`. A number out of range is reported in `context`, since the layer is known.
fn count(
    input: ParseStream<'_>,
    after: &str,
    what: &str,
    range: limits::IntegerRange,
    context: &mut Context,
) -> Result<usize, Diagnostic> {
    let span = input.span();
    if input.parse::<Token![-]>().is_err() {
        let message = format!("expected `-` and the number of {what} after `{after}`, found {}", found(input));
        return Err(Diagnostic::new(span, message).with_help(format!("write it like `{after}-64`")));
    }
    let Spanned { value, span } = number::integer(input, &format!("the number of {what} after `{after}-`"))?;
    if let Some(message) = range.refuse(value) {
        context.errors.push(Diagnostic::new(span, message));
    }
    Ok(value)
}

/// Fills in the defaults of the papers.
fn kind(head: &Head, count: usize, given: &[Modifier]) -> LayerKind {
    let extent = |name: &str, default: Extent| match value(given, name) {
        Some(Value::Extent(extent)) => extent,
        _ => default,
    };
    let real = |name: &str, default: f32| match value(given, name) {
        Some(Value::Real(real)) => real,
        _ => default,
    };
    match head.keyword.word {
        "bn" => LayerKind::BatchNorm { epsilon: real("eps", LayerKind::DEFAULT_EPSILON) },
        "lrn" => LayerKind::Lrn {
            size: match value(given, "size") {
                Some(Value::Integer(size)) => size,
                _ => LayerKind::DEFAULT_LRN_SIZE,
            },
            alpha: real("alpha", LayerKind::DEFAULT_LRN_ALPHA),
            beta: real("beta", LayerKind::DEFAULT_LRN_BETA),
            k: real("k", LayerKind::DEFAULT_LRN_K),
        },
        "maxpool" => LayerKind::MaxPool(pool(given)),
        "avgpool" => LayerKind::AvgPool(pool(given)),
        "fc" => LayerKind::Fc { units: count, relu: value(given, "linear").is_none() },
        "dropout" => LayerKind::Dropout { ratio: real("", LayerKind::DEFAULT_RATIO) },
        "softmax" => LayerKind::Softmax,
        _ => {
            let kernel = head.kernel.unwrap_or(Extent::square(3));
            LayerKind::Conv {
                kernel,
                filters: count,
                stride: extent("stride", Extent::square(1)),
                pad: extent("pad", kernel.same_pad()),
                relu: value(given, "linear").is_none(),
            }
        }
    }
}

fn pool(given: &[Modifier]) -> PoolSpec {
    let extent = |name: &str, default: Extent| match value(given, name) {
        Some(Value::Extent(extent)) => extent,
        _ => default,
    };
    let PoolSpec { kernel, stride, pad, ceil } = PoolSpec::default();
    PoolSpec {
        kernel: extent("", kernel),
        stride: extent("stride", stride),
        pad: extent("pad", pad),
        ceil: ceil || value(given, "ceil").is_some(),
    }
}

/// The padding of a pool is judged here, where its span is known.
fn pool_pad(head: &Head, given: &[Modifier]) -> Option<(String, Span)> {
    let pad = given.iter().find(|modifier| modifier.name == "pad")?;
    match head.keyword.word {
        "maxpool" | "avgpool" => limits::refuse_pool_pad(pool(given)).map(|message| (message, pad.span)),
        _ => None,
    }
}

fn value(given: &[Modifier], name: &str) -> Option<Value> {
    given.iter().find(|modifier| modifier.name == name).map(|modifier| modifier.value)
}
