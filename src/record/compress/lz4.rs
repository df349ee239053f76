//! LZ4 frames.
//!
//! A frame is a magic number, a descriptor (flags, block size, an optional content size, one byte
//! of checksum), blocks with a 32-bit length each, an end mark, and an optional checksum of the
//! content. Kafka writes one frame of the simplest kind. Everything that the format allows is
//! read: several frames, skippable frames, and blocks that refer to earlier blocks.

use super::expanded::Expanded;
use super::malformed;
use super::xxh32::xxh32;
use crate::error::{Error, InvalidBatch};
use crate::record::input::{take, take_slice};
use crate::types::Codec;
use lz4_flex::block::{self, CompressTable};

const MAGIC: u32 = 0x184d_2204;
/// The magic number of skippable frames, except for the last four bits.
const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;
const FLAGS_VERSION_MASK: u8 = 0xc0;
const FLAGS_VERSION: u8 = 0x40;
const FLAG_INDEPENDENT: u8 = 0x20;
const FLAG_BLOCK_CHECKSUMS: u8 = 0x10;
const FLAG_CONTENT_SIZE: u8 = 0x08;
const FLAG_CONTENT_CHECKSUM: u8 = 0x04;
const FLAG_RESERVED: u8 = 0x02;
const FLAG_DICTIONARY: u8 = 0x01;
/// The descriptor that is written: no checksums, no content size, blocks of 64 KiB.
const DESCRIPTOR: [u8; 2] = [FLAGS_VERSION | FLAG_INDEPENDENT, 0x40];
const BLOCK_BYTES: usize = 64 << 10;
/// The maximum distance that a block can refer back.
const WINDOW_BYTES: usize = 64 << 10;
/// The flag in the length of an uncompressed block.
const STORED: u32 = 0x8000_0000;
/// The largest expansion of one byte: each byte of a match length adds 255.
const MAX_EXPANSION: usize = 255;

/// The hash table of the compressor, created when first used and kept between batches.
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

/// The fields of a frame's descriptor that the decoder needs.
struct Frame {
    max_block: usize,
    linked_blocks: bool,
    block_checksums: bool,
    content_checksum: bool,
}

/// Decompresses the frames of `input`.
pub(super) fn decompress(mut input: &[u8], output: &mut Expanded) -> Result<(), InvalidBatch> {
    loop {
        if !skip_frame(&mut input)? {
            expand_frame(&mut input, output)?;
        }
        // As in Kafka, bytes after the last frame are ignored.
        let magic = input.first_chunk().map(|magic| u32::from_le_bytes(*magic));
        if !magic.is_some_and(|magic| magic == MAGIC || is_skippable(magic)) {
            return Ok(());
        }
    }
}

fn is_skippable(magic: u32) -> bool {
    magic & !0xf == SKIPPABLE_MAGIC
}

/// Takes a skippable frame off the front of `input`. Returns false if there is none.
fn skip_frame(input: &mut &[u8]) -> Result<bool, InvalidBatch> {
    let cut_off = || malformed(Codec::Lz4, "the frame ends early");
    let mut rest = *input;
    let magic = u32::from_le_bytes(take(&mut rest).ok_or_else(cut_off)?);
    if !is_skippable(magic) {
        return Ok(false);
    }
    let size = u32::from_le_bytes(take(&mut rest).ok_or_else(cut_off)?);
    take_slice(&mut rest, usize::try_from(size).map_err(|_| cut_off())?).ok_or_else(cut_off)?;
    *input = rest;
    Ok(true)
}

