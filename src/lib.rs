//! Apache Kafka's storage engine as a library: an append-only log of records in Kafka's own file
//! format, with topics, producers, consumers and groups on top, in one process.
//!
//! A [`Log`] is a directory. You append records at its end, and each record gets an offset. You
//! read them in the order of their offsets, from any offset or any time, as often as you want.
//! There is no broker, no network and no async runtime. A log starts a thread only when a call
//! needs one, and the thread ends afterwards; a store also has threads for its maintainer and its
//! producers.
//!
//! ```
//! use annals::{Log, LogConfig, Record, StartAt};
//!
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("orders-0");
//! let log = Log::open(&path, LogConfig::default())?;
//! log.append("hello")?; // from here on, survives a process crash
//! log.append(Record::new("world").key("greeting").header("lang", "en"))?;
//! let durable = log.flush()?; // everything below this offset survives loss of power
//! for record in log.reader(StartAt::Earliest)?.records() {
//!     let record = record?;
//!     println!("{} {:?}", record.offset, record.value);
//! }
//! log.close()?;
//! # assert_eq!(durable, 2);
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! A [`Store`] is a directory of logs: topics with partitions, their producers and consumers, and
//! the committed offsets of consumer groups.
//!
//! ```
//! use annals::{AutoOffsetReset, ConsumerConfig, ProducerConfig, Record};
//! use annals::{Store, StoreConfig, TopicConfig};
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
//! consumer.close()?; // commits the records that were read
//! # let offsets = store.admin().describe_group("billing")?.offsets;
//! # assert!(offsets.values().any(|offset| offset.committed.offset == 1 && offset.lag == Some(0)));
//! # producer.close()?;
//! # store.close()?;
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! # Scope
//!
//! annals is Kafka's storage: segments, batches of format v2, offset and time indexes, the codecs,
//! producer state, recovery, retention, compaction. Batches, indexes, producer snapshots and file
//! names are Kafka's, byte for byte; [`docs::format`] lists the few files that annals adds to a
//! broker's directory. With a store, annals also replaces a broker of one node and a client
//! library: topics, idempotent producers, consumers, groups and committed offsets are function
//! calls.
//!
//! annals promises:
//!
//! 1. **Acknowledged records are there** after the failures that the call's documentation names.
//!    Records that were never appended never appear. See [`docs::durability`].
//! 2. **Readers never block** on appends or on fsync. See [`docs::concurrency`].
//! 3. **Bad bytes are an error**: no panic, no wrong data, no silent truncation.
//! 4. **The format is Kafka's**. See [`docs::format`].
//!
//! annals is not a broker: it has no network protocol, its clients do not talk to a broker, and
//! copying a log to other machines is up to you. A log grows until you
//! [delete](Log::delete_before) records from its start, or set [a
//! limit](LogConfig::retention_bytes) or a [policy](CleanupPolicy) and call
//! [`maintain`](Log::maintain) regularly. A topic of a store has Kafka's limit of 7 days, and the
//! store maintains it in the background.
//!
//! # A guided tour
//!
//! ## Open and append
//!
//! [`Log::open`] creates the directory if it is missing, and recovers it after a crash. A handle
//! is cheap to clone and can be used from any thread. All methods take `&self`, except
//! [`close`](Log::close), which takes the handle and closes the log for all its clones. Only one
//! process at a time can open a directory for writing; others can [read it](Log::open_read_only)
//! meanwhile.
//!
//! A record is a value, and optionally a key, headers and a timestamp. Strings and byte vectors
//! convert into records.
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
//! A batch is the unit of work: one checksum, one write, one compression. After a crash, either
//! all records of a batch are there or none. Appending a hundred records as one batch costs little
//! more than appending one.
//!
//! ```
//! # use annals::{Log, LogConfig, Record, fs::MemFs};
//! # let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
//! let appended = log.append_all((0..100).map(|n| Record::from(format!("row {n}"))))?;
//! assert_eq!((appended.first, appended.last), (0, 99));
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! [`Log::append_builder`] does the same without allocating. [`Log::append_batch`] takes a batch
//! that was encoded elsewhere, for example by a Kafka client.
//!
//! ## Numbered batches
//!
//! An idempotent producer numbers its records. If you are not sure that such a batch was stored,
//! resend it. The log recognises the batch by its producer's id, epoch and first sequence number,
//! and stores it once: across threads, failures and restarts.
//!
//! ```
//! # use annals::{Error, Log, LogConfig, ProducerStateError, Timestamp, fs::MemFs, record::BatchBuilder};
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
//! assert!(matches!(refused, Error::Producer(ProducerStateError::OutOfOrder { expected: 2, found: 7, .. })));
//! # Ok::<(), Error>(())
//! ```
//!
//! [`docs::durability`](docs::durability#resent-batches) lists how many batches the log recognises
//! after which failure.
//!
//! ## Reading
//!
//! [`Log::reader`] reads from any offset or time to the end. [`Log::get`] reads one record.
//! [`Log::read`] is one fetch of whole batches, bounded in bytes.
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
//! A [`Tail`] reads like a [`Reader`], and waits at the end of the log for more records: it blocks
//! its thread, with or without a timeout, or it waits in a task. With the cargo feature `futures`
//! it is a `Stream`: `tail.next().await`. Any number of tails can follow one log.
//! [`docs::async_use`] lists the calls that block a thread, and shows how to use the crate from an
//! executor.
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
//! Every record has a timestamp: the one you set, or the time of the append. You can start reading
//! at a [`Timestamp`], as at an offset. Timestamps need not increase: a lookup finds the record
//! with the lowest offset whose timestamp is at or after the given one.
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
//! There are two levels. When an append returns, the operating system has the records: they
//! survive a process crash. When [`Log::flush`] returns, the disk has them: they survive loss of
//! power. Threads that flush at the same time share one fsync. `Log::flush_async` (feature
//! `futures`) is the same for tasks. With [`LogConfig::flush_messages`] or
//! [`LogConfig::flush_interval`], the append that reaches the limit flushes. If no further append
//! comes, the [`Maintainer`] of the log, or a call of [`Log::maintain`], flushes the last records
//! after the interval.
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
//! The *recovery point* is the offset below which all records are known to be durable. Opening
//! after a crash reads everything above it, and truncates a torn last write. Damage that no crash
//! explains is never truncated: opening fails and names the place. [`Log::recovery`] reports what
//! opening found and did. [`Log::verify`] reads the whole log and lists all damage.
//!
//! ```
//! # use annals::{Log, LogConfig, fs::{Fs, MemFs, OpenMode}};
//! # use std::path::Path;
//! let fs = MemFs::new();
//! let log = Log::open("orders-0", LogConfig::default().fs(fs.clone()))?;
//! log.append("whole")?;
//! log.append("torn")?;
//!
//! let after = fs.kill(); // as the next process finds the disk
//! let file = after.open(Path::new("orders-0/00000000000000000000.log"), OpenMode::ReadWrite).unwrap();
//! file.set_len(file.len().unwrap() - 1).unwrap();
//!
//! let log = Log::open("orders-0", LogConfig::default().fs(after))?;
//! assert_eq!(log.offsets().end, 1);
//! assert!(!log.recovery().clean_shutdown);
//! assert_eq!(log.recovery().truncated_bytes, 71);
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! ## Retention and compaction
//!
//! By default, a log keeps everything. With a limit of age or size, [`Log::maintain`] deletes old
//! segments. With [`CleanupPolicy::Compact`], `maintain` keeps the last record of each key, so the
//! log is a table and also the feed of its changes. [`Log::delete_before`] deletes the records
//! below an offset, for example once all your readers have read them.
//!
//! ```
//! # use annals::{CleanupPolicy, Log, LogConfig, Record, fs::MemFs};
//! let config = LogConfig::default().cleanup_policy(CleanupPolicy::Compact).fs(MemFs::new());
//! let log = Log::open("prices-0", config)?;
//! log.append(Record::new("10").key("apple"))?;
//! log.append(Record::new("12").key("apple"))?;
//! log.roll()?; // the active segment is not compacted
//! log.maintain()?;
//! assert_eq!(log.get(0)?, None); // superseded: offsets stay what they were
//! assert_eq!(log.get(1)?.unwrap().value_str(), Some("12"));
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! [`docs::cleanup`] helps you choose. A [`Maintainer`] has threads that maintain any number of
//! logs.
//!
//! ## A store
//!
//! [`Store::open`] opens a directory that is laid out like a broker's, and creates it if it does
//! not exist. [`Store::in_memory`] creates a store in memory. You can create, alter, describe and
//! delete topics, and add partitions, while the topics are in use. The settings of a topic are
//! Kafka's, and have Kafka's defaults; set them by method, or by Kafka's key. A partition is a
//! [`Log`].
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
//! A [`Producer`] collects records into batches. It writes each record once, in order within its
//! partition. It retries a batch that cannot be written at the moment, for example because the
//! disk is full. A record with a key goes to the partition that Kafka would choose. You can wait
//! for the handle that [`send`](Producer::send) returns, await it, or drop it. [`Acks`] defines
//! what the handle waits for.
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
//!     handle.wait()?; // durable; one fsync serves many
//! }
//! let there = ProducerRecord::new("orders", "a note").partition(2);
//! producer.send_with_callback(there, |sent| println!("{sent:?}"))?;
//! let orders = producer.topic("orders")?; // for many records to one topic: faster
//! orders.send_bytes(Some(b"order-7"), Some(b"shipped"))?;
//! producer.close()?; // writes what is left
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! ## Consumers and groups
//!
//! A [`Consumer`] reads the partitions that you [assign](Consumer::assign) to it. Or it
//! [subscribes](Consumer::subscribe) to topics as a member of a group, and reads its share of the
//! partitions. It joins, rebalances, reads and commits in [`poll`](Consumer::poll), on your
//! thread. Committed offsets are records of `__consumer_offsets`, as in Kafka.
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
//! store.admin().reset_offsets("billing", [], ResetTo::Earliest)?; // to read everything again
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! ## Transactions
//!
//! In a transaction, records in any partitions and committed offsets become visible together, or
//! not at all. A consumer sees committed records only if it [asks for
//! them](ConsumerConfig::isolation_level). [`docs::transactions`] tells what a transaction
//! survives, and what to do when one fails.
//!
//! ```
//! use annals::{IsolationLevel, ProducerConfig, Store, StoreConfig, TopicConfig};
//!
//! let store = Store::in_memory(StoreConfig::default())?;
//! let orders = store.create_topic("orders", TopicConfig::default())?.partition(0)?;
//! let bills = store.create_topic("bills", TopicConfig::default())?.partition(0)?;
//! let shop = store.producer(ProducerConfig::default().transactional_id("shop-1"))?;
//! shop.transaction(|tx| {
//!     tx.send(("orders", "two apples"))?;
//!     tx.send(("bills", "1.20"))
//! })?;
//! let failed: Result<(), Box<dyn std::error::Error>> = shop.transaction(|tx| {
//!     tx.send(("orders", "a pear"))?;
//!     Err("no pears today".into())
//! });
//! assert!(failed.is_err());
//! for log in [orders, bills] {
//!     let committed = log.isolated(IsolationLevel::ReadCommitted);
//!     assert_eq!(committed.reader(0)?.records().count(), 1);
//! }
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! ## Typed records
//!
//! With [`Serialize`] and [`Deserialize`], keys and values are bytes, text, numbers in Kafka's
//! encoding, JSON (`Json`, with the feature `serde`), or types of your own. A record that cannot
//! be deserialized is [*poison*](OnPoison): the consumer returns it as an error, skips it, or
//! sends it to a topic of dead letters. It never blocks the records after it.
//!
//! ```
//! use annals::{ConsumerConfig, ProducerConfig, Store, StoreConfig, TopicConfig};
//! use annals::{TopicPartition, TypedProducer};
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
//! assert_eq!(consumer.poison_count(), 1);
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! ## Errors
//!
//! There is one [`Error`]. Its message names what failed and where, and what to do unless the disk
//! itself failed. Its [`kind`](Error::kind) tells your program how to react.
//!
//! | [`ErrorKind`] | what to do |
//! |---|---|
//! | `InvalidInput` | correct the call |
//! | `OutOfOrder` | send what is missing, or begin a new epoch at 0 |
//! | `Fenced` | close the producer or consumer, or stop leading the log: another one has taken over |
//! | `OutOfRange` | seek to the start or the end of the log |
//! | `StorageFull`, `TooManyFiles`, `Busy`, `TimedOut` | make room, close files, close the other writer, or wait; then retry: [`is_retryable`](Error::is_retryable) |
//! | `InUse` | let the members of the group leave, or remove them |
//! | `Rebalancing` | poll again: the group is assigning its partitions |
//! | `Abortable` | abort the transaction, and begin it again |
//! | `NotFound`, `Exists` | create it, or use the one that is there |
//! | `Poisoned` | close the log and open it again, in a store with [`Store::reopen_partition`] |
//! | `ReadOnly` | open the log for writing |
//! | `Corrupt` | restore the file, or set the damage aside with [`Quarantine`](OnCorruption::Quarantine) |
//! | `Unsupported` | enable the codec, or convert the old format |
//! | `Closed` | open the log or store again, or end the program |
//! | `Io` | end the program, and inform an operator |
//!
//! ```
//! # use annals::{Error, ErrorKind, Log, LogConfig, fs::MemFs};
//! # let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
//! let error = log.reader(7).unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::OutOfRange);
//! assert_eq!(
//!     error.to_string(),
//!     "offset 7 is out of range: log orders-0 is empty and ends at 0; 0 is the only offset in range",
//! );
//! # Ok::<(), Error>(())
//! ```
//!
//! ## Configuration
//!
//! [`LogConfig::default`] is Kafka's configuration of a topic. The documentation of each method
//! has its default, limits, effect and Kafka's name. An invalid value is rejected, never adjusted.
//!
//! ```
//! # use annals::{Codec, ErrorKind, LogConfig, record::Compression};
//! let config = LogConfig::default().segment_bytes(64 << 20).compression(Compression::of(Codec::Lz4));
//! # #[cfg(feature = "lz4")]
//! config.validate()?;
//! let refused = LogConfig::default().flush_messages(0).validate().unwrap_err();
//! assert_eq!(refused.to_string(), "option `flush_messages` is 0, but must be at least 1");
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! ## In memory, for tests
//!
//! [`fs::MemFs`] is a disk in memory that distinguishes synced bytes from bytes that were only
//! written. A crash is a clone: a second disk, as a loss of power at this moment could leave it.
//! The original stays usable. So a test can crash at every step of a program and check what is
//! left.
//!
//! ```
//! use annals::{Log, LogConfig, fs::{CrashState, MemFs}};
//!
//! let fs = MemFs::new();
//! let log = Log::open("orders-0", LogConfig::default().fs(fs.clone()))?;
//! log.append("flushed")?;
//! log.flush()?;
//! log.append("only appended")?;
//!
//! for seed in 0..20 {
//!     let disk = fs.crash(CrashState::Random { seed });
//!     let after = Log::open("orders-0", LogConfig::default().fs(disk))?;
//!     assert!((1..=2).contains(&after.offsets().end)); // never 0, never anything else
//! }
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! [`ManualClock`] is a clock that only your test moves.
//!
//! ## Failing disks
//!
//! [`fs::FaultFs`] wraps a file system and fails the calls that you name. Use it to test what your
//! program does when the disk is full.
//!
//! ```
//! use annals::{ErrorKind, Log, LogConfig};
//! use annals::fs::{Fault, FaultFs, MemFs, Operation, Rule};
//! use std::io;
//!
//! let fs = FaultFs::new(MemFs::new());
//! let log = Log::open("orders-0", LogConfig::default().fs(fs.clone()))?;
//!
//! let full = fs.add_rule(Rule::new(Operation::Write, Fault::Error(io::ErrorKind::StorageFull)));
//! assert_eq!(log.append("no room").unwrap_err().kind(), ErrorKind::StorageFull);
//! fs.remove_rule(full);
//! assert_eq!(log.append("room again")?, 0);
//!
//! fs.add_rule(Rule::new(Operation::SyncData, Fault::Error(io::ErrorKind::Other)));
//! assert_eq!(log.flush().unwrap_err().kind(), ErrorKind::Io);
//! assert_eq!(log.append("after that").unwrap_err().kind(), ErrorKind::Poisoned);
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! ## Events
//!
//! A [`Listener`] receives what no call returns, for example that a torn end was truncated, that
//! an index was rebuilt, or how long an fsync took. Its documentation has an example. With the
//! cargo feature `tracing`, `TracingListener` passes all events to `tracing`.
//!
//! ## The raw level
//!
//! [`record`] encodes, decodes and verifies batches in memory, without any file. [`fs`] is the
//! interface to the disk. Both are public because brokers, tools and tests need them.
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
//! | feature | default | adds |
//! |---|---|---|
//! | `zstd`, `lz4`, `snappy`, `gzip` | on | the codecs. Without a codec, the log still stores and serves its batches, but cannot decode them. Only `zstd` needs a C compiler |
//! | `futures` | off | [`Tail`] is a `Stream`; `Log::flush_async` |
//! | `serde` | off | `Json`: keys and values as JSON |
//! | `tracing` | off | `TracingListener` |
//!
//! # Further reading
//!
//! Coming from Kafka? [`docs::from_kafka`] maps every setting and call to its name here and lists
//! the differences. [`docs::testing`] shows how to test your service. Other pages describe what
//! survives which failure ([`docs::durability`]), retention and compaction ([`docs::cleanup`]),
//! locks and waiting ([`docs::concurrency`]), calls from async tasks ([`docs::async_use`]), sizes
//! and platforms ([`docs::limits`]), and every byte on disk ([`docs::format`]). The programs under
//! `examples/` are `quickstart`, `compacted_table`, `tail`, `async_tail` and `replica` for logs;
//! `event_store`, `work_queue`, `outbox` and `exactly_once` for topics; `testing`, the test of a
//! service; and `to_broker`, which moves a store to a broker.

