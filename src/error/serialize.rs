//! Why a value cannot become bytes, or bytes a value.

use crate::error::ErrorKind;
use crate::types::Offset;
use std::fmt;
use std::sync::Arc;

/// One of the two parts of a record that have a type of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordPart {
    /// Its key.
    Key,
    /// Its value.
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

/// A record whose key or value could not become bytes, or the other way round.
/// Kafka: `SerializationException`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SerializationError {
    /// A record could not be serialized, and was not sent. Kafka: `SerializationException`.
    #[error("the {part} of a record for `{topic}` cannot be sent: {reason}")]
    Serialize {
        /// The topic it was for.
        topic: Arc<str>,
        /// Which part of it.
        part: RecordPart,
        /// Why.
        reason: SerializeError,
    },
    /// It was read, and is not of the type that the consumer expects.
    /// Kafka: `RecordDeserializationException`.
    #[error(
        "the {part} of the record at offset {offset} of partition {partition} of `{topic}`: {reason}"
    )]
    Deserialize {
        /// The topic it is in.
        topic: Arc<str>,
        /// The partition.
        partition: u32,
        /// Its offset.
        offset: Offset,
        /// Which part of it.
        part: RecordPart,
        /// Why.
        reason: DeserializeError,
    },
}

impl SerializationError {
    pub(crate) fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidInput
    }
}

/// Why a value cannot become bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SerializeError {
    reason: String,
}

impl SerializeError {
    /// Creates an error with this reason, such as one of a library that writes a format.
    pub fn new(reason: impl fmt::Display) -> SerializeError {
        SerializeError { reason: reason.to_string() }
    }
}

/// Why bytes are no value of a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeserializeError {
    /// The type always takes the same number of bytes, and these are not as many.
    #[error("expected {expected}, which is {bytes} bytes, found {found} bytes")]
    Length {
        /// The type.
        expected: &'static str,
        /// How many bytes it takes.
        bytes: usize,
        /// How many there are.
        found: usize,
    },
    /// There is nothing, and the type has no value for that.
    #[error("expected {expected}, found null; where that may be, take an `Option`")]
    Null {
        /// The type.
        expected: &'static str,
    },
    /// There is something, and the only value of the type is nothing.
    #[error("expected null, found {found} bytes")]
    NotNull {
        /// How many bytes there are.
        found: usize,
    },
    /// The bytes are none that the type writes.
    #[error("expected {expected}, found {found} bytes that are not: {reason}")]
    Invalid {
        /// The type or format.
        expected: &'static str,
        /// How many bytes there are.
        found: usize,
        /// What is wrong with them.
        reason: String,
    },
    /// The code that was to read them panicked.
    #[error("reading it panicked: {reason}")]
    Panicked {
        /// The message of the panic.
        reason: String,
    },
}

impl DeserializeError {
    /// Bytes that are not of this type or format, for this reason.
    pub fn invalid(
        expected: &'static str,
        bytes: &[u8],
        reason: impl fmt::Display,
    ) -> DeserializeError {
        DeserializeError::Invalid { expected, found: bytes.len(), reason: reason.to_string() }
    }
}
