//! Compaction compared with a model of it, and under every failure.

mod failures;
mod model;
mod transactions;

use self::model::{Bat, Facts, Pass, Seg};
use crate::compaction::key_map::KeyMap;
use crate::compaction::plan::{GroupLimits, Part, groups};
use crate::compaction::read_keys::{KeysRead, read_keys};
use crate::compaction::rewrite::{RewriteOptions, Rewritten, SegmentGroup, rewrite};
use crate::compaction::survivors::Survivors;
use crate::compaction::transactions::{LogTransactions, MarkerFate, Transactions};
use crate::compaction::{Scratch, Source};
use crate::error::Result;
use crate::event::{Event, EventSink, Listener};
use crate::fs::{Dir, Fs, MemFs, OpenMode};
use crate::producer_state::ProducerState;
use crate::random::SplitMix64;
use crate::record::{BatchHeader, Compression, EndTxnMarker};
use crate::segment::name::{Kind, SegmentFile, Stage};
use crate::segment::{Segment, SegmentDir};
use crate::types::{Offset, Timestamp};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const DIR: &str = "/log";

/// Fails if an index of a cleaned segment has to be rebuilt.
#[derive(Debug)]
struct NoRebuilds;

impl Listener for NoRebuilds {
    fn on_event(&self, event: &Event) {
        assert!(!matches!(event, Event::IndexRebuilt { .. }), "{event:?}");
    }
}

fn open_dir(fs: impl Fs, listener: Option<Arc<dyn Listener>>) -> Arc<SegmentDir> {
    let events = EventSink::new(listener);
    Arc::new(SegmentDir::new(Dir::new(Arc::new(fs), DIR.into(), events, true), 200))
}

fn read(fs: &dyn Fs, path: &Path) -> Vec<u8> {
    let file = fs.open(path, OpenMode::ReadOnly).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn write(fs: &dyn Fs, path: &Path, bytes: &[u8]) {
    let file = fs.open(path, OpenMode::CreateNew).unwrap();
    file.write_all_at(bytes, 0).unwrap();
}

fn store(fs: &dyn Fs, segments: &[Seg]) {
    fs.create_dir(Path::new(DIR)).unwrap();
    for segment in segments {
        let name = SegmentFile::live(segment.base, Kind::Log).to_string();
        let bytes: Vec<u8> = segment.batches.iter().flat_map(Bat::encode).collect();
        write(fs, &Path::new(DIR).join(name), &bytes);
    }
}

fn files(fs: &dyn Fs) -> BTreeMap<String, Vec<u8>> {
    let names = fs.list(Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name);
    names.map(|name| (name.clone(), read(fs, &Path::new(DIR).join(&name)))).collect()
}

/// Returns the segments as a log would hold them.
fn open_segments(dir: &Arc<SegmentDir>, segments: &[Seg]) -> Vec<Segment> {
    let open = |seg: &Seg| {
        let bytes = dir.open_log(seg.base).unwrap().len().unwrap();
        Segment::sealed(Arc::clone(dir), seg.base, bytes)
    };
    segments.iter().map(open).collect()
}

fn sources<'a>(segments: &'a [Segment], model: &[Seg]) -> Vec<Source<'a>> {
    let source = |(segment, seg): (&'a Segment, &Seg)| Source { segment, next: seg.next };
    segments.iter().zip(model).map(source).collect()
}

struct Fake<'a>(&'a Facts);

impl Transactions for Fake<'_> {
    fn begin_segment(&mut self, _: Range<Offset>) {}

    fn is_aborted(&mut self, header: &BatchHeader) -> Result<bool> {
        assert!(!header.is_control());
        Ok(self.0.aborted.contains(&header.base_offset))
    }

    fn end(&mut self, header: &BatchHeader, _: EndTxnMarker) -> Result<MarkerFate> {
        assert!(header.is_control());
        let is_discardable = self.0.discardable.contains(&header.base_offset);
        Ok(if is_discardable { MarkerFate::Discardable } else { MarkerFate::Keep })
    }

    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        assert!(header.has_producer());
        self.0.last_of_producer.contains(&header.base_offset)
    }
}

fn options(pass: &Pass) -> RewriteOptions {
    RewriteOptions {
        now: Timestamp::from_millis(pass.now),
        delete_retention: Duration::from_millis(pass.retention as u64),
        compression: pass.compression.map(Compression::of),
    }
}

fn new_map(slots: usize, pass: &Pass) -> KeyMap {
    KeyMap::new(24 * slots, &(pass.from..pass.upto), [9; 16]).unwrap()
}

