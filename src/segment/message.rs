//! Tests whether bytes are a whole message, of any format.
//!
//! A torn write leaves bytes with a wrong checksum. If the length and the checksum agree, the
//! bytes are a complete message: of an older or later format, with a codec that this crate does
//! not know, or a batch in which a bit flipped that the checksum does not cover. Such bytes are
//! never truncated.

use crate::error::Unsupported;
use crate::fs::File;
use crate::record::{Checksum, layout};
use crate::types::{Codec, Offset};
use std::io;

/// A whole message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WholeMessage {
    /// A batch of our format, perhaps with a flipped bit that no checksum covers.
    Ours,
    /// A message of a format that this crate does not read.
    Foreign(Unsupported),
}

/// The bytes that decide whether a message can begin at a position: up to its magic.
pub(crate) const PREFIX_BYTES: usize = layout::MAGIC_END;

/// Returns the size of a message by its first bytes, if a message in a log with offsets from
/// `lowest` to `limit` can begin with them.
#[inline]
pub(crate) fn size_of_message(prefix: &[u8], lowest: Offset, limit: Offset) -> Option<u64> {
    let base = i64::from_be_bytes(*prefix.first_chunk()?);
    let in_range = u64::try_from(base).is_ok_and(|base| base >= lowest && base < limit);
    if in_range { size_at_least(prefix, layout::MIN_LEGACY_LENGTH) } else { None }
}

fn size_at_least(prefix: &[u8], least: i32) -> Option<u64> {
    let field = prefix.get(layout::BATCH_LENGTH_AT..layout::LEADER_EPOCH_AT)?;
    let length = i32::from_be_bytes(field.try_into().ok()?);
    let body = u64::try_from(length).ok().filter(|_| length >= least)?;
    Some(body.saturating_add(layout::LENGTH_PREFIX_SIZE as u64))
}

/// Returns the whole message at a position, if there is one below `end`.
pub(crate) fn whole_at(
    file: &dyn File,
    position: u64,
    end: u64,
) -> io::Result<Option<WholeMessage>> {
    let available = end.saturating_sub(position);
    let mut start = [0; layout::ATTRIBUTES_AT + 2];
    let wanted = available.min(start.len() as u64) as usize;
    file.read_exact_at(start.get_mut(..wanted).unwrap_or_default(), position)?;
    let size = size_at_least(&start, layout::MIN_LEGACY_LENGTH);
    let Some(size) = size.filter(|size| *size <= available) else { return Ok(None) };
    let [.., attributes_high, attributes_low] = start;
    let magic = start.get(layout::MAGIC_AT).map_or(0, |&magic| magic.cast_signed());
    let message_end = position.saturating_add(size);
    if matches!(magic, 0 | 1) {
        // An older message begins like a batch, except for the position, the range and the kind of
        // its checksum.
        let from = position.saturating_add(layout::MAGIC_AT as u64);
        let mut checksum = Checksum::ieee();
        add(&mut checksum, file, from, message_end)?;
        if Some(checksum.value()) == stored(&start, layout::LEADER_EPOCH_AT) {
            return Ok(Some(WholeMessage::Foreign(Unsupported::MessageFormat(magic))));
        }
    }
    if size < layout::HEADER_SIZE as u64 {
        return Ok(None);
    }
    let mut checksum = Checksum::castagnoli();
    add(&mut checksum, file, position.saturating_add(layout::ATTRIBUTES_AT as u64), message_end)?;
    if Some(checksum.value()) != stored(&start, layout::CRC_AT) {
        return Ok(None);
    }
    let codec = (i16::from_be_bytes([attributes_high, attributes_low]) & layout::CODEC_MASK) as u8;
    Ok(Some(match magic {
        layout::MAGIC_V2 if Codec::from_id(codec).is_none() => {
            WholeMessage::Foreign(Unsupported::UnknownCodec(codec))
        }
        // A future format may keep the checksum. Earlier formats have another one, and none is
        // below 0.
        3.. => WholeMessage::Foreign(Unsupported::MessageFormat(magic)),
        _ => WholeMessage::Ours,
    }))
}

/// The bytes that are read at a time.
const PIECE_BYTES: u64 = 64 << 10;

/// Adds the bytes of a part of a file to a checksum.
fn add(checksum: &mut Checksum, file: &dyn File, mut from: u64, to: u64) -> io::Result<()> {
    let mut buffer = vec![0; to.saturating_sub(from).min(PIECE_BYTES) as usize];
    while from < to {
        let wanted = to.saturating_sub(from).min(PIECE_BYTES);
        let piece = buffer.get_mut(..wanted as usize).unwrap_or_default();
        file.read_exact_at(piece, from)?;
        checksum.update(piece);
        from = from.saturating_add(wanted);
    }
    Ok(())
}

fn stored(start: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(start.get(at..)?.first_chunk().copied()?))
}

/// A batch whose length field may be wrong, because no checksum covers it. It ends where the
/// checksum of its bytes is the stored one.
#[derive(Debug)]
pub(crate) struct BatchOfUnknownLength {
    stored: Option<u32>,
    checksum: Checksum,
    upto: u64,
    /// The last position at which a batch can end.
    largest: u64,
}

impl BatchOfUnknownLength {
    pub(crate) fn at(file: &dyn File, position: u64, end: u64) -> io::Result<BatchOfUnknownLength> {
        let mut start = [0; layout::ATTRIBUTES_AT];
        let upto = position.saturating_add(layout::ATTRIBUTES_AT as u64);
        let mut found = None;
        if upto <= end {
            file.read_exact_at(&mut start, position)?;
            let is_ours = start.get(layout::MAGIC_AT) == Some(&layout::MAGIC_V2.cast_unsigned());
            found = stored(&start, layout::CRC_AT).filter(|_| is_ours);
        }
        let largest = position.saturating_add(i32::MAX as u64);
        Ok(BatchOfUnknownLength { stored: found, checksum: Checksum::castagnoli(), upto, largest })
    }

    /// Returns whether the batch ends here. Positions must not decrease from call to call.
    pub(crate) fn ends_at(&mut self, file: &dyn File, position: u64) -> io::Result<bool> {
        if self.stored.is_none() || position < self.upto || position > self.largest {
            return Ok(false);
        }
        add(&mut self.checksum, file, self.upto, position)?;
        self.upto = position;
        Ok(self.stored == Some(self.checksum.value()))
    }
}
