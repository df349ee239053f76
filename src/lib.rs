//! Apache Kafka's storage engine as a library: an append-only log of records in Kafka's own files, and topics, producers, consumers and
//! groups over it, in one process.
//!
//! A [`Log`] is a directory. Records go in at its end and get an offset; they come out in the order of
//! their offsets, from any offset or any time, as often as wanted. There is no broker, no network, no
//! runtime, and no thread unless something waits that needs one.
//!
//! ```
//! use annals::{Log, LogConfig, Record, StartAt};
//!
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("orders-0");
//! let log = Log::open(&path, LogConfig::default())?;
//! log.append("hello")?; // survives the end of the process from here
//! log.append(Record::new("world").key("greeting").header("lang", "en"))?;
//! let durable = log.flush()?; // all below this offset survives loss of power
//! for record in log.reader(StartAt::Earliest)?.records() {
//!     let record = record?;
//!     println!("{} {:?}", record.offset, record.value);
//! }
//! log.close()?;
//! # assert_eq!(durable, 2);
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! A [`Store`] is a directory of logs: topics with partitions, those who write them, those who read them, and how far they have come.
//!
//! ```
//! use annals::{AutoOffsetReset, ConsumerConfig, ProducerConfig, Record, Store, StoreConfig, TopicConfig};
//! use std::time::Duration;
//!
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("data");
//! let store = Store::open(&path, StoreConfig::default())?; // or Store::in_memory, in a test
//! store.create_topic("orders", TopicConfig::default().partitions(3))?;
//! let producer = store.producer(ProducerConfig::default())?;
//! producer.send(("orders", Record::new("paid").key("order-7")))?.wait()?;
//!
//! let config = ConsumerConfig::new("billing").auto_offset_reset(AutoOffsetReset::Earliest);
//! let mut consumer = store.consumer(config)?;
//! consumer.subscribe(["orders"])?;
//! for record in consumer.poll(Duration::from_secs(1))? {
//!     println!("{} of partition {}: {:?}", record.offset, record.partition, record.value);
//! }
//! consumer.close()?; // commits what was read
//! # let offsets = store.admin().describe_group("billing")?.offsets;
//! # assert!(offsets.values().any(|offset| offset.committed.offset == 1 && offset.lag == Some(0)));
//! # producer.close()?;
//! # store.close()?;
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! # What it is, and what it is not
//!
//! It is Kafka's storage: segments, batches of format v2, offset and time indexes, the five codecs, producer state, recovery, retention, compaction. The
//! files are Kafka's, byte for byte, those of a partition as those of a broker's directory. And it is what a program does with a broker of one node and a client library, as calls: topics,
//! idempotent producers, consumers, groups, committed offsets.
//!
//! It promises:
//!
//! 1. **What was acknowledged is there** after the failure that the call's documentation names. What was
//!    never appended never appears. See [`docs::durability`].
//! 2. **Readers wait for nobody**: not for appends, not for a sync. See [`docs::concurrency`].
//! 3. **Bad bytes are an error**: no panic, no wrong data, no silent cut.
//! 4. **The format is Kafka's**. See [`docs::format`].
//!
//! It is no broker, and its clients are none of a broker's: there is no network in it, and no replica. Transactions are not there yet. A log grows
//! until somebody [deletes](Log::delete_before) its front, or sets [a limit](LogConfig::retention_bytes) or a [policy](CleanupPolicy) and calls
//! [`maintain`](Log::maintain) now and then. A topic of a store has Kafka's limit of 7 days, and the store does it in the background.
//!
//! # A guided tour
//!
//! ## Open and append
//!
//! [`Log::open`] creates what is missing and repairs what an interrupted run left. A handle is cheap to
//! clone and goes to any thread; all methods take `&self`. One process at a time has a directory open for
//! writing; others may [read it](Log::open_read_only) meanwhile.
//!
//! A record is a value, and if wanted a key, headers and a time of its own. Strings and byte vectors convert.
//!
//! ```
//! use annals::{Log, LogConfig, Record, Timestamp, fs::MemFs};
//!
//! let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
//! assert_eq!(log.append("just text")?, 0);
//! let full = Record::new(vec![1, 2, 3]).key("user-7").timestamp(Timestamp::from_millis(1_700_000_000_000));
//! assert_eq!(log.append(full)?, 1);
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! ## Batches
//!
//! A batch is the unit of everything: one checksum, one write, one compression. After a crash all its
//! records are there or none. Appending a hundred records as one batch costs little more than appending one.
//!
//! ```
//! # use annals::{Log, LogConfig, Record, fs::MemFs};
//! # let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
//! let appended = log.append_all((0..100).map(|n| Record::from(format!("row {n}"))))?;
//! assert_eq!((appended.first, appended.last), (0, 99));
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! [`Log::append_builder`] does the same without allocating, and [`Log::append_batch`] takes a batch that
//! was encoded elsewhere, by a Kafka client for one.
//!
//! ## Numbered batches
//!
//! Who is not sure that a batch arrived sends it again. If its records are numbered, the log knows it by its producer's id, epoch and
//! first sequence number, and it is stored once: across threads, failures and restarts.
//!
//! ```
//! # use annals::{Error, Log, LogConfig, ProducerRefusal, Timestamp, fs::MemFs, record::BatchBuilder};
//! # let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
//! let batch = |first_sequence| {
//!     let mut builder = BatchBuilder::new();
//!     builder.producer(4000, 0, first_sequence);
//!     builder.push(Timestamp::NONE, None, Some(b"order taken"))?;
//!     builder.push(Timestamp::NONE, None, Some(b"order paid"))?;
//!     builder.build()
//! };
//! let first = log.append_batch(batch(0)?)?;
//! let again = log.append_batch(batch(0)?)?;
//! assert!(again.duplicate && again.first == first.first);
//! assert_eq!(log.offsets().end, 2);
//!
//! let refused = log.append_batch(batch(7)?).unwrap_err(); // 2 to 6 are missing
//! assert!(matches!(refused, Error::Producer(ProducerRefusal::OutOfOrder { expected: 2, found: 7, .. })));
//! # Ok::<(), Error>(())
//! ```
//!
//! [`docs::durability`](docs::durability#resent-batches) says how much of it survives what.
//!
//! ## Reading
//!
//! [`Log::reader`] goes from any place to the end. [`Log::get`] is one record, [`Log::read`] one fetch of
//! whole batches, bounded in bytes.
//!
//! ```
//! # use annals::{Log, LogConfig, ReadLimits, StartAt, fs::MemFs};
//! # let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
//! log.append_all(["a", "b", "c"].map(Into::into))?;
//! let values: Vec<_> = log.reader(1)?.records().map(|r| Ok(r?.value)).collect::<annals::Result<_>>()?;
//! assert_eq!(values, [Some("b".into()), Some("c".into())]);
//! assert_eq!(log.get(2)?.unwrap().value_str(), Some("c"));
//!
//! let fetched = log.read(0, ReadLimits::bytes(64 * 1024))?;
//! assert_eq!((fetched.records()?.len(), fetched.next_offset), (3, 3));
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! ## Tailing
//!
//! A [`Tail`] reads like a [`Reader`] and waits at the end for more: blocking, with or without a limit, or
//! as a task. With the cargo feature `futures` it is a `Stream`: `tail.next().await`. Any number of them can follow
//! one log. [`docs::async_use`] says which calls block a thread, and how to use the crate from an executor.
//!
//! ```
//! # use annals::{Log, LogConfig, StartAt, fs::MemFs};
//! # use std::time::Duration;
//! # let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
//! let mut tail = log.tail(StartAt::Latest)?;
//! let writer = log.clone();
//! let thread = std::thread::spawn(move || writer.append("news"));
//! let record = tail.next_record(Some(Duration::from_secs(10)))?.unwrap();
//! assert_eq!(record.value_str(), Some("news"));
//! # thread.join().unwrap()?;
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! ## Time
//!
//! Every record has a timestamp: its own, or the clock's when it is appended. A [`Timestamp`] is a place to
//! start like an offset. Timestamps need not rise; what is found is the first record, in the order of
//! offsets, that is as late or later.
//!
//! ```
//! # use annals::{Log, LogConfig, Record, Timestamp, fs::MemFs};
//! # let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
//! let at = Timestamp::from_millis;
//! log.append_all([10, 20, 30].map(|t| Record::new("x").timestamp(at(t))))?;
//! assert_eq!(log.offset_for_time(at(15))?, Some((1, at(20))));
//! assert_eq!(log.reader(at(25))?.offset(), 2);
//! assert_eq!(log.offset_for_time(at(31))?, None);
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! ## Durability
//!
//! There are two levels. What an append returned is in the operating system's hands: it survives this
//! process. What [`Log::flush`] returned is on the medium: it survives loss of power. Threads that flush at
//! once share one sync. `Log::flush_async` (feature `futures`) is the same for tasks.
//! With [`LogConfig::flush_messages`] and [`LogConfig::flush_interval`] the append that reaches the limit flushes. What was
//! appended last is flushed within the interval by the [`Maintainer`] of the log, or by [`Log::maintain`].
//!
//! ```
//! # use annals::{Log, LogConfig, fs::MemFs};
//! # let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
//! log.append("order taken")?;
//! assert_eq!(log.offsets().durable, 0);
//! log.flush()?;
//! assert_eq!(log.offsets().durable, 1);
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! [`docs::durability`] has the table of calls and failures.
//!
//! ## Recovery
//!
//! Opening after a crash reads what lies above the recovery point and cuts off a torn last write. Damage
//! that no crash explains is never cut: opening fails and names the place. [`Log::recovery`] tells what
//! opening found, [`Log::verify`] reads everything and lists all damage there is.
//!
//! ```
//! # use annals::{Log, LogConfig, fs::{Fs, MemFs, Open}};
//! # use std::path::Path;
//! let fs = MemFs::new();
//! let log = Log::open("orders-0", LogConfig::default().fs(fs.clone()))?;
//! log.append("whole")?;
//! log.append("torn")?;
//!
//! let after = fs.kill(); // as the next process finds the disk
//! let file = after.open(Path::new("orders-0/00000000000000000000.log"), Open::ReadWrite).unwrap();
//! file.set_len(file.len().unwrap() - 1).unwrap();
//!
//! let log = Log::open("orders-0", LogConfig::default().fs(after))?;
//! assert_eq!(log.offsets().end, 1);
//! assert!(!log.recovery().clean);
//! assert_eq!(log.recovery().dropped_bytes, 71);
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! ## Forgetting
//!
//! A log keeps everything unless told otherwise. With a limit of age or size, [`Log::maintain`] deletes old segments. With
//! [`CleanupPolicy::Compact`] it keeps the last record of each key: a table, and the feed of its changes.
//! [`Log::delete_before`] deletes what everybody has read.
//!
//! ```
//! # use annals::{CleanupPolicy, Log, LogConfig, Record, fs::MemFs};
//! let config = LogConfig::default().cleanup_policy(CleanupPolicy::Compact).fs(MemFs::new());
//! let log = Log::open("prices-0", config)?;
//! log.append(Record::new("10").key("apple"))?;
//! log.append(Record::new("12").key("apple"))?;
//! log.roll()?; // the segment that is appended to is not compacted
//! log.maintain()?;
//! assert_eq!(log.get(0)?, None); // superseded: offsets stay what they were
//! assert_eq!(log.get(1)?.unwrap().value_str(), Some("12"));
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! [`docs::cleanup`] helps to choose. A [`Maintainer`] has threads that do it for any number of logs.
//!
//! ## A store
//!
//! [`Store::open`] takes a directory as a broker would leave it, and [`Store::in_memory`] makes one of its own. Topics are made, described, altered while they are in use,
//! given more partitions, and deleted. Their settings are Kafka's, by method or by key; what is not set has Kafka's default. A partition is a [`Log`].
//!
//! ```
//! use annals::{CleanupPolicy, Store, StoreConfig, TopicConfig};
//! use std::time::Duration;
//!
//! let store = Store::in_memory(StoreConfig::default())?;
//! let day = Duration::from_secs(86_400);
//! let orders = store.create_topic("orders", TopicConfig::default().partitions(3).retention_age(30 * day))?;
//! store.create_topic("users", TopicConfig::default().cleanup_policy(CleanupPolicy::Compact))?;
//! store.alter_topic("orders", orders.config().set("max.message.bytes", "65536")?)?;
//! store.add_partitions("orders", 6)?;
//! orders.partition(5)?.append("straight into a partition")?;
//! let described = store.admin().describe_topic("orders")?;
//! assert_eq!((described.partitions.len(), described.partitions[5].end), (6, 1));
//! store.delete_topic("users")?;
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! ## A producer
//!
//! A [`Producer`] gathers records into batches and writes them, each partition in order, each record once: a batch that cannot be written now, as the disk is full, is tried again.
//! A record with a key goes where Kafka would send it. What [`send`](Producer::send) returns can be waited for, awaited, or dropped; [`Acks`] says what is waited for.
//!
//! ```
//! use annals::{Acks, ProducerConfig, ProducerRecord, Record, Store, StoreConfig, TopicConfig};
//! # let store = Store::in_memory(StoreConfig::default())?;
//! # store.create_topic("orders", TopicConfig::default().partitions(3))?;
//! let producer = store.producer(ProducerConfig::default().acks(Acks::Flushed))?;
//! let sent: Vec<_> = (0..100)
//!     .map(|n| producer.send(("orders", Record::new("paid").key(format!("order-{n}")))))
//!     .collect::<annals::Result<_>>()?;
//! for handle in &sent {
//!     handle.wait()?; // on the medium; one sync serves many
//! }
//! let there = ProducerRecord::new("orders", "a note").partition(2);
//! producer.send_with(there, |sent| println!("{sent:?}"))?;
//! let orders = producer.topic("orders")?; // for many records to one topic: faster
//! orders.send_bytes(Some(b"order-7"), Some(b"shipped"))?;
//! producer.close()?; // waits for what is left
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! ## Consumers and groups
//!
//! A [`Consumer`] reads the partitions [assigned](Consumer::assign) to it, or as a member of a group its share of the topics it [subscribes](Consumer::subscribe) to. All of it happens in
//! [`poll`](Consumer::poll), on your thread: joining, rebalancing, reading, committing. Committed offsets are records of `__consumer_offsets`, as in Kafka.
//!
//! ```
//! use annals::{AutoOffsetReset, ConsumerConfig, ResetTo, Store, StoreConfig, TopicConfig};
//! use std::time::Duration;
//! # let store = Store::in_memory(StoreConfig::default())?;
//! # let orders = store.create_topic("orders", TopicConfig::default().partitions(4))?;
//! # orders.partitions().iter().try_for_each(|log| log.append("paid").map(drop))?;
//! let config = ConsumerConfig::new("billing").auto_offset_reset(AutoOffsetReset::Earliest).enable_auto_commit(false);
//! let mut workers = [store.consumer(config.clone())?, store.consumer(config)?];
//! workers.iter_mut().try_for_each(|worker| worker.subscribe(["orders"]))?;
//! let mut read = 0;
//! for _ in 0..4 {
//!     for worker in &mut workers { // in a program, each has a thread
//!         read += worker.poll(Duration::ZERO)?.len();
//!         worker.commit()?;
//!     }
//! }
//! assert_eq!((read, workers[0].assignment().len(), workers[1].assignment().len()), (4, 2, 2));
//! workers.iter_mut().try_for_each(|worker| worker.close())?;
//! store.admin().reset_offsets("billing", [], ResetTo::Earliest)?; // and all again
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! ## Typed records
//!
//! With [`Serialize`] and [`Deserialize`], keys and values are bytes, text, numbers as Kafka writes them, JSON (`Json`, with the feature `serde`), or what you make of them. A record that is
//! not what was expected is [*poison*](OnPoison): it is shown, skipped, or sent to a topic of dead letters, and never stops the ones behind it.
//!
//! ```
//! use annals::{ConsumerConfig, ProducerConfig, Store, StoreConfig, TopicConfig, TopicPartition, TypedProducer};
//! use std::time::Duration;
//! # let store = Store::in_memory(StoreConfig::default())?;
//! # let log = store.create_topic("stock", TopicConfig::default())?.partition(0)?;
//! let producer: TypedProducer<str, i32> = store.producer(ProducerConfig::default())?.typed();
//! producer.send(("stock", "apple", &12))?.wait()?;
//! log.append(annals::Record::new("a few").key("pear"))?; // not an i32
//!
//! let mut consumer = store.consumer(ConsumerConfig::default())?;
//! consumer.assign([TopicPartition::new("stock", 0)])?;
//! consumer.seek_to_beginning([])?;
//! let mut consumer = consumer.typed::<String, i32>();
//! for record in consumer.poll(Duration::ZERO)? {
//!     match record {
//!         Ok(record) => assert_eq!((record.key.as_str(), record.value), ("apple", 12)),
//!         Err(poison) => println!("{poison}"),
//!     }
//! }
//! assert_eq!(consumer.poisoned(), 1);
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! ## Errors
//!
//! There is one [`Error`]. Its message says what, where, and the way out; its [`kind`](Error::kind) says
//! what the caller can do.
//!
//! | [`ErrorKind`] | what to do |
//! |---|---|
//! | `InvalidInput` | correct the call |
//! | `OutOfOrder` | send what is missing, or begin a new epoch at 0 |
//! | `Fenced` | close the producer: another has taken over |
//! | `OutOfRange` | begin again at the start or the end of the log |
//! | `StorageFull`, `TooManyFiles`, `Busy`, `TimedOut` | make room, then try again: [`is_retryable`](Error::is_retryable) |
//! | `Rebalancing` | poll again: partitions are being assigned anew |
//! | `NotFound`, `Exists` | create it, or use the one that is there |
//! | `Poisoned` | close the log and open it again |
//! | `Corrupt` | restore the file, or set the damage aside with [`Quarantine`](OnCorruption::Quarantine) |
//! | `Unsupported` | enable the codec, or convert the old format |
//! | `Closed`, `Io` | end, or ask a person |
//!
//! ```
//! # use annals::{Error, ErrorKind, Log, LogConfig, fs::MemFs};
//! # let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
//! let error = log.reader(7).unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::OutOfRange);
//! assert_eq!(
//!     error.to_string(),
//!     "offset 7 is out of range: the log starts at 0 and ends at 0; take one of these, or an offset between",
//! );
//! # Ok::<(), Error>(())
//! ```
//!
//! ## Configuration
//!
//! [`LogConfig::default`] is Kafka's configuration of a topic. Each method's documentation gives default,
//! limits, effect and Kafka's name for it. A value that cannot be is refused, never adjusted.
//!
//! ```
//! # use annals::{Codec, ErrorKind, LogConfig, record::Compression};
//! let config = LogConfig::default().segment_bytes(64 << 20).compression(Compression::of(Codec::Lz4));
//! # #[cfg(feature = "lz4")]
//! config.validate()?;
//! let refused = LogConfig::default().flush_messages(0).validate().unwrap_err();
//! assert_eq!(refused.to_string(), "option `flush_messages`: must be at least 1");
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! ## In memory, for tests
//!
//! [`fs::MemFs`] is a disk in memory that keeps what was synced apart from what was only written. A crash
//! is a clone: the disk as a power failure at this moment could leave it, while the original goes on. So a
//! test can crash at every step of a program and look what is left.
//!
//! ```
//! use annals::{Log, LogConfig, fs::{MemFs, Survive}};
//!
//! let fs = MemFs::new();
//! let log = Log::open("orders-0", LogConfig::default().fs(fs.clone()))?;
//! log.append("flushed")?;
//! log.flush()?;
//! log.append("only appended")?;
//!
//! for seed in 0..20 {
//!     let disk = fs.crash(Survive::Some { seed });
//!     let after = Log::open("orders-0", LogConfig::default().fs(disk))?;
//!     assert!((1..=2).contains(&after.offsets().end)); // never 0, never anything else
//! }
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! [`ManualClock`] does the same for time.
//!
//! ## Failing disks
//!
//! [`fs::FaultFs`] wraps a file system and fails the calls you name. This is how to see what your program
//! does on the day the disk is full.
//!
//! ```
//! use annals::{ErrorKind, Log, LogConfig};
//! use annals::fs::{Fault, FaultFs, MemFs, Operation, Rule};
//! use std::io;
//!
//! let fs = FaultFs::new(MemFs::new());
//! let log = Log::open("orders-0", LogConfig::default().fs(fs.clone()))?;
//!
//! let full = fs.add(Rule::new(Operation::Write, Fault::Error(io::ErrorKind::StorageFull)));
//! assert_eq!(log.append("no room").unwrap_err().kind(), ErrorKind::StorageFull);
//! fs.remove_rule(full);
//! assert_eq!(log.append("room again")?, 0);
//!
//! fs.add(Rule::new(Operation::SyncData, Fault::Error(io::ErrorKind::Other)));
//! assert_eq!(log.flush().unwrap_err().kind(), ErrorKind::Io);
//! assert_eq!(log.append("after that").unwrap_err().kind(), ErrorKind::Poisoned);
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! ## Hearing what it does
//!
//! A [`Listener`] is told what no call returns: a torn end was cut, an index was made again, a sync took so
//! long. See its example. With the cargo feature `tracing`, `TracingListener` hands all of it to `tracing`.
//!
//! ## The raw level
//!
//! [`record`] encodes, decodes and checks batches of bytes without any file; [`fs`] is the seam to the disk.
//! Both are public because brokers, tools and tests need them.
//!
//! ```
//! use annals::{Timestamp, record::{BatchBuilder, BatchRef}};
//!
//! let mut builder = BatchBuilder::new();
//! builder.push(Timestamp::from_millis(1), Some(b"key"), Some(b"value"))?;
//! let bytes = builder.finish()?;
//! let batch = BatchRef::parse(bytes)?;
//! batch.verify_checksum()?;
//! assert_eq!((batch.header().record_count, batch.header().size_bytes()), (1, 76));
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! # Cargo features
//!
//! | feature | default | what |
//! |---|---|---|
//! | `zstd`, `lz4`, `snappy`, `gzip` | on | the codecs; without one, its batches are stored and served, not decoded. Only `zstd` needs a C compiler |
//! | `futures` | off | [`Tail`] is a `Stream`, `Log::flush_async` |
//! | `serde` | off | `Json`: keys and values as JSON |
//! | `tracing` | off | `TracingListener` |
//!
//! # Where to read on
//!
//! [`docs::from_kafka`] for who knows Kafka: each setting and call, its name here, and what differs. [`docs::testing`] for tests of what you build on it.
//! [`docs::durability`] for what survives what, [`docs::cleanup`] for what a log forgets, [`docs::concurrency`] for who waits for whom,
//! [`docs::limits`] for sizes and platforms, [`docs::format`] for every byte. Programs to run are under
//! `examples/`: `quickstart`, `compacted_table`, `tail`, `async_tail`; with topics `event_store`, `work_queue`, `outbox` and
//! `testing`, which shows how a service is tested.