/// Decompresses the frame at the front of `input`, and takes it off.
fn expand_frame(input: &mut &[u8], output: &mut Expanded) -> Result<(), InvalidBatch> {
    let bad = |what| malformed(Codec::Lz4, what);
    let cut_off = || bad("the frame ends early");
    let frame = read_frame(input)?;
    let begin = output.filled().len();
    let mut window = Vec::new();
    loop {
        let word = u32::from_le_bytes(take(input).ok_or_else(cut_off)?);
        if word == 0 {
            break;
        }
        let length = usize::try_from(word & !STORED).map_err(|_| cut_off())?;
        if length > frame.max_block {
            return Err(bad("a block is larger than the frame allows"));
        }
        let data = take_slice(input, length).ok_or_else(cut_off)?;
        if frame.block_checksums {
            let stored = u32::from_le_bytes(take(input).ok_or_else(cut_off)?);
            if stored != xxh32(data) {
                return Err(bad("a block does not match its checksum"));
            }
        }
        if frame.linked_blocks {
            let content = output.filled().get(begin..).unwrap_or_default();
            let from = content.len().saturating_sub(WINDOW_BYTES);
            window.clear();
            window.extend_from_slice(content.get(from..).unwrap_or_default());
        }
        read_block(data, word & STORED != 0, frame.max_block, &window, output)?;
    }
    if frame.content_checksum {
        // Kafka skips it, as it does the size, and the checksum of the batch covers the bytes.
        let _: [u8; 4] = take(input).ok_or_else(cut_off)?;
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
    if flags & FLAG_CONTENT_SIZE != 0 {
        take_slice(input, 8).ok_or_else(cut_off)?;
    }
    let covered = descriptor.len().saturating_sub(input.len());
    let [checksum] = take(input).ok_or_else(cut_off)?;
    if checksum != descriptor_checksum(descriptor.get(..covered).unwrap_or_default()) {
        return Err(bad("the frame's descriptor does not match its checksum"));
    }
    Ok(Frame {
        max_block,
        linked_blocks: flags & FLAG_INDEPENDENT == 0,
        block_checksums: flags & FLAG_BLOCK_CHECKSUMS != 0,
        content_checksum: flags & FLAG_CONTENT_CHECKSUM != 0,
    })
}

fn read_block(
    data: &[u8],
    stored: bool,
    max_block: usize,
    window: &[u8],
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
    let written = if window.is_empty() {
        block::decompress_into(data, room)
    } else {
        block::decompress_into_with_dict(data, room, window)
    };
    match written {
        Ok(written) => {
            output.advance(written);
            Ok(())
        }
        Err(block::DecompressError::OutputTooSmall { .. }) if limited => Err(output.too_far()),
        Err(_) => Err(malformed(Codec::Lz4, "a block cannot be decoded")),
    }
}

/// Returns the second byte of the hash of the descriptor, which is the only byte that is stored.
fn descriptor_checksum(descriptor: &[u8]) -> u8 {
    let [_, second, _, _] = xxh32(descriptor).to_le_bytes();
    second
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a frame with this descriptor, its checksum, and these bytes after it.
    fn frame(descriptor: &[u8], rest: &[u8]) -> Vec<u8> {
        let mut frame = MAGIC.to_le_bytes().to_vec();
        frame.extend_from_slice(descriptor);
        frame.push(descriptor_checksum(descriptor));
        frame.extend_from_slice(rest);
        frame
    }

    fn expand(frame: &[u8]) -> Result<Vec<u8>, &'static str> {
        let mut output = Expanded::new(1 << 20);
        match decompress(frame, &mut output) {
            Ok(()) => Ok(output.filled().to_vec()),
            Err(InvalidBatch::Compression { codec: Codec::Lz4, what }) => Err(what),
            Err(other) => panic!("{other}"),
        }
    }

    /// One uncompressed block of three bytes, then the end mark.
    const ABC: &[u8] = &[3, 0, 0, 0x80, b'a', b'b', b'c', 0, 0, 0, 0];

    #[test]
    fn frames_with_unknown_flags_are_rejected() {
        assert_eq!(expand(&frame(&[0x60, 0x40], ABC)).unwrap(), b"abc");
        for block_size in [0x50, 0x60, 0x70] {
            assert_eq!(expand(&frame(&[0x60, block_size], ABC)).unwrap(), b"abc");
        }
        let refused = |descriptor: &[u8]| expand(&frame(descriptor, ABC)).unwrap_err();
        assert_eq!(refused(&[0xa0, 0x40]), "the frame has an unknown version");
        assert_eq!(refused(&[0x62, 0x40]), "the frame has reserved bits set");
        assert_eq!(refused(&[0x60, 0xc0]), "the frame has reserved bits set");
        assert_eq!(refused(&[0x60, 0x41]), "the frame has reserved bits set");
        assert_eq!(refused(&[0x60, 0x30]), "the frame has an unknown block size");
        assert_eq!(refused(&[0x61, 0x40, 1, 0, 0, 0]), "the frame needs a dictionary");
        let mut wrong = frame(&[0x60, 0x40], ABC);
        wrong[6] ^= 1;
        let what = "the frame's descriptor does not match its checksum";
        assert_eq!(expand(&wrong).unwrap_err(), what);
        wrong[0] = 5;
        assert_eq!(expand(&wrong).unwrap_err(), "the frame's magic number is missing");
    }

    #[test]
    fn block_checksums_are_verified() {
        // The content size must exist, and is not compared.
        let sized = |size| frame(&[0x68, 0x40, size, 0, 0, 0, 0, 0, 0, 0], ABC);
        assert_eq!(expand(&sized(3)).unwrap(), b"abc");
        assert_eq!(expand(&sized(4)).unwrap(), b"abc");

        let mut block = ABC[..7].to_vec();
        block.extend_from_slice(&xxh32(b"abc").to_le_bytes());
        block.extend_from_slice(&[0; 4]);
        assert_eq!(expand(&frame(&[0x70, 0x40], &block)).unwrap(), b"abc");
        block[8] ^= 1;
        let what = "a block does not match its checksum";
        assert_eq!(expand(&frame(&[0x70, 0x40], &block)).unwrap_err(), what);

        // The checksum of the content must exist, and is not compared.
        let content = [ABC, &[1, 2, 3, 4]].concat();
        assert_eq!(expand(&frame(&[0x64, 0x40], &content)).unwrap(), b"abc");
        let cut = &content[..content.len() - 1];
        assert_eq!(expand(&frame(&[0x64, 0x40], cut)).unwrap_err(), "the frame ends early");
    }

    #[test]
    fn decode_rejects_block_over_declared_size() {
        let mut stored = (65_537u32 | STORED).to_le_bytes().to_vec();
        stored.resize(4 + 65_537, 0);
        stored.extend_from_slice(&[0; 4]);
        let what = "a block is larger than the frame allows";
        assert_eq!(expand(&frame(&[0x60, 0x40], &stored)).unwrap_err(), what);
        assert_eq!(expand(&frame(&[0x60, 0x50], &stored)).unwrap().len(), 65_537);

        let packed = block::compress(&vec![0; 65_537]);
        let mut compressed = u32::try_from(packed.len()).unwrap().to_le_bytes().to_vec();
        compressed.extend_from_slice(&packed);
        compressed.extend_from_slice(&[0; 4]);
        let what = "a block cannot be decoded";
        assert_eq!(expand(&frame(&[0x60, 0x40], &compressed)).unwrap_err(), what);
        assert_eq!(expand(&frame(&[0x60, 0x50], &compressed)).unwrap().len(), 65_537);
    }

    /// Blocks that refer to earlier ones, the default of many encoders.
    #[test]
    fn linked_blocks_are_expanded() {
        use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
        let mut plain = Vec::new();
        for n in 0..40_000u32 {
            plain.extend(n.wrapping_mul(2_654_435_761).to_le_bytes());
            plain.extend(b"some text that comes again");
        }
        for size in [BlockSize::Max64KB, BlockSize::Max256KB] {
            let info = FrameInfo::new()
                .block_mode(BlockMode::Linked)
                .block_size(size)
                .block_checksums(true)
                .content_checksum(true);
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            std::io::Write::write_all(&mut encoder, &plain).unwrap();
            let packed = encoder.finish().unwrap();
            let twice = [packed.as_slice(), &packed].concat();
            for (packed, plain) in [(packed, plain.clone()), (twice, plain.repeat(2))] {
                let mut output = Expanded::new(plain.len());
                decompress(&packed, &mut output).unwrap();
                assert!(output.filled() == plain);
                let limit = plain.len() - 1;
                let over = decompress(&packed, &mut Expanded::new(limit));
                assert_eq!(over, Err(InvalidBatch::DecompressedTooLarge { limit: limit as u64 }));
            }
        }
    }

    #[test]
    fn frames_expand_except_skippable_ones() {
        let one = frame(&[0x68, 0x40, 3, 0, 0, 0, 0, 0, 0, 0], ABC);
        let skippable = [&SKIPPABLE_MAGIC.to_le_bytes()[..], &[2, 0, 0, 0, b'n', b'o']].concat();
        let empty = [&(SKIPPABLE_MAGIC | 9).to_le_bytes()[..], &[0; 4]].concat();
        let all = [&empty[..], &one, &skippable, &one, &empty].concat();
        assert_eq!(expand(&all).unwrap(), b"abcabc");
        assert_eq!(expand(&all[..all.len() - 1]).unwrap_err(), "the frame ends early");
        for behind in [&[0][..], &[0; 8], b"no frame"] {
            assert_eq!(expand(&[&all, behind].concat()).unwrap(), b"abcabc");
        }
        assert_eq!(
            decompress(&all, &mut Expanded::new(5)),
            Err(InvalidBatch::DecompressedTooLarge { limit: 5 })
        );
    }

    #[test]
    fn declared_block_size_takes_no_memory() {
        let mut output = Expanded::new(1 << 30);
        let claim = frame(&[0x60, 0x70], &[2, 0, 0, 0, 0x10, b'x', 0, 0, 0, 0]);
        decompress(&claim, &mut output).unwrap();
        assert_eq!(output.filled(), b"x");
        assert!(output.capacity() <= 2 * MAX_EXPANSION, "{}", output.capacity());
    }
}
