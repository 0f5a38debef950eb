//! The files beside this one: images and labels in the IDX format of MNIST, PyTorch's logits, and what it got right.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use safetensors::SafeTensors;

/// Side of an image in pixels.
pub(crate) const SIDE: usize = 28;

/// Images, labels and PyTorch's results.
pub(crate) struct Dataset {
    /// Grey levels, image after image.
    pub(crate) pixels: Vec<u8>,
    /// The true class of each image.
    pub(crate) labels: Vec<u8>,
    /// Names of the classes.
    pub(crate) classes: Vec<String>,
    /// PyTorch's logits of the first images.
    pub(crate) logits: Vec<f32>,
    /// How many of the images PyTorch classified correctly.
    pub(crate) correct: u64,
    mean: f32,
    std: f32,
}

impl Dataset {
    /// Reads the files in `dir`.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let pixels = idx(&dir.join("images.idx3-ubyte"), 3)?;
        let labels = idx(&dir.join("labels.idx1-ubyte"), 1)?;
        ensure!(pixels.len() == labels.len() * SIDE * SIDE, "as many images as labels are expected");
        let meta = fs::read_to_string(dir.join("meta.json")).context("cannot read meta.json")?;
        let meta: serde_json::Value = serde_json::from_str(&meta).context("meta.json is not JSON")?;
        let number = |key: &str| meta[key].as_f64().with_context(|| format!("meta.json has no number `{key}`"));
        let classes = meta["classes"].as_array().context("meta.json has no `classes`")?;
        let file = fs::read(dir.join("expected-logits.safetensors")).context("cannot read the expected logits")?;
        let logits = SafeTensors::deserialize(&file)?;
        let logits = logits.tensor("logits")?.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
        Ok(Self {
            labels,
            classes: classes.iter().filter_map(|class| class.as_str().map(str::to_owned)).collect(),
            logits: logits.collect(),
            correct: number("correct_of_first_1000")? as u64,
            mean: number("mean")? as f32,
            std: number("std")? as f32,
            pixels,
        })
    }

    /// The images as the network was trained on them: pixel / 255, minus the mean, over the standard deviation.
    pub(crate) fn preprocessed(&self) -> Vec<f32> {
        self.pixels.iter().map(|&pixel| (f32::from(pixel) / 255.0 - self.mean) / self.std).collect()
    }
}

/// The data of an IDX file of bytes: a magic number with the rank, the extents as big-endian u32, then the bytes.
fn idx(path: &Path, rank: u8) -> Result<Vec<u8>> {
    let mut bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let header = 4 + 4 * usize::from(rank);
    ensure!(bytes.starts_with(&[0, 0, 8, rank]), "{} is no IDX file of bytes of rank {rank}", path.display());
    ensure!(bytes.len() > header, "{} is cut short", path.display());
    bytes.drain(..header);
    Ok(bytes)
}
