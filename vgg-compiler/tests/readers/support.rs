//! The fixtures, and what they hold.

use std::path::PathBuf;

use vgg_compiler::ir::TypedGraph;
use vgg_compiler::spec::parse::parse_file;
use vgg_compiler::weights::readers::{self, Adapted};
use vgg_compiler::weights::{ElementType, Tensors, View, Weights};
use vgg_compiler::{CompileOptions, compile};

pub(crate) const TINY: &str =
    "Tiny: 3 x 8 x 8 { conv3-4, conv3-4, maxpool; conv3-6, maxpool; fc-8, dropout, fc-7, dropout, fc-5 }";

pub(crate) const TINY_BN: &str =
    "Tiny: 3 x 8 x 8 { conv3-4, bn, conv3-4, bn, maxpool; conv3-6, bn, maxpool; fc-8, dropout, fc-7, dropout, fc-5 }";

pub(crate) fn graph(declaration: &str) -> TypedGraph {
    compile(&parse_file("tiny.vgg", declaration).unwrap(), &CompileOptions::default()).unwrap().graph
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The names of all fixtures.
pub(crate) fn fixtures() -> Vec<String> {
    let entries = std::fs::read_dir(fixture("")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "make.py" && name != "versions.txt")
        .collect();
    names.sort();
    names
}

/// `numbers` of `make.py`.
pub(crate) fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|index| (((index * 37 + seed * 11) % 251) as f32 - 125.0) / 64.0).collect()
}

/// The tensors of the network under torchvision's keys: `state` of `make.py`.
pub(crate) fn state() -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let layers: [(&str, &[usize]); 6] = [
        ("features.0", &[4, 3, 3, 3]),
        ("features.2", &[4, 4, 3, 3]),
        ("features.5", &[6, 4, 3, 3]),
        ("classifier.0", &[8, 24]),
        ("classifier.3", &[7, 8]),
        ("classifier.6", &[5, 7]),
    ];
    let tensors = layers.iter().enumerate().flat_map(|(index, &(key, shape))| {
        [
            (format!("{key}.weight"), shape.to_vec(), numbers(shape.iter().product(), 2 * index)),
            (format!("{key}.bias"), shape[..1].to_vec(), numbers(shape[0], 2 * index + 1)),
        ]
    });
    tensors.collect()
}

/// Scale, shift, mean and variance behind convolution `index`: `norms` of `make.py`.
pub(crate) fn norm(index: usize) -> [Vec<f32>; 4] {
    let channels = [4, 4, 6][index];
    let column = |part: usize| numbers(channels, 100 + 4 * index + part);
    [column(0), column(1), column(2), column(3).into_iter().map(|value| value.abs() + 0.5).collect()]
}

/// The fixture's tensors for `declaration`, after all checks.
pub(crate) fn load(name: &str, declaration: &str) -> Adapted {
    let path = fixture(name);
    let graph = graph(declaration);
    let adapted = readers::load(&path, &graph).unwrap_or_else(|errors| panic!("{name}: {errors:#?}"));
    Weights::resolve(&graph, adapted.tensors.clone(), name).unwrap_or_else(|errors| panic!("{name}: {errors:#?}"));
    adapted
}

pub(crate) fn values(tensors: &Tensors, key: &str) -> Vec<f32> {
    tensors[key].values().collect()
}

/// Everything in a file, as numbers by name.
pub(crate) fn contents(name: &str) -> Vec<(String, ElementType, Vec<f64>)> {
    let file = readers::open(&fixture(name)).unwrap_or_else(|error| panic!("{error}"));
    let numbers = |view: &View| {
        let mut numbers = Vec::new();
        view.for_each(&mut |value| numbers.push(value));
        numbers
    };
    file.tensors.iter().map(|tensor| (tensor.name.clone(), tensor.view.element(), numbers(&tensor.view))).collect()
}
