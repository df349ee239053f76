//! `read`: records in the order of their offsets.

use crate::args::{Isolation, OutputFormat, ReadArgs};
use crate::failure::{DAMAGED, Failure, warn};
use crate::holes::holes;
use crate::json::Shown;
use crate::output::Output;
use crate::salvage::{Salvage, start_of};
use crate::scan::Transactions;
use annals::record::RecordRef;
use annals::{Error, Log, LogConfig, Offset, Reader, StartAt, Timestamp};
use std::path::Path;
use std::process::ExitCode;

/// The position before which reading stops.
#[derive(Debug, Clone, Copy)]
enum Stop {
    Never,
    Offset(Offset),
    Time(Timestamp),
}

impl Stop {
    fn new(args: &ReadArgs, log: &Log) -> Result<Stop, Failure> {
        let end = log.offsets().end;
        let stop = match args.until {
            None => Stop::Never,
            Some(StartAt::Earliest) => Stop::Offset(log.offsets().start),
            Some(StartAt::Offset(offset)) => Stop::Offset(offset),
            Some(StartAt::Time(at)) => match log.offset_for_time(at)? {
                Some((offset, _)) => Stop::Offset(offset),
                None => Stop::Time(at),
            },
            Some(_) => Stop::Offset(end),
        };
        // Without this limit, a reader slower than the writer would never end.
        Ok(match stop {
            _ if args.follow => stop,
            Stop::Offset(offset) => Stop::Offset(offset.min(end)),
            Stop::Never | Stop::Time(_) => Stop::Offset(end),
        })
    }

    fn is_at(self, offset: Offset) -> bool {
        matches!(self, Stop::Offset(stop) if offset >= stop)
    }

    fn is_before(self, record: &RecordRef<'_>) -> bool {
        match self {
            Stop::Never => false,
            Stop::Offset(stop) => record.offset >= stop,
            Stop::Time(at) => record.timestamp >= at,
        }
    }
}

pub fn run(args: &ReadArgs, output: &mut Output) -> Result<ExitCode, Failure> {
    let (format, left) = (args.format, args.max);
    let mut printer = Printer { output, format, left, stop: Stop::Never, next: None };
    match read_log(args, &mut printer) {
        Err(Failure::Damaged(damage)) => {
            warn(&format!("{damage}; what is sound is printed"));
            read_files(args, &mut printer)?;
            Ok(ExitCode::from(DAMAGED))
        }
        read => {
            read?;
            let log = Log::open_read_only(&args.dir, LogConfig::default())?;
            let found = holes(&args.dir, &log)?;
            found.iter().for_each(|hole| warn(&hole.to_string()));
            Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DAMAGED) })
        }
    }
}

fn read_log(args: &ReadArgs, printer: &mut Printer<'_>) -> Result<(), Failure> {
    let log = Log::open_read_only(&args.dir, LogConfig::default())?;
    let view = log.isolated(args.isolation.into());
    let mut reader = view.reader(args.from).map_err(Failure::within(&args.dir))?;
    printer.stop = Stop::new(args, &log)?;
    printer.next = Some(reader.offset());
    let mut tail = if args.follow { Some(view.tail(reader.offset())?) } else { None };
    loop {
        if printer.print(&mut reader, &args.dir)? {
            return Ok(());
        }
        let Some(tail) = &mut tail else { return Ok(()) };
        printer.output.flush()?;
        tail.seek(reader.offset())?;
        tail.next_batch(None).map_err(Failure::within(&args.dir))?;
    }
}

/// Prints the sound batches from where the reader of the log stopped at damage.
fn read_files(args: &ReadArgs, printer: &mut Printer<'_>) -> Result<(), Failure> {
    let start = start_of(&args.dir);
    let (from, since) = match (printer.next, args.from) {
        (Some(next), _) => (next, None),
        (None, StartAt::Offset(offset)) => (offset.max(start), None),
        (None, StartAt::Time(at)) => (start, Some(at)),
        (None, StartAt::Latest) => (Offset::MAX, None),
        (None, _) => (start, None),
    };
    if printer.next.is_none() {
        printer.stop = match args.until {
            Some(StartAt::Offset(offset)) => Stop::Offset(offset),
            Some(StartAt::Time(at)) => Stop::Time(at),
            Some(StartAt::Earliest) => Stop::Offset(start),
            _ => Stop::Never,
        };
    }
    let (transactions, limit) = match args.isolation {
        Isolation::Uncommitted => (None, Offset::MAX),
        Isolation::Committed => {
            let (transactions, limit) = Transactions::of_sound_batches(&args.dir, start)?;
            (Some(transactions), limit)
        }
    };
    let mut has_begun = since.is_none();
    let mut batches = Salvage::from(&args.dir, from)?;
    while let Some(batch) = batches.next_batch()? {
        let header = *batch.header();
        if header.base_offset >= limit {
            break;
        }
        if header.is_control() || transactions.as_ref().is_some_and(|all| all.is_aborted(&header)) {
            continue;
        }
        let decoded = match batch.records() {
            Ok(decoded) => decoded,
            Err(error) => {
                let (first, last) = (header.base_offset, header.last_offset());
                warn(&format!("the batch of offsets {first} to {last} cannot be decoded: {error}"));
                continue;
            }
        };
        for record in decoded.iter() {
            let record = record.map_err(Error::from)?;
            has_begun |= since.is_some_and(|since| record.timestamp >= since);
            if record.offset >= from && has_begun && printer.take(&record)? {
                return Ok(());
            }
        }
    }
    if args.follow {
        warn("a damaged log is not followed: this was what it holds now");
    }
    Ok(())
}

struct Printer<'a> {
    output: &'a mut Output,
    format: OutputFormat,
    left: Option<u64>,
    stop: Stop,
    /// The position of the reader, once the log is open.
    next: Option<Offset>,
}

impl Printer<'_> {
    /// Prints the records up to the end of the log. Returns whether reading is complete.
    fn print(&mut self, reader: &mut Reader, dir: &Path) -> Result<bool, Failure> {
        loop {
            let next = reader.offset();
            self.next = Some(next);
            if self.left == Some(0) || self.stop.is_at(next) {
                return Ok(true);
            }
            let found = reader.next_batch().map_err(Failure::within(dir))?;
            let Some(mut batch) = found else { return Ok(false) };
            if batch.header().is_control() {
                continue;
            }
            for record in batch.records().map_err(Failure::within(dir))? {
                if self.take(&record.map_err(Error::from)?)? {
                    return Ok(true);
                }
            }
        }
    }

    /// Prints a record, unless reading is complete.
    fn take(&mut self, record: &RecordRef<'_>) -> Result<bool, Failure> {
        if self.left == Some(0) || self.stop.is_before(record) {
            return Ok(true);
        }
        self.record(record)?;
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(false)
    }

    fn record(&mut self, record: &RecordRef<'_>) -> Result<(), Failure> {
        match self.format {
            OutputFormat::Json => return self.output.json(&Shown::from(record)),
            OutputFormat::Value => {}
            OutputFormat::KeyValue => {
                self.output.bytes(record.key.unwrap_or_default())?;
                self.output.bytes(b"\t")?;
            }
        }
        self.output.bytes(record.value.unwrap_or_default())?;
        self.output.bytes(b"\n")
    }
}
