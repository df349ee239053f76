//! One segment: a `.log` of batches, and its two indexes.
//!
//! All readers share a [`Segment`]. Only the log's writer adds to it, and only to the active one;
//! `published` tells readers how far they may look. Files are opened when they are first needed.

pub(crate) mod active;
pub(crate) mod dir;
pub(crate) mod entries;
pub(crate) mod index;
pub(crate) mod name;
pub(crate) mod offset_index;
pub(crate) mod placeholder;
pub(crate) mod recover;
pub(crate) mod scan;
pub(crate) mod time_index;
pub(crate) mod whole;

pub(crate) use dir::SegmentDir;

use crate::segment::dir::{MISSING, SegmentId};

use crate::error::{Corruption, CorruptionKind, Error, Result};
use crate::event::Event;
use crate::fs::File;
use crate::record::{BatchHeader, BatchRef};
use crate::segment::index::{IndexCadence, Indexes};
use crate::segment::name::{Kind, SegmentFile, Stage};
use crate::segment::offset_index::{OffsetEntry, OffsetIndex};
use crate::segment::scan::{BatchStream, Step, check_offsets, read_header};
use crate::segment::time_index::TimeIndex;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use crate::types::{Offset, Timestamp};
use std::cmp;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Index files up to this size are read rather than mapped: a mapping costs more than the copy.
const MAP_FROM_BYTES: u64 = 65_536;

const WRONG_TIME: &str = "an entry is not the largest time up to its offset";

/// Where in a segment an offset is to be found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Located {
    /// The position of the first batch whose last offset is not below the one asked for.
    pub(crate) position: u64,
    /// The offset it must not begin below.
    pub(crate) lowest: Offset,
    /// Its header, where it was read on the way.
    header: Option<BatchHeader>,
}

impl Located {
    /// The size of the batch there, or 0 where it is not known.
    pub(crate) fn batch_bytes(&self) -> usize {
        self.header.map_or(0, |header| header.size_bytes())
    }
}

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base: Offset,
    id: SegmentId,
    dir: Arc<SegmentDir>,
    /// How many bytes of the log file readers may look at. Stored with release
    /// ordering after the bytes were written.
    published: AtomicU64,
    /// The largest timestamp of an active segment; of a sealed one the time index has it.
    largest_timestamp: AtomicI64,
    /// Leaf lock; held while an index is opened, so that it is opened once. Only
    /// readers that need the same index wait for it.
    indexes: Mutex<Option<Arc<Indexes>>>,
    sealed: bool,
    /// Leaf lock. How many bytes there were when retention first found its records to be of the
    /// future, and when that was by the clock that never goes back.
    ahead: Mutex<Option<(u64, Duration)>>,
    /// Whether the files have the names of a replacement as yet.
    staged: AtomicBool,
    /// Set when the segment left the log.
    retired: OnceLock<Retired>,
}

/// The fate of the files of a segment that left the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retired {
    /// They go when the last holder lets go of it, under the names of this stage.
    Dropped(Stage),
    /// Others have taken their names.
    Replaced,
}

impl Segment {
    /// A segment that is being appended to: its file, and its indexes in memory.
    pub(crate) fn active(
        dir: Arc<SegmentDir>,
        base: Offset,
        file: &Arc<dyn File>,
        bytes: u64,
        largest_timestamp: Timestamp,
        indexes: Arc<Indexes>,
    ) -> Segment {
        let segment = Segment::new(dir, base, bytes, Some(indexes), false);
        segment.largest_timestamp.store(largest_timestamp.as_millis(), Ordering::Relaxed);
        segment.dir.keep_open(segment.id, file);
        segment
    }

    /// A segment that will not change, its indexes opened when they are needed.
    pub(crate) fn sealed(dir: Arc<SegmentDir>, base: Offset, bytes: u64) -> Segment {
        Segment::new(dir, base, bytes, None, true)
    }

    /// A segment that is to replace others, and whose files have the names of a replacement as
    /// yet. Without its indexes, they are made from the log when they are needed.
    pub(crate) fn replacement(
        dir: Arc<SegmentDir>,
        base: Offset,
        bytes: u64,
        indexes: Option<Arc<Indexes>>,
    ) -> Segment {
        let segment = Segment::new(dir, base, bytes, indexes, true);
        segment.staged.store(true, Ordering::Relaxed);
        segment
    }

