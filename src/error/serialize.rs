//! The errors of serialization.

use crate::error::ErrorKind;
use crate::error::count::{BytesAre, Counted};
use crate::types::Offset;
use std::fmt;
use std::sync::Arc;

/// The part of a record: its key or its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordPart {
    /// The key.
    Key,
    /// The value.
    Value,
}

impl fmt::Display for RecordPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecordPart::Key => "key",
            RecordPart::Value => "value",
        })
    }
}

/// A record whose key or value could not be serialized or deserialized.
/// Kafka: `SerializationException`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SerializationError {
    /// A record could not be serialized, and was not sent. Kafka: `SerializationException`.
    #[error("cannot serialize the {part} of a record for `{topic}`: {reason}")]
    Serialize {
        /// The topic.
        topic: Arc<str>,
        /// The part of the record.
        part: RecordPart,
        /// The reason.
        reason: SerializeError,
    },
    /// A stored record could not be deserialized into the consumer's types.
    /// Kafka: `RecordDeserializationException`.
    #[error(
        "cannot deserialize the {part} of the record at offset {offset} of partition {partition} of `{topic}`: {reason}"
    )]
    Deserialize {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: u32,
        /// The offset of the record.
        offset: Offset,
        /// The part of the record.
        part: RecordPart,
        /// The reason.
        reason: DeserializeError,
    },
}

impl SerializationError {
    pub(crate) fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidInput
    }
}

/// The reason why a value cannot be serialized.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SerializeError {
    reason: String,
}

impl SerializeError {
    /// Creates an error with this reason, for example the error of a library.
    pub fn new(reason: impl fmt::Display) -> SerializeError {
        SerializeError { reason: reason.to_string() }
    }
}

/// The reason why bytes cannot be deserialized.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeserializeError {
    /// The number of bytes is not the fixed size of the type.
    #[error(
        "expected {expected}, which is {}, found {}",
        Counted(*.bytes as u64, "byte"), Counted(*.found as u64, "byte")
    )]
    Length {
        /// The type.
        expected: &'static str,
        /// The size of the type.
        bytes: usize,
        /// The number of bytes found.
        found: usize,
    },
    /// The record has null, and the type has no value for null.
    #[error("expected {expected}, found null; if null is valid, use an `Option`")]
    Null {
        /// The type.
        expected: &'static str,
    },
    /// The record has bytes, and the only value of the type is null.
    #[error("expected null, found {}", Counted(*.found as u64, "byte"))]
    NotNull {
        /// The number of bytes found.
        found: usize,
    },
    /// The bytes are not a value of the type.
    #[error("{} not {expected}: {reason}", BytesAre(*.found))]
    Invalid {
        /// The type or format.
        expected: &'static str,
        /// The number of bytes found.
        found: usize,
        /// The problem.
        reason: String,
    },
    /// The deserializer of the type panicked.
    #[error("the deserializer panicked: {reason}")]
    Panicked {
        /// The message of the panic.
        reason: String,
    },
}

impl DeserializeError {
    /// Creates an error for bytes that are not of this type or format, with the reason.
    pub fn invalid(
        expected: &'static str,
        bytes: &[u8],
        reason: impl fmt::Display,
    ) -> DeserializeError {
        DeserializeError::Invalid { expected, found: bytes.len(), reason: reason.to_string() }
    }
}
