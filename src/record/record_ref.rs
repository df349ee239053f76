//! A record and its headers, borrowed.

use super::layout::MIN_RECORD_HEADER_SIZE;
use super::name::HeaderNameRef;
use super::varint;
use crate::types::{Offset, Timestamp};
use std::iter::FusedIterator;

/// A record of a batch, borrowed from its bytes or from the [`DecodeBuffer`](super::DecodeBuffer)
/// they were decompressed into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// Its offset in the log.
    pub offset: Offset,
    /// Its timestamp: the producer's, or the log's in a batch with append time.
    pub timestamp: Timestamp,
    /// Its key. `None` differs from an empty key.
    pub key: Option<&'a [u8]>,
    /// Its value. `None` is a tombstone, which differs from an empty value.
    pub value: Option<&'a [u8]>,
    /// Its headers, in order.
    pub headers: Headers<'a>,
}

/// One header of a record, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderRef<'a> {
    /// Its name. It need not be unique in the record, nor UTF-8.
    pub name: HeaderNameRef<'a>,
    /// Its value. `None` differs from an empty value.
    pub value: Option<&'a [u8]>,
}

impl<'a, N: Into<HeaderNameRef<'a>>> From<(N, Option<&'a [u8]>)> for HeaderRef<'a> {
    fn from((name, value): (N, Option<&'a [u8]>)) -> HeaderRef<'a> {
        HeaderRef { name: name.into(), value }
    }
}

impl<'a, N: Into<HeaderNameRef<'a>>> From<(N, &'a [u8])> for HeaderRef<'a> {
    fn from((name, value): (N, &'a [u8])) -> HeaderRef<'a> {
        HeaderRef { name: name.into(), value: Some(value) }
    }
}

/// The headers of a record, as encoded. They are decoded one by one during iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Headers<'a> {
    encoded: &'a [u8],
    count: u32,
}

impl<'a> Headers<'a> {
    /// Returns the number of headers.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Returns whether there are no headers.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Iterates over the headers in order.
    #[inline]
    #[must_use]
    pub fn iter(&self) -> HeadersIter<'a> {
        HeadersIter { rest: self.encoded, left: self.count }
    }

    /// Returns the encoded headers, without the count before them.
    pub(crate) fn encoded(&self) -> &'a [u8] {
        self.encoded
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = HeaderRef<'a>;
    type IntoIter = HeadersIter<'a>;

    fn into_iter(self) -> HeadersIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Headers<'a> {
    type Item = HeaderRef<'a>;
    type IntoIter = HeadersIter<'a>;

    fn into_iter(self) -> HeadersIter<'a> {
        self.iter()
    }
}

/// An iterator over the headers of a record.
#[derive(Debug, Clone)]
pub struct HeadersIter<'a> {
    rest: &'a [u8],
    left: u32,
}

impl<'a> Iterator for HeadersIter<'a> {
    type Item = HeaderRef<'a>;

    fn next(&mut self) -> Option<HeaderRef<'a>> {
        self.left = self.left.checked_sub(1)?;
        // The headers were checked when the record was decoded.
        read_header(&mut self.rest).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for HeadersIter<'_> {}
impl FusedIterator for HeadersIter<'_> {}

/// Decodes the header count, and checks the headers, which must fill `body`.
#[inline(never)]
pub(super) fn read_headers<'a>(mut body: &'a [u8]) -> Result<Headers<'a>, &'static str> {
    let count = varint::read_i32(&mut body).ok_or("its header count does not end")?;
    let count = u32::try_from(count).map_err(|_| "its header count is negative")?;
    if count as usize > body.len() / MIN_RECORD_HEADER_SIZE {
        return Err("it has more headers than bytes for them");
    }
    let encoded = body;
    for _ in 0..count {
        read_header(&mut body)?;
    }
    if !body.is_empty() {
        return Err("bytes are left over after its fields");
    }
    Ok(Headers { encoded, count })
}

fn read_header<'a>(input: &mut &'a [u8]) -> Result<HeaderRef<'a>, &'static str> {
    let name = read_bytes(input).ok_or("a header name does not fit its length")?;
    let name = name.ok_or("a header has no name")?;
    let value = read_bytes(input).ok_or("a header value does not fit its length")?;
    Ok(HeaderRef { name: name.into(), value })
}

/// Takes a length and that many bytes off `body`. As in Kafka, every negative length means null.
#[inline(always)]
pub(super) fn read_bytes<'a>(body: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = varint::read_i32(body)?;
    let Ok(length) = usize::try_from(length) else {
        return Some(None);
    };
    let (bytes, tail) = body.split_at_checked(length)?;
    *body = tail;
    Some(Some(bytes))
}
