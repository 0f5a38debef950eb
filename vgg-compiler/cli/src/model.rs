//! MODEL and WEIGHTS of the command line.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vgg_compiler::ir::{Graph, Shape, TypedGraph};
use vgg_compiler::onnx::{self, Alias, ImportOptions, Network, OwnChanges};
use vgg_compiler::preprocess::Preprocess;
use vgg_compiler::spec::names::file_stem;
use vgg_compiler::spec::parse::{MAX_TEXT, parse_file};
use vgg_compiler::spec::variants;
use vgg_compiler::weights::{Loaded, Tensors, Weights, WeightsSource};
use vgg_compiler::{CompileOptions, Compiled, compile, compile_graph};

use crate::error::Error;
use crate::mapped;
use crate::progress::Progress;

/// MODEL, as every command that takes one has it.
#[derive(Debug, Clone, clap::Args)]
pub struct ModelArguments {
    /// A built-in variant (see `vgg list`) or the path of a .vgg or .onnx file
    model: OsString,
    /// Extents of an .onnx model's input, for those that its file leaves open: 3x224x224 or 1,3,224,224, in the order of the file,
    /// with or without the batch
    #[arg(long, value_name = "EXTENTS", value_parser = parse_extents)]
    input_shape: Option<Extents>,
}

/// Extents of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Extents(Vec<usize>);

/// Numbers with `x` or commas between them.
fn parse_extents(text: &str) -> Result<Extents, String> {
    let numbers = text.split(['x', ',']).map(|number| number.trim().parse().ok().filter(|&extent| extent > 0));
    let numbers: Option<Vec<usize>> = numbers.collect();
    numbers.map(Extents).ok_or_else(|| "expected numbers from 1 on, such as 3x224x224".to_owned())
}

impl ModelArguments {
    /// The model.
    ///
    /// # Errors
    ///
    /// As [`Model::open`].
    pub fn open(&self) -> Result<Model, Error> {
        self.open_printing(None)
    }

    /// The model, with its network as text after the pass of that name, when it is an ONNX file and the pass one of its reading.
    ///
    /// # Errors
    ///
    /// As [`Model::open`].
    pub fn open_printing(&self, pass: Option<&str>) -> Result<Model, Error> {
        let options = ImportOptions {
            input_shape: self.input_shape.as_ref().map(|extents| extents.0.clone()),
            print_after: pass.map(str::to_owned),
        };
        let model = Model::open_with(&self.model, &options)?;
        match &model.origin {
            Origin::Variant(_) | Origin::File(_) if self.input_shape.is_some() => {
                let name = self.model.to_string_lossy();
                Err(Error::usage(format!(
                    "--input-shape: `{name}` declares its input, expected an .onnx file with open extents"
                ))
                .with_help("write another input into the declaration, which `vgg show MODEL --vgg` prints"))
            }
            _ => Ok(model),
        }
    }
}

/// A network and where it comes from.
#[derive(Debug, Clone)]
pub struct Model {
    /// What it is.
    pub network: Network,
    /// Where it comes from.
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
    /// What its layers are called in the file.
    pub aliases: Vec<Alias>,
    /// Where its weights came from, when this compiler wrote the file.
    pub weights: Option<String>,
    /// What its graph itself does with its input, when nothing is recorded of images.
    pub own_changes: Option<OwnChanges>,
    /// The network as text after the pass that was asked for.
    pub printed: Option<String>,
}

impl Model {
    /// The built-in variant of that name or alias, or else the network in the file of that name.
    ///
    /// # Errors
    ///
    /// When it is neither, when the declaration has mistakes: all of them, each with its line and column; or when the network of an ONNX
    /// file cannot be compiled.
    pub fn open(model: &OsStr) -> Result<Self, Error> {
        Self::open_with(model, &ImportOptions::default())
    }

