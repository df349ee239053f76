use super::*;
use crate::event::{EventSink, Heard};
use crate::fs::{Dir, Fault, FaultFs, Fs, MemFs, Operation, Rule, WhenFull};
use crate::record::{BatchBuilder, stamp_base_offset};
use crate::segment::active::ActiveLog;
use crate::segment::index_files::MISSING;
use crate::segment::offset_index::OffsetIndex;
use crate::segment::scan::{BUFFER_BYTES, BatchStream, Step};
use crate::segment::time_index::TimeIndex;
use std::path::Path;

fn batch_of(base: Offset, value: &[u8]) -> Vec<u8> {
    let mut batch = BatchBuilder::new();
    batch.push(Timestamp::from_millis(1), None, Some(value)).unwrap();
    let mut batch = batch.finish().unwrap().to_vec();
    stamp_base_offset(&mut batch, base).unwrap();
    batch
}

fn directory() -> (FaultFs, Arc<Heard>, SegmentDir) {
    let fs = FaultFs::new(MemFs::new());
    fs.create_dir(Path::new("t-0")).unwrap();
    let heard = Arc::new(Heard::default());
    let events = EventSink::new(Some(heard.clone()));
    let dir = SegmentDir::new(Dir::new(Arc::new(fs.clone()), "t-0".into(), events, true), 0);
    (fs, heard, dir)
}

/// An append adds its index entry before it is published. A reader in between finds an entry at or
/// beyond the end that it sees.
#[test]
fn locate_skips_entry_not_published_yet() {
    const BATCHES: u64 = 5;
    let (fs, heard, dir) = directory();
    let file = dir.create_log(0, WhenFull::Fail).unwrap();
    let mut bytes = Vec::new();
    let mut positions = Vec::new();
    for base in 0..BATCHES {
        positions.push(bytes.len() as u64);
        bytes.extend(batch_of(base, b"x"));
    }
    file.write_all_at(&bytes, 0).unwrap();

    let stored = OffsetIndex::empty(0);
    stored.push(1, positions[1]);
    let view = crate::fs::FileView::from_vec(stored.bytes_from(0));
    let offsets = OffsetIndex::open(0, view, positions[3]).unwrap();
    offsets.push(3, positions[3]);
    offsets.push(4, positions[4]);
    let indexes = Arc::new(Indexes { offsets, times: TimeIndex::empty(0) });
    let time = Timestamp::from_millis(1);
    let segment = Segment::active(Arc::new(dir), 0, &file, positions[3], time, indexes);
    for offset in (0..3).chain(0..3) {
        fs.clear_trace();
        let located = segment.locate(offset, Offset::MAX).unwrap().unwrap();
        assert_eq!(located.position, positions[offset as usize]);
    }
    // The part before the entry below was checked the first time, and never again.
    let reads = fs.trace().into_iter().filter(|call| call.operation == Operation::Read);
    assert!(reads.into_iter().all(|call| call.at >= positions[1]));
    assert!(segment.locate(3, Offset::MAX).unwrap().is_none());
    assert!(heard.0.lock().is_empty());
}

/// Almost no segment has an aborted transaction, so the list of them is made with the first.
#[test]
fn active_segment_makes_index_of_aborted_transactions_late() {
    let (_, _, dir) = directory();
    let file = dir.create_log(0, WhenFull::Fail).unwrap();
    let indexes = Arc::new(Indexes::empty(0));
    let segment = Segment::active(Arc::new(dir), 0, &file, 0, Timestamp::NONE, indexes);
    assert_eq!(segment.aborted_count(), 0);
    assert!(segment.seal(0).aborted.lock().is_none());
    assert!(segment.aborted.lock().is_none());
    assert_eq!(segment.aborted().unwrap().len(), 0);
}

/// Writes a log file of batches, one of them larger than the read buffer. Returns the file, its
/// end, and the positions of the batches.
fn long_file(dir: &SegmentDir) -> (Arc<dyn File>, u64, Vec<u64>) {
    let file = dir.create_log(0, WhenFull::Fail).unwrap();
    let (mut end, mut positions) = (0, Vec::new());
    for base in 0..40 {
        let batch = batch_of(base, &long_value(base));
        file.write_all_at(&batch, end).unwrap();
        positions.push(end);
        end += batch.len() as u64;
    }
    (file, end, positions)
}

fn long_value(base: Offset) -> Vec<u8> {
    vec![0; if base == 20 { 3 * BUFFER_BYTES } else { 100_000 }]
}

/// Returns the positions of all reads, and their results.
fn reads(fs: &FaultFs) -> Vec<(u64, std::result::Result<u64, io::ErrorKind>)> {
    let reads = fs.trace().into_iter().filter(|call| call.operation == Operation::Read);
    reads.map(|call| (call.at, call.result)).collect()
}

