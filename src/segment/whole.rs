//! Tests whether bytes are a whole message, of any format.
//!
//! A write that was cut short leaves bytes with a wrong checksum. If the length and the checksum
//! agree, the bytes are a complete message: of an older or later format, with a codec that this
//! crate does not know, or a batch in which a bit flipped that the checksum does not cover. Such
//! bytes are never truncated.

use crate::error::Unsupported;
use crate::fs::File;
use crate::record::{Checksum, layout};
use crate::types::{Codec, Offset};
use std::io;

/// A whole message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whole {
    /// In our format, or but for a bit that no checksum covers.
    Ours,
    /// A message of a kind that this crate does not read.
    Foreign(Unsupported),
}

/// The bytes that tell whether a message can begin at a place: up to its magic.
pub(crate) const PREFIX_BYTES: usize = layout::MAGIC_END;

/// The size that the first bytes of a message give it, if one can begin so in a log with offsets
/// from `lowest` to `limit`.
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

/// The whole message at a position, if there is one below `end`.
pub(crate) fn whole_at(file: &dyn File, position: u64, end: u64) -> io::Result<Option<Whole>> {
    let available = end.saturating_sub(position);
    let mut start = [0; layout::ATTRIBUTES_AT + 2];
    let wanted = available.min(start.len() as u64) as usize;
    file.read_exact_at(start.get_mut(..wanted).unwrap_or_default(), position)?;
    let size = size_at_least(&start, layout::MIN_LEGACY_LENGTH);
    let Some(size) = size.filter(|size| *size <= available) else { return Ok(None) };
    let [.., attributes_high, attributes_low] = start;
    let magic = start.get(layout::MAGIC_AT).map_or(0, |&magic| magic.cast_signed());
    let behind = position.saturating_add(size);
    if matches!(magic, 0 | 1) {
        // An older message begins like a batch, but for where its checksum is, what that covers,
        // and which it is.
        let from = position.saturating_add(layout::MAGIC_AT as u64);
        let mut checksum = Checksum::ieee();
        add(&mut checksum, file, from, behind)?;
        if Some(checksum.value()) == stored(&start, layout::LEADER_EPOCH_AT) {
            return Ok(Some(Whole::Foreign(Unsupported::MessageFormat(magic))));
        }
    }
    if size < layout::HEADER_SIZE as u64 {
        return Ok(None);
    }
    let mut checksum = Checksum::castagnoli();
    add(&mut checksum, file, position.saturating_add(layout::ATTRIBUTES_AT as u64), behind)?;
    if Some(checksum.value()) != stored(&start, layout::CRC_AT) {
        return Ok(None);
    }
    let codec = (i16::from_be_bytes([attributes_high, attributes_low]) & layout::CODEC_MASK) as u8;
    Ok(Some(match magic {
        layout::MAGIC_V2 if Codec::from_id(codec).is_none() => {
            Whole::Foreign(Unsupported::UnknownCodec(codec))
        }
        // A format to come may keep the checksum. The formats before have another, and none is
        // below 0.
        3.. => Whole::Foreign(Unsupported::MessageFormat(magic)),
        _ => Whole::Ours,
    }))
}

/// How much is read at a time.
const PIECE_BYTES: u64 = 64 << 10;

/// Adds the bytes of a piece of a file to a checksum.
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

/// The checksum of a batch at a position, held against more and more of the bytes behind it: where
/// they agree, the batch is whole but for its length, which no checksum covers.
#[derive(Debug)]
pub(crate) struct WholeButForLength {
    stored: Option<u32>,
    checksum: Checksum,
    upto: u64,
    /// No batch ends behind that.
    largest: u64,
}

impl WholeButForLength {
    pub(crate) fn at(file: &dyn File, position: u64, end: u64) -> io::Result<WholeButForLength> {
        let mut start = [0; layout::ATTRIBUTES_AT];
        let upto = position.saturating_add(layout::ATTRIBUTES_AT as u64);
        let mut found = None;
        if upto <= end {
            file.read_exact_at(&mut start, position)?;
            let is_ours = start.get(layout::MAGIC_AT) == Some(&layout::MAGIC_V2.cast_unsigned());
            found = stored(&start, layout::CRC_AT).filter(|_| is_ours);
        }
        let largest = position.saturating_add(i32::MAX as u64);
        Ok(WholeButForLength { stored: found, checksum: Checksum::castagnoli(), upto, largest })
    }

    /// Whether the batch ends here. Places are asked about in order.
    pub(crate) fn ends_at(&mut self, file: &dyn File, position: u64) -> io::Result<bool> {
        if self.stored.is_none() || position < self.upto || position > self.largest {
            return Ok(false);
        }
        add(&mut self.checksum, file, self.upto, position)?;
        self.upto = position;
        Ok(self.stored == Some(self.checksum.value()))
    }
}
