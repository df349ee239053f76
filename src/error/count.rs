//! Counts with their nouns.

use std::fmt;

/// A count and its noun in the singular: "1 byte", "2 bytes".
pub(crate) struct Counted(pub(crate) u64, pub(crate) &'static str);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counted(count, noun) = self;
        write!(f, "{count} {noun}{}", if *count == 1 { "" } else { "s" })
    }
}

/// A number of bytes as the subject of a sentence: "1 byte is", "2 bytes are".
pub(super) struct BytesAre(pub(super) usize);

impl fmt::Display for BytesAre {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.0 == 1 { "is" } else { "are" };
        write!(f, "{} {verb}", Counted(self.0 as u64, "byte"))
    }
}
