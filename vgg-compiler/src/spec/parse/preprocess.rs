//! What becomes of an image: `preprocess torchvision;`, or every value written out.
//!
//! The same text, without the word in front, is what weights files and ONNX models carry and what `--preprocess` takes.

use proc_macro2::{Span, TokenStream};
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Ident, Token, token};

use super::super::diagnostic::{Diagnostic, Diagnostics};
use super::super::limits;
use super::super::{Spanned, limits::RealRange};
use super::{Context, found, number, parentheses, quoted, read, skip_while};
use crate::preprocess::{self, ClassOrder, Colours, Filter, Mean, PRESETS, Preprocess, Range, Resize};
use crate::suggest::{enumerate, nearest};

/// Longest text that is read, in bytes.
const MAX_TEXT: usize = 4096;

/// Most numbers after `mean` and `std`; there are at most three channels.
const MAX_VALUES: usize = 8;

/// The words of the settings.
const WORDS: [&str; 13] = [
    "rgb", "bgr", "grey", "gray", "range", "mean", "std", "resize", "stretch", "nearest", "bilinear", "bicubic",
    "classes",
];

/// Reads the text of a preprocessing: the name of a preset, settings, or a preset with settings in parentheses.
///
/// ```
/// use vgg_compiler::spec::parse::parse_preprocess;
///
/// let keras = parse_preprocess("keras")?;
/// assert_eq!(parse_preprocess(&keras.to_string())?, keras);
/// assert_eq!(parse_preprocess("rgb, range 1").unwrap_err(), "`resize N` or `stretch` is missing");
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
///
/// Everything that is wrong with it, in one line.
pub fn parse_preprocess(text: &str) -> Result<Preprocess, String> {
    if text.len() > MAX_TEXT {
        return Err(format!("the text has {} bytes, expected at most {MAX_TEXT}", text.len()));
    }
    let tokens: TokenStream =
        text.parse().map_err(|_| "expected words and numbers, found something else".to_owned())?;
    let read = read(tokens, |input, context| {
        let preprocess = whole(input, Span::call_site(), context);
        if !input.is_empty() && context.errors.is_empty() {
            context.errors.push(Diagnostic::new(input.span(), format!("expected the end, found {}", found(input))));
        }
        skip_while(input, |_| true);
        preprocess
    });
    let joined =
        |errors: &Diagnostics| errors.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join("; ");
    match read {
        Ok((Some(preprocess), errors)) if errors.is_empty() => Ok(preprocess),
        Ok((_, errors)) | Err(errors) => Err(joined(&errors)),
    }
}

/// Whether `preprocess` comes next, as a word of its own and not as a label.
pub(super) fn begins(input: ParseStream<'_>) -> bool {
    input.cursor().ident().is_some_and(|(word, _)| word == "preprocess") && !input.peek2(Token![:])
}

/// Reads `preprocess ..;` when it comes next. Mistakes are reported in `context`.
pub(super) fn item(input: ParseStream<'_>, context: &mut Context) -> Option<Spanned<Preprocess>> {
    if !begins(input) {
        return None;
    }
    let span = input.span();
    let _ = input.parse::<Ident>();
    let preprocess = match parentheses(input) {
        Ok(content) => {
            let preprocess = settings(&content, None, span, context);
            skip_while(&content, |_| true);
            preprocess
        }
        Err(_) => whole(input, span, context),
    };
    let before = context.errors.is_empty();
    if input.parse::<Token![;]>().is_err() {
        if before {
            let message = format!("expected `;` after `preprocess`, found {}", found(input));
            context.errors.push(Diagnostic::new(input.span(), message).with_help("write `preprocess torchvision;`"));
        }
        skip_while(input, |rest| !rest.peek(Token![;]) && !rest.peek(Token![,]));
        let _ = input.parse::<Token![;]>().map(drop).or_else(|_| input.parse::<Token![,]>().map(drop));
    }
    preprocess.map(|value| Spanned { value, span })
}

