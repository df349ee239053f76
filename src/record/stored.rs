//! A record as a reader returns it.

use super::record::{Header, Record};
use super::record_ref::RecordRef;
use crate::types::{Offset, Timestamp};
use bytes::Bytes;

/// A record read from a log, with its offset. Clones share its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoredRecord {
    /// Its offset in the log.
    pub offset: Offset,
    /// Its timestamp: the producer's, or the log's in a batch with append time.
    pub timestamp: Timestamp,
    /// Its key. `None` differs from an empty key.
    pub key: Option<Bytes>,
    /// Its value. `None` is a tombstone, which differs from an empty value.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<Header>,
}

impl StoredRecord {
    /// Returns the record with key, value and headers shared if they lie inside `bytes`, and
    /// copied otherwise.
    ///
    /// Sharing keeps all of `bytes` in memory as long as the record lives.
    #[must_use]
    pub fn from_record_ref(bytes: &Bytes, record: RecordRef<'_>) -> StoredRecord {
        let headers = if record.headers.is_empty() {
            Vec::new()
        } else {
            let headers = record.headers.iter().map(|header| Header {
                name: share(bytes, header.name.as_bytes()).into(),
                value: header.value.map(|value| share(bytes, value)),
            });
            headers.collect()
        };
        StoredRecord {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(|key| share(bytes, key)),
            value: record.value.map(|value| share(bytes, value)),
            headers,
        }
    }

    /// Returns the key as text, if there is one and it is UTF-8.
    #[must_use]
    pub fn key_str(&self) -> Option<&str> {
        self.key.as_deref().and_then(|key| std::str::from_utf8(key).ok())
    }

    /// Returns the value as text, if there is one and it is UTF-8.
    #[must_use]
    pub fn value_str(&self) -> Option<&str> {
        self.value.as_deref().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Returns the last header with this name, a string or bytes, if there is one.
    #[must_use]
    pub fn header(&self, name: impl AsRef<[u8]>) -> Option<&Header> {
        let name = name.as_ref();
        self.headers.iter().rev().find(|header| header.name.as_bytes() == name)
    }

    /// Returns whether the record has no value. In a compacted log, such a record deletes its key.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.value.is_none()
    }
}

/// Copies key, value and headers.
impl From<RecordRef<'_>> for StoredRecord {
    fn from(record: RecordRef<'_>) -> StoredRecord {
        StoredRecord {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(Bytes::copy_from_slice),
            value: record.value.map(Bytes::copy_from_slice),
            headers: record.headers.iter().map(|header| header.to_header()).collect(),
        }
    }
}

/// Returns the record for appending it to another log: it keeps its timestamp and loses its
/// offset.
impl From<StoredRecord> for Record {
    fn from(record: StoredRecord) -> Record {
        Record {
            key: record.key,
            value: record.value,
            headers: record.headers,
            timestamp: Some(record.timestamp),
        }
    }
}

/// Returns `part` as a slice of `bytes` that shares its memory, or as a copy if it lies elsewhere.
pub(crate) fn share(bytes: &Bytes, part: &[u8]) -> Bytes {
    let start = (part.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize);
    let range = start.and_then(|start| Some(start..start.checked_add(part.len())?));
    match range {
        Some(range) if range.end <= bytes.len() => bytes.slice(range),
        _ => Bytes::copy_from_slice(part),
    }
}
