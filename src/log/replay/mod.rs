//! Rebuilding the producers of a log from its newest snapshot and the batches after it.
//!
//! An opening and a truncation do this. The index of aborted transactions is rebuilt on the way.

pub(crate) mod txn_index;

use crate::error::{Error, InvalidBatch, Result};
use crate::event::Event;
use crate::log::dynamic_config::FixedConfig;
use crate::log::files::snapshots::{path_of, remove_snapshots, stored_offsets};
use crate::log::replay::txn_index::TxnIndexes;
use crate::log::state::producers::{ProducerTracker, Timeline};
use crate::producer_state::{ProducerState, Producers, Unreplicated, recent, snapshot};
use crate::record::{BatchRef, DecodeBuffer, marker_of};
use crate::segment::batches::SegmentBatches;
use crate::segment::headers::read_header;
use crate::segment::index_files::stored_indexes;
use crate::segment::name::{Kind, SegmentFile};
use crate::segment::recovered::RecoveryObserver;
use crate::segment::txn_index::{AbortedTxn, TxnIndex};
use crate::segment::{Segment, SegmentDir};
use crate::types::{Offset, Timestamp};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How far below a snapshot without a `.recent` file to read for the batches that it leaves out:
/// more than five requests of the default size, which a client may have in flight.
const RECENT_BYTES: u64 = 16 << 20;

/// The offset of a snapshot, its producers, and its bytes.
type Snapshot = (Offset, Vec<ProducerState>, Vec<u8>);

/// Records a batch that is in the log. Returns the transaction that it aborts, if it is the marker
/// of one.
fn note_batch(
    producers: &mut Producers,
    batch: &BatchRef<'_>,
    decode: &mut DecodeBuffer,
    heard: Timestamp,
) -> Result<Option<AbortedTxn>, InvalidBatch> {
    let header = batch.header();
    if !header.is_control() || !header.has_producer() {
        producers.note(header, heard);
        return Ok(None);
    }
    let Some(marker) = marker_of(batch, decode)? else { return Ok(None) };
    let first = producers.note_marker(header, &marker, heard);
    Ok(first.filter(|_| !marker.committed).map(|first| AbortedTxn {
        producer_id: header.producer_id,
        first,
        last: header.base_offset,
        last_stable: producers
            .first_undecided()
            .unwrap_or_else(|| header.base_offset.saturating_add(1)),
    }))
}

/// The targets of a replay: the state that the batches of a segment change.
struct SegmentReplay<'a> {
    producers: &'a mut Producers,
    decode: &'a mut DecodeBuffer,
    /// Called for each transaction that a marker aborts.
    found: &'a mut dyn FnMut(AbortedTxn),
}

/// Rebuilds the producers of a log from its newest snapshot and the batches after it.
#[derive(Debug)]
pub(crate) struct ProducerReplay {
    dir: Arc<SegmentDir>,
    /// The base offsets and lengths of the log files.
    logs: Vec<(Offset, u64)>,
    snapshots: BTreeSet<Offset>,
    /// The snapshots that have a `.recent` file with what they leave out.
    recents: BTreeSet<Offset>,
    txn_indexes: TxnIndexes,
    max_decompressed_bytes: usize,
    /// A replayed batch counts as heard at its `opened_at`.
    timeline: Timeline,
    expire_after: Duration,
    /// The state, once the replay has begun.
    producers: Option<Producers>,
    /// Whether the state comes from the remaining batches alone, of a log whose first records were
    /// deleted. A snapshot may know more producers.
    is_partial: bool,
    /// Whether the replay goes on after batches that cannot be read.
    passes_damage: bool,
    /// The high watermark of a replicated log.
    high_watermark: Option<Offset>,
}

impl ProducerReplay {
    pub(crate) fn new(
        dir: &Arc<SegmentDir>,
        config: &FixedConfig,
        logs: Vec<(Offset, u64)>,
        now: Timestamp,
    ) -> Result<ProducerReplay> {
        let of_logs = ProducerReplay::of_logs(dir, config.max_decompressed_bytes, logs)?;
        Ok(ProducerReplay {
            timeline: Timeline { opened_at: now, opened: config.clock.monotonic() },
            expire_after: config.producer_id_expiration,
            ..of_logs
        })
    }

