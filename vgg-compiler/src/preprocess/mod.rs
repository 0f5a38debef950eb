//! How an image becomes the input of a network, and what its outputs are called: the lineage of a set of weights.
//!
//! Weights do not say in which order their network reads the colours, which mean was subtracted, or which class comes first, and a
//! wrong choice of any of these changes no shape. A [`Preprocess`] says it. A declaration may hold one, the canonical weights file and
//! an ONNX model carry it as text under [`METADATA_KEY`], and generated code applies it. Where there is none it is unknown: nothing
//! is guessed.
//!
//! The text is that of the notation, and [`crate::spec::parse::parse_preprocess`] reads it back:
//!
//! ```
//! use vgg_compiler::preprocess::preset;
//!
//! assert_eq!(
//!     preset("torchvision").unwrap().preprocess().to_string(),
//!     "rgb, range 1, mean 0.485 0.456 0.406, std 0.229 0.224 0.225, resize 256, bilinear, classes imagenet"
//! );
//! ```

mod classes;
mod presets;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

pub use classes::{ClassOrder, ImagenetClass};
pub use presets::{PRESETS, Preset, name_of, preset, suggest};

/// The key of the metadata of weights files and ONNX models.
pub const METADATA_KEY: &str = "vgg.preprocessing";

/// The key of the tensor `[C, H, W]` in a weights file that holds the mean image, when there is one.
pub const MEAN_KEY: &str = "vgg.mean";

/// How an image becomes the input of a network, and in which order its classes are.
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocess {
    /// The channels of the input, in their order.
    pub colours: Colours,
    /// What black and white become before the mean is subtracted.
    pub range: Range,
    /// What is subtracted.
    pub mean: Mean,
    /// What each channel is divided by afterwards, in the order of the channels.
    pub std: Vec<f32>,
    /// Which part of the image is seen, and how large.
    pub resize: Resize,
    /// How pixels between pixels are made.
    pub filter: Filter,
    /// The order of the classes, when it is a known one.
    pub classes: Option<ClassOrder>,
}

/// What is subtracted from an image.
#[derive(Debug, Clone, PartialEq)]
pub enum Mean {
    /// One number from each channel, in the order of the channels.
    Channels(Vec<f32>),
    /// A number of its own from each value of the input, `[C, H, W]`. The text only says that there is one; its numbers lie in the weights
    /// file under [`MEAN_KEY`]. None where they are not at hand.
    Image(Option<Arc<[f32]>>),
}

/// The channels of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red, as OpenCV and therefore Caffe read images.
    Bgr,
    /// Luminance, by ITU-R 601 as Pillow computes it.
    Grey,
}

/// What the 256 levels of a pixel become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// 0 to 1: the level divided by 255.
    Unit,
    /// 0 to 255: the level itself.
    Bytes,
}

/// Which part of an image a network sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resize {
    /// The shorter side becomes so long, the other in proportion; then the centre is cut out.
    ShortSide(usize),
    /// The whole image, stretched to the size of the input.
    Stretch,
}

/// How pixels between pixels are made. All but the nearest one average over the source when an image shrinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// The nearest pixel.
    Nearest,
    /// Linear interpolation, as Pillow's `BILINEAR`.
    Bilinear,
    /// Cubic interpolation with a = -0.5, as Pillow's `BICUBIC`.
    Bicubic,
}

impl Mean {
    /// Whether the two may be the same: a mean image of which the numbers are not at hand may be any.
    fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Image(None), Self::Image(_)) | (Self::Image(_), Self::Image(None)) => true,
            _ => self == other,
        }
    }
}

impl Colours {
    /// Every one, with its word in the notation.
    pub const ALL: [Self; 3] = [Self::Rgb, Self::Bgr, Self::Grey];

    /// How many channels there are.
    pub fn channels(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Grey => 1,
        }
    }

    /// The word of the notation.
    pub fn word(self) -> &'static str {
        match self {
            Self::Rgb => "rgb",
            Self::Bgr => "bgr",
            Self::Grey => "grey",
        }
    }
}

