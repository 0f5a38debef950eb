//! Images for a network: from a NumPy file, or generated.

use std::path::Path;

use vgg_compiler::ir::Shape;
use vgg_compiler::weights::standard_normal;
use vgg_runtime::npy;

use crate::error::Error;

/// The seed of the input that `build` records and `verify` uses unless it is given another.
pub const SEED: u64 = 0;

/// The extents and the numbers of the NumPy array in the file at `path`.
///
/// # Errors
///
/// When the file cannot be read, or holds no array of little-endian f32 in C order.
pub(crate) fn read_array(path: &Path) -> Result<(Vec<usize>, Vec<f32>), Error> {
    npy::read_f32(path).map_err(|error| {
        let error = match error {
            vgg_runtime::Error::Io { source, .. } => Error::reading(path, &source),
            error => error.into(),
        };
        error.or_help("give an array that numpy.save has written: little-endian f32 in C order")
    })
}

/// Images, NCHW.
#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    /// How many.
    pub count: usize,
    /// The shape of each.
    pub shape: Shape,
    /// Their values, one image after the other.
    pub values: Vec<f32>,
}

impl Images {
    /// Reads `path`, which must hold [N, C, H, W] little-endian f32 with the C, H and W of `shape` and N of at least 1.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or holds something else.
    pub fn read(path: &Path, shape: Shape) -> Result<Self, Error> {
        let (found, values) = read_array(path)?;
        let expected = shape.dims();
        match found.split_first() {
            Some((&count, extents)) if count > 0 && extents == expected => Ok(Self { count, shape, values }),
            _ => {
                let name = path.display();
                let dims: Vec<String> = expected.iter().map(usize::to_string).collect();
                let error = Error::refused(format!(
                    "{name}: the array has shape {found:?}, expected [N, {}] with N of at least 1",
                    dims.join(", ")
                ));
                Err(if found == expected {
                    error.with_help("a single image needs an axis more: numpy.save(path, array[None])")
                } else if matches!(found[..], [_, height, width, channels] if expected == [channels, height, width]) {
                    error.with_help(
                        "channels come before rows and columns: numpy.save(path, array.transpose(0, 3, 1, 2).copy())",
                    )
                } else {
                    error.with_help("give images of the network's input shape, which `vgg show MODEL` tells")
                })
            }
        }
    }

    /// `count` images of numbers from the standard normal distribution, the same for the same seed on every machine.
    pub fn generated(shape: Shape, count: usize, seed: u64) -> Self {
        Self { count, shape, values: standard_normal(seed, count * shape.len()) }
    }

    /// The extents of the array: images first.
    pub fn dims(&self) -> Vec<usize> {
        std::iter::once(self.count).chain(self.shape.dims()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_images_are_standard_normal_and_pinned() {
        let shape = Shape::Image { channels: 3, height: 64, width: 64 };
        let images = Images::generated(shape, 2, SEED);
        assert_eq!(images.dims(), [2, 3, 64, 64]);
        let count = images.values.len() as f64;
        let mean = images.values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
        let variance = images.values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / count;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
        let digest = images.values.iter().fold(0u64, |sum, x| sum.rotate_left(5) ^ u64::from(x.to_bits()));
        assert_eq!(digest, 1_878_215_954_174_885_167, "the recorded inputs of all crates have changed");
        assert_ne!(images, Images::generated(shape, 2, SEED + 1));
    }
}
