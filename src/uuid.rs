//! Unique ids of topics and of data directories.

use crate::random;
use std::fmt;
use std::str::FromStr;

/// The id of a topic. [`KafkaUuid`] has an example.
///
/// If a topic is deleted and created again under the same name, the new one gets a new id.
pub type TopicId = KafkaUuid;

/// A 16-byte id that no two topics or directories share. Kafka: `Uuid`.
///
/// Its text is the one that Kafka writes to its files and shows in its tools: 22 characters of
/// base64 in the alphabet for URLs, without padding.
///
/// ```
/// use annals::KafkaUuid;
///
/// let id = KafkaUuid::random();
/// assert_eq!(id.to_string().len(), 22);
/// assert_eq!(id.to_string().parse(), Ok(id));
/// assert_eq!(KafkaUuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
/// assert!("no id".parse::<KafkaUuid>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KafkaUuid(u128);

/// The error of parsing text that is not a [`KafkaUuid`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an id is 22 characters of base64: letters, digits, `-` and `_`, and the last of them A, Q, g or w"
)]
pub struct ParseUuidError;

const SYMBOLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// The number of symbols of 6 bits that an id of 128 bits fills. One more symbol begins with the
/// last 2 bits.
const WHOLE_SYMBOLS: u32 = 21;
const DASH: u128 = 62;

impl KafkaUuid {
    /// The id zero, which Kafka uses where there is no id yet.
    pub const ZERO: KafkaUuid = KafkaUuid(0);

    /// Creates a random id, as Kafka does: a version 4 UUID whose text does not begin with `-`, so
    /// that no tool takes it for an option.
    ///
    /// The random bits come from the operating system. Do not use the id as a secret.
    #[must_use]
    pub fn random() -> KafkaUuid {
        KafkaUuid::from_random_bits(random::from_system())
    }

    /// Creates an id from random bits: a version 4 UUID whose text does not begin with `-`.
    pub(crate) const fn from_random_bits(bits: u128) -> KafkaUuid {
        let versioned = bits & !(0xF << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
        if versioned >> 122 == DASH {
            KafkaUuid(versioned ^ 1 << 127)
        } else {
            KafkaUuid(versioned)
        }
    }

    /// Creates an id from its bytes, in big-endian order.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> KafkaUuid {
        KafkaUuid(u128::from_be_bytes(bytes))
    }

    /// Returns the bytes of the id, in big-endian order.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Returns whether this is [`KafkaUuid::ZERO`].
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Returns whether Kafka reserves the id: the first hundred ids cannot identify directories.
    pub(crate) const fn is_reserved(self) -> bool {
        self.0 < 100
    }

    /// Returns the text of the id in the form `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`, which other
    /// libraries use.
    pub(crate) fn hyphenated(self) -> String {
        let [a, b, c, d] = [96, 80, 64, 48].map(|shift| self.0 >> shift);
        let short = |part: u128| part & 0xFFFF;
        let (b, c, d, e) = (short(b), short(c), short(d), self.0 & 0xFFFF_FFFF_FFFF);
        format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
    }

    /// Parses text in the [hyphenated](KafkaUuid::hyphenated) form, with letters of either case.
    pub(crate) fn from_hyphenated(text: &str) -> Option<KafkaUuid> {
        let id = KafkaUuid::from_hex(&text.replace('-', "").to_ascii_lowercase())?;
        if id.hyphenated().eq_ignore_ascii_case(text) { Some(id) } else { None }
    }

    /// Returns the id as 32 hexadecimal digits in lower case, as in the names of directories.
    pub(crate) fn hex(self) -> String {
        format!("{:032x}", self.0)
    }

    /// Parses 32 hexadecimal digits in lower case.
    pub(crate) fn from_hex(text: &str) -> Option<KafkaUuid> {
        let is_hex =
            text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if is_hex { u128::from_str_radix(text, 16).ok().map(KafkaUuid) } else { None }
    }
}

impl fmt::Display for KafkaUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.0 << 4;
        let symbols = (0..WHOLE_SYMBOLS).map(|n| self.0 >> (122 - 6 * n)).chain([last]);
        let letter = |bits: u128| SYMBOLS.get((bits & 63) as usize).map(|&b| char::from(b));
        f.pad(&symbols.filter_map(letter).collect::<String>())
    }
}

impl fmt::Debug for KafkaUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KafkaUuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<KafkaUuid, ParseUuidError> {
        let bits = |letter: u8| SYMBOLS.iter().position(|&s| s == letter).map(|n| n as u128);
        let whole = text.get(..WHOLE_SYMBOLS as usize).ok_or(ParseUuidError)?;
        let &[last] = text.as_bytes().get(whole.len()..).unwrap_or_default() else {
            return Err(ParseUuidError);
        };
        let add = |sum: u128, letter| bits(letter).map(|six| sum << 6 | six);
        let whole = whole.bytes().try_fold(0, add).ok_or(ParseUuidError)?;
        let last = bits(last).filter(|six| six & 15 == 0).ok_or(ParseUuidError)?;
        Ok(KafkaUuid(whole << 2 | last >> 4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn text_is_base64_and_reads_back(bytes: [u8; 16]) {
            let id = KafkaUuid::from_bytes(bytes);
            prop_assert_eq!(id.to_string(), URL_SAFE_NO_PAD.encode(bytes));
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(KafkaUuid::from_hex(&id.hex()), Some(id));
            prop_assert_eq!(id.to_bytes(), bytes);
        }

        #[test]
        fn parse_agrees_with_base64_crate(text in "[A-Za-z0-9_+=/ -]{20,24}|[A-Za-z0-9_-]{22}|\\PC{0,30}") {
            let other = URL_SAFE_NO_PAD.decode(&text).ok().and_then(|b| <[u8; 16]>::try_from(b).ok());
            prop_assert_eq!(text.parse().ok(), other.map(KafkaUuid::from_bytes));
        }

        #[test]
        fn random_ids_are_version_4_without_dash(bits: u128, dash: bool) {
            let bits = if dash { bits >> 6 | DASH << 122 } else { bits };
            let id = KafkaUuid::from_random_bits(bits);
            prop_assert_eq!((id.to_bytes()[6] >> 4, id.to_bytes()[8] >> 6), (4, 2));
            prop_assert!(!id.to_string().starts_with('-'), "{}", id);
            prop_assert!(!id.is_reserved());
        }
    }

    #[test]
    fn random_ids_differ() {
        let ids: HashSet<KafkaUuid> = (0..10_000).map(|_| KafkaUuid::random()).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
