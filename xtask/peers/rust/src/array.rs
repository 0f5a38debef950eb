//! Arrays in NumPy's format: only what `xtask` writes, which is f32 in C order.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Numbers with a shape.
pub(crate) struct Array {
    /// Batch, channels, height, width.
    pub(crate) dims: Vec<usize>,
    /// In C order.
    pub(crate) values: Vec<f32>,
}

impl Array {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, or is not what `xtask` writes.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&bytes)
            .with_context(|| format!("{} is no NumPy file (version 1) of f32 in C order", path.display()))
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let rest = bytes.strip_prefix(b"\x93NUMPY\x01\x00").context("it starts with other bytes")?;
        let (length, rest) = rest.split_first_chunk().context("it ends early")?;
        let (header, data) = rest.split_at_checked(u16::from_le_bytes(*length).into()).context("it ends early")?;
        let header = std::str::from_utf8(header).context("its header is no text")?;
        ensure!(
            header.contains("'descr': '<f4'") && header.contains("'fortran_order': False"),
            "its header is {header}"
        );
        let (_, shape) = header.split_once("'shape': (").with_context(|| format!("its header is {header}"))?;
        let (shape, _) = shape.split_once(')').with_context(|| format!("its header is {header}"))?;
        let dims = shape.split(',').map(str::trim).filter(|extent| !extent.is_empty()).map(str::parse);
        let dims: Vec<usize> = dims.collect::<Result<_, _>>().with_context(|| format!("its shape is {shape}"))?;
        let (values, rest) = data.as_chunks::<4>();
        let values: Vec<f32> = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let expected = dims.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent));
        ensure!(rest.is_empty() && expected == Some(values.len()), "{dims:?} is not what {} bytes hold", data.len());
        Ok(Self { dims, values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn reads_shape_and_values() {
        let bytes =
            file("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1, ), }  \n", &[0, 0, 128, 63, 0, 0, 0, 192]);
        let array = Array::parse(&bytes).unwrap();
        assert_eq!((array.dims, array.values), (vec![2, 1], vec![1.0, -2.0]));
    }

    #[test]
    fn refuses_everything_else() {
        for (header, data) in [
            ("{'descr': '<f8', 'fortran_order': False, 'shape': (1, ), }", &[0; 4][..]),
            ("{'descr': '<f4', 'fortran_order': True, 'shape': (1, ), }", &[0; 4]),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, ), }", &[0; 4]),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (1, ), }", &[0; 5]),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, ), }", &[0; 4]),
            ("{'descr': '<f4', 'fortran_order': False}", &[]),
        ] {
            assert!(Array::parse(&file(header, data)).is_err(), "{header}");
        }
        let bytes = file("{'descr': '<f4', 'fortran_order': False, 'shape': (1, ), }", &[0; 4]);
        for length in 0..bytes.len() {
            assert!(Array::parse(&bytes[..length]).is_err(), "{length} bytes");
        }
    }
}
