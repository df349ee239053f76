//! The writer's state of the producers, and its snapshots.
//!
//! A snapshot lies beside the segments for each offset at which one begins, one in between every
//! 64 MiB, and one for the end of a log that was closed. Beside each is a `.recent` file with what
//! Kafka's format leaves out. None of them is needed: [`Replay`] rebuilds their content from the
//! batches. They save reading, so they are written without a sync of their own, and a damaged one
//! is ignored. But a snapshot must not describe batches that are not there: before anything is
//! appended to a log that was cut, or opened, those above its end are removed, durably.

use crate::compaction::marker_of;
use crate::error::{Error, InvalidBatch, Result};
use crate::event::Event;
use crate::fs::{DirEntry, EntryKind};
use crate::log::append::txn_index::TxnIndexes;
use crate::log::config::LogConfig;
use crate::log::inner::Shared;
use crate::producer_state::{BatchSeen, ProducerState, Producers, recent, snapshot};
use crate::record::{BatchHeader, BatchRef, DecodeBuffer};
use crate::segment::name::{Kind, Name, SegmentFile, Stage};
use crate::segment::recover::Heed;
use crate::segment::scan::{BatchStream, read_header};
use crate::segment::{Segment, SegmentDir, stored_indexes};
use crate::types::{Offset, ProducerId, Timestamp};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How much is appended to a segment until the next snapshot is taken.
const EVERY_BYTES: u64 = 64 << 20;

/// How far below a snapshot that stands alone the batches are looked for that it leaves out: more
/// than five of the default size that a client may have on the way.
const RECENT_BYTES: u64 = 16 << 20;

/// Tells when a producer was heard: the time of day when the log was opened, and what has passed
/// since by the clock that never goes back. A time of day that is set anew while the log is open
/// neither forgets producers nor keeps them.
#[derive(Debug, Clone, Copy)]
struct Timeline {
    opened_at: Timestamp,
    opened: Duration,
}

impl Timeline {
    /// The timeline of an empty state.
    const NONE: Timeline = Timeline { opened_at: Timestamp::NONE, opened: Duration::ZERO };

    fn at(self, monotonic: Duration) -> Timestamp {
        let passed = monotonic.saturating_sub(self.opened).as_millis();
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.opened_at.as_millis().saturating_add(passed))
    }
}

/// The producers of a log, as its writer knows them. Times are those of the clock that never goes
/// back.
#[derive(Debug)]
pub(crate) struct Tracked {
    producers: Producers,
    timeline: Timeline,
    /// When the last batch of a producer arrived.
    now: Timestamp,
    /// The newest snapshot that is stored.
    stored: Option<Offset>,
    /// Whether that one is to be written again: producers were forgotten since, or it stands
    /// alone.
    is_stale: bool,
    /// At this position of the active segment the next one is taken.
    due: u64,
}

impl Tracked {
    fn new(producers: Producers, timeline: Timeline, stored: Option<Offset>) -> Tracked {
        let (now, is_stale) = (timeline.opened_at, false);
        Tracked { producers, timeline, now, stored, is_stale, due: EVERY_BYTES }
    }

    /// In a segment that was just begun.
    pub(crate) fn nothing(base: Offset) -> Tracked {
        Tracked::new(Producers::none(base), Timeline::NONE, None)
    }

    /// Sets when the next snapshot is due, for a segment that already has `position` bytes.
    pub(crate) fn at(mut self, position: u64) -> Tracked {
        self.due = position.saturating_add(EVERY_BYTES);
        self
    }

    #[inline(always)]
    pub(crate) fn is_due(&self, position: u64) -> bool {
        position >= self.due
    }

    /// The time of day by which producers are remembered.
    pub(crate) fn time(&self, monotonic: Duration) -> Timestamp {
        self.timeline.at(monotonic)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.producers.len()
    }

    pub(crate) fn states(&self) -> Vec<ProducerState> {
        self.producers.states()
    }

