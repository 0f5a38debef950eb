//! MODEL and WEIGHTS of the command line.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vgg_compiler::onnx;
use vgg_compiler::spec::names::file_stem;
use vgg_compiler::spec::parse::{MAX_TEXT, parse_file};
use vgg_compiler::spec::{ModelSpec, variants};
use vgg_compiler::weights::readers;
use vgg_compiler::weights::{Tensors, Weights, WeightsSource};
use vgg_compiler::{CompileOptions, Compiled, compile, ir::TypedGraph};

use crate::error::Error;
use crate::progress::Progress;

/// A declared network and where it was declared.
#[derive(Debug, Clone)]
pub struct Model {
    /// What was declared.
    pub spec: ModelSpec,
    /// Where.
    pub origin: Origin,
}

/// Where a network was declared.
#[derive(Debug, Clone)]
pub enum Origin {
    /// It is built in.
    Variant(&'static variants::Variant),
    /// In this file.
    File(PathBuf),
    /// In this ONNX file, with its weights.
    Onnx(Box<Foreign>),
}

/// What an ONNX file brings beside its network.
#[derive(Debug, Clone)]
pub struct Foreign {
    /// The file.
    pub path: PathBuf,
    /// Its weights.
    pub tensors: Arc<Tensors>,
    /// What network it is, and what was done to it: a sentence.
    pub summary: String,
}

impl Model {
    /// The built-in variant of that name or alias, or else the declaration in the file of that name.
    ///
    /// # Errors
    ///
    /// When it is neither, or when the declaration has mistakes: all of them, each with its line and column.
    pub fn open(model: &OsStr) -> Result<Self, Error> {
        if let Some(variant) = model.to_str().and_then(variants::variant) {
            return Ok(Self { spec: variant.spec()?, origin: Origin::Variant(variant) });
        }
        let path = Path::new(model);
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("onnx") => Self::import(path),
            Some("vgg") => Self::read(path),
            None if path.is_dir() || !path.exists() => Err(unknown(model)),
            None => Self::read(path),
            Some(_) if path.exists() => {
                Err(Error::refused(format!("{}: expected a declaration in a .vgg file", path.display())).with_help(
                    "the model comes first, then its weights: `--weights FILE`; `vgg list` shows the built-in models",
                ))
            }
            Some(_) => Err(unknown(model)),
        }
    }

    fn import(path: &Path) -> Result<Self, Error> {
        let onnx::Imported { spec, tensors, notes, recognised } = onnx::import(path)?;
        let summary = std::iter::once(recognised).chain(notes).collect::<Vec<_>>().join("; ");
        let foreign = Foreign { path: path.to_owned(), tensors: Arc::new(tensors), summary };
        Ok(Self { spec, origin: Origin::Onnx(Box::new(foreign)) })
    }

    fn read(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let spec = parse_file(&name, &read_text(path)?)?;
        Ok(Self { spec, origin: Origin::File(path.to_owned()) })
    }

    /// The network in all its forms.
    ///
    /// # Errors
    ///
    /// When the batch is 0 or too large.
    pub fn compile(&self, options: &CompileOptions) -> Result<Compiled, Error> {
        Ok(compile(&self.spec, options)?)
    }

    /// Its name for people and in reports: the variant's, or that of the declared network.
    pub fn name(&self) -> &str {
        match &self.origin {
            Origin::Variant(variant) => variant.name,
            Origin::File(_) | Origin::Onnx(_) => &self.spec.name.value,
        }
    }

    /// The stem of its files and the default name of its crate: `vgg_d`, or the declared name in snake case.
    pub fn file_stem(&self) -> String {
        match &self.origin {
            Origin::Variant(variant) => variant.name.replace('-', "_"),
            Origin::File(_) | Origin::Onnx(_) => file_stem(&self.spec.name.value),
        }
    }

    /// The file that declares it.
    pub fn path(&self) -> Option<&Path> {
        match &self.origin {
            Origin::Variant(_) => None,
            Origin::File(path) => Some(path),
            Origin::Onnx(foreign) => Some(&foreign.path),
        }
    }
}

