//! A rehearsal: the work of a command, done to a copy of the log to show the result beforehand.
//!
//! It is exact, because it is the same work, recovery included. The copy needs as much space in
//! the directory for temporary files as the log has bytes.

use crate::failure::Failure;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The files of the directory above that matter to a log: its last owner, and the checkpoints of
/// all logs in it.
const ABOVE: [&str; 6] = [
    ".kafka_cleanshutdown",
    ".lock",
    "cleaner-offset-checkpoint",
    "log-start-offset-checkpoint",
    "meta.properties",
    "recovery-point-offset-checkpoint",
];

/// A copy of a log, which is removed on drop.
pub struct Rehearsal {
    original: PathBuf,
    copy: PathBuf,
    _temporary: TempDir,
}

impl Rehearsal {
    /// Copies the log in a directory.
    pub fn of(dir: &Path) -> Result<Rehearsal, Failure> {
        let copied = || -> io::Result<Rehearsal> {
            let place = fs::canonicalize(dir)?;
            let temporary = TempDir::with_prefix("annals-")?;
            let copy = temporary.path().join(place.file_name().unwrap_or("log".as_ref()));
            fs::create_dir(&copy)?;
            for name in ABOVE {
                let Some(from) = place.parent().map(|above| above.join(name)) else { continue };
                copy_if_there(&from, &temporary.path().join(name))?;
            }
            for entry in fs::read_dir(&place)? {
                let entry = entry?;
                if entry.file_type()?.is_file() {
                    copy_if_there(&entry.path(), &copy.join(entry.file_name()))?;
                }
            }
            Ok(Rehearsal { original: dir.to_owned(), copy, _temporary: temporary })
        };
        copied().map_err(|error| {
            let what = format!(
                "copy {} to try it there (set TMPDIR to a directory with room for it)",
                dir.display()
            );
            Failure::io(what, &error)
        })
    }

    /// Returns the directory of the copy.
    pub fn dir(&self) -> &Path {
        &self.copy
    }

    /// Returns the file of the log that a file of the copy stands for.
    pub fn original(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.copy)
            .map_or_else(|_| path.to_owned(), |name| self.original.join(name))
    }

    /// Rewrites a failure of the copy as a failure of the log.
    pub fn failed(&self, failure: impl Into<Failure>) -> Failure {
        match failure.into() {
            Failure::Damaged(mut damage) => {
                damage.path = self.original(&damage.path);
                Failure::Damaged(damage)
            }
            Failure::Refused(message) => {
                let (copy, original) =
                    (self.copy.to_string_lossy(), self.original.to_string_lossy());
                Failure::Refused(message.replace(&*copy, &original))
            }
            other => other,
        }
    }
}

/// Copies a file, unless another process has removed it meanwhile.
fn copy_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::copy(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        copied => copied.map(drop),
    }
}
