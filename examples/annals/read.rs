//! `read`: records in the order of their offsets.

use crate::args::{Isolation, OutputFormat, ReadArgs};
use crate::failure::Failure;
use crate::json::Shown;
use crate::output::Output;
use crate::scan::Scan;
use annals::record::RecordRef;
use annals::{Log, LogConfig, Offset, Reader, StartAt, Timestamp};
use std::path::Path;

/// Before what reading stops.
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
        // Without this a reader slower than the writer would never come to an end.
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

pub fn run(args: &ReadArgs, output: &mut Output) -> Result<(), Failure> {
    let log = Log::open_read_only(&args.dir, LogConfig::default())?;
    let mut reader = log.reader(args.from).map_err(Failure::within(&args.dir))?;
    let mut printer =
        Printer { output, format: args.format, left: args.max, stop: Stop::new(args, &log)? };
    let mut scan = match args.isolation {
        Isolation::Uncommitted => None,
        Isolation::Committed => Some(Scan::new(&log)?),
    };
    let mut tail = if args.follow { Some(log.tail(reader.offset())?) } else { None };
    loop {
        if let Some(scan) = &mut scan {
            scan.advance(&log)?;
        }
        if printer.print(&mut reader, scan.as_ref(), &args.dir)? {
            return Ok(());
        }
        let Some(tail) = &mut tail else { return Ok(()) };
        printer.output.flush()?;
        tail.seek(scan.as_ref().map_or_else(|| reader.offset(), Scan::offset))?;
        tail.next_batch(None).map_err(Failure::within(&args.dir))?;
    }
}

struct Printer<'a> {
    output: &'a mut Output,
    format: OutputFormat,
    left: Option<u64>,
    stop: Stop,
}

impl Printer<'_> {
    /// Prints what there is; says whether that was all there will be.
    fn print(
        &mut self,
        reader: &mut Reader,
        scan: Option<&Scan>,
        dir: &Path,
    ) -> Result<bool, Failure> {
        let limit = scan.map_or(Offset::MAX, Scan::last_stable);
        loop {
            if self.left == Some(0) || self.stop.is_at(reader.offset()) {
                return Ok(true);
            }
            if reader.offset() >= limit {
                return Ok(false);
            }
            let next = reader.next_batch().map_err(Failure::within(dir))?;
            let Some(mut batch) = next else { return Ok(false) };
            let header = *batch.header();
            let aborted = scan.is_some_and(|scan| scan.transactions.is_aborted(&header));
            if header.is_control() || aborted {
                continue;
            }
            for record in batch.records().map_err(Failure::within(dir))? {
                let record = record.map_err(annals::Error::from)?;
                if self.left == Some(0) || self.stop.is_before(&record) {
                    return Ok(true);
                }
                self.record(&record)?;
                self.left = self.left.map(|left| left.saturating_sub(1));
            }
        }
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
