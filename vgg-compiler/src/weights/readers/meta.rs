//! What the `meta` of a network of MatConvNet says of images and classes.
//!
//! ```text
//! normalization.imageSize        [height, width, channels] of the input
//!              .averageImage     what is subtracted from images of 0 to 255, red first: [height, width, 3], or three numbers
//!              .border           [rows, columns] that an image is larger than the input before it is cropped       until 1.0-beta20
//!              .cropSize         the part of the image that is seen: 224 / 256                                      since then
//!              .keepAspect       whether the border is one of the shorter side, or of both
//!              .interpolation    bilinear, bicubic, nearest
//! classes      .name             WordNet identifiers, as a rule
//! ```
//!
//! Source: examples/imagenet/cnn_imagenet_get_batch.m (until beta20), examples/imagenet/getImageBatch.m (since), utils/import-caffe.py of
//! vlfeat/matconvnet.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::mat::Array;
use super::problem::printable;
use crate::preprocess::{ClassOrder, Colours, Filter, Mean, Preprocess, Range, Resize};
use crate::spec::limits::MAX_EXTENT;
use crate::spec::parse::parse_preprocess;
use crate::weights::view::View;

/// What a file says of images and classes.
pub(super) struct Meta {
    /// How images become the input, when it says all of that.
    pub(super) preprocess: Option<Preprocess>,
    /// The same for people, a clause each.
    pub(super) notes: Vec<String>,
}

/// What the structures `normalization` and `classes` say.
pub(super) fn meta(normalization: Option<&Array>, classes: Option<&Array>) -> Meta {
    let mut notes = Vec::new();
    let (order, named) = classes.and_then(order).unzip();
    let order = order.flatten();
    let images = normalization.map(images);
    let preprocess = match images {
        Some(Ok(preprocess)) => {
            let preprocess = Preprocess { classes: order, ..preprocess };
            notes.push(format!("its meta says of images: {}", preprocess.described()));
            Some(preprocess)
        }
        Some(Err(lacking)) => {
            notes.push(format!("its meta does not tell how images become its input: {lacking}"));
            None
        }
        None => None,
    };
    notes.extend(named);
    Meta { preprocess, notes }
}

/// How images become the input, but for the classes; or why that is not known, a clause.
fn images(normalization: &Array) -> Result<Preprocess, String> {
    let numbers = |name: &str| normalization.field(name).and_then(Array::numbers).map(values);
    let image_size = numbers("imageSize").ok_or("it has no `imageSize`")?;
    let (height, width) = match image_size.as_slice() {
        &[height, width] | &[height, width, 3.0, ..] => (extent(height)?, extent(width)?),
        other => return Err(format!("its `imageSize` is {other:?}, expected [height, width, 3]")),
    };
    let mean = match normalization.field("averageImage").and_then(Array::numbers) {
        Some(image) => mean(image, height, width)?,
        None => return Err("it has no `averageImage`".into()),
    };
    let filter = match normalization.field("interpolation") {
        None => Filter::Bilinear,
        Some(array) => {
            let text = array.text().unwrap_or_default();
            let known = Filter::ALL.into_iter().find(|filter| filter.word() == text);
            known.ok_or_else(|| format!("its `interpolation` is `{}`, which is not known here", printable(text)))?
        }
    };
    let keeps = numbers("keepAspect").is_none_or(|flag| flag.iter().any(|&value| value != 0.0));
    let resize = resize([height, width], numbers("border").as_deref(), numbers("cropSize").as_deref(), keeps)?;
    let (colours, range, std) = (Colours::Rgb, Range::Bytes, vec![1.0; 3]);
    let preprocess = Preprocess { colours, range, mean, std, resize, filter, classes: None };
    // What is written down must be read back.
    parse_preprocess(&preprocess.to_string()).map(|_| preprocess)
}