/// A preset, with settings in parentheses or without, or settings alone.
fn whole(input: ParseStream<'_>, span: Span, context: &mut Context) -> Option<Preprocess> {
    let bare = input.cursor().ident().is_some_and(|(word, _)| WORDS.contains(&word.to_string().as_str()));
    if bare {
        return settings(input, None, span, context);
    }
    let help = || {
        let names = enumerate(PRESETS.iter().map(|preset| preset.name));
        format!("the presets are {names}; or write out the values: `rgb, range 1, mean 0.5, std 0.5, resize 256`")
    };
    let Some(Spanned { value: name, span }) = words(input) else {
        let message = format!("expected a preprocessing, such as `torchvision`, found {}", found(input));
        context.errors.push(Diagnostic::new(input.span(), message).with_help(help()));
        return None;
    };
    let Some(preset) = preprocess::preset(&name) else {
        let known = preprocess::suggest(&name).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        let message = format!("unknown preprocessing {}{known}", quoted(&name));
        context.errors.push(Diagnostic::new(span, message).with_help(help()));
        return None;
    };
    let preset = preset.preprocess();
    if !input.peek(token::Paren) {
        return Some(preset);
    }
    let content = parentheses(input).ok()?;
    let preprocess = settings(&content, Some(preset), span, context);
    skip_while(&content, |_| true);
    preprocess
}

/// Words with hyphens between them, such as `caffe-vgg`.
fn words(input: ParseStream<'_>) -> Option<Spanned<String>> {
    let span = input.span();
    let mut text = Ident::parse_any(input).ok()?.to_string();
    while input.peek(Token![-]) && input.peek2(Ident::peek_any) && text.len() < 64 {
        let _ = input.parse::<Token![-]>();
        text = format!("{text}-{}", Ident::parse_any(input).ok()?);
    }
    Some(Spanned { value: text, span })
}

/// What the settings say so far.
#[derive(Default)]
struct Settings {
    colours: Option<Colours>,
    range: Option<Range>,
    /// The numbers, none for a mean image.
    mean: Option<Spanned<Option<Vec<f32>>>>,
    std: Option<Spanned<Vec<f32>>>,
    resize: Option<Resize>,
    filter: Option<Filter>,
    classes: Option<Option<ClassOrder>>,
}

/// Reads settings up to the end. With a `preset` they change it, without one they must say everything that changes the input.
fn settings(
    input: ParseStream<'_>,
    preset: Option<Preprocess>,
    span: Span,
    context: &mut Context,
) -> Option<Preprocess> {
    let mut all = Settings::default();
    let mut right = true;
    while !input.is_empty() && !context.errors.is_full() {
        if let Err(error) = setting(input, &mut all, preset.is_some()) {
            context.errors.push(error);
            right = false;
            skip_while(input, |rest| !rest.peek(Token![,]));
        }
        if input.is_empty() || input.parse::<Token![,]>().is_ok() {
            continue;
        }
        if preset.is_none() && input.peek(Token![;]) {
            break;
        }
        let message = format!("expected `,` after a setting of `preprocess`, found {}", found(input));
        context.errors.push(Diagnostic::new(input.span(), message));
        right = false;
        skip_while(input, |rest| !rest.peek(Token![,]));
        let _ = input.parse::<Token![,]>();
    }
    if !right {
        return None;
    }
    let preprocess = match preset {
        Some(preset) => changed(preset, all),
        None => complete(all, span),
    };
    preprocess.map_err(|error| context.errors.push(error)).ok()
}

