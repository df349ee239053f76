//! `produce`: records from stdin, to a topic.
//!
//! One thread reads and sends; callbacks report the result of each record to the thread that
//! prints.

use crate::data;
use crate::failure::Failure;
use crate::input::Lines;
use crate::output::{Output, counted, spinner};
use crate::store_args::ProduceArgs;
use annals::{Error, ErrorKind, Offset, Producer, ProducerRecord, Store, Topic};
use serde::Serialize;
use std::io::{self, BufReader, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Instant;

/// The most results that wait to be printed.
const NEWS: usize = 1 << 16;
/// The largest batch of a topic without `max.message.bytes`.
const MAX_MESSAGE_BYTES: u64 = 1_048_588;

#[derive(Serialize)]
struct Ack {
    partition: u32,
    offset: Option<Offset>,
}

/// A message to the thread that prints.
enum News {
    Sent {
        ack: Ack,
        bytes: u64,
    },
    Failed {
        line: u64,
        reason: String,
    },
    /// The last message.
    Ended(Result<(), Failure>),
}

#[derive(Default)]
struct Total {
    records: u64,
    bytes: u64,
}

pub fn run(args: &ProduceArgs, output: &mut Output) -> Result<(), Failure> {
    // Invalid options are rejected before the store is opened.
    args.to_config(MAX_MESSAGE_BYTES).validate()?;
    Lines::new(io::empty(), args.format, args.key_separator.clone(), 0, "")?;
    let started = Instant::now();
    let store = data::open(&args.dir)?;
    let result = produce(args, &store, output);
    let closed = store.close();
    let Total { records, bytes } = result?;
    closed?;
    let seconds = started.elapsed().as_secs_f64();
    let (records, bytes) = (counted(records, "record"), counted(bytes, "byte"));
    writeln!(io::stderr(), "{records}, {bytes}, {seconds:.3} seconds").ok();
    Ok(())
}

fn produce(args: &ProduceArgs, store: &Store, output: &mut Output) -> Result<Total, Failure> {
    let topic = store.topic(&args.topic)?;
    if let Some(partition) = args.partition {
        topic.partition(partition)?;
    }
    let most = max_message_bytes(&topic);
    let producer = store.producer(args.to_config(most))?;
    let (tell, told) = sync_channel(NEWS);
    let sender = (args.clone(), producer.clone());
    thread::spawn(move || {
        let (args, producer) = sender;
        let fed = feed(&args, &producer, most, &tell);
        // Callbacks report the failures.
        producer.flush().ok();
        tell.send(News::Ended(fed)).ok();
    });
    let mut total = Total::default();
    let heard = hear(args, &told, &mut total, output);
    drop(told);
    let closed = producer.clone().close();
    match heard {
        Err(Failure::Refused(message)) => {
            let appended = match producer.stats().records {
                0 => "nothing was appended".to_owned(),
                1 => "1 record was appended".to_owned(),
                records => format!("{records} records were appended"),
            };
            Err(Failure::refused(format!("{message}; {appended}")))
        }
        Err(other) => Err(other),
        Ok(()) => {
            closed?;
            Ok(total)
        }
    }
}

fn max_message_bytes(topic: &Topic) -> u64 {
    let entries = topic.config().entries();
    let entry = entries.iter().find(|entry| entry.key == "max.message.bytes");
    entry.and_then(|entry| entry.value.parse().ok()).unwrap_or(MAX_MESSAGE_BYTES)
}

/// Sends the records from stdin.
fn feed(
    args: &ProduceArgs,
    producer: &Producer,
    most: u64,
    tell: &SyncSender<News>,
) -> Result<(), Failure> {
    let input = BufReader::with_capacity(64 << 10, io::stdin().lock());
    let raise = "the topic's max.message.bytes";
    let mut lines = Lines::new(input, args.format, args.key_separator.clone(), most, raise)?;
    let topic: Arc<str> = args.topic.as_str().into();
    while let Some(record) = lines.next()? {
        let (line, bytes) = (lines.number(), record.payload_bytes() as u64);
        let mut sent = ProducerRecord::new(Arc::clone(&topic), record);
        sent.partition = args.partition;
        let tell = tell.clone();
        let handed = producer.send_with_callback(sent, move |sent| {
            let news = match sent {
                Ok(sent) => {
                    let ack = Ack { partition: sent.partition, offset: sent.offset };
                    News::Sent { ack, bytes }
                }
                Err(error) => News::Failed { line, reason: error.to_string() },
            };
            // The receiver is dropped once another record has failed.
            tell.send(news).ok();
        });
        match handed {
            Ok(_) => {}
            // An earlier record failed, and its callback has reported that.
            Err(error) if error.kind() == ErrorKind::Closed => return Ok(()),
            Err(error) => return Err(not_taken(line, error)),
        }
    }
    Ok(())
}

fn not_taken(line: u64, error: Error) -> Failure {
    match Failure::from(error) {
        Failure::Refused(message) => Failure::refused(format!("line {line} of stdin: {message}")),
        other => other,
    }
}

/// Receives the results of the records, and prints them with `--ack`. Flushes stdout before it
/// waits.
fn hear(
    args: &ProduceArgs,
    told: &Receiver<News>,
    total: &mut Total,
    output: &mut Output,
) -> Result<(), Failure> {
    let progress = spinner("records produced:");
    let result = loop {
        let news = match told.try_recv() {
            Ok(news) => news,
            Err(TryRecvError::Disconnected) => break Ok(()),
            Err(TryRecvError::Empty) => {
                if args.ack {
                    output.flush()?;
                }
                progress.set_position(total.records);
                let Ok(news) = told.recv() else { break Ok(()) };
                news
            }
        };
        match news {
            News::Ended(result) => break result,
            News::Failed { line, reason } => {
                let message = format!("line {line} of stdin was not written: {reason}");
                break Err(Failure::refused(message));
            }
            News::Sent { ack, bytes } => {
                total.records = total.records.saturating_add(1);
                total.bytes = total.bytes.saturating_add(bytes);
                if args.ack {
                    output.json(&ack)?;
                }
            }
        }
    };
    progress.finish_and_clear();
    result
}