impl Range {
    /// What white becomes.
    pub fn white(self) -> f32 {
        match self {
            Self::Unit => 1.0,
            Self::Bytes => 255.0,
        }
    }
}

impl Filter {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Nearest, Self::Bilinear, Self::Bicubic];

    /// The word of the notation.
    pub fn word(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Bilinear => "bilinear",
            Self::Bicubic => "bicubic",
        }
    }
}

impl Preprocess {
    /// Why it cannot be that of a network with an input of these extents.
    pub fn refuse(&self, channels: usize, height: usize, width: usize) -> Option<String> {
        let own = self.colours.channels();
        if own != channels {
            let (word, plural) = (self.colours.word(), if own == 1 { "" } else { "s" });
            return Some(format!("`{word}` has {own} channel{plural}, expected the {channels} of the input"));
        }
        let len = channels * height * width;
        if let Mean::Image(Some(image)) = &self.mean
            && image.len() != len
        {
            return Some(format!("the mean image has {} numbers, expected {len} for the input", image.len()));
        }
        match self.resize {
            Resize::ShortSide(side) if side < height.max(width) => Some(format!(
                "the shorter side of an image becomes {side} pixels, expected at least the {} of the input",
                height.max(width)
            )),
            _ => None,
        }
    }

    /// Whether the two make the same input of every image.
    pub fn same_input(&self, other: &Self) -> bool {
        let rest = |of: &Self| (of.colours, of.range, of.std.clone(), of.resize, of.filter);
        self.mean.agrees(&other.mean) && rest(self) == rest(other)
    }

    /// Whether the two contradict each other: they make different inputs, or name different orders of classes.
    pub fn conflicts(&self, other: &Self) -> bool {
        let orders = self.classes.zip(other.classes);
        !self.same_input(other) || orders.is_some_and(|(one, other)| one != other)
    }

    /// In which points `other` says something else, as a list of words: `colours, mean`.
    pub fn differences(&self, other: &Self) -> String {
        let points = [
            ("colour order", self.colours != other.colours),
            ("range", self.range != other.range),
            ("mean", !self.mean.agrees(&other.mean)),
            ("std", self.std != other.std),
            ("resizing", self.resize != other.resize || self.filter != other.filter),
            ("class order", self.classes.zip(other.classes).is_some_and(|(one, other)| one != other)),
        ];
        points.iter().filter(|(_, differ)| *differ).map(|(point, _)| *point).collect::<Vec<_>>().join(", ")
    }

    /// Its name with what it stands for, or the values alone: `torchvision (rgb, range 1, ..)`.
    pub fn described(&self) -> String {
        match name_of(self) {
            Some(name) => format!("{name} ({self})"),
            None => self.to_string(),
        }
    }
}

/// In the notation, every value written out but for a mean of 0 and a deviation of 1.
impl fmt::Display for Preprocess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { colours, range, mean, std, resize, filter, classes } = self;
        write!(f, "{}, range {}", colours.word(), range.white())?;
        let values = |f: &mut fmt::Formatter<'_>, word: &str, values: &[f32], default: f32| {
            if values.iter().all(|&value| value == default) {
                return Ok(());
            }
            write!(f, ", {word}")?;
            values.iter().try_for_each(|value| write!(f, " {value}"))
        };
        match mean {
            Mean::Channels(mean) => values(f, "mean", mean, 0.0)?,
            Mean::Image(_) => f.write_str(", mean image")?,
        }
        values(f, "std", std, 1.0)?;
        match resize {
            Resize::ShortSide(side) => write!(f, ", resize {side}")?,
            Resize::Stretch => f.write_str(", stretch")?,
        }
        write!(f, ", {}", filter.word())?;
        match classes {
            Some(order) => write!(f, ", classes {}", order.word()),
            None => Ok(()),
        }
    }
}
