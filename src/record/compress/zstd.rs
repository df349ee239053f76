//! Zstandard: frames of RFC 8878, including skippable ones. One frame is written, and any number
//! is read.
//!
//! A frame is decoded in one call directly into the output, not as a stream. A stream needs a
//! window that the frame chooses, up to 128 MiB, before its first byte. In one call, the output is
//! the window. That requires knowing the size of the output beforehand, which a walk over the
//! block headers bounds: no block yields more than 128 KiB, and most yield that much.

use super::expanded::Expanded;
use super::malformed;
use crate::error::{Error, InvalidBatch};
use crate::record::input::{take, take_slice};
use crate::types::Codec;
use zstd::zstd_safe::{CCtx, CParameter, DCtx, compress_bound};

const MAGIC: u32 = 0xfd2f_b528;
/// The magic number of skippable frames, except for the last four bits.
const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;
/// The maximum decompressed size of a block.
const MAX_BLOCK_BYTES: u64 = 128 << 10;
/// The first size of the output, if the frame does not have its content size.
const FIRST_ROOM: usize = 256 << 10;
/// The assumed ratio of the content of a frame to its input, for the first attempt.
const USUAL_EXPANSION: usize = 16;
/// The error code of the library for an output that is too small: -70, because all its codes are
/// negated.
const ROOM_TOO_SMALL: usize = 0usize.wrapping_sub(70);

/// The compression context, created when first used.
#[derive(Default)]
pub(super) struct Encoder {
    context: Option<CCtx<'static>>,
}

impl Encoder {
    pub(super) fn compress(
        &mut self,
        level: i32,
        input: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let failed = || malformed(Codec::Zstd, "the compressor failed");
        if self.context.is_none() {
            self.context = Some(CCtx::try_create().ok_or_else(failed)?);
        }
        let context = self.context.as_mut().ok_or_else(failed)?;
        context.set_parameter(CParameter::CompressionLevel(level)).map_err(|_| failed())?;
        let start = output.len();
        output.resize(start.saturating_add(compress_bound(input.len())), 0);
        let room = output.get_mut(start..).ok_or_else(failed)?;
        let written = context.compress2(room, input).map_err(|_| failed())?;
        output.truncate(start.saturating_add(written));
        Ok(())
    }
}

/// The decompression context, created when first used.
#[derive(Default)]
pub(super) struct Decoder {
    context: Option<DCtx<'static>>,
}