/// A file is read once, in long reads that begin on pages. An interrupted read is retried, and any
/// other error is returned.
#[test]
fn scan_reads_long_pieces_once() {
    let (fs, _, dir) = directory();
    let (file, end, positions) = long_file(&dir);
    let mut stream = BatchStream::new(Arc::clone(&file), 0, 0);
    fs.clear_trace();
    fs.add_rule(Rule::new(Operation::Read, Fault::Error(io::ErrorKind::Interrupted)).nth(2));
    for (base, position) in positions.iter().enumerate() {
        let step = stream.advance(end, Offset::MAX).unwrap();
        assert!(matches!(step, Step::Batch(header) if header.base_offset == base as u64));
        assert_eq!(stream.position(), *position);
    }
    assert!(matches!(stream.advance(end, Offset::MAX).unwrap(), Step::End));
    let (done, interrupted): (Vec<_>, Vec<_>) =
        reads(&fs).into_iter().partition(|(_, result)| result.is_ok());
    assert_eq!(interrupted.len(), 1);
    let mut upto = 0;
    for (at, bytes) in &done {
        assert_eq!(*at, upto, "each read begins where the previous one ended");
        upto += bytes.unwrap();
    }
    assert_eq!(upto, end);
    let long = done.iter().filter(|(_, bytes)| bytes.unwrap() > BUFFER_BYTES as u64 * 9 / 10);
    assert!(done.len() - long.count() <= 1, "{done:?}");
    // The read after the large batch begins where the batch ends.
    let unaligned = done.iter().filter(|(at, _)| at % 4096 != 0);
    assert!(unaligned.count() <= 1, "{done:?}");

    // Any other error is returned.
    fs.add_rule(Rule::new(Operation::Read, Fault::Error(io::ErrorKind::Other)).nth(1));
    let mut stream = BatchStream::new(file, 0, 0);
    assert_eq!(stream.advance(end, Offset::MAX).unwrap_err().kind(), io::ErrorKind::Other);
}

/// The memory is passed from one stream to the next, and skipped bytes are not read.
#[test]
fn stream_skips_and_returns_memory() {
    let (fs, _, dir) = directory();
    let (file, end, positions) = long_file(&dir);
    let memory = Vec::with_capacity(BUFFER_BYTES);
    let place = memory.as_ptr();
    let stream = BatchStream::new(Arc::clone(&file), 0, 0);
    let mut stream = stream.with_buffer(memory, BUFFER_BYTES / 4);
    fs.clear_trace();
    for _ in 0..4 {
        assert!(matches!(stream.advance(end, Offset::MAX).unwrap(), Step::Batch(_)));
    }
    assert_eq!(reads(&fs).len(), 2);
    let memory = stream.into_buffer();
    assert_eq!((memory.as_ptr(), memory.capacity()), (place, BUFFER_BYTES));

    // Skip within the buffer, beyond it, and then read batch by batch.
    let mut stream = BatchStream::new(file, 0, 0);
    fs.clear_trace();
    for to in [0, 3, 4, 30, 31, 39] {
        stream.skip_to(positions[to], to as u64);
        assert_eq!(stream.next_position(), positions[to]);
        let step = stream.advance(end, Offset::MAX).unwrap();
        assert!(matches!(step, Step::Batch(header) if header.base_offset == to as u64));
        assert_eq!(stream.batch().unwrap().as_bytes(), batch_of(to as u64, &long_value(to as u64)));
    }
    assert!(reads(&fs).len() <= 3, "{:?}", reads(&fs));

    // From the last batch of this file to the only one of another.
    let other = dir.create_log(100, WhenFull::Fail).unwrap();
    let batch = batch_of(100, b"x");
    other.write_all_at(&batch, 0).unwrap();
    stream.seek(other, 0, 100);
    let step = stream.advance(batch.len() as u64, Offset::MAX).unwrap();
    assert!(matches!(step, Step::Batch(header) if header.base_offset == 100));
    assert_eq!(stream.batch().unwrap().as_bytes(), batch);
}

/// A reader that jumps between segments does not open their files again.
#[test]
fn files_opened_last_stay_open() {
    let (_, _, dir) = directory();
    let segments: Vec<_> = (0..20)
        .map(|base| {
            let id = dir.new_segment();
            let file = dir.create_log(base, WhenFull::Fail).unwrap();
            (0..2).for_each(|_| dir.keep_open(id, &file));
            (id, file)
        })
        .collect();
    for (number, (id, file)) in segments.iter().enumerate() {
        let is_open = number >= 4;
        assert_eq!(dir.opened(*id).is_some(), is_open, "{number}");
        assert!(dir.opened(*id).is_none_or(|open| Arc::ptr_eq(&open, file)), "{number}");
        assert_eq!(Arc::strong_count(file), 1 + usize::from(is_open), "{number}");
    }
    for (number, (id, _)) in segments.iter().enumerate() {
        dir.release(*id);
        let open = segments.iter().filter(|(_, file)| Arc::strong_count(file) > 1).count();
        assert_eq!(open, 16.min(19 - number), "{number}");
    }
}