    fn new(
        dir: Arc<SegmentDir>,
        base: Offset,
        bytes: u64,
        indexes: Option<Arc<Indexes>>,
        sealed: bool,
    ) -> Segment {
        Segment {
            base,
            id: dir.new_segment(),
            dir,
            published: AtomicU64::new(bytes),
            largest_timestamp: AtomicI64::new(Timestamp::NONE.as_millis()),
            indexes: Mutex::new(indexes),
            sealed,
            ahead: Mutex::default(),
            staged: AtomicBool::new(false),
            retired: OnceLock::new(),
        }
    }

    /// Whether nothing will be added to it any more.
    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// How many bytes of the log file readers may look at.
    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// Lets readers see the file up to here. Called by the writer only.
    pub(crate) fn publish(&self, bytes: u64, largest: Timestamp) {
        self.largest_timestamp.store(largest.as_millis(), Ordering::Relaxed);
        self.published.store(bytes, Ordering::Release);
    }

    pub(crate) fn path(&self, kind: Kind) -> PathBuf {
        self.dir.path_of(SegmentFile::live(self.base, kind))
    }

    /// The log file, opened if it is not open.
    pub(crate) fn file(&self) -> Result<Arc<dyn File>> {
        if let Some(file) = self.dir.opened(self.id) {
            return Ok(file);
        }
        let file = self.open_file()?;
        self.dir.keep_open(self.id, &file);
        Ok(file)
    }

    /// A replacement has its own name until what it replaces is gone, and then the live one.
    pub(crate) fn open_file(&self) -> Result<Arc<dyn File>> {
        if self.staged.load(Ordering::Acquire) {
            let live = SegmentFile::live(self.base, Kind::Log);
            match self.dir.open_log_at(SegmentFile { stage: Stage::Swap, ..live }) {
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                opened => return opened,
            }
        }
        self.dir.open_log(self.base)
    }

    fn io(&self, operation: &'static str, error: io::Error) -> Error {
        Error::io(operation, &self.path(Kind::Log), error)
    }

    pub(crate) fn corrupt(
        &self,
        position: u64,
        offset: Option<Offset>,
        damage: CorruptionKind,
    ) -> Error {
        let corruption =
            Corruption { path: self.path(Kind::Log), position, offset, reason: damage };
        Error::Corrupt(Box::new(corruption))
    }

    /// The first batch whose last offset is at or above `offset`; `None` when the segment ends
    /// below it.
    pub(crate) fn locate(&self, offset: Offset, limit: Offset) -> Result<Option<Located>> {
        let end = self.published();
        if end == 0 {
            return Ok(None);
        }
        let file = self.file()?;
        let indexes = self.indexes(limit)?;
        if let Some(from) = self.nearest_entry(&*file, &indexes.offsets, offset, end)? {
            return self.walk(&*file, from, offset, end);
        }
        let reason = "an entry does not point at the batch it names";
        let remade = self.remake_indexes(Kind::OffsetIndex, reason, limit)?;
        let from = match &remade {
            Some(indexes) => self.nearest_entry(&*file, &indexes.offsets, offset, end)?,
            None => None,
        };
        self.walk(&*file, from.unwrap_or(self.first_place()), offset, end)
    }

    /// The header of the batch that holds an offset or follows it.
    pub(crate) fn header_at(&self, offset: Offset, limit: Offset) -> Result<Option<BatchHeader>> {
        let Some(located) = self.locate(offset, limit)? else { return Ok(None) };
        if located.header.is_some() {
            return Ok(located.header);
        }
        let header = read_header(&*self.file()?, located.position, self.published());
        Ok(header.map_err(|error| self.io("read", error))?.ok())
    }

    fn first_place(&self) -> Located {
        Located { position: 0, lowest: self.base, header: None }
    }

