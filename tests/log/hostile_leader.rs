//! Batches of a leader that no leader should send, and ends of a log that a crash moves.

use annals::fs::{CrashState, MemFs};
use annals::record::{BatchBuilder, EndTxnMarker};
use annals::*;
use std::sync::Arc;
use support::{DIR, Heard, T0, clock, mend_checksum, read_file, three};

fn config(fs: &MemFs) -> LogConfig {
    LogConfig::default().replicated(true).clock(clock()).fs(fs.clone())
}

fn open(fs: &MemFs) -> Log {
    Log::open(DIR, config(fs)).unwrap()
}

fn records(base: Offset, producer: ProducerId) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.base_offset(base).producer(producer, 0, 0).transactional(true);
    builder.push(Timestamp::from_millis(T0), None, Some(b"of a transaction")).unwrap();
    builder.build().unwrap().as_bytes().to_vec()
}

/// A marker with the offset 1, as a leader appends it.
fn marker(committed: bool) -> Vec<u8> {
    let leader = Log::open(DIR, LogConfig::default().clock(clock()).fs(MemFs::new())).unwrap();
    leader.append("any").unwrap();
    let marker = EndTxnMarker { committed, coordinator_epoch: 3 };
    let producer = ProducerIdentity { id: 1, epoch: 0 };
    leader.append_marker(producer, marker, TransactionVersion::V0).unwrap();
    leader.read(1, ReadLimits::default()).unwrap().bytes.to_vec()
}

/// After a loss of power the log may end below the stored high watermark. What is appended there
/// was never replicated.
#[test]
fn high_watermark_stays_below_lost_end() {
    let fs = MemFs::new();
    let log = open(&fs);
    three(&log, "lost");
    log.set_high_watermark(3).unwrap();
    log.maintain().unwrap();
    let fs = fs.crash(CrashState::SyncedOnly);
    let log = open(&fs);
    assert_eq!((log.offsets().high_watermark, log.offsets().end), (0, 0));
    three(&log, "other");
    log.flush().unwrap();
    let highest = log.offsets().high_watermark;
    assert_eq!(highest, 0);
    let log = open(&fs.crash(CrashState::SyncedOnly));
    assert_eq!((log.offsets().high_watermark, log.offsets().end), (highest, 3));
}

/// A marker has one offset, but a batch can say that it has more.
#[test]
fn wide_marker_leaves_sound_index() {
    let fs = MemFs::new();
    let log = open(&fs);
    log.append_as_follower(&records(0, 1)).unwrap();
    let mut wide = marker(false);
    wide[23..27].copy_from_slice(&4i32.to_be_bytes());
    mend_checksum(&mut wide);
    log.append_as_follower(&wide).unwrap();
    log.set_high_watermark(6).unwrap();
    assert_eq!((log.offsets().end, log.offsets().last_stable), (6, 6));
    assert_eq!(log.verify().unwrap(), []);
    let index = read_file(&fs, DIR, &support::name(0, "txnindex"));
    assert_eq!(index[26..34], 2u64.to_be_bytes(), "as in Kafka, the offset after the marker");
    for disk in [fs.kill(), fs.crash(CrashState::AllWrites)] {
        let heard = Arc::new(Heard::default());
        let log = Log::open(DIR, config(&disk).listener(heard.clone())).unwrap();
        log.roll().unwrap();
        log.set_high_watermark(6).unwrap();
        let committed = log.isolated(IsolationLevel::ReadCommitted);
        assert!(committed.reader(StartAt::Earliest).unwrap().next_record().unwrap().is_none());
        let rebuilt = |event: &Event| matches!(event, Event::IndexRebuilt { .. });
        assert!(!heard.0.lock().unwrap().iter().any(rebuilt));
        assert_eq!(read_file(&disk, DIR, &support::name(0, "txnindex")), index);
        log.close().unwrap();
        assert_eq!(open(&disk).verify().unwrap(), []);
    }
}

/// Every process agrees on what a batch does, however odd it is.
#[test]
fn follower_process_agrees_on_odd_batches() {
    // Of a transaction of no producer.
    let anonymous = records(0, -1);
    // A marker without the flag of a transaction.
    let mut plain = [records(0, 1), marker(true)].concat();
    let at = records(0, 1).len();
    plain[at + 22] &= !0x10;
    mend_checksum(&mut plain[at..]);
    // An abort marker with nothing open.
    let mut first = marker(false);
    first[..8].copy_from_slice(&0u64.to_be_bytes());
    for (case, batches) in [anonymous, plain, first].into_iter().enumerate() {
        let fs = MemFs::new();
        let log = open(&fs);
        log.append_as_follower(&batches).unwrap();
        log.set_high_watermark(9).unwrap();
        log.maintain().unwrap();
        let found = log.offsets();
        let reader = Log::open_read_only(DIR, config(&fs)).unwrap();
        assert_eq!(reader.offsets().last_stable, found.last_stable, "{case}");
        assert_eq!(found.last_stable, found.end, "{case}");
        let opened = open(&fs.kill());
        assert_eq!(opened.offsets().last_stable, found.last_stable, "{case}");
        assert_eq!(opened.producers().unwrap(), log.producers().unwrap(), "{case}");
        assert_eq!(opened.verify().unwrap(), [], "{case}");
    }
}