    /// Returns the producers that have not expired, in no order.
    pub(crate) fn active(
        &mut self,
        now: Duration,
        expire_after: Duration,
    ) -> impl Iterator<Item = ProducerState> {
        self.expire(now, expire_after);
        self.producers.unsorted_states()
    }

    /// Where the earliest transaction begins that is still open.
    pub(crate) fn first_unstable(&self) -> Option<Offset> {
        self.producers.first_unstable()
    }

    /// Whether the batch is the next of its producer: `None`, or the batch that it repeats.
    pub(crate) fn check(
        &mut self,
        header: &BatchHeader,
        now: Duration,
        expire_after: Duration,
    ) -> Result<Option<BatchSeen>> {
        self.now = self.time(now);
        self.producers.forget_if_expired(header.producer_id, self.now, expire_after);
        let repeated = self.producers.check(header).map_err(Error::Producer)?;
        if repeated.is_some() {
            self.producers.hear(header.producer_id, self.now);
        }
        Ok(repeated)
    }

    /// Forgets those that were not heard for so long.
    pub(crate) fn expire(&mut self, now: Duration, after: Duration) {
        self.now = self.time(now);
        self.producers.expire(self.now, after);
    }

    /// Forgets a producer that sends nothing any more.
    fn forget(&mut self, producer_id: ProducerId) {
        self.is_stale |= self.producers.forget(producer_id);
    }

    /// Records a batch that was checked.
    pub(crate) fn note(&mut self, header: &BatchHeader) {
        self.producers.note(header, self.now);
    }
}

/// Records a batch that is in the log.
fn note_batch(
    producers: &mut Producers,
    batch: &BatchRef<'_>,
    decode: &mut DecodeBuffer,
    heard: Timestamp,
) -> Result<(), InvalidBatch> {
    let header = batch.header();
    if !header.is_control() || !header.has_producer() {
        producers.note(header, heard);
    } else if let Some(marker) = marker_of(batch, decode)? {
        producers.note_marker(header, &marker, heard);
    }
    Ok(())
}

fn path_of(dir: &SegmentDir, offset: Offset, kind: Kind) -> PathBuf {
    dir.path_of(SegmentFile::live(offset, kind))
}

impl Shared {
    /// Takes a snapshot of the producers as of the end of the log. The writer lock is held.
    pub(crate) fn store_producers(&self, tracked: &mut Tracked, segment: Offset, position: u64) {
        tracked.due = position.saturating_add(EVERY_BYTES);
        let end = self.end();
        tracked.producers.advance(end);
        if tracked.stored == Some(end) && !tracked.is_stale {
            return;
        }
        tracked.producers.expire(tracked.now, self.config.producer_id_expiration);
        let path = path_of(&self.dir, end, Kind::Snapshot);
        if !snapshot::fits(tracked.len()) {
            let error = "there are more producers than a snapshot holds".to_owned();
            return self.emit(&Event::CheckpointFailed { path, error });
        }
        match self.write_producers(&tracked.producers, end) {
            Ok(()) => {
                tracked.is_stale = false;
                let before = tracked.stored.replace(end);
                // Between the segments one is enough.
                if let Some(before) = before.filter(|before| *before > segment && *before < end) {
                    self.dir.discard(SegmentFile::live(before, Kind::Snapshot));
                    self.dir.discard(SegmentFile::live(before, Kind::Recent));
                }
            }
            Err(error) => self.emit(&Event::CheckpointFailed { path, error: error.to_string() }),
        }
    }

    /// Writes the snapshot of an offset. What it leaves out comes first: where it is found, so is
    /// that.
    fn write_producers(&self, producers: &Producers, end: Offset) -> Result<()> {
        let states = producers.states();
        let content = snapshot::encode(&states);
        let recent = recent::encode(producers, &states, &content);
        if let Some(recent) = recent.filter(|_| !states.is_empty()) {
            let path = path_of(&self.dir, end, Kind::Recent);
            if let Err(error) = self.dir.replace_unsynced(&path, &recent) {
                self.emit(&Event::CheckpointFailed { path, error: error.to_string() });
            }
        }
        self.dir.replace_unsynced(&path_of(&self.dir, end, Kind::Snapshot), &content)
    }