    /// Where to walk from to reach `offset`: a batch that an index entry names, or the first one.
    /// `None` when the log does not bear the index out there.
    ///
    /// An entry at or above the offset is tried first: it often names the very
    /// batch and saves reading the header of the one before it.
    fn nearest_entry(
        &self,
        file: &dyn File,
        index: &OffsetIndex,
        offset: Offset,
        end: u64,
    ) -> Result<Option<Located>> {
        let ceiling = index.ceiling(offset);
        let below = ceiling.checked_sub(1);
        // What leads to the entry below counts too: the walk may begin there, and must not begin
        // behind a batch that reaches beyond it.
        for number in [Some(ceiling), below].into_iter().flatten() {
            if !self.leads_to(file, index, number, end)? {
                return Ok(None);
            }
        }
        let below = below.and_then(|below| index.get(below));
        for entry in [index.get(ceiling), below].into_iter().flatten() {
            // An entry of the active segment may have been added after `end` was loaded.
            if entry.position >= end && !self.sealed {
                continue;
            }
            let Some(first) = self.check_entry(file, entry, end)? else { return Ok(None) };
            if first.base_offset <= offset {
                return Ok(Some(Located {
                    position: entry.position,
                    lowest: first.base_offset,
                    header: Some(first),
                }));
            }
        }
        Ok(Some(self.first_place()))
    }

    /// Whether the log leads from the entry before a number to the entry of that number, or to
    /// the end where there is none: then both are places where batches begin.
    fn leads_to(
        &self,
        file: &dyn File,
        index: &OffsetIndex,
        number: usize,
        end: u64,
    ) -> Result<bool> {
        if index.is_checked(number) {
            return Ok(true);
        }
        let below = number.checked_sub(1).and_then(|below| index.get(below));
        let above = index.get(number).filter(|above| above.position < end);
        let upto = above.map_or(end, |above| above.position);
        let mut position = below.map_or(0, |below| below.position);
        let mut lowest = self.base;
        let mut below_ends = below.is_none();
        while position < upto {
            let header = read_header(file, position, end).map_err(|e| self.io("read", e))?;
            let Ok(header) = header else { return Ok(false) };
            if header.base_offset < lowest {
                return Ok(false);
            }
            below_ends |= below.is_some_and(|below| below.offset == header.last_offset());
            lowest = header.next_offset();
            position = position.saturating_add(header.size_bytes() as u64);
        }
        let follows = match above {
            Some(above) => {
                self.check_entry(file, above, end)?.is_some_and(|first| first.base_offset >= lowest)
            }
            None => true,
        };
        let holds = position == upto && below_ends && follows;
        if holds {
            index.set_checked(number);
        }
        Ok(holds)
    }

    /// The header of the append that an entry names, if the log bears the entry out: its
    /// batches must begin at its position and end with its offset.
    fn check_entry(
        &self,
        file: &dyn File,
        entry: OffsetEntry,
        end: u64,
    ) -> Result<Option<BatchHeader>> {
        let mut position = entry.position;
        let mut first = None;
        loop {
            // At the end no header is found either.
            let header = read_header(file, position, end).map_err(|e| self.io("read", e))?;
            let Ok(header) = header else { return Ok(None) };
            let first = *first.get_or_insert(header);
            match header.last_offset().cmp(&entry.offset) {
                cmp::Ordering::Less => {
                    position = position.saturating_add(header.size_bytes() as u64);
                }
                cmp::Ordering::Equal => return Ok(Some(first)),
                cmp::Ordering::Greater => return Ok(None),
            }
        }
    }

    /// Walks the headers from a batch boundary to the batch that holds `offset` or follows it.
    fn walk(
        &self,
        file: &dyn File,
        from: Located,
        offset: Offset,
        end: u64,
    ) -> Result<Option<Located>> {
        let Located { mut position, mut lowest, header: mut known } = from;
        let mut passed = None;
        while position < end {
            let header = match known.take() {
                Some(header) => header,
                None => read_header(file, position, end)
                    .map_err(|e| self.io("read", e))?
                    .map_err(|reason| self.corrupt(position, Some(lowest), reason.into()))?,
            };
            check_offsets(&header, lowest, Offset::MAX)
                .map_err(|damage| self.corrupt(position, Some(lowest), damage))?;
            if header.last_offset() >= offset {
                if header.base_offset > offset {
                    self.check_passed(file, passed)?;
                }
                return Ok(Some(Located { position, lowest, header: Some(header) }));
            }
            lowest = header.next_offset();
            passed = Some((position, header));
            position = position.saturating_add(header.size_bytes() as u64);
        }
        self.check_passed(file, passed)?;
        Ok(None)
    }

