//! Open files and locks of a [`FaultFs`](super::FaultFs).

use super::faults::Faults;
use super::operation::{Call, Operation};
use super::rule::Effect;
use crate::fs::{DirLock, File, FileView};
use crate::types::Timestamp;
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// An open file of [`FaultFs`](super::FaultFs), over an open file or a lock.
#[derive(Debug)]
pub(super) struct FaultFile<F> {
    pub(super) inner: F,
    pub(super) path: Arc<Path>,
    pub(super) faults: Arc<Faults>,
}

/// The file that a [`FaultFile`] wraps.
pub(super) trait Inner: Send + Sync + Debug {
    fn file(&self) -> &dyn File;
}

impl Inner for Arc<dyn File> {
    fn file(&self) -> &dyn File {
        &**self
    }
}

impl Inner for Box<dyn DirLock> {
    fn file(&self) -> &dyn File {
        (**self).file()
    }
}

impl<F> FaultFile<F> {
    fn call(&self, operation: Operation, at: u64, len: u64) -> Call {
        Call { at, len, ..Call::new(operation, Arc::clone(&self.path)) }
    }
}

impl<F: Inner> File for FaultFile<F> {
    fn len(&self) -> io::Result<u64> {
        self.faults.pass(self.call(Operation::Len, 0, 0), |_| self.inner.file().len())
    }

    fn next_data(&self, at: u64) -> io::Result<u64> {
        self.inner.file().next_data(at)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let call = self.call(Operation::Read, at, buf.len() as u64);
        self.faults.pass(call, |effect| {
            let limit = match effect {
                Some(Effect::ShortIo(bytes)) => bytes.min(buf.len()),
                _ => buf.len(),
            };
            let buf = buf.get_mut(..limit).unwrap_or_default();
            let done = self.inner.file().read_at(buf, at)?;
            if let Some(Effect::FlipBit(bit)) = effect {
                flip_bit(buf.get_mut(..done).unwrap_or_default(), bit);
            }
            Ok(done)
        })
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        let call = self.call(Operation::Write, at, buf.len() as u64);
        self.faults.pass(call, |effect| match effect {
            Some(Effect::IgnoreSilently) => Ok(buf.len()),
            Some(Effect::ShortIo(bytes)) => {
                self.inner.file().write_at(buf.get(..bytes).unwrap_or(buf), at)
            }
            Some(Effect::PartialWrite(bytes, failure)) => {
                self.inner.file().write_all_at(buf.get(..bytes).unwrap_or(buf), at)?;
                Err(failure.into())
            }
            _ => self.inner.file().write_at(buf, at),
        })
    }

    fn modified(&self) -> io::Result<Option<Timestamp>> {
        self.inner.file().modified()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let call = self.call(Operation::SetLen, 0, len);
        self.faults.pass_unit(call, || self.inner.file().set_len(len))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let call = self.call(Operation::Allocate, 0, len);
        self.faults.pass_unit(call, || self.inner.file().allocate(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        let call = self.call(Operation::SyncData, 0, 0);
        self.faults.pass_unit(call, || self.inner.file().sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        let call = self.call(Operation::SyncAll, 0, 0);
        self.faults.pass_unit(call, || self.inner.file().sync_all())
    }

    fn view(&self, len: u64) -> io::Result<FileView> {
        self.faults.pass(self.call(Operation::View, 0, len), |effect| {
            let view = self.inner.file().view(len)?;
            let Some(Effect::FlipBit(bit)) = effect else { return Ok(view) };
            let mut bytes = view.to_vec();
            flip_bit(&mut bytes, bit);
            Ok(FileView::from_vec(bytes))
        })
    }
}

fn flip_bit(bytes: &mut [u8], bit: u64) {
    let bit = bit.checked_rem(bytes.len() as u64 * 8).unwrap_or(0);
    let byte = usize::try_from(bit / 8).ok().and_then(|index| bytes.get_mut(index));
    if let Some(byte) = byte {
        *byte ^= 1 << (bit % 8);
    }
}

/// A lock of [`FaultFs`](super::FaultFs).
#[derive(Debug)]
pub(super) struct FaultLock {
    pub(super) file: FaultFile<Box<dyn DirLock>>,
}

impl DirLock for FaultLock {
    fn file(&self) -> &dyn File {
        &self.file
    }
}