/// Reads one setting.
fn setting(input: ParseStream<'_>, all: &mut Settings, of_preset: bool) -> Result<(), Diagnostic> {
    let span = input.span();
    let known = || format!("the settings are {}", enumerate(WORDS.into_iter().filter(|word| *word != "gray")));
    let Ok(word) = Ident::parse_any(input) else {
        let message = format!("expected a setting of `preprocess`, found {}", found(input));
        return Err(Diagnostic::new(span, message).with_help(known()));
    };
    let word = word.to_string();
    let fixed = |what: &str| {
        Diagnostic::new(span, format!("`{word}` would change the {what} of a preset, which its mean depends on"))
            .with_help("write out all values: `preprocess(rgb, range 1, mean .., std .., resize 256);`")
    };
    let twice = match word.as_str() {
        "rgb" | "bgr" | "grey" | "gray" if of_preset => return Err(fixed("colours")),
        "range" if of_preset => return Err(fixed("range")),
        "rgb" => all.colours.replace(Colours::Rgb).is_some(),
        "bgr" => all.colours.replace(Colours::Bgr).is_some(),
        "grey" | "gray" => all.colours.replace(Colours::Grey).is_some(),
        "range" => all.range.replace(range(input)?).is_some(),
        "mean" => all.mean.replace(mean(input)?).is_some(),
        "std" => all.std.replace(values(input, "std", limits::STD)?).is_some(),
        "resize" => {
            let Spanned { value, span } = number::integer(input, "the shorter side after `resize`")?;
            if let Some(message) = limits::RESIZE.refuse(value) {
                return Err(Diagnostic::new(span, message));
            }
            all.resize.replace(Resize::ShortSide(value)).is_some()
        }
        "stretch" => all.resize.replace(Resize::Stretch).is_some(),
        "nearest" => all.filter.replace(Filter::Nearest).is_some(),
        "bilinear" => all.filter.replace(Filter::Bilinear).is_some(),
        "bicubic" => all.filter.replace(Filter::Bicubic).is_some(),
        "classes" => all.classes.replace(classes(input)?).is_some(),
        _ => {
            let near = nearest(&word, WORDS).map(|word| format!("; did you mean `{word}`?")).unwrap_or_default();
            let message = format!("unknown setting {} of `preprocess`{near}", quoted(&word));
            return Err(Diagnostic::new(span, message).with_help(known()));
        }
    };
    if twice {
        let message = format!("`{word}` says again what was said before, expected each setting once");
        return Err(Diagnostic::new(span, message));
    }
    Ok(())
}

/// `1` or `255` after `range`.
fn range(input: ParseStream<'_>) -> Result<Range, Diagnostic> {
    let Spanned { value, span } = number::integer(input, "1 or 255 after `range`")?;
    match value {
        1 => Ok(Range::Unit),
        255 => Ok(Range::Bytes),
        other => Err(Diagnostic::new(span, format!("the range is {other}, expected 1 or 255"))
            .with_help("it is what white becomes before the mean is subtracted")),
    }
}

/// The numbers after `mean`, or the word `image`.
fn mean(input: ParseStream<'_>) -> Result<Spanned<Option<Vec<f32>>>, Diagnostic> {
    let span = input.span();
    if input.cursor().ident().is_some_and(|(word, _)| word == "image") {
        let _ = input.parse::<Ident>();
        return Ok(Spanned { value: None, span });
    }
    let Spanned { value, span } = values(input, "mean", limits::MEAN)?;
    Ok(Spanned { value: Some(value), span })
}

/// The numbers after `mean` or `std`.
fn values(input: ParseStream<'_>, word: &str, limit: RealRange) -> Result<Spanned<Vec<f32>>, Diagnostic> {
    let start = input.span();
    let mut all = Vec::new();
    while all.is_empty() || !(input.is_empty() || input.peek(Token![,]) || input.peek(Token![;])) {
        let Spanned { value, span } = number::real(input, &format!("a number after `{word}`"))?;
        if let Some(message) = limit.refuse(value) {
            return Err(Diagnostic::new(span, message));
        }
        all.push(value);
        if all.len() > MAX_VALUES {
            return Err(Diagnostic::new(span, format!("`{word}` has more than {MAX_VALUES} numbers")));
        }
    }
    Ok(Spanned { value: all, span: start })
}

