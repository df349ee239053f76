//! Going through the batches of a log in order, across segments, without a lock.

use crate::error::{Damage, Error, Result};
use crate::event::Event;
use crate::log::shared::Shared;
use crate::log::view::View;
use crate::record::{BatchHeader, BatchRef};
use crate::segment::Segment;
use crate::segment::name::Kind;
use crate::segment::scan::{BUFFER_BYTES, BatchStream, Step};
use crate::types::Offset;
use std::io;
use std::sync::Arc;

/// A place in the log, and what has been read ahead from there.
///
/// It holds a view of the segments and goes on in it until it has read it to its
/// end. If anything was truncated or compacted since, what was read ahead is thrown away and the place is
/// looked up again: so nobody sees a mixture of what was there before and after.
///
/// On a read-only log a truncation is found out only by looking at the files: after each read of a file, and with
/// the batch that was returned last. If that is gone, the reader has returned records that
/// were truncated, and does not go on with those of another history.
#[derive(Debug)]
pub(crate) struct Cursor {
    shared: Arc<Shared>,
    /// `None` at the end of the log: a reader that waits there keeps no deleted segment but its own.
    view: Option<Arc<View>>,
    generation: u64,
    revision: u64,
    /// The segment being read, by its number in the view. `None` before the first read and after a revision.
    at: Option<Place>,
    /// The next offset to be read.
    next: Offset,
    /// How much is read at a time.
    read_ahead: usize,
    /// The memory of the last place, for the next one.
    spare: Vec<u8>,
    trail: Trail,
}

/// What a cursor has read of a log that another process may truncate.
#[derive(Debug, Default)]
struct Trail {
    /// How many truncations had been noticed when `found` was read.
    truncations: u64,
    /// The batch found last, and the one before it.
    found: Option<BatchHeader>,
    passed: Option<BatchHeader>,
}

impl Trail {
    fn push(&mut self, header: BatchHeader, next: Offset) {
        self.passed = self.last_read(next);
        self.found = Some(header);
    }

    /// The last batch below an offset.
    fn last_read(&self, next: Offset) -> Option<BatchHeader> {
        self.found.filter(|found| found.base_offset < next).or(self.passed)
    }
}

#[derive(Debug)]
struct Place {
    /// The number in the view of the segment after it.
    after: usize,
    segment: Arc<Segment>,
    stream: BatchStream,
}

impl Cursor {
    pub(crate) fn new(shared: Arc<Shared>, next: Offset) -> Cursor {
        // The counters first: a view that is newer than they say is looked up once more, no harm done.
        let revision = shared.revision();
        let generation = shared.generation();
        let view = Some(shared.view());
        let trail = Trail { truncations: shared.truncations(), ..Trail::default() };
        let (read_ahead, spare) = (BUFFER_BYTES, Vec::new());
        Cursor { shared, view, generation, revision, at: None, next, read_ahead, spare, trail }
    }

    /// Reads at most this much at a time, but for batches that are larger.
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

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The next offset to be read.
    pub(crate) fn offset(&self) -> Offset {
        self.next
    }

    /// The revision of the log that what was read is of.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether the log was truncated or compacted since the last batch was read.
    pub(crate) fn is_outdated(&self) -> bool {
        self.shared.revised_since(self.revision)
    }

    /// Fails when the log is closed, or the next offset not in it.
    pub(crate) fn check(&self) -> Result<()> {
        self.shared.check_readable()?;
        self.shared.check_range(self.next)
    }

    /// Goes to an offset, which the next read looks up.
    pub(crate) fn seek(&mut self, offset: Offset) {
        self.next = offset;
        self.leave();
        (self.trail.found, self.trail.passed) = (None, None);
    }

    /// Takes the offsets up to here as read.
    pub(crate) fn pass(&mut self, next: Offset) {
        self.next = self.next.max(next);
    }