    /// Creates a replay for which it does not matter when a producer was heard.
    pub(crate) fn of_logs(
        dir: &Arc<SegmentDir>,
        max_decompressed_bytes: usize,
        logs: Vec<(Offset, u64)>,
    ) -> Result<ProducerReplay> {
        let entries = dir.fs.list(&dir.path).map_err(|e| Error::io("list", &dir.path, e))?;
        Ok(ProducerReplay {
            dir: Arc::clone(dir),
            logs,
            snapshots: stored_offsets(&entries, Kind::Snapshot),
            recents: stored_offsets(&entries, Kind::Recent),
            txn_indexes: TxnIndexes::new(stored_offsets(&entries, Kind::TxnIndex)),
            max_decompressed_bytes,
            timeline: Timeline::NONE,
            expire_after: Duration::MAX,
            producers: None,
            is_partial: false,
            passes_damage: true,
            high_watermark: None,
        })
    }

    /// Makes the replay fail at a batch that cannot be read. An open log that skipped it would
    /// take a resent batch for a new one.
    pub(crate) fn of_sound_batches(self) -> ProducerReplay {
        ProducerReplay { passes_damage: false, ..self }
    }

    /// Makes the replay find the completed transactions whose markers lie at or above the high
    /// watermark, if the log is replicated.
    pub(crate) fn above_high_watermark(self, high_watermark: Option<Offset>) -> ProducerReplay {
        ProducerReplay { high_watermark, ..self }
    }

    /// Takes over the time at which the writer last heard each producer. It can be later than the
    /// last batch in the log: a duplicate is heard, and not stored.
    pub(crate) fn hear_as(&mut self, known: &ProducerTracker) {
        if let Some(producers) = &mut self.producers {
            producers.hear_as(&known.producers);
        }
    }

    /// Forgets all segments, which were removed, except for an empty one that begins at the end,
    /// and the producers of their batches, which no later opening would find.
    pub(crate) fn leave_only(&mut self, base: Offset) -> Result<()> {
        self.logs = vec![(base, 0)];
        self.txn_indexes = TxnIndexes::default();
        self.producers = Some(self.load(base)?);
        Ok(())
    }

    /// Sets an empty state, for a caller that knows that there are no producers.
    pub(crate) fn know_of_none(&mut self, end: Offset) {
        self.producers = Some(Producers::none(end));
    }

    /// Returns the first offset of the earliest open transaction, once the replay has begun.
    pub(crate) fn first_undecided(&self) -> Option<Offset> {
        self.producers.as_ref().and_then(Producers::first_undecided)
    }

    /// Reads which transactions are aborted by all markers of a log that ends here, because an
    /// index of a segment is missing, or has lost entries.
    pub(crate) fn index_all(&mut self, end: Offset) -> Result<()> {
        let mut producers = self.load(self.first(end))?;
        let mut found = Vec::new();
        self.read(&mut producers, end, &mut |aborted| found.push(aborted))?;
        let bases = self.logs.iter().map(|(base, _)| *base).collect();
        self.txn_indexes.know_all(bases, found);
        Ok(())
    }

    /// Reads which transactions are aborted by the markers of a segment below an offset.
    pub(crate) fn index_segment(&mut self, base: Offset, upto: Offset) -> Result<TxnIndex> {
        let mut later = self.logs.iter().map(|(base, _)| *base).filter(|other| *other > base);
        let upto = later.next().unwrap_or(Offset::MAX).min(upto);
        let mut producers = self.load(base)?;
        let index = TxnIndex::empty();
        self.read(&mut producers, upto, &mut |aborted| {
            if aborted.last >= base {
                index.push(aborted);
            }
        })?;
        Ok(index)
    }

