//! `append`: records from stdin.

use crate::args::{AppendArgs, Sync};
use crate::failure::Failure;
use crate::input::Lines;
use crate::output::{Output, spinner};
use annals::record::BatchBuilder;
use annals::{Clock, Error, Log, Record, SystemClock};
use serde::Serialize;
use std::io::{self, BufReader, StdinLock, Write as _};
use std::time::Instant;

/// What a log takes in one batch unless `--max-message-bytes` says otherwise.
const DEFAULT_MAX_MESSAGE_BYTES: u64 = 1_048_588;
/// What encoding can add to the bytes of a record, and to those of each of its headers.
const RECORD_OVERHEAD: usize = 32;

#[derive(Serialize)]
struct Ack {
    first: u64,
    last: u64,
    durable: u64,
}

pub fn run(args: &AppendArgs, output: &mut Output) -> Result<(), Failure> {
    let most = args.config.max_message_bytes.unwrap_or(DEFAULT_MAX_MESSAGE_BYTES);
    let input = BufReader::with_capacity(64 << 10, io::stdin().lock());
    let separator = args.key_separator.clone();
    let lines = Lines::new(input, args.format, separator, most, "--max-message-bytes")?;
    let started = Instant::now();
    let log = Log::open(&args.dir, args.config.to_config(args.compression))?;
    let mut feed = Feed::new(args, &log, lines, output);
    let result = feed.run();
    let (records, bytes) = (feed.records, feed.bytes);
    let closed = log.close();
    result?;
    closed?;
    let seconds = started.elapsed().as_secs_f64();
    writeln!(io::stderr(), "{records} records, {bytes} bytes, {seconds:.3} seconds").ok();
    Ok(())
}

struct Feed<'a> {
    args: &'a AppendArgs,
    log: &'a Log,
    output: &'a mut Output,
    clock: SystemClock,
    batch: BatchBuilder,
    input: Lines<BufReader<StdinLock<'static>>>,
    /// The line of each record in the batch.
    lines: Vec<u64>,
    /// The first line whose record is not in the log.
    pending_line: u64,
    records: u64,
    bytes: u64,
}

impl<'a> Feed<'a> {
    fn new(
        args: &'a AppendArgs,
        log: &'a Log,
        input: Lines<BufReader<StdinLock<'static>>>,
        output: &'a mut Output,
    ) -> Feed<'a> {
        let (clock, batch) = (SystemClock::new(), BatchBuilder::new());
        Feed {
            args,
            log,
            output,
            clock,
            batch,
            input,
            lines: Vec::new(),
            pending_line: 1,
            records: 0,
            bytes: 0,
        }
    }

    /// How much a batch may hold.
    fn batch_bytes(&self) -> u64 {
        let most = self.args.config.max_message_bytes.unwrap_or(DEFAULT_MAX_MESSAGE_BYTES);
        self.args.batch_bytes.min(most)
    }

    fn run(&mut self) -> Result<(), Failure> {
        let progress = spinner("records appended:");
        while let Some(record) = self.input.next().map_err(|failure| self.with_kept(failure))? {
            self.take(&record)?;
            progress.set_position(self.records);
        }
        self.append()?;
        if self.args.sync == Sync::End {
            self.log.flush()?;
        }
        progress.finish_and_clear();
        Ok(())
    }

    /// A record or the batch was not taken: says which line it came from, and what is in the log.
    fn not_taken(&self, error: Error) -> Failure {
        let failure = match error {
            Error::InvalidRecord { index, reason } => {
                let line = self.lines.get(index).copied().unwrap_or(self.input.number());
                Failure::refused(format!("line {line} of stdin: {reason}"))
            }
            Error::BatchTooLarge { .. } if self.lines.len() == 1 => {
                let line = self.pending_line;
                match Failure::from(error) {
                    Failure::Refused(message) => {
                        Failure::refused(format!("line {line} of stdin: {message}"))
                    }
                    other => other,
                }
            }
            other => other.into(),
        };
        self.with_kept(failure)
    }

    fn with_kept(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Refused(message) => Failure::refused(format!("{message}; {}", self.kept())),
            other => other,
        }
    }

    /// What of stdin is in the log.
    fn kept(&self) -> String {
        match self.pending_line {
            1 => "nothing was appended".to_owned(),
            line => format!("the lines before line {line} were appended, go on from there"),
        }
    }

    /// Adds a record to the batch, after the batch was appended if it would not fit.
    fn take(&mut self, record: &Record) -> Result<(), Failure> {
        let headers = record.headers.len().saturating_add(1);
        let most = headers.saturating_mul(RECORD_OVERHEAD).saturating_add(record.payload_bytes());
        if self.batch.size_bytes().saturating_add(most) as u64 > self.batch_bytes() {
            self.append()?;
            self.pending_line = self.input.number();
        }
        if let Err(error) = self.batch.push_record(record, self.clock.now()) {
            return Err(self.not_taken(error));
        }
        self.lines.push(self.input.number());
        self.bytes = self.bytes.saturating_add(record.payload_bytes() as u64);
        if self.batch.len() as u64 >= self.args.batch_records {
            self.append()?;
        }
        Ok(())
    }

    fn append(&mut self) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let appended = match self.log.append_builder(&mut self.batch) {
            Ok(appended) => appended,
            Err(error) => return Err(self.not_taken(error)),
        };
        self.records = self.records.saturating_add(self.batch.len() as u64);
        self.pending_line = self.input.number().saturating_add(1);
        self.batch.clear();
        self.lines.clear();
        if self.args.sync == Sync::Batch {
            self.log.flush_through(appended.last)?;
        }
        if self.args.ack {
            let durable = self.log.offsets().durable;
            self.output.json(&Ack { first: appended.first, last: appended.last, durable })?;
            self.output.flush()?;
        }
        Ok(())
    }
}
