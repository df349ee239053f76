//! Reading and writing the fields of Kafka's messages.
//!
//! ```text
//!           classic                     flexible
//! string    length 2, UTF-8             length + 1 as varint, UTF-8
//! bytes     length 4, data              length + 1 as varint, data
//! array     count 4, elements           count + 1 as varint, elements
//! null      length or count -1          0
//! struct    its fields                  its fields, number of tagged fields as varint, these
//! ```
//!
//! A tagged field is a tag, a size, and that number of bytes. A reader skips tags that it does
//! not know. Varints are unsigned here: groups of seven bits, the lowest first.

/// The position of an invalid field, and the problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at byte {position}: {reason}")]
pub(crate) struct MalformedField {
    /// The byte at which the field begins, from the start of the key, value or message.
    pub(crate) position: usize,
    pub(crate) reason: &'static str,
}

/// A text or an array is longer than its length field can express.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a field has {length} bytes or elements, and at most {limit} can be stored; shorten it")]
pub(crate) struct FieldTooLong {
    pub(crate) length: usize,
    pub(crate) limit: usize,
}

/// The longest string, in either form.
pub(crate) const MAX_STRING: usize = i16::MAX as usize;
/// The longest byte field or array.
const MAX_BYTES: usize = i32::MAX as usize - 1;

/// Reads fields from the front of a byte slice.
#[derive(Debug)]
pub(crate) struct FieldReader<'a> {
    all: usize,
    rest: &'a [u8],
    flexible: bool,
}

impl<'a> FieldReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> FieldReader<'a> {
        FieldReader { all: bytes.len(), rest: bytes, flexible: false }
    }

    /// Sets whether the following strings, bytes, arrays and structs have the flexible form.
    pub(crate) fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    /// Returns an error at the field that is read next.
    pub(crate) fn malformed(&self, reason: &'static str) -> MalformedField {
        MalformedField { position: self.position(), reason }
    }

    fn position(&self) -> usize {
        self.all.saturating_sub(self.rest.len())
    }

    pub(crate) fn i8(&mut self) -> Result<i8, MalformedField> {
        self.field(|field| field.fixed().map(i8::from_be_bytes))
    }

    pub(crate) fn i16(&mut self) -> Result<i16, MalformedField> {
        self.field(|field| field.fixed().map(i16::from_be_bytes))
    }

    pub(crate) fn i32(&mut self) -> Result<i32, MalformedField> {
        self.field(|field| field.fixed().map(i32::from_be_bytes))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, MalformedField> {
        self.field(|field| field.fixed().map(i64::from_be_bytes))
    }

    pub(crate) fn string(&mut self) -> Result<&'a str, MalformedField> {
        self.field(|field| field.text()?.ok_or("a required text is null"))
    }

    pub(crate) fn nullable_string(&mut self) -> Result<Option<&'a str>, MalformedField> {
        self.field(Self::text)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], MalformedField> {
        self.field(|field| {
            let length = field.count()?;
            field.slice(length)
        })
    }

    pub(crate) fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>, MalformedField> {
        self.field(|field| field.nullable_count()?.map(|length| field.slice(length)).transpose())
    }

    /// Reads an array, each element of which takes at least `least` bytes.
    pub(crate) fn array<T>(
        &mut self,
        least: usize,
        mut element: impl FnMut(&mut FieldReader<'a>) -> Result<T, MalformedField>,
    ) -> Result<Vec<T>, MalformedField> {
        let count = self.field(|field| field.elements(least)?.ok_or(NULL))?;
        (0..count).map(|_| element(self)).collect()
    }

    /// Reads an array that may be null, each element of which takes at least `least` bytes.
    pub(crate) fn nullable_array<T>(
        &mut self,
        least: usize,
        mut element: impl FnMut(&mut FieldReader<'a>) -> Result<T, MalformedField>,
    ) -> Result<Option<Vec<T>>, MalformedField> {
        let count = self.field(|field| field.elements(least))?;
        count.map(|count| (0..count).map(|_| element(self)).collect()).transpose()
    }

    /// Ends a struct: skips its tagged fields, if it can have any.
    pub(crate) fn end_struct(&mut self) -> Result<(), MalformedField> {
        self.end_struct_with(|_, _| Ok(()))
    }

    /// Ends a struct. Passes the number and the content of each tagged field to `field`, which
    /// reads the fields that it knows.
    pub(crate) fn end_struct_with(
        &mut self,
        mut field: impl FnMut(u32, &mut FieldReader<'a>) -> Result<(), MalformedField>,
    ) -> Result<(), MalformedField> {
        if !self.flexible {
            return Ok(());
        }
        // A tagged field has at least two bytes, so the count needs no bound.
        for _ in 0..self.field(Self::varint)? {
            let (tag, rest) = self.field(|field| {
                let (tag, size) = (field.varint()?, field.varint()?);
                Ok((tag, field.slice(usize::try_from(size).unwrap_or(usize::MAX))?))
            })?;
            field(tag, &mut FieldReader { all: self.position(), rest, flexible: true })?;
        }
        Ok(())
    }

    /// Fails if anything follows.
    pub(crate) fn end(&self) -> Result<(), MalformedField> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed("it should end here")) }
    }

    /// Reads a field. An error names the position at which the field begins.
    fn field<T>(
        &mut self,
        read: impl FnOnce(&mut FieldReader<'a>) -> Result<T, &'static str>,
    ) -> Result<T, MalformedField> {
        let position = self.position();
        read(self).map_err(|reason| MalformedField { position, reason })
    }

    fn text(&mut self) -> Result<Option<&'a str>, &'static str> {
        let length = if self.flexible {
            self.compact_length()?
        } else {
            let length = i16::from_be_bytes(self.fixed()?);
            classic_length(length.into())?
        };
        let Some(length) = length else { return Ok(None) };
        if length > MAX_STRING {
            return Err("a text is longer than 32767 bytes");
        }
        let text = std::str::from_utf8(self.slice(length)?);
        text.map(Some).map_err(|_| "a text is not UTF-8")
    }

    /// Reads the number of elements of an array, each of which takes at least `least` bytes.
    fn elements(&mut self, least: usize) -> Result<Option<usize>, &'static str> {
        let count = self.nullable_count()?;
        if count.is_some_and(|count| count.saturating_mul(least) > self.rest.len()) {
            return Err("an array has fewer bytes than its elements need");
        }
        Ok(count)
    }

    fn count(&mut self) -> Result<usize, &'static str> {
        self.nullable_count()?.ok_or(NULL)
    }

    fn nullable_count(&mut self) -> Result<Option<usize>, &'static str> {
        if self.flexible {
            return self.compact_length();
        }
        let count = i32::from_be_bytes(self.fixed()?);
        classic_length(count.into())
    }

    fn compact_length(&mut self) -> Result<Option<usize>, &'static str> {
        let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        Ok(length.checked_sub(1))
    }

    fn varint(&mut self) -> Result<u32, &'static str> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.fixed()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && byte > 0x0f {
                return Err("a length is above 32 bits");
            }
            value |= bits << shift;
            if byte < 0x80 {
                break;
            }
        }
        Ok(value)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (front, behind) = self.rest.split_first_chunk().ok_or(SHORT)?;
        self.rest = behind;
        Ok(*front)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let (front, behind) = self.rest.split_at_checked(length).ok_or(SHORT)?;
        self.rest = behind;
        Ok(front)
    }
}

