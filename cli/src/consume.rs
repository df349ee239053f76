//! `consume`: the records of topics.
//!
//! Without a group, the command opens the logs read-only, so it works beside a writer in another
//! process. With a group, it opens the directory for writing, because commits are written there,
//! and reads a damaged partition up to the damage: a group skips nothing that it was not told to
//! skip. Ctrl-C ends a group after the printed records are committed.

use crate::args::{Isolation, OutputFormat};
use crate::data::{self, Data};
use crate::failure::{DAMAGED, Failure, warn};
use crate::json::{Shown, ShownInTopic};
use crate::output::Output;
use crate::salvage::Salvage;
use crate::scan::Transactions;
use crate::store_args::ConsumeArgs;
use annals::{
    AutoOffsetReset, ConsumeError, Consumer, ConsumerConfig, ConsumerRecords, Corruption, Error,
    ErrorKind, Offset, OffsetAndMetadata, Reader, StartAt, Store, StoredRecord, Timestamp,
    TopicError, TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// The time between two looks at a log that another process writes.
const LOOK: Duration = Duration::from_millis(10);
/// How long a group waits for records before it checks whether to end.
const WAIT: Duration = Duration::from_millis(100);
/// The number of looks without new records after which the command searches for new partitions.
const LOOKS: u32 = 50;
/// The most records of one partition before the next partition is read.
const TURN: usize = 500;

/// Whether Ctrl-C was pressed.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Ends the command cleanly at the first Ctrl-C, and at once at the second.
fn catch_interrupt() -> Result<(), Failure> {
    const BY_INTERRUPT: i32 = 130;
    let caught = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(BY_INTERRUPT);
        }
    });
    caught.map_err(|error| Failure::refused(format!("cannot catch Ctrl-C: {error}")))
}

pub fn run(args: &ConsumeArgs, output: &mut Output) -> Result<ExitCode, Failure> {
    let mut printer = Printer { output, format: args.format, left: args.max };
    match &args.group {
        None => read(args, &mut printer),
        Some(group) => {
            catch_interrupt()?;
            let store = data::open(&args.dir)?;
            let result = consume(args, group, &store, &mut printer);
            let closed = store.close();
            let code = result?;
            closed?;
            Ok(code)
        }
    }
}

struct Printer<'a> {
    output: &'a mut Output,
    format: OutputFormat,
    left: Option<u64>,
}

impl Printer<'_> {
    fn is_done(&self) -> bool {
        self.left == Some(0)
    }

    fn print(&mut self, topic: &str, partition: u32, record: &StoredRecord) -> Result<(), Failure> {
        self.left = self.left.map(|left| left.saturating_sub(1));
        match self.format {
            OutputFormat::Json => {
                let record = Shown::from(record);
                return self.output.json(&ShownInTopic { topic, partition, record });
            }
            OutputFormat::Value => {}
            OutputFormat::KeyValue => {
                self.output.bytes(record.key.as_deref().unwrap_or_default())?;
                self.output.bytes(b"\t")?;
            }
        }
        self.output.bytes(record.value.as_deref().unwrap_or_default())?;
        self.output.bytes(b"\n")
    }
}

/// A partition that is read without a group.
struct Source {
    at: TopicPartition,
    records: Records,
    /// The end of the records to print when the log was opened.
    end: Offset,
    isolation: Isolation,
}

/// The records of a log, or of its sound batches if it is damaged.
enum Records {
    Log(Box<Reader>),
    Sound(Box<Sound>),
}

struct Sound {
    batches: Salvage,
    decoded: VecDeque<StoredRecord>,
    from: Offset,
    /// Records before the first one with this time are left out.
    since: Option<Timestamp>,
    /// The transactions, if only committed records are printed, and the end of these records.
    committed: Option<(Transactions, Offset)>,
}

impl Records {
    fn offset(&self) -> Offset {
        match self {
            Records::Log(reader) => reader.offset(),
            Records::Sound(sound) => {
                let next = sound.decoded.front().map(|record| record.offset);
                next.unwrap_or_else(|| sound.batches.offset())
            }
        }
    }

    fn next(&mut self, named: &Path) -> Result<Option<StoredRecord>, Failure> {
        match self {
            Records::Log(reader) => reader.next_record().map_err(Failure::within(named)),
            Records::Sound(sound) => sound.next(named),
        }
    }
}

impl Sound {
    fn next(&mut self, named: &Path) -> Result<Option<StoredRecord>, Failure> {
        loop {
            if let Some(record) = self.decoded.pop_front() {
                let is_early = self.since.is_some_and(|since| record.timestamp < since);
                if record.offset < self.from || is_early {
                    continue;
                }
                self.since = None;
                return Ok(Some(record));
            }
            let Some(batch) = self.batches.next_batch()? else { return Ok(None) };
            let header = batch.header();
            if let Some((transactions, end)) = &self.committed {
                if header.base_offset >= *end {
                    return Ok(None);
                }
                if transactions.is_aborted(header) {
                    continue;
                }
            }
            if header.is_control() {
                continue;
            }
            match batch.records() {
                Ok(records) => self.decoded.extend(records.stored().filter_map(Result::ok)),
                Err(error) => warn(&format!("{}: {error}", named.display())),
            }
        }
    }
}

