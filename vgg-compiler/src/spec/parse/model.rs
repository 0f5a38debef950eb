//! One declaration: documentation, visibility, name, and a table of layers or the name of a built-in.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::parse::ParseStream;
use syn::{Ident, LitStr, Token, Visibility, token};

use super::super::diagnostic::Diagnostic;
use super::super::limits::{self, IntegerRange};
use super::super::{InputSpec, LayerKind, ModelSpec, Spanned, variants};
use super::layer::{Entry, layer, name};
use super::{Context, Parsed, braces, found, number, preprocess, skip_while};
use crate::preprocess::Preprocess;
use crate::suggest::enumerate;

/// Reads one declaration. `None`, with the reason in `context`, when there is not enough of one to go on.
pub(super) fn model(input: ParseStream<'_>, context: &mut Context) -> Option<Parsed> {
    match try_model(input, context) {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            context.errors.push(error);
            None
        }
    }
}

fn try_model(input: ParseStream<'_>, context: &mut Context) -> Result<Parsed, Diagnostic> {
    let docs = docs(input, context)?;
    let visibility: Visibility = input.parse()?;
    let name = name(input, "the name of the network, as in `pub Vgg16: 3 x 224 x 224 { .. }`")?;
    if input.peek(Token![=]) {
        let _ = input.parse::<Token![=]>();
        return built_in(input, docs, visibility, name, context);
    }
    if input.parse::<Token![:]>().is_err() {
        let message = format!("expected `:` and the input after the name of the network, found {}", found(input));
        return Err(Diagnostic::new(input.span(), message)
            .with_help("write `Name: 3 x 224 x 224 { .. }`, or `Name = vgg-d;` for a built-in network"));
    }
    let mut complete = true;
    let shape = match shape(input) {
        Ok(shape) => shape,
        Err(error) => {
            context.errors.push(error);
            skip_while(input, |rest| !rest.peek(token::Brace));
            let one = || Spanned { value: 1, span: name.span };
            InputSpec { channels: one(), height: one(), width: one() }
        }
    };
    let span = input.span();
    let content = braces(input)
        .map_err(|_| Diagnostic::new(span, format!("expected `{{` and the layers, found {}", found(input))))?;
    let preprocess = preprocess::item(&content, context);
    let mut rows = rows(&content, context, &mut complete);
    let _ = input.parse::<Token![;]>();
    last_fc_is_linear(&mut rows);
    let rows = rows.into_iter().map(|row| row.into_iter().map(|entry| entry.layer).collect()).collect();
    Ok(Parsed { spec: ModelSpec { docs, visibility, name, input: shape, preprocess, rows }, complete })
}

