//! Reading around damage: every sound batch of a log, from its files.
//!
//! Each gap is a warning on stderr that says what is missing, and the command ends with exit code 3.

use crate::dump::MAX_BATCH_BYTES;
use crate::failure::{Failure, warn};
use crate::verify::{segment_file, segments};
use annals::fs::DiskFs;
use annals::inspect::{self, BatchScanner, ScanItem, ScannedBatch};
use annals::record::RecordBatch;
use annals::{Error, Offset};
use std::collections::VecDeque;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// The sound batches of a log in the order of their offsets.
#[derive(Debug)]
pub struct Salvage {
    dir: PathBuf,
    segments: VecDeque<Offset>,
    current: Option<Segment>,
    /// BatchScanner below are not wanted, or were given.
    next: Offset,
    /// Whether damage is reported.
    tells: bool,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    batches: BatchScanner,
    /// The base offset of the next segment, which the batches of this one lie below.
    limit: Offset,
    /// A sound batch whose offset is not checked against the one after it yet.
    held: Option<ScannedBatch>,
}

impl Salvage {
    /// All that is sound at and above an offset.
    pub fn from(dir: &Path, next: Offset) -> Result<Salvage, Failure> {
        let segments: VecDeque<Offset> = segments(dir)?.into();
        Ok(Salvage { dir: dir.to_owned(), segments, current: None, next, tells: true })
    }

    /// Reports nothing: another pass over the same files does.
    pub fn quiet(mut self) -> Salvage {
        self.tells = false;
        self
    }

    /// The offset after the last batch that was given.
    pub fn offset(&self) -> Offset {
        self.next
    }

    /// The next sound batch that reaches to the wanted offset; `None` at the end.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>, Failure> {
        loop {
            if self.current.is_none() && !self.open_next()? {
                return Ok(None);
            }
            match self.next_sound()? {
                None => self.current = None,
                Some(found) if found.header.last_offset() < self.next => {}
                Some(found) => {
                    self.next = found.header.next_offset();
                    let Some(segment) = &self.current else { continue };
                    match segment.batches.read(&found, MAX_BATCH_BYTES) {
                        Ok(batch) => return Ok(Some(batch)),
                        Err(error @ Error::BatchTooLarge { .. }) => {
                            self.gap(found.position, &error.to_string());
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
    }

    fn open_next(&mut self) -> Result<bool, Failure> {
        while let Some(base) = self.segments.pop_front() {
            let limit = self.segments.front().copied().unwrap_or(Offset::MAX);
            if limit <= self.next {
                continue;
            }
            let path = segment_file(&self.dir, base, "log");
            let batches = BatchScanner::open(&DiskFs, &path)?;
            self.current = Some(Segment { path, batches, limit, held: None });
            return Ok(true);
        }
        Ok(false)
    }

    /// The next batch of the segment whose checksum and offsets are right.
    fn next_sound(&mut self) -> Result<Option<ScannedBatch>, Failure> {
        loop {
            let Some(segment) = &mut self.current else { return Ok(None) };
            let Some(piece) = segment.batches.next().transpose()? else {
                return Ok(segment.held.take());
            };
            let found = match piece {
                ScanItem::Damaged(gap) => {
                    let what = format!("{} bytes cannot be read: {}", gap.bytes, gap.reason);
                    self.gap(gap.position, &what);
                    continue;
                }
                ScanItem::Batch(found) => found,
            };
            let (first, last) = (found.header.base_offset, found.header.last_offset());
            if let Err(reason) = found.checksum {
                self.gap(
                    found.position,
                    &format!("the batch of offsets {first} to {last}: {reason}"),
                );
                continue;
            }
            // No checksum covers a base offset: of two that contradict each other, the one that fits its surroundings is right.
            let after = segment.held.map_or(0, |held| held.header.next_offset());
            if first < after && segment.held.is_some_and(|held| first > held.header.base_offset)
                || last >= segment.limit
            {
                self.gap(
                    found.position,
                    &format!("its offsets, {first} to {last}, cannot be right"),
                );
                continue;
            }
            let given = segment.held.replace(found);
            match given {
                None => {}
                Some(held) if held.header.base_offset < first => return Ok(Some(held)),
                Some(held) => {
                    let (first, last) = (held.header.base_offset, held.header.last_offset());
                    let what = format!("its offsets, {first} to {last}, cannot be right");
                    self.gap(held.position, &what);
                }
            }
        }
    }

    fn gap(&self, position: u64, what: &dyn Display) {
        if let (Some(segment), true) = (&self.current, self.tells) {
            warn(&format!("{} at byte {position}: {what}", segment.path.display()));
        }
    }
}

/// Where a log starts, as far as a checkpoint beside it, or beside its directory, says so.
pub fn start_of(dir: &Path) -> Offset {
    const FILE: &str = "log-start-offset-checkpoint";
    if let Ok([own]) = inspect::offset_checkpoint(&DiskFs, &dir.join(FILE)).as_deref() {
        return own.offset;
    }
    let beside = dir.parent().map(|parent| inspect::offset_checkpoint(&DiskFs, &parent.join(FILE)));
    let lines = beside.and_then(Result::ok).unwrap_or_default();
    let name = dir.file_name().map(|name| name.to_string_lossy().into_owned());
    let ours = lines
        .iter()
        .find(|line| name.as_deref() == Some(&format!("{}-{}", line.topic, line.partition)));
    ours.map_or(0, |line| line.offset)
}
