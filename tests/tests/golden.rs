//! The text forms of graphs and plans, and the generated code, against the files in `golden/`.

use vgg_compiler::Compiled;
use vgg_tests::cases::{Case, options, variants};
use vgg_tests::golden::{assert_all, check, generated, generated_modules, path};

/// Small networks beside the variants: what the planner does with options.
const CUSTOM: [&str; 6] = [
    "bn, then lrn",
    "dropout everywhere",
    "avgpool and maxpool",
    "maxpool first",
    "linear conv before a pool",
    "image output",
];

fn graph_and_plan(stem: &str, compiled: &Compiled) -> [Result<(), String>; 3] {
    [
        check(&format!("{stem}.declared"), &compiled.declared.to_string()),
        check(&format!("{stem}.graph"), &compiled.graph.to_string()),
        check(&format!("{stem}.plan"), &compiled.plan.to_string()),
    ]
}

#[test]
fn graphs_and_plans_of_the_variants() {
    assert_all(variants().iter().flat_map(|case| graph_and_plan(&case.name, &case.compile(1))));
}

#[test]
fn graphs_and_plans_of_custom_networks() {
    let cases: Vec<Case> = options().into_iter().filter(|case| CUSTOM.contains(&case.name.as_str())).collect();
    assert_eq!(cases.len(), CUSTOM.len());
    let stem = |case: &Case| case.name.replace(", ", "_").replace(' ', "_");
    assert_all(cases.iter().flat_map(|case| graph_and_plan(&stem(case), &case.compile(2))));
}

#[test]
fn generated_code() {
    assert_all(generated().iter().flat_map(|case| {
        generated_modules(&case.compile(1)).map(|(file, text)| check(&format!("{}/{file}", case.name), &text))
    }));
}

/// A golden file that no test reads any more would be kept for ever.
#[test]
fn no_golden_file_is_left_over() {
    let mut expected: Vec<String> = variants().iter().map(|case| case.name.clone()).collect();
    expected.extend(CUSTOM.map(|name| name.replace(", ", "_").replace(' ', "_")));
    let mut expected: Vec<String> =
        expected.iter().flat_map(|stem| ["declared", "graph", "plan"].map(|kind| format!("{stem}.{kind}"))).collect();
    expected.extend(generated().into_iter().map(|case| case.name));
    expected.sort();
    let entries = std::fs::read_dir(path("")).expect("the golden files");
    let mut found: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name")).collect();
    found.sort();
    assert_eq!(found, expected);
}