fn fill(map: &mut KeyMap, all: &[Source<'_>], pass: &Pass, facts: &Facts) -> Result<KeysRead> {
    let dirty: Vec<_> =
        all.iter().copied().filter(|s| s.next > pass.from && s.segment.base < pass.upto).collect();
    let mut scratch = Scratch::new(1 << 20);
    read_keys(&dirty, pass.from, map, &mut scratch, &mut Fake(facts), &mut |_| Ok(()))
}

fn write_group(
    group: &SegmentGroup<'_>,
    survivors: &Survivors<'_>,
    pass: &Pass,
    facts: &Facts,
) -> Result<Rewritten> {
    let mut scratch = Scratch::new(1 << 20);
    let mut fake = Fake(facts);
    let done = rewrite(group, survivors, &options(pass), &mut scratch, &mut fake, &mut |_| Ok(()));
    done.map(|(done, _)| done)
}

fn group_ranges(all: &[Source<'_>], end: Offset, bytes: u64) -> Vec<Range<usize>> {
    let part = |s: &Source<'_>| {
        let indexes = s.segment.indexes(s.next).unwrap();
        Part {
            base: s.segment.base,
            next: s.next,
            bytes: s.segment.published(),
            offset_entries: indexes.offsets.len(),
            time_entries: indexes.times.len(),
            largest: Timestamp::NONE,
            first: Timestamp::NONE,
            active: false,
        }
    };
    let parts: Vec<_> = all.iter().map(part).collect();
    groups(&parts, end, &GroupLimits { segment_bytes: bytes, index_bytes: 4096 })
}

fn read_cleaned(fs: &dyn Fs, base: Offset) -> BTreeMap<String, Vec<u8>> {
    let prefix = format!("{base:020}.");
    let cleaned = |name: &String| name.starts_with(&prefix) && name.ends_with(".cleaned");
    files(fs).into_iter().filter(|(name, _)| cleaned(name)).collect()
}

/// Replaces the sources with the cleaned segment, as the log does.
fn swap(dir: &SegmentDir, group: &[Seg]) {
    for seg in group {
        for kind in Kind::ALL {
            dir.discard(SegmentFile::live(seg.base, kind));
        }
    }
    for kind in Kind::ALL {
        let live = SegmentFile::live(group[0].base, kind);
        let cleaned = dir.path_of(SegmentFile { stage: Stage::Cleaned, ..live });
        let renamed = dir.fs.rename(&cleaned, &dir.path_of(live));
        assert!(
            renamed.is_ok() || !matches!(kind, Kind::Log | Kind::OffsetIndex | Kind::TimeIndex)
        );
    }
}

/// Checks a segment on disk, including its indexes.
fn check_segment(fs: &MemFs, seg: &Seg, largest: Timestamp) {
    let dir = open_dir(fs.clone(), Some(Arc::new(NoRebuilds)));
    let path = dir.path_of(SegmentFile::live(seg.base, Kind::Log));
    assert_eq!(Bat::decode_all(&read(fs, &path)), seg.batches);
    let bytes = dir.open_log(seg.base).unwrap().len().unwrap();
    let segment = Segment::sealed(dir, seg.base, bytes);
    assert_eq!(segment.largest_timestamp(seg.next).unwrap(), largest);
    for batch in &seg.batches {
        let at = segment.locate(batch.last, seg.next).unwrap().unwrap();
        assert!(at.lowest <= batch.base);
    }
    let max = seg.batches.iter().map(|batch| batch.max).max().unwrap_or(-1);
    assert_eq!(largest.as_millis(), max);
}

/// Makes one pass over a log and compares it with the model, batch by batch. Returns the segments
/// afterwards, the end of the pass, and whether anything changed.
fn pass_over(
    fs: &MemFs,
    model: &[Seg],
    pass: &Pass,
    slots: usize,
    segment_bytes: u64,
    facts: &Facts,
) -> (Vec<Seg>, Offset, bool) {
    let dir = open_dir(fs.clone(), None);
    let segments = open_segments(&dir, model);
    let all = sources(&segments, model);
    let mut map = new_map(slots, pass);
    let mapped = fill(&mut map, &all, pass, facts).unwrap();
    let (expected_map, end) = model::map(model, pass, map.capacity(), facts);
    assert_eq!(mapped.end, end);
    assert_eq!(map.len(), expected_map.len());
    for (key, last) in &expected_map {
        assert_eq!(map.get(key), Some(*last));
    }
    let survivors = Survivors::new(&map, pass.from..end).with_spans(&mapped.spans);
    let by_key = Survivors::by_key(&map, pass.from..end);
    let mut after = Vec::new();
    let mut changed = false;
    let ranges = group_ranges(&all, end, segment_bytes);
    let rest = ranges.last().map_or(0, |range| range.end);
    for range in ranges {
        let (sources, old) = (&all[range.clone()], &model[range]);
        let group = SegmentGroup { dir: &dir, base: old[0].base, sources };
        let other = write_group(&group, &by_key, pass, facts).unwrap();
        let other_files = read_cleaned(fs, group.base);
        let done = write_group(&group, &survivors, pass, facts).unwrap();
        assert!(done.bytes_read <= other.bytes_read);
        let other = Rewritten { bytes_read: done.bytes_read, ..other };
        assert_eq!((done, read_cleaned(fs, group.base)), (other, other_files));
        let before: Vec<u8> = old.iter().flat_map(|seg| read(fs, &path(seg.base))).collect();
        swap(&dir, old);
        let next = old.last().unwrap().next;
        let all = old.iter().flat_map(|seg| &seg.batches);
        let kept = |batch| model::clean(batch, &expected_map, (end, next), pass, facts);
        let mut batches: Vec<_> = all.filter_map(kept).collect();
        let last = batches.last().map(|batch| (batch.last + 1, batch.epoch));
        let (covered, epoch) = last.unwrap_or((old[0].base, -1));
        if covered < next {
            batches.push(Bat::empty(covered, next, epoch));
        }
        let seg = Seg { base: old[0].base, next, batches };
        check_segment(fs, &seg, done.largest);
        check_counts(&done, old, &seg);
        assert_eq!(done.changed, read(fs, &path(seg.base)) != before);
        changed |= done.changed;
        after.push(seg);
    }
    after.extend_from_slice(&model[rest..]);
    (after, end, changed)
}

fn path(base: Offset) -> std::path::PathBuf {
    Path::new(DIR).join(SegmentFile::live(base, Kind::Log).to_string())
}

fn check_counts(done: &Rewritten, old: &[Seg], new: &Seg) {
    let records = |batches: &[Bat]| batches.iter().map(|b| b.records.len() as u64).sum::<u64>();
    let old: Vec<Bat> = old.iter().flat_map(|seg| seg.batches.clone()).collect();
    assert_eq!(done.batches_read, old.len() as u64);
    assert_eq!(done.batches_kept, new.batches.len() as u64);
    assert_eq!(done.records_kept, records(&new.batches));
    assert_eq!(done.records_removed, records(&old) - records(&new.batches));
    assert!(done.tombstones_removed <= done.records_removed);
    assert!(done.bytes_written >= done.bytes);
}

/// A model of the model: the last record of each key stays, and nothing that was deleted.
fn survivors(segments: &[Seg], facts: &Facts) -> Vec<Offset> {
    let mut last = BTreeMap::new();
    for batch in segments.iter().flat_map(|seg| &seg.batches) {
        if !batch.control && !facts.aborted.contains(&batch.base) {
            for record in &batch.records {
                if let Some(key) = &record.key {
                    last.insert(key.clone(), (record.offset, record.value.is_some()));
                }
            }
        }
    }
    let mut live: Vec<_> = last.into_values().filter(|(_, live)| *live).map(|(o, _)| o).collect();
    live.sort_unstable();
    live
}

fn data_offsets(segments: &[Seg]) -> Vec<Offset> {
    let batches = segments.iter().flat_map(|seg| &seg.batches).filter(|batch| !batch.control);
    batches.flat_map(|batch| batch.records.iter().map(|record| record.offset)).collect()
}

fn check_log(seed: u64, transactions: bool) {
    println!("seed {seed}, transactions {transactions}");
    let mut random = SplitMix64(seed);
    let (mut model, facts) = model::log(&mut random, transactions);
    let fs = MemFs::new();
    store(&fs, &model);
    let start = model[0].base;
    let upto = model.last().unwrap().next;
    let expected = survivors(&model, &facts);
    let compression = [None, None, Some(crate::types::Codec::None)][random.below(3) as usize];
    let retention = random.below(20) as i64;
    let mut pass = Pass { from: start, upto, now: 10_000, retention, compression };
    let slots = 2 + random.below(20) as usize;
    let bytes = random.below(3_000);
    while pass.from < upto {
        let (after, end, _) = pass_over(&fs, &model, &pass, slots, bytes, &facts);
        assert!(end > pass.from);
        (model, pass.from) = (after, end);
        pass.now += random.below(12) as i64;
    }
    // The clean part is cleaned again, after every delete horizon has been set and has passed.
    (pass.from, pass.now) = (start, pass.now + 100);
    (model, _, _) = pass_over(&fs, &model, &pass, 1000, bytes, &facts);
    pass.now += 100;
    (model, _, _) = pass_over(&fs, &model, &pass, 1000, bytes, &facts);
    assert_eq!(data_offsets(&model), expected);
    let before = files(&fs);
    let (again, _, changed) = pass_over(&fs, &model, &pass, 1000, 0, &facts);
    assert_eq!((again.len(), changed), (model.len(), false));
    let logs = |files: BTreeMap<String, Vec<u8>>| -> Vec<_> {
        files.into_iter().filter(|(name, _)| name.ends_with(".log")).collect()
    };
    assert_eq!(logs(files(&fs)), logs(before));
}

#[test]
fn compaction_matches_model() {
    (0..400).for_each(|seed| check_log(seed, false));
}

#[test]
fn compaction_matches_model_with_transactions() {
    (1_000..1_400).for_each(|seed| check_log(seed, true));
}

#[test]
fn active_producer_keeps_last_batch() {
    let mut random = SplitMix64(5);
    let key = |batch: &mut Bat| batch.records.iter_mut().for_each(|r| r.key = Some(b"k".to_vec()));
    let (mut batches, mut next) = (Vec::new(), 0);
    // The first batches of 4 and 6 are not their last, and 7 is forgotten.
    for producer in [4, 7, 5, 4, 6] {
        let mut batch = model::batch(&mut random, next, 1);
        key(&mut batch);
        batch.producer = (producer, 1, 0);
        next = batch.last + 1;
        batches.push(batch);
    }
    let state = |id: i64, last_offset: Offset| ProducerState {
        producer_id: id,
        producer_epoch: 1,
        last_sequence: 0,
        last_offset: last_offset as i64,
        offset_delta: 0,
        last_timestamp: Timestamp::NONE,
        coordinator_epoch: -1,
        current_txn_first_offset: -1,
    };
    let active = vec![state(6, next + 9), state(5, batches[2].last), state(4, batches[3].last)];
    let kept = batches[2].base;
    let model = [Seg { base: 0, next, batches }];
    let fs = MemFs::new();
    store(&fs, &model);
    let dir = open_dir(fs.clone(), None);
    let segments = open_segments(&dir, &model);
    let all = sources(&segments, &model);
    let mut map = KeyMap::new(1 << 10, &(0..next), [0; 16]).unwrap();
    // Without a batch of a transaction, none is looked up.
    let find = |_| panic!("no batch belongs to a transaction");
    let mut none = LogTransactions::new(&find).with_active(active);
    let mut scratch = Scratch::new(1 << 20);
    let mut bytes = 0;
    let mut report = |portion| {
        bytes += portion;
        Ok(())
    };
    let mapped = read_keys(&all, 0, &mut map, &mut scratch, &mut none, &mut report).unwrap();
    assert_eq!((mapped.end, mapped.full, mapped.batches), (next, false, 5));
    assert!(mapped.records >= 5 && mapped.bytes_read == segments[0].published());
    let survivors = Survivors::new(&map, 0..next);
    let pass = Pass { from: 0, upto: next + 1, now: 0, retention: 0, compression: None };
    let group = SegmentGroup { dir: &dir, base: 0, sources: &all };
    let done = rewrite(&group, &survivors, &options(&pass), &mut scratch, &mut none, &mut report);
    let (done, _) = done.unwrap();
    assert_eq!(bytes, mapped.bytes_read + done.bytes_read + done.bytes);
    let live = SegmentFile::live(0, Kind::Log);
    let cleaned = dir.path_of(SegmentFile { stage: Stage::Cleaned, ..live });
    let left = Bat::decode_all(&read(&fs, &cleaned));
    let shape: Vec<_> = left.iter().map(|batch| (batch.base, batch.records.len())).collect();
    let [.., fourth, fifth] = &model[0].batches[..] else { panic!("{shape:?}") };
    assert_eq!(shape, [(kept, 0), (fourth.base, 0), (fifth.base, 1)]);
    assert_eq!((left[1].last, left[1].producer), (fourth.last, fourth.producer));
}
