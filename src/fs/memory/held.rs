//! Held directories: the paths of such a file system begin at the held directory, and not at the
//! root.

use super::tree::{At, DirId, ROOT, Tree, components};
use super::{Device, MemFs};
use crate::fs::{DirGuard, HeldDir};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// A directory by its number, and the paths that stand for it and for its parent.
pub(super) struct Held {
    dir: DirId,
    root: PathBuf,
    above: Option<PathBuf>,
}

impl MemFs {
    /// Returns the directory that a path begins at, and the rest of the path.
    pub(super) fn at<'a>(&self, tree: &Tree, path: &'a Path) -> io::Result<At<'a>> {
        let Some(held) = &self.held else { return Ok(At { dir: ROOT, path }) };
        let outside = || io::Error::from(io::ErrorKind::InvalidInput);
        let at = if let Ok(path) = path.strip_prefix(&held.root) {
            At { dir: held.dir, path }
        } else {
            let above = held.above.as_ref().and_then(|above| path.strip_prefix(above).ok());
            At { path: above.ok_or_else(outside)?, dir: tree.above(held.dir)? }
        };
        // Paths are compared as text, so `..` must not lead out.
        let leads_out = at.path.components().any(|part| part == Component::ParentDir);
        if leads_out { Err(outside()) } else { Ok(at) }
    }

    pub(super) fn hold(&self, path: &Path) -> io::Result<HeldDir> {
        let tree = self.device.tree.read();
        let at = self.at(&tree, path)?;
        let dir = tree.find_dir(at)?;
        let names = components(at.path);
        let name = names.last().map(|name| name.to_string_lossy().into_owned());
        let above = match path.parent().filter(|_| path.file_name().is_some()) {
            Some(above) if above.as_os_str().is_empty() => Some(PathBuf::from(".")),
            above => above.map(Path::to_owned),
        };
        let (above, name) = above.zip(name).unzip();
        let held = Arc::new(Held { dir, root: path.to_owned(), above: above.clone() });
        let fs = MemFs { device: Arc::clone(&self.device), held: Some(held) };
        Ok(HeldDir { fs: Arc::new(fs), above, name, is_mount: false })
    }

    pub(super) fn guard(&self, path: &Path) -> io::Result<Box<dyn DirGuard>> {
        let dir = {
            let tree = self.device.tree.read();
            tree.find_dir(self.at(&tree, path)?)?
        };
        if !self.device.locked.lock().insert(dir) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemGuard { device: Arc::clone(&self.device), dir }))
    }
}

/// A locked directory of [`MemFs`].
struct MemGuard {
    device: Arc<Device>,
    dir: DirId,
}

impl std::fmt::Debug for MemGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MemGuard").field(&self.dir).finish()
    }
}

impl DirGuard for MemGuard {}

impl Drop for MemGuard {
    fn drop(&mut self) {
        self.device.locked.lock().remove(&self.dir);
    }
}