mod checkpoint;
mod clean;
mod clock;
pub mod docs;
mod error;
mod event;
pub mod fs;
pub mod inspect;
mod log;
mod producers;
pub mod record;
mod retention;
mod segment;
mod sync;
// The schedules that are checked are those of a log.
#[cfg(not(shuttle))]
mod topic;
#[cfg(feature = "tracing")]
mod trace;
mod types;

pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{
    CommitRefusal, ConsumeError, Corruption, Damage, DeserializeError, Error, ErrorKind,
    GroupError, InvalidBatch, InvalidRecord, ProduceError, ProducerRefusal, RecordPart, Result,
    SerializationError, SerializeError, TopicError, Unsupported,
};
pub use event::{CompactionReport, Event, Listener, Quarantined};
#[cfg(feature = "futures")]
pub use log::Durable;
pub use log::{
    Appended, CleanupPolicy, Fetched, Log, LogConfig, LogStats, Maintainer, MaintainerConfig,
    MaintainerStats, MaintenancePause, MaintenanceReport, Offsets, OnCorruption, ReadBatch,
    ReadLimits, Reader, RecordsToEnd, Recovery, SegmentStats, Tail,
};
pub use producers::ProducerState;
pub use record::{Header, HeaderName, Record, RecordBatch, StoredRecord};
#[cfg(all(feature = "serde", not(shuttle)))]
pub use topic::Json;
#[cfg(not(shuttle))]
pub use topic::assignor;
#[cfg(not(shuttle))]
pub use topic::{
    Acks, Admin, AutoOffsetReset, ConfigEntry, ConfigSource, Consumer, ConsumerConfig,
    ConsumerGroupMetadata, ConsumerInterceptor, ConsumerRecord, ConsumerRecords, ConsumerWaker,
    CoordinatorConfig, Deserialize, DeserializeContext, GroupDescription, GroupListing,
    GroupOffset, GroupState, InvalidUuid, Isolation, ListedGroups, MemberDescription,
    MemberIdentity, OfflinePartitions, OffsetAndMetadata, PartitionAccess, PartitionDescription,
    Partitioner, PartitionerChoice, Producer, ProducerConfig, ProducerInterceptor, ProducerRecord,
    ProducerStats, RebalanceListener, RecordMetadata, ResetTo, SendHandle, Serialize,
    SerializeContext, Store, StoreConfig, StoreView, Topic, TopicConfig, TopicDescription, TopicId,
    TopicPartition, TopicPattern, TopicProducer, Uuid,
};
#[cfg(not(shuttle))]
pub use topic::{
    OnPoison, PoisonRecord, TypedConsumer, TypedProducer, TypedProducerRecord, TypedRecord,
    TypedRecords,
};
#[cfg(feature = "tracing")]
pub use trace::TracingListener;
pub use types::{
    Codec, FIRST_STORE_PRODUCER_ID, LeaderEpoch, MAX_OFFSET, NO_PRODUCER_ID, Offset, OffsetSpec,
    ProducerEpoch, ProducerId, Sequence, StartAt, Timestamp, TimestampType,
};
