//! CRC-32C (Castagnoli), the checksum of a batch.

/// Returns the CRC-32C of `bytes`: 0 if there are none.
///
/// The checksum of a batch covers everything from its attributes to its end.
///
/// ```
/// assert_eq!(annals::record::crc32c(b"123456789"), 0xe306_9283);
/// ```
#[inline]
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// A checksum of bytes that arrive in pieces.
#[derive(Debug)]
pub(crate) struct Checksum(crc_fast::Digest);

impl Checksum {
    /// Creates a CRC-32C, the checksum of a batch.
    pub(crate) fn castagnoli() -> Checksum {
        Checksum(crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi))
    }

    /// Creates a CRC-32 of IEEE 802.3, the checksum of the legacy formats.
    pub(crate) fn ieee() -> Checksum {
        Checksum(crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32IsoHdlc))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn value(&self) -> u32 {
        self.0.finalize() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_matches_another_implementation() {
        let bytes: Vec<u8> =
            (0..3000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for length in (0..700).chain([1023, 1024, 1025, 2047, 2048, 3000]) {
            assert_eq!(crc32c(&bytes[..length]), ::crc32c::crc32c(&bytes[..length]), "{length}");
        }
    }
}