    fn open_with(model: &OsStr, options: &ImportOptions) -> Result<Self, Error> {
        if let Some(variant) = model.to_str().and_then(variants::variant) {
            let network = Network::Declared(Box::new(variant.spec()?));
            return Ok(Self { network, origin: Origin::Variant(variant) });
        }
        let path = Path::new(model);
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("onnx") => Self::import(path, options),
            // Whatever it is called.
            _ if onnx::is_onnx(path) => Self::import(path, options),
            Some("vgg") => Self::read(path),
            None if path.is_dir() || !path.exists() => Err(unknown(model)),
            None => Self::read(path),
            Some(_) if path.exists() => {
                let name = path.display();
                Err(Error::refused(format!("{name}: expected a declaration in a .vgg file, or an ONNX file")).with_help(
                    "the model comes first, then its weights: `--weights FILE`; `vgg list` shows the built-in models",
                ))
            }
            Some(_) => Err(unknown(model)),
        }
    }

    fn import(path: &Path, options: &ImportOptions) -> Result<Self, Error> {
        let imported = onnx::import(path, options)?;
        let onnx::Imported { network, tensors, notes, recognised, aliases, weights, own_changes, printed } = imported;
        let summary = std::iter::once(recognised).chain(notes).collect::<Vec<_>>().join("; ");
        let foreign = Foreign {
            path: path.to_owned(),
            tensors: Arc::new(tensors),
            summary,
            aliases,
            weights,
            own_changes,
            printed,
        };
        Ok(Self { network, origin: Origin::Onnx(Box::new(foreign)) })
    }

    fn read(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let spec = parse_file(&name, &read_text(path)?)?;
        Ok(Self { network: Network::Declared(Box::new(spec)), origin: Origin::File(path.to_owned()) })
    }

    /// The declared name of the network.
    fn declared_name(&self) -> &str {
        match &self.network {
            Network::Declared(spec) => &spec.name.value,
            Network::Graph { graph, .. } => &graph.name,
        }
    }

    /// What a layer is called in the model's ONNX file: the nodes that it computes, the last of which makes its result.
    pub fn names_in_file(&self, layer: &str) -> &[String] {
        match &self.origin {
            Origin::Onnx(foreign) => {
                foreign.aliases.iter().find(|alias| alias.layer == layer).map_or(&[], |alias| &alias.nodes)
            }
            _ => &[],
        }
    }

    /// The same as one text for tables, without anything that a terminal would obey; empty when the layer has no name in a file.
    pub fn name_in_file(&self, layer: &str) -> String {
        let names = self.names_in_file(layer).join(" + ");
        names.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
    }

    /// The layer that `name` stands for: its own name, that of the file's node that makes its result, or the result's.
    pub fn layer<'a>(&'a self, name: &'a str) -> &'a str {
        let Origin::Onnx(foreign) = &self.origin else { return name };
        let own = |alias: &&Alias| alias.layer == name;
        let others = |alias: &&Alias| alias.output == name || alias.nodes.last().is_some_and(|node| node == name);
        let found = foreign.aliases.iter().find(own).or_else(|| foreign.aliases.iter().find(others));
        found.map_or(name, |alias| &alias.layer)
    }

    /// How images become its input, where that is known.
    pub fn preprocess(&self) -> Option<&Preprocess> {
        self.network.preprocess()
    }

    /// Leaves out how images become its input, for what takes no images.
    pub fn forget_preprocess(&mut self) {
        match &mut self.network {
            Network::Declared(spec) => spec.preprocess = None,
            Network::Graph { graph, .. } => graph.preprocess = None,
        }
    }

    /// Writes down how images become its input.
    pub fn set_preprocess(&mut self, preprocess: Preprocess) {
        match &mut self.network {
            Network::Declared(spec) => spec.set_preprocess(preprocess),
            Network::Graph { graph, .. } => graph.preprocess = Some(preprocess),
        }
    }

    /// Channels, height and width of its input, if that is an image.
    pub fn image(&self) -> Option<[usize; 3]> {
        match &self.network {
            Network::Declared(spec) => {
                Some([spec.input.channels.value, spec.input.height.value, spec.input.width.value])
            }
            Network::Graph { graph, .. } => match graph.values.get(graph.input.0)?.shape? {
                Shape::Image { channels, height, width } => Some([channels, height, width]),
                Shape::Flat { .. } => None,
            },
        }
    }

    /// The network in all its forms.
    ///
    /// # Errors
    ///
    /// When the batch is 0 or too large.
    pub fn compile(&self, options: &CompileOptions) -> Result<Compiled, Error> {
        Ok(match &self.network {
            Network::Declared(spec) => compile(spec, options)?,
            Network::Graph { graph, .. } => compile_graph(Graph::clone(graph), options)?,
        })
    }

    /// Its name for people and in reports: the variant's, or that of the declared network.
    pub fn name(&self) -> &str {
        match &self.origin {
            Origin::Variant(variant) => variant.name,
            Origin::File(_) | Origin::Onnx(_) => self.declared_name(),
        }
    }

    /// The stem of its files and the default name of its crate: `vgg_d`, or the declared name in snake case.
    pub fn file_stem(&self) -> String {
        match &self.origin {
            Origin::Variant(variant) => variant.name.replace('-', "_"),
            Origin::File(_) | Origin::Onnx(_) => file_stem(self.declared_name()),
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
            Some(WeightsSource::File(path)) => file_source(path, progress),
            Some(source) => Ok(source),
            None => file_source(text.into(), progress),
        },
        None => match &model.origin {
            Origin::Onnx(foreign) => {
                let (path, tensors) = (foreign.path.clone(), Arc::clone(&foreign.tensors));
                Ok(WeightsSource::Imported { path, tensors, preprocess: None })
            }
            _ => {
                progress.note("no --weights given: using seeded:0, generated numbers that have learned nothing");
                Ok(WeightsSource::Seeded(0))
            }
        },
    }
}

/// The weights in the file at `path`. Those of an ONNX model come with their network; a remark tells when they make up for what its graph
/// does with its input.
///
/// # Errors
///
/// When it is an ONNX model that cannot be read.
pub fn file_source(path: PathBuf, progress: &Progress) -> Result<WeightsSource, Error> {
    if onnx::is_onnx(&path) {
        let onnx::Imported { network, tensors, own_changes, .. } = onnx::import(&path, &ImportOptions::default())?;
        if let Some(OwnChanges { text, .. }) = own_changes {
            progress.note(&format!("{}: the graph itself changes its input: it {text}", path.display()));
        }
        let preprocess = network.preprocess().cloned().map(Box::new);
        return Ok(WeightsSource::Imported { path, tensors: Arc::new(tensors), preprocess });
    }
    Ok(WeightsSource::File(path))
}

/// The name of `source` that may stand in files: without directories, so that they do not differ from place to place. Weights that
/// came with `model` are still those that its file was written from.
pub(crate) fn source_name(model: &Model, source: &WeightsSource) -> String {
    match (source, &model.origin) {
        (WeightsSource::Imported { path, .. }, Origin::Onnx(foreign)) if *path == foreign.path => {
            if let Some(weights) = &foreign.weights {
                return weights.clone();
            }
        }
        _ => {}
    }
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
    let Loaded { weights, notes, doubt } = mapped::load(source, graph)?;
    drop(stage);
    for note in notes {
        progress.note(&format!("{source}: {note}"));
    }
    if let Some(doubt) = doubt {
        progress.warn(&format!("{source}: {doubt}"));
    }
    Ok(weights)
}
