//! The operations of a file system, on the names and files in memory.

use super::MemFs;
use super::content::Content;
use super::file::{MemFile, MemLock};
use super::node::FileNode;
use super::tree::{Change, Node, components};
use crate::fs::{DirEntry, DirGuard, DirLock, EntryKind, File, Fs, HeldDir, OpenMode};
use std::io;
use std::path::Path;
use std::sync::Arc;

impl Fs for MemFs {
    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Arc<dyn File>> {
        if how != OpenMode::CreateNew {
            let tree = self.device.tree.read();
            let node = tree.find_file(self.at(&tree, path)?)?;
            return Ok(Arc::new(self.handle(node, how == OpenMode::ReadWrite)));
        }
        let mut tree = self.device.tree.write();
        let at = match tree.place(self.at(&tree, path)?) {
            Err(_) if self.held.is_some() && tree.find_dir(self.at(&tree, path)?).is_ok() => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            at => at?,
        };
        if tree.get(at.0, &at.1).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.device.capacity.take_file()?;
        let node = FileNode::new(Content::default(), 1);
        tree.change(Change::Link { at, node: Node::File(Arc::clone(&node)) });
        Ok(Arc::new(self.handle(node, true)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let tree = self.device.tree.read();
        let dir = tree.find_dir(self.at(&tree, dir)?)?;
        let names = tree.live.get(&dir).into_iter().flatten();
        let entries = names.map(|(name, node)| {
            let (kind, len) = match node {
                Node::File(file) => (EntryKind::File, file.lock().content.len()),
                Node::Dir(_) => (EntryKind::Directory, 0),
            };
            DirEntry { name: name.to_string_lossy().into_owned(), kind, len }
        });
        Ok(entries.collect())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut tree = self.device.tree.write();
        let begins = self.at(&tree, dir)?;
        let names = components(begins.path);
        let mut at = begins.dir;
        for (index, name) in names.iter().enumerate() {
            at = match tree.get(at, name) {
                Some(Node::Dir(dir)) => *dir,
                Some(Node::File(_)) if index + 1 == names.len() => {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => {
                    self.device.capacity.take_file()?;
                    tree.add_dir((at, name.to_os_string()))
                }
            };
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = self.device.tree.write();
        let node = tree.find_file(self.at(&tree, from)?)?;
        let from = tree.place(self.at(&tree, from)?)?;
        let to = tree.place(self.at(&tree, to)?)?;
        let replaced = match tree.get(to.0, &to.1) {
            Some(Node::Dir(_)) => return Err(io::ErrorKind::IsADirectory.into()),
            Some(Node::File(file)) if Arc::ptr_eq(file, &node) => return Ok(()),
            Some(Node::File(file)) => Some(Arc::clone(file)),
            None => None,
        };
        tree.change(Change::Move { from, to });
        if let Some(file) = replaced {
            file.release(&self.device.capacity);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut tree = self.device.tree.write();
        let node = tree.find_file(self.at(&tree, path)?)?;
        let at = tree.place(self.at(&tree, path)?)?;
        tree.change(Change::Unlink { at });
        node.release(&self.device.capacity);
        Ok(())
    }

    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = self.device.tree.write();
        tree.find_dir(self.at(&tree, from)?)?;
        let from = tree.place(self.at(&tree, from)?)?;
        let to = tree.place(self.at(&tree, to)?)?;
        if tree.get(to.0, &to.1).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        tree.change(Change::Move { from, to });
        Ok(())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut tree = self.device.tree.write();
        let id = tree.find_dir(self.at(&tree, dir)?)?;
        let at = tree.place(self.at(&tree, dir)?)?;
        if tree.live.get(&id).is_some_and(|names| !names.is_empty()) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        tree.change(Change::Unlink { at });
        self.device.capacity.release_file();
        Ok(())
    }

    /// A rename between two directories is durable after a sync of either.
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut tree = self.device.tree.write();
        let dir = tree.find_dir(self.at(&tree, dir)?)?;
        tree.sync(dir);
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        let mut tree = self.device.tree.write();
        let node = match tree.find_file(self.at(&tree, path)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let at = tree.place(self.at(&tree, path)?)?;
                self.device.capacity.take_file()?;
                let node = FileNode::new(Content::default(), 1);
                tree.change(Change::Link { at, node: Node::File(Arc::clone(&node)) });
                node
            }
            found => found?,
        };
        if !node.try_lock_exclusive() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemLock::new(self.handle(node, true))))
    }

    fn hold_dir(&self, dir: &Path) -> io::Result<Option<HeldDir>> {
        self.hold(dir).map(Some)
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn DirGuard>> {
        self.guard(dir)
    }

    /// Returns `boot-` and a number: 1 at first, one more with each crash.
    fn boot_id(&self) -> Option<String> {
        Some(format!("boot-{}", self.device.boot))
    }
}

impl MemFs {
    /// Opens a handle. The caller holds the tree's lock, so that the file cannot lose its last
    /// holder meanwhile.
    pub(super) fn handle(&self, node: Arc<FileNode>, writable: bool) -> MemFile {
        node.hold();
        MemFile { device: Arc::clone(&self.device), node, writable }
    }
}
