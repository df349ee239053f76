//! The parts of a record, and the sizes of their bytes.

use crate::error::{Error, InvalidRecord};
use crate::record::varint;
use crate::types::Timestamp;

/// The maximum size of a batch: its length field has 31 bits. No record can be larger either.
pub(super) const MAX_BATCH_BYTES: usize = i32::MAX as usize;

/// The parts of a record whose headers are encoded separately.
pub(super) struct RecordParts<'a> {
    pub(super) delta: i32,
    pub(super) timestamp: Timestamp,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) header_count: usize,
    pub(super) headers_size: usize,
}

/// Returns the bytes, and the number that is stored for their length: -1 for null.
#[inline(always)]
pub(super) fn length_of(bytes: Option<&[u8]>) -> (&[u8], u64) {
    match bytes {
        Some(bytes) => (bytes, varint::zigzag(bytes.len() as i64)),
        None => (&[], varint::zigzag(-1)),
    }
}

/// Returns the size of the bytes with their length.
pub(super) fn bytes_size(bytes: Option<&[u8]>) -> usize {
    let (bytes, length) = length_of(bytes);
    bytes.len().saturating_add(varint::size(length))
}

pub(super) fn write_bytes(output: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let (bytes, length) = length_of(bytes);
    varint::write(output, length);
    output.extend_from_slice(bytes);
}

#[cold]
pub(super) fn too_large(index: i32) -> Error {
    let index = usize::try_from(index).unwrap_or(0);
    Error::InvalidRecord { log: None, index, reason: InvalidRecord::TooLarge }
}
