//! From the pixels of an image to the input of a network.
//!
//! An image of 8-bit RGB pixels, rows from the top, is made grey if the network is, resized, cropped, and turned into channels of
//! f32: `(level / 255 - mean) / std`, or without the division by 255 where a network takes 0 to 255. Every step is that of Pillow and
//! torchvision, so that the resized pixels are the same to the bit (up to Pillow 12, and to one level after it); the numbers are those of f32 arithmetic in that order.
//!
//! ```
//! use vgg_runtime::preprocess::{Colours, Filter, Preprocess, Resize};
//!
//! const TORCHVISION: Preprocess<'static> = Preprocess {
//!     colours: Colours::Rgb,
//!     white: 1.0,
//!     mean: &[0.485, 0.456, 0.406],
//!     std: &[0.229, 0.224, 0.225],
//!     resize: Resize::ShortSide(256),
//!     filter: Filter::Bilinear,
//!     height: 224,
//!     width: 224,
//! };
//!
//! let image = vec![255; 640 * 480 * 3];
//! let input: Box<[f32; 3 * 224 * 224]> = TORCHVISION.input(&image, 640, 480)?;
//! assert_eq!(input[0], (1.0 - 0.485) / 0.229);
//! # Ok::<(), vgg_runtime::Error>(())
//! ```

mod resize;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::Error;
use resize::{Axis, resize};

/// What is done to an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preprocess<'a> {
    /// The channels of the input, in their order.
    pub colours: Colours,
    /// What white becomes before the mean is subtracted: 1, or 255.
    pub white: f32,
    /// What is subtracted: one number for each channel, or a mean image of the whole input.
    pub mean: &'a [f32],
    /// What each channel is divided by afterwards.
    pub std: &'a [f32],
    /// Which part of the image is seen.
    pub resize: Resize,
    /// How pixels between pixels are made.
    pub filter: Filter,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
}

/// The channels of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// Luminance by ITU-R 601, in Pillow's integers: `(19595 R + 38470 G + 7471 B + 32768) / 65536`.
    Grey,
}

/// Which part of an image is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resize {
    /// The shorter side becomes so long, the other in proportion, rounded down; then the centre is cut out. Where it cannot be
    /// exactly in the middle it begins at the even one of the two pixels next to it, as in torchvision.
    ShortSide(usize),
    /// The whole image, stretched to the size of the input.
    Stretch,
}

/// How pixels between pixels are made. All but the nearest one average over the source when an image shrinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// The nearest pixel, as Pillow's `NEAREST`.
    Nearest,
    /// Linear interpolation, as Pillow's `BILINEAR`.
    Bilinear,
    /// Cubic interpolation with a = -0.5, as Pillow's `BICUBIC`.
    Bicubic,
}

impl Colours {
    /// How many channels there are.
    pub const fn channels(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Grey => 1,
        }
    }
}

impl Preprocess<'_> {
    /// Values of the input: channels x rows x columns.
    pub const fn len(&self) -> usize {
        self.colours.channels() * self.height * self.width
    }

    /// Whether the input has no values.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The input of a network for the image of `width` x `height` RGB pixels in `rgb`, three bytes each, row after row.
    ///
    /// # Errors
    /// When `rgb` has not the length of such an image, or the image has no pixels.
    ///
    /// # Panics
    /// As [`Preprocess::apply`], and when the input has not `LEN` values.
    pub fn input<const LEN: usize>(&self, rgb: &[u8], width: usize, height: usize) -> Result<Box<[f32; LEN]>, Error> {
        assert_eq!(self.len(), LEN, "preprocess: the input has another number of values");
        let mut input = vec![0.0; LEN];
        self.apply(rgb, width, height, &mut input)?;
        match input.into_boxed_slice().try_into() {
            Ok(input) => Ok(input),
            Err(_) => unreachable!("the input has this very length"),
        }
    }

    /// The same, written to `input`: its channels one after the other.
    ///
    /// # Errors
    /// As [`Preprocess::input`].
    ///
    /// # Panics
    /// When `input` has not [`Preprocess::len`] values, there is not one `std` for each channel and one `mean` for each channel or each
    /// value, or the shorter side becomes shorter than the input.
    pub fn apply(&self, rgb: &[u8], width: usize, height: usize, input: &mut [f32]) -> Result<(), Error> {
        let channels = self.colours.channels();
        assert_eq!(input.len(), self.len(), "preprocess: the input has another number of values");
        assert!(
            (self.mean.len() == channels || self.mean.len() == self.len()) && self.std.len() == channels,
            "preprocess: expected {channels} means and deviations, found {} and {}",
            self.mean.len(),
            self.std.len()
        );
        let expected = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(3));
        if expected != Some(rgb.len()) || rgb.is_empty() {
            return Err(Error::Image { width, height, found: rgb.len() });
        }
        let (rows, columns) = self.axes(height, width);
        let pixels = match self.colours {
            Colours::Grey => resize(&grey(rgb), [height, width], 1, self.filter, rows, columns),
            Colours::Rgb | Colours::Bgr => resize(rgb, [height, width], 3, self.filter, rows, columns),
        };
        let plane = self.height * self.width;
        for (channel, values) in input.chunks_exact_mut(plane.max(1)).enumerate() {
            let from = if self.colours == Colours::Bgr { channels - 1 - channel } else { channel };
            let levels = pixels.chunks_exact(channels).map(|pixel| usize::from(pixel[from]));
            if self.mean.len() == channels {
                let table = self.levels(channel);
                values.iter_mut().zip(levels).for_each(|(value, level)| *value = table[level]);
            } else {
                let mean = &self.mean[channel * plane..(channel + 1) * plane];
                for ((value, level), mean) in values.iter_mut().zip(levels).zip(mean) {
                    *value = self.value(level, *mean, channel);
                }
            }
        }
        Ok(())
    }

    /// What each of the 256 levels of a channel becomes.
    fn levels(&self, channel: usize) -> [f32; 256] {
        let mut levels = [0.0; 256];
        for (level, value) in levels.iter_mut().enumerate() {
            *value = self.value(level, self.mean[channel], channel);
        }
        levels
    }

    fn value(&self, level: usize, mean: f32, channel: usize) -> f32 {
        (level as f32 / (255.0 / self.white) - mean) / self.std[channel]
    }

    /// How rows and columns are resized and cropped.
    fn axes(&self, height: usize, width: usize) -> (Axis, Axis) {
        let Resize::ShortSide(side) = self.resize else {
            return (Axis::whole(self.height), Axis::whole(self.width));
        };
        let long = |long: usize, short: usize| ((side as u64 * long as u64) / short as u64) as usize;
        let (rows, columns) = if width <= height { (long(height, width), side) } else { (side, long(width, height)) };
        (Axis::centre(rows, self.height), Axis::centre(columns, self.width))
    }
}

fn grey(rgb: &[u8]) -> Vec<u8> {
    rgb.as_chunks::<3>()
        .0
        .iter()
        .map(|&[red, green, blue]| {
            ((19595 * u32::from(red) + 38470 * u32::from(green) + 7471 * u32::from(blue) + 0x8000) >> 16) as u8
        })
        .collect()
}