    /// Before an offset is said to have no batch, the one before it must be sound: its header was
    /// believed when it was passed over, and damaged it may say less than what it holds.
    fn check_passed(&self, file: &dyn File, passed: Option<(u64, BatchHeader)>) -> Result<()> {
        let Some((position, header)) = passed else { return Ok(()) };
        let mut bytes = vec![0; header.size_bytes()];
        file.read_exact_at(&mut bytes, position).map_err(|e| self.io("read", e))?;
        BatchRef::from_parts(header, &bytes)
            .verify_checksum()
            .map_err(|reason| self.corrupt(position, Some(header.base_offset), reason.into()))
    }

    /// Returns the result of a step of a stream over this segment: a batch, the end, or an error.
    pub(crate) fn batch_of(
        &self,
        stream: &BatchStream,
        step: io::Result<Step>,
    ) -> Result<Option<BatchHeader>> {
        let (position, lowest) = (stream.position(), stream.lowest());
        let damage = match step {
            Ok(Step::End) => return Ok(None),
            Ok(Step::Batch(header)) => return Ok(Some(header)),
            Ok(Step::Damaged(damage)) => damage,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                CorruptionKind::FileTruncated { expected: self.published(), found: position }
            }
            Err(error) => return Err(self.io("read", error)),
        };
        Err(self.corrupt(position, Some(lowest), damage))
    }

    /// The indexes, opened from their files if they are not open, made again if those are not
    /// sound.
    ///
    /// `limit` is the offset that every batch of the segment must lie below.
    pub(crate) fn indexes(&self, limit: Offset) -> Result<Arc<Indexes>> {
        let mut slot = self.indexes.lock();
        if let Some(indexes) = &*slot {
            return Ok(Arc::clone(indexes));
        }
        let (made, events) = self.dir.events.hold(|| match self.open_indexes()? {
            Ok(indexes) => Ok(indexes),
            Err((kind, reason)) => {
                let indexes = self.rebuild_indexes(limit)?;
                self.dir.events.emit(&Event::IndexRebuilt { path: self.path(kind), reason });
                Ok(indexes)
            }
        });
        let indexes = made.map(|indexes| Arc::clone(slot.insert(Arc::new(indexes))));
        drop(slot);
        self.dir.events.emit_all(&events);
        indexes
    }

    /// Makes indexes that turned out wrong again, if the segment is sealed and whole. Otherwise
    /// they stay, and what they lead to is never believed: `None`.
    fn remake_indexes(
        &self,
        kind: Kind,
        reason: &'static str,
        limit: Offset,
    ) -> Result<Option<Arc<Indexes>>> {
        let mut slot = self.indexes.lock();
        let (made, events) = self.dir.events.hold(|| {
            let made = if self.sealed { Some(self.rebuild_indexes(limit)) } else { None };
            self.dir.events.emit(&Event::IndexRebuilt { path: self.path(kind), reason });
            made
        });
        let remade = match made.transpose() {
            Ok(made) => made.map(|indexes| Arc::clone(slot.insert(Arc::new(indexes)))),
            Err(Error::Corrupt(_)) => None,
            Err(error) => return Err(error),
        };
        drop(slot);
        self.dir.events.emit_all(&events);
        Ok(remade)
    }

    /// The index files, checked against themselves; otherwise which of them is wrong, and how.
    pub(crate) fn stored_indexes(&self) -> Result<Result<Indexes, (Kind, &'static str)>> {
        let staged = self.staged.load(Ordering::Acquire);
        let stages: &[Stage] = if staged { &[Stage::Swap, Stage::Live] } else { &[Stage::Live] };
        indexes_at(&self.dir, self.base, self.published(), stages)
    }

    fn open_indexes(&self) -> Result<Result<Indexes, (Kind, &'static str)>> {
        let bytes = self.published();
        let indexes = match self.stored_indexes()? {
            Ok(indexes) => indexes,
            Err(found) => return Ok(Err(found)),
        };
        Ok(self.check_tail(&indexes, bytes)?.map(|()| indexes))
    }

    /// Checks the end of an index, because a shortened index still looks like one. Its last
    /// entry must name a batch, and no later batch may have a later timestamp than the last entry.
    ///
    /// The number of bytes after it is not checked: the index may have been written with another
    /// interval.
    fn check_tail(
        &self,
        indexes: &Indexes,
        bytes: u64,
    ) -> Result<Result<(), (Kind, &'static str)>> {
        let file = self.file()?;
        let last = indexes.offsets.len().checked_sub(1).and_then(|last| indexes.offsets.get(last));
        if let Some(last) = last
            && self.check_entry(&*file, last, bytes)?.is_none()
        {
            return Ok(Err((Kind::OffsetIndex, "its last entry names no batch")));
        }
        let mut position = last.map_or(0, |last| last.position);
        let mut largest = indexes.times.last();
        while position < bytes {
            let header = read_header(&*file, position, bytes).map_err(|e| self.io("read", e))?;
            let Ok(header) = header else {
                return Ok(Err((Kind::OffsetIndex, "it does not lead to the end of the log")));
            };
            let max = header.max_timestamp;
            if max >= Timestamp::from_millis(0) && largest.is_none_or(|entry| max > entry.timestamp)
            {
                return Ok(Err((Kind::TimeIndex, "it ends before the log does")));
            }
            if largest.is_some_and(|entry| entry.offset == header.last_offset()) {
                largest = largest.filter(|entry| entry.timestamp == max);
                if largest.is_none() {
                    return Ok(Err((Kind::TimeIndex, "its last entry names no batch")));
                }
            }
            position = position.saturating_add(header.size_bytes() as u64);
        }
        Ok(Ok(()))
    }

    /// Makes both indexes from the log, and their files if the directory is open for writing.
    fn rebuild_indexes(&self, limit: Offset) -> Result<Indexes> {
        let indexes = Indexes::empty(self.base);
        let mut cadence =
            IndexCadence::new(self.dir.index_interval_bytes, (Timestamp::NONE, self.base));
        let mut scan = SegmentScan::new(self, self.published(), limit)?;
        while let Some((position, header)) = scan.next()? {
            cadence.note(
                &indexes,
                position,
                header.size_bytes() as u64,
                header.last_offset(),
                header.max_timestamp,
            );
        }
        cadence.finish(&indexes);
        if self.retired.get() == Some(&Retired::Replaced) || self.staged.load(Ordering::Acquire) {
            return Ok(indexes);
        }
        // A full disk must not keep anyone from reading: then they stay in memory alone.
        if let Err(error) = self.dir.replace_indexes(self.base, &indexes) {
            let path = self.path(Kind::OffsetIndex);
            self.dir.events.emit(&Event::CleanupFailed { path, error: error.to_string() });
        }
        Ok(indexes)
    }

    /// The largest timestamp of the segment; [`Timestamp::NONE`] when no record has one.
    pub(crate) fn largest_timestamp(&self, limit: Offset) -> Result<Timestamp> {
        if !self.sealed {
            return Ok(Timestamp::from_millis(self.largest_timestamp.load(Ordering::Relaxed)));
        }
        let mut indexes = self.indexes(limit)?;
        let last = indexes.times.len();
        let entry_holds = match last.checked_sub(1) {
            Some(entry) => self.times_hold(&indexes, entry, limit)?,
            None => true,
        };
        if !entry_holds || !self.times_hold(&indexes, last, limit)? {
            indexes = match self.remake_indexes(Kind::TimeIndex, WRONG_TIME, limit)? {
                Some(remade) => remade,
                // Says what is damaged.
                None => Arc::new(self.rebuild_indexes(limit)?),
            };
        }
        Ok(indexes.times.largest())
    }

    /// The time of a segment whose records say that they are of the future: they were written
    /// before they were first seen here, and before the file was last changed. `monotonic` is
    /// `now` by the clock that never goes back: a calendar that jumps makes nothing old.
    pub(crate) fn written_before(&self, now: Timestamp, monotonic: Duration) -> Result<Timestamp> {
        let modified = self.file()?.modified().map_err(|error| self.io("look at", error))?;
        let bytes = self.published();
        let mut ahead = self.ahead.lock();
        let since = match *ahead {
            Some((known, since)) if known == bytes => since,
            _ => monotonic,
        };
        *ahead = Some((bytes, since));
        let age = i64::try_from(monotonic.saturating_sub(since).as_millis()).unwrap_or(i64::MAX);
        let seen = Timestamp::from_millis(now.as_millis().saturating_sub(age));
        Ok(modified.map_or(seen, |modified| modified.min(seen)))
    }

    /// The largest timestamp of the first batch; [`Timestamp::NONE`] if there is none.
    pub(crate) fn first_timestamp(&self) -> Result<Timestamp> {
        let end = self.published();
        if end == 0 {
            return Ok(Timestamp::NONE);
        }
        let header = read_header(&*self.file()?, 0, end).map_err(|e| self.io("read", e))?;
        // A read of the batch reports the damage.
        Ok(header.map_or(Timestamp::NONE, |header| header.max_timestamp))
    }

    /// An offset up to which no record is as late as `at`, the base where none is known.
    pub(crate) fn earlier_than(&self, at: Timestamp, limit: Offset) -> Result<Offset> {
        let indexes = self.indexes(limit)?;
        let Some(number) = indexes.times.last_below(at) else { return Ok(self.base) };
        if self.times_hold(&indexes, number, limit)? {
            return Ok(indexes.times.get(number).map_or(self.base, |entry| entry.offset));
        }
        let remade = self.remake_indexes(Kind::TimeIndex, WRONG_TIME, limit)?;
        let entry = remade.and_then(|made| made.times.get(made.times.last_below(at)?));
        Ok(entry.map_or(self.base, |entry| entry.offset))
    }

    /// Whether no batch between the time entry before a number and the entry of that number is
    /// later than it, and one is as late and ends with its offset. The number after the last
    /// entry stands for the rest of the segment, where none may be later than that entry.
    fn times_hold(&self, indexes: &Indexes, number: usize, limit: Offset) -> Result<bool> {
        let times = &indexes.times;
        if times.is_checked(number) {
            return Ok(true);
        }
        let before = number.checked_sub(1).and_then(|before| times.get(before));
        let entry = times.get(number);
        let largest = entry.or(before).map_or(Timestamp::NONE, |entry| entry.timestamp);
        let from = before.map_or(self.base, |before| before.offset.saturating_add(1));
        let (file, end) = (self.file()?, self.published());
        // Nothing at or above an offset means that the segment ends there.
        let located = self.locate(from, limit)?;
        let mut position = located.map_or(end, |located| located.position);
        let header_at =
            |position| read_header(&*file, position, end).map_err(|error| self.io("read", error));
        while position < end {
            let Ok(header) = header_at(position)? else { return Ok(false) };
            if header.max_timestamp > largest {
                return Ok(false);
            }
            if entry.is_some_and(|entry| header.last_offset() >= entry.offset) {
                break;
            }
            position = position.saturating_add(header.size_bytes() as u64);
        }
        let holds = match entry {
            // At the end there is no header, and so no batch of the entry.
            Some(entry) => header_at(position)?.is_ok_and(|header| {
                header.last_offset() == entry.offset && header.max_timestamp == entry.timestamp
            }),
            None => position == end,
        };
        if holds {
            times.set_checked(number);
        }
        Ok(holds)
    }

    /// Retires the segment: its files, which were renamed for that, are removed when no reader
    /// holds it any more.
    pub(crate) fn retire(&self) {
        // The first call decides.
        self.retired.set(Retired::Dropped(Stage::Deleted)).ok();
    }

    /// Retires a segment whose files keep their names, so that a reader finds them: no later
    /// segment may have this base.
    pub(crate) fn retire_in_place(&self) {
        self.retired.set(Retired::Dropped(Stage::Live)).ok();
    }

    /// Retires a segment whose names a replacement takes now: from here on it writes no index
    /// files.
    pub(crate) fn retire_replaced(&self) {
        let _made = self.indexes.lock();
        self.retired.set(Retired::Replaced).ok();
    }

    /// Closes the log file: the space of a removed file is free when no reader holds it.
    pub(crate) fn let_go(&self) {
        self.dir.release(self.id);
    }

    /// Says that the files of a replacement have the names of live ones now. Its indexes are read
    /// from there from now on, where they take no memory of their own.
    pub(crate) fn settle(&self) {
        self.staged.store(false, Ordering::Release);
        *self.indexes.lock() = None;
    }
}

