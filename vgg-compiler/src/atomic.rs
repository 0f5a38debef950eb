//! Files that are written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Bytes handed to the system at once, and between two reports of progress.
const CHUNK: usize = 4 << 20;

/// Writes a file at `path` through `fill`, in place of the file that may be there.
///
/// The bytes go to a temporary file in the same directory, which is synchronised with the disk and then renamed.
/// Whatever fails, an older file at `path` stays as it was and the temporary one is removed; a reader never sees half a
/// file, and `path` may be a file from which the content was read. Something else than a regular file at `path` is an
/// error.
pub fn write(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is something else than a regular file"));
    }
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let prefix = format!(".{}.", name.to_string_lossy());
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666)); // the umask takes its part away
    }
    let mut temporary = builder.tempfile_in(directory)?;
    fill(temporary.as_file_mut())?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    sync_directory(directory)
}

/// Writes `bytes` to `out` in pieces and adds them to `written`, which `progress` is told after each piece.
pub fn write_counted(
    out: &mut impl Write,
    bytes: &[u8],
    written: &mut u64,
    progress: &mut dyn FnMut(u64),
) -> io::Result<()> {
    for chunk in bytes.chunks(CHUNK) {
        out.write_all(chunk)?;
        *written += chunk.len() as u64;
        progress(*written);
    }
    Ok(())
}

/// Makes the rename itself last. Directories can be opened like files on Unix only.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(directory: &Path) -> Vec<String> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.bin");
        write(&path, |file| file.write_all(b"old")).unwrap();
        let error = write(&path, |file| {
            file.write_all(b"ne")?;
            Err(io::Error::other("disk on fire"))
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "disk on fire");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(entries(directory.path()), ["a.bin"]);
        write(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(entries(directory.path()), ["a.bin"]);
    }

    #[test]
    fn only_regular_files_are_replaced() {
        let directory = tempfile::tempdir().unwrap();
        assert!(write(directory.path(), |_| Ok(())).is_err());
        assert!(write(&directory.path().join("missing/a.bin"), |_| Ok(())).is_err());
        assert!(entries(directory.path()).is_empty());
    }

    #[test]
    #[cfg(unix)]
    fn a_new_file_has_the_usual_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
        fs::write(directory.path().join("plain"), b"").unwrap();
        write(&directory.path().join("atomic"), |_| Ok(())).unwrap();
        assert_eq!(mode("atomic"), mode("plain"));
    }

    #[test]
    fn progress_counts_every_byte() {
        let mut reports = Vec::new();
        let (mut out, mut written) = (Vec::new(), 10);
        write_counted(&mut out, &vec![7; CHUNK + 1], &mut written, &mut |bytes| reports.push(bytes)).unwrap();
        assert_eq!(reports, [10 + CHUNK as u64, 11 + CHUNK as u64]);
        assert_eq!(out.len(), CHUNK + 1);
    }
}
