//! Variable-length integers: zig-zag, then groups of seven bits, the lowest first.
//!
//! Zig-zag maps 0, -1, 1, -2, ... to 0, 1, 2, 3, ... so that small numbers of either sign take few
//! bytes. A 32-bit number takes at most 5 bytes and a 64-bit number at most 10. As in Kafka, bits
//! of the last byte that lie above the width are ignored, and needlessly long forms are accepted.

/// The maximum number of bytes of a 32-bit number.
pub(crate) const MAX_BYTES_32: usize = 5;
/// The maximum number of bytes of a 64-bit number.
pub(crate) const MAX_BYTES_64: usize = 10;

/// Maps a signed number to an unsigned one that is small when it is near zero.
#[inline(always)]
pub(crate) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline(always)]
pub(crate) const fn unzigzag32(value: u32) -> i32 {
    ((value >> 1) as i32) ^ ((value & 1) as i32).wrapping_neg()
}

#[inline(always)]
const fn unzigzag64(value: u64) -> i64 {
    ((value >> 1) as i64) ^ ((value & 1) as i64).wrapping_neg()
}

/// Returns the encoded length of `value` before zig-zag: 1 to 10 bytes.
#[inline(always)]
pub(crate) const fn size(value: u64) -> usize {
    // A byte holds seven bits. Multiplying by 9/64 instead of dividing by 7 has the same result
    // for all 64 widths.
    let bits = 64u32.wrapping_sub((value | 1).leading_zeros());
    (bits.wrapping_mul(9).wrapping_add(64) / 64) as usize
}

/// Takes a signed 32-bit number off the front of `input`. Returns `None` if the number is
/// incomplete or has too many bytes.
#[inline(always)]
pub(crate) fn read_i32(input: &mut &[u8]) -> Option<i32> {
    // Lengths and offset deltas nearly always take one or two bytes.
    if let [first, tail @ ..] = *input {
        if *first < 0x80 {
            *input = tail;
            return Some(unzigzag32(u32::from(*first)));
        }
        if let [second, tail @ ..] = tail
            && *second < 0x80
        {
            *input = tail;
            return Some(unzigzag32((u32::from(*second) << 7) | u32::from(*first & 0x7f)));
        }
    }
    read_long(input, MAX_BYTES_32).map(|value| unzigzag32(value as u32))
}

/// Takes a signed 64-bit number off the front of `input`. Returns `None` if the number is
/// incomplete or has too many bytes.
#[inline(always)]
pub(crate) fn read_i64(input: &mut &[u8]) -> Option<i64> {
    if let [first, tail @ ..] = *input {
        if *first < 0x80 {
            *input = tail;
            return Some(unzigzag64(u64::from(*first)));
        }
        if let [second, tail @ ..] = tail
            && *second < 0x80
        {
            *input = tail;
            return Some(unzigzag64((u64::from(*second) << 7) | u64::from(*first & 0x7f)));
        }
    }
    read_long(input, MAX_BYTES_64).map(unzigzag64)
}

/// Reads a number of one or two bytes at `at`, before zig-zag, and returns it with the position
/// after it; `None` if it is longer.
///
/// The length of `input` is a power of two, so that its bounds need no check. The caller ensures
/// that the number lies within.
#[inline(always)]
pub(crate) fn short<const N: usize>(input: &[u8; N], at: usize) -> Option<(u32, usize)> {
    const { assert!(N.is_power_of_two()) };
    let mask = const { N.wrapping_sub(1) };
    let first = u32::from(*input.get(at & mask)?);
    if first < 0x80 {
        return Some((first, at.wrapping_add(1)));
    }
    let second = u32::from(*input.get(at.wrapping_add(1) & mask)?);
    (second < 0x80).then_some(((second << 7) | (first & 0x7f), at.wrapping_add(2)))
}

/// Reads a number of any length. Not inlined, so that the common short numbers stay fast.
#[inline(never)]
fn read_long(input: &mut &[u8], max_bytes: usize) -> Option<u64> {
    let mut value = 0u64;
    let mut shift = 0u32;
    for (at, &byte) in input.iter().take(max_bytes).enumerate() {
        value |= u64::from(byte & 0x7f).wrapping_shl(shift);
        if byte < 0x80 {
            *input = input.get(at.wrapping_add(1)..)?;
            return Some(value);
        }
        shift = shift.wrapping_add(7);
    }
    None
}

