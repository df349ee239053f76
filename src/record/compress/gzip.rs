//! Gzip: members of RFC 1952, each around a deflate stream. One member is written, and any number
//! is read.
//!
//! The header and the trailer of a member are read and written here, so that the state of the
//! deflate stream, tens of KiB, can be kept between batches.

use super::expanded::Expanded;
use super::malformed;
use crate::error::{Error, InvalidBatch};
use crate::record::input::{take, take_slice};
use crate::types::Codec;
use flate2::{Compress, Crc, Decompress, FlushCompress, FlushDecompress, Status};

const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
const FLAG_HEADER_CHECKSUM: u8 = 0x02;
const FLAG_EXTRA: u8 = 0x04;
const FLAG_NAME: u8 = 0x08;
const FLAG_COMMENT: u8 = 0x10;
/// The header that is written: no flags, no time, no hint, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// The room that the stream gets at first.
const FIRST_STEP: usize = 8 << 10;
/// The level that -1 means.
const DEFAULT_LEVEL: u32 = 6;

/// The stream and its level, created when first used.
#[derive(Default)]
pub(super) struct Encoder {
    stream: Option<(i32, Compress)>,
}

impl Encoder {
    pub(super) fn compress(
        &mut self,
        level: i32,
        input: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let failed = || malformed(Codec::Gzip, "the compressor failed");
        if self.stream.as_ref().is_some_and(|(made_for, _)| *made_for != level) {
            self.stream = None;
        }
        let (_, stream) = self.stream.get_or_insert_with(|| {
            let speed = u32::try_from(level).unwrap_or(DEFAULT_LEVEL);
            (level, Compress::new(flate2::Compression::new(speed), false))
        });
        stream.reset();
        output.extend_from_slice(&HEADER);
        // Deflate adds 5 bytes to every 16 KiB that it cannot make smaller.
        output.reserve(input.len().saturating_add(input.len() / 1024).saturating_add(64));
        loop {
            let used = usize::try_from(stream.total_in()).map_err(|_| failed())?;
            let rest = input.get(used..).ok_or_else(failed)?;
            let status =
                stream.compress_vec(rest, output, FlushCompress::Finish).map_err(|_| failed())?;
            if status == Status::StreamEnd {
                break;
            }
            output.reserve(FIRST_STEP);
        }
        let mut crc = Crc::new();
        crc.update(input);
        output.extend_from_slice(&crc.sum().to_le_bytes());
        // RFC 1952 stores the length modulo 2^32.
        output.extend_from_slice(&(input.len() as u32).to_le_bytes());
        Ok(())
    }
}

/// The state of the stream, created when first used.
#[derive(Default)]
pub(super) struct Decoder {
    stream: Option<Decompress>,
}

impl Decoder {
    pub(super) fn decompress(
        &mut self,
        mut input: &[u8],
        output: &mut Expanded,
    ) -> Result<(), InvalidBatch> {
        loop {
            self.expand_member(&mut input, output)?;
            // As in Kafka and gzip itself, bytes after the last member, such as padding, are
            // ignored.
            if !input.starts_with(&MAGIC) {
                return Ok(());
            }
        }
    }

    /// Decompresses the member at the front of `input`, and takes it off.
    fn expand_member(
        &mut self,
        input: &mut &[u8],
        output: &mut Expanded,
    ) -> Result<(), InvalidBatch> {
        let bad = |what| malformed(Codec::Gzip, what);
        let before = output.filled().len();
        skip_header(input)?;
        let stream = self.stream.get_or_insert_with(|| Decompress::new(false));
        stream.reset(false);
        let crc = inflate(stream, input, output)?;
        let trailer: Option<([u8; 4], [u8; 4])> = take(input).zip(take(input));
        let (sum, length) = trailer.ok_or_else(|| bad("the data ends early"))?;
        if u32::from_le_bytes(sum) != crc {
            return Err(bad("the content does not match its checksum"));
        }
        // RFC 1952 stores the length modulo 2^32.
        if u32::from_le_bytes(length) != output.filled().len().saturating_sub(before) as u32 {
            return Err(bad("the content is not as long as the trailer says"));
        }
        Ok(())
    }
}

