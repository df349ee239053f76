//! The room on the device: how many bytes and files it takes, and how many it has.

use super::content::BLOCK;
use crate::sync::Mutex;
use std::io;

/// Room in blocks of 4 KiB. A lock of its own: it is asked while that of a file is held.
pub(super) struct Space {
    room: Mutex<Room>,
}

#[derive(Clone, Copy)]
struct Room {
    used: u64,
    capacity: u64,
    files: u64,
    most_files: u64,
}

impl Space {
    /// Room for whole blocks only.
    pub(super) fn new(bytes: u64) -> Space {
        let capacity = bytes / BLOCK as u64;
        Space { room: Mutex::new(Room { used: 0, capacity, files: 0, most_files: u64::MAX }) }
    }

    /// As large as another, and empty.
    pub(super) fn like(other: &Space) -> Space {
        let room = *other.room.lock();
        Space { room: Mutex::new(Room { used: 0, files: 0, ..room }) }
    }

    /// Takes room, all of it or none.
    pub(super) fn take(&self, blocks: u64) -> bool {
        let mut room = self.room.lock();
        match room.used.checked_add(blocks) {
            Some(used) if used <= room.capacity => {
                room.used = used;
                true
            }
            _ => false,
        }
    }

    /// Takes room for what is there already, even beyond the end of the device.
    pub(super) fn occupy(&self, blocks: u64) {
        let mut room = self.room.lock();
        room.used = room.used.saturating_add(blocks);
    }

    pub(super) fn give(&self, blocks: u64) {
        let mut room = self.room.lock();
        room.used = room.used.saturating_sub(blocks);
    }

    /// Takes room for one more file or directory, if there is any.
    pub(super) fn take_file(&self) -> io::Result<()> {
        let mut room = self.room.lock();
        if room.files >= room.most_files {
            return Err(io::ErrorKind::StorageFull.into());
        }
        room.files = room.files.saturating_add(1);
        Ok(())
    }

    /// Takes room for files that are there already, even beyond the limit.
    pub(super) fn occupy_files(&self, files: u64) {
        let mut room = self.room.lock();
        room.files = room.files.saturating_add(files);
    }

    pub(super) fn give_file(&self) {
        let mut room = self.room.lock();
        room.files = room.files.saturating_sub(1);
    }

    pub(super) fn set_most_files(&self, files: u64) {
        self.room.lock().most_files = files;
    }

    pub(super) fn files(&self) -> u64 {
        self.room.lock().files
    }

    pub(super) fn set_capacity(&self, bytes: u64) {
        self.room.lock().capacity = bytes / BLOCK as u64;
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.room.lock().used.saturating_mul(BLOCK as u64)
    }
}
