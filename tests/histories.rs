//! What a reader returns is a piece of one history of the log, though the log is truncated while it is read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use annals::fs::{Fault, FaultFs, MemFs, Operation, Rule};
use annals::{
    AutoOffsetReset, ConsumerConfig, Log, LogConfig, ReadLimits, Record, StartAt, Store,
    StoreConfig, TopicConfig, TopicPartition,
};
use std::time::Duration;

const DIR: &str = "t-0";

fn records(history: &str, count: u64) -> Vec<Record> {
    (0..count).map(|n| Record::from(format!("{history}{n}"))).collect()
}

/// `old0` to `old9` in one batch.
fn old_log() -> Log {
    let log = Log::open(DIR, LogConfig::default().fs(MemFs::new())).unwrap();
    log.append_all(records("old", 10)).unwrap();
    log
}

fn rewrite(log: &Log, count: u64) {
    log.truncate_to(0).unwrap();
    log.append_all(records("new", count)).unwrap();
}

fn expected(history: &str, range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|n| format!("{history}{n}")).collect()
}

/// The reader has decoded the whole batch, and has returned half of its records.
#[test]
fn reader_drops_rest_of_batch_after_truncation() {
    let log = old_log();
    let mut reader = log.reader(StartAt::Earliest).unwrap();
    for _ in 0..5 {
        assert!(reader.next_record().unwrap().is_some());
    }
    rewrite(&log, 12);
    let mut read = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        read.push(record.value_str().unwrap().to_owned());
    }
    assert_eq!(read, expected("new", 5..12));
}

#[test]
fn record_iterator_drops_rest_of_batch_after_truncation() {
    let log = old_log();
    let mut iterator = log.reader(StartAt::Earliest).unwrap().records();
    assert_eq!(iterator.by_ref().take(5).filter(Result::is_ok).count(), 5);
    rewrite(&log, 12);
    let read: Vec<_> = iterator.map(|r| r.unwrap().value_str().unwrap().to_owned()).collect();
    assert_eq!(read, expected("new", 5..12));
}

#[test]
fn tail_drops_rest_of_batch_after_truncation() {
    let log = old_log();
    let mut tail = log.tail(StartAt::Earliest).unwrap();
    tail.next_record(Some(Duration::ZERO)).unwrap().unwrap();
    log.truncate_to(0).unwrap();
    let error = tail.next_record(Some(Duration::ZERO)).unwrap_err();
    assert_eq!(error.kind(), annals::ErrorKind::OutOfRange);
    log.append_all(records("new", 10)).unwrap();
    let record = tail.next_record(Some(Duration::ZERO)).unwrap().unwrap();
    assert_eq!(record.value_str(), Some("new1"));
}

/// All records of the old batch were returned, so its end is the reader's place. The new batch reaches beyond it.
#[test]
fn reader_goes_on_inside_new_batch_when_batches_are_read() {
    let log = old_log();
    let mut reader = log.reader(StartAt::Earliest).unwrap();
    for _ in 0..9 {
        reader.next_record().unwrap().unwrap();
    }
    rewrite(&log, 12);
    let mut batch = reader.next_batch().unwrap().unwrap();
    let read: Vec<_> = batch.records().unwrap().map(|r| r.unwrap().offset).collect();
    assert_eq!(read, [9, 10, 11]);
}

#[test]
fn consumer_drops_rest_of_batch_after_truncation() {
    let store = Store::in_memory(StoreConfig::default()).unwrap();
    let log = store.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
    log.append_all(records("old", 10)).unwrap();
    let config = ConsumerConfig::default().max_poll_records(5);
    let mut consumer = store.consumer(config).unwrap();
    consumer.assign([TopicPartition::new("t", 0)]).unwrap();
    consumer.seek_to_beginning([]).unwrap();
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 5);
    rewrite(&log, 10);
    let polled = consumer.poll(Duration::ZERO).unwrap();
    let read: Vec<_> = polled.iter().map(|r| r.value_str().unwrap().to_owned()).collect();
    assert_eq!(read, expected("new", 5..10));
}

/// The writer truncates and appends while the second of two segments is read.
fn rewrite_in_hook(fs: &FaultFs, log: &Log) {
    for value in ["a0", "a1"] {
        log.append(value).unwrap();
    }
    log.roll().unwrap();
    for value in ["a2", "a3"] {
        log.append(value).unwrap();
    }
    let writer = log.clone();
    let rewrite = Fault::call(move |_| {
        writer.truncate_to(1).unwrap();
        for value in ["b1", "b2", "b3"] {
            writer.append(value).unwrap();
        }
    });
    fs.add(Rule::new(Operation::Read, rewrite).path("00000000000000000002.log").nth(1));
}

#[test]
fn one_read_returns_one_history() {
    let fs = FaultFs::new(MemFs::new());
    let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    rewrite_in_hook(&fs, &log);
    let fetched = log.read(0, ReadLimits::default()).unwrap();
    let records = fetched.records().unwrap();
    let read: Vec<_> = records.iter().map(|r| r.value_str().unwrap()).collect();
    assert_eq!(read, ["a0", "b1", "b2", "b3"]);
    assert_eq!((fetched.next_offset, fetched.end), (4, 4));
}

#[test]
fn one_poll_returns_one_history() {
    let fs = FaultFs::new(MemFs::new());
    let store = Store::open("d", StoreConfig::default().fs(fs.clone())).unwrap();
    let log = store.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
    rewrite_in_hook(&fs, &log);
    let config = ConsumerConfig::default().auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = store.consumer(config).unwrap();
    consumer.assign([TopicPartition::new("t", 0)]).unwrap();
    let polled = consumer.poll(Duration::ZERO).unwrap();
    let read: Vec<_> = polled.iter().map(|r| r.value_str().unwrap().to_owned()).collect();
    assert_eq!(read, ["a0", "b1", "b2", "b3"]);
}