/// Decompresses the deflate stream at the front of `input`, takes it off, and returns the CRC-32
/// of the content.
fn inflate(
    stream: &mut Decompress,
    input: &mut &[u8],
    output: &mut Expanded,
) -> Result<u32, InvalidBatch> {
    let bad = |what| malformed(Codec::Gzip, what);
    let mut crc = Crc::new();
    let mut spare = [0];
    loop {
        let step = output.filled().len().max(FIRST_STEP);
        // At the limit one more byte shows whether the stream ends there.
        let full = output.left() == 0;
        let room = if full { &mut spare[..] } else { output.room(step) };
        let (read_before, written_before) = (stream.total_in(), stream.total_out());
        let status = stream
            .decompress(input, room, FlushDecompress::None)
            .map_err(|_| bad("the data cannot be decoded"))?;
        let read = stream.total_in().saturating_sub(read_before);
        let written = stream.total_out().saturating_sub(written_before);
        let read = usize::try_from(read).unwrap_or(usize::MAX);
        let written = usize::try_from(written).unwrap_or(usize::MAX);
        take_slice(input, read).ok_or_else(|| bad("the data ends early"))?;
        if full && written > 0 {
            return Err(output.too_far());
        }
        crc.update(room.get(..written).unwrap_or_default());
        output.advance(written);
        match status {
            Status::StreamEnd => return Ok(crc.sum()),
            Status::Ok | Status::BufError if read == 0 && written == 0 => {
                return Err(bad("the data ends early"));
            }
            Status::Ok | Status::BufError => {}
        }
    }
}

fn skip_header(input: &mut &[u8]) -> Result<(), InvalidBatch> {
    let cut_off = || malformed(Codec::Gzip, "the header ends early");
    if take(input) != Some(MAGIC) {
        return Err(malformed(Codec::Gzip, "the magic number is missing"));
    }
    let [flags, ..]: [u8; 7] = take(input).ok_or_else(cut_off)?;
    if flags & FLAG_EXTRA != 0 {
        let length = u16::from_le_bytes(take(input).ok_or_else(cut_off)?);
        take_slice(input, usize::from(length)).ok_or_else(cut_off)?;
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            let end = input.iter().position(|byte| *byte == 0).ok_or_else(cut_off)?;
            take_slice(input, end.saturating_add(1)).ok_or_else(cut_off)?;
        }
    }
    if flags & FLAG_HEADER_CHECKSUM != 0 {
        take_slice(input, 2).ok_or_else(cut_off)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn optional_header_fields_are_skipped() {
        let mut writer = flate2::GzBuilder::new()
            .filename("name")
            .comment("comment")
            .extra(vec![1, 2, 3])
            .write(Vec::new(), flate2::Compression::fast());
        writer.write_all(b"content").unwrap();
        let packed = writer.finish().unwrap();
        let mut output = Expanded::new(100);
        Decoder::default().decompress(&packed, &mut output).unwrap();
        assert_eq!(output.filled(), b"content");
    }

    /// The stream may end after its content does: it works in pieces of 32 KiB, and a flushed
    /// stream ends with blocks without content.
    #[test]
    fn content_may_end_before_its_stream() {
        for size in [1, 3000, (32 << 10) - 1, 32 << 10, 64 << 10, (64 << 10) + 1] {
            let content = vec![7; size];
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(&content).unwrap();
            (0..3).for_each(|_| writer.flush().unwrap());
            let packed = writer.finish().unwrap();
            let mut output = Expanded::new(size);
            Decoder::default().decompress(&packed, &mut output).unwrap();
            assert!(output.filled() == content, "{size}");
            let limit = size - 1;
            let over = Decoder::default().decompress(&packed, &mut Expanded::new(limit));
            assert_eq!(over, Err(InvalidBatch::DecompressedTooLarge { limit: limit as u64 }));
        }
    }

    /// The limit applies to all members together, including empty ones.
    #[test]
    fn all_members_are_expanded() {
        let parts = [&b"one"[..], b"", b"two", &[7; 100_000], b"", b"three"];
        let mut packed = Vec::new();
        for part in parts {
            Encoder::default().compress(-1, part, &mut packed).unwrap();
        }
        let plain = parts.concat();
        for limit in [plain.len(), usize::MAX] {
            let mut output = Expanded::new(limit);
            Decoder::default().decompress(&packed, &mut output).unwrap();
            assert!(output.filled() == plain);
        }
        let limit = plain.len() - 1;
        let over = Decoder::default().decompress(&packed, &mut Expanded::new(limit));
        assert_eq!(over, Err(InvalidBatch::DecompressedTooLarge { limit: limit as u64 }));
        let padded = [&packed[..], &[0; 9]].concat();
        let mut output = Expanded::new(plain.len());
        Decoder::default().decompress(&padded, &mut output).unwrap();
        assert!(output.filled() == plain, "what is no member is ignored");
        let cut =
            Decoder::default().decompress(&packed[..packed.len() - 1], &mut Expanded::new(1 << 20));
        assert!(matches!(cut, Err(InvalidBatch::Compression { .. })));
    }
}
