//! Records as JSON: what `read` and `consume` print, and `append` and `produce` take.

use annals::record::{HeaderRef, RecordRef};
use annals::{Header, Offset, Record, StoredRecord, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Bytes: a string if they are UTF-8, base64 otherwise.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a string, null or {\"base64\":\"…\"}")]
pub enum Blob<'a> {
    Text(Cow<'a, str>),
    #[serde(deserialize_with = "in_base64", serialize_with = "to_base64")]
    Binary(Cow<'a, [u8]>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoded {
    base64: String,
}

fn to_base64<S: serde::Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    Encoded { base64: STANDARD.encode(bytes) }.serialize(to)
}

fn in_base64<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Cow<'static, [u8]>, D::Error> {
    let encoded = Encoded::deserialize(from)?;
    STANDARD.decode(encoded.base64).map(Cow::Owned).map_err(serde::de::Error::custom)
}

impl<'a> From<&'a [u8]> for Blob<'a> {
    fn from(bytes: &'a [u8]) -> Blob<'a> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Blob::Text(Cow::Borrowed(text)),
            Err(_) => Blob::Binary(Cow::Borrowed(bytes)),
        }
    }
}

impl Blob<'_> {
    fn into_bytes(self) -> Vec<u8> {
        match self {
            Blob::Text(text) => text.into_owned().into_bytes(),
            Blob::Binary(bytes) => bytes.into_owned(),
        }
    }
}

/// A record to print.
#[derive(Debug, Serialize)]
pub struct Shown<'a> {
    offset: Offset,
    timestamp: i64,
    key: Option<Blob<'a>>,
    value: Option<Blob<'a>>,
    headers: Vec<(Blob<'a>, Option<Blob<'a>>)>,
}

impl<'a> From<&RecordRef<'a>> for Shown<'a> {
    fn from(record: &RecordRef<'a>) -> Shown<'a> {
        let header = |header: HeaderRef<'a>| {
            (Blob::from(header.name.as_bytes()), header.value.map(Blob::from))
        };
        Shown {
            offset: record.offset,
            timestamp: record.timestamp.as_millis(),
            key: record.key.map(Blob::from),
            value: record.value.map(Blob::from),
            headers: record.headers.iter().map(header).collect(),
        }
    }
}

impl<'a> From<&'a StoredRecord> for Shown<'a> {
    fn from(record: &'a StoredRecord) -> Shown<'a> {
        let header = |header: &'a Header| {
            (Blob::from(header.name.as_bytes()), header.value.as_deref().map(Blob::from))
        };
        Shown {
            offset: record.offset,
            timestamp: record.timestamp.as_millis(),
            key: record.key.as_deref().map(Blob::from),
            value: record.value.as_deref().map(Blob::from),
            headers: record.headers.iter().map(header).collect(),
        }
    }
}

/// A record to print, and where it comes from.
#[derive(Debug, Serialize)]
pub struct ShownInTopic<'a> {
    pub topic: &'a str,
    pub partition: u32,
    #[serde(flatten)]
    pub record: Shown<'a>,
}

/// A record to append. Its old offset and partition do not matter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with the fields of a record")]
struct Given<'a> {
    #[serde(default, rename = "topic")]
    _topic: Option<IgnoredAny>,
    #[serde(default, rename = "partition")]
    _partition: Option<IgnoredAny>,
    #[serde(default, rename = "offset")]
    _offset: Option<IgnoredAny>,
    timestamp: Option<i64>,
    #[serde(borrow)]
    key: Option<Blob<'a>>,
    #[serde(borrow)]
    value: Option<Blob<'a>>,
    #[serde(borrow, default)]
    headers: Vec<(Blob<'a>, Option<Blob<'a>>)>,
}

/// Returns the record in a line of JSON, or the mistake in it.
pub fn record(line: &[u8]) -> Result<Record, String> {
    if line.trim_ascii_start().first() == Some(&b'[') {
        return Err("expected an object, found an array".to_owned()); // serde would take one
    }
    let given: Given<'_> = serde_json::from_slice(line).map_err(|error| match error.is_data() {
        true => error.to_string().replace(" at line 1 column ", " at column "),
        false => format!("it is not JSON from column {} on", error.column()),
    })?;
    let bytes = |blob: Blob<'_>| blob.into_bytes().into();
    let header = |(name, value): (Blob<'_>, Option<Blob<'_>>)| Header {
        name: name.into_bytes().into(),
        value: value.map(bytes),
    };
    Ok(Record {
        key: given.key.map(bytes),
        value: given.value.map(bytes),
        headers: given.headers.into_iter().map(header).collect(),
        timestamp: given.timestamp.map(Timestamp::from_millis),
    })
}
