//! Taking fixed fields off the front of bytes.

/// Takes `N` bytes off the front of `input`. If there are fewer, returns `None` and leaves `input`
/// unchanged.
pub(crate) fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = input.split_first_chunk::<N>()?;
    *input = tail;
    Some(*head)
}

/// Takes `count` bytes off the front of `input`. If there are fewer, returns `None` and leaves
/// `input` unchanged.
#[allow(dead_code, reason = "unused in a build without codecs")]
pub(crate) fn take_slice<'a>(input: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, tail) = input.split_at_checked(count)?;
    *input = tail;
    Some(head)
}
