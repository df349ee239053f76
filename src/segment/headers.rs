//! Walking the batches of a log file by their headers alone.
//!
//! Checks of an index walk this way: they need the offsets and times of batches, not their
//! records. A header is believed here, so the caller decides what to do about one that is wrong.

use crate::error::InvalidBatch;
use crate::fs::File;
use crate::record::BatchHeader;
use std::io;

/// A walk over the headers of a file that is known to reach `end`.
#[derive(Debug)]
pub(crate) struct HeaderWalk<'a> {
    file: &'a dyn File,
    position: u64,
    end: u64,
    /// The header at the position, if the caller has read it before.
    known: Option<BatchHeader>,
}

/// One step of a walk.
#[derive(Debug)]
pub(crate) enum Walked {
    Batch {
        position: u64,
        header: BatchHeader,
    },
    End,
    /// The bytes are not the header of a batch that fits. The walk stays before them.
    Invalid(InvalidBatch),
}

impl<'a> HeaderWalk<'a> {
    /// Creates a walk from a position where a batch begins.
    #[inline]
    pub(crate) fn new(file: &'a dyn File, position: u64, end: u64) -> HeaderWalk<'a> {
        HeaderWalk { file, position, end, known: None }
    }

    /// Takes the first header from the caller, if there is one, instead of reading it again.
    #[inline]
    pub(crate) fn with_first(mut self, header: Option<BatchHeader>) -> HeaderWalk<'a> {
        self.known = header;
        self
    }

    /// Returns the position of the next step.
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Steps to the next header.
    #[inline]
    pub(crate) fn next(&mut self) -> io::Result<Walked> {
        let position = self.position;
        if position >= self.end {
            return Ok(Walked::End);
        }
        let header = match self.known.take() {
            Some(header) => header,
            None => match read_header(self.file, position, self.end)? {
                Ok(header) => header,
                Err(reason) => return Ok(Walked::Invalid(reason)),
            },
        };
        self.position = position.saturating_add(header.size_bytes() as u64);
        Ok(Walked::Batch { position, header })
    }
}

/// Reads the header of the batch at a position of a file that is known to reach `end`.
pub(crate) fn read_header(
    file: &dyn File,
    position: u64,
    end: u64,
) -> io::Result<Result<BatchHeader, InvalidBatch>> {
    let available = end.saturating_sub(position);
    let mut bytes = [0; BatchHeader::SIZE];
    let wanted = available.min(BatchHeader::SIZE as u64) as usize;
    let bytes = bytes.get_mut(..wanted).unwrap_or_default();
    file.read_exact_at(bytes, position)?;
    Ok(BatchHeader::parse(bytes).and_then(|header| {
        let needed = header.size_bytes() as u64;
        if needed > available {
            return Err(InvalidBatch::Truncated { needed, available });
        }
        Ok(header)
    }))
}
