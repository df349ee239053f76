//! Reading past damage: every sound batch of a log, from its files.
//!
//! Each gap is a warning on stderr that names what is missing, and the command ends with exit code
//! 3.

use crate::dump::MAX_BATCH_BYTES;
use crate::failure::{Failure, warn};
use crate::output::counted;
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
    /// Batches below this offset were returned already, or are not wanted.
    next: Offset,
    /// Whether damage is reported.
    tells: bool,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    batches: BatchScanner,
    /// The base offset of the next segment; all batches of this one lie below it.
    limit: Offset,
    /// A sound batch whose offset is not yet compared with that of the next batch.
    held: Option<ScannedBatch>,
}

impl Salvage {
    /// Returns the sound batches at and above an offset.
    pub fn from(dir: &Path, next: Offset) -> Result<Salvage, Failure> {
        let segments: VecDeque<Offset> = segments(dir)?.into();
        Ok(Salvage { dir: dir.to_owned(), segments, current: None, next, tells: true })
    }

    /// Turns the warnings off, for a second pass over the same files.
    pub fn quiet(mut self) -> Salvage {
        self.tells = false;
        self
    }

    /// Returns the offset after the last returned batch.
    pub fn offset(&self) -> Offset {
        self.next
    }

    /// Returns the next sound batch that reaches the wanted offset, or `None` at the end.
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

    /// Returns the next batch of the segment with a valid checksum and valid offsets.
    fn next_sound(&mut self) -> Result<Option<ScannedBatch>, Failure> {
        loop {
            let Some(segment) = &mut self.current else { return Ok(None) };
            let Some(piece) = segment.batches.next().transpose()? else {
                return Ok(segment.held.take());
            };
            let found = match piece {
                ScanItem::Damaged(gap) => {
                    let what =
                        format!("cannot read {}: {}", counted(gap.bytes, "byte"), gap.reason);
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
            // No checksum covers a base offset. If two of them contradict each other, the one that
            // fits its neighbours is right.
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

/// Returns the start of a log, by a checkpoint in its directory or in the one above; 0 without
/// one.
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
