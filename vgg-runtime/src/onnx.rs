//! The ONNX file of a network whose graph was compiled into the program.

use std::format;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::files;

/// Writes `DIR/STEM.safetensors` (the weights) and `DIR/STEM.onnx` (the graph, whose initialisers are external data in that file), each
/// whole or not at all, and gives the path of the latter. The graph is written last, so that it never exists without its weights.
///
/// # Errors
/// When a file cannot be written.
pub fn write_onnx(dir: &Path, stem: &str, graph: &[u8], weights: &[u8]) -> Result<PathBuf, Error> {
    files::replace(&dir.join(format!("{stem}.safetensors")), |file| file.write_all(weights))?;
    let path = dir.join(format!("{stem}.onnx"));
    files::replace(&path, |file| file.write_all(graph))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_written_and_replaced() {
        let directory = std::env::temp_dir().join(format!("vgg-onnx-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        for (graph, weights) in [(&b"graph"[..], &b"weights"[..]), (b"other", b"numbers")] {
            let path = write_onnx(&directory, "net", graph, weights).unwrap();
            assert_eq!(path, directory.join("net.onnx"));
            assert_eq!(std::fs::read(path).unwrap(), graph);
            assert_eq!(std::fs::read(directory.join("net.safetensors")).unwrap(), weights);
        }
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 2, "no temporary file is left");
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_failure_names_the_file() {
        let missing = std::env::temp_dir().join("vgg-no-such-directory");
        let error = format!("{}", write_onnx(&missing, "net", b"", b"").unwrap_err());
        assert!(error.starts_with("cannot write") && error.contains("net.safetensors"), "{error}");
    }
}
