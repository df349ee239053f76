//! The capacity of the device, in bytes and in files.

use crate::sync::Mutex;
use std::io;

/// The unit in which pages are written back and room is counted.
pub(super) const BLOCK: usize = 4096;
/// The unit that a disk writes as a whole or not at all.
pub(super) const SECTOR: usize = 512;

/// Room in blocks of 4 KiB. Its lock is a leaf, and is taken while the lock of a file is held.
pub(super) struct Capacity {
    usage: Mutex<Usage>,
}

#[derive(Clone, Copy)]
struct Usage {
    used: u64,
    capacity: u64,
    files: u64,
    most_files: u64,
}

impl Capacity {
    /// Creates a capacity of as many whole blocks as fit into `bytes`.
    pub(super) fn new(bytes: u64) -> Capacity {
        let capacity = bytes / BLOCK as u64;
        Capacity { usage: Mutex::new(Usage { used: 0, capacity, files: 0, most_files: u64::MAX }) }
    }

    /// Creates a capacity as large as another, with nothing in it.
    pub(super) fn like(other: &Capacity) -> Capacity {
        let usage = *other.usage.lock();
        Capacity { usage: Mutex::new(Usage { used: 0, files: 0, ..usage }) }
    }

    /// Takes room, all of it or none.
    pub(super) fn take(&self, blocks: u64) -> bool {
        let mut usage = self.usage.lock();
        match usage.used.checked_add(blocks) {
            Some(used) if used <= usage.capacity => {
                usage.used = used;
                true
            }
            _ => false,
        }
    }

    /// Takes room for existing content, even beyond the end of the device.
    pub(super) fn occupy(&self, blocks: u64) {
        let mut usage = self.usage.lock();
        usage.used = usage.used.saturating_add(blocks);
    }

    pub(super) fn release(&self, blocks: u64) {
        let mut usage = self.usage.lock();
        usage.used = usage.used.saturating_sub(blocks);
    }

    /// Takes room for one more file or directory.
    ///
    /// # Errors
    /// `StorageFull`.
    pub(super) fn take_file(&self) -> io::Result<()> {
        let mut usage = self.usage.lock();
        if usage.files >= usage.most_files {
            return Err(io::ErrorKind::StorageFull.into());
        }
        usage.files = usage.files.saturating_add(1);
        Ok(())
    }

    /// Takes room for existing files, even beyond the limit.
    pub(super) fn occupy_files(&self, files: u64) {
        let mut usage = self.usage.lock();
        usage.files = usage.files.saturating_add(files);
    }

    pub(super) fn release_file(&self) {
        let mut usage = self.usage.lock();
        usage.files = usage.files.saturating_sub(1);
    }

    pub(super) fn set_most_files(&self, files: u64) {
        self.usage.lock().most_files = files;
    }

    pub(super) fn files(&self) -> u64 {
        self.usage.lock().files
    }

    pub(super) fn set_capacity(&self, bytes: u64) {
        self.usage.lock().capacity = bytes / BLOCK as u64;
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.usage.lock().used.saturating_mul(BLOCK as u64)
    }
}
