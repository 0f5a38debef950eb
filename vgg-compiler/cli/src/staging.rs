//! Results appear whole or not at all: they are made in a directory of their own beside their place, then renamed.
//!
//! The directory is removed whatever happens: on an error when the [`Staging`] is dropped, on Ctrl-C by the handler that
//! [`clean_up_on_signals`] installs.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The directories that must not outlive the process.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn unfinished() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The exit status of a command that Ctrl-C ended: 128 + SIGINT, as shells have it.
const INTERRUPTED: i32 = 130;

/// Makes Ctrl-C (and a request to terminate) remove what is unfinished before the process ends. To be called once, by the
/// program.
pub fn clean_up_on_signals() {
    // Without a handler the signals keep their meaning; only the removal is lost.
    let _ = ctrlc::set_handler(|| {
        let unfinished = unfinished();
        for directory in unfinished.iter() {
            // The main thread may still be writing into the directory.
            for _ in 0..10 {
                match fs::remove_dir_all(directory) {
                    Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                    _ => break,
                }
            }
        }
        crate::console::report(&crate::Error::system("interrupted; nothing was left half-written"));
        // The lock is held to the end: nothing is renamed into its place any more.
        std::process::exit(INTERRUPTED);
    });
}

/// A temporary directory beside a result.
#[derive(Debug)]
pub struct Staging {
    directory: PathBuf,
    /// Parents of the result that were made for it, the outermost first.
    parents: Vec<PathBuf>,
}

impl Staging {
    /// A directory beside the file `target`, on the same file system. The parent of `target` must exist.
    ///
    /// # Errors
    ///
    /// When there is something else than a regular file at `target`, or the directory cannot be made.
    pub fn for_file(target: &Path) -> io::Result<Self> {
        check_replaceable(target)?;
        Self::beside(target)
    }

    fn beside(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
        let mut builder = tempfile::Builder::new();
        // Names have a limit that the target may have reached.
        let prefix: String = std::iter::once('.').chain(name.to_string_lossy().chars().take(32)).collect();
        builder.prefix(&prefix).suffix(".tmp");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o777)); // the umask takes its part away
        }
        Self::made(|| builder.tempdir_in(parent(target)))
    }

    /// A directory beside the directory `target`, on the same file system. The parents of `target` that do not exist are
    /// made, and removed again unless `target` comes into being.
    ///
    /// # Errors
    ///
    /// When a directory cannot be made.
    pub fn for_directory(target: &Path) -> io::Result<Self> {
        let missing = |ancestor: &&Path| !ancestor.as_os_str().is_empty() && !ancestor.exists();
        let mut parents: Vec<PathBuf> = target.ancestors().skip(1).take_while(missing).map(Path::to_path_buf).collect();
        parents.reverse();
        match fs::create_dir_all(parent(target)).and_then(|()| Self::beside(target)) {
            Ok(mut staging) => {
                staging.parents = parents;
                Ok(staging)
            }
            Err(error) => {
                remove_empty(&parents);
                Err(error)
            }
        }
    }

    /// A directory among the system's temporary files.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn temporary() -> io::Result<Self> {
        Self::made(|| tempfile::Builder::new().prefix("vgg-").tempdir())
    }

    fn made(make: impl FnOnce() -> io::Result<tempfile::TempDir>) -> io::Result<Self> {
        // The lock is taken first, so that a signal cannot fall between the making and the noting.
        let mut unfinished = unfinished();
        let directory = make()?.keep();
        unfinished.insert(directory.clone());
        Ok(Self { directory, parents: Vec::new() })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Moves the file `name` of the directory to `target`, in place of a file that may be there.
    ///
    /// # Errors
    ///
    /// When it cannot be moved.
    pub fn move_file(&mut self, name: &str, target: &Path) -> io::Result<()> {
        let _unfinished = unfinished();
        check_replaceable(target)?;
        fs::rename(self.directory.join(name), target)?;
        self.parents.clear();
        sync(parent(target))
    }

    /// Moves the directory `name` of the directory to `target`, in place of a directory that may be there. That one is
    /// removed only when the new one has taken its place.
    ///
    /// # Errors
    ///
    /// When it cannot be moved; then what was at `target` is there again.
    pub fn move_directory(&mut self, name: &str, target: &Path) -> io::Result<()> {
        let _unfinished = unfinished();
        let old = self.directory.join(".old");
        let replaces = fs::symlink_metadata(target).is_ok();
        if replaces {
            fs::rename(target, &old)?;
        }
        if let Err(error) = fs::rename(self.directory.join(name), target) {
            if replaces {
                fs::rename(&old, target)?;
            }
            return Err(error);
        }
        self.parents.clear();
        sync(parent(target))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let mut unfinished = unfinished();
        // What cannot be removed stays behind under a name that shows what it is.
        let _ = fs::remove_dir_all(&self.directory);
        remove_empty(&self.parents);
        unfinished.remove(&self.directory);
    }
}

/// Refuses directories, and devices such as /dev/null, which a rename would do away with.
fn check_replaceable(target: &Path) -> io::Result<()> {
    match fs::metadata(target) {
        Ok(found) if !found.is_file() => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "there is something else than a regular file"))
        }
        _ => Ok(()),
    }
}

/// The directory that `target` is in.
fn parent(target: &Path) -> &Path {
    target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn remove_empty(directories: &[PathBuf]) {
    for directory in directories.iter().rev() {
        let _ = fs::remove_dir(directory);
    }
}

/// Makes a rename last. Directories can be opened like files on Unix only.
fn sync(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { fs::File::open(directory)?.sync_all() } else { Ok(()) }
}

/// Whether two paths lead to the same existing file.
pub(crate) fn same_file(a: &Path, b: &Path) -> bool {
    match (fs::canonicalize(a), fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_is_left_of_what_was_not_finished() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("a/b/crate");
        let staging = Staging::for_directory(&target).unwrap();
        fs::write(staging.path().join("half"), "").unwrap();
        assert!(unfinished().contains(staging.path()));
        drop(staging);
        assert!(names(root.path()).is_empty());
    }

    #[test]
    fn a_directory_takes_the_place_of_another() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("a/crate");
        for content in ["first", "second"] {
            let mut staging = Staging::for_directory(&target).unwrap();
            fs::create_dir(staging.path().join("new")).unwrap();
            fs::write(staging.path().join("new").join(content), "").unwrap();
            staging.move_directory("new", &target).unwrap();
            drop(staging);
            assert_eq!(names(&target), [content]);
            assert_eq!(names(target.parent().unwrap()), ["crate"]);
        }
    }

    #[test]
    fn what_was_there_comes_back_when_the_new_one_cannot_be_moved() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("crate");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("kept"), "").unwrap();
        let mut staging = Staging::for_directory(&target).unwrap();
        assert!(staging.move_directory("missing", &target).is_err());
        drop(staging);
        assert_eq!(names(root.path()), ["crate"]);
        assert_eq!(names(&target), ["kept"]);
    }

    #[test]
    fn a_file_does_not_replace_a_directory() {
        let root = tempfile::tempdir().unwrap();
        let mut staging = Staging::for_file(&root.path().join("a")).unwrap();
        fs::write(staging.path().join("file"), "").unwrap();
        fs::create_dir(root.path().join("a")).unwrap();
        assert!(staging.move_file("file", &root.path().join("a")).is_err());
        staging.move_file("file", &root.path().join("b")).unwrap();
        drop(staging);
        assert_eq!(names(root.path()), ["a", "b"]);
    }
}
