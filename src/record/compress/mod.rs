//! Compressing and decompressing the records section of a batch.
//!
//! A codec sees the records as one sequence of bytes. Every codec has its own module with an
//! `Encoder`, a `Decoder`, or both. A build without the cargo feature of a codec has neither, and
//! fails with an error for an unavailable codec.
//!
//! Compressed bytes are not trusted. So decoders write into an [`Expanded`],
//! which grows only by the size that the input can really have, and never beyond its limit. A
//! length that the input claims is first compared with the maximum of the codec: a byte of snappy
//! yields at most 22 bytes, of LZ4 255, of gzip 1032, and a block of zstd, of at least 3 bytes,
//! 128 KiB. So 1 KiB of any input stays below 44 MiB, whatever the limit is.
#![allow(clippy::little_endian_bytes, reason = "gzip, LZ4 and zstd are little-endian formats")]

pub(crate) mod expanded;
#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(feature = "snappy")]
mod snappy;
#[cfg(feature = "lz4")]
mod xxh32;
#[cfg(feature = "zstd")]
mod zstd;

use crate::error::{Error, InvalidBatch, InvalidOption, Unsupported, reject_option};
use crate::types::Codec;
use expanded::Expanded;
use std::fmt;

/// The compression of a [`BatchBuilder`](super::BatchBuilder): a codec and, where it has one, its
/// level.
///
/// ```
/// use annals::record::Compression;
/// use annals::Codec;
///
/// assert_eq!(Compression::of(Codec::Zstd), Compression::Zstd { level: 3 });
/// assert_eq!(Compression::Gzip { level: 9 }.codec(), Codec::Gzip);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// The records are not compressed.
    #[default]
    None,
    /// One gzip member.
    Gzip {
        /// 1 (fast) to 9 (small); -1 is the library's default, 6.
        level: i32,
    },
    /// Blocks of 32 KiB in the framing of Java's snappy library.
    Snappy,
    /// One LZ4 frame of independent 64 KiB blocks.
    Lz4,
    /// One Zstandard frame.
    Zstd {
        /// -131072 (fast) to 22 (small); 0 is the library's default, 3.
        level: i32,
    },
}

impl Compression {
    /// Returns the codec at Kafka's default level.
    #[must_use]
    pub const fn of(codec: Codec) -> Compression {
        match codec {
            Codec::None => Compression::None,
            Codec::Gzip => Compression::Gzip { level: -1 },
            Codec::Snappy => Compression::Snappy,
            Codec::Lz4 => Compression::Lz4,
            Codec::Zstd => Compression::Zstd { level: 3 },
        }
    }

    /// Returns the codec.
    #[must_use]
    pub const fn codec(self) -> Codec {
        match self {
            Compression::None => Codec::None,
            Compression::Gzip { .. } => Codec::Gzip,
            Compression::Snappy => Codec::Snappy,
            Compression::Lz4 => Codec::Lz4,
            Compression::Zstd { .. } => Codec::Zstd,
        }
    }

    /// Checks that this build has the codec and the codec has the level.
    ///
    /// # Errors
    ///
    /// - [`Error::Unsupported`] if the codec's cargo feature is off.
    /// - [`Error::InvalidConfig`] if the level is outside of its range.
    pub fn check(self) -> Result<(), Error> {
        self.check_level()?;
        if !self.codec().is_available() {
            return Err(Error::Unsupported(Unsupported::Codec(self.codec())));
        }
        Ok(())
    }

    pub(crate) fn check_level(self) -> Result<(), InvalidOption> {
        let (level, range) = match self {
            Compression::Gzip { level } => (level, -1..=9),
            Compression::Zstd { level } => (level, -131_072..=22),
            Compression::None | Compression::Snappy | Compression::Lz4 => (1, 1..=1),
        };
        let no_zero = matches!(self, Compression::Gzip { .. });
        if !range.contains(&level) || (no_zero && level == 0) {
            let (from, to) = (range.start(), range.end());
            let but = if no_zero { ", but not 0" } else { "" };
            let found = format_args!("{} of level {level}", self.codec());
            let rule = format!("must have a level from {from} to {to}{but}");
            return reject_option("compression", found, rule);
        }
        Ok(())
    }
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Compression {
        Compression::of(codec)
    }
}

