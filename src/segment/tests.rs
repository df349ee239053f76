use super::*;
use crate::fs::{FaultFs, Fs, MemFs, Operation};
use crate::record::{BatchBuilder, stamp_base_offset};
use crate::segment::dir::Events;
use crate::{Event, Listener};
use std::path::Path;

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<Event>>);

impl Listener for Heard {
    fn on_event(&self, event: &Event) {
        self.0.lock().push(event.clone());
    }
}

/// An append adds its entry before it is published: who looks a moment before finds an entry for what
/// is not there as yet, at the end it sees or beyond.
#[test]
fn entries_of_what_is_not_published_yet_are_passed_over() {
    const BATCHES: u64 = 5;
    let fs = FaultFs::new(MemFs::new());
    fs.create_dir(Path::new("t-0")).unwrap();
    let heard = Arc::new(Heard::default());
    let events = Events { listener: Some(heard.clone()) };
    let dir = SegmentDir::new(Arc::new(fs.clone()), "t-0".into(), events, 0, true);
    let file = create_log_file(&dir, 0).unwrap();
    let mut bytes = Vec::new();
    let mut positions = Vec::new();
    for base in 0..BATCHES {
        let mut batch = BatchBuilder::new();
        batch.push(Timestamp::from_millis(1), None, Some(b"x")).unwrap();
        let mut batch = batch.finish().unwrap().to_vec();
        stamp_base_offset(&mut batch, base).unwrap();
        positions.push(bytes.len() as u64);
        bytes.extend(batch);
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
    // What lies before the entry below was looked at the first time, and never again.
    let reads = fs.trace().into_iter().filter(|call| call.operation == Operation::Read);
    assert!(reads.into_iter().all(|call| call.at >= positions[1]));
    assert!(segment.locate(3, Offset::MAX).unwrap().is_none());
    assert!(heard.0.lock().is_empty());
}
