//! `consume`: the records of topics.
//!
//! Without a group the logs are read as they lie there, also while another process writes them. With a group the
//! directory is opened, as the group's offsets are written to it.

use crate::args::OutputFormat;
use crate::data::{self, Data};
use crate::failure::Failure;
use crate::json::{Shown, ShownInTopic};
use crate::output::Output;
use crate::store_args::ConsumeArgs;
use annals::{
    AutoOffsetReset, Consumer, ConsumerConfig, Offset, OffsetAndMetadata, Reader, StartAt, Store,
    StoredRecord, TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

/// How often a log that another process writes is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// After how many looks that found nothing it is looked for new partitions.
const LOOKS: u32 = 50;
/// The most records of a partition before others have their turn.
const TURN: usize = 500;

pub fn run(args: &ConsumeArgs, output: &mut Output) -> Result<(), Failure> {
    let mut printer = Printer { output, format: args.format, left: args.max };
    match &args.group {
        None => read(args, &mut printer),
        Some(group) => {
            let store = data::open(&args.dir)?;
            let result = consume(args, group, &store, &mut printer);
            let closed = store.close();
            result?;
            Ok(closed?)
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

/// A partition that is read as it lies there.
struct Source {
    at: TopicPartition,
    reader: Reader,
    /// Where it ended when it was opened.
    end: Offset,
}

impl Source {
    fn open(data: &Data, at: TopicPartition, from: StartAt) -> Result<Source, Failure> {
        let (log, start) = data.partition(&at.topic, at.partition)?;
        let end = log.offsets().end;
        let from = match from {
            StartAt::Earliest => start,
            StartAt::Latest => end,
            StartAt::Time(time) => {
                log.offset_for_time(time)?.map_or(end, |(offset, _)| offset.max(start))
            }
            StartAt::Offset(offset) if (start..=end).contains(&offset) => offset,
            StartAt::Offset(requested) => {
                let error = annals::Error::OffsetOutOfRange { requested, start, end };
                return Err(Failure::refused(format!("{at}: {error}")));
            }
            _ => start,
        };
        Ok(Source { reader: log.reader(from)?, at, end })
    }

    /// Prints what there is, up to some offset, as much as makes a turn. Says whether that was anything.
    fn print(&mut self, until: Offset, printer: &mut Printer<'_>) -> Result<bool, Failure> {
        for turn in 0..TURN {
            if printer.is_done() || self.reader.offset() >= until {
                return Ok(turn > 0);
            }
            let dir = self.at.to_string();
            let next = self.reader.next_record().map_err(Failure::within(dir.as_ref()))?;
            let Some(record) = next.filter(|record| record.offset < until) else {
                return Ok(turn > 0);
            };
            printer.print(&self.at.topic, self.at.partition, &record)?;
        }
        Ok(true)
    }
}

/// The partitions that are asked for: of the topics in their order, each once.
fn partitions(args: &ConsumeArgs, data: &Data) -> Result<Vec<TopicPartition>, Failure> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for topic in args.topics.iter().filter(|topic| seen.insert(topic.as_str())) {
        let numbers = data.numbers(topic, args.partition)?;
        all.extend(numbers.into_iter().map(|number| TopicPartition::new(topic.as_str(), number)));
    }
    Ok(all)
}

fn read(args: &ConsumeArgs, printer: &mut Printer<'_>) -> Result<(), Failure> {
    let data = Data::look(&args.dir)?;
    let open = |at| Source::open(&data, at, args.from);
    let mut sources: Vec<Source> =
        partitions(args, &data)?.into_iter().map(open).collect::<Result<_, _>>()?;
    if !args.follow {
        for source in &mut sources {
            while source.print(source.end, printer)? {}
        }
        return Ok(());
    }
    let mut idle = 0u32;
    while !printer.is_done() {
        let mut any = false;
        for source in &mut sources {
            any |= source.print(Offset::MAX, printer)?;
        }
        if any {
            idle = 0;
            continue;
        }
        printer.output.flush()?;
        thread::sleep(LOOK);
        idle = idle.saturating_add(1);
        if idle.is_multiple_of(LOOKS) {
            let data = Data::look(&args.dir)?;
            for at in partitions(args, &data)? {
                if !sources.iter().any(|source| source.at == at) {
                    sources.push(Source::open(&data, at, StartAt::Earliest)?);
                }
            }
        }
    }
    Ok(())
}

fn consume(
    args: &ConsumeArgs,
    group: &str,
    store: &Store,
    printer: &mut Printer<'_>,
) -> Result<(), Failure> {
    let all = partitions(args, &Data::look(&args.dir)?)?;
    let config = ConsumerConfig::new(group)
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .enable_auto_commit(false);
    let mut consumer = store.consumer(config)?;
    // Nobody else can be in the group, so there is nobody to share the partitions with.
    consumer.assign(all.iter().cloned())?;
    let mut starts: BTreeMap<TopicPartition, OffsetAndMetadata> = BTreeMap::new();
    for at in &all {
        if consumer.committed(at)?.is_none() {
            let named = |error| Failure::within(at.to_string().as_ref())(error);
            consumer.seek(at, args.from).map_err(named)?;
            starts.insert(at.clone(), consumer.position(at)?.into());
        }
    }
    if !starts.is_empty() {
        consumer.commit_offsets(starts)?;
    }
    let ends = consumer.end_offsets(all)?;
    let timeout = if args.follow { Duration::MAX } else { Duration::ZERO };
    while !printer.is_done() && poll(&mut consumer, timeout, &ends, args.follow, printer)? {}
    Ok(consumer.close()?)
}

/// Prints the records of a poll, and then commits them. Says whether there may be more.
fn poll(
    consumer: &mut Consumer,
    timeout: Duration,
    ends: &BTreeMap<TopicPartition, Offset>,
    follow: bool,
    printer: &mut Printer<'_>,
) -> Result<bool, Failure> {
    let records = consumer.poll(timeout)?;
    let mut printed: BTreeMap<TopicPartition, OffsetAndMetadata> = BTreeMap::new();
    for (at, records) in records.partitions() {
        // Of the offsets topic there is more with each commit.
        let end = if follow { Offset::MAX } else { ends.get(&at).copied().unwrap_or(0) };
        for record in records.iter().take_while(|record| record.offset < end) {
            if printer.is_done() {
                break;
            }
            printer.print(&at.topic, at.partition, record)?;
            printed.insert(at.clone(), record.offset.saturating_add(1).into());
        }
    }
    // What nobody could see is not committed.
    printer.output.flush()?;
    if printed.is_empty() {
        return Ok(follow);
    }
    consumer.commit_offsets(printed)?;
    Ok(true)
}