/// How large images become whose part of `size` is seen.
fn resize(
    size: [usize; 2],
    border: Option<&[f64]>,
    crop: Option<&[f64]>,
    keeps_aspect: bool,
) -> Result<Resize, String> {
    let [height, width] = size.map(|extent| extent as f64);
    let larger = match (border, crop) {
        (Some(&[rows, columns, ..]), _) => [height + rows, width + columns],
        (Some(&[both]), _) => [height + both, width + both],
        (_, Some(&[part])) if part > 0.0 => [(height / part).round(), (width / part).round()],
        (_, Some(&[rows, columns])) if rows > 0.0 && columns > 0.0 => {
            [(height / rows).round(), (width / columns).round()]
        }
        _ => return Err("neither `border` nor `cropSize` says how large an image becomes".into()),
    };
    let [rows, columns] = [extent(larger[0])?, extent(larger[1])?];
    let shown = format!("{rows}x{columns} pixels, of which {}x{} are seen", size[0], size[1]);
    match keeps_aspect {
        false if [rows, columns] == size => Ok(Resize::Stretch),
        false => Err(format!("an image is stretched to {shown}, and not to the input")),
        true if rows == columns && rows >= size[0].max(size[1]) => Ok(Resize::ShortSide(rows)),
        true => Err(format!("an image becomes {shown}, expected a square that is no smaller")),
    }
}

/// What is subtracted from images of these extents.
fn mean(image: &View, height: usize, width: usize) -> Result<Mean, String> {
    let shape = image.shape();
    if image.is_empty() {
        return Ok(Mean::Channels(vec![0.0; 3]));
    }
    let planes = match *shape {
        [rows, columns, 3] if (rows, columns) == (height, width) || (rows, columns) == (1, 1) => {
            image.permuted(&[2, 0, 1])
        }
        [1, 3] | [3, 1] => Some(image.clone()),
        // The importer writes two zeros where there is none.
        [1, 2] if values(image) == [0.0; 2] => return Ok(Mean::Channels(vec![0.0; 3])),
        _ => None,
    };
    let Some(planes) = planes else {
        return Err(format!(
            "its `averageImage` has the extents {shape:?}, expected [{height}, {width}, 3] or [1, 1, 3]"
        ));
    };
    let numbers: Vec<f32> = planes.to_tensor().values().collect();
    if numbers.iter().any(|value| !value.is_finite()) {
        return Err("its `averageImage` holds NaN or infinity".into());
    }
    // The importer makes an image of three numbers.
    let channels: Vec<&[f32]> = numbers.chunks_exact(numbers.len() / 3).collect();
    let pixel: Vec<f32> = channels.iter().filter_map(|channel| channel.first().copied()).collect();
    let constant = channels.iter().zip(&pixel).all(|(channel, first)| channel.iter().all(|value| value == first));
    Ok(if constant { Mean::Channels(pixel) } else { Mean::Image(Some(numbers.into())) })
}

/// The order of the classes, when it is a known one, and what to say of them.
fn order(classes: &Array) -> Option<(Option<ClassOrder>, String)> {
    let Some(Array::Cell(names)) = classes.field("name") else { return None };
    let names: Vec<&str> = names.iter().map(|name| name.text().unwrap_or_default().trim()).collect();
    let first = names.first()?;
    let order = ClassOrder::of_synsets(&names);
    let known = match order {
        Some(order) => format!("in the order `{}`", order.word()),
        None => "in none of the known orders: --labels FILE gives them their names".into(),
    };
    Some((order, format!("its meta names {} classes, `{}` first, {known}", names.len(), printable(first))))
}

/// A number of pixels.
fn extent(value: f64) -> Result<usize, String> {
    let whole = value as usize;
    if whole as f64 == value && (1..=MAX_EXTENT).contains(&whole) {
        return Ok(whole);
    }
    Err(format!("an extent of {value} pixels, expected a whole number from 1 to {MAX_EXTENT}"))
}

