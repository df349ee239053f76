//! Serialization of keys and values.
//!
//! A type implements [`Serialize`] to be written, and [`Deserialize`] to be read. These types do,
//! with the bytes of Kafka's serializers of the same name:
//!
//! | type | bytes |
//! |---|---|
//! | `Bytes`, `Vec<u8>`, `[u8]`, `[u8; N]` | as they are |
//! | `String`, `str` | UTF-8 |
//! | `i16`, `i32`, `i64` | 2, 4, 8, big-endian |
//! | `f32`, `f64` | 4, 8, IEEE 754, big-endian |
//! | `bool` | 1: 0 or 1 |
//! | [`KafkaUuid`](crate::KafkaUuid) | its 36 characters with dashes |
//! | `()` | none: null |
//! | `Option<T>` | null, or the bytes of `T` |
//! | `Json<T>` | JSON; with the cargo feature `serde` |
//!
//! Kafka returns `null` for null whatever the type; here, use an `Option`. Text that is not UTF-8
//! is an error, where Kafka inserts replacement characters.

mod builtin;
#[cfg(feature = "serde")]
mod json;

#[cfg(feature = "serde")]
pub use json::Json;

use crate::error::{DeserializeError, RecordPart, SerializeError};
use crate::record::{Header, HeaderName};
use bytes::Bytes;

/// A type of keys or values that can be sent. Kafka: `Serializer`.
///
/// ```
/// use annals::{Deserialize, DeserializeContext, DeserializeError};
/// use annals::{RecordPart, Serialize, SerializeContext, SerializeError};
/// use bytes::Bytes;
///
/// /// Cents, as two columns of text.
/// #[derive(Debug, PartialEq)]
/// struct Price { cents: u32, currency: String }
///
/// impl Serialize for Price {
///     fn serialize(
///         &self,
///         to: &mut SerializeContext<'_>,
///     ) -> Result<Option<Bytes>, SerializeError> {
///         if self.currency.contains(' ') {
///             return Err(SerializeError::new("a currency is one word"));
///         }
///         to.add_header("type", "price");
///         Ok(Some(format!("{} {}", self.cents, self.currency).into()))
///     }
/// }
///
/// impl Deserialize for Price {
///     fn deserialize(
///         bytes: Option<&Bytes>,
///         from: &DeserializeContext<'_>,
///     ) -> Result<Price, DeserializeError> {
///         let text = String::deserialize(bytes, from)?;
///         let invalid =
///             || DeserializeError::invalid("a price", text.as_bytes(), "no number and word");
///         let (cents, currency) = text.split_once(' ').ok_or_else(invalid)?;
///         let cents = cents.parse().map_err(|_| invalid())?;
///         Ok(Price { cents, currency: currency.into() })
///     }
/// }
///
/// let mut headers = Vec::new();
/// let price = Price { cents: 250, currency: "EUR".into() };
/// let mut context = SerializeContext::new("prices", RecordPart::Value, &mut headers);
/// let bytes = price.serialize(&mut context)?;
/// assert_eq!(bytes.as_deref(), Some(&b"250 EUR"[..]));
///
/// let context = DeserializeContext::new("prices", RecordPart::Value, &headers);
/// assert_eq!(Price::deserialize(bytes.as_ref(), &context), Ok(price));
/// let error = Price::deserialize(Some(&Bytes::from("free")), &context).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "4 bytes are not a price: no number and word"
/// );
/// # Ok::<(), annals::SerializeError>(())
/// ```
pub trait Serialize {
    /// Returns the bytes; `None` is null, which as a value is a tombstone.
    ///
    /// # Errors
    ///
    /// The reason why the value cannot be serialized. The record is not sent then.
    fn serialize(&self, to: &mut SerializeContext<'_>) -> Result<Option<Bytes>, SerializeError>;
}

/// A type of keys or values that can be read. Kafka: `Deserializer`.
///
/// [`Serialize`] has an example.
pub trait Deserialize: Sized {
    /// Returns the value of these bytes; `None` is null. Any program may have written them to the
    /// topic, so do not trust them.
    ///
    /// # Errors
    ///
    /// The reason why the bytes are not a value of this type: what was expected and found.
    fn deserialize(
        bytes: Option<&Bytes>,
        from: &DeserializeContext<'_>,
    ) -> Result<Self, DeserializeError>;
}

/// The record for which a key or a value is serialized. [`Serialize`] has an example.
#[derive(Debug)]
pub struct SerializeContext<'a> {
    topic: &'a str,
    part: RecordPart,
    headers: &'a mut Vec<Header>,
}

impl<'a> SerializeContext<'a> {
    /// Creates the context of a part of a record for this topic, with these headers so far.
    pub fn new(
        topic: &'a str,
        part: RecordPart,
        headers: &'a mut Vec<Header>,
    ) -> SerializeContext<'a> {
        SerializeContext { topic, part, headers }
    }

    /// Returns the topic of the record.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.topic
    }

    /// Returns whether the part is the key or the value.
    #[must_use]
    pub fn part(&self) -> RecordPart {
        self.part
    }

    /// Returns the headers of the record so far. The key is serialized before the value.
    #[must_use]
    pub fn headers(&self) -> &[Header] {
        self.headers
    }

    /// Adds a header to the record.
    pub fn add_header(&mut self, name: impl Into<HeaderName>, value: impl Into<Bytes>) {
        self.headers.push(Header::new(name, value));
    }
}

/// The record from which a key or a value is deserialized. [`Serialize`] has an example.
#[derive(Debug, Clone, Copy)]
pub struct DeserializeContext<'a> {
    topic: &'a str,
    part: RecordPart,
    headers: &'a [Header],
}

impl<'a> DeserializeContext<'a> {
    /// Creates the context of a part of a record of this topic, with these headers.
    #[must_use]
    pub fn new(topic: &'a str, part: RecordPart, headers: &'a [Header]) -> DeserializeContext<'a> {
        DeserializeContext { topic, part, headers }
    }

    /// Returns the topic of the record.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.topic
    }

    /// Returns whether the part is the key or the value.
    #[must_use]
    pub fn part(&self) -> RecordPart {
        self.part
    }

    /// Returns the headers of the record.
    #[must_use]
    pub fn headers(&self) -> &[Header] {
        self.headers
    }
}
