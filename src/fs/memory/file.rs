//! Open files and locks of a file system in memory.

use super::Device;
use super::capacity::Capacity;
use super::content::Content;
use super::node::FileNode;
use crate::fs::{DirLock, File, FileView};
use std::fmt;
use std::io;
use std::sync::Arc;

/// An open file of [`MemFs`](crate::fs::MemFs).
pub(super) struct MemFile {
    pub(super) device: Arc<Device>,
    pub(super) node: Arc<FileNode>,
    pub(super) writable: bool,
}

impl MemFile {
    /// Works on the bytes, while no crash takes a snapshot.
    fn with<T>(&self, work: impl FnOnce(&mut Content, &Capacity) -> T) -> T {
        let _no_crash = self.device.tree.read();
        work(&mut self.node.lock().content, &self.device.capacity)
    }

    fn change<T>(
        &self,
        work: impl FnOnce(&mut Content, &Capacity) -> io::Result<T>,
    ) -> io::Result<T> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.with(work)
    }
}

impl File for MemFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|content, _| content.len()))
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        Ok(self.with(|content, _| content.read(buf, at)))
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        self.change(|content, capacity| content.write(buf, at, capacity))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|content, capacity| content.set_len(len, capacity))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.change(|content, capacity| content.allocate(len, capacity))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|content, _| content.sync());
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    /// Returns a copy.
    fn view(&self, len: u64) -> io::Result<FileView> {
        self.with(|content, _| {
            if len > content.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
            let mut bytes = vec![0; len];
            content.read(&mut bytes, 0);
            Ok(FileView::from_vec(bytes))
        })
    }
}

impl Drop for MemFile {
    fn drop(&mut self) {
        self.node.release(&self.device.capacity);
    }
}

impl fmt::Debug for MemFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemFile").field("writable", &self.writable).finish_non_exhaustive()
    }
}

/// A locked file of [`MemFs`](crate::fs::MemFs).
#[derive(Debug)]
pub(super) struct MemLock {
    file: MemFile,
}

impl MemLock {
    /// Takes a file that is locked. Dropping this unlocks it.
    pub(super) fn new(file: MemFile) -> MemLock {
        MemLock { file }
    }
}

impl DirLock for MemLock {
    fn file(&self) -> &dyn File {
        &self.file
    }
}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.file.node.unlock_exclusive();
    }
}