    fn refresh_view(&mut self) {
        let revision = self.shared.revision();
        if revision != self.revision {
            self.revision = revision;
            self.leave();
        }
        let generation = self.shared.generation();
        if generation != self.generation || self.view.is_none() {
            self.generation = generation;
            let view = self.shared.view();
            if let Some(place) = &mut self.at {
                place.after = view.after(place.segment.base);
            }
            self.view = Some(view);
        }
    }

    /// Steps to the batch that holds the next offset, or the first one after it; `None` at the end of the log.
    ///
    /// The batch is [`batch`](Cursor::batch) until the next step.
    pub(crate) fn advance(&mut self) -> Result<Option<BatchHeader>> {
        loop {
            self.shared.check_readable()?;
            if self.view.is_none() || self.shared.revised_since(self.revision) {
                self.refresh_view();
            }
            if self.at.is_none() {
                self.refresh_view();
                self.shared.check_range(self.next)?;
                let placed = self.check_trail().and_then(|()| self.place());
                // What was not found may have been truncated away: then the view is old.
                if self.shared.revised_since(self.revision) {
                    self.leave();
                    continue;
                }
                let found = match placed {
                    Ok(found) => found,
                    Err(error) => match self.unless_revised(error) {
                        Some(error) => return Err(error),
                        None => continue,
                    },
                };
                if !found {
                    if self.more_was_written()? {
                        continue;
                    }
                    self.view = None;
                    return Ok(None);
                }
            }
            let result = self.step();
            if self.shared.revised_since(self.revision) {
                self.leave();
                continue;
            }
            match result {
                Ok(Stepped::Batch(header)) if header.last_offset() < self.next => continue,
                Ok(Stepped::Batch(header)) => {
                    if self.shared.is_read_only() {
                        self.trail.push(header, self.next);
                    }
                    return Ok(Some(header));
                }
                Ok(Stepped::NextSegment) => continue,
                Ok(Stepped::End) if self.more_was_written()? => continue,
                Ok(Stepped::End) => {
                    self.view = None;
                    return Ok(None);
                }
                Err(error) => {
                    let Some(error) = self.unless_revised(error) else { continue };
                    if let Error::Corrupt(corruption) = &error {
                        self.shared.emit(&Event::Damaged((**corruption).clone()));
                    }
                    return Err(error);
                }
            }
        }
    }

    /// The error, unless it came of what was truncated, compacted or deleted meanwhile: then the place is left.
    fn unless_revised(&mut self, error: Error) -> Option<Error> {
        let error = self.explain(error);
        // A file may be missing that the next view does not need.
        let outdated = self.is_outdated()
            || (error.is_not_found() && self.shared.generation() != self.generation);
        if outdated {
            self.leave();
        }
        (!outdated).then_some(error)
    }

    /// On a read-only log, fails when the batch that was returned last was truncated.
    fn check_trail(&mut self) -> Result<()> {
        let truncations = self.shared.truncations();
        if truncations == self.trail.truncations {
            return Ok(());
        }
        if let (Some(read), Some(view)) = (self.trail.last_read(self.next), &self.view) {
            let index = view.find(read.base_offset);
            let limit = view.limit(index, self.shared.end());
            let segment = view.segments.get(index);
            let now = segment.map_or(Ok(None), |s| s.header_at(read.base_offset, limit));
            if now.is_err() {
                self.shared.refresh()?;
            }
            // Nothing can be said of a batch that was deleted since.
            let (start, end) = (self.shared.start(), self.shared.end().min(read.base_offset));
            if read.last_offset() >= start && now? != Some(read) {
                return Err(self.shared.outside(self.next, start, end));
            }
        }
        self.trail.truncations = truncations;
        Ok(())
    }