/// Nothing of a buffer is taken if a batch in the middle is damaged, or ends beyond the offsets.
#[test]
fn damage_in_middle_refuses_all() {
    let fs = MemFs::new();
    let log = open(&fs);
    let whole = [records(0, 1), records(1, 2), records(2, 3)].concat();
    let size = records(0, 1).len();
    for at in [17, 21, 40, size - 1] {
        let mut damaged = whole.clone();
        damaged[size + at] ^= 1;
        assert!(log.append_as_follower(&damaged).is_err(), "{at}");
        assert_eq!(log.offsets().end, 0);
    }
    for base in [MAX_OFFSET, MAX_OFFSET + 1, u64::MAX, 1 << 40] {
        let mut far = records(0, 1);
        far[..8].copy_from_slice(&base.to_be_bytes());
        assert!(log.append_as_follower(&far).is_err(), "{base}");
        let mut far = whole.clone();
        far[2 * size..2 * size + 8].copy_from_slice(&base.to_be_bytes());
        assert!(log.append_as_follower(&far).is_err(), "{base}");
        assert_eq!((log.offsets().end, log.producers().unwrap().len()), (0, 0));
    }
    assert_eq!(log.verify().unwrap(), []);
}

/// The last offset of all can be followed, and nothing comes after it.
#[test]
fn follower_reaches_last_offset() {
    let fs = MemFs::new();
    let log = open(&fs);
    log.truncate_fully_and_start_at(MAX_OFFSET).unwrap();
    log.append_as_follower(&records(MAX_OFFSET, 1)).unwrap();
    let end = MAX_OFFSET + 1;
    assert_eq!(log.set_high_watermark(end).unwrap(), end);
    assert_eq!(log.offsets().last_stable, MAX_OFFSET);
    assert!(log.append("one more").is_err());
    log.roll().unwrap();
    log.close().unwrap();
    let log = open(&fs);
    assert_eq!((log.offsets().end, log.offsets().last_stable), (end, MAX_OFFSET));
    assert!(log.abort_transaction(1).is_err());
    assert_eq!(log.verify().unwrap(), []);
    log.truncate_to(MAX_OFFSET).unwrap();
    assert_eq!(log.append("in its place").unwrap(), MAX_OFFSET);
}

/// Nothing is appended without a whole batch: the result is the empty range at the end.
#[test]
fn empty_append_returns_end() {
    let log = open(&MemFs::new());
    let offsets = |batches: &[u8]| {
        let appended = log.append_as_follower(batches).unwrap();
        assert!(!appended.duplicate);
        (appended.first, appended.last)
    };
    assert_eq!((offsets(&[]), log.offsets().end), ((0, 0), 0));
    assert_eq!((offsets(&records(0, 1)[..60]), log.offsets().end), ((0, 0), 0));
    three(&log, "");
    assert_eq!((offsets(&[]), log.offsets().end), ((3, 2), 3));
    assert_eq!((offsets(&records(7, 1)[..80]), log.offsets().end), ((3, 2), 3));
}

/// The error says which bound keeps a record from a reader.
#[test]
fn error_names_bound_of_level() {
    use IsolationLevel::{HighWatermark, LogEnd, ReadCommitted, ReadUncommitted};
    let log = open(&MemFs::new());
    three(&log, "");
    log.append_as_follower(&records(3, 1)).unwrap();
    three(&log, "");
    let error = |level, offset| log.isolated(level).get(offset).unwrap_err();
    let limit = |level, offset| match error(level, offset) {
        Error::OffsetOutOfRange { requested, start: 0, end, bound, .. } if requested == offset => {
            (bound, end)
        }
        other => panic!("{other}"),
    };
    log.set_high_watermark(5).unwrap();
    assert_eq!(limit(ReadCommitted, 4), (ReadCommitted, 3));
    assert_eq!(limit(ReadUncommitted, 5), (HighWatermark, 5));
    assert_eq!(limit(LogEnd, 7), (LogEnd, 7));
    assert_eq!(
        error(ReadCommitted, 4).to_string(),
        "offset 4 is out of range: log t-0 starts at 0 and its last stable offset is 3; choose an \
         offset from 0 to 3, or wait until the transaction there ends"
    );
    assert_eq!(
        log.delete_before(6).unwrap_err().to_string(),
        "offset 6 is out of range: log t-0 starts at 0 and its high watermark is 5; choose an \
         offset from 0 to 5, or wait until its replicas have more"
    );
    log.set_high_watermark(2).unwrap();
    assert_eq!(limit(ReadCommitted, 2), (HighWatermark, 2), "the last stable offset is not below");
    log.set_high_watermark(7).unwrap();
    assert_eq!(limit(HighWatermark, 7), (LogEnd, 7));
}