/// The index files of a segment whose log has `bytes`, checked against themselves;
/// otherwise which of them is wrong, and how.
pub(crate) fn stored_indexes(
    dir: &SegmentDir,
    base: Offset,
    bytes: u64,
) -> Result<Result<Indexes, (Kind, &'static str)>> {
    indexes_at(dir, base, bytes, &[Stage::Live])
}

/// Each of the index files in the first stage that has one.
fn indexes_at(
    dir: &SegmentDir,
    base: Offset,
    bytes: u64,
    stages: &[Stage],
) -> Result<Result<Indexes, (Kind, &'static str)>> {
    // An entry a batch, and the last time.
    let most_entries = (bytes / BatchHeader::SIZE as u64).saturating_add(1);
    let view = |kind, entry_bytes: usize| {
        let most = most_entries.saturating_mul(entry_bytes as u64);
        let mut found = Err(MISSING);
        for stage in stages {
            let file = SegmentFile { base, kind, stage: *stage };
            found = dir.index_view(file, MAP_FROM_BYTES, most)?;
            if !matches!(found, Err(MISSING)) {
                break;
            }
        }
        Ok::<_, Error>(found)
    };
    let offsets = match view(Kind::OffsetIndex, offset_index::ENTRY_BYTES)? {
        Ok(offsets) => offsets,
        Err(reason) => return Ok(Err((Kind::OffsetIndex, reason))),
    };
    let times = match view(Kind::TimeIndex, time_index::ENTRY_BYTES)? {
        Ok(times) => times,
        Err(reason) => return Ok(Err((Kind::TimeIndex, reason))),
    };
    let offsets = match OffsetIndex::open(base, offsets, bytes) {
        Ok(offsets) => offsets,
        Err(reason) => return Ok(Err((Kind::OffsetIndex, reason))),
    };
    let times = match TimeIndex::open(base, times) {
        Ok(times) => times,
        Err(reason) => return Ok(Err((Kind::TimeIndex, reason))),
    };
    Ok(Ok(Indexes { offsets, times }))
}

