//! Where the workspace and its target directory are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The workspace that this binary was built from.
pub(crate) struct Project {
    /// The directory of the root Cargo.toml.
    pub(crate) root: PathBuf,
    /// Cargo's target directory: CARGO_TARGET_DIR, cargo's configuration, or `target` in the root.
    pub(crate) target: PathBuf,
    /// The cargo that runs this task, so that every step uses the same toolchain.
    pub(crate) cargo: OsString,
}

impl Project {
    /// Asks `cargo metadata`, which knows every way to move the target directory.
    pub(crate) fn locate() -> Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in no workspace")?.to_path_buf();
        let output = Command::new(&cargo)
            .args(["metadata", "--format-version", "1", "--no-deps", "--manifest-path"])
            .arg(root.join("Cargo.toml"))
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot run `{} metadata`", cargo.display()))?;
        if !output.status.success() {
            bail!("`cargo metadata` of {} failed ({})", root.display(), output.status);
        }
        let target = target_directory(&output.stdout)?;
        Ok(Self { root, target, cargo })
    }
}

/// `target_directory` of the JSON that `cargo metadata` prints.
fn target_directory(metadata: &[u8]) -> Result<PathBuf> {
    let metadata: serde_json::Value =
        serde_json::from_slice(metadata).context("`cargo metadata` did not print the JSON that was expected")?;
    let target = metadata["target_directory"].as_str().context("`cargo metadata` names no target_directory")?;
    Ok(PathBuf::from(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_workspace() {
        let project = Project::locate().unwrap();
        assert!(project.root.join("xtask/requirements.txt").is_file());
        assert!(project.target.is_absolute());
    }

    #[test]
    fn reads_the_target_directory() {
        assert_eq!(target_directory(br#"{"target_directory":"/a/b"}"#).unwrap(), Path::new("/a/b"));
        assert!(target_directory(b"{}").is_err());
        assert!(target_directory(b"").is_err());
    }
}