    /// Forgets a producer of this process that is closed: its id is never given out again, so
    /// none of its batches can be resent.
    pub(crate) fn forget_producer(&self, producer_id: ProducerId) {
        if let Some(writer) = self.writer.lock().as_mut() {
            writer.tracked.forget(producer_id);
        }
    }
}

/// The offsets of which there are files of a kind.
fn stored_offsets(entries: &[DirEntry], kind: Kind) -> BTreeSet<Offset> {
    let offset = |entry: &DirEntry| match Name::parse(&entry.name) {
        _ if entry.kind != EntryKind::File => None,
        Name::Segment(file) if file == SegmentFile::live(file.base, kind) => Some(file.base),
        _ => None,
    };
    entries.iter().filter_map(offset).collect()
}

/// The producers of the snapshot that was taken at an offset. None if there is no sound one.
pub(crate) fn states_at(dir: &SegmentDir, offset: Offset) -> Result<Vec<ProducerState>> {
    let bytes = dir.read_small(&path_of(dir, offset, Kind::Snapshot), snapshot::MAX_BYTES)?;
    let states = bytes.and_then(|bytes| snapshot::decode(&bytes).ok());
    Ok(states.filter(|states| snapshot::is_possible(states, offset)).unwrap_or_default())
}

/// Takes snapshots out of the log, durably, and removes them.
fn remove_snapshots(dir: &SegmentDir, offsets: &[Offset]) -> Result<()> {
    let deleted = |offset: &Offset| SegmentFile {
        stage: Stage::Deleted,
        ..SegmentFile::live(*offset, Kind::Snapshot)
    };
    for offset in offsets {
        dir.set_aside(SegmentFile::live(*offset, Kind::Snapshot))?;
    }
    if !offsets.is_empty() {
        dir.sync()?;
    }
    offsets.iter().for_each(|offset| dir.discard(deleted(offset)));
    Ok(())
}

/// Makes the producers of a log from its newest snapshot and the batches behind it.
#[derive(Debug)]
pub(crate) struct Replay {
    dir: Arc<SegmentDir>,
    /// The base offsets and lengths of the log files.
    logs: Vec<(Offset, u64)>,
    snapshots: BTreeSet<Offset>,
    /// The snapshots that have a file beside them with what they leave out.
    recents: BTreeSet<Offset>,
    txn_indexes: TxnIndexes,
    max_decompressed_bytes: usize,
    /// Replayed batches count as heard when this begins.
    timeline: Timeline,
    expire_after: Duration,
    /// The state, once the replay has begun.
    producers: Option<Producers>,
    /// Whether that is only what is in the log, which was deleted in part: a snapshot may know
    /// more.
    is_partial: bool,
    /// Whether it goes on behind batches that cannot be read.
    passes_damage: bool,
}

impl Replay {
    pub(crate) fn new(
        dir: &Arc<SegmentDir>,
        config: &LogConfig,
        logs: Vec<(Offset, u64)>,
        now: Timestamp,
    ) -> Result<Replay> {
        let entries = dir.fs.list(&dir.path).map_err(|e| Error::io("list", &dir.path, e))?;
        Ok(Replay {
            dir: Arc::clone(dir),
            logs,
            snapshots: stored_offsets(&entries, Kind::Snapshot),
            recents: stored_offsets(&entries, Kind::Recent),
            txn_indexes: TxnIndexes::new(stored_offsets(&entries, Kind::TxnIndex)),
            max_decompressed_bytes: config.max_decompressed_bytes,
            timeline: Timeline { opened_at: now, opened: config.clock.monotonic() },
            expire_after: config.producer_id_expiration,
            producers: None,
            is_partial: false,
            passes_damage: true,
        })
    }

    /// Fails where a batch cannot be read. A log that goes on must not take what was lost on the
    /// way for new.
    pub(crate) fn of_sound_batches(self) -> Replay {
        Replay { passes_damage: false, ..self }
    }

