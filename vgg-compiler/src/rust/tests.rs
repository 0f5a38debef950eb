//! What every generated crate must satisfy, whatever the network.

use super::*;
use crate::ir::testing::{Builder, conv3, image, max_pool};
use crate::ir::{Op, TypedGraph, verify};
use crate::plan::{PlanOptions, plan};
use crate::weights::Header;

/// The same network under other names.
fn network(name: &str, docs: &str, layers: [&str; 6]) -> TypedGraph {
    let mut builder = Builder::new(image(3, 8, 8));
    for (layer, op) in layers.into_iter().zip([
        conv3(4),
        Op::Relu,
        max_pool(2, 2, false),
        Op::Flatten,
        Op::Gemm { out_features: 3 },
        Op::Softmax,
    ]) {
        builder = builder.op(layer, op);
    }
    let mut graph = builder.finish();
    graph.name = name.into();
    graph.docs = vec![docs.into()];
    for (index, param) in graph.params.iter_mut().enumerate() {
        param.key = format!("features.{index}");
    }
    verify(graph).unwrap()
}

fn files(graph: &TypedGraph) -> Vec<SourceFile> {
    let plan = plan(graph, &PlanOptions::default()).unwrap();
    let header = Header::of(graph);
    let network = Network { graph, plan: &plan, header: &header };
    let options = PackageOptions { name: "tiny".into(), embed: false, tolerance: 1e-5 };
    let runtime = RuntimeSource { manifest: "[package]\n", files: &[("lib.rs", "//! The runtime.\n")] };
    package(network, &options, runtime).unwrap()
}

#[test]
fn names_change_the_name_table_alone() {
    let plain = files(&network("Tiny", "A network.", ["conv1_1", "relu1_1", "pool1", "flatten", "fc2", "prob"]));
    let hostile = files(&network(
        "fn",
        "*/ \u{202E} \"#] mod evil {} //\r\n",
        ["a\"b", "*/ fn f() {}", "{0}", "\u{202E}", "fn", "x\ny"],
    ));
    let differing: Vec<_> = plain.iter().zip(&hostile).filter(|(a, b)| a != b).map(|(a, _)| a.path.as_str()).collect();
    assert_eq!(plain.len(), hostile.len());
    assert_eq!(differing, ["src/names.rs"]);
}

#[test]
fn every_source_file_is_rust_and_holds_no_template_mark() {
    for file in files(&network("Tiny", "A network.", ["conv1_1", "relu1_1", "pool1", "flatten", "fc2", "prob"])) {
        if file.path.ends_with(".rs") {
            syn::parse_file(&file.text).unwrap_or_else(|error| panic!("{}: {error}\n{}", file.path, file.text));
        }
        for mark in [
            "crate_name",
            "{version}",
            "{name}",
            "{marker}",
            "{tolerance}",
            "{load}",
            "{input}",
            "{preprocessing}",
            "\"{parts}\"",
            "{files}",
            "{output}",
            "{parameters}",
            "{macs}",
            "{weights}",
            "{arena}",
        ] {
            assert!(!file.text.contains(mark), "{} still holds {mark}", file.path);
        }
        assert!(!file.text.contains('\r') && file.text.ends_with('\n'), "{}", file.path);
    }
}

#[test]
fn images_become_the_input_where_it_is_known_how() {
    let names = ["conv1_1", "relu1_1", "pool1", "flatten", "fc2", "prob"];
    let unknown = files(&network("Tiny", "", names));
    let mut graph = network("Tiny", "", names).into_graph();
    let mut preprocess = crate::preprocess::preset("torchvision").unwrap().preprocess();
    preprocess.mean = crate::preprocess::Mean::Channels(vec![-1.5, 0.0, 1e-5]);
    graph.preprocess = Some(preprocess);
    let known = files(&verify(graph).unwrap());
    let differing: Vec<_> = unknown.iter().zip(&known).filter(|(a, b)| a != b).map(|(a, _)| a.path.as_str()).collect();
    assert_eq!(differing, ["README.md", "src/lib.rs", "src/model.rs"]);
    let model = known.iter().find(|file| file.path == "src/model.rs").unwrap();
    for text in
        ["mean: &[-1.5, 0.0, 0.00001]", "Resize::ShortSide(256)", "pub const IMAGE_LEN: usize = 192", "white: 1.0"]
    {
        assert!(model.text.contains(text), "{text}");
    }
    syn::parse_file(&model.text).unwrap();
    assert!(model.text.contains("mean -1.5 0 0.00001"), "the weights file carries it");
}

#[test]
fn a_crate_name_that_is_none_is_refused() {
    let graph = network("Tiny", "", ["conv1_1", "relu1_1", "pool1", "flatten", "fc2", "prob"]);
    let plan = plan(&graph, &PlanOptions::default()).unwrap();
    let header = Header::new(&graph.params);
    let network = Network { graph: &graph, plan: &plan, header: &header };
    let options = PackageOptions { name: "x\"\n[dependencies]".into(), embed: false, tolerance: 1e-5 };
    let error = package(network, &options, RuntimeSource { manifest: "", files: &[] }).unwrap_err();
    assert!(error.to_string().contains("cannot be the name of a crate"), "{error}");
}
