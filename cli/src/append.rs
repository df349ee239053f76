//! `append`: records from stdin.
//!
//! One thread reads lines, so that the other can append a batch that has lingered although no more
//! input comes.

use crate::args::{AppendArgs, Sync};
use crate::failure::Failure;
use crate::input::Lines;
use crate::notices::Notices;
use crate::output::{Output, counted, spinner};
use annals::record::BatchBuilder;
use annals::{Clock, Error, Log, Record, SystemClock};
use serde::Serialize;
use std::io::{self, BufReader, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// The largest batch that a log takes without `--max-message-bytes`.
const DEFAULT_MAX_MESSAGE_BYTES: u64 = 1_048_588;
/// The most bytes that encoding adds to a record, and to each of its headers.
const RECORD_OVERHEAD: usize = 32;
/// The chunks that are read ahead of the batch, and the bytes after which a chunk is full.
const CHUNKS: usize = 4;
const CHUNK_BYTES: usize = 256 << 10;

/// Records that were read, each with the number of its line.
type Chunk = Vec<(u64, Record)>;

/// A message from the reading thread.
enum News {
    Read(Chunk),
    Failed(Failure),
    Ended,
}

#[derive(Serialize)]
struct Ack {
    first: u64,
    last: u64,
    durable: u64,
}

pub fn run(args: &AppendArgs, output: &mut Output) -> Result<(), Failure> {
    // A wrong option is rejected before the log is opened.
    lines(args, io::empty())?;
    let started = Instant::now();
    let config = args.config.to_config(args.compression).listener(Arc::new(Notices::OF_RECOVERY));
    let log = Log::open(&args.dir, config)?;
    let (to, news) = sync_channel(CHUNKS);
    let reading = args.clone();
    // The thread ends with the input, or with the process.
    thread::spawn(move || read(&reading, &to));
    let mut feed = Feed::new(args, &log, output);
    let result = feed.run(&news);
    let (records, bytes) = (feed.records, feed.bytes);
    let closed = log.close();
    result?;
    closed?;
    let seconds = started.elapsed().as_secs_f64();
    let (records, bytes) = (counted(records, "record"), counted(bytes, "byte"));
    writeln!(io::stderr(), "{records}, {bytes}, {seconds:.3} seconds").ok();
    Ok(())
}

fn lines<R: io::Read>(args: &AppendArgs, from: R) -> Result<Lines<BufReader<R>>, Failure> {
    let most = args.config.max_message_bytes.unwrap_or(DEFAULT_MAX_MESSAGE_BYTES);
    let input = BufReader::with_capacity(64 << 10, from);
    Lines::new(input, args.format, args.key_separator.clone(), most, "--max-message-bytes")
}

/// Reads stdin to its end, or until the appending thread has failed and dropped its receiver.
fn read(args: &AppendArgs, to: &SyncSender<News>) {
    let read = || -> Result<(), Failure> {
        let mut lines = lines(args, io::stdin().lock())?;
        let (mut chunk, mut bytes) = (Chunk::new(), 0usize);
        loop {
            let next = lines.next();
            if let Ok(Some(record)) = next {
                bytes =
                    bytes.saturating_add(record.payload_bytes()).saturating_add(RECORD_OVERHEAD);
                chunk.push((lines.number(), record));
                if lines.is_line_buffered() && bytes < CHUNK_BYTES {
                    continue;
                }
                bytes = 0;
                if to.send(News::Read(std::mem::take(&mut chunk))).is_err() {
                    return Ok(());
                }
                continue;
            }
            // The records before a bad line are still appended.
            to.send(News::Read(chunk)).ok();
            return next.map(drop);
        }
    };
    let last = read().map_or_else(News::Failed, |()| News::Ended);
    to.send(last).ok();
}

struct Feed<'a> {
    args: &'a AppendArgs,
    log: &'a Log,
    output: &'a mut Output,
    clock: SystemClock,
    batch: BatchBuilder,
    /// When to append the batch even if it is not full.
    due: Instant,
    /// The last line taken from the reading thread.
    number: u64,
    /// The line of each record in the batch.
    lines: Vec<u64>,
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
            due: Instant::now(),
            number: 0,
            lines: Vec::new(),
            pending_line: 1,
            records: 0,
            bytes: 0,
        }
    }

    /// Returns the size that a batch may have at most, in bytes.
    fn batch_bytes(&self) -> u64 {
        let most = self.args.config.max_message_bytes.unwrap_or(DEFAULT_MAX_MESSAGE_BYTES);
        self.args.batch_bytes.min(most)
    }

    fn run(&mut self, news: &Receiver<News>) -> Result<(), Failure> {
        let progress = spinner("records appended:");
        while let Some(chunk) = self.next(news)? {
            for (number, record) in &chunk {
                self.number = *number;
                self.take(record)?;
            }
            progress.set_position(self.records);
        }
        self.append()?;
        if self.args.sync == Sync::End {
            self.log.flush()?;
        }
        progress.finish_and_clear();
        Ok(())
    }

    /// Returns the next chunk of records, or `None` at the end of the input. Appends the batch if
    /// it has lingered long enough.
    fn next(&mut self, news: &Receiver<News>) -> Result<Option<Chunk>, Failure> {
        loop {
            let wait = match self.batch.is_empty() {
                true => Duration::MAX,
                false => self.due.saturating_duration_since(Instant::now()),
            };
            match news.recv_timeout(wait) {
                Ok(News::Read(chunk)) => return Ok(Some(chunk)),
                Ok(News::Failed(failure)) => return Err(self.with_kept(failure)),
                Ok(News::Ended) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => self.append()?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::refused("reading stdin has ended early"));
                }
            }
        }
    }

    /// Returns the failure for a rejected record or batch: the line it came from, and what is in
    /// the log.
    fn not_taken(&self, error: Error) -> Failure {
        let failure = match error {
            Error::InvalidRecord { index, reason, .. } => {
                let line = self.lines.get(index).copied().unwrap_or(self.number);
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

    /// Describes how much of stdin is in the log.
    fn kept(&self) -> String {
        match self.pending_line {
            1 => "nothing was appended".to_owned(),
            line => format!("the lines before line {line} were appended, go on from there"),
        }
    }

    /// Adds a record to the batch. If the record does not fit, appends the batch first.
    fn take(&mut self, record: &Record) -> Result<(), Failure> {
        let headers = record.headers.len().saturating_add(1);
        let most = headers.saturating_mul(RECORD_OVERHEAD).saturating_add(record.payload_bytes());
        if self.batch.size_bytes().saturating_add(most) as u64 > self.batch_bytes() {
            self.append()?;
            self.pending_line = self.number;
        }
        if self.batch.is_empty() {
            self.due = Instant::now() + Duration::from_millis(self.args.linger_ms.into());
        }
        if let Err(error) = self.batch.push_record(record, self.clock.now()) {
            return Err(self.not_taken(error));
        }
        self.lines.push(self.number);
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
        self.pending_line = self.number.saturating_add(1);
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