    /// Producers were heard when the writer of the log heard them, also if that left nothing in
    /// the log.
    pub(crate) fn hear_as(&mut self, known: &Tracked) {
        if let Some(producers) = &mut self.producers {
            producers.hear_as(&known.producers);
        }
    }

    /// Sets an empty state: the caller knows that there are no producers.
    pub(crate) fn know_of_none(&mut self, end: Offset) {
        self.producers = Some(Producers::none(end));
    }

    /// The producers of a log that ends here, up to where it was read. What snapshots there are
    /// above the end go, and those that are of no use.
    pub(crate) fn finish(mut self, end: Offset) -> Result<Tracked> {
        self.txn_indexes.settle(&self.dir, end)?;
        let mut producers = self.producers.take().unwrap_or_default();
        producers.advance(end);
        producers.expire(self.timeline.opened_at, self.expire_after);
        let known = self.first(end)..=end;
        let newest = self.snapshots.range(known.clone()).next_back().copied();
        let is_base = |offset: &Offset| self.logs.iter().any(|(base, _)| base == offset);
        let is_kept = |offset: &Offset| {
            known.contains(offset) && (is_base(offset) || Some(*offset) == newest)
        };
        let stray: Vec<Offset> =
            self.snapshots.iter().copied().filter(|offset| !is_kept(offset)).collect();
        remove_snapshots(&self.dir, &stray)?;
        let is_alone = |offset: &&Offset| !is_kept(offset) || !self.snapshots.contains(offset);
        for offset in self.recents.iter().filter(is_alone) {
            self.dir.discard(SegmentFile::live(*offset, Kind::Recent));
        }
        let is_alone = newest.is_some_and(|newest| !self.recents.contains(&newest));
        let is_stale = is_alone && producers.len() > 0;
        Ok(Tracked { is_stale, ..Tracked::new(producers, self.timeline, newest) })
    }

    /// Where the first segment begins. Of what a snapshot below says, too much is gone to go on
    /// from there.
    fn first(&self, end: Offset) -> Offset {
        self.logs.first().map_or(end, |(base, _)| (*base).min(end))
    }

    /// The newest sound snapshot up to an offset. Those that are damaged go.
    fn load(&mut self, upto: Offset) -> Result<Producers> {
        let first = self.first(upto);
        while let Some(offset) = self.snapshots.range(first..=upto).next_back().copied() {
            let path = path_of(&self.dir, offset, Kind::Snapshot);
            let reason = match self.dir.read_small(&path, snapshot::MAX_BYTES)? {
                Some(bytes) => match snapshot::decode(&bytes) {
                    Ok(states) if snapshot::is_possible(&states, offset) => {
                        self.is_partial = false;
                        return self.recall(&states, &bytes, offset);
                    }
                    Ok(_) => "it says of producers what cannot be at its offset",
                    Err((_, reason)) => reason,
                },
                None => "it is missing",
            };
            self.dir.events.emit(&Event::CheckpointIgnored { path, reason });
            self.dir.discard(SegmentFile::live(offset, Kind::Snapshot));
            self.snapshots.remove(&offset);
        }
        self.is_partial = first > 0;
        Ok(Producers::none(first))
    }

    /// The producers of a snapshot, with what it leaves out: from the file beside it, or else from
    /// the batches that lie not too far below.
    fn recall(
        &mut self,
        states: &[ProducerState],
        snapshot: &[u8],
        offset: Offset,
    ) -> Result<Producers> {
        let now = self.timeline.opened_at;
        if self.recents.contains(&offset) {
            let path = path_of(&self.dir, offset, Kind::Recent);
            let bytes = self.dir.read_small(&path, snapshot::MAX_BYTES)?.unwrap_or_default();
            match recent::restore(&bytes, states, snapshot, offset, now) {
                Ok(producers) => return Ok(producers),
                Err(reason) => self.dir.events.emit(&Event::CheckpointIgnored { path, reason }),
            }
            self.dir.discard(SegmentFile::live(offset, Kind::Recent));
            self.recents.remove(&offset);
        }
        let mut producers = Producers::restore(states, offset, now);
        if producers.len() > 0 {
            let mut replayed = Producers::none(self.offset_before(offset, RECENT_BYTES)?);
            self.read(&mut replayed, offset)?;
            producers.recall_replayed(&replayed);
        }
        Ok(producers)
    }

