//! The file systems: one suite that all three pass, then what is special to each.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod contract;
mod crash;
mod disk;
mod fault;
mod mapped;
mod memory;

use annals::fs::{Fs, OpenMode};
use std::io;
use std::path::Path;

/// All bytes of a file.
fn read(fs: &dyn Fs, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let file = fs.open(path.as_ref(), OpenMode::ReadOnly)?;
    let mut bytes = vec![0xAA; usize::try_from(file.len()?).unwrap()];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// The kind of error a call must end in.
#[track_caller]
fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
    match result {
        Ok(_) => panic!("the call succeeded"),
        Err(error) => error.kind(),
    }
}

/// Compares long runs of bytes without printing them.
#[track_caller]
fn same(actual: &[u8], expected: &[u8]) {
    let differs = actual.iter().zip(expected).position(|(one, other)| one != other);
    assert_eq!((actual.len(), differs), (expected.len(), None), "lengths; first difference");
}