/// All elements. In no order that matters for a row or a column.
fn values(view: &View) -> Vec<f64> {
    let mut values = Vec::with_capacity(view.len());
    view.for_each(&mut |value| values.push(value));
    values
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::weights::view::ElementType;

    fn numbers(dims: &[usize], values: &[f64]) -> Array {
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Array::Numbers(View::column_major(ElementType::F64, dims.to_vec(), Bytes::from(data)).unwrap())
    }

    fn row(values: &[f64]) -> Array {
        numbers(&[1, values.len()], values)
    }

    /// A complete one, with the fields `changed` in place of its own; a field of no numbers is taken away.
    fn said(changed: &[(&str, Array)]) -> Result<String, String> {
        let mut fields = vec![
            ("imageSize", row(&[224.0, 224.0, 3.0])),
            ("averageImage", numbers(&[1, 1, 3], &[120.0, 110.0, 100.0])),
            ("interpolation", Array::Text("bilinear".into())),
            ("keepAspect", row(&[1.0])),
            ("border", row(&[32.0, 32.0])),
        ];
        for (name, value) in changed {
            fields.retain(|(field, _)| field != name);
            fields.push((name, value.clone()));
        }
        fields.retain(|(_, value)| !matches!(value, Array::Other));
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        images(&Array::Struct(vec![fields])).map(|preprocess| preprocess.to_string())
    }

    #[test]
    fn sizes_follow_from_border_crop_and_aspect() {
        let rest = |resize: &str| Ok(format!("rgb, range 255, mean 120 110 100, {resize}, bilinear"));
        for (changed, resize) in [
            (&[][..], "resize 256"),
            // What `256 - imageSize` gives.
            (&[("border", row(&[32.0, 32.0, 253.0]))], "resize 256"),
            (&[("border", row(&[0.0, 0.0]))], "resize 224"),
            (&[("border", Array::Other), ("cropSize", row(&[224.0 / 256.0]))], "resize 256"),
            (&[("border", Array::Other), ("cropSize", row(&[0.875, 0.875]))], "resize 256"),
            (&[("border", row(&[0.0, 0.0])), ("keepAspect", row(&[0.0]))], "stretch"),
            (&[("keepAspect", Array::Other), ("interpolation", Array::Other)], "resize 256"),
        ] {
            assert_eq!(said(changed), rest(resize), "{changed:?}");
        }
    }

    #[test]
    fn what_cannot_be_said_here_is_named() {
        for (field, value, words) in [
            ("imageSize", Array::Other, "it has no `imageSize`"),
            ("imageSize", row(&[28.0, 28.0, 1.0]), "expected [height, width, 3]"),
            ("imageSize", row(&[224.5, 224.0, 3.0]), "an extent of 224.5 pixels"),
            ("imageSize", row(&[f64::NAN, 224.0, 3.0]), "an extent of NaN pixels"),
            ("imageSize", row(&[1e300, 224.0, 3.0]), "pixels, expected a whole number from 1 to"),
            ("averageImage", Array::Other, "it has no `averageImage`"),
            ("averageImage", numbers(&[2, 2, 3], &[1.0; 12]), "has the extents [2, 2, 3], expected [224, 224, 3]"),
            ("averageImage", row(&[1.0, 2.0]), "has the extents [1, 2]"),
            ("averageImage", row(&[1.0, f64::INFINITY, 2.0]), "holds NaN or infinity"),
            ("interpolation", Array::Text("lanczos3".into()), "`interpolation` is `lanczos3`"),
            ("keepAspect", row(&[0.0]), "an image is stretched to 256x256 pixels, of which 224x224 are seen"),
            ("border", row(&[32.0, 16.0]), "an image becomes 256x240 pixels"),
            ("border", row(&[-32.0, -32.0]), "an image becomes 192x192 pixels"),
            ("border", Array::Other, "neither `border` nor `cropSize`"),
        ] {
            let problem = said(&[(field, value)]).unwrap_err();
            assert!(problem.contains(words), "{field}: {problem}");
        }
    }

    /// Two zeros are what the importer writes without a mean.
    #[test]
    fn nothing_may_be_subtracted() {
        for nothing in [row(&[0.0, 0.0]), numbers(&[0, 0], &[]), numbers(&[3, 1], &[0.0; 3])] {
            assert_eq!(said(&[("averageImage", nothing)]).unwrap(), "rgb, range 255, resize 256, bilinear");
        }
    }
}