impl Decoder {
    pub(super) fn decompress(
        &mut self,
        input: &[u8],
        output: &mut Expanded,
    ) -> Result<(), InvalidBatch> {
        let mut rest = input;
        // There is at least one frame, perhaps a skippable one.
        loop {
            let frame = rest;
            if !skip_frame(&mut rest)? {
                let measured = Frame::measure(&mut rest)?;
                let size = frame.len().saturating_sub(rest.len());
                self.expand(frame.get(..size).unwrap_or_default(), &measured, output)?;
            }
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    fn expand(
        &mut self,
        input: &[u8],
        frame: &Frame,
        output: &mut Expanded,
    ) -> Result<(), InvalidBatch> {
        let left = output.left();
        if frame.content_size.is_some_and(|size| size > left as u64) {
            return Err(output.too_far());
        }
        let failed = || malformed(Codec::Zstd, "the decoder cannot be created");
        if self.context.is_none() {
            self.context = Some(DCtx::try_create().ok_or_else(failed)?);
        }
        let context = self.context.as_mut().ok_or_else(failed)?;
        let bound = usize::try_from(frame.most_content()).unwrap_or(usize::MAX);
        let most = bound.min(left);
        let usual = input.len().saturating_mul(USUAL_EXPANSION).max(FIRST_ROOM);
        let mut wanted = if frame.content_size.is_some() { most } else { usual.min(most) };
        loop {
            match context.decompress(output.room(wanted), input) {
                Ok(written) => {
                    output.advance(written);
                    return Ok(());
                }
                Err(ROOM_TOO_SMALL) if wanted < most => {
                    wanted = wanted.saturating_mul(USUAL_EXPANSION).min(most);
                }
                Err(ROOM_TOO_SMALL) if bound > left => return Err(output.too_far()),
                Err(_) => return Err(malformed(Codec::Zstd, "the frame cannot be decoded")),
            }
        }
    }
}

/// Takes a skippable frame off the front of `input`. Returns false if there is none.
fn skip_frame(input: &mut &[u8]) -> Result<bool, InvalidBatch> {
    let cut_off = || malformed(Codec::Zstd, "the frame ends early");
    let mut rest = *input;
    let magic = u32::from_le_bytes(take(&mut rest).ok_or_else(cut_off)?);
    if magic & !0xf != SKIPPABLE_MAGIC {
        return Ok(false);
    }
    let size = u32::from_le_bytes(take(&mut rest).ok_or_else(cut_off)?);
    take_slice(&mut rest, usize::try_from(size).map_err(|_| cut_off())?).ok_or_else(cut_off)?;
    *input = rest;
    Ok(true)
}

/// The possible sizes of the content of a frame.
struct Frame {
    /// The content size from the header.
    content_size: Option<u64>,
    /// The maximum decompressed size of the blocks.
    bound: u64,
}

impl Frame {
    fn most_content(&self) -> u64 {
        self.content_size.map_or(self.bound, |size| size.min(self.bound))
    }

    /// Walks over the frame at the front of `input`, and takes it off.
    fn measure(input: &mut &[u8]) -> Result<Frame, InvalidBatch> {
        let bad = |what| malformed(Codec::Zstd, what);
        let cut_off = || bad("the frame ends early");
        let magic = u32::from_le_bytes(take(input).ok_or_else(cut_off)?);
        if magic != MAGIC {
            return Err(bad("the frame's magic number is missing"));
        }
        let [descriptor] = take(input).ok_or_else(cut_off)?;
        let single_segment = descriptor & 0x20 != 0;
        if !single_segment {
            let _window: [u8; 1] = take(input).ok_or_else(cut_off)?;
        }
        if descriptor & 0x03 != 0 {
            return Err(bad("the frame needs a dictionary"));
        }
        let content_size = match descriptor >> 6 {
            0 if !single_segment => None,
            0 => take(input).map(|[byte]| u64::from(byte)),
            // The two-byte range begins where the one-byte range ends.
            1 => take(input).map(|two| u64::from(u16::from_le_bytes(two)).saturating_add(256)),
            2 => take(input).map(|four| u64::from(u32::from_le_bytes(four))),
            _ => take(input).map(u64::from_le_bytes),
        };
        let bound = walk_blocks(input).ok_or_else(cut_off)?;
        if descriptor & 0x04 != 0 {
            let _checksum: [u8; 4] = take(input).ok_or_else(cut_off)?;
        }
        Ok(Frame { content_size, bound })
    }
}

/// Takes the blocks of a frame off `input`, and returns their maximum decompressed size; `None` if
/// they end early.
fn walk_blocks(input: &mut &[u8]) -> Option<u64> {
    let mut bound = 0u64;
    loop {
        let [low, middle, high] = take(input)?;
        let header = u32::from_le_bytes([low, middle, high, 0]);
        let size = header >> 3;
        let (stored, content) = match (header >> 1) & 3 {
            0 => (size, u64::from(size)),
            1 => (1, u64::from(size)),
            _ => (size, MAX_BLOCK_BYTES),
        };
        take_slice(input, usize::try_from(stored).ok()?)?;
        bound = bound.saturating_add(content.min(MAX_BLOCK_BYTES));
        if header & 1 == 1 {
            return Some(bound);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_rejects_run_over_block_limit() {
        // Frame without content size, one block: a run of 1 MiB.
        let block = ((1u32 << 20) << 3) | (1 << 1) | 1;
        let mut frame = MAGIC.to_le_bytes().to_vec();
        frame.extend([0x00, 0x58]);
        frame.extend(&block.to_le_bytes()[..3]);
        frame.push(b'x');
        for limit in [64 << 20, 128 << 10] {
            let mut output = Expanded::new(limit);
            let refused = Decoder::default().decompress(&frame, &mut output);
            assert!(matches!(refused, Err(InvalidBatch::Compression { .. })), "{refused:?}");
            assert!(output.capacity() <= 256 << 10);
        }
    }

    /// A streaming compressor writes the header of a frame before it knows the content size.
    #[test]
    fn content_of_unknown_size_is_expanded() {
        for size in [1, FIRST_ROOM - 1, FIRST_ROOM, FIRST_ROOM + 1, FIRST_ROOM * 40] {
            let plain = vec![7; size];
            let packed = ::zstd::stream::encode_all(plain.as_slice(), 3).unwrap();
            let content_size = Frame::measure(&mut packed.as_slice()).unwrap().content_size;
            assert!(content_size.is_none());
            for limit in [size, usize::MAX] {
                let mut output = Expanded::new(limit);
                Decoder::default().decompress(&packed, &mut output).unwrap();
                assert!(output.filled() == plain, "{size}, {limit}");
            }
            let Some(limit) = size.checked_sub(1) else { continue };
            let over = Decoder::default().decompress(&packed, &mut Expanded::new(limit));
            assert_eq!(over, Err(InvalidBatch::DecompressedTooLarge { limit: limit as u64 }));
        }
    }

    /// Uncompressed blocks, and blocks of one repeated byte, contain their size.
    #[test]
    fn small_content_takes_its_own_size() {
        let mut frame = MAGIC.to_le_bytes().to_vec();
        frame.extend([0x00, 0x58]);
        let mut block = |size: u32, kind: u32, last: u32, content: &[u8]| {
            frame.extend(&((size << 3) | (kind << 1) | last).to_le_bytes()[..3]);
            frame.extend(content);
        };
        block(7, 0, 0, b"content");
        block(1000, 1, 0, b"x");
        block(0, 0, 1, b"");
        let mut output = Expanded::new(usize::MAX);
        Decoder::default().decompress(&frame, &mut output).unwrap();
        assert_eq!((output.filled().len(), output.capacity()), (1007, 1007));
    }

    /// A frame with more content than its header says is malformed, whatever the limit is.
    #[test]
    fn content_beyond_its_stated_size_is_malformed() {
        let mut frame = MAGIC.to_le_bytes().to_vec();
        // Its header says 7 bytes, and its only block holds 8.
        frame.extend([0x20, 7, (8 << 3) | 1, 0, 0]);
        frame.extend(b"contents");
        for limit in [7, 8, 1000] {
            let refused = Decoder::default().decompress(&frame, &mut Expanded::new(limit));
            assert!(matches!(refused, Err(InvalidBatch::Compression { .. })), "{refused:?}");
        }
    }

    /// The limit applies to all frames together.
    #[test]
    fn frames_expand_except_skippable_ones() {
        let mut packed = Vec::new();
        let skippable = |nibble: u8, content: &[u8]| {
            let mut frame = (SKIPPABLE_MAGIC | u32::from(nibble)).to_le_bytes().to_vec();
            frame.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
            frame.extend(content);
            frame
        };
        packed.extend(skippable(0, b""));
        Encoder::default().compress(3, b"one", &mut packed).unwrap();
        packed.extend(skippable(15, b"of no meaning"));
        Encoder::default().compress(3, b"", &mut packed).unwrap();
        // Without content size, with a checksum.
        let mut stream = ::zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        stream.include_checksum(true).unwrap();
        std::io::Write::write_all(&mut stream, &[7; 700_000]).unwrap();
        packed.extend(stream.finish().unwrap());
        Encoder::default().compress(3, b"two", &mut packed).unwrap();
        packed.extend(skippable(7, b""));
        let plain = [&b"one"[..], &[7; 700_000], b"two"].concat();
        for limit in [plain.len(), usize::MAX] {
            let mut output = Expanded::new(limit);
            Decoder::default().decompress(&packed, &mut output).unwrap();
            assert!(output.filled() == plain);
        }
        let limit = plain.len() - 1;
        let over = Decoder::default().decompress(&packed, &mut Expanded::new(limit));
        assert_eq!(over, Err(InvalidBatch::DecompressedTooLarge { limit: limit as u64 }));
        for cut in [1, 4, 7] {
            let cut = &packed[..packed.len() - cut];
            let refused = Decoder::default().decompress(cut, &mut Expanded::new(1 << 20));
            assert!(matches!(refused, Err(InvalidBatch::Compression { .. })), "{refused:?}");
        }
    }
}
