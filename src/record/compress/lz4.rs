//! LZ4 frames.
//!
//! A frame is a magic number, a descriptor (flags, block size, perhaps the content
//! size, one byte of checksum), blocks with a 32-bit length each, an end mark, and
//! perhaps a checksum of the content. Kafka writes the plainest kind and reads only
//! frames whose blocks do not refer to each other.

use super::expanded::Expanded;
use super::xxh32::xxh32;
use super::{malformed, take, take_slice};
use crate::error::{Error, InvalidBatch};
use crate::types::Codec;
use lz4_flex::block::{self, CompressTable};

const MAGIC: u32 = 0x184d_2204;
const FLAGS_VERSION_MASK: u8 = 0xc0;
const FLAGS_VERSION: u8 = 0x40;
const FLAG_INDEPENDENT: u8 = 0x20;
const FLAG_BLOCK_CHECKSUMS: u8 = 0x10;
const FLAG_CONTENT_SIZE: u8 = 0x08;
const FLAG_CONTENT_CHECKSUM: u8 = 0x04;
const FLAG_RESERVED: u8 = 0x02;
const FLAG_DICTIONARY: u8 = 0x01;
/// The descriptor written: no checksums, no content size, blocks of 64 KiB.
const DESCRIPTOR: [u8; 2] = [FLAGS_VERSION | FLAG_INDEPENDENT, 0x40];
const BLOCK_BYTES: usize = 64 << 10;
/// Set in the length of a block that is stored as it is.
const STORED: u32 = 0x8000_0000;
/// What one byte can expand to at most: each byte of a match length adds 255.
const MAX_EXPANSION: usize = 255;

/// The hash table of the compressor, kept between batches; made when first used.
#[derive(Default)]
pub(super) struct Encoder {
    table: Option<CompressTable>,
}