/// The order of classes after `classes`.
fn classes(input: ParseStream<'_>) -> Result<Option<ClassOrder>, Diagnostic> {
    let start = input.span();
    let orders = || enumerate(ClassOrder::ALL.into_iter().map(ClassOrder::word).chain(["unknown"]));
    let Some(Spanned { value, span }) = words(input) else {
        let message = format!("expected an order of classes after `classes`, found {}", found(input));
        return Err(Diagnostic::new(start, message).with_help(format!("the orders are {}", orders())));
    };
    match ClassOrder::of_word(&value) {
        None if value == "unknown" => Ok(None),
        Some(order) => Ok(Some(order)),
        None => {
            let message = format!("unknown order of classes {}", quoted(&value));
            Err(Diagnostic::new(span, message).with_help(format!("the orders are {}", orders())))
        }
    }
}

/// `preset` with some settings of its own.
fn changed(preset: Preprocess, all: Settings) -> Result<Preprocess, Diagnostic> {
    let colours = preset.colours;
    Ok(Preprocess {
        mean: all.mean.map_or(Ok(preset.mean), |mean| mean_of(mean, colours))?,
        std: all.std.map_or(Ok(preset.std), |std| per_channel(std, "std", colours))?,
        resize: all.resize.unwrap_or(preset.resize),
        filter: all.filter.unwrap_or(preset.filter),
        classes: all.classes.unwrap_or(preset.classes),
        ..preset
    })
}

/// What the settings say without a preset. A mean of 0, a deviation of 1 and bilinear interpolation may be left out.
fn complete(all: Settings, span: Span) -> Result<Preprocess, Diagnostic> {
    let Settings { colours: Some(colours), range: Some(range), resize: Some(resize), .. } = all else {
        let parts = [
            ("`rgb`, `bgr` or `grey`", all.colours.is_none()),
            ("`range 1` or `range 255`", all.range.is_none()),
            ("`resize N` or `stretch`", all.resize.is_none()),
        ];
        let missing: Vec<&str> = parts.iter().filter(|(_, missing)| *missing).map(|(part, _)| *part).collect();
        let verb = if missing.len() == 1 { "is" } else { "are" };
        return Err(Diagnostic::new(span, format!("{} {verb} missing", missing.join(" and ")))
            .with_help("write a preset, or all values: `preprocess(rgb, range 1, mean .., std .., resize 256);`"));
    };
    let one = || Spanned { value: vec![1.0], span };
    Ok(Preprocess {
        colours,
        range,
        mean: match all.mean {
            Some(mean) => mean_of(mean, colours)?,
            None => Mean::Channels(vec![0.0; colours.channels()]),
        },
        std: per_channel(all.std.unwrap_or_else(one), "std", colours)?,
        resize,
        filter: all.filter.unwrap_or(Filter::Bilinear),
        classes: all.classes.flatten(),
    })
}

/// The mean that was written.
fn mean_of(Spanned { value, span }: Spanned<Option<Vec<f32>>>, colours: Colours) -> Result<Mean, Diagnostic> {
    match value {
        Some(value) => Ok(Mean::Channels(per_channel(Spanned { value, span }, "mean", colours)?)),
        None => Ok(Mean::Image(None)),
    }
}

/// One number for each channel; a single one is that of all.
fn per_channel(values: Spanned<Vec<f32>>, word: &str, colours: Colours) -> Result<Vec<f32>, Diagnostic> {
    let Spanned { value, span } = values;
    let channels = colours.channels();
    match value.as_slice() {
        &[one] => Ok(vec![one; channels]),
        all if all.len() == channels => Ok(value),
        all => {
            let (count, colours) = (all.len(), colours.word());
            Err(Diagnostic::new(
                span,
                format!("`{word}` has {count} numbers, expected 1 or {channels} for `{colours}`"),
            )
            .with_help("they stand in the order of the channels, without commas between them"))
        }
    }
}