    /// Returns the producers of a log that ends here.
    pub(crate) fn producers_at(mut self, end: Offset) -> Result<Producers> {
        let mut producers = self.load(end)?;
        self.read(&mut producers, end, &mut |_| {})?;
        Ok(producers)
    }

    /// Returns the transactions of a log at an offset, for a reader that changes no file. A log
    /// without any snapshot up to there is taken for one without producers, as in Kafka, unless it
    /// is replicated.
    pub(crate) fn transactions_at(mut self, offset: Offset) -> Result<Producers> {
        let unreplicated = self.high_watermark.map(Unreplicated::above);
        let from = self.high_watermark.map_or(offset, |at| at.clamp(self.first(offset), offset));
        let has_any = self.snapshots.range(..=offset).next().is_some();
        let mut producers = match self.newest_states(from)? {
            Some((at, states, _)) => Producers::restore(&states, at, Timestamp::NONE),
            None if unreplicated.is_none() && !has_any => Producers::none(offset),
            None => Producers::none(self.first(offset)),
        };
        producers.unreplicated = unreplicated;
        self.read(&mut producers, offset, &mut |_| {})?;
        Ok(producers)
    }

    /// Returns the producers of a log that ends here, and the aborted transactions of its active
    /// segment. Removes the snapshots above the end, and those inside a segment except the newest.
    pub(crate) fn finish(
        mut self,
        end: Offset,
        active: Offset,
    ) -> Result<(ProducerTracker, TxnIndex)> {
        let (found, dir) = (std::mem::take(&mut self.txn_indexes), Arc::clone(&self.dir));
        let aborted = found.store(&dir, end, active, &mut |base| self.index_segment(base, end))?;
        let mut producers = self.producers.take().unwrap_or_default();
        producers.advance(end);
        producers.unreplicated = self.unreplicated(end)?;
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
        let mut tracked = ProducerTracker::new(producers, self.timeline, newest);
        tracked.is_stale = is_stale;
        Ok((tracked, aborted))
    }

    /// Returns the completed transactions that not all replicas know as such, by reading the
    /// batches from the high watermark on. A snapshot has none of them.
    fn unreplicated(&mut self, end: Offset) -> Result<Option<Unreplicated>> {
        let Some(high_watermark) = self.high_watermark else { return Ok(None) };
        if high_watermark >= end {
            return Ok(Some(Unreplicated::above(end)));
        }
        let mut producers = self.load(high_watermark.max(self.first(end)))?;
        producers.unreplicated = Some(Unreplicated::above(high_watermark));
        self.read(&mut producers, end, &mut |_| {})?;
        Ok(producers.unreplicated)
    }

    /// Returns the start of the first segment. A snapshot below it is useless, because the batches
    /// after it are gone.
    fn first(&self, end: Offset) -> Offset {
        self.logs.first().map_or(end, |(base, _)| (*base).min(end))
    }

    /// Returns the producers of the newest sound snapshot up to an offset. Removes damaged
    /// snapshots.
    fn load(&mut self, upto: Offset) -> Result<Producers> {
        if let Some((offset, states, bytes)) = self.newest_states(upto)? {
            self.is_partial = false;
            return self.recall(&states, &bytes, offset);
        }
        let first = self.first(upto);
        self.is_partial = first > 0;
        Ok(Producers::none(first))
    }

    /// Returns the newest sound snapshot up to an offset: its offset, its content, and its bytes.
    /// Removes damaged snapshots.
    fn newest_states(&mut self, upto: Offset) -> Result<Option<Snapshot>> {
        let first = self.first(upto);
        while let Some(offset) = self.snapshots.range(first..=upto).next_back().copied() {
            let path = path_of(&self.dir, offset, Kind::Snapshot);
            let reason = match self.dir.read_small(&path, snapshot::MAX_BYTES)? {
                Some(bytes) => match snapshot::decode(&bytes) {
                    Ok(states) if snapshot::is_possible(&states, offset) => {
                        return Ok(Some((offset, states, bytes)));
                    }
                    Ok(_) => "it has a state of producers that is impossible at its offset",
                    Err((_, reason)) => reason,
                },
                None => "it is missing",
            };
            self.dir.events.emit(&Event::CheckpointIgnored { path, reason });
            self.dir.discard(SegmentFile::live(offset, Kind::Snapshot));
            self.snapshots.remove(&offset);
        }
        Ok(None)
    }