/// The lines of the doc comments. Attributes are taken apart by hand: a general expression has no place in them.
fn docs(input: ParseStream<'_>, context: &mut Context) -> Result<Vec<String>, Diagnostic> {
    let mut lines = Vec::new();
    while input.peek(Token![#]) {
        let span = input.span();
        let _ = input.parse::<Token![#]>();
        if input.peek(Token![!]) {
            return Err(Diagnostic::new(span, "expected a doc comment of the network, found an inner one")
                .with_help("write `///` just before the network, or an ordinary comment with `//`"));
        }
        let Some((content, ..)) = input.cursor().group(Delimiter::Bracket) else {
            return Err(Diagnostic::new(input.span(), format!("expected `[` after `#`, found {}", found(input))));
        };
        let text = doc_text(content.token_stream());
        let _ = input.parse::<TokenTree>();
        match text {
            Some(text) => lines.extend(text.split('\n').map(|line| {
                let line = line.strip_suffix('\r').unwrap_or(line);
                line.strip_prefix(' ').unwrap_or(line).to_owned()
            })),
            None => context.errors.push(
                Diagnostic::new(span, "expected a doc comment, found another attribute")
                    .with_help("a network has a doc comment, a visibility and a name, and no attributes"),
            ),
        }
    }
    Ok(lines)
}

/// The text of `doc = ".."`.
fn doc_text(attribute: TokenStream) -> Option<String> {
    let mut tokens = attribute.into_iter();
    match (tokens.next(), tokens.next(), tokens.next(), tokens.next()) {
        (Some(TokenTree::Ident(doc)), Some(TokenTree::Punct(equals)), Some(text @ TokenTree::Literal(_)), None)
            if doc == "doc" && equals.as_char() == '=' =>
        {
            syn::parse2::<LitStr>(text.into()).ok().map(|text| text.value())
        }
        _ => None,
    }
}

/// `3 x 224 x 224`.
fn shape(input: ParseStream<'_>) -> Result<InputSpec, Diagnostic> {
    const WHAT: &str = "the input as channels x height x width";
    let start = input.span();
    let numbers = number::dimensions(input, WHAT)?;
    let [channels, height, width] = numbers.as_slice() else {
        let message = format!("expected {WHAT}, found {} of the 3 numbers", numbers.len());
        return Err(Diagnostic::new(start, message).with_help("write it like `3 x 224 x 224`"));
    };
    let bounded = |number: &Spanned<usize>, range: IntegerRange| match range.refuse(number.value) {
        None => Ok(number.clone()),
        Some(message) => Err(Diagnostic::new(number.span, message)),
    };
    Ok(InputSpec {
        channels: bounded(channels, limits::INPUT_CHANNELS)?,
        height: bounded(height, limits::INPUT_HEIGHT)?,
        width: bounded(width, limits::INPUT_WIDTH)?,
    })
}

/// The rows between the braces. `complete` becomes false when a layer had to be left out.
fn rows(content: ParseStream<'_>, context: &mut Context, complete: &mut bool) -> Vec<Vec<Entry>> {
    let at_separator = |rest: ParseStream<'_>| rest.peek(Token![,]) || rest.peek(Token![;]);
    let mut rows = Vec::new();
    let mut row = Vec::new();
    // Entries of the row, whether or not they could be read: an unreadable one does not make the row empty.
    let mut entries = 0_usize;
    while !content.is_empty() && !context.errors.is_full() {
        if content.peek(Token![;]) {
            if entries == 0 {
                let message = "expected a layer, found an empty row";
                context.errors.push(Diagnostic::new(content.span(), message).with_help("remove this `;`"));
            }
            let _ = content.parse::<Token![;]>();
            rows.push(std::mem::take(&mut row));
            entries = 0;
            continue;
        }
        if content.peek(Token![,]) {
            context.errors.push(Diagnostic::new(content.span(), "expected a layer, found `,`"));
            let _ = content.parse::<Token![,]>();
            continue;
        }
        entries += 1;
        match layer(content, context) {
            Ok(entry) => row.push(entry),
            Err(error) => {
                context.errors.push(error);
                *complete = false;
                skip_while(content, |rest| !at_separator(rest));
            }
        }
        if !content.is_empty() && !at_separator(content) {
            let message = format!("expected `,` or `;` after a layer, found {}", found(content));
            context.errors.push(Diagnostic::new(content.span(), message));
            *complete = false;
            skip_while(content, |rest| !at_separator(rest));
        }
        let _ = content.parse::<Token![,]>();
    }
    skip_while(content, |_| true);
    if entries > 0 {
        rows.push(row);
    }
    rows
}

/// The last fully connected layer gives the logits: it has no ReLU unless it says so.
fn last_fc_is_linear(rows: &mut [Vec<Entry>]) {
    let fcs = rows.iter_mut().flatten().filter(|entry| matches!(entry.layer.kind, LayerKind::Fc { .. }));
    if let Some(Entry { layer, default_relu: true }) = fcs.last()
        && let LayerKind::Fc { relu, .. } = &mut layer.kind
    {
        *relu = false;
    }
}

/// `vgg-d;`: the rows of a built-in network under another name, and its documentation unless there is one of its own.
fn built_in(
    input: ParseStream<'_>,
    docs: Vec<String>,
    visibility: Visibility,
    name: Spanned<String>,
    context: &mut Context,
) -> Result<Parsed, Diagnostic> {
    let help = || {
        let names = enumerate(variants::VARIANTS.iter().map(|variant| variant.name));
        format!("write `Name = vgg-d;`; the built-in networks are {names}")
    };
    let span = input.span();
    if !input.peek(Ident) {
        let message = format!("expected a built-in network after `=`, found {}", found(input));
        return Err(Diagnostic::new(span, message).with_help(help()));
    }
    let mut text = String::new();
    while !input.is_empty() && !input.peek(Token![;]) && !input.peek(token::Brace) && text.len() < 64 {
        text.push_str(&input.parse::<TokenTree>()?.to_string());
    }
    let preprocess = braces(input).ok().and_then(|content| only_preprocess(&content, context));
    let _ = input.parse::<Token![;]>();
    let Some(variant) = variants::variant(&text) else {
        let known = variants::suggest(&text).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        let message = format!("unknown network {}{known}", super::quoted(&text));
        return Err(Diagnostic::new(span, message).with_help(help()));
    };
    let mut spec = variant.spec().map_err(|_| Diagnostic::new(span, format!("`{text}` is not available")))?;
    spec.docs = if docs.is_empty() { spec.docs } else { docs };
    spec.visibility = visibility;
    spec.name = name;
    spec.preprocess = preprocess;
    stand_at(&mut spec, span);
    Ok(Parsed { spec, complete: true })
}

/// The preprocessing in the braces after a built-in, whose layers are given.
fn only_preprocess(content: ParseStream<'_>, context: &mut Context) -> Option<Spanned<Preprocess>> {
    let span = content.span();
    let item = preprocess::item(content, context);
    if !content.is_empty() || (item.is_none() && context.errors.is_empty()) {
        let message = format!("expected `preprocess ..;` after a built-in network, found {}", found(content));
        let place = if content.is_empty() { span } else { content.span() };
        context
            .errors
            .push(Diagnostic::new(place, message).with_help("its layers are given; write them out to change them"));
        skip_while(content, |_| true);
    }
    item
}

/// Makes the place where a built-in is named the place of all its parts, whose own spans lie in another file.
fn stand_at(spec: &mut ModelSpec, span: Span) {
    let InputSpec { channels, height, width } = &mut spec.input;
    channels.span = span;
    height.span = span;
    width.span = span;
    for layer in spec.rows.iter_mut().flatten() {
        layer.span = span;
        if let Some(label) = &mut layer.label {
            label.span = span;
        }
    }
}
