//! `append`: records from stdin.

use crate::args::{AppendArgs, InputFormat, Sync};
use crate::failure::Failure;
use crate::json;
use crate::output::{Output, spinner};
use annals::record::BatchBuilder;
use annals::{Clock, Error, Log, Record, SystemClock};
use serde::Serialize;
use std::io::{self, BufRead, BufReader, Write as _};
use std::time::Instant;

/// What a log takes in one batch unless `--max-message-bytes` says otherwise.
const DEFAULT_MAX_MESSAGE_BYTES: u64 = 1_048_588;
/// The most bytes JSON needs for one byte of a string: `\u0000`.
const JSON_GROWTH: u64 = 6;
/// What JSON needs besides the strings.
const JSON_FRAME_BYTES: u64 = 64 << 10;
/// What encoding can add to the bytes of a record, and to those of each of its headers.
const RECORD_OVERHEAD: usize = 32;

#[derive(Serialize)]
struct Ack {
    first: u64,
    last: u64,
    durable: u64,
}

pub fn run(args: &AppendArgs, output: &mut Output) -> Result<(), Failure> {
    if args.key_separator.is_some() && args.format == InputFormat::Json {
        return Err(Failure::usage("--key-separator is for --format lines"));
    }
    let started = Instant::now();
    let log = Log::open(&args.dir, args.config.to_config(args.compression))?;
    let mut feed = Feed::new(args, &log, output);
    let result = feed.run(&mut BufReader::with_capacity(64 << 10, io::stdin().lock()));
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
    /// The line of each record in the batch.
    lines: Vec<u64>,
    /// The number of the line being read, from 1.
    line: u64,
    /// The first line whose record is not in the log.
    pending_line: u64,
    records: u64,
    bytes: u64,
}

impl<'a> Feed<'a> {
    fn new(args: &'a AppendArgs, log: &'a Log, output: &'a mut Output) -> Feed<'a> {
        let (clock, batch) = (SystemClock::new(), BatchBuilder::new());
        Feed {
            args,
            log,
            output,
            clock,
            batch,
            lines: Vec::new(),
            line: 0,
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

    /// How long a line may be: no record in a longer one could be appended.
    fn line_bytes(&self) -> u64 {
        let most = self.args.config.max_message_bytes.unwrap_or(DEFAULT_MAX_MESSAGE_BYTES);
        match self.args.format {
            InputFormat::Lines => most,
            InputFormat::Json => most.saturating_mul(JSON_GROWTH).saturating_add(JSON_FRAME_BYTES),
        }
    }

    fn run(&mut self, input: &mut impl BufRead) -> Result<(), Failure> {
        let progress = spinner("records appended:");
        let limit = self.line_bytes();
        let mut line = Vec::new();
        while self.next_line(input, &mut line, limit)? {
            let Some(record) = self.record(&line)? else { continue };
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

    /// Reads the next line, without its end; false when there is none.
    fn next_line(
        &mut self,
        input: &mut impl BufRead,
        line: &mut Vec<u8>,
        limit: u64,
    ) -> Result<bool, Failure> {
        line.clear();
        let mut any = false;
        loop {
            let bytes = match input.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::io("read stdin", &error)),
            };
            if bytes.is_empty() {
                return Ok(any);
            }
            if !any {
                any = true;
                self.line = self.line.saturating_add(1);
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
            if (line.len() as u64).saturating_add(part.len() as u64) > limit {
                let reason = format!("it is longer than {limit} bytes; raise --max-message-bytes");
                return Err(self.bad_line(&reason));
            }
            line.extend_from_slice(part);
            let used = part.len().saturating_add(usize::from(end.is_some()));
            input.consume(used);
            if end.is_some() {
                return Ok(true);
            }
        }
    }

    fn bad_line(&self, reason: &str) -> Failure {
        let line = self.line;
        Failure::refused(format!("line {line} of stdin: {reason}; {}", self.kept()))
    }

    /// A record or the batch was not taken: says which line it came from, and what is in the log.
    fn not_taken(&self, error: Error) -> Failure {
        let failure = match error {
            Error::InvalidRecord { index, reason } => {
                let line = self.lines.get(index).copied().unwrap_or(self.line);
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

    fn record(&self, line: &[u8]) -> Result<Option<Record>, Failure> {
        if self.args.format == InputFormat::Json {
            if line.iter().all(u8::is_ascii_whitespace) {
                return Ok(None);
            }
            let record = json::record(line);
            return record.map(Some).map_err(|e| self.bad_line(&format!("not a record: {e}")));
        }
        let Some(separator) = &self.args.key_separator else { return Ok(Some(line.into())) };
        let separator = separator.as_bytes();
        let found = line.windows(separator.len()).position(|part| part == separator);
        let parts = found.and_then(|at| {
            let (key, rest) = line.split_at_checked(at)?;
            Some((key, rest.get(separator.len()..)?))
        });
        match parts {
            Some((key, value)) => Ok(Some(Record::from(value).key(key.to_vec()))),
            None => Err(self.bad_line("the key separator is not in it")),
        }
    }

    /// Adds a record to the batch, after the batch was appended if it would not fit.
    fn take(&mut self, record: &Record) -> Result<(), Failure> {
        let headers = record.headers.len().saturating_add(1);
        let most = headers.saturating_mul(RECORD_OVERHEAD).saturating_add(record.payload_bytes());
        if self.batch.size_bytes().saturating_add(most) as u64 > self.batch_bytes() {
            self.append()?;
            self.pending_line = self.line;
        }
        if let Err(error) = self.batch.push_record(record, self.clock.now()) {
            return Err(self.not_taken(error));
        }
        self.lines.push(self.line);
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
        self.pending_line = self.line.saturating_add(1);
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