impl Source {
    fn open(
        data: &Data,
        at: TopicPartition,
        from: StartAt,
        isolation: Isolation,
    ) -> Result<Source, Failure> {
        let log = match data.partition(&at.topic, at.partition) {
            Err(Failure::Damaged(damage)) => {
                return Source::around(data, at, from, isolation, &damage);
            }
            found => found?,
        };
        let offsets = log.offsets();
        let (start, end) = match isolation {
            Isolation::Uncommitted => (offsets.start, offsets.high_watermark),
            Isolation::Committed => (offsets.start, offsets.last_stable),
        };
        let from = match from {
            StartAt::Earliest => start,
            StartAt::Latest => end,
            StartAt::Time(time) => {
                log.offset_for_time(time)?.map_or(end, |(offset, _)| offset.max(start))
            }
            StartAt::Offset(offset) => offset,
            _ => start,
        };
        let reader = log.isolated(isolation.into()).reader(from)?;
        Ok(Source { records: Records::Log(Box::new(reader)), at, end, isolation })
    }

    /// Returns the sound records of a damaged partition.
    fn around(
        data: &Data,
        at: TopicPartition,
        from: StartAt,
        isolation: Isolation,
        damage: &Corruption,
    ) -> Result<Source, Failure> {
        warn(&format!("{damage}; what is sound is printed"));
        let start = data.start(&at.topic, at.partition);
        let (from, since) = match from {
            StartAt::Offset(offset) => (offset.max(start), None),
            StartAt::Time(at) => (start, Some(at)),
            StartAt::Latest => (Offset::MAX, None),
            _ => (start, None),
        };
        let dir = data.partition_dir(&at.topic, at.partition);
        let committed = match isolation {
            Isolation::Uncommitted => None,
            Isolation::Committed => Some(Transactions::of_sound_batches(&dir, start)?),
        };
        let batches = Salvage::from(&dir, from)?;
        let sound = Sound { batches, decoded: VecDeque::new(), from, since, committed };
        let records = Records::Sound(Box::new(sound));
        Ok(Source { at, records, end: Offset::MAX, isolation })
    }

    fn is_damaged(&self) -> bool {
        matches!(self.records, Records::Sound(_))
    }

    /// Prints the records up to an offset, at most one turn of them. Returns whether there were
    /// any.
    fn print(
        &mut self,
        data: &Data,
        until: Offset,
        printer: &mut Printer<'_>,
    ) -> Result<bool, Failure> {
        let named = self.at.to_string();
        for turn in 0..TURN {
            if printer.is_done() || self.records.offset() >= until {
                return Ok(turn > 0);
            }
            let next = match self.records.next(named.as_ref()) {
                Err(Failure::Damaged(damage)) if !self.is_damaged() => {
                    let from = StartAt::Offset(self.records.offset());
                    *self = Source::around(data, self.at.clone(), from, self.isolation, &damage)?;
                    return Ok(true);
                }
                next => next?,
            };
            let Some(record) = next.filter(|record| record.offset < until) else {
                return Ok(turn > 0);
            };
            printer.print(&self.at.topic, self.at.partition, &record)?;
        }
        Ok(true)
    }
}

/// Returns the partitions to read, in the order of the topics, each once.
fn partitions(args: &ConsumeArgs, data: &Data) -> Result<Vec<TopicPartition>, Failure> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for topic in args.topics.iter().filter(|topic| seen.insert(topic.as_str())) {
        let numbers = data.numbers(topic, args.partition)?;
        all.extend(numbers.into_iter().map(|number| TopicPartition::new(topic.as_str(), number)));
    }
    Ok(all)
}

fn read(args: &ConsumeArgs, printer: &mut Printer<'_>) -> Result<ExitCode, Failure> {
    let mut data = Data::look(&args.dir)?;
    let open = |at| Source::open(&data, at, args.from, args.isolation);
    let mut sources: Vec<Source> =
        partitions(args, &data)?.into_iter().map(open).collect::<Result<_, _>>()?;
    if !args.follow {
        for source in &mut sources {
            while source.print(&data, source.end, printer)? {}
        }
        return Ok(code(&sources));
    }
    let mut idle = 0u32;
    while !printer.is_done() {
        let mut any = false;
        for source in &mut sources {
            any |= source.print(&data, Offset::MAX, printer)?;
        }
        if any {
            idle = 0;
            continue;
        }
        printer.output.flush()?;
        thread::sleep(LOOK);
        idle = idle.saturating_add(1);
        if idle.is_multiple_of(LOOKS) {
            data = Data::look(&args.dir)?;
            for at in partitions(args, &data)? {
                if !sources.iter().any(|source| source.at == at) {
                    let from = StartAt::Earliest;
                    sources.push(Source::open(&data, at, from, args.isolation)?);
                }
            }
        }
    }
    Ok(code(&sources))
}

