//! Going through the batches of a log in order, across segments, without a lock.

use crate::error::{CorruptionKind, Error, Result};
use crate::event::Event;
use crate::log::inner::LogInner;
use crate::log::read::survey::LOOKS;
use crate::log::state::follower::anchor::LastBatches;
use crate::log::state::segment_list::SegmentList;
use crate::record::{BatchHeader, BatchRef};
use crate::segment::Segment;
use crate::segment::name::Kind;
use crate::segment::scan::{BUFFER_BYTES, BatchStream, Step};
use crate::types::{Offset, StartAt};
use std::io;
use std::sync::Arc;

/// A place in the log, and what has been read ahead from there.
///
/// A cursor holds the segment that it is in, and no other: it looks at the list of segments to go
/// on to the next one, and does not keep the list. If anything was truncated or compacted since,
/// the cursor drops what it has read ahead and looks up its place again. So no reader sees a
/// mixture of the log before and after.
///
/// On a read-only log, only a look at the files shows a truncation. The cursor looks after each
/// read of a file. If the log was truncated, it compares the batches that it returned last with
/// the log. If one of them is gone, the cursor has returned records that were truncated: it fails,
/// and does not continue with the records of another history.
#[derive(Debug)]
pub(crate) struct Cursor {
    log: Arc<LogInner>,
    /// The generation of the list of segments, loaded before the last look at it.
    generation: u64,
    revision: u64,
    /// The segment being read. `None` before the first read, after a revision, and once the log is
    /// closed.
    at: Option<SegmentPlace>,
    /// The next offset to be read.
    next: Offset,
    /// The number of bytes to read at a time.
    read_ahead: usize,
    /// The memory of the last place, for the next one.
    spare: Vec<u8>,
    trail: Trail,
}

/// The last batches that a cursor has read of a log that another process may truncate.
#[derive(Debug, Default)]
struct Trail {
    /// How many truncations had been noticed when `found` was read.
    truncations: u64,
    /// The last batches that were read. The reader may not have passed the newest of them yet.
    found: LastBatches<BatchHeader>,
    /// The last batches that the reader had passed when the newest of `found` was read.
    passed: LastBatches<BatchHeader>,
}

impl Trail {
    fn push(&mut self, header: BatchHeader, next: Offset) {
        if self.has_passed_found(next) {
            self.passed = std::mem::take(&mut self.found);
        }
        self.found = self.passed.clone();
        self.found.push(&header, header);
    }

    fn has_passed_found(&self, next: Offset) -> bool {
        self.found.last().is_some_and(|last| last.base_offset < next)
    }

    /// Returns the last batches below an offset.
    fn last_read(&self, next: Offset) -> &LastBatches<BatchHeader> {
        if self.has_passed_found(next) { &self.found } else { &self.passed }
    }
}

#[derive(Debug)]
struct SegmentPlace {
    segment: Arc<Segment>,
    /// The base of the next segment, which only a revision changes. `None` in the last segment.
    next_base: Option<Offset>,
    stream: BatchStream,
}

impl Cursor {
    pub(crate) fn new(log: Arc<LogInner>, next: Offset) -> Cursor {
        let revision = log.state.revision();
        let generation = log.state.generation();
        let trail = Trail { truncations: log.truncations(), ..Trail::default() };
        let (read_ahead, spare) = (BUFFER_BYTES, Vec::new());
        Cursor { log, generation, revision, at: None, next, read_ahead, spare, trail }
    }

    /// Reads at most this much at a time, except for larger batches.
    pub(crate) fn reading_ahead(mut self, bytes: usize) -> Cursor {
        self.read_ahead = bytes.min(BUFFER_BYTES);
        self
    }

    /// Leaves the place, keeping its memory. The next step looks it up again.
    pub(crate) fn leave(&mut self) {
        if let Some(place) = self.at.take() {
            self.spare = place.stream.into_buffer();
        }
    }

    /// Leaves the place if the list of segments has changed. The segment may have been deleted,
    /// and would keep its room on disk until the next read.
    pub(crate) fn leave_if_changed(&mut self) {
        if self.check_open().is_ok() && self.log.state.generation() != self.generation {
            self.leave();
        }
    }

    /// Fails when the log is closed, and releases the segment then.
    fn check_open(&mut self) -> Result<()> {
        self.log.state.check_readable().inspect_err(|_| {
            self.at = None;
            self.spare = Vec::new();
        })
    }

    pub(crate) fn log(&self) -> &Arc<LogInner> {
        &self.log
    }

    /// Returns the next offset to be read.
    pub(crate) fn offset(&self) -> Offset {
        self.next
    }

    /// Returns the revision of the log that the cursor has read.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns whether the log was truncated or compacted since the last batch was read.
    pub(crate) fn is_outdated(&self) -> bool {
        self.log.state.revised_since(self.revision)
    }

