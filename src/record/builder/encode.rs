//! Encoding one record at the end of a batch.

use super::BatchBuilder;
use super::parts::{MAX_BATCH_BYTES, RecordParts, length_of, too_large};
use crate::error::Error;
use crate::record::varint;
use crate::types::Timestamp;

/// Room for the bytes before the key of a record, or before its value if it has no key: four
/// numbers of up to 5 bytes, one of up to 10, and one byte of attributes, rounded up.
pub(super) const PREFIX_BYTES: usize = 32;
const _: () = assert!(PREFIX_BYTES > 4 * varint::MAX_BYTES_32 + varint::MAX_BYTES_64);

/// Room for one number of up to 5 bytes.
const NUMBER_BYTES: usize = 8;

impl BatchBuilder {
    /// Encodes a record. `write_headers` appends as many bytes as `parts` says.
    #[inline(always)]
    pub(super) fn encode(
        &mut self,
        parts: &RecordParts<'_>,
        write_headers: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Error> {
        let batch = &mut self.batch;
        let millis = parts.timestamp.as_millis();
        let base = match batch.delete_horizon {
            _ if batch.count > 0 => batch.base_timestamp,
            Some(horizon) => horizon.as_millis(),
            None => millis,
        };
        // As in Kafka, the delta of two times far apart wraps, and wraps back when it is read.
        let time_delta = varint::zigzag(millis.wrapping_sub(base));
        let delta = varint::zigzag(i64::from(parts.delta));
        let (key, key_length) = length_of(parts.key);
        let (value, value_length) = length_of(parts.value);
        let header_count = varint::zigzag(parts.header_count as i64);
        let body = varint::size(time_delta)
            .saturating_add(varint::size(delta))
            .saturating_add(varint::size(key_length))
            .saturating_add(varint::size(value_length))
            .saturating_add(varint::size(header_count))
            .saturating_add(1)
            .saturating_add(key.len())
            .saturating_add(value.len())
            .saturating_add(parts.headers_size);
        // Every length is below that of the body, so this one check covers them all.
        let needed = body.saturating_add(PREFIX_BYTES);
        let plain = &mut self.plain;
        if plain.len().saturating_add(needed) > MAX_BATCH_BYTES || batch.count == i32::MAX {
            return Err(too_large(batch.count));
        }
        plain.reserve(needed);
        append_in_place::<PREFIX_BYTES>(plain, |prefix| {
            let at = varint::put(prefix, 0, varint::zigzag(body as i64));
            let at = varint::put(prefix, at.wrapping_add(1), time_delta);
            let at = varint::put(prefix, at, delta);
            let at = varint::put(prefix, at, key_length);
            if key.is_empty() { varint::put(prefix, at, value_length) } else { at }
        });
        if !key.is_empty() {
            plain.extend_from_slice(key);
            append_number(plain, value_length);
        }
        plain.extend_from_slice(value);
        if parts.header_count == 0 {
            plain.push(0);
        } else {
            append_number(plain, header_count);
            write_headers(plain);
        }
        batch.base_timestamp = base;
        batch.max_timestamp =
            if batch.count == 0 { millis } else { batch.max_timestamp.max(millis) };
        if millis != Timestamp::NONE.as_millis() {
            batch.min_timestamp = batch.min_timestamp.min(millis);
        }
        batch.count = batch.count.saturating_add(1);
        batch.next_delta = i64::from(parts.delta).wrapping_add(1);
        Ok(())
    }
}

/// Appends the bytes that `write` writes into an array; `write` returns their number.
///
/// The array has a fixed size, and the unused part is truncated. That takes a few instructions.
/// Appending byte by byte takes a check for each byte, and appending from another buffer takes a
/// call.
#[inline(always)]
fn append_in_place<const N: usize>(
    output: &mut Vec<u8>,
    write: impl FnOnce(&mut [u8; N]) -> usize,
) {
    let start = output.len();
    output.extend_from_slice(&[0; N]);
    let written = output.last_chunk_mut().map_or(0, write);
    output.truncate(start.saturating_add(written));
}

/// Appends a number that takes up to 5 bytes.
#[inline(always)]
fn append_number(output: &mut Vec<u8>, number: u64) {
    append_in_place::<NUMBER_BYTES>(output, |room| varint::put(room, 0, number));
}
