//! The list of sources is complete and is what the directory holds.
#![cfg(feature = "source")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use vgg_runtime::source;

fn collect(directory: &Path, prefix: &str, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{name}/"), files);
        } else {
            files.insert(name, fs::read_to_string(entry.path()).unwrap());
        }
    }
}

#[test]
fn every_file_of_src_is_listed_in_order() {
    let mut expected = BTreeMap::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut expected);
    let listed: Vec<(String, String)> =
        source::FILES.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    let names = |files: &[(String, String)]| files.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
    let expected: Vec<_> = expected.into_iter().collect();
    assert_eq!(names(&listed), names(&expected));
    assert!(listed == expected, "the text of a file is not the one that was compiled in");
}

#[test]
fn unsafe_code_lives_in_simd_kernels_and_memory_alone() {
    for (path, text) in source::FILES {
        let allowed = path.starts_with("simd/") || path.starts_with("kernels/") || *path == "memory.rs";
        let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
        let uses = code.filter(|line| line.contains("unsafe ") && !line.contains('"')).count();
        assert!(allowed || uses == 0, "{path} has unsafe code");
    }
}