const NULL: &str = "a required array or byte field is null";
const SHORT: &str = "it ends within the field that begins here";

fn classic_length(length: i64) -> Result<Option<usize>, &'static str> {
    match usize::try_from(length) {
        Ok(length) => Ok(Some(length)),
        Err(_) if length == -1 => Ok(None),
        Err(_) => Err("a length is below -1"),
    }
}

/// Writes fields one after the other.
#[derive(Debug, Default)]
pub(crate) struct FieldWriter {
    bytes: Vec<u8>,
    flexible: bool,
}

impl FieldWriter {
    pub(crate) fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    pub(crate) fn i8(&mut self, value: i8) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(crate) fn string(&mut self, text: &str) -> Result<(), FieldTooLong> {
        self.nullable_string(Some(text))
    }

    pub(crate) fn nullable_string(&mut self, text: Option<&str>) -> Result<(), FieldTooLong> {
        match text.map(str::len) {
            Some(length) if length > MAX_STRING => {
                return Err(FieldTooLong { length, limit: MAX_STRING });
            }
            length if self.flexible => {
                self.varint(length.map_or(0, |length| length.saturating_add(1)));
            }
            length => self.i16(length.map_or(-1, |n| i16::try_from(n).unwrap_or(i16::MAX))),
        }
        self.bytes.extend(text.unwrap_or_default().as_bytes());
        Ok(())
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), FieldTooLong> {
        self.nullable_bytes(Some(bytes))
    }

    pub(crate) fn nullable_bytes(&mut self, bytes: Option<&[u8]>) -> Result<(), FieldTooLong> {
        match bytes {
            Some(bytes) => self.elements(bytes.len())?,
            None if self.flexible => self.varint(0),
            None => self.i32(-1),
        }
        self.bytes.extend(bytes.unwrap_or_default());
        Ok(())
    }

    /// Writes the number of elements of an array.
    pub(crate) fn elements(&mut self, count: usize) -> Result<(), FieldTooLong> {
        if count > MAX_BYTES {
            return Err(FieldTooLong { length: count, limit: MAX_BYTES });
        }
        if self.flexible {
            self.varint(count.saturating_add(1));
        } else {
            self.i32(i32::try_from(count).unwrap_or(i32::MAX));
        }
        Ok(())
    }

    /// Ends a struct, which has no tagged fields.
    pub(crate) fn end_struct(&mut self) {
        if self.flexible {
            self.varint(0);
        }
    }

    /// Ends a struct with these tagged fields, in the order of their tags.
    pub(crate) fn end_struct_with(&mut self, fields: &[(u32, &[u8])]) {
        if !self.flexible {
            return;
        }
        self.varint(fields.len());
        for (tag, content) in fields {
            self.varint(*tag as usize);
            self.varint(content.len());
            self.bytes.extend(*content);
        }
    }

    /// Writes that an array is null.
    pub(crate) fn null_array(&mut self) {
        if self.flexible { self.varint(0) } else { self.i32(-1) }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}
