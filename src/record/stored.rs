//! A record as it is read back.

use super::decode::share;
use super::iter::RecordRef;
use super::record::{Header, Record};
use crate::types::{Offset, Timestamp};
use bytes::Bytes;

/// A record read from a log, with its offset; clones share its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoredRecord {
    /// Its offset in the log.
    pub offset: Offset,
    /// Its time: the producer's, or the log's in a batch with append time.
    pub timestamp: Timestamp,
    /// Its key; none is not the same as empty.
    pub key: Option<Bytes>,
    /// Its value; none is a tombstone, which is not the same as empty.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<Header>,
}

impl StoredRecord {
    /// Returns the record with its slices shared where they lie inside `bytes`, and copied where
    /// they do not.
    ///
    /// Sharing keeps all of `bytes` in memory for as long as the record lives.
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

    /// Returns whether the record has no value: in a compacted log, it deletes its key.
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

/// The record to append it elsewhere: it keeps its timestamp and loses its offset.
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
