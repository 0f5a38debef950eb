//! A really trained VGG from its declaration to an ONNX file and to a standalone crate that classifies real images.
//!
//! `cargo run --release --bin fashion [DIR]` reads `fashion.vgg` and PyTorch's weights, writes `fashion.onnx` and the crate
//! to DIR (`target/fashion` by default), builds the crate, runs it on the first 1,000 test images of Fashion-MNIST, and
//! compares with what PyTorch had: the number of images classified correctly, and the logits.

mod dataset;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use vgg_cli::{Model, Progress, build, export};
use vgg_compiler::weights::WeightsSource;
use vgg_runtime::npy;

use dataset::{Dataset, SIDE};

/// Largest difference to PyTorch's logits that is accepted.
const LOGIT_BOUND: f32 = 1e-4;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(4)
        }
    }
}

fn run() -> Result<bool> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("fashion");
    let out = env::args_os().nth(1).map_or_else(default_output, PathBuf::from);
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;

    let model = Model::open(here.join("fashion.vgg").as_os_str())?;
    let weights = WeightsSource::File(here.join("fashion-vgg.safetensors"));
    println!("declaration  {}", shown(&here.join("fashion.vgg")));

    let onnx = out.join("fashion.onnx");
    export::export(&model, &weights, &onnx, &export::Options::default(), &Progress::silent())?;
    println!("ONNX         {} ({:.1} MB)", shown(&onnx), fs::metadata(&onnx)?.len() as f64 / 1e6);

    let package = out.join("crate");
    let options = build::Options { name: Some("fashion".into()), force: true, ..build::Options::default() };
    build::build(&model, &weights, &package, &options, &Progress::silent())?;
    let started = Instant::now();
    cargo(&package, &["build", "--example", "infer"])?;
    println!("crate        {} (compiled in {:.1} s)", shown(&package), started.elapsed().as_secs_f64());

    let data = Dataset::read(&here)?;
    let (images, logits) = (out.join("images.npy"), out.join("logits.npy"));
    npy::write_f32(&images, &[data.labels.len(), 1, SIDE, SIDE], &data.preprocessed())?;
    let path = |path: &Path| {
        fs::canonicalize(path.parent().unwrap_or(path)).map(|dir| dir.join(path.file_name().unwrap_or_default()))
    };
    let (from, to) = (path(&images)?, path(&logits)?);
    let arguments = ["run", "--example", "infer", "--", &from.to_string_lossy(), &to.to_string_lossy()];
    cargo(&package, &arguments)?;
    let (shape, scores) = npy::read_f32(&logits)?;
    if shape != [data.labels.len(), data.classes.len()] {
        bail!("the crate gave an output of shape {shape:?}");
    }
    Ok(judge(&data, &scores))
}

/// Prints what the crate got right, and says whether it is what PyTorch had.
fn judge(data: &Dataset, scores: &[f32]) -> bool {
    let predicted: Vec<usize> = scores.chunks_exact(data.classes.len()).map(best).collect();
    println!();
    for image in 0..3 {
        println!("{}", picture(&data.pixels[image * SIDE * SIDE..][..SIDE * SIDE]));
        let (answer, truth) = (&data.classes[predicted[image]], &data.classes[usize::from(data.labels[image])]);
        println!("image {image}: {answer} (labelled {truth})\n");
    }
    let correct =
        predicted.iter().zip(&data.labels).filter(|&(&class, &label)| class == usize::from(label)).count() as u64;
    let difference = scores.iter().zip(&data.logits).map(|(ours, theirs)| (ours - theirs).abs()).fold(0.0, nan_max);
    let (images, compared) = (data.labels.len(), data.logits.len() / data.classes.len());
    println!("{correct} of {images} images classified correctly; PyTorch had {}", data.correct);
    println!(
        "largest difference to PyTorch's logits of {compared} images: {difference:.1e} (at most {LOGIT_BOUND:.0e})"
    );
    let same = correct == data.correct && difference <= LOGIT_BOUND;
    println!("{}", if same { "the same as PyTorch" } else { "NOT the same as PyTorch" });
    same
}

/// The index of the highest score.
fn best(scores: &[f32]) -> usize {
    (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or(0)
}

/// The larger of two numbers, NaN when one of them is.
fn nan_max(a: f32, b: f32) -> f32 {
    if a.is_nan() || a > b { a } else { b }
}

/// An image as characters, two rows of pixels a line.
fn picture(pixels: &[u8]) -> String {
    const SHADES: [char; 5] = [' ', '.', 'o', 'O', '@'];
    let rows: Vec<&[u8]> = pixels.chunks_exact(SIDE).collect();
    let lines = rows.chunks_exact(2).map(|pair| {
        let shade = |column: usize| usize::from(pair[0][column] / 2 + pair[1][column] / 2) * (SHADES.len() - 1) / 254;
        (0..SIDE).map(|column| SHADES[shade(column).min(SHADES.len() - 1)]).collect::<String>()
    });
    lines.filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n")
}

/// Runs cargo in the generated crate, without network, and shows its output only when it fails.
fn cargo(package: &Path, arguments: &[&str]) -> Result<()> {
    let (command, rest) = arguments.split_first().context("cargo needs a command")?;
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .arg(command)
        .args(["--release", "--offline", "--quiet"])
        .args(rest)
        .current_dir(package)
        .env("CARGO_TARGET_DIR", "target")
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo {command} failed in {}:\n{}", package.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// `target/fashion` of this workspace.
fn default_output() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")).join("fashion")
}

/// A path as short as it can be written from here.
fn shown(path: &Path) -> String {
    let absolute = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let here = env::current_dir().unwrap_or_default();
    absolute.strip_prefix(&here).unwrap_or(&absolute).display().to_string()
}