/// The files of a retired segment go here.
impl Drop for Segment {
    fn drop(&mut self) {
        self.let_go();
        let Some(&Retired::Dropped(stage)) = self.retired.get() else { return };
        for kind in Kind::ALL {
            self.dir.discard(SegmentFile { base: self.base, kind, stage });
        }
    }
}

/// All batches of a segment in order, each checked, continuity included.
#[derive(Debug)]
pub(crate) struct SegmentScan<'a> {
    segment: &'a Segment,
    stream: BatchStream,
    end: u64,
    limit: Offset,
}

impl<'a> SegmentScan<'a> {
    /// Of its first `end` bytes, in which no offset is to lie at or above the limit.
    pub(crate) fn new(segment: &'a Segment, end: u64, limit: Offset) -> Result<SegmentScan<'a>> {
        let stream = BatchStream::new(segment.file()?, 0, segment.base);
        Ok(SegmentScan { segment, stream, end, limit })
    }

    pub(crate) fn next(&mut self) -> Result<Option<(u64, BatchHeader)>> {
        let step = self.stream.advance(self.end, self.limit);
        let header = self.segment.batch_of(&self.stream, step)?;
        Ok(header.map(|header| (self.stream.position(), header)))
    }

    pub(crate) fn stream(&self) -> &BatchStream {
        &self.stream
    }
}

#[cfg(test)]
mod tests;