/// Appends an unsigned number to `output`.
pub(crate) fn write(output: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        output.push(value as u8 | 0x80);
        value >>= 7;
    }
    output.push(value as u8);
}

/// Writes an unsigned number into `output` at `at` and returns the position after it.
///
/// The length of `output` is a power of two, so that its bounds need no check. The caller ensures
/// that the number fits.
#[inline(always)]
pub(crate) fn put<const N: usize>(output: &mut [u8; N], mut at: usize, mut value: u64) -> usize {
    const { assert!(N.is_power_of_two()) };
    let mask = const { N.wrapping_sub(1) };
    while value >= 0x80 {
        if let Some(byte) = output.get_mut(at & mask) {
            *byte = value as u8 | 0x80;
        }
        value >>= 7;
        at = at.wrapping_add(1);
    }
    if let Some(byte) = output.get_mut(at & mask) {
        *byte = value as u8;
    }
    at.wrapping_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn known_numbers_encode_and_decode() {
        let text = include_str!("../../tests/vectors/varint.txt");
        let mut section = "";
        let mut checked = 0;
        for line in text.lines() {
            if let Some(title) = line.strip_prefix("# ") {
                section = title;
                continue;
            }
            let (number, bytes) = line.split_once('\t').unwrap();
            let bytes = unhex(bytes);
            let number: i64 = number.parse().unwrap();
            let mut rest = bytes.as_slice();
            if section.starts_with("signed 32") {
                assert_eq!(read_i32(&mut rest), Some(i32::try_from(number).unwrap()));
            } else if section.starts_with("signed 64") {
                assert_eq!(read_i64(&mut rest), Some(number));
            } else {
                assert_eq!(read_long(&mut rest, MAX_BYTES_32), Some(number as u64));
            }
            assert!(rest.is_empty());
            let unsigned =
                if section.starts_with("signed") { zigzag(number) } else { number as u64 };
            let mut written = Vec::new();
            write(&mut written, unsigned);
            assert_eq!(written, bytes);
            assert_eq!(size(unsigned), bytes.len());
            checked += 1;
        }
        assert!(checked >= 48, "{checked}");
    }

    #[test]
    fn read_rejects_too_long_or_truncated() {
        assert_eq!(read_i32(&mut &[0x80, 0x80, 0x80, 0x80, 0x80, 0x01][..]), None);
        assert_eq!(read_i32(&mut &[0x80, 0x80][..]), None);
        assert_eq!(read_i32(&mut &[][..]), None);
        assert_eq!(read_i64(&mut &[0xff; 11][..]), None);
        assert_eq!(read_i64(&mut &[0xff; 9][..]), None);
    }

    /// The short way reads numbers of one or two bytes as the general way does, and no others.
    #[test]
    fn short_numbers_are_read_alike() {
        for value in 0..70_000u64 {
            let mut bytes = [0u8; 8];
            let end = put(&mut bytes, 0, value);
            let found = short(&bytes, 0);
            assert_eq!(found, (end <= 2).then_some((value as u32, end)), "{value}");
            assert_eq!(read_i32(&mut &bytes[..end]), Some(unzigzag32(value as u32)), "{value}");
            assert_eq!(read_i64(&mut &bytes[..end]), Some(unzigzag64(value)), "{value}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(value: i64, shift in 0u32..64) {
            let value = value >> shift;
            let mut written = Vec::new();
            write(&mut written, zigzag(value));
            prop_assert_eq!(written.len(), size(zigzag(value)));
            let mut placed = [0u8; 32];
            let end = put(&mut placed, 3, zigzag(value));
            prop_assert_eq!(&placed[3..end], written.as_slice());
            let mut rest = written.as_slice();
            prop_assert_eq!(read_i64(&mut rest), Some(value));
            prop_assert!(rest.is_empty());
            if let Ok(value) = i32::try_from(value) {
                prop_assert_eq!(read_i32(&mut written.as_slice()), Some(value));
            }
        }
    }
}
