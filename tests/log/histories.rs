//! A reader returns a piece of one history of the log, although the log is truncated while it is
//! read.

use annals::fs::{Fault, FaultFs, Fs, MemFs, Operation, Rule};
use annals::{
    AutoOffsetReset, ConsumerConfig, ErrorKind, Log, LogConfig, Offset, OffsetSpec, ReadLimits,
    Reader, Record, StartAt, Store, StoreConfig, StoredRecord, Timestamp, TopicConfig,
    TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Chance, DIR, seeds};

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
fn reader_drops_batch_after_truncation() {
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
fn record_iterator_drops_batch_after_truncation() {
    let log = old_log();
    let mut iterator = log.reader(StartAt::Earliest).unwrap().records();
    assert_eq!(iterator.by_ref().take(5).filter(Result::is_ok).count(), 5);
    rewrite(&log, 12);
    let read: Vec<_> = iterator.map(|r| r.unwrap().value_str().unwrap().to_owned()).collect();
    assert_eq!(read, expected("new", 5..12));
}

#[test]
fn tail_drops_batch_after_truncation() {
    let log = old_log();
    let mut tail = log.tail(StartAt::Earliest).unwrap();
    tail.next_record(Some(Duration::ZERO)).unwrap().unwrap();
    log.truncate_to(0).unwrap();
    let error = tail.next_record(Some(Duration::ZERO)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfRange);
    log.append_all(records("new", 10)).unwrap();
    let record = tail.next_record(Some(Duration::ZERO)).unwrap().unwrap();
    assert_eq!(record.value_str(), Some("new1"));
}

/// All records of the old batch were returned, so its end is the reader's place. The new batch
/// reaches beyond it.
#[test]
fn reader_continues_inside_longer_new_batch() {
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
fn consumer_drops_batch_after_truncation() {
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
    fs.add_rule(Rule::new(Operation::Read, rewrite).path("00000000000000000002.log").nth(1));
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

/// The active segment at the look is rolled and deleted before the look comes to it.
#[test]
fn time_lookup_retries_when_segment_deleted() {
    let lookups: [fn(&Log) -> Offset; 3] = [
        |log| log.offset_for_time(Timestamp::from_millis(20)).unwrap().unwrap().0,
        |log| log.list_offset(OffsetSpec::MaxTimestamp).unwrap().unwrap().0,
        |log| log.reader(Timestamp::from_millis(20)).unwrap().offset(),
    ];
    for lookup in lookups {
        let fs = FaultFs::new(MemFs::new());
        let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
        let at = |time| Record::new("x").timestamp(Timestamp::from_millis(time));
        log.append(at(10)).unwrap();
        log.roll().unwrap();
        log.append(at(20)).unwrap();
        let writer = log.clone();
        // More segments than files are kept open.
        let roll_and_delete = Fault::call(move |_| {
            for time in 21..61 {
                writer.roll().unwrap();
                writer.append(at(time)).unwrap();
            }
            writer.delete_before(40).unwrap();
        });
        let first_index = "00000000000000000000.timeindex";
        fs.add_rule(Rule::new(Operation::Open, roll_and_delete).path(first_index).nth(1));
        let found = lookup(&log);
        assert!(found >= 40, "{found}");
    }
}

// A log that is read while another process writes, truncates, rolls and deletes.

fn tiny(fs: impl Fs) -> LogConfig {
    LogConfig::default().segment_bytes(400).index_interval_bytes(0).fs(fs)
}

/// The new records are longer than the old ones, shorter, or of the same size: the file alone does
/// not tell.
#[test]
fn follower_reads_new_records_after_truncation() {
    for width in [3, 8, 30] {
        for cut in [0, 2, 5, 9] {
            let fs = MemFs::new();
            let writer = Log::open(DIR, tiny(fs.clone())).unwrap();
            let append = |value: String| writer.append(value).unwrap();
            (0..10).for_each(|n| assert_eq!(append(format!("old {n:4}")), n));
            let follower = Log::open_read_only(DIR, tiny(fs)).unwrap();
            let mut at_end = follower.tail(StartAt::Latest).unwrap();
            let mut reader = follower.reader(StartAt::Earliest).unwrap();
            assert_eq!(reader.by_ref_records().count(), 10);
            writer.truncate_to(cut).unwrap();
            (cut..10).for_each(|n| assert_eq!(append(format!("new {n:width$}")), n));

            // This reader has returned what is no more in the log.
            for _ in 0..2 {
                let error = reader.next_record().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::OutOfRange, "{width}, {cut}");
            }
            reader.seek(cut).unwrap();
            let read: Vec<_> = reader.by_ref_records().map(|(at, _)| at).collect();
            assert_eq!(read, (cut..10).collect::<Vec<_>>());
            // This one has returned nothing yet.
            assert!(at_end.next_record(Some(Duration::ZERO)).unwrap().is_none());
            assert_eq!(support::read_all(&follower), support::read_all(&writer));
            assert_eq!(follower.get(9).unwrap(), writer.get(9).unwrap());
            assert_eq!(follower.verify().unwrap(), []);
            append("next".to_owned());
            assert_eq!(at_end.next_record(Some(Duration::ZERO)).unwrap().unwrap().offset, 10);
            assert_eq!(reader.by_ref_records().count(), 1);
        }
    }
}

/// The records that a reader has returned are still there: it continues.
#[test]
fn follower_continues_when_truncation_is_above() {
    let fs = MemFs::new();
    let writer = Log::open(DIR, tiny(fs.clone())).unwrap();
    (0..10).for_each(|n| assert_eq!(writer.append(format!("old {n}")).unwrap(), n));
    let follower = Log::open_read_only(DIR, tiny(fs)).unwrap();
    let mut reader = follower.reader(StartAt::Earliest).unwrap();
    for _ in 0..5 {
        reader.next_record().unwrap().unwrap();
    }
    writer.truncate_to(5).unwrap();
    (5..10).for_each(|n| assert_eq!(writer.append(format!("new {n}")).unwrap(), n));
    let read: Vec<_> = reader.by_ref_records().map(|(_, value)| value).collect();
    assert_eq!(read, (5..10).map(|n| format!("new {n}")).collect::<Vec<_>>());
}

/// Both histories end with the same empty batch, which covers what a truncation left of its last
/// batch.
#[test]
fn follower_fails_after_truncation_below_empty_batch() {
    let fs = MemFs::new();
    let writer = Log::open(DIR, tiny(fs.clone())).unwrap();
    let write = |history: &str| {
        writer.append_all(records(history, 1)).unwrap();
        writer.append_all(records(history, 2)).unwrap();
        writer.truncate_to(2).unwrap();
    };
    write("old");
    let follower = Log::open_read_only(DIR, tiny(fs)).unwrap();
    let mut reader = follower.reader(StartAt::Earliest).unwrap();
    assert_eq!(reader.by_ref_records().count(), 1);
    assert_eq!(reader.offset(), 2);
    writer.truncate_to(0).unwrap();
    write("new");
    writer.append("next").unwrap();
    assert_eq!(reader.next_record().unwrap_err().kind(), ErrorKind::OutOfRange);
}

/// A writer, and a reader of another process that has returned the first record and passed the
/// empty batches after it. `shape` appends the record and makes the batches.
fn past_empty_batches(shape: impl Fn(&Log, &str), place: Offset) -> (Log, Reader) {
    let fs = MemFs::new();
    let writer = Log::open(DIR, tiny(fs.clone())).unwrap();
    shape(&writer, "old");
    let follower = Log::open_read_only(DIR, tiny(fs)).unwrap();
    let mut reader = follower.reader(StartAt::Earliest).unwrap();
    assert_eq!(reader.by_ref_records().count(), 1);
    assert_eq!(reader.offset(), place);
    (writer, reader)
}

/// Appends a batch and truncates inside of it: an empty batch covers this many offsets.
fn cover(writer: &Log, history: &str, offsets: u64) {
    let end = writer.offsets().end + offsets;
    writer.append_all(records(history, offsets + 1)).unwrap();
    writer.truncate_to(end).unwrap();
}

/// No record of the new history lies where the reader is, but one lies where it has been.
#[test]
fn follower_fails_after_truncation_between_empty_batches() {
    let shape = |writer: &Log, history: &str| {
        writer.append_all(records(history, 1)).unwrap();
        (0..2).for_each(|_| cover(writer, history, 1));
    };
    let (writer, mut reader) = past_empty_batches(shape, 3);
    writer.truncate_to(1).unwrap();
    writer.append("new").unwrap();
    writer.roll().unwrap();
    cover(&writer, "new", 1);
    writer.append("next").unwrap();
    assert_eq!(reader.next_record().unwrap_err().kind(), ErrorKind::OutOfRange);
}

/// Both histories end with segments that hold nothing but the same empty batches.
#[test]
fn follower_fails_after_truncation_below_empty_segments() {
    for count in 1..4 {
        let shape = |writer: &Log, history: &str| {
            writer.append_all(records(history, 1)).unwrap();
            writer.roll().unwrap();
            (0..count).for_each(|_| cover(writer, history, 2));
        };
        let (writer, mut reader) = past_empty_batches(shape, 1 + 2 * count);
        writer.truncate_to(0).unwrap();
        shape(&writer, "new");
        writer.append("next").unwrap();
        assert_eq!(reader.next_record().unwrap_err().kind(), ErrorKind::OutOfRange, "{count}");
    }
}

/// The last batch with records was deleted at the start of the log, which is no truncation. The
/// empty batch after it was truncated.
#[test]
fn follower_fails_after_truncation_and_deletion() {
    let shape = |writer: &Log, history: &str| {
        writer.append_all(records(history, 1)).unwrap();
        cover(writer, history, 2);
    };
    let (writer, mut reader) = past_empty_batches(shape, 3);
    writer.truncate_to(1).unwrap();
    writer.roll().unwrap();
    writer.append_all(records("new", 3)).unwrap();
    writer.delete_before(1).unwrap();
    assert_eq!(writer.stats().unwrap().segments[0].base_offset, 1);
    assert_eq!(reader.next_record().unwrap_err().kind(), ErrorKind::OutOfRange);
}

/// A truncation removes the last segment, and the next one leaves all as it was, except that
/// another file has the name of that segment.
#[test]
fn follower_reads_on_after_empty_segment_replaced() {
    for preallocate in [false, true] {
        let config = |fs: &MemFs| tiny(fs.clone()).preallocate(preallocate);
        let fs = MemFs::new();
        let writer = Log::open(DIR, config(&fs)).unwrap();
        writer.append("record").unwrap();
        cover(&writer, "old", 2);
        let follower = Log::open_read_only(DIR, config(&fs)).unwrap();
        let mut reader = follower.reader(StartAt::Earliest).unwrap();
        assert_eq!(reader.by_ref_records().count(), 1);
        let mut at_end = follower.tail(StartAt::Latest).unwrap();
        assert_eq!(at_end.next_record(Some(Duration::ZERO)).unwrap(), None);
        writer.truncate_to(1).unwrap();
        cover(&writer, "new", 2);
        for next in 3..6 {
            writer.append("next").unwrap();
            assert_eq!(reader.by_ref_records().map(|(at, _)| at).collect::<Vec<_>>(), [next]);
            let tailed = at_end.next_record(Some(Duration::ZERO)).unwrap();
            assert_eq!(tailed.map(|record| record.offset), Some(next));
        }
        assert_eq!(support::read_all(&follower), support::read_all(&writer));
        assert_eq!(follower.verify().unwrap(), []);
    }
}

/// The empty batch is replaced by a longer one before the file is read, and is there again when
/// the follower checks what it has read.
#[test]
fn follower_rereads_what_looks_damaged() {
    for (first, gap) in (1..24).flat_map(|first| [1, 2, 3].map(|gap| (first, gap))) {
        let memory = MemFs::new();
        let writer = Log::open(DIR, tiny(memory.clone())).unwrap();
        writer.append("record").unwrap();
        cover(&writer, "old", 1);
        let fs = FaultFs::new(memory);
        let follower = Log::open_read_only(DIR, tiny(fs.clone())).unwrap();
        let mut reader = follower.reader(StartAt::Offset(1)).unwrap();
        let (longer, again) = (writer.clone(), writer.clone());
        let longer = Fault::call(move |_| {
            longer.truncate_to(1).unwrap();
            longer.append_all(records("new", 2)).unwrap();
        });
        let again = Fault::call(move |_| again.truncate_to(2).unwrap());
        fs.add_rule(Rule::new(Operation::Read, longer).nth(first));
        fs.add_rule(Rule::new(Operation::Read, again).nth(first + gap));
        while let Some(next) = reader.next_record().transpose() {
            let Err(error) = next else { continue };
            assert_eq!(error.kind(), ErrorKind::OutOfRange, "{first}, {gap}: {error}");
            reader.seek(StartAt::Earliest).unwrap();
        }
    }
}

/// The records from a reader's place on, by which it is not used up.
trait ByRef {
    fn by_ref_records(&mut self) -> impl Iterator<Item = (Offset, String)>;
}

impl ByRef for Reader {
    fn by_ref_records(&mut self) -> impl Iterator<Item = (Offset, String)> {
        std::iter::from_fn(|| self.next_record().unwrap())
            .map(|record| (record.offset, record.value_str().unwrap().to_owned()))
    }
}

/// The number in each record by offset.
type History = BTreeMap<Offset, u64>;

/// The log as its writer knows it, now and before each truncation.
#[derive(Default)]
struct Histories {
    before: Vec<History>,
    now: History,
    /// The first offset of each batch.
    batches: BTreeSet<Offset>,
    start: Offset,
    end: Offset,
    next: u64,
}

impl Histories {
    /// Whether a history has these records and none between them, but for what was deleted since.
    fn has(history: &History, run: &[(Offset, u64)], start: Offset) -> bool {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return true };
        let from = first.0.max(start);
        let run = run.iter().copied().filter(|(offset, _)| *offset >= from);
        last.0 < from || history.range(from..=last.0).map(|(at, n)| (*at, *n)).eq(run)
    }

    fn check(&self, run: &[(Offset, u64)]) {
        let mut all = self.before.iter().chain([&self.now]);
        let one = all.any(|history| Self::has(history, run, self.start));
        assert!(one, "of no one history: {run:?}, now {:?}", self.now);
    }

    fn is_of_now(&self, run: &[(Offset, u64)], place: Offset) -> bool {
        (self.start..=self.end).contains(&place) && Self::has(&self.now, run, self.start)
    }

    fn holds(&self) -> Vec<(Offset, u64)> {
        self.now.range(self.start..).map(|(at, number)| (*at, *number)).collect()
    }
}

fn numbered(record: &StoredRecord) -> (Offset, u64) {
    (record.offset, record.value_str().unwrap().trim().parse().unwrap())
}

struct Writer {
    log: Log,
    chance: Chance,
    histories: Arc<Mutex<Histories>>,
}

impl Writer {
    /// Does something. The model is changed first: a follower may see it as soon as it begins.
    fn act(&mut self) {
        let (start, end) = (self.log.offsets().start, self.log.offsets().end);
        let histories = Arc::clone(&self.histories);
        let mut model = histories.lock().unwrap();
        match self.chance.below(12) {
            0..=5 => {
                let mut batch = Vec::new();
                model.batches.insert(end);
                for _ in 0..=self.chance.below(3) {
                    let (at, next) = (model.end, model.next);
                    model.now.insert(at, next);
                    (model.end, model.next) = (at + 1, next + 1);
                    // All of one size, so that what is appended anew takes the room of what was
                    // truncated.
                    // Not the time of the clock: each run of a seed does the same.
                    let time = Timestamp::from_millis(next.cast_signed());
                    batch.push(Record::from(format!("{next:8}")).timestamp(time));
                }
                drop(model);
                self.log.append_all(batch).unwrap();
            }
            6..=7 => {
                let target = start + self.chance.below(end - start + 1);
                if target < end {
                    let old = model.now.clone();
                    model.before.push(old);
                    // A batch that reaches beyond the target goes as a whole.
                    let cut = *model.batches.range(..=target).next_back().unwrap();
                    model.now.split_off(&cut);
                    model.batches.split_off(&target);
                    model.end = target;
                }
                drop(model);
                self.log.truncate_to(target).unwrap();
            }
            8 => {
                drop(model);
                self.log.roll().unwrap();
            }
            9 => {
                drop(model);
                self.log.flush().unwrap();
            }
            10 => {
                let target = start + self.chance.below((end - start) / 4 + 1);
                model.start = target;
                drop(model);
                self.log.delete_before(target).unwrap();
            }
            _ => {}
        }
    }
}

struct Follower {
    log: Log,
    config: LogConfig,
    reader: Reader,
    /// The records that the reader has returned since its last seek.
    run: Vec<(Offset, u64)>,
    chance: Chance,
    histories: Arc<Mutex<Histories>>,
}

impl Follower {
    fn new(config: LogConfig, seed: u64, histories: &Arc<Mutex<Histories>>) -> Follower {
        let log = Log::open_read_only(DIR, config.clone()).unwrap();
        let reader = log.reader(StartAt::Earliest).unwrap();
        let histories = Arc::clone(histories);
        Follower { log, config, reader, run: Vec::new(), chance: Chance(seed), histories }
    }

    /// Reads a few records. Says whether there may be more.
    fn read_on(&mut self, most: u64) -> bool {
        for _ in 0..most {
            match self.reader.next_record() {
                Ok(Some(record)) => {
                    self.run.push(numbered(&record));
                    self.histories.lock().unwrap().check(&self.run);
                }
                Ok(None) => return false,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::OutOfRange, "{error}");
                    let model = self.histories.lock().unwrap();
                    let there = (model.start..=model.end).contains(&self.reader.offset());
                    let of_now = there && Histories::has(&model.now, &self.run, 0);
                    // Where no record was returned from just before the place, the place itself
                    // may have been gone for a moment.
                    let returned =
                        self.run.last().is_some_and(|last| last.0 + 1 == self.reader.offset());
                    assert!(!of_now || !returned, "{error}, after {:?}", self.run);
                    drop(model);
                    self.run.clear();
                    self.reader.seek(StartAt::Earliest).unwrap();
                }
            }
        }
        true
    }

    /// Everything readable at this moment, from anywhere.
    fn look(&mut self) {
        let ends = self.log.offsets();
        let from = ends.start + self.chance.below(ends.end - ends.start + 1);
        let at = Timestamp::from_millis(0);
        let run = match self.chance.below(6) {
            0 => self.log.read(from, ReadLimits::bytes(200)).and_then(|fetched| fetched.records()),
            1 => self.log.read(from, ReadLimits::default()).and_then(|fetched| fetched.records()),
            2 => self.log.get(from).map(|record| record.into_iter().collect()),
            3 => self.log.offset_for_time(at).map(|_| Vec::new()),
            4 => self.log.list_offset(OffsetSpec::MaxTimestamp).map(|_| Vec::new()),
            _ => Ok(read_anew(&self.config)),
        };
        match run {
            Ok(run) => {
                let run: Vec<_> = run.iter().map(numbered).collect();
                self.histories.lock().unwrap().check(&run);
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::OutOfRange, "{error}"),
        }
    }

    /// With the writer at rest, everything is seen, and what the reader has returned is in the
    /// log.
    fn check_all(&mut self) {
        while self.read_on(u64::MAX) {}
        let model = self.histories.lock().unwrap();
        assert!(model.is_of_now(&self.run, self.reader.offset()), "{:?}", self.run);
        let last = model.holds().last().map(|last| last.0);
        assert!(last.is_none_or(|last| self.reader.offset() > last));
        let all: Vec<_> =
            self.log.reader(StartAt::Earliest).unwrap().records().map(Result::unwrap).collect();
        assert_eq!(all.iter().map(numbered).collect::<Vec<_>>(), model.holds());
        assert_eq!((self.log.offsets().start, self.log.offsets().end), (model.start, model.end));
        assert_eq!(self.log.verify().unwrap(), []);
    }
}