fn code(sources: &[Source]) -> ExitCode {
    if sources.iter().any(Source::is_damaged) { ExitCode::from(DAMAGED) } else { ExitCode::SUCCESS }
}

/// Warns that damage ends the reading of a partition, and says how to repair it. Returns any other
/// error.
fn pass_over(dir: &Path, at: &TopicPartition, error: Error) -> Result<(), Failure> {
    let told = match &error {
        Error::Topic(offline) => match &**offline {
            TopicError::PartitionOffline { reason, .. } => reason.clone(),
            _ => return Err(error.into()),
        },
        Error::Consume(failed) => match &**failed {
            ConsumeError::Partition { source, .. } if source.kind() == ErrorKind::Corrupt => {
                source.to_string()
            }
            _ => return Err(error.into()),
        },
        Error::Corrupt(damage) => damage.to_string(),
        _ => return Err(Failure::within(at.to_string().as_ref())(error)),
    };
    // The rest of the message advises calls of the library.
    let told = told.split("; restore").next().unwrap_or(&told);
    let way_out = match error.kind() {
        ErrorKind::Corrupt => {
            let log = dir.join(at.to_string());
            format!(": set the damaged bytes aside with `annals repair {}`", log.display())
        }
        _ => String::new(),
    };
    warn(&format!("{told}; {at} is read no further{way_out}"));
    Ok(())
}

fn consume(
    args: &ConsumeArgs,
    group: &str,
    store: &Store,
    printer: &mut Printer<'_>,
) -> Result<ExitCode, Failure> {
    let (mut all, mut code) = (Vec::new(), ExitCode::SUCCESS);
    let mut pass_over = |at: &TopicPartition, error| {
        code = ExitCode::from(DAMAGED);
        pass_over(&args.dir, at, error)
    };
    for at in partitions(args, &Data::look(&args.dir)?)? {
        match store.topic(&at.topic)?.partition(at.partition) {
            Ok(_) => all.push(at),
            Err(error) => pass_over(&at, error)?,
        }
    }
    if all.is_empty() {
        return Ok(code);
    }
    let config = ConsumerConfig::new(group)
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .isolation_level(args.isolation.into())
        .enable_auto_commit(false);
    let mut consumer = store.consumer(config)?;
    // No other process can join the group, so it has no other member to share the partitions with.
    consumer.assign(all.iter().cloned())?;
    let mut starts: BTreeMap<TopicPartition, OffsetAndMetadata> = BTreeMap::new();
    for at in &all {
        if consumer.committed(at)?.is_none() {
            match consumer.seek(at, args.from).and_then(|()| consumer.position(at)) {
                Ok(position) => drop(starts.insert(at.clone(), position.into())),
                Err(error) => {
                    pass_over(at, error)?;
                    consumer.pause([at.clone()])?;
                }
            }
        }
    }
    if !starts.is_empty() {
        consumer.commit_offsets(starts)?;
    }
    let ends = consumer.end_offsets(all)?;
    let timeout = if args.follow { WAIT } else { Duration::ZERO };
    while !printer.is_done() && !is_interrupted() {
        match consumer.poll(timeout) {
            Ok(records) => {
                if !print(&mut consumer, &records, &ends, args.follow, printer)? {
                    break;
                }
            }
            Err(error) => {
                let Some(at) = at_of(&error) else { return Err(error.into()) };
                pass_over(&at, error)?;
                consumer.pause([at])?;
            }
        }
    }
    consumer.close()?;
    Ok(code)
}

/// Returns the partition that a poll could not read.
fn at_of(error: &Error) -> Option<TopicPartition> {
    let Error::Consume(error) = error else { return None };
    match &**error {
        ConsumeError::Partition { topic, partition, .. } => {
            Some(TopicPartition::new(topic.as_str(), *partition))
        }
        _ => None,
    }
}

/// Prints the records of a poll, then commits them. Returns whether there may be more.
fn print(
    consumer: &mut Consumer,
    records: &ConsumerRecords,
    ends: &BTreeMap<TopicPartition, Offset>,
    follow: bool,
    printer: &mut Printer<'_>,
) -> Result<bool, Failure> {
    let mut printed: BTreeMap<TopicPartition, OffsetAndMetadata> = BTreeMap::new();
    for (at, records) in records.partitions() {
        // Each commit adds a record to the offsets topic, so reading it would never end.
        let end = if follow { Offset::MAX } else { ends.get(&at).copied().unwrap_or(0) };
        for record in records.iter().take_while(|record| record.offset < end) {
            if printer.is_done() || is_interrupted() {
                break;
            }
            printer.print(&at.topic, at.partition, record)?;
            printed.insert(at.clone(), record.offset.saturating_add(1).into());
        }
    }
    // A record is committed only after it was written to stdout.
    printer.output.flush()?;
    if printed.is_empty() {
        return Ok(follow);
    }
    consumer.commit_offsets(printed)?;
    Ok(true)
}