/// The encoders that a builder has used, kept for its next batch.
#[derive(Default)]
pub(crate) struct Compressor {
    #[cfg(feature = "gzip")]
    gzip: gzip::Encoder,
    #[cfg(feature = "lz4")]
    lz4: lz4::Encoder,
    #[cfg(feature = "snappy")]
    snappy: snappy::Encoder,
    #[cfg(feature = "zstd")]
    zstd: zstd::Encoder,
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

impl Compressor {
    /// Appends the compressed form of `input` to `output`.
    pub(crate) fn compress(
        &mut self,
        compression: Compression,
        input: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(), Error> {
        compression.check()?;
        match compression {
            Compression::None => output.extend_from_slice(input),
            #[cfg(feature = "gzip")]
            Compression::Gzip { level } => self.gzip.compress(level, input, output)?,
            #[cfg(feature = "lz4")]
            Compression::Lz4 => self.lz4.compress(input, output)?,
            #[cfg(feature = "snappy")]
            Compression::Snappy => self.snappy.compress(input, output)?,
            #[cfg(feature = "zstd")]
            Compression::Zstd { level } => self.zstd.compress(level, input, output)?,
            #[allow(unreachable_patterns, reason = "reached in a build without some codec")]
            other => return Err(Error::Unsupported(Unsupported::Codec(other.codec()))),
        }
        Ok(())
    }
}

/// The decoders that a reader has used, kept for its next batch.
#[derive(Default)]
pub(crate) struct Decompressor {
    #[cfg(feature = "gzip")]
    gzip: gzip::Decoder,
    #[cfg(feature = "zstd")]
    zstd: zstd::Decoder,
}

impl Decompressor {
    /// Decompresses all of `input` into `output`, which is empty.
    pub(crate) fn decompress(
        &mut self,
        codec: Codec,
        input: &[u8],
        output: &mut Expanded,
    ) -> Result<(), InvalidBatch> {
        match codec {
            #[cfg(feature = "gzip")]
            Codec::Gzip => self.gzip.decompress(input, output),
            #[cfg(feature = "lz4")]
            Codec::Lz4 => lz4::decompress(input, output),
            #[cfg(feature = "snappy")]
            Codec::Snappy => snappy::decompress(input, output),
            #[cfg(feature = "zstd")]
            Codec::Zstd => self.zstd.decompress(input, output),
            other => {
                let _ = (input, output);
                Err(InvalidBatch::CodecUnavailable { codec: other })
            }
        }
    }
}

/// Returns the error of compressed data that `codec` cannot decode.
#[allow(dead_code, reason = "unused in a build without codecs")]
#[cold]
pub(crate) fn malformed(codec: Codec, what: &'static str) -> InvalidBatch {
    InvalidBatch::Compression { codec, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus() -> Vec<Vec<u8>> {
        let mut noise = Vec::new();
        let mut state = 1u64;
        for _ in 0..200_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            noise.push((state >> 56) as u8);
        }
        vec![
            vec![1],
            b"the quick brown fox ".repeat(3),
            b"the quick brown fox ".repeat(30_000),
            vec![0; 1_000_000],
            noise[..70_000].to_vec(),
            noise,
        ]
    }

    fn expand(codec: Codec, packed: &[u8], limit: usize) -> Result<Vec<u8>, InvalidBatch> {
        let mut output = Expanded::new(limit);
        Decompressor::default().decompress(codec, packed, &mut output)?;
        Ok(output.filled().to_vec())
    }

    #[test]
    fn round_trip_holds_at_every_level() {
        let mut compressor = Compressor::default();
        let mut all = vec![Compression::Snappy, Compression::Lz4];
        all.extend([-1, 1, 6, 9].map(|level| Compression::Gzip { level }));
        all.extend([-50, 0, 1, 3, 9, 22].map(|level| Compression::Zstd { level }));
        for compression in all {
            let codec = compression.codec();
            if !codec.is_available() {
                continue;
            }
            for plain in corpus() {
                let mut packed = vec![7; 3];
                compressor.compress(compression, &plain, &mut packed).unwrap();
                assert_eq!(packed[..3], [7; 3]);
                let packed = &packed[3..];
                assert!(expand(codec, packed, plain.len()).unwrap() == plain, "{compression:?}");
                let over = expand(codec, packed, plain.len() - 1).unwrap_err();
                let limit = plain.len() as u64 - 1;
                assert_eq!(over, InvalidBatch::DecompressedTooLarge { limit }, "{compression:?}");
            }
        }
    }

    /// Encoders are kept between batches, and no content of one batch leaks into the next.
    #[test]
    fn output_is_equal_after_other_input() {
        let mut kept = Compressor::default();
        let plain = corpus().swap_remove(2);
        let levels = [1, 9, 9, -1, 1];
        let gzip = levels.map(|level| Compression::Gzip { level });
        let zstd = levels.map(|level| Compression::Zstd { level });
        let same = [Compression::Snappy, Compression::Lz4].repeat(2);
        for compression in gzip.into_iter().chain(zstd).chain(same) {
            if !compression.codec().is_available() {
                continue;
            }
            let (mut packed, mut fresh) = (Vec::new(), Vec::new());
            kept.compress(compression, &plain, &mut packed).unwrap();
            Compressor::default().compress(compression, &plain, &mut fresh).unwrap();
            assert!(packed == fresh, "{compression:?}");
            assert!(packed.capacity() < 3 * plain.len(), "{compression:?}");
        }
    }

    #[test]
    fn truncated_content_is_malformed() {
        let plain = b"some text to pack, some text to pack".repeat(100);
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            if !codec.is_available() {
                continue;
            }
            let mut packed = Vec::new();
            Compressor::default().compress(codec.into(), &plain, &mut packed).unwrap();
            for end in 1..packed.len() {
                // Between two blocks, and before the first, the framing of snappy has no end mark
                // that could be missing.
                if codec == Codec::Snappy && (16..20).contains(&end) {
                    continue;
                }
                // Not even where the content is complete.
                for limit in [1 << 20, plain.len()] {
                    let cut = expand(codec, &packed[..end], limit);
                    assert!(
                        matches!(cut, Err(InvalidBatch::Compression { .. })),
                        "{codec} {end} {cut:?}"
                    );
                }
            }
            // Kafka ignores other bytes after the end, except for zstd.
            packed.push(0);
            let longer = expand(codec, &packed, 1 << 20);
            assert_eq!(longer.is_ok(), codec != Codec::Zstd, "{codec} {longer:?}");
        }
    }

    #[test]
    fn codec_alone_uses_kafkas_level() {
        let zstd = Compression::Zstd { level: 3 };
        let gzip = Compression::Gzip { level: -1 };
        for compression in [Compression::None, gzip, Compression::Snappy, Compression::Lz4, zstd] {
            assert_eq!(Compression::of(compression.codec()), compression);
            assert_eq!(compression.check().is_ok(), compression.codec().is_available());
        }
    }

    #[test]
    fn levels_outside_range_are_rejected() {
        for compression in [
            Compression::Gzip { level: 0 },
            Compression::Gzip { level: 10 },
            Compression::Gzip { level: -2 },
            Compression::Zstd { level: 23 },
            Compression::Zstd { level: -131_073 },
        ] {
            assert!(matches!(compression.check(), Err(Error::InvalidConfig { .. })));
        }
    }
}