fn read_anew(config: &LogConfig) -> Vec<StoredRecord> {
    let log = Log::open_read_only(DIR, config.clone()).unwrap();
    let records = log.reader(StartAt::Earliest).unwrap().records();
    // It may have been truncated or deleted since it was opened.
    records.map_while(Result::ok).collect()
}

fn writer(fs: impl Fs, seed: u64, histories: &Arc<Mutex<Histories>>) -> Writer {
    let log = Log::open(DIR, tiny(fs)).unwrap();
    let histories = Arc::clone(histories);
    Writer { log, chance: Chance(seed), histories }
}

/// Names the seed of a failure, with which it can be repeated.
fn say_on_panic(what: &str, run: impl FnOnce()) {
    struct Say<'a>(&'a str);
    impl Drop for Say<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                support::say(self.0);
            }
        }
    }
    let _say = Say(what);
    run();
}

/// The follower looks at the files at every call that the writer makes.
#[test]
fn follower_sees_one_history_during_writes() {
    for seed in seeds("HISTORIES", 4) {
        let memory = MemFs::new();
        let fs = FaultFs::new(memory.clone());
        fs.record_trace(false);
        let histories = Arc::new(Mutex::new(Histories::default()));
        let mut writer = writer(fs.clone(), seed, &histories);
        let follower = Follower::new(tiny(memory), !seed, &histories);
        let follower = Arc::new(Mutex::new(follower));
        let looking = Arc::clone(&follower);
        fs.add_rule(Rule::any(Fault::call(move |_| {
            let mut follower = looking.lock().unwrap();
            let records = follower.chance.below(4);
            follower.read_on(records);
            if follower.chance.below(4) == 0 {
                follower.look();
            }
        })));
        for step in 0..60 {
            say_on_panic(&format!("HISTORIES={seed}, step {step}"), || {
                writer.act();
                // Not after each: several changes may come between two looks.
                if step % 5 == 4 {
                    follower.lock().unwrap().check_all();
                }
            });
        }
    }
}

/// The writer does something at any call that the follower makes.
#[test]
fn follower_sees_one_history_while_looking() {
    for seed in seeds("HISTORIES", 4) {
        let memory = MemFs::new();
        let fs = FaultFs::new(memory.clone());
        fs.record_trace(false);
        let histories = Arc::new(Mutex::new(Histories::default()));
        let mut writer = writer(memory, seed, &histories);
        for _ in 0..20 {
            writer.act();
        }
        let mut follower = Follower::new(tiny(fs.clone()), !seed, &histories);
        let writing = Mutex::new((writer, Chance(seed << 32)));
        fs.add_rule(Rule::any(Fault::call(move |_| {
            let (writer, chance) = &mut *writing.lock().unwrap();
            if chance.below(12) == 0 {
                (0..=chance.below(3)).for_each(|_| writer.act());
            }
        })));
        for step in 0..60 {
            say_on_panic(&format!("HISTORIES={seed}, step {step}"), || {
                let records = follower.chance.below(6);
                follower.read_on(records);
                follower.look();
            });
        }
        fs.clear_rules();
        say_on_panic(&format!("HISTORIES={seed}"), || follower.check_all());
    }
}
