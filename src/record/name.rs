//! The names of headers, which may be any bytes.

use bytes::Bytes;
use std::borrow::Cow;
use std::fmt;
use std::str::Utf8Error;

/// The name of a [`Header`](super::Header): usually text, but any bytes.
///
/// Kafka's Java client writes names in UTF-8. Brokers do not check them, and clients in other
/// languages may write any bytes. A log stores and returns those bytes unchanged.
///
/// A name compares with a string and prints as one, with U+FFFD for bytes that are not UTF-8:
///
/// ```
/// use annals::record::{HeaderName, Record};
///
/// let record = Record::new("value").header("lang", "en").header(b"caf\xe9".to_vec(), "latin 1");
/// assert!(record.headers[0].name == "lang");
/// assert_eq!(record.headers[1].name.as_bytes(), b"caf\xe9");
/// assert_eq!(record.headers[1].name.to_string(), "caf\u{fffd}");
/// assert!(record.headers[1].name.to_str().is_err());
/// assert_eq!(HeaderName::from("lang").to_str(), Ok("lang"));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderName(Bytes);

/// A borrowed [`HeaderName`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderNameRef<'a>(&'a [u8]);

impl HeaderName {
    /// Returns the name as it is stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the name as text.
    ///
    /// # Errors
    ///
    /// If it is not UTF-8.
    pub fn to_str(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(&self.0)
    }

    /// Returns the name as text, with U+FFFD for bytes that are not UTF-8.
    #[must_use]
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl<'a> HeaderNameRef<'a> {
    /// Returns the name as it is stored.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Returns the name as text.
    ///
    /// # Errors
    ///
    /// If it is not UTF-8.
    pub fn to_str(self) -> Result<&'a str, Utf8Error> {
        std::str::from_utf8(self.0)
    }

    /// Returns the name as text, with U+FFFD for bytes that are not UTF-8.
    #[must_use]
    pub fn to_string_lossy(self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.0)
    }
}

impl From<&str> for HeaderName {
    fn from(name: &str) -> HeaderName {
        HeaderName::from(name.as_bytes())
    }
}

impl From<&[u8]> for HeaderName {
    fn from(name: &[u8]) -> HeaderName {
        HeaderName(Bytes::copy_from_slice(name))
    }
}

impl From<&String> for HeaderName {
    fn from(name: &String) -> HeaderName {
        HeaderName::from(name.as_str())
    }
}

impl From<String> for HeaderName {
    fn from(name: String) -> HeaderName {
        HeaderName(name.into())
    }
}

impl From<Vec<u8>> for HeaderName {
    fn from(name: Vec<u8>) -> HeaderName {
        HeaderName(name.into())
    }
}

impl From<Bytes> for HeaderName {
    fn from(name: Bytes) -> HeaderName {
        HeaderName(name)
    }
}

impl From<HeaderNameRef<'_>> for HeaderName {
    fn from(name: HeaderNameRef<'_>) -> HeaderName {
        HeaderName::from(name.0)
    }
}

impl<'a> From<&'a HeaderName> for HeaderNameRef<'a> {
    fn from(name: &'a HeaderName) -> HeaderNameRef<'a> {
        HeaderNameRef(&name.0)
    }
}

impl<'a> From<&'a str> for HeaderNameRef<'a> {
    fn from(name: &'a str) -> HeaderNameRef<'a> {
        HeaderNameRef(name.as_bytes())
    }
}

impl<'a> From<&'a [u8]> for HeaderNameRef<'a> {
    fn from(name: &'a [u8]) -> HeaderNameRef<'a> {
        HeaderNameRef(name)
    }
}

impl PartialEq<str> for HeaderName {
    fn eq(&self, name: &str) -> bool {
        self.0 == name.as_bytes()
    }
}

impl PartialEq<&str> for HeaderName {
    fn eq(&self, name: &&str) -> bool {
        self.0 == name.as_bytes()
    }
}

impl PartialEq<str> for HeaderNameRef<'_> {
    fn eq(&self, name: &str) -> bool {
        self.0 == name.as_bytes()
    }
}

impl PartialEq<&str> for HeaderNameRef<'_> {
    fn eq(&self, name: &&str) -> bool {
        self.0 == name.as_bytes()
    }
}

/// Shows bytes that are not UTF-8 as U+FFFD.
impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HeaderNameRef::from(self).fmt(f)
    }
}

/// Shows bytes that are not UTF-8 as U+FFFD.
impl fmt::Display for HeaderNameRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_string_lossy())
    }
}

/// Shows a string literal, or a byte string literal if the name is not UTF-8.
impl fmt::Debug for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&HeaderNameRef::from(self), f)
    }
}

/// Shows a string literal, or a byte string literal if the name is not UTF-8.
impl fmt::Debug for HeaderNameRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_str() {
            Ok(name) => fmt::Debug::fmt(name, f),
            Err(_) => write!(f, "b\"{}\"", self.0.escape_ascii()),
        }
    }
}
