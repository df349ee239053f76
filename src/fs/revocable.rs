//! Access to a file system that can be revoked.

use super::{DirEntry, DirGuard, DirLock, File, Fs, HeldDir, OpenMode, Turns};
use crate::sync::RwLock;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A file system that can be used until access is [revoked](Revocable::revoke), which also closes
/// a directory that it [holds](Fs::hold_dir).
///
/// Open files stay open.
#[derive(Debug)]
pub(crate) struct Revocable {
    /// Leaf lock: held to clone or to take one pointer, never across I/O.
    fs: RwLock<Option<Arc<dyn Fs>>>,
}

impl Revocable {
    pub(crate) fn new(fs: Arc<dyn Fs>) -> Revocable {
        Revocable { fs: RwLock::new(Some(fs)) }
    }

    /// Makes all later calls fail. Calls in progress finish.
    pub(crate) fn revoke(&self) {
        let fs = self.fs.write().take();
        // It may be user-supplied code, so it is dropped with no lock held.
        drop(fs);
    }

    fn fs(&self) -> io::Result<Arc<dyn Fs>> {
        let fs = self.fs.read().clone();
        fs.ok_or_else(|| io::Error::other("the directory was closed with its log or store"))
    }
}

impl Fs for Revocable {
    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Arc<dyn File>> {
        self.fs()?.open(path, how)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.fs()?.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.fs()?.create_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fs()?.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.fs()?.remove(path)
    }

    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fs()?.rename_dir(from, to)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.fs()?.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.fs()?.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        self.fs()?.lock(path)
    }

    fn hold_dir(&self, dir: &Path) -> io::Result<Option<HeldDir>> {
        self.fs()?.hold_dir(dir)
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn DirGuard>> {
        self.fs()?.lock_dir(dir)
    }

    fn boot_id(&self) -> Option<String> {
        self.fs().ok()?.boot_id()
    }

    fn turns(&self) -> Option<Arc<Turns>> {
        self.fs().ok()?.turns()
    }
}
