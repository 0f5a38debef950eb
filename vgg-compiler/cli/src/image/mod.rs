//! Images as people have them: PNG, JPEG, WebP, BMP, and the first picture of a GIF.
//!
//! What comes out is 8-bit RGB, upright as the Exif orientation says. Grey becomes three equal channels, a palette its colours, 16 bits
//! are rounded to 8, and what is transparent shows the background. Colour profiles are not applied.
//!
//! A file is read with bounds on its bytes, its extents and the memory of its decoder, before any of them is spent.

mod files;
mod whole;

use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::error::Error;
use crate::table::bytes;

pub(crate) use files::{Found, find};

/// The largest file that is read.
pub const MAX_FILE: u64 = 256 << 20;

/// The largest width and height in pixels: that of a network's input.
pub const MAX_EXTENT: u32 = 32_768;

/// The most pixels.
pub const MAX_PIXELS: u64 = 128 << 20;

/// The most memory that a decoder may take.
pub const MAX_DECODER: u64 = 1 << 30;

/// What is to be seen through transparent pixels, unless something else is asked for.
pub const WHITE: [u8; 3] = [255; 3];

/// The formats that are read.
const FORMATS: [ImageFormat; 5] =
    [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Gif];

const FORMATS_HELP: &str = "give a PNG, JPEG, WebP, BMP or GIF file";

const DAMAGED_HELP: &str = "fetch the file again, or save it anew";

/// The pixels of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Three bytes a pixel, row after row.
    pub rgb: Vec<u8>,
}

/// Reads the image in the file at `path`, on a background of this colour.
///
/// # Errors
///
/// When the file cannot be read, is no image of a format that is known, is damaged, or is larger than the bounds.
pub fn read(path: &Path, background: [u8; 3]) -> Result<Picture, Error> {
    let reading = |error| Error::reading(path, &error).or_help(FORMATS_HELP);
    let name = path.display();
    let kind = fs::metadata(path).map_err(reading)?;
    if !kind.is_file() {
        return Err(Error::refused(format!("{name}: expected an image, found something else than a file"))
            .with_help(FORMATS_HELP));
    }
    let mut content = Vec::new();
    let too_large = || {
        Error::refused(format!("{name}: the file has more than {}, the most that is read", bytes(MAX_FILE)))
            .with_help("make the image smaller first")
    };
    if kind.len() > MAX_FILE {
        return Err(too_large());
    }
    File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut content)).map_err(reading)?;
    if content.len() as u64 > MAX_FILE {
        return Err(too_large());
    }
    decode(&content, background)
        .map_err(|Refusal { problem, help }| Error::refused(format!("{name}: {problem}")).with_help(help))
}

/// Why an image is refused, and what to do.
struct Refusal {
    problem: String,
    help: &'static str,
}

impl Refusal {
    fn new(problem: impl Into<String>, help: &'static str) -> Self {
        Self { problem: problem.into(), help }
    }
}

impl From<ImageError> for Refusal {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Limits(error) => Self::new(
                format!("decoding it would take more than the memory or the extents allowed: {error}"),
                "make the image smaller first",
            ),
            ImageError::Unsupported(error) => {
                Self::new(format!("this kind of image is not read: {error}"), "save it as an ordinary PNG or JPEG file")
            }
            error => Self::new(format!("the image is damaged or cut off: {error}"), DAMAGED_HELP),
        }
    }
}

fn decode(content: &[u8], background: [u8; 3]) -> Result<Picture, Refusal> {
    let unknown = || match content.is_empty() {
        true => Refusal::new("the file is empty", FORMATS_HELP),
        false => Refusal::new("expected an image, found no format that is read", FORMATS_HELP),
    };
    let mut reader = ImageReader::new(Cursor::new(content)).with_guessed_format().map_err(|_| unknown())?;
    let Some(format) = reader.format().filter(|format| FORMATS.contains(format)) else { return Err(unknown()) };
    let damaged = |what| Refusal::new(format!("the image is damaged or cut off: {what}"), DAMAGED_HELP);
    if let Some(lacking) = whole::lacks(format, content) {
        return Err(damaged(lacking));
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_EXTENT);
    limits.max_image_height = Some(MAX_EXTENT);
    limits.max_alloc = Some(MAX_DECODER);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if width == 0 || height == 0 {
        return Err(Refusal::new(format!("the image has {width} x {height} pixels"), "give an image with pixels"));
    }
    if pixels > MAX_PIXELS || width > MAX_EXTENT || height > MAX_EXTENT || decoder.total_bytes() > MAX_DECODER {
        return Err(Refusal::new(
            format!(
                "the image has {width} x {height} pixels, expected at most {MAX_EXTENT} on a side and {MAX_PIXELS} in all"
            ),
            "make the image smaller first",
        ));
    }
    if let Some(problem) = whole::too_short(format, content, pixels) {
        return Err(damaged(problem));
    }
    // A picture with an orientation that cannot be read is shown as it lies.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    let (width, height) = (image.width() as usize, image.height() as usize);
    let rgb = if image.color().has_alpha() { composed(image, background) } else { image.into_rgb8().into_raw() };
    Ok(Picture { width, height, rgb })
}