    /// The batch the last step found.
    pub(crate) fn batch(&self) -> Option<BatchRef<'_>> {
        self.at.as_ref()?.stream.batch()
    }

    /// Why the next offset cannot be read: that it was deleted, if it was. On a read-only log this is where it is found out
    /// that its writer has cut or compacted it.
    fn explain(&self, error: Error) -> Error {
        match self.shared.refresh() {
            Ok(()) => self.shared.unless_deleted(self.next, error),
            Err(_) => error,
        }
    }

    /// On a read-only log, looks whether its writer has added anything.
    fn more_was_written(&self) -> Result<bool> {
        if !self.shared.is_read_only() {
            return Ok(false);
        }
        let before = (self.shared.end(), self.shared.generation());
        self.shared.refresh()?;
        Ok((self.shared.end(), self.shared.generation()) != before)
    }

    /// Looks up the next offset; false when there is nothing at or after it.
    fn place(&mut self) -> Result<bool> {
        let end = self.shared.end();
        if self.next >= end {
            return Ok(false);
        }
        let Some(view) = &self.view else { return Ok(false) };
        let mut index = view.find(self.next);
        while let Some(segment) = view.segments.get(index) {
            let limit = view.limit(index, end);
            let located = segment.locate(self.next, limit)?;
            if let Some(located) = located {
                self.at = Some(Place {
                    after: index.saturating_add(1),
                    stream: BatchStream::new(segment.file()?, located.position, located.lowest)
                        .with_buffer(std::mem::take(&mut self.spare), self.read_ahead),
                    segment: Arc::clone(segment),
                });
                return Ok(true);
            }
            index = index.saturating_add(1);
        }
        Ok(false)
    }

    fn step(&mut self) -> Result<Stepped> {
        let (Some(place), Some(view)) = (&mut self.at, &self.view) else {
            return Ok(Stepped::End);
        };
        let bytes = place.segment.published();
        let mut limit = view.begin_of(place.after, self.shared.end());
        let fills = place.stream.fills();
        loop {
            let step = place.stream.advance(bytes, limit);
            if place.stream.fills() != fills {
                self.shared.recheck()?;
            }
            return match step {
                Ok(Step::Batch(header)) => Ok(Stepped::Batch(header)),
                Ok(Step::End) => self.step_segment(),
                Ok(Step::Damaged(damage @ Damage::OffsetsBeyondNext { limit: at, .. }))
                    if at == limit && self.shared.settled_end() > at =>
                {
                    // The batch was published a moment before the end of the log was. Where the
                    // limit is the base of the next segment, it stays, and this is damage.
                    limit = view.begin_of(place.after, self.shared.end());
                    if limit == at {
                        return Err(place.damage(damage));
                    }
                    continue;
                }
                Ok(Step::Damaged(damage)) => Err(place.damage(damage)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    let found = place.stream.position();
                    Err(place.damage(Damage::ShortFile { expected: bytes, found }))
                }
                Err(error) => Err(Error::io("read", &place.segment.path(Kind::Log), error)),
            };
        }
    }

    /// Goes on to the next segment, if there is one.
    fn step_segment(&mut self) -> Result<Stepped> {
        self.refresh_view();
        let (Some(place), Some(view)) = (&mut self.at, &self.view) else {
            return Ok(Stepped::NextSegment);
        };
        let here = place.after.checked_sub(1).and_then(|n| view.segments.get(n));
        // Another one in its place may have grown before it was closed, or hold what others held that are gone.
        if !here.is_some_and(|here| Arc::ptr_eq(here, &place.segment)) {
            self.leave();
            return Ok(Stepped::NextSegment);
        }
        // What follows may have been deleted: then the next there is lies behind a gap.
        self.shared.check_range(self.next)?;
        let Some(next) = view.segments.get(place.after) else { return Ok(Stepped::End) };
        place.after = place.after.saturating_add(1);
        place.segment = Arc::clone(next);
        let lowest = place.stream.lowest().max(next.base);
        place.stream.seek(next.file()?, 0, lowest);
        Ok(Stepped::NextSegment)
    }
}

enum Stepped {
    Batch(BatchHeader),
    NextSegment,
    End,
}

impl Place {
    fn damage(&self, damage: Damage) -> Error {
        self.segment.corrupt(self.stream.position(), Some(self.stream.lowest()), damage)
    }
}