mod callback;
mod checkpoint;
// `shuttle` checks the schedules of a log, so its build leaves out everything above the log.
#[cfg(not(shuttle))]
mod client;
mod clock;
mod compaction;
pub mod docs;
mod epochs;
mod error;
mod event;
pub mod fs;
#[cfg(not(shuttle))]
mod group;
pub mod inspect;
mod log;
mod notify;
mod producer_state;
mod random;
pub mod record;
mod retention;
mod segment;
#[cfg(not(shuttle))]
mod store;
mod sync;
#[cfg_attr(shuttle, allow(dead_code))]
mod topic_name;
#[cfg(feature = "tracing")]
mod trace;
#[cfg(not(shuttle))]
mod transaction;
mod types;
#[cfg(not(shuttle))]
mod uuid;
#[cfg(not(shuttle))]
mod wire;

#[cfg(all(feature = "serde", not(shuttle)))]
pub use client::Json;
#[cfg(not(shuttle))]
pub use client::{
    Acks, AutoOffsetReset, Consumer, ConsumerConfig, ConsumerInterceptor, ConsumerRecord,
    ConsumerRecords, ConsumerWaker, Deserialize, DeserializeContext, Partitioner,
    PartitionerChoice, Producer, ProducerConfig, ProducerInterceptor, ProducerRecord,
    ProducerStats, RebalanceContext, RebalanceListener, RecordMetadata, SendHandle, Serialize,
    SerializeContext, TopicPattern, TopicProducer, Transaction,
};
#[cfg(not(shuttle))]
pub use client::{
    OnPoison, PoisonRecord, TypedConsumer, TypedProducer, TypedProducerRecord, TypedRecord,
    TypedRecords,
};
pub use clock::{Clock, ManualClock, SystemClock};
pub use epochs::{EpochEnd, EpochStart};
pub use error::{
    CloseReason, CommitError, ConsumeError, Corruption, CorruptionKind, DeserializeError, Error,
    ErrorKind, GroupError, InvalidBatch, InvalidRecord, LogLocation, ProduceError,
    ProducerStateError, RecordPart, Result, SerializationError, SerializeError, TopicError,
    TransactionError, Unsupported,
};
pub use event::{AbortReason, CompactionReport, Event, Listener, Quarantined};
#[cfg(not(shuttle))]
pub use group::assignor;
#[cfg(not(shuttle))]
pub use group::{
    ConsumerGroupMetadata, GroupCoordinatorConfig, GroupDescription, GroupListing, GroupOffset,
    GroupState, ListedGroups, MemberDescription, MemberIdentity, OffsetAndMetadata,
};
#[cfg(feature = "futures")]
pub use log::FlushFuture;
pub use log::{
    AbortedTransaction, Appended, CleanupPolicy, Fetched, HangingTransaction, IsolatedLog, Log,
    LogConfig, LogStats, Maintainer, MaintainerConfig, MaintainerStats, MaintenancePause,
    MaintenanceReport, OffsetMoved, Offsets, OnCorruption, ReadBatch, ReadLimits, Reader,
    ReaderRecords, Recovery, SegmentStats, Tail,
};
pub use producer_state::{ProducerState, VerificationGuard};
pub use record::{Header, HeaderName, Record, RecordBatch, StoredRecord};
#[cfg(not(shuttle))]
pub use store::{
    Admin, ConfigEntry, ConfigSource, OfflinePartitions, PartitionDescription, ResetTo, Store,
    StoreConfig, StoreView, Topic, TopicConfig, TopicDescription, Transactions,
};
#[cfg(feature = "tracing")]
pub use trace::TracingListener;
#[cfg(not(shuttle))]
pub use transaction::{
    Outcome, TransactionCoordinatorConfig, TransactionListing, TransactionMetadata,
    TransactionRecord, TransactionState, Wait,
};
pub use types::{
    Codec, FIRST_STORE_PRODUCER_ID, IsolationLevel, LeaderEpoch, MAX_OFFSET, NO_PRODUCER_ID,
    Offset, OffsetSpec, ProducerEpoch, ProducerId, ProducerIdentity, Sequence, StartAt, Timestamp,
    TimestampType, TopicPartition, TransactionVersion,
};
#[cfg(not(shuttle))]
pub use uuid::{KafkaUuid, ParseUuidError, TopicId};
