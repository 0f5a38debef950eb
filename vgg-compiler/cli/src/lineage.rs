//! How images become the input of a network: what the declaration says, what the weights say, and what was asked for.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use vgg_compiler::preprocess::{Colours, Mean, PRESETS, Preprocess, Range, Resize, name_of};
use vgg_compiler::spec::parse::parse_preprocess;
use vgg_compiler::weights::{WeightsSource, readers};

use crate::error::Error;
use crate::input::read_array;
use crate::mapped;
use crate::model::{Model, Origin};
use crate::progress::Progress;

/// The names of all presets, and whose weights have them.
fn presets() -> String {
    let presets = PRESETS.iter().map(|preset| format!("{} ({})", preset.name, preset.of));
    presets.collect::<Vec<_>>().join("; ")
}

/// What the command line says about images.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Asked {
    /// How images become the input: a preset such as torchvision, or values [default: what the declaration or the weights say]
    #[arg(long, value_name = "NAME")]
    preprocess: Option<String>,
    /// A mean image to subtract in place of a mean pixel: little-endian f32, C order, shape [C, H, W] of the input; or a .binaryproto of Caffe, of which the centre is taken
    #[arg(long, value_name = "M.npy")]
    mean_image: Option<PathBuf>,
}

/// Decides how images become the input of `model` with the weights of `source`, and writes it into the declaration: what was
/// asked for, or else what the declaration and the weights agree upon.
///
/// # Errors
///
/// When what was asked for is not understood, when it or what the weights record does not fit the input, when the declaration and
/// the weights contradict each other and nobody has decided, or when a mean image is not at hand.
pub(crate) fn decide(
    model: &mut Model,
    source: &WeightsSource,
    asked: &Asked,
    progress: &Progress,
) -> Result<(), Error> {
    let declared = model.preprocess().cloned();
    let recorded = mapped::lineage(source)?;
    let mut decided = match &asked.preprocess {
        Some(text) => {
            let asked = parse_preprocess(text).map_err(|problem| {
                Error::usage(format!("--preprocess: {problem}")).with_help(format!("the presets are {}", presets()))
            })?;
            if let Some(reason) = refuse(model, &asked) {
                let message = format!("--preprocess: it does not fit the input of `{}`: {reason}", model.name());
                return Err(Error::usage(message)
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
            Some(asked)
        }
        None => agreed(model, source, declared.clone(), recorded.clone())?,
    };
    if let Some(path) = &asked.mean_image {
        let Some(decided) = &mut decided else {
            return required(model).map(drop);
        };
        decided.mean = Mean::Image(Some(mean_image(path, model, decided.colours)?));
    }
    if let Some(Preprocess { mean: mean @ Mean::Image(None), .. }) = &mut decided {
        let at_hand = [recorded, declared].into_iter().flatten().map(|known| known.mean);
        match at_hand.into_iter().find(|known| matches!(known, Mean::Image(Some(_)))) {
            Some(image) => *mean = image,
            None => {
                let message =
                    format!("`{}`: its preprocessing has a mean image, which {source} does not hold", model.name());
                return Err(Error::refused(message).with_help("give it with --mean-image M.npy"));
            }
        }
    }
    if let Some(decided) = decided {
        if let Some(twice) = done_twice(model, &decided) {
            progress.warn(&twice);
        }
        model.set_preprocess(decided);
    }
    Ok(())
}

/// What `preprocess` does with images that the graph of `model`'s file does again: a sentence.
fn done_twice(model: &Model, preprocess: &Preprocess) -> Option<String> {
    let Origin::Onnx(foreign) = &model.origin else { return None };
    let changes = foreign.own_changes.as_ref()?;
    let neutral = match &preprocess.mean {
        Mean::Channels(mean) => mean.iter().all(|&mean| mean == 0.0) && preprocess.std.iter().all(|&std| std == 1.0),
        Mean::Image(_) => false,
    };
    let reordered = changes.reorders && preprocess.colours == Colours::Bgr;
    let rescaled = changes.shrinks && preprocess.range == Range::Unit;
    if !reordered && !rescaled && (!changes.scales || neutral) {
        return None;
    }
    Some(format!(
        "{}: the graph itself changes its input (it {}), and the preprocessing {} does so before it: give what the graph is to be \
         given, most likely `rgb, range 255` with the same size",
        foreign.path.display(),
        changes.text,
        preprocess.described()
    ))
}

/// What the declaration and the weights say together.
fn agreed(
    model: &Model,
    source: &WeightsSource,
    declared: Option<Preprocess>,
    recorded: Option<Preprocess>,
) -> Result<Option<Preprocess>, Error> {
    let Some(recorded) = recorded else { return Ok(declared) };
    if let Some(reason) = refuse(model, &recorded) {
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
            Ok(Some(Preprocess { classes, ..declared }))
        }
        None => Ok(Some(recorded)),
    }
}

/// Why `preprocess` cannot be that of `model`.
fn refuse(model: &Model, preprocess: &Preprocess) -> Option<String> {
    let Some([channels, height, width]) = model.image() else { return Some("its input is no image".into()) };
    preprocess.refuse(channels, height, width)
}

/// Reads a mean image for the input of `model`, whose channels are `colours`.
fn mean_image(path: &Path, model: &Model, colours: Colours) -> Result<Arc<[f32]>, Error> {
    let Some(expected) = model.image() else {
        return Err(Error::usage(format!("--mean-image: the input of `{}` is no image", model.name()))
            .with_help("leave --mean-image out"));
    };
    let (found, values) = match caffe_mean(path, expected, colours)? {
        Some(image) => (expected.to_vec(), image),
        None => read_array(path)?,
    };
    if found != expected && found.get(1..) != Some(&expected) {
        let message = format!("{}: the mean image has shape {found:?}, expected {expected:?}", path.display());
        return Err(
            Error::refused(message).with_help("channels come first, in the order in which the network reads them")
        );
    }
    if values.len() != expected.iter().product::<usize>() || values.iter().any(|value| !value.is_finite()) {
        let message = format!("{}: expected one mean image of finite numbers", path.display());
        return Err(Error::refused(message).with_help("give the mean over all training images"));
    }
    Ok(values.into())
}

/// The mean image in the file at `path`, when Caffe's `compute_image_mean` wrote it: the centre of these extents, as Caffe crops it with an
/// image, its channels in the order of `colours`.
fn caffe_mean(path: &Path, [channels, height, width]: [usize; 3], colours: Colours) -> Result<Option<Vec<f32>>, Error> {
    /// More than the mean of any input; an array of NumPy has its own bounds.
    const MOST: u64 = 64 << 20;
    let mut content = Vec::new();
    // What cannot be read, the reader of arrays says. A pipe can be read once only.
    if !path.is_file() {
        return Ok(None);
    }
    let read = std::fs::File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut content));
    let Some(found) = read.ok().and_then(|_| readers::mean_image(&content.into())) else { return Ok(None) };
    let refused = |problem: String| {
        Error::refused(format!("{}: {problem}", path.display()))
            .with_help("give the mean image that belongs to these weights, or an array of NumPy [C, H, W]")
    };
    let image = found.map_err(|problem| refused(format!("this mean image of Caffe cannot be read: {problem}")))?;
    let &[own, rows, columns] = image.shape.as_slice() else { return Ok(None) };
    if own != channels || rows < height || columns < width {
        let expected = [channels, height, width];
        return Err(refused(format!("the mean image has shape {:?}, expected {expected:?} or larger", image.shape)));
    }
    let values: Vec<f32> = image.values().collect();
    let (top, left) = ((rows - height) / 2, (columns - width) / 2);
    let plane = |channel: usize| {
        let begin = channel * rows * columns;
        values[begin..begin + rows * columns].chunks_exact(columns).skip(top).take(height)
    };
    let order = (0..channels).map(|channel| if colours == Colours::Rgb { channels - 1 - channel } else { channel });
    Ok(Some(order.flat_map(|channel| plane(channel).flat_map(|row| &row[left..left + width])).copied().collect()))
}

/// The preprocessing of `model`, which must be known for what is to be done.
///
/// # Errors
///
/// When it is not; the error lists the presets.
pub(crate) fn required(model: &Model) -> Result<&Preprocess, Error> {
    model.preprocess().ok_or_else(|| {
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
        "mean": match mean {
            Mean::Channels(mean) => json!(decimal(mean)),
            Mean::Image(_) => json!("image"),
        },
        "std": decimal(std),
        "resize": match resize {
            Resize::ShortSide(side) => json!(side),
            Resize::Stretch => json!("stretch"),
        },
        "filter": filter.word(),
        "classes": classes.map(|order| order.word()),
    })
}