    /// Returns the producers of a snapshot, with what it leaves out: from its `.recent` file, or
    /// from the batches not too far below.
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
            self.read(&mut replayed, offset, &mut |_| {})?;
            producers.recall_replayed(&replayed);
        }
        Ok(producers)
    }

    /// Returns an offset about so many bytes below another.
    fn offset_before(&self, offset: Offset, bytes: u64) -> Result<Offset> {
        let mut left = bytes;
        for &(base, len) in self.logs.iter().rev().filter(|(base, _)| *base < offset) {
            let Some(indexes) = stored_indexes(&self.dir, base, len)?.ok() else {
                // Without an index, there is no place in the segment to begin at.
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

    /// Records the batches between the end of a state and an offset.
    fn read(
        &self,
        producers: &mut Producers,
        upto: Offset,
        found: &mut dyn FnMut(AbortedTxn),
    ) -> Result<()> {
        let mut decode = DecodeBuffer::new(self.max_decompressed_bytes);
        let nexts = self.logs.iter().skip(1).map(|(base, _)| *base).chain([Offset::MAX]);
        for (&(base, bytes), next) in self.logs.iter().zip(nexts) {
            if next <= producers.end() || base >= upto {
                continue;
            }
            let mut read = SegmentReplay { producers: &mut *producers, decode: &mut decode, found };
            match self.read_segment((base, bytes), next, upto, &mut read) {
                // This part was synced, so recovery does not read it. A read of the records
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
        (base, bytes): (Offset, u64),
        next: Offset,
        upto: Offset,
        into: &mut SegmentReplay<'_>,
    ) -> Result<()> {
        let segment = Segment::sealed(Arc::clone(&self.dir), base, bytes);
        let position = self.position_below(&segment, bytes, into.producers.end())?;
        let heard = self.timeline.opened_at;
        let mut batches = SegmentBatches::new(&segment, bytes, next)?.starting_from(position, base);
        // The bytes after that are not read: they may be damage or reserved room.
        while batches.lowest() < upto.min(next) {
            let Some((position, batch)) = batches.next()? else { break };
            let base_offset = batch.header().base_offset;
            if base_offset >= upto {
                break;
            }
            if base_offset >= into.producers.end() {
                let noted = note_batch(into.producers, &batch, into.decode, heard);
                let aborted = noted.map_err(|reason| {
                    segment.corrupt(position, Some(base_offset), reason.into())
                })?;
                aborted.into_iter().for_each(&mut *into.found);
            }
        }
        Ok(())
    }
}

impl ProducerReplay {
    /// Returns a position where a batch begins, with no batch at or above an offset before it.
    fn position_below(&self, segment: &Segment, bytes: u64, offset: Offset) -> Result<u64> {
        // Use the index only if it is sound. The first read that needs a damaged one rebuilds it.
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

/// Observes the batches that recovery reads anyway.
impl RecoveryObserver for ProducerReplay {
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
            self.read(&mut producers, at, &mut |_| {})?;
            producers.advance(at);
        }
        self.producers = Some(producers);
        Ok(())
    }

    fn batch(&mut self, batch: &BatchRef<'_>) -> Result<(), InvalidBatch> {
        let Some(producers) = &mut self.producers else { return Ok(()) };
        let mut decode = DecodeBuffer::new(self.max_decompressed_bytes);
        let aborted = note_batch(producers, batch, &mut decode, self.timeline.opened_at)?;
        self.txn_indexes.found.extend(aborted);
        Ok(())
    }

    fn forget(&mut self) {
        self.producers = None;
        self.txn_indexes.forget();
    }
}