    /// An offset about so many bytes below another.
    fn offset_before(&self, offset: Offset, bytes: u64) -> Result<Offset> {
        let mut left = bytes;
        for &(base, len) in self.logs.iter().rev().filter(|(base, _)| *base < offset) {
            let Some(indexes) = stored_indexes(&self.dir, base, len)?.ok() else {
                // Nothing tells where in the segment to begin.
                match left.checked_sub(len) {
                    None => return Ok(base),
                    Some(rest) => left = rest,
                }
                continue;
            };
            let entries = &indexes.offsets;
            let mut below = (0..entries.ceiling(offset)).rev().filter_map(|at| entries.get(at));
            let Some(end) = below.next().map(|last| last.position) else { continue };
            if let Some(wanted) = end.checked_sub(left) {
                let found = below.find(|entry| entry.position <= wanted);
                return Ok(found.map_or(base, |entry| entry.offset));
            }
            left = left.saturating_sub(end);
        }
        Ok(self.first(offset))
    }

    /// Records the batches from where the producers are known up to an offset.
    fn read(&self, producers: &mut Producers, upto: Offset) -> Result<()> {
        let mut decode = DecodeBuffer::new(self.max_decompressed_bytes);
        let nexts = self.logs.iter().skip(1).map(|(base, _)| *base).chain([Offset::MAX]);
        for (&(base, bytes), next) in self.logs.iter().zip(nexts) {
            if next <= producers.end() || base >= upto {
                continue;
            }
            match self.read_segment(base, bytes, next, producers, upto, &mut decode) {
                // This part was synced, and only this replay reads it. A read of the records
                // reports the damage; the producers of the batches after it stay unknown.
                Err(Error::Corrupt(damage)) if self.passes_damage => {
                    self.dir.events.emit(&Event::CorruptionFound(*damage))
                }
                read => read?,
            }
        }
        Ok(())
    }

    fn read_segment(
        &self,
        base: Offset,
        bytes: u64,
        next: Offset,
        producers: &mut Producers,
        upto: Offset,
        decode: &mut DecodeBuffer,
    ) -> Result<()> {
        let segment = Segment::sealed(Arc::clone(&self.dir), base, bytes);
        let position = self.position_below(&segment, bytes, producers.end())?;
        let heard = self.timeline.opened_at;
        let mut stream = BatchStream::new(segment.file()?, position, base);
        loop {
            // What follows is not to be read, be it damage or reserved room.
            if stream.lowest() >= upto.min(next) {
                break;
            }
            let step = stream.advance(bytes, next);
            let Some(header) = segment.batch_of(&stream, step)? else { break };
            if header.base_offset >= upto {
                break;
            }
            let Some(batch) = stream.batch().filter(|_| header.base_offset >= producers.end())
            else {
                continue;
            };
            note_batch(producers, &batch, decode, heard).map_err(|reason| {
                segment.corrupt(stream.position(), Some(header.base_offset), reason.into())
            })?;
        }
        Ok(())
    }
}

impl Replay {
    /// A position where a batch begins, none before which lies at or above an offset.
    fn position_below(&self, segment: &Segment, bytes: u64, offset: Offset) -> Result<u64> {
        // Only look at the index: the first read that needs a damaged one rebuilds it.
        let indexes = stored_indexes(&self.dir, segment.base, bytes)?.ok();
        let entry = indexes.and_then(|indexes| {
            let below = indexes.offsets.ceiling(offset).checked_sub(1)?;
            indexes.offsets.get(below)
        });
        let Some(entry) = entry else { return Ok(0) };
        let header = read_header(&*segment.file()?, entry.position, bytes);
        let holds = matches!(header, Ok(Ok(header)) if header.last_offset() == entry.offset);
        Ok(if holds { entry.position } else { 0 })
    }
}