/// The image on a background.
fn composed(image: DynamicImage, background: [u8; 3]) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(3 * image.width() as usize * image.height() as usize);
    for &[red, green, blue, alpha] in image.into_rgba8().as_raw().as_chunks::<4>().0 {
        let alpha = u32::from(alpha);
        rgb.extend([red, green, blue].iter().zip(background).map(|(&level, behind)| {
            ((u32::from(level) * alpha + u32::from(behind) * (255 - alpha) + 127) / 255) as u8
        }));
    }
    rgb
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(content: &[u8]) -> String {
        decode(content, WHITE).err().map(|refusal| refusal.problem).unwrap_or_default()
    }

    /// A PNG file up to and with its header.
    fn png_header(width: u32, height: u32) -> Vec<u8> {
        let mut chunk = b"IHDR".to_vec();
        chunk.extend(width.to_be_bytes());
        chunk.extend(height.to_be_bytes());
        chunk.extend([8, 2, 0, 0, 0]);
        let crc = chunk.iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
        });
        [b"\x89PNG\r\n\x1a\n", &13u32.to_be_bytes()[..], &chunk, &(!crc).to_be_bytes()].concat()
    }

    #[test]
    fn large_headers_are_refused_before_anything_is_decoded() {
        let mut small = png_header(2, 2);
        small.extend([0; 4]);
        small.extend(b"IDAT");
        assert!(refusal(&small).contains("damaged or cut off"), "{}", refusal(&small));
        for (width, height) in [(100_000, 100_000), (100_000, 1), (1, 100_000), (32_768, 32_768)] {
            let mut png = png_header(width, height);
            png.extend([0; 4]);
            png.extend(b"IDAT");
            let started = std::time::Instant::now();
            let problem = refusal(&png);
            assert!(problem.contains("pixels") || problem.contains("allowed"), "{width} x {height}: {problem}");
            // Not a measurement: decoding would take minutes and gigabytes.
            assert!(started.elapsed().as_secs() < 10, "{width} x {height}");
        }
        let mut bmp = b"BM".to_vec();
        bmp.extend([0; 12]);
        bmp.extend(40u32.to_le_bytes());
        bmp.extend(100_000i32.to_le_bytes());
        bmp.extend(100_000i32.to_le_bytes());
        bmp.extend([1, 0, 24, 0]);
        bmp.extend([0; 24]);
        assert!(!refusal(&bmp).is_empty());
        assert!(
            refusal(b"GIF89a\xff\xff\xff\xff\0\0\0").contains("pixels")
                || !refusal(b"GIF89a\xff\xff\xff\xff\0\0\0").is_empty()
        );
    }

    /// Whatever is in a file, it is a picture of its extents or it is refused.
    #[test]
    fn damaged_images_are_refused_or_read() {
        macro_rules! files {
            ($($name:literal)*) => { [$(($name, &include_bytes!(concat!("../../tests/images/", $name))[..])),*] };
        }
        let mut state = 7_u64;
        let mut below = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % bound
        };
        let (mut read, mut refused) = (0, 0);
        for (name, content) in
            files!("cat.png" "palette.png" "orientation-6.jpg" "cat.webp" "lossy.webp" "cat.bmp" "two-frames.gif")
        {
            for round in 0..150 {
                let mut damaged = content.to_vec();
                if round % 3 == 0 {
                    damaged.truncate(below(damaged.len()));
                } else {
                    for _ in 0..=round % 5 {
                        // Headers are worth more attempts than pixels.
                        let place = if below(2) == 0 { below(80) } else { below(damaged.len()) };
                        damaged[place] = [0, 1, 0x7f, 0x80, 0xff, below(256) as u8][below(6)];
                    }
                }
                match decode(&damaged, WHITE) {
                    Ok(picture) => {
                        assert_eq!(picture.rgb.len(), 3 * picture.width * picture.height, "{name}");
                        read += 1;
                    }
                    Err(refusal) => {
                        assert!(!refusal.problem.is_empty());
                        refused += 1;
                    }
                }
            }
        }
        assert!(read > 50 && refused > 300, "{read} read, {refused} refused");
    }

    #[test]
    fn whatever_is_no_image_is_refused() {
        assert_eq!(refusal(b""), "the file is empty");
        for content in [&b"not an image"[..], b"\x93NUMPY\x01\0", b"II*\0\x08\0\0\0", b"qoif\0\0\0\x01\0\0\0\x01\x03\0"]
        {
            assert!(refusal(content).contains("no format that is read"), "{}", refusal(content));
        }
    }
}
