//! The room on the device: how much of it there is, and how much is taken.

use super::content::BLOCK;
use crate::sync::Mutex;

/// Room in blocks of 4 KiB. A lock of its own: it is asked while that of a file is held.
pub(super) struct Space {
    room: Mutex<Room>,
}

#[derive(Clone, Copy)]
struct Room {
    used: u64,
    capacity: u64,
}

impl Space {
    /// Room for whole blocks only.
    pub(super) fn new(bytes: u64) -> Space {
        Space { room: Mutex::new(Room { used: 0, capacity: bytes / BLOCK as u64 }) }
    }

    /// As large as another, and empty.
    pub(super) fn like(other: &Space) -> Space {
        let capacity = other.room.lock().capacity;
        Space { room: Mutex::new(Room { used: 0, capacity }) }
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

    pub(super) fn set_capacity(&self, bytes: u64) {
        self.room.lock().capacity = bytes / BLOCK as u64;
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.room.lock().used.saturating_mul(BLOCK as u64)
    }
}