/// Takes the batches that recovery reads anyway.
impl Heed for Replay {
    fn begin(&mut self, at: Offset) -> Result<()> {
        let below = self.logs.iter().rev().find(|(base, _)| *base <= at);
        self.txn_indexes.begin(below.map_or(at, |(base, _)| *base), at);
        let first = self.first(at);
        let may_know_more = self.is_partial && self.snapshots.range(first..=at).next().is_some();
        let mut producers = match self.producers.take() {
            Some(producers) if !may_know_more => producers,
            _ => self.load(at)?,
        };
        if producers.end() < at {
            self.read(&mut producers, at)?;
            producers.advance(at);
        }
        self.producers = Some(producers);
        Ok(())
    }

    fn batch(&mut self, batch: &BatchRef<'_>) -> Result<(), InvalidBatch> {
        let Some(producers) = &mut self.producers else { return Ok(()) };
        let (header, heard) = (batch.header(), self.timeline.opened_at);
        if !header.is_control() || !header.has_producer() {
            producers.note(header, heard);
        } else if let Some(marker) =
            marker_of(batch, &mut DecodeBuffer::new(self.max_decompressed_bytes))?
            && let Some(first) = producers.note_marker(header, &marker, heard)
        {
            self.txn_indexes.note(header, &marker, first, producers.first_unstable());
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.producers = None;
        self.txn_indexes.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{Fs, MemFs, OpenMode};
    use crate::log::Log;
    use crate::record::BatchBuilder;
    use crate::types::{ProducerId, Sequence};
    use std::path::Path;

    const DIR: &str = "t-0";

    fn open(fs: &MemFs) -> Log {
        let config = LogConfig::default().producer_id_expiration(Duration::MAX);
        let config = config.index_interval_bytes(0);
        Log::open(DIR, config.fs(fs.clone())).unwrap()
    }

    fn send(log: &Log, id: ProducerId, sequence: Sequence) {
        let mut builder = BatchBuilder::new();
        builder.producer(id, 0, sequence);
        builder.push(Timestamp::from_millis(1), None, Some(b"v")).unwrap();
        assert!(!log.append_batch(builder.build().unwrap()).unwrap().duplicate);
    }

    /// Lets the next append find that a snapshot is due.
    fn make_due(log: &Log) {
        let mut writer = log.shared.writer.lock();
        let writer = writer.as_mut().unwrap();
        assert!(!writer.tracked.is_due(writer.log.position()));
        writer.tracked.due = writer.log.position() + 1;
    }

    fn path(offset: Offset) -> PathBuf {
        Path::new(DIR).join(format!("{offset:020}.snapshot"))
    }

    fn snapshots(fs: &MemFs) -> Vec<Offset> {
        let names = fs.list(Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name);
        names.filter_map(|name| name.strip_suffix(".snapshot")?.parse().ok()).collect()
    }

    /// Two segments, producer 1 in the first, 2 and 3 in the second, the last snapshot between the
    /// batches of these.
    fn log_with_one_in_between() -> MemFs {
        let fs = MemFs::new();
        let log = open(&fs);
        send(&log, 1, 0);
        log.roll().unwrap();
        for n in 0..3 {
            make_due(&log);
            send(&log, 2, n);
            // The one before is of no use any more; the one where the segment begins is.
            assert_eq!(snapshots(&fs), [1, 2 + n as Offset]);
        }
        send(&log, 3, 0);
        assert_eq!(snapshots(&fs), [1, 4]);
        // An opening vouches for all that, so that the next one has no other reason to read it.
        let disk = fs.kill();
        drop(open(&disk));
        disk.kill()
    }

    fn ids(log: &Log) -> Vec<ProducerId> {
        log.producers().unwrap().iter().map(|state| state.producer_id).collect()
    }

    #[test]
    fn one_is_due_every_64_mib() {
        let tracked = Tracked::nothing(0);
        assert!(!tracked.is_due((64 << 20) - 1) && tracked.is_due(64 << 20));
        let tracked = tracked.at(100);
        assert!(!tracked.is_due((64 << 20) + 99) && tracked.is_due((64 << 20) + 100));
        let log = open(&MemFs::new());
        make_due(&log);
        send(&log, 1, 0);
        let due = log.shared.writer.lock().as_ref().unwrap().tracked.due;
        assert_eq!(due, log.stats().unwrap().segments[0].bytes + (64 << 20));
    }

    /// Calls the log whenever a snapshot could not be written.
    #[derive(Debug, Default)]
    struct Rolls(std::sync::OnceLock<Log>);

    impl crate::Listener for Rolls {
        fn on_event(&self, event: &Event) {
            if let (Event::CheckpointFailed { .. }, Some(log)) = (event, self.0.get()) {
                log.roll().unwrap();
            }
        }
    }

    /// The event of a snapshot that fails in an append was delivered with the lock of the writer
    /// held.
    #[test]
    fn listener_may_call_log_when_snapshot_fails() {
        let fs = crate::fs::FaultFs::new(MemFs::new());
        let listener = Arc::new(Rolls::default());
        let config = LogConfig::default().fs(fs.clone()).listener(listener.clone());
        let log = Log::open(DIR, config).unwrap();
        listener.0.set(log.clone()).unwrap();
        let full = crate::fs::Fault::Error(std::io::ErrorKind::StorageFull);
        fs.add_rule(crate::fs::Rule::any(full).path(".snapshot"));
        make_due(&log);
        let (tell, told) = std::sync::mpsc::channel();
        let appender = log.clone();
        std::thread::spawn(move || {
            send(&appender, 1, 0);
            tell.send(()).unwrap();
        });
        told.recv_timeout(Duration::from_secs(60)).expect("the listener waits for the append");
        assert_eq!(log.stats().unwrap().segments.len(), 2);
    }

    #[test]
    fn after_a_kill_the_producers_are_read_from_the_one_in_between_on() {
        let fs = log_with_one_in_between();
        assert_eq!(ids(&open(&fs.kill())), [1, 2, 3]);
        // It knows another producer, and not the producers before it.
        let state = ProducerState { producer_id: 99, ..open(&fs.kill()).producers().unwrap()[0] };
        let file = fs.open(&path(4), OpenMode::ReadWrite).unwrap();
        let bytes = snapshot::encode(&[state]);
        file.set_len(bytes.len() as u64).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        let log = open(&fs);
        assert_eq!(ids(&log), [3, 99]);
        // The next one in between takes its place.
        make_due(&log);
        send(&log, 3, 1);
        assert_eq!(snapshots(&fs), [1, 6]);
    }

    #[test]
    fn one_in_between_that_is_damaged_or_gone_is_not_needed() {
        let expected = open(&log_with_one_in_between()).producers().unwrap();
        for harmed in [&[4][..], &[1, 4]] {
            for cut in [None, Some(0), Some(9), Some(55)] {
                let fs = log_with_one_in_between();
                for offset in harmed {
                    match cut {
                        None => fs.remove(&path(*offset)).unwrap(),
                        Some(len) => {
                            fs.open(&path(*offset), OpenMode::ReadWrite)
                                .unwrap()
                                .set_len(len)
                                .unwrap();
                        }
                    }
                }
                let log = open(&fs);
                assert_eq!(log.producers().unwrap(), expected);
                let left: Vec<_> = [1].into_iter().filter(|at| !harmed.contains(at)).collect();
                assert_eq!(snapshots(&fs), left);
                log.roll().unwrap();
                assert_eq!(snapshots(&fs), [left, vec![5]].concat());
            }
        }
    }

    #[test]
    fn who_is_silent_is_not_written() {
        let fs = MemFs::new();
        let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
        send(&log, 1, 0);
        {
            let mut writer = log.shared.writer.lock();
            let tracked = &mut writer.as_mut().unwrap().tracked;
            tracked.now = Timestamp::from_millis(tracked.now.as_millis() + 24 * 3_600_000);
            log.shared.store_producers(tracked, 0, 0);
            assert_eq!((tracked.len(), tracked.stored), (0, Some(1)));
        }
        assert_eq!(snapshots(&fs), [1]);
    }
}
