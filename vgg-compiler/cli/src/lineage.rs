//! How images become the input of a network: what the declaration says, what the weights say, and what was asked for.

use serde_json::{Value, json};
use vgg_compiler::preprocess::{PRESETS, Preprocess, Resize, name_of};
use vgg_compiler::spec::parse::parse_preprocess;
use vgg_compiler::weights::WeightsSource;

use crate::error::Error;
use crate::model::Model;
use crate::progress::Progress;

/// The names of all presets, and whose weights have them.
fn presets() -> String {
    let presets = PRESETS.iter().map(|preset| format!("{} ({})", preset.name, preset.of));
    presets.collect::<Vec<_>>().join("; ")
}

/// Decides how images become the input of `model` with the weights of `source`, and writes it into the declaration: what `asked`
/// says, or else what the declaration and the weights agree upon.
///
/// # Errors
///
/// When `asked` is not understood, when it or what the weights record does not fit the input, or when the declaration and the
/// weights contradict each other and nobody has decided.
pub(crate) fn decide(
    model: &mut Model,
    source: &WeightsSource,
    asked: Option<&str>,
    progress: &Progress,
) -> Result<(), Error> {
    let declared = model.spec.preprocess.as_ref().map(|preprocess| preprocess.value.clone());
    let recorded = source.lineage()?;
    let input =
        [&model.spec.input.channels, &model.spec.input.height, &model.spec.input.width].map(|extent| extent.value);
    let refuse = |preprocess: &Preprocess| preprocess.refuse(input[0], input[1], input[2]);
    if let Some(text) = asked {
        let asked = parse_preprocess(text).map_err(|problem| {
            Error::usage(format!("--preprocess: {problem}")).with_help(format!("the presets are {}", presets()))
        })?;
        if let Some(reason) = refuse(&asked) {
            return Err(Error::usage(format!(
                "--preprocess: it does not fit the input of `{}`: {reason}",
                model.name()
            ))
            .with_help("choose another preprocessing, or change its settings: `torchvision(resize 320)`"));
        }
        let declarer = format!("the declaration of `{}`", model.name());
        for (known, who) in [(&declared, &declarer), (&recorded, &source.to_string())] {
            if let Some(known) = known.as_ref().filter(|known| known.conflicts(&asked)) {
                progress.warn(&format!(
                    "--preprocess says {}, but {who} says {}: they differ in {}",
                    asked.described(),
                    known.described(),
                    known.differences(&asked)
                ));
            }
        }
        model.spec.set_preprocess(asked);
        return Ok(());
    }
    let Some(recorded) = recorded else { return Ok(()) };
    if let Some(reason) = refuse(&recorded) {
        return Err(Error::refused(format!("{source}: its preprocessing does not fit `{}`: {reason}", model.name()))
            .with_help("the weights belong to another network; or say with --preprocess how images become its input"));
    }
    match declared {
        Some(declared) if declared.conflicts(&recorded) => Err(Error::refused(format!(
            "{source}: the weights were trained with {}, but `{}` declares {}: they differ in {}",
            recorded.described(),
            model.name(),
            declared.described(),
            recorded.differences(&declared)
        ))
        .with_help("correct the declaration, or say with --preprocess which of the two holds")),
        // Both make the same input; one of the two may know the order of the classes as well.
        Some(declared) => {
            let classes = declared.classes.or(recorded.classes);
            model.spec.set_preprocess(Preprocess { classes, ..declared });
            Ok(())
        }
        None => {
            model.spec.set_preprocess(recorded);
            Ok(())
        }
    }
}

/// The preprocessing of `model`, which must be known for what is to be done.
///
/// # Errors
///
/// When it is not; the error lists the presets.
pub(crate) fn required(model: &Model) -> Result<&Preprocess, Error> {
    model.spec.preprocess.as_ref().map(|preprocess| &preprocess.value).ok_or_else(|| {
        Error::usage(format!(
            "`{}`: it is not known how images become its input: neither the declaration nor the weights say",
            model.name()
        ))
        .with_help(format!("say how the weights were trained with --preprocess NAME: {}", presets()))
    })
}

/// A preprocessing for programs.
pub(crate) fn document(preprocess: &Preprocess) -> Value {
    let Preprocess { colours, range, mean, std, resize, filter, classes } = preprocess;
    // As decimal numbers: the nearest f64 of 0.485f32 is longer.
    let decimal = |values: &[f32]| -> Vec<f64> {
        values.iter().map(|value| value.to_string().parse().unwrap_or_else(|_| f64::from(*value))).collect()
    };
    json!({
        "name": name_of(preprocess),
        "text": preprocess.to_string(),
        "colours": colours.word(),
        "range": range.white() as u8,
        "mean": decimal(mean),
        "std": decimal(std),
        "resize": match resize {
            Resize::ShortSide(side) => json!(side),
            Resize::Stretch => json!("stretch"),
        },
        "filter": filter.word(),
        "classes": classes.map(|order| order.word()),
    })
}