fn unknown(model: &OsStr) -> Error {
    let shown = model.to_string_lossy();
    let names = || variants::VARIANTS.iter().map(|variant| variant.name).collect::<Vec<_>>().join(", ");
    let error = Error::refused(format!("`{shown}` is neither a built-in variant nor a file, expected one of the two"));
    match variants::suggest(&shown) {
        Some(name) => error.with_help(format!("did you mean `{name}`? `vgg list` shows all variants")),
        None => error.with_help(format!("the variants are {}; a path ends in .vgg or .onnx", names())),
    }
}

/// The text of a declaration. What is far too long for one is not read.
fn read_text(path: &Path) -> Result<String, Error> {
    let reading = |error| {
        Error::reading(path, &error).with_help("give the path of a .vgg file, or a variant that `vgg list` shows")
    };
    let kind = fs::metadata(path).map_err(reading)?;
    if kind.is_dir() {
        return Err(Error::refused(format!("{}: expected a .vgg file, found a directory", path.display()))
            .with_help("name the file in it"));
    }
    let mut bytes = Vec::new();
    let limit = MAX_TEXT as u64 + 1;
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(reading)?;
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = before.split(|&byte| byte == b'\n').count();
        let last = before.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
        let column = String::from_utf8_lossy(last).chars().count() + 1;
        Error::refused(format!("{}:{line}:{column}: expected UTF-8 text, found other bytes", path.display()))
            .with_help("save the file as UTF-8; is it a .vgg file?")
    })
}

/// The weights that `--weights` names; when it is absent, those of the model's ONNX file, or generated ones. A remark says which.
///
/// # Errors
///
/// When the text is no source of weights.
pub fn weights_source(model: &Model, option: Option<&OsStr>, progress: &Progress) -> Result<WeightsSource, Error> {
    if let Origin::Onnx(foreign) = &model.origin {
        progress.note(&format!("{}: {}", foreign.path.display(), foreign.summary));
    }
    match option {
        Some(text) => match text.to_str().map(WeightsSource::parse).transpose()? {
            Some(WeightsSource::File(path)) => file_source(path),
            Some(source) => Ok(source),
            None => file_source(text.into()),
        },
        None => match &model.origin {
            Origin::Onnx(foreign) => {
                Ok(WeightsSource::Imported { path: foreign.path.clone(), tensors: Arc::clone(&foreign.tensors) })
            }
            _ => {
                progress.note("no --weights given: using seeded:0, generated numbers that have learned nothing");
                Ok(WeightsSource::Seeded(0))
            }
        },
    }
}

/// The weights in the file at `path`. Those of an ONNX model come with their network.
///
/// # Errors
///
/// When it is an ONNX model that cannot be read.
pub fn file_source(path: PathBuf) -> Result<WeightsSource, Error> {
    if readers::is_onnx(&path) {
        let tensors = Arc::new(onnx::import(&path)?.tensors);
        return Ok(WeightsSource::Imported { path, tensors });
    }
    Ok(WeightsSource::File(path))
}

/// The name of `source` that may stand in files: without directories, so that they do not differ from place to place.
pub(crate) fn source_name(source: &WeightsSource) -> String {
    match source {
        WeightsSource::Seeded(_) => source.to_string(),
        WeightsSource::File(path) | WeightsSource::Imported { path, .. } => {
            path.file_name().unwrap_or_default().to_string_lossy().into_owned()
        }
    }
}

/// The weights of `graph`.
///
/// # Errors
///
/// Everything that is wrong with them.
pub fn load_weights(source: &WeightsSource, graph: &TypedGraph, progress: &Progress) -> Result<Weights, Error> {
    let verb = match source {
        WeightsSource::Seeded(_) => "generating",
        WeightsSource::File(_) | WeightsSource::Imported { .. } => "reading",
    };
    let stage = progress.step(format!("{verb} the weights ({source})"));
    let (weights, notes) = source.load_with(graph, readers::load)?;
    drop(stage);
    for note in notes {
        progress.note(&format!("{source}: {note}"));
    }
    Ok(weights)
}