    /// Fails when the log is closed, or the next offset is not in it.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.check_open()?;
        self.log.state.check_range(self.next)
    }

    /// Returns the offset that a start means.
    pub(crate) fn resolve(&mut self, start: StartAt) -> Result<Offset> {
        self.check_open()?;
        self.log.resolve(start)
    }

    /// Goes to an offset, which the next read looks up.
    pub(crate) fn seek(&mut self, offset: Offset) {
        self.next = offset;
        self.leave();
        (self.trail.found, self.trail.passed) = Default::default();
    }

    /// Counts the offsets up to here as read.
    pub(crate) fn pass(&mut self, next: Offset) {
        self.next = self.next.max(next);
    }

    /// Leaves the place if anything was truncated or compacted.
    fn note_revision(&mut self) {
        let revision = self.log.state.revision();
        if revision != self.revision {
            self.revision = revision;
            self.leave();
        }
    }

    /// Returns the list of segments. Drop it before the cursor waits.
    fn look(&mut self) -> Result<Arc<SegmentList>> {
        // Load the counters first: if the list is newer than they say, it is only looked up once
        // more.
        self.note_revision();
        self.generation = self.log.state.generation();
        self.log.state.segments()
    }

    /// Steps to the batch that holds the next offset, or the first one after it; `None` at the end
    /// of the log.
    ///
    /// [`batch`](Cursor::batch) returns the batch until the next step.
    pub(crate) fn advance(&mut self) -> Result<Option<BatchHeader>> {
        let mut looks = 1;
        loop {
            self.check_open()?;
            if self.log.state.revised_since(self.revision) {
                self.note_revision();
            }
            if self.at.is_none() {
                let placed = {
                    let list = self.look()?;
                    // Load the start after the list: a deletion moves the start before it
                    // publishes the list without the deleted segments.
                    self.log.state.check_range(self.next)?;
                    let checked = self.check_trail(&list);
                    checked.and_then(|truncations| Ok((truncations, self.place(&list)?)))
                };
                // An offset that was not found may have been truncated, and the list may be old.
                if self.log.state.revised_since(self.revision) {
                    self.leave();
                    continue;
                }
                let found = match placed {
                    // Without a revision, the list is not older than this count.
                    Ok((truncations, found)) => {
                        self.trail.truncations = truncations;
                        found
                    }
                    Err(error) => match self.unless_changed(error, &mut looks) {
                        Some(error) => return Err(error),
                        None => continue,
                    },
                };
                if !found {
                    if self.more_was_written()? {
                        continue;
                    }
                    return Ok(None);
                }
            }
            let result = self.step();
            if self.log.state.revised_since(self.revision) {
                self.leave();
                continue;
            }
            match result {
                Ok(Stepped::Batch(header)) if header.last_offset() < self.next => continue,
                Ok(Stepped::Batch(header)) => {
                    if self.log.state.is_read_only() {
                        self.trail.push(header, self.next);
                    }
                    return Ok(Some(header));
                }
                Ok(Stepped::NextSegment) => continue,
                Ok(Stepped::End) if self.more_was_written()? => continue,
                Ok(Stepped::End) => return Ok(None),
                Err(error) => {
                    let Some(error) = self.unless_changed(error, &mut looks) else { continue };
                    if let Error::Corrupt(corruption) = &error {
                        self.log.emit(&Event::CorruptionFound((**corruption).clone()));
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Returns the error, unless a truncation, a compaction or a deletion caused it. Then the
    /// cursor leaves its place.
    fn unless_revised(&mut self, error: Error) -> Option<Error> {
        let error = self.explain(error);
        // The missing file may not be in the next list.
        let outdated = self.is_outdated()
            || (error.is_not_found() && self.log.state.generation() != self.generation);
        if outdated {
            self.leave();
        }
        (!outdated).then_some(error)
    }

    /// Returns the error, unless the writer of a read-only log may have caused it: the file may
    /// have been another for a moment, and then it only looks damaged. `looks` counts the reads.
    fn unless_changed(&mut self, error: Error, looks: &mut usize) -> Option<Error> {
        let error = self.unless_revised(error)?;
        let is_believed = *looks >= LOOKS || !self.log.state.is_read_only();
        if is_believed || !matches!(error, Error::Corrupt(_)) {
            return Some(error);
        }
        *looks = looks.saturating_add(1);
        self.leave();
        None
    }

    /// On a read-only log, fails when a batch that was returned last was truncated. Returns how
    /// many truncations have been noticed.
    fn check_trail(&self, list: &SegmentList) -> Result<u64> {
        let truncations = self.log.truncations();
        if truncations == self.trail.truncations {
            return Ok(truncations);
        }
        for &read in self.trail.last_read(self.next).iter() {
            let index = list.find(read.base_offset);
            let limit = list.limit(index, self.log.state.end());
            let segment = list.segments.get(index);
            let now = segment.map_or(Ok(None), |s| s.header_at(read.base_offset, limit));
            if now.is_err() {
                self.log.refresh()?;
            }
            // A batch that was deleted since cannot be checked.
            let (start, end) = (self.log.state.start(), self.log.state.end().min(read.base_offset));
            if read.last_offset() >= start && now? != Some(read) {
                return Err(self.log.state.outside(self.next, start, end));
            }
        }
        Ok(truncations)
    }

    /// Returns the batch the last step found.
    pub(crate) fn batch(&self) -> Option<BatchRef<'_>> {
        self.at.as_ref()?.stream.batch()
    }

    /// Returns why the next offset cannot be read: it may have been deleted. On a read-only log,
    /// this also looks for truncations and compactions by its writer.
    fn explain(&self, error: Error) -> Error {
        match self.log.refresh() {
            Ok(()) => self.log.state.unless_deleted(self.next, error),
            Err(_) => self.log.state.unless_closed(error),
        }
    }

    /// On a read-only log, looks whether its writer has added anything.
    fn more_was_written(&self) -> Result<bool> {
        if !self.log.state.is_read_only() {
            return Ok(false);
        }
        let before = (self.log.state.end(), self.log.state.generation());
        self.log.refresh()?;
        Ok((self.log.state.end(), self.log.state.generation()) != before)
    }

    /// Looks up the next offset. Returns false if there is nothing at or after it.
    fn place(&mut self, list: &SegmentList) -> Result<bool> {
        let end = self.log.state.end();
        if self.next >= end {
            return Ok(false);
        }
        let mut index = list.find(self.next);
        while let Some(segment) = list.segments.get(index) {
            let limit = list.limit(index, end);
            let located = segment.locate(self.next, limit)?;
            if let Some(located) = located {
                let stream = BatchStream::new(segment.file()?, located.position, located.lowest)
                    .with_buffer(std::mem::take(&mut self.spare), self.read_ahead);
                let next_base = list.base_after(index);
                self.at = Some(SegmentPlace { segment: Arc::clone(segment), next_base, stream });
                return Ok(true);
            }
            index = index.saturating_add(1);
        }
        Ok(false)
    }

    fn step(&mut self) -> Result<Stepped> {
        let Some(place) = &mut self.at else { return Ok(Stepped::End) };
        let bytes = place.segment.published();
        let mut limit = place.limit(&self.log);
        let fills = place.stream.fills();
        loop {
            let step = place.stream.advance(bytes, limit);
            if place.stream.fills() != fills {
                self.log.recheck()?;
            }
            return match step {
                Ok(Step::Batch(header)) => Ok(Stepped::Batch(header)),
                Ok(Step::End) => self.step_segment(),
                Ok(Step::Damaged(
                    damage @ CorruptionKind::OffsetsOverlapNext { limit: at, .. },
                )) if at == limit && self.log.end_after_current_append() > at => {
                    // The batch was published a moment before the end of the log was. If the limit
                    // is the base of the next segment, it does not move, and this is damage.
                    limit = place.limit(&self.log);
                    if limit == at {
                        return Err(place.damage(damage));
                    }
                    continue;
                }
                Ok(Step::Damaged(damage)) => Err(place.damage(damage)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    let found = place.stream.position();
                    Err(place.damage(CorruptionKind::FileTruncated { expected: bytes, found }))
                }
                Err(error) => Err(Error::io("read", &place.segment.path(Kind::Log), error)),
            };
        }
    }

    /// Goes on to the next segment, if there is one.
    fn step_segment(&mut self) -> Result<Stepped> {
        let is_last = self.at.as_ref().is_some_and(|place| place.next_base.is_none());
        if is_last && self.log.state.generation() == self.generation {
            self.log.state.check_range(self.next)?;
            return Ok(Stepped::End);
        }
        let list = self.look()?;
        let Some(place) = &mut self.at else { return Ok(Stepped::NextSegment) };
        let index = list.find(place.segment.base);
        let here = list.segments.get(index);
        // The list may have another segment in this place: the closed form of this one, which may
        // have grown, or a compacted one, which also holds the records of removed segments.
        if !here.is_some_and(|here| Arc::ptr_eq(here, &place.segment)) {
            self.leave();
            return Ok(Stepped::NextSegment);
        }
        // The next records may have been deleted: then the next segment lies after a gap.
        self.log.state.check_range(self.next)?;
        let behind = index.saturating_add(1);
        let Some(next) = list.segments.get(behind) else {
            place.next_base = None;
            return Ok(Stepped::End);
        };
        // If it cannot be opened, the place stays as it is.
        let file = next.file()?;
        let lowest = place.stream.lowest().max(next.base);
        place.stream.seek(file, 0, lowest);
        (place.segment, place.next_base) = (Arc::clone(next), list.base_after(behind));
        Ok(Stepped::NextSegment)
    }
}

enum Stepped {
    Batch(BatchHeader),
    NextSegment,
    End,
}

impl SegmentPlace {
    /// Returns the limit of the segment's offsets.
    fn limit(&self, log: &LogInner) -> Offset {
        self.next_base.unwrap_or_else(|| log.state.end())
    }

    fn damage(&self, damage: CorruptionKind) -> Error {
        self.segment.corrupt(self.stream.position(), Some(self.stream.lowest()), damage)
    }
}
