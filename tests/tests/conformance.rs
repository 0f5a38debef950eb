//! Every case through every backend: naive loops in f64 and f32, the session on every tier with several threads, with and without
//! fusion, alone and in a batch, and ONNX Runtime on every form of the exported file. Every intermediate activation is compared.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use vgg_compiler::spec::variants::variant;
use vgg_runtime::Isa;
use vgg_tests::cases::{self, Case};
use vgg_tests::conform::{Report, Scope, conform};
use vgg_tests::graphs;

/// The large networks run one after the other: each takes some gigabytes.
static LARGE: Mutex<()> = Mutex::new(());

/// Prints past the capture of the test harness, so that a log shows what was compared.
fn log(title: &str, report: &Report) {
    let _ = writeln!(std::io::stderr(), "conformance of {title}: {report}");
}

fn all(title: &str, list: &[Case], scope: Scope) -> Report {
    let mut report = Report::default();
    list.iter().for_each(|case| report.merge(conform(case, scope)));
    log(title, &report);
    report
}

fn large(name: &str) {
    let _guard = LARGE.lock().unwrap_or_else(PoisonError::into_inner);
    let case = Case::of_variant(variant(name).expect("a built-in variant"));
    let report = all(name, &[case], Scope::LARGE);
    report.assert_conforms(1, 500);
}

macro_rules! variants {
    ($($function:ident: $name:literal;)*) => {
        $(#[test] fn $function() { large($name); })*

        #[test]
        fn every_variant_has_its_test() {
            let tested = [$($name),*];
            assert_eq!(tested[..], cases::variants().iter().map(|case| case.name.as_str()).collect::<Vec<_>>());
        }
    };
}

variants! {
    vgg_f: "vgg-f";
    vgg_m: "vgg-m";
    vgg_s: "vgg-s";
    vgg_a: "vgg-a";
    vgg_a_lrn: "vgg-a-lrn";
    vgg_b: "vgg-b";
    vgg_c: "vgg-c";
    vgg_d: "vgg-d";
    vgg_e: "vgg-e";
}

#[test]
fn every_option() {
    all("the options", &cases::options(), Scope::SMALL).assert_conforms(80, 20_000);
}

#[test]
fn rounded_weights() {
    all("rounded weights", &cases::rounded(), Scope::SMALL).assert_conforms(12, 3_000);
}

#[test]
fn pools_and_softmax_of_graphs() {
    all("pools and softmax", &graphs::pools(), Scope::SMALL).assert_conforms(20, 4_000);
}

#[test]
fn branches_and_outputs() {
    all("branches and outputs", &graphs::branches(), Scope::SMALL).assert_conforms(22, 5_000);
}

#[test]
fn groups_dilations_and_paddings() {
    all("groups, dilations and paddings", &graphs::convolutions(), Scope::SMALL).assert_conforms(80, 15_000);
}

#[test]
fn functions_and_normalisation() {
    all("functions and normalisation", &graphs::functions(), Scope::SMALL).assert_conforms(20, 4_000);
}

#[test]
fn numbers_of_channels() {
    all("numbers of channels", &cases::channels(), Scope::SMALL).assert_conforms(24, 5_000);
}

#[test]
fn sizes_of_images() {
    all("sizes of images", &cases::sizes(), Scope::SMALL).assert_conforms(39, 10_000);
}

#[test]
fn random_networks() {
    all("random networks", &cases::random(), Scope::SMALL).assert_conforms(cases::RANDOM_CASES, 10_000);
}

#[test]
fn names_of_cases_are_unique() {
    let lists = [
        cases::variants(),
        cases::options(),
        cases::even_lrn(),
        cases::channels(),
        cases::sizes(),
        cases::random(),
        cases::rounded(),
        graphs::pools(),
        graphs::branches(),
        graphs::convolutions(),
        graphs::functions(),
    ];
    let mut names: Vec<String> = lists.into_iter().flatten().map(|case| case.name).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn the_required_instruction_set_is_tested() {
    if let Some(required) = std::env::var_os("VGG_ISA_REQUIRED") {
        let required = required.to_string_lossy().into_owned();
        let available: Vec<_> = Isa::available().iter().map(|isa| isa.name()).collect();
        for required in required.split(',') {
            assert!(
                available.contains(&required),
                "this machine has {available:?}, VGG_ISA_REQUIRED asks for {required}"
            );
        }
    }
}
