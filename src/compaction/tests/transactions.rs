//! The rules for transactions, on batches from bytes.

use super::model::Rec;
use super::*;
use crate::segment::txn_index::AbortedTxn;

/// Returns a batch of a transaction of this producer, with one record.
fn data(base: Offset, producer: i64, key: &str) -> Bat {
    let record = Rec {
        offset: base,
        time: 1_000,
        key: Some(key.into()),
        value: Some(b"v".to_vec()),
        headers: Vec::new(),
    };
    let plain = Bat::empty(base, base + 1, 0);
    let (producer, records) = ((producer, 1, base as i32), vec![record]);
    Bat { producer, transactional: true, max: 1_000, records, ..plain }
}

fn aborted(producer_id: i64, first: Offset, last: Offset) -> AbortedTxn {
    AbortedTxn { producer_id, first, last, last_stable: last + 1 }
}

fn overlapping(all: &[AbortedTxn], offsets: &Range<Offset>) -> Vec<AbortedTxn> {
    let is_there = |txn: &&AbortedTxn| txn.last >= offsets.start && txn.first < offsets.end;
    all.iter().filter(is_there).copied().collect()
}

/// Makes a pass over a log that becomes one segment. Returns what is left of it, and the content of
/// its index of aborted transactions.
fn pass_at(
    fs: &MemFs,
    model: &[Seg],
    now: i64,
    known: &[AbortedTxn],
    active: &[ProducerState],
) -> (Vec<Seg>, Vec<u8>) {
    let dir = open_dir(fs.clone(), None);
    let segments = open_segments(&dir, model);
    let all = sources(&segments, model);
    let upto = model.last().unwrap().next;
    let pass = Pass { from: 0, upto, now, retention: 10, compression: None };
    let find = |offsets| Ok(overlapping(known, &offsets));
    let (mut map, mut scratch) = (new_map(100, &pass), Scratch::new(1 << 20));
    let mut reading = LogTransactions::new(&find);
    let keys = read_keys(&all, 0, &mut map, &mut scratch, &mut reading, &mut |_| Ok(())).unwrap();
    let survivors = Survivors::new(&map, 0..keys.end).with_spans(&keys.spans);
    let group = SegmentGroup { dir: &dir, base: 0, sources: &all };
    let mut writing = LogTransactions::new(&find).with_active(active.to_vec());
    rewrite(&group, &survivors, &options(&pass), &mut scratch, &mut writing, &mut |_| Ok(()))
        .unwrap();
    swap(&dir, model);
    let batches = Bat::decode_all(&read(fs, &path(0)));
    let index = dir.path_of(SegmentFile::live(0, Kind::TxnIndex));
    let entries = if files(fs).keys().any(|name| name.ends_with(".txnindex")) {
        read(fs, &index)
    } else {
        Vec::new()
    };
    (vec![Seg { base: 0, next: upto, batches }], entries)
}

/// Returns the offset of each batch, its number of records and its horizon.
fn shape(model: &[Seg]) -> Vec<(Offset, usize, Option<i64>)> {
    let batches = model.iter().flat_map(|segment| &segment.batches);
    batches.map(|batch| (batch.base, batch.records.len(), batch.horizon)).collect()
}

