//! Golden files: texts that change only when somebody wants them to.

use std::path::{Path, PathBuf};

use similar::TextDiff;

use crate::cases::Case;
use crate::graphs;
use vgg_compiler::Compiled;
use vgg_compiler::ir::Precision;
use vgg_compiler::rust::{Network, PackageOptions, RuntimeSource, package};

/// The variable that makes the tests write their golden files instead of comparing them.
pub const BLESS_VARIABLE: &str = "VGG_BLESS";

/// The path of a golden file.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

/// Compares `text` with the golden file `name`, or writes it when [`BLESS_VARIABLE`] is set.
///
/// # Errors
/// The difference, and what to do when it is meant.
pub fn check(name: &str, text: &str) -> Result<(), String> {
    check_at(&path(name), name, text, std::env::var_os(BLESS_VARIABLE).is_some_and(|value| !value.is_empty()))
}

fn check_at(path: &Path, name: &str, text: &str, bless: bool) -> Result<(), String> {
    if bless {
        let directory = path.parent().unwrap_or(Path::new("."));
        return std::fs::create_dir_all(directory)
            .and_then(|()| std::fs::write(path, text))
            .map_err(|error| format!("golden/{name}: cannot be written: {error}"));
    }
    let remedy = "`cargo xtask golden --bless` writes what came out; read the difference before you commit it";
    match std::fs::read_to_string(path) {
        Ok(golden) if golden == text => Ok(()),
        Ok(golden) => {
            let diff = TextDiff::from_lines(golden.as_str(), text);
            let diff = diff.unified_diff().context_radius(2).header("golden", "actual").to_string();
            Err(format!("golden/{name} differs from what came out:\n{diff}\n{remedy}"))
        }
        Err(error) => Err(format!("golden/{name}: {error}; {remedy}")),
    }
}

/// Fails with every error of `results`.
///
/// # Panics
/// When there is one.
pub fn assert_all(results: impl IntoIterator<Item = Result<(), String>>) {
    let errors: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    assert!(errors.is_empty(), "{} golden files differ\n\n{}", errors.len(), errors.join("\n\n"));
}

/// The declared networks of [`generated`]: their directory and their declaration.
const DECLARED: [(&str, &str); 2] = [
    (
        "tiny",
        "/// A network with every step that the big ones have.\nTiny: 3 x 12 x 13 { conv3-8, conv3-16, lrn, maxpool(3, ceil); \
         conv1-12, maxpool; fc-20, dropout, fc-10, softmax }",
    ),
    (
        "normalised",
        "Normalised: 2 x 9 x 10 { conv5-6(stride 2x1), bn(eps 1e-3), conv3-9(linear), bn; avgpool(3, pad 1, ceil), conv3x1-5 }",
    ),
];

/// The network of [`generated`] whose weights are rounded.
const ROUNDED: &str = "Rounded: 2 x 6 x 7 { conv3-9, maxpool; fc-14, fc-5, softmax }";

/// The networks whose generated code is kept, and compiled, as golden files, named after their directory.
pub fn generated() -> Vec<Case> {
    let declared = DECLARED.iter().map(|(name, text)| Case::of_text(*name, *text));
    let rounded = [("halves", Precision::F16), ("wholes", Precision::Int8)];
    let rounded = rounded.map(|(name, precision)| Case { precision, ..Case::of_text(name, ROUNDED) });
    declared.chain([graphs::every_operator(), graphs::two_outputs()]).chain(rounded).collect()
}

/// The files `model.rs` and `names.rs` of the crate of a network.
///
/// # Panics
/// When the crate cannot be generated.
pub fn generated_modules(compiled: &Compiled) -> [(&'static str, String); 2] {
    let header = compiled.header();
    let network = Network { graph: &compiled.graph, plan: &compiled.plan, header: &header };
    let options = PackageOptions { name: "golden".to_owned(), embed: false, tolerance: 1e-5 };
    let files = package(network, &options, RuntimeSource { manifest: "", files: &[] }).expect("a crate");
    ["model.rs", "names.rs"].map(|name| {
        let file = files.iter().find(|file| file.path == format!("src/{name}")).expect("every crate has this file");
        (name, file.text.clone())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_and_blessed_on_request_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sub/net.plan");
        let missing = check_at(&path, "net.plan", "a\n", false).unwrap_err();
        assert!(missing.contains("golden/net.plan: ") && missing.contains("--bless"), "{missing}");
        check_at(&path, "net.plan", "a\nb\n", true).unwrap();
        check_at(&path, "net.plan", "a\nb\n", false).unwrap();
        let different = check_at(&path, "net.plan", "a\nc\n", false).unwrap_err();
        assert!(different.contains("-b\n+c\n"), "{different}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\nb\n");
    }

    #[test]
    #[should_panic(expected = "1 golden files differ")]
    fn an_error_fails() {
        assert_all([Ok(()), Err("different".to_owned())]);
    }
}
