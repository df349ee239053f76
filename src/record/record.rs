//! A record to append.

use super::name::HeaderName;
use super::record_ref::{HeaderRef, RecordRef};
use crate::types::Timestamp;
use bytes::Bytes;

/// A record to append: a value, and optionally a key, headers and a timestamp.
///
/// Strings and byte vectors convert into it, so you rarely need to name the type.
///
/// ```
/// use annals::record::Record;
///
/// let plain = Record::from("just a value");
/// assert_eq!(plain.key, None);
///
/// let full = Record::new("value").key("user-7").header("trace", "4bf9").header_null("empty");
/// assert_eq!(full.headers.len(), 2);
///
/// // In a compacted log, this deletes the key.
/// assert_eq!(Record::tombstone("user-7").value, None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Record {
    /// The key, used by compaction and partitioning. `None` differs from an empty key.
    pub key: Option<Bytes>,
    /// The value. `None` is a tombstone, which differs from an empty value.
    pub value: Option<Bytes>,
    /// The headers, in order. Names may repeat.
    pub headers: Vec<Header>,
    /// The timestamp. Without one, the record gets the time of the append.
    pub timestamp: Option<Timestamp>,
}

impl Record {
    /// Creates a record with this value and nothing else.
    pub fn new(value: impl Into<Bytes>) -> Record {
        Record { value: Some(value.into()), ..Record::default() }
    }

    /// Creates a record with this key and no value.
    pub fn tombstone(key: impl Into<Bytes>) -> Record {
        Record { key: Some(key.into()), ..Record::default() }
    }

    /// Sets the key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Record {
        self.key = Some(key.into());
        self
    }

    /// Removes the value.
    #[must_use]
    pub fn null_value(mut self) -> Record {
        self.value = None;
        self
    }

    /// Adds a header after the existing ones.
    #[must_use]
    pub fn header(mut self, name: impl Into<HeaderName>, value: impl Into<Bytes>) -> Record {
        self.headers.push(Header { name: name.into(), value: Some(value.into()) });
        self
    }

    /// Adds a header without a value after the existing ones.
    #[must_use]
    pub fn header_null(mut self, name: impl Into<HeaderName>) -> Record {
        self.headers.push(Header { name: name.into(), value: None });
        self
    }

    /// Sets the timestamp.
    #[must_use]
    pub fn timestamp(mut self, timestamp: Timestamp) -> Record {
        self.timestamp = Some(timestamp);
        self
    }

    /// Returns the total size of key, value and headers, without their encoding.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        self.headers.iter().fold(
            length(&self.key).saturating_add(length(&self.value)),
            |sum, header| {
                sum.saturating_add(header.name.as_bytes().len())
                    .saturating_add(length(&header.value))
            },
        )
    }
}

impl From<&str> for Record {
    fn from(value: &str) -> Record {
        Record::new(Bytes::copy_from_slice(value.as_bytes()))
    }
}

impl From<String> for Record {
    fn from(value: String) -> Record {
        Record::new(value)
    }
}

impl From<&[u8]> for Record {
    fn from(value: &[u8]) -> Record {
        Record::new(Bytes::copy_from_slice(value))
    }
}

impl<const N: usize> From<&[u8; N]> for Record {
    fn from(value: &[u8; N]) -> Record {
        Record::from(value.as_slice())
    }
}

impl From<Vec<u8>> for Record {
    fn from(value: Vec<u8>) -> Record {
        Record::new(value)
    }
}

impl From<Bytes> for Record {
    fn from(value: Bytes) -> Record {
        Record::new(value)
    }
}

/// A header of a record: a name and an optional value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Header {
    /// The name. It need not be unique in the record, nor UTF-8.
    pub name: HeaderName,
    /// The value. `None` differs from an empty value.
    pub value: Option<Bytes>,
}

impl Header {
    /// Creates a header with a value.
    pub fn new(name: impl Into<HeaderName>, value: impl Into<Bytes>) -> Header {
        Header { name: name.into(), value: Some(value.into()) }
    }
}

impl<'a> From<&'a Header> for HeaderRef<'a> {
    fn from(header: &'a Header) -> HeaderRef<'a> {
        HeaderRef { name: (&header.name).into(), value: header.value.as_deref() }
    }
}

impl RecordRef<'_> {
    /// Returns a copy to append to another log. It keeps its timestamp and loses its offset.
    #[must_use]
    pub fn to_record(&self) -> Record {
        Record {
            key: self.key.map(Bytes::copy_from_slice),
            value: self.value.map(Bytes::copy_from_slice),
            headers: self.headers.iter().map(|header| header.to_header()).collect(),
            timestamp: Some(self.timestamp),
        }
    }
}

impl HeaderRef<'_> {
    /// Returns a copy.
    #[must_use]
    pub fn to_header(&self) -> Header {
        Header { name: self.name.into(), value: self.value.map(Bytes::copy_from_slice) }
    }
}