/// A marker stays, with its entry, in the pass that removes the last records of its transaction.
/// The next pass sets its horizon, and one after the horizon removes it.
#[test]
fn markers_stay_until_data_is_gone() {
    let marker = model::marker;
    let first = vec![data(0, 4, "a"), data(1, 5, "b"), marker(2, 4, false)];
    let second = vec![marker(3, 5, true), marker(4, 6, false), data(5, 5, "c")];
    let third = vec![data(6, 4, "b"), marker(7, 4, false), marker(8, 5, true), data(9, 6, "d")];
    let mut model = vec![
        Seg { base: 0, next: 3, batches: first },
        Seg { base: 3, next: 6, batches: second },
        Seg { base: 6, next: 10, batches: third },
    ];
    let known = [aborted(4, 0, 2), aborted(4, 6, 7)];
    let fs = MemFs::new();
    store(&fs, &model);
    let (after, entries) = pass_at(&fs, &model, 5, &known, &[]);
    model = after;
    let kept = |offset| (offset, 1, None);
    let expected = [1, 2, 3].map(kept).into_iter().chain([(4, 1, Some(15))]);
    let expected: Vec<_> = expected.chain([5, 7, 8, 9].map(kept)).collect();
    assert_eq!(shape(&model), expected);
    assert_eq!(entries, known.map(AbortedTxn::encode).concat());
    // The entries are found by other segments still.
    let (after, entries) = pass_at(&fs, &model, 14, &known, &[]);
    model = after;
    let horizons: Vec<_> = shape(&model).into_iter().filter(|batch| batch.2.is_some()).collect();
    assert_eq!(horizons, [(2, 1, Some(24)), (4, 1, Some(15)), (7, 1, Some(24))]);
    assert!(entries.is_empty());
    let (after, _) = pass_at(&fs, &model, 24, &known, &[]);
    assert_eq!(shape(&after), [1, 3, 5, 8, 9].map(kept));
}

/// A committed transaction may lose all records because they are superseded: then its marker goes
/// as well.
#[test]
fn commit_marker_outlives_superseded_records() {
    let batches = vec![data(0, 4, "a"), model::marker(1, 4, true), data(2, 5, "a")];
    let mut model = vec![Seg { base: 0, next: 3, batches }];
    let fs = MemFs::new();
    store(&fs, &model);
    for (now, expected) in [
        (5, vec![(1, 1, None), (2, 1, None)]),
        (6, vec![(1, 1, Some(16)), (2, 1, None)]),
        (15, vec![(1, 1, Some(16)), (2, 1, None)]),
        (16, vec![(2, 1, None)]),
    ] {
        (model, _) = pass_at(&fs, &model, now, &[], &[]);
        assert_eq!(shape(&model), expected, "at {now}");
    }
}

/// Without its last marker, the log would forget the epoch of a producer that has sent nothing
/// since. An empty marker says nothing of it either.
#[test]
fn last_marker_of_producer_is_kept_whole() {
    let state = |producer_id, producer_epoch, last_offset| ProducerState {
        producer_id,
        producer_epoch,
        last_sequence: -1,
        last_offset,
        offset_delta: 0,
        last_timestamp: Timestamp::NONE,
        coordinator_epoch: 0,
        current_txn_first_offset: -1,
    };
    let mut raised = model::marker(2, 4, false);
    raised.producer.1 = 2;
    let mut batches = vec![data(0, 4, "a"), data(1, 5, "b"), raised, model::marker(3, 5, false)];
    batches.push(data(4, 6, "c"));
    let mut model = vec![Seg { base: 0, next: 5, batches }];
    let fs = MemFs::new();
    store(&fs, &model);
    let known = [aborted(4, 0, 2), aborted(5, 1, 3)];
    // The last batch of 5 is one with records: it keeps its header, and with it the marker.
    let active = [state(5, 1, 1), state(4, 2, -1)];
    for now in [5, 6, 50] {
        (model, _) = pass_at(&fs, &model, now, &known, &active);
    }
    assert_eq!(shape(&model), [(1, 0, None), (2, 1, Some(16)), (3, 1, None), (4, 1, None)]);
    (model, _) = pass_at(&fs, &model, 51, &known, &[state(4, 3, -1)]);
    assert_eq!(shape(&model), [(3, 1, None), (4, 1, None)]);
}

/// The index may be incomplete. Records that readers see stay, and so does their marker.
#[test]
fn transaction_without_entry_is_kept() {
    let batches = vec![data(0, 4, "a"), model::marker(1, 4, false), data(2, 5, "b")];
    let model = vec![Seg { base: 0, next: 3, batches }];
    let fs = MemFs::new();
    store(&fs, &model);
    let (after, entries) = pass_at(&fs, &model, 5, &[], &[]);
    assert_eq!(shape(&after), shape(&model));
    assert!(entries.is_empty());
}
