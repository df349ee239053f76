//! The entries of index files.

use super::window::Window;
use super::{base_offset, malformed};
use crate::error::Result;
use crate::fs::Fs;
use crate::types::{Offset, ProducerId, Timestamp};
use std::path::Path;

/// An entry of an offset index: the append that began at this position ended with this offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetEntry {
    /// The last offset of an append.
    pub offset: Offset,
    /// The position in the log at which that append began.
    pub position: u64,
}

/// An entry of a time index: the batch that ends with this offset has the largest timestamp so
/// far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeEntry {
    /// The largest timestamp so far.
    pub timestamp: Timestamp,
    /// The last offset of the batch that has it.
    pub offset: Offset,
}

/// An entry of a transaction index: an aborted transaction. Offsets are as they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxnEntry {
    /// The version of the entry, 0.
    pub version: i16,
    /// The producer of the transaction.
    pub producer_id: ProducerId,
    /// Its first offset.
    pub first_offset: i64,
    /// The offset of its abort marker.
    pub last_offset: i64,
    /// The last stable offset after the abort.
    pub last_stable_offset: i64,
}

/// Entries of a fixed size, read in order.
#[derive(Debug)]
struct Fixed<const BYTES: usize> {
    window: Window,
    position: u64,
    /// Whether zeros after the first entry are reserved room, and not entries.
    reserves: bool,
    done: bool,
}

impl<const BYTES: usize> Fixed<BYTES> {
    fn open(fs: &dyn Fs, path: &Path, reserves: bool) -> Result<Self> {
        Ok(Fixed { window: Window::open(fs, path)?, position: 0, reserves, done: false })
    }

    fn next(&mut self) -> Option<Result<[u8; BYTES]>> {
        if self.done {
            return None;
        }
        let entry = self.step().transpose();
        if matches!(entry, None | Some(Err(_))) {
            self.done = true;
        }
        entry
    }

    fn step(&mut self) -> Result<Option<[u8; BYTES]>> {
        let at = self.position;
        let bytes = self.window.forward(at, BYTES)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let Ok(entry) = <[u8; BYTES]>::try_from(bytes) else {
            return Err(malformed(self.window.path(), at, "it ends within an entry"));
        };
        if self.reserves && at > 0 && entry.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        self.position = at.saturating_add(BYTES as u64);
        Ok(Some(entry))
    }
}

/// Returns the bytes of a field, or zeros beyond the end of the entry, which cannot happen with
/// constant positions.
fn field<const N: usize>(entry: &[u8], at: usize) -> [u8; N] {
    entry.get(at..).and_then(|tail| tail.first_chunk()).copied().unwrap_or([0; N])
}

macro_rules! entries {
    ($(#[$doc:meta])* $name:ident, $entry:ident, $bytes:literal, $reserves:literal, $decode:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            base: Offset,
            fixed: Fixed<$bytes>,
        }

        impl $name {
            /// Opens the entries of a file. The base offset comes from its name.
            ///
            /// # Errors
            /// [`Error::Io`](crate::Error::Io).
            pub fn open(fs: &dyn Fs, path: &Path) -> Result<$name> {
                Ok($name { base: base_offset(path), fixed: Fixed::open(fs, path, $reserves)? })
            }
        }

        impl Iterator for $name {
            type Item = Result<$entry>;

            fn next(&mut self) -> Option<Result<$entry>> {
                let entry = self.fixed.next()?;
                Some(entry.map(|entry| $decode(self.base, &entry)))
            }
        }

        impl std::iter::FusedIterator for $name {}
    };
}

entries! {
    /// The entries of an offset index. Zeros at the end are room that a broker reserved.
    OffsetEntries, OffsetEntry, 8, true, |base: Offset, entry: &[u8]| OffsetEntry {
        offset: base.saturating_add(u32::from_be_bytes(field(entry, 0)).into()),
        position: u32::from_be_bytes(field(entry, 4)).into(),
    }
}

entries! {
    /// The entries of a time index. Zeros at the end are room that a broker reserved.
    TimeEntries, TimeEntry, 12, true, |base: Offset, entry: &[u8]| TimeEntry {
        timestamp: Timestamp::from_millis(i64::from_be_bytes(field(entry, 0))),
        offset: base.saturating_add(u32::from_be_bytes(field(entry, 8)).into()),
    }
}

entries! {
    /// The entries of a transaction index.
    TxnEntries, TxnEntry, 34, false, |_: Offset, entry: &[u8]| TxnEntry {
        version: i16::from_be_bytes(field(entry, 0)),
        producer_id: i64::from_be_bytes(field(entry, 2)),
        first_offset: i64::from_be_bytes(field(entry, 10)),
        last_offset: i64::from_be_bytes(field(entry, 18)),
        last_stable_offset: i64::from_be_bytes(field(entry, 26)),
    }
}
