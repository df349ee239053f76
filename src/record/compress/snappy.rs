//! Snappy, with the framing of Java's snappy library.
//!
//! A frame is eight bytes of magic, a version, the lowest version that can read it, and blocks
//! with a 32-bit length each. Another frame can follow. Some clients leave the frame out and write
//! one block. The first byte distinguishes them, because no block begins like the magic.

use super::expanded::Expanded;
use super::malformed;
use crate::error::{Error, InvalidBatch};
use crate::record::input::{take, take_slice};
use crate::types::Codec;
use snap::raw;

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// The version that is written. Readers ignore it, as Java's library does.
const VERSION: i32 = 1;
/// The input of one block.
const BLOCK_BYTES: usize = 32 << 10;
/// The largest expansion of one byte: the densest element is three bytes for 64.
const MAX_EXPANSION: usize = 22;

/// The compressor's hash tables, created when first used.
#[derive(Default)]
pub(super) struct Encoder {
    raw: Option<Box<raw::Encoder>>,
}

impl Encoder {
    pub(super) fn compress(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<(), Error> {
        let failed = || malformed(Codec::Snappy, "the compressor failed");
        let raw_encoder = self.raw.get_or_insert_with(|| Box::new(raw::Encoder::new()));
        output.extend_from_slice(&MAGIC);
        output.extend_from_slice(&VERSION.to_be_bytes());
        output.extend_from_slice(&VERSION.to_be_bytes());
        for block in input.chunks(BLOCK_BYTES) {
            let length_at = output.len();
            let data_at = length_at.saturating_add(4);
            output.resize(data_at.saturating_add(raw::max_compress_len(block.len())), 0);
            let room = output.get_mut(data_at..).ok_or_else(failed)?;
            let packed = raw_encoder.compress(block, room).map_err(|_| failed())?;
            output.truncate(data_at.saturating_add(packed));
            let length = i32::try_from(packed).map_err(|_| failed())?;
            let place = output.get_mut(length_at..).and_then(|tail| tail.first_chunk_mut());
            *place.ok_or_else(failed)? = length.to_be_bytes();
        }
        Ok(())
    }
}

/// Decompresses the frame or the bare block in `input`.
pub(super) fn decompress(mut input: &[u8], output: &mut Expanded) -> Result<(), InvalidBatch> {
    if !input.starts_with(&MAGIC) {
        return decompress_block(input, output);
    }
    let cut_off = || malformed(Codec::Snappy, "the frame ends early");
    loop {
        if let Some(frame) = input.strip_prefix(&MAGIC) {
            input = frame;
            let _versions: [u8; 8] = take(&mut input).ok_or_else(cut_off)?;
        }
        // As in Java's library, fewer bytes than a length are the end.
        let Some(length) = take(&mut input) else { return Ok(()) };
        let length = i32::from_be_bytes(length);
        let length = usize::try_from(length)
            .map_err(|_| malformed(Codec::Snappy, "a block has a negative length"))?;
        let block = take_slice(&mut input, length).ok_or_else(cut_off)?;
        decompress_block(block, output)?;
    }
}

fn decompress_block(block: &[u8], output: &mut Expanded) -> Result<(), InvalidBatch> {
    let claimed = raw::decompress_len(block)
        .map_err(|_| malformed(Codec::Snappy, "a block has no proper length"))?;
    if claimed > block.len().saturating_mul(MAX_EXPANSION) {
        return Err(malformed(Codec::Snappy, "a block claims more than it can hold"));
    }
    if claimed > output.left() {
        return Err(output.too_far());
    }
    let written = raw::Decoder::new()
        .decompress(block, output.room(claimed))
        .map_err(|_| malformed(Codec::Snappy, "a block cannot be decoded"))?;
    output.advance(written);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn densest_input_stays_within_bound() {
        let plain = vec![0; 1 << 20];
        let packed = raw::Encoder::new().compress_vec(&plain).unwrap();
        assert!(packed.len() * MAX_EXPANSION > plain.len());
        let mut output = Expanded::new(1 << 20);
        decompress(&packed, &mut output).unwrap();
        assert!(output.filled() == plain);
    }

    #[test]
    fn frames_of_any_version_follow_one_another() {
        let mut frame = Vec::new();
        Encoder::default().compress(b"content", &mut frame).unwrap();
        let mut all = Vec::new();
        for version in [1, 0, 7, VERSION.swap_bytes()] {
            frame[8..12].copy_from_slice(&i32::to_be_bytes(version));
            frame[12..16].copy_from_slice(&i32::to_be_bytes(version));
            all.extend_from_slice(&frame);
        }
        let mut output = Expanded::new(100);
        decompress(&all, &mut output).unwrap();
        assert_eq!(output.filled(), b"content".repeat(4));
    }

    #[test]
    fn claimed_length_is_tried_within_bound() {
        let what = ["a block cannot be decoded", "a block claims more than it can hold"];
        for (claimed, what) in [66, 67].into_iter().zip(what) {
            // A length, and a copy that ends early.
            let refused = decompress(&[claimed, 0xfe, 0], &mut Expanded::new(1000));
            assert_eq!(refused, Err(malformed(Codec::Snappy, what)));
        }
    }

    #[test]
    fn claimed_length_takes_no_memory() {
        // A block of a few bytes that claims 2 GiB.
        let bomb = [0xff, 0xff, 0xff, 0xff, 0x07, 0x00, b'x'];
        let mut output = Expanded::new(usize::MAX);
        let refused = decompress(&bomb, &mut output);
        assert!(matches!(refused, Err(InvalidBatch::Compression { .. })), "{refused:?}");
        assert_eq!(output.capacity(), 0);
    }
}