impl Encoder {
    pub(super) fn compress(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<(), Error> {
        let failed = || malformed(Codec::Lz4, "the compressor failed");
        let table = self.table.get_or_insert_with(CompressTable::small);
        output.extend_from_slice(&MAGIC.to_le_bytes());
        output.extend_from_slice(&DESCRIPTOR);
        output.push(descriptor_checksum(&DESCRIPTOR));
        for plain in input.chunks(BLOCK_BYTES) {
            let length_at = output.len();
            let data_at = length_at.saturating_add(4);
            let bound = block::get_maximum_output_size(plain.len());
            output.resize(data_at.saturating_add(bound), 0);
            let room = output.get_mut(data_at..).ok_or_else(failed)?;
            let packed =
                block::compress_into_with_table(plain, room, table).map_err(|_| failed())?;
            output.truncate(data_at.saturating_add(packed));
            let mut length = u32::try_from(packed).map_err(|_| failed())?;
            if packed >= plain.len() {
                output.truncate(data_at);
                output.extend_from_slice(plain);
                length = u32::try_from(plain.len()).map_err(|_| failed())? | STORED;
            }
            let place = output.get_mut(length_at..).and_then(|tail| tail.first_chunk_mut());
            *place.ok_or_else(failed)? = length.to_le_bytes();
        }
        output.extend_from_slice(&0u32.to_le_bytes());
        Ok(())
    }
}

/// What the decoder needs of a frame's descriptor.
struct Frame {
    max_block: usize,
    block_checksums: bool,
    content_size: Option<u64>,
    content_checksum: bool,
}

/// Expands the one frame that `input` is.
pub(super) fn decompress(mut input: &[u8], output: &mut Expanded) -> Result<(), InvalidBatch> {
    let bad = |what| malformed(Codec::Lz4, what);
    let cut_off = || bad("the frame ends early");
    let frame = read_frame(&mut input)?;
    loop {
        let word = u32::from_le_bytes(take(&mut input).ok_or_else(cut_off)?);
        if word == 0 {
            break;
        }
        let length = usize::try_from(word & !STORED).map_err(|_| cut_off())?;
        if length > frame.max_block {
            return Err(bad("a block is larger than the frame allows"));
        }
        let data = take_slice(&mut input, length).ok_or_else(cut_off)?;
        if frame.block_checksums {
            let stored = u32::from_le_bytes(take(&mut input).ok_or_else(cut_off)?);
            if stored != xxh32(data) {
                return Err(bad("a block does not match its checksum"));
            }
        }
        read_block(data, word & STORED != 0, frame.max_block, output)?;
    }
    if frame.content_size.is_some_and(|size| size != output.filled().len() as u64) {
        return Err(bad("the content is not as long as the frame says"));
    }
    if frame.content_checksum {
        // Kafka skips it, and the batch's own checksum has covered the bytes.
        let _: [u8; 4] = take(&mut input).ok_or_else(cut_off)?;
    }
    if !input.is_empty() {
        return Err(bad("bytes follow the end of the frame"));
    }
    Ok(())
}

fn read_frame(input: &mut &[u8]) -> Result<Frame, InvalidBatch> {
    let bad = |what| malformed(Codec::Lz4, what);
    let cut_off = || bad("the frame ends early");
    let magic = u32::from_le_bytes(take(input).ok_or_else(cut_off)?);
    if magic != MAGIC {
        return Err(bad("the frame's magic number is missing"));
    }
    let descriptor = *input;
    let [flags, block] = take(input).ok_or_else(cut_off)?;
    if flags & FLAGS_VERSION_MASK != FLAGS_VERSION {
        return Err(bad("the frame has an unknown version"));
    }
    if flags & FLAG_RESERVED != 0 || block & 0x8f != 0 {
        return Err(bad("the frame has reserved bits set"));
    }
    if flags & FLAG_INDEPENDENT == 0 {
        return Err(bad("the frame has dependent blocks"));
    }
    if flags & FLAG_DICTIONARY != 0 {
        return Err(bad("the frame needs a dictionary"));
    }
    let max_block = match block >> 4 {
        4 => BLOCK_BYTES,
        5 => 256 << 10,
        6 => 1 << 20,
        7 => 4 << 20,
        _ => return Err(bad("the frame has an unknown block size")),
    };
    let content_size = if flags & FLAG_CONTENT_SIZE != 0 {
        Some(u64::from_le_bytes(take(input).ok_or_else(cut_off)?))
    } else {
        None
    };
    let covered = descriptor.len().saturating_sub(input.len());
    let [checksum] = take(input).ok_or_else(cut_off)?;
    if checksum != descriptor_checksum(descriptor.get(..covered).unwrap_or_default()) {
        return Err(bad("the frame's descriptor does not match its checksum"));
    }
    Ok(Frame {
        max_block,
        block_checksums: flags & FLAG_BLOCK_CHECKSUMS != 0,
        content_size,
        content_checksum: flags & FLAG_CONTENT_CHECKSUM != 0,
    })
}

fn read_block(
    data: &[u8],
    stored: bool,
    max_block: usize,
    output: &mut Expanded,
) -> Result<(), InvalidBatch> {
    if stored {
        let room = output.room(data.len());
        if room.len() < data.len() {
            return Err(output.too_far());
        }
        room.copy_from_slice(data);
        output.advance(data.len());
        return Ok(());
    }
    let most = max_block.min(data.len().saturating_mul(MAX_EXPANSION));
    let room = output.room(most);
    let limited = room.len() < most;
    match block::decompress_into(data, room) {
        Ok(written) => {
            output.advance(written);
            Ok(())
        }
        Err(block::DecompressError::OutputTooSmall { .. }) if limited => Err(output.too_far()),
        Err(_) => Err(malformed(Codec::Lz4, "a block cannot be decoded")),
    }
}

/// The second byte of the hash of the descriptor, which is all of it that is stored.
fn descriptor_checksum(descriptor: &[u8]) -> u8 {
    let [_, second, _, _] = xxh32(descriptor).to_le_bytes();
    second
}