/// A file that cannot be opened is not missing, and is not rebuilt. A file is mapped only where no
/// other process may truncate it.
#[test]
fn index_file_is_mapped_read_or_missing() {
    let (fs, _, dir) = directory();
    let file = SegmentFile::live(0, Kind::OffsetIndex);
    assert_eq!(dir.index_view(file, 16, 100).unwrap().err(), Some(MISSING));
    let reader = SegmentDir::new(
        Dir::new(Arc::new(fs.clone()), "t-0".into(), EventSink::default(), false),
        0,
    );
    for (len, mapped) in [(8, false), (16, true), (24, true)] {
        let content: Vec<u8> = (0..len).collect();
        dir.replace(&dir.path_of(file), &content).unwrap();
        for (dir, mapped) in [(&dir, mapped), (&reader, false)] {
            fs.clear_trace();
            let view = dir.index_view(file, 16, len.into()).unwrap().unwrap();
            assert_eq!(*view, content);
            let views = fs.trace().into_iter().filter(|call| call.operation == Operation::View);
            assert_eq!(views.count(), usize::from(mapped), "{len}");
            assert!(dir.index_view(file, 16, u64::from(len) - 1).unwrap().is_err(), "too long");
        }
    }
    for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::Other] {
        fs.add_rule(Rule::new(Operation::Open, Fault::Error(kind)));
        assert!(matches!(dir.index_view(file, 16, 100), Err(Error::Io { .. })));
        assert!(matches!(dir.read_small(&dir.path_of(file), 100), Err(Error::Io { .. })));
        fs.clear_rules();
    }
}

/// The part of a batch that a full disk left is removed, reserved room reads as zeros again, and
/// is released.
#[test]
fn failed_append_leaves_no_trace() {
    const FRONT: usize = 60;
    let full = io::ErrorKind::StorageFull;
    for reserved in [0, 60, 100, 1000] {
        for written in [0, 30, 50, 80] {
            let (fs, _, dir) = directory();
            let file = dir.create_log(0, WhenFull::Fail).unwrap();
            let path = dir.path_of(SegmentFile::live(0, Kind::Log));
            file.write_all_at(&[1; FRONT], 0).unwrap();
            file.set_len(reserved.max(FRONT as u64)).unwrap();
            let content = || {
                let mut bytes = vec![0; file.len().unwrap() as usize];
                file.read_exact_at(&mut bytes, 0).unwrap();
                bytes
            };
            let before = content();
            let mut log = ActiveLog::new(Arc::clone(&file), path, FRONT as u64, reserved);
            fs.add_rule(
                Rule::new(Operation::Write, Fault::PartialWrite { written, kind: full }).nth(1),
            );
            assert!(log.append(&[2; 90]).unwrap_err().rolled_back);
            assert!(content() == before, "{written} of {reserved}");

            // If the file cannot be truncated, or after any other error, the append is not rolled
            // back.
            let kinds = [(full, true), (io::ErrorKind::Other, true), (io::ErrorKind::Other, false)];
            for (kind, stuck) in kinds {
                if stuck {
                    fs.add_rule(Rule::new(Operation::SetLen, Fault::Error(io::ErrorKind::Other)));
                }
                fs.add_rule(
                    Rule::new(Operation::Write, Fault::PartialWrite { written, kind }).nth(1),
                );
                assert!(!log.append(&[2; 90]).unwrap_err().rolled_back, "{kind:?}");
                fs.clear_rules();
            }
            assert_eq!(log.append(&[3; 20]).unwrap(), FRONT as u64);
            assert_eq!(log.position(), FRONT as u64 + 20);
            log.trim().unwrap();
            let wanted = [vec![1; FRONT], vec![3; 20]].concat();
            if reserved > log.position() {
                assert!(content() == wanted, "{written} of {reserved}");
            }
            assert!(content().starts_with(&wanted));
        }
    }
}

/// Missing offsets may be a flipped bit: the next batch decides, as soon as its own offset exists.
#[test]
fn gap_is_checked_against_next_batch() {
    let (_, _, dir) = directory();
    let file = dir.create_log(0, WhenFull::Fail).unwrap();
    let (first, gap) = (batch_of(0, b"x"), batch_of(5, b"x"));
    let zeros = vec![0; first.len()];
    let nexts =
        [(2, false), (5, false), (6, true)].map(|(base, follows)| (batch_of(base, b"x"), follows));
    for (next, follows) in nexts.into_iter().chain([(zeros, true)]) {
        for there in 0..=next.len() {
            let bytes = [&first[..], &gap, &next[..there]].concat();
            file.set_len(0).unwrap();
            file.write_all_at(&bytes, 0).unwrap();
            let end = bytes.len() as u64;
            for limit in [5, 6, 7, Offset::MAX] {
                let mut stream = BatchStream::new(Arc::clone(&file), 0, 0);
                assert!(matches!(stream.advance(end, 0).unwrap(), Step::Damaged(_)));
                assert!(matches!(stream.advance(end, limit.min(1)).unwrap(), Step::Batch(_)));
                let is_batch = matches!(stream.advance(end, limit).unwrap(), Step::Batch(_));
                assert_eq!(is_batch, limit > 5 && (follows || there < 8), "{there}, {limit}");
            }
        }
    }
}
