//! From Kafka to annals: each setting of a client, a topic or a broker, and each call of the
//! clients and the `AdminClient`, with its name here and the differences.
//!
//! A [`Store`](crate::Store) is one directory of a broker's `log.dirs`, with the clients in the
//! same process. Names are Kafka's, in the style of Rust: `max.poll.records` is
//! [`max_poll_records`](crate::ConsumerConfig::max_poll_records), a setting that ends in `.ms` is
//! a [`Duration`](std::time::Duration) without the suffix, and a size ends in `_bytes`. A call
//! that gets an invalid value rejects it. A setting that no table lists has no counterpart here,
//! or is internal to Kafka.
//!
//! # What is not here, and why
//!
//! | in Kafka | here |
//! |---|---|
//! | brokers, `bootstrap.servers`, metadata, rack and DNS settings | the clients hold the [`Store`](crate::Store); they see every change of it at once |
//! | replication: replicas, in-sync replicas, elections, reassignment, `min.insync.replicas` | there is one copy of everything. [`Acks::Flushed`](crate::Acks::Flushed) waits for an fsync, where Kafka relies on the replicas. A program that replicates a log itself has its [leader epochs](crate::Log::set_leader_epoch), its [high watermark](crate::Log::set_high_watermark) and the [batches of a leader](crate::Log::append_as_follower) |
//! | network: connections, buffers, `request.timeout.ms`, `default.api.timeout.ms`, `max.in.flight.requests.per.connection`, heartbeats | the clients call functions, and each call returns when it is done |
//! | security, ACLs, quotas, delegation tokens | a process that can read or write the directory can use the store: set the permissions of the file system |
//! | tiered storage, `remote.*`, `local.retention.*` | not there; the settings of topics are stored and have no effect |
//! | Streams, Connect, Schema Registry | not there; a registry would be an implementation of [`Serialize`](crate::Serialize) |
//! | JMX | [`Producer::stats`](crate::Producer::stats), [`Log::stats`](crate::Log::stats), and a [`Listener`](crate::Listener) |
//!
//! # Three things to know first
//!
//! - **Acks.** Kafka's default, `all`, survives the loss of a broker. With the default here,
//!   [`Acks::Written`](crate::Acks::Written), a record survives a process crash; it survives a
//!   loss of power only if the operating system had written it to disk by then. With
//!   [`Acks::Flushed`](crate::Acks::Flushed), a record survives both. Commits of offsets have the
//!   same choice: [`flush_commits`](crate::ConsumerConfig::flush_commits).
//! - **You create topics; no call creates one for you.** There is no `auto.create.topics.enable`:
//!   a send to a topic that does not exist fails with
//!   [`TopicError::Unknown`](crate::TopicError::Unknown). A consumer that subscribes to one waits
//!   for it.
//! - **A topic deletes records after 7 days**, as in Kafka. A [`Log`](crate::Log) that you open
//!   without a store deletes nothing.
//!
//! # A producer, side by side
//!
//! ```text
//! Properties props = new Properties();
//! props.put("bootstrap.servers", "localhost:9092");
//! props.put("linger.ms", "20");
//! props.put("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
//! props.put("value.serializer", "org.apache.kafka.common.serialization.IntegerSerializer");
//! try (Producer<String, Integer> producer = new KafkaProducer<>(props)) {
//!     for (int n = 0; n < 10; n++)
//!         producer.send(new ProducerRecord<>("stock", "apple-" + n, n),
//!             (metadata, error) -> { if (error != null) error.printStackTrace(); });
//!     RecordMetadata last = producer.send(new ProducerRecord<>("stock", "pear", 7)).get();
//! }
//! ```
//!
//! ```
//! use annals::*;
//! use std::time::Duration;
//!
//! let store = Store::in_memory(StoreConfig::default())?; // or Store::open("data", ..)
//! store.create_topic("stock", TopicConfig::default().partitions(3))?;
//!
//! let config = ProducerConfig::default().linger(Duration::from_millis(20));
//! let producer = store.producer(config)?;
//! for n in 0_i32..10 {
//!     let record = Record::new(n.to_be_bytes().to_vec()).key(format!("apple-{n}"));
//!     producer.send_with_callback(("stock", record), |sent| {
//!         if let Err(error) = sent {
//!             eprintln!("{error}");
//!         }
//!     })?;
//! }
//! let typed: TypedProducer<str, i32> = producer.typed(); // the same producer, with types
//! let last = typed.send(("stock", "pear", &7))?.wait()?;
//! assert!(last.offset.is_some());
//! producer.close()?; // writes what is left, and returns the first failure among it
//! # let stock = store.topic("stock")?;
//! # assert_eq!(stock.partitions().iter().map(|log| log.offsets().end).sum::<u64>(), 11);
//! # Ok::<(), Error>(())
//! ```
//!
//! # A consumer, side by side
//!
//! ```text
//! props.put("group.id", "billing");
//! props.put("auto.offset.reset", "earliest");
//! props.put("enable.auto.commit", "false");
//! KafkaConsumer<String, String> consumer = new KafkaConsumer<>(props);
//! Runtime.getRuntime().addShutdownHook(new Thread(consumer::wakeup));
//! try {
//!     consumer.subscribe(List.of("orders"));
//!     while (true) {
//!         for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofSeconds(1)))
//!             bill(record.key(), record.value());
//!         consumer.commitSync();
//!     }
//! } catch (WakeupException e) {
//! } finally {
//!     consumer.close();
//! }
//! ```
//!
//! ```
//! use annals::*;
//! use std::time::Duration;
//!
//! let store = Store::in_memory(StoreConfig::default())?;
//! store.create_topic("orders", TopicConfig::default().partitions(2))?;
//! # let producer = store.producer(ProducerConfig::default())?;
//! # for n in 0..20 {
//! #     producer.send(("orders", Record::new("paid").key(format!("order-{n}"))))?;
//! # }
//! # producer.flush()?;
//! # let mut billed = 0;
//! let config = ConsumerConfig::new("billing")
//!     .auto_offset_reset(AutoOffsetReset::Earliest)
//!     .enable_auto_commit(false);
//! let mut consumer = store.consumer(config)?;
//! let waker = consumer.waker(); // for another thread: `waker.wake()` ends the loop
//! consumer.subscribe(["orders"])?;
//! loop {
//!     let records = consumer.poll(Duration::from_secs(1))?;
//!     if records.is_woken() {
//!         break;
//!     }
//!     for record in &records {
//!         println!("bill {:?}: {:?}", record.key_str(), record.value_str());
//! #       billed += 1;
//!     }
//!     consumer.commit()?;
//! #   if billed == 20 { waker.wake(); }
//! }
//! consumer.close()?;
//! # assert!(store.admin().describe_group("billing")?.offsets.values().all(|offset| offset.lag == Some(0)));
//! # Ok::<(), Error>(())
//! ```
//!
//! # Settings of a producer
//!
//! The settings of a producer are methods of [`ProducerConfig`](crate::ProducerConfig).
//!
//! | Kafka, its default | here, its default | what differs |
//! |---|---|---|
//! | `acks`, `all` | [`acks`](crate::ProducerConfig::acks), `Written` | `0` is `None`; `1` is `Written`; `all` is `Flushed`, which waits for an fsync. Idempotence works with each of them |
//! | `batch.size`, 16384 | [`batch_bytes`](crate::ProducerConfig::batch_bytes), 16 KiB | if a topic accepts only smaller batches, the producer builds smaller ones; Kafka's producer sends the batch, has it rejected, and splits it |
//! | `linger.ms`, 5 (0 before 4.0) | [`linger`](crate::ProducerConfig::linger), 5 ms | when a thread waits for a record, its batch is written at once |
//! | `buffer.memory`, 33554432 | [`buffer_bytes`](crate::ProducerConfig::buffer_bytes), 32 MiB | when the buffer is full, the sending thread writes it, and blocks while other threads write or the disk fails |
//! | `max.block.ms`, 60000 | [`max_block`](crate::ProducerConfig::max_block), 60 s | applies only to room in the buffer, because there are no metadata to wait for |
//! | `max.request.size`, 1048576 | [`max_request_bytes`](crate::ProducerConfig::max_request_bytes), 1 MiB | the limit of one record, because there are no requests |
//! | `delivery.timeout.ms`, 120000 | [`delivery_timeout`](crate::ProducerConfig::delivery_timeout), 120 s | at least `linger`; counted from the first record of a batch |
//! | `retries`, 2147483647 | | the producer always retries until `delivery_timeout` |
//! | `retry.backoff.ms`, 100; `retry.backoff.max.ms`, 1000 | [`retry_backoff`](crate::ProducerConfig::retry_backoff), 100 ms; [`retry_backoff_max`](crate::ProducerConfig::retry_backoff_max), 1 s | no random jitter, because no other client retries at the same time |
//! | `enable.idempotence`, `true` | [`idempotence`](crate::ProducerConfig::idempotence), on | works with any `acks` |
//! | `max.in.flight.requests.per.connection`, 5 | | batches of a partition are written one after the other |
//! | `compression.type`, `none`, with its levels | [`compression`](crate::ProducerConfig::compression), none | the level is part of [`Compression`](crate::record::Compression) |
//! | `partitioner.class`, none | [`partitioner`](crate::ProducerConfig::partitioner), [`ByKey`](crate::PartitionerChoice::ByKey) | each key goes to the partition that Kafka chooses. Other choices: [`RoundRobin`](crate::PartitionerChoice::RoundRobin), or one of your own |
//! | `partitioner.ignore.keys`, `false` | | write a [`Partitioner`](crate::Partitioner) of your own |
//! | `partitioner.adaptive.partitioning.enable`, `partitioner.availability.timeout.ms` | | there is no broker that could make a partition slower |
//! | `interceptor.classes` | [`interceptor`](crate::ProducerConfig::interceptor) | interceptors see records after serialization |
//! | `key.serializer`, `value.serializer` | the types of [`Producer::typed`](crate::Producer::typed) | checked at compile time |
//! | `client.id`, `metadata.max.age.ms`, `request.timeout.ms`, `send.buffer.bytes` and other settings of connections | | there is no connection |
//! | `transactional.id` | [`transactional_id`](crate::ProducerConfig::transactional_id) | not with [`Acks::None`](crate::Acks::None) |
//! | `transaction.timeout.ms`, 60000 | [`transaction_timeout`](crate::ProducerConfig::transaction_timeout), 60 s | it begins with the first batch that is written, not with the call |
//!
//! # Calls of a producer
//!
//! | `KafkaProducer` | [`Producer`](crate::Producer) | what differs |
//! |---|---|---|
//! | `send(record)` and `Future.get` | [`send`](crate::Producer::send), [`SendHandle::wait`](crate::SendHandle::wait) | a handle is also a Rust `Future`. `send` itself rejects an invalid record |
//! | `send(record, callback)` | [`send_with_callback`](crate::Producer::send_with_callback) | the callback runs on a thread that sends, waits or flushes, or on one that the producer starts for callbacks; it may block |
//! | many records to one topic | [`topic`](crate::Producer::topic), [`TopicProducer`](crate::TopicProducer) | no counterpart in Kafka. It looks the name up once, and [`send_bytes`](crate::TopicProducer::send_bytes) allocates nothing (without interceptors) |
//! | `RecordHeaders.add(key, value)` | [`Record::header`](crate::Record::header), [`header_null`](crate::Record::header_null) | the [name](crate::HeaderName) can be any bytes; Java's is text |
//! | `flush` | [`flush`](crate::Producer::flush) | fails with the first failure among the records that it waited for; a callback may call it, a listener on a thread that writes may not |
//! | `close`, `close(timeout)` | [`close`](crate::Producer::close), [`close_timeout`](crate::Producer::close_timeout) | the same |
//! | `partitionsFor` | [`Topic::partition_count`](crate::Topic::partition_count) | |
//! | `metrics` | [`stats`](crate::Producer::stats) | |
//! | the sender thread | [`poll`](crate::Producer::poll) | there is a thread while a batch lingers or is retried. `poll` does its work on your thread: see [testing](super::testing) |
//! | `initTransactions` | [`init_transactions`](crate::Producer::init_transactions) | a second call does nothing |
//! | `beginTransaction`, `commitTransaction`, `abortTransaction` | [`begin_transaction`](crate::Producer::begin_transaction), [`commit_transaction`](crate::Producer::commit_transaction), [`abort_transaction`](crate::Producer::abort_transaction) | a record that `send` rejects does not make the transaction fail. A commit is atomic over a loss of power with [`Acks::Flushed`](crate::Acks::Flushed) |
//! | `beginTransaction` to `commitTransaction` in a `try` | [`transaction`](crate::Producer::transaction) | commits if the closure returns `Ok`, and aborts if it fails or panics |
//! | `sendOffsetsToTransaction` | [`send_offsets_to_transaction`](crate::Producer::send_offsets_to_transaction) | the offsets are written at once, and count with the transaction |
//!
//! # Settings of a consumer
//!
//! The settings of a consumer are methods of [`ConsumerConfig`](crate::ConsumerConfig).
//!
//! | Kafka, its default | here, its default | what differs |
//! |---|---|---|
//! | `group.id`, none | [`ConsumerConfig::new`](crate::ConsumerConfig::new); `default()` has none | |
//! | `group.instance.id`, none | [`instance_id`](crate::ConsumerConfig::instance_id), none | a static member is the only kind of member that outlives its process |
//! | `group.protocol`, `classic` | | the classic protocol, as calls |
//! | `client.id`, empty | [`client_id`](crate::ConsumerConfig::client_id), `consumer` | |
//! | `auto.offset.reset`, `latest` | [`auto_offset_reset`](crate::ConsumerConfig::auto_offset_reset), latest | with latest, a partition that is created while the topic is being read begins with its first record; for Kafka's behaviour, set [`new_partitions_from_start(false)`](crate::ConsumerConfig::new_partitions_from_start) |
//! | `enable.auto.commit`, `true` | [`enable_auto_commit`](crate::ConsumerConfig::enable_auto_commit), yes | without a group nothing is committed |
//! | `auto.commit.interval.ms`, 5000 | [`auto_commit_interval`](crate::ConsumerConfig::auto_commit_interval), 5 s | skips positions that are already committed |
//! | | [`flush_commits`](crate::ConsumerConfig::flush_commits), no | if set, a commit that has returned survives loss of power |
//! | `max.poll.records`, 500 | [`max_poll_records`](crate::ConsumerConfig::max_poll_records), 500 | |
//! | `fetch.max.bytes`, 52428800 | [`max_poll_bytes`](crate::ConsumerConfig::max_poll_bytes), 50 MiB | counts keys, values and headers of records, not stored batches |
//! | `max.partition.fetch.bytes`, 1048576 | [`max_partition_fetch_bytes`](crate::ConsumerConfig::max_partition_fetch_bytes), 1 MiB | the same |
//! | `fetch.min.bytes`, 1; `fetch.max.wait.ms`, 500 | | a poll returns as soon as there is a record, because waiting for more saves no round trip |
//! | `max.poll.interval.ms`, 300000 | [`max_poll_interval`](crate::ConsumerConfig::max_poll_interval), 5 min | the only deadline of a dynamic member |
//! | `session.timeout.ms`, 45000 | [`session_timeout`](crate::ConsumerConfig::session_timeout), 45 s | applies to static members that left. The group notices at once that a dynamic member is gone |
//! | `heartbeat.interval.ms`, 3000 | | there are no heartbeats |
//! | `isolation.level`, `read_uncommitted` | [`isolation_level`](crate::ConsumerConfig::isolation_level), the same | a [`Log`](crate::Log) is read by level with [`isolated`](crate::Log::isolated), which also has the levels of replicas; on the command line, `annals read --isolation committed` |
//! | `partition.assignment.strategy`, range, cooperative-sticky | [`assignors`](crate::ConsumerConfig::assignors), the same | all of Kafka's four, and [`Assignor`](crate::assignor::Assignor)s of your own |
//! | `exclude.internal.topics`, `true` | [`exclude_internal_topics`](crate::ConsumerConfig::exclude_internal_topics), yes | |
//! | `check.crcs`, `true` | | always |
//! | `interceptor.classes` | [`interceptor`](crate::ConsumerConfig::interceptor) | an interceptor that panics does not fail the poll |
//! | `key.deserializer`, `value.deserializer` | the types of [`Consumer::typed`](crate::Consumer::typed) | a record that cannot be deserialized is [returned as an error, skipped, or sent to another topic](crate::OnPoison), and never returned twice |
//! | `allow.auto.create.topics`, `true` | | never |
//! | `client.rack`, `default.api.timeout.ms`, `request.timeout.ms`, `metadata.max.age.ms`, `receive.buffer.bytes` and other settings of connections | | there is no connection |
//!
//! # Calls of a consumer
//!
//! | `KafkaConsumer` | [`Consumer`](crate::Consumer) | what differs |
//! |---|---|---|
//! | `subscribe(topics)`, with a listener | [`subscribe`](crate::Consumer::subscribe), [`subscribe_with_listener`](crate::Consumer::subscribe_with_listener) | the listener gets its [access to the partitions](crate::RebalanceContext) as an argument |
//! | `subscribe(Pattern)` | [`subscribe_pattern`](crate::Consumer::subscribe_pattern) | a prefix or a closure; for regular expressions, add a library of your own |
//! | `assign`, `unsubscribe`, `assignment`, `subscription` | the same names | with automatic commits, `unsubscribe` commits first |
//! | `poll` | [`poll`](crate::Consumer::poll) | waits for records, not only for the group; the append itself wakes the poll |
//! | `ConsumerRecord.headers`, `Headers.lastHeader` | [`headers`](crate::StoredRecord::headers), [`header`](crate::StoredRecord::header) | a [name](crate::HeaderName) that is not UTF-8 keeps its bytes, and is printed as in Java, with U+FFFD |
//! | `wakeup` | [`waker`](crate::Consumer::waker) | the poll returns empty and says [`is_woken`](crate::ConsumerRecords::is_woken); there is no exception |
//! | `commitSync()`, `commitSync(offsets)` | [`commit`](crate::Consumer::commit), [`commit_offsets`](crate::Consumer::commit_offsets) | a member commits for its own partitions only |
//! | `commitAsync` | | a commit is an append, so there is no response to wait for |
//! | `committed` | [`committed`](crate::Consumer::committed) | for one partition. While an open transaction has committed another offset, it fails with [`UnstableOffsetCommit`](crate::GroupError::UnstableOffsetCommit) at once; Kafka waits until its timeout. A poll waits in both |
//! | `seek`, `seekToBeginning`, `seekToEnd` | [`seek`](crate::Consumer::seek), [`seek_to_beginning`](crate::Consumer::seek_to_beginning), [`seek_to_end`](crate::Consumer::seek_to_end) | `seek` also takes a time; an offset that is not in the log is rejected at once |
//! | `position`, `currentLag`, `pause`, `resume`, `paused` | [`position`](crate::Consumer::position), [`lag`](crate::Consumer::lag), [`pause`](crate::Consumer::pause), [`resume`](crate::Consumer::resume), [`paused`](crate::Consumer::paused) | |
//! | `beginningOffsets`, `endOffsets`, `offsetsForTimes` | [`beginning_offsets`](crate::Consumer::beginning_offsets), [`end_offsets`](crate::Consumer::end_offsets), [`offsets_for_times`](crate::Consumer::offsets_for_times) | |
//! | `groupMetadata` | [`group_metadata`](crate::Consumer::group_metadata) | |
//! | `ConsumerRecords.nextOffsets` | [`next_offsets`](crate::ConsumerRecords::next_offsets) | |
//! | `enforceRebalance` | [`Admin::remove_members`](crate::Admin::remove_members) of all members: each joins again with its next poll | |
//! | `close` | [`close`](crate::Consumer::close) | fails if the records that were read could not be committed. A consumer that is dropped leaves its group, too, and commits nothing |
//! | `partitionsFor`, `listTopics` | [`Store::topic`](crate::Store::topic), [`Store::topics`](crate::Store::topics) | |
//!
//! # Settings of a topic
//!
//! [`TopicConfig::set`](crate::TopicConfig::set) takes Kafka's key and Kafka's text; common
//! settings have a method, too. The third column names the option of
//! [`LogConfig`](crate::LogConfig) that the setting becomes; the documentation of that option
//! describes the effect. The defaults are the defaults of topics.
//!
//! | key | default | option | what differs |
//! |---|---|---|---|
//! | `segment.bytes` | 1073741824 | [`segment_bytes`](crate::LogConfig::segment_bytes) | at least 62; in Kafka 4, at least 1 MiB |
//! | `segment.ms` | 604800000 | [`segment_age`](crate::LogConfig::segment_age) | |
//! | `segment.jitter.ms` | 0 | [`segment_jitter`](crate::LogConfig::segment_jitter) | the same in every run |
//! | `segment.index.bytes` | 10485760 | [`index_bytes`](crate::LogConfig::index_bytes) | at least 24; an index takes no more room than its entries |
//! | `index.interval.bytes` | 4096 | [`index_interval_bytes`](crate::LogConfig::index_interval_bytes) | a change applies after the next opening |
//! | `flush.messages`, `flush.ms` | never | [`flush_messages`](crate::LogConfig::flush_messages), [`flush_interval`](crate::LogConfig::flush_interval) | the append that reaches the limit flushes; if none comes, the maintainer or `maintain` flushes after `flush.ms` |
//! | `retention.bytes` | -1 | [`retention_bytes`](crate::LogConfig::retention_bytes) | |
//! | `retention.ms` | 604800000 | [`retention_age`](crate::LogConfig::retention_age) | a segment without any timestamp stays |
//! | `max.message.bytes` | 1048588 | [`max_message_bytes`](crate::LogConfig::max_message_bytes) | |
//! | `cleanup.policy` | delete | [`cleanup_policy`](crate::LogConfig::cleanup_policy) | never empty: to delete nothing, set `delete` with both limits at -1 |
//! | `delete.retention.ms` | 86400000 | [`delete_retention`](crate::LogConfig::delete_retention) | |
//! | `min.compaction.lag.ms`, `max.compaction.lag.ms` | 0, no limit | [`min_compaction_lag`](crate::LogConfig::min_compaction_lag), [`max_compaction_lag`](crate::LogConfig::max_compaction_lag) | |
//! | `min.cleanable.dirty.ratio` | 0.5 | [`min_cleanable_dirty_ratio`](crate::LogConfig::min_cleanable_dirty_ratio) | |
//! | `compression.type`, `compression.gzip.level`, `compression.zstd.level` | producer, -1, 3 | [`compression`](crate::LogConfig::compression) | only the codecs of this build |
//! | `compression.lz4.level` | 9 | | stored; there is one level of LZ4 here |
//! | `preallocate` | false | [`preallocate`](crate::LogConfig::preallocate) | |
//! | `message.timestamp.type` | CreateTime | [`timestamp_type`](crate::LogConfig::timestamp_type) | |
//! | `message.timestamp.before.max.ms` | any | [`timestamp_before_max`](crate::LogConfig::timestamp_before_max) | |
//! | `message.timestamp.after.max.ms` | 3600000 | [`timestamp_after_max`](crate::LogConfig::timestamp_after_max) | a [`Log`](crate::Log) that you open without a store accepts any time unless you set it |
//! | `file.delete.delay.ms` | 60000 | | stored; a deleted file is removed at once, or when the reader that is in it moves on |
//! | `min.insync.replicas`, `unclean.leader.election.enable`, `leader.replication.throttled.replicas`, `follower.replication.throttled.replicas` | 1, false, none, none | | stored; there are no replicas |
//! | `remote.storage.enable`, `remote.log.copy.disable`, `remote.log.delete.on.disable`, `local.retention.ms`, `local.retention.bytes` | false, false, false, -2, -2 | | stored; there is no tiered storage |
//!
//! A key that topics do not have is rejected, and the error suggests the nearest key. Kafka
//! ignores such a key and logs a warning.
//!
//! # Settings of a broker
//!
//! | Kafka, its default | here, its default | what differs |
//! |---|---|---|
//! | `log.dirs` | the path of [`Store::open`](crate::Store::open) | one directory for each store |
//! | `num.partitions`, 1 | [`TopicConfig::partitions`](crate::TopicConfig::partitions), 1 | |
//! | `auto.create.topics.enable`, `delete.topic.enable` | | topics are never created automatically, and can always be deleted |
//! | `message.max.bytes`, `log.segment.bytes`, `log.roll.*`, `log.retention.bytes`, `log.retention.ms` and its minutes and hours, `log.index.*`, `log.flush.interval.*`, `log.cleanup.policy`, `log.preallocate`, `log.message.timestamp.*`, `log.cleaner.delete.retention.ms`, `log.cleaner.min.*`, `log.cleaner.max.compaction.lag.ms`, `compression.type` | [`StoreConfig::log_defaults`](crate::StoreConfig::log_defaults) | they apply to each topic that does not set its own |
//! | `log.cleaner.enable`, `true` | [`StoreConfig::maintenance`](crate::StoreConfig::maintenance), on | `None` leaves retention and compaction to [`Store::maintain`](crate::Store::maintain) |
//! | `log.cleaner.threads`, 1 | [`MaintainerConfig::threads`](crate::MaintainerConfig::threads), 1 | these threads also delete segments |
//! | `log.retention.check.interval.ms`, 300000; `log.cleaner.backoff.ms`, 15000; `replica.high.watermark.checkpoint.interval.ms`, 5000 | [`MaintainerConfig::interval`](crate::MaintainerConfig::interval), 15 s | one interval for all |
//! | `log.cleaner.io.max.bytes.per.second`, no limit | [`MaintainerConfig::bytes_per_second`](crate::MaintainerConfig::bytes_per_second), no limit | |
//! | `log.cleaner.dedupe.buffer.size`, 134217728 | [`LogConfig::dedupe_buffer_bytes`](crate::LogConfig::dedupe_buffer_bytes), 128 MiB | for each thread, and only while it compacts |
//! | `log.cleaner.io.buffer.size`, `log.cleaner.io.buffer.load.factor` | | buffers are as large as the batches that are read |
//! | `log.flush.scheduler.interval.ms`, `log.flush.offset.checkpoint.interval.ms`, `log.flush.start.offset.checkpoint.interval.ms` | | checkpoints are written when they change |
//! | `log.initial.task.delay.ms`, `log.segment.delete.delay.ms` | | there are no delays |
//! | `num.recovery.threads.per.data.dir`, 2 (1 before 4.0) | [`StoreConfig::recovery_threads`](crate::StoreConfig::recovery_threads), 2 | |
//! | `producer.id.expiration.ms`, 86400000 | [`LogConfig::producer_id_expiration`](crate::LogConfig::producer_id_expiration), one day | counts from when the last batch arrived; Kafka counts from the timestamps of its records |
//! | `producer.id.expiration.check.interval.ms`, 600000 | | producers are forgotten when a segment is begun, at a snapshot, by maintenance and at opening |
//! | `transaction.partition.verification.enable`, `true` | [`LogConfig::verify_transactions`](crate::LogConfig::verify_transactions), off | a log alone has no coordinator to ask; the topics of a store always verify |
//! | `offsets.topic.num.partitions`, 50 | [`GroupCoordinatorConfig::offsets_partitions`](crate::GroupCoordinatorConfig::offsets_partitions), 50 | |
//! | `offsets.topic.segment.bytes`, 104857600; `offsets.topic.compression.codec`, none; `offset.metadata.max.bytes`, 4096 | the same values, no setting | the first two can be altered as settings of the topic; a partition of 4 MiB or more is rolled and compacted as soon as it is 16 times the size of its live records |
//! | `offsets.retention.minutes`, 10080 | [`GroupCoordinatorConfig::offsets_retention`](crate::GroupCoordinatorConfig::offsets_retention), 7 days | counts from when the last member left, or from the last commit, poll or lookup by a consumer, whichever is later |
//! | `offsets.retention.check.interval.ms`, 600000 | [`GroupCoordinatorConfig::offsets_retention_check_interval`](crate::GroupCoordinatorConfig::offsets_retention_check_interval), 10 min | no timer: each call that uses a group checks |
//! | `group.initial.rebalance.delay.ms`, 3000 | [`GroupCoordinatorConfig::initial_rebalance_delay`](crate::GroupCoordinatorConfig::initial_rebalance_delay), 0 | no delay, because consumers of one process join at once |
//! | `group.min.session.timeout.ms`, 6000; `group.max.session.timeout.ms`, 1800000 | [`GroupCoordinatorConfig::session_timeout_bounds`](crate::GroupCoordinatorConfig::session_timeout_bounds), the same | |
//! | `group.max.size`, 2147483647 | [`GroupCoordinatorConfig::max_members`](crate::GroupCoordinatorConfig::max_members), the same | |
//! | `broker.id`, `node.id`, cluster and directory ids | random for a new directory | kept in `meta.properties` |
//! | `transaction.max.timeout.ms`, 15 min | [`max_timeout`](crate::TransactionCoordinatorConfig::max_timeout), same | [`StoreConfig::transaction_coordinator`](crate::StoreConfig::transaction_coordinator) takes these options |
//! | `transaction.state.log.num.partitions`, 50 | [`state_partitions`](crate::TransactionCoordinatorConfig::state_partitions), same | |
//! | `transaction.state.log.segment.bytes`, 100 MiB | [`segment_bytes`](crate::TransactionCoordinatorConfig::segment_bytes), same | compacted from 4 MiB on, as the offsets topic |
//! | `transaction.abort.timed.out.transaction.cleanup.interval.ms`, 10 s | [`abort_check_interval`](crate::TransactionCoordinatorConfig::abort_check_interval), same | no timer: timed-out transactions are aborted by the rounds of the [maintainer](crate::StoreConfig::maintenance), by a call for their id, and by [`tick`](crate::Transactions::tick) |
//! | `transactional.id.expiration.ms`, 7 days | [`id_expiration`](crate::TransactionCoordinatorConfig::id_expiration), same | |
//! | `transaction.remove.expired.transaction.cleanup.interval.ms`, 1 h | [`id_expiration_check_interval`](crate::TransactionCoordinatorConfig::id_expiration_check_interval), same | no timer |
//! | | [`resume_ongoing`](crate::TransactionCoordinatorConfig::resume_ongoing), off | the producers of a store end with its process, so a transaction that was ongoing is aborted by the next opening; a broker leaves it to its timeout |
//! | `transaction.state.log.replication.factor`, `transaction.state.log.min.isr` | | one copy |
//! | replication, listeners, threads of the network, quotas, security, `remote.log.*` | | [not here](#what-is-not-here-and-why) |
//!
//! # Calls of the `AdminClient`
//!
//! | `AdminClient` | here | what differs |
//! |---|---|---|
//! | `createTopics` | [`Store::create_topic`](crate::Store::create_topic) | one topic per call; the topic exists when the call returns |
//! | `deleteTopics` | [`Store::delete_topic`](crate::Store::delete_topic) | by name; the topic is gone when the call returns |
//! | `listTopics` | [`Store::topics`](crate::Store::topics) | includes the internal topics |
//! | `describeTopics`, `describeLogDirs`, `describeConfigs` of a topic | [`Admin::describe_topic`](crate::Admin::describe_topic) | one call for all |
//! | `createPartitions` | [`Store::add_partitions`](crate::Store::add_partitions) | |
//! | `incrementalAlterConfigs`, `alterConfigs` of a topic | [`Store::alter_topic`](crate::Store::alter_topic) | a setting that you do not give returns to its default: begin with [`Topic::config`](crate::Topic::config) |
//! | `deleteRecords` | [`Admin::delete_records`](crate::Admin::delete_records) | |
//! | `listOffsets` | [`Log::offsets`](crate::Log::offsets), [`Log::offset_for_time`](crate::Log::offset_for_time) of a partition | |
//! | `listConsumerGroups` | [`Admin::list_groups`](crate::Admin::list_groups) | `valid` is [`groups`](crate::ListedGroups::groups), and `errors` is [`unavailable`](crate::ListedGroups::unavailable) |
//! | `describeConsumerGroups`, `listConsumerGroupOffsets` | [`Admin::describe_group`](crate::Admin::describe_group) | one call for both, with the lag |
//! | `alterConsumerGroupOffsets` | [`Admin::alter_offsets`](crate::Admin::alter_offsets) | |
//! | `deleteConsumerGroupOffsets` | [`Admin::delete_offsets`](crate::Admin::delete_offsets) | |
//! | `deleteConsumerGroups` | [`Admin::delete_group`](crate::Admin::delete_group) | one at a time |
//! | `removeMembersFromConsumerGroup` | [`Admin::remove_members`](crate::Admin::remove_members) | dynamic members, too |
//! | `kafka-consumer-groups --reset-offsets` | [`Admin::reset_offsets`](crate::Admin::reset_offsets) | [`ResetTo`](crate::ResetTo) has all its targets except files and durations |
//! | the timer that expires offsets | [`Admin::expire_offsets`](crate::Admin::expire_offsets) | |
//! | `describeProducers` | [`Log::producers`](crate::Log::producers) of a partition | |
//! | `describeCluster`, `describeMetadataQuorum`, features, brokers, `electLeaders`, reassignments, `alterReplicaLogDirs` | | there is no cluster |
//! | `listTransactions`, `describeTransactions`, `fenceProducers` | [`Transactions::list`](crate::Transactions::list), [`describe`](crate::Transactions::describe), [`fence`](crate::Transactions::fence) | |
//! | `forceTerminateTransaction`, `kafka-transactions force-terminate` | [`Transactions::fence`](crate::Transactions::fence) | it aborts the ongoing transaction, also one without a timeout |
//! | `abortTransaction`, `kafka-transactions find-hanging` | [`Transactions::abort_hanging`](crate::Transactions::abort_hanging), [`find_hanging`](crate::Transactions::find_hanging) | |
//! | the requests `InitProducerId`, `AddPartitionsToTxn`, `EndTxn` | [`Transactions::init_producer_id`](crate::Transactions::init_producer_id), [`add_partitions`](crate::Transactions::add_partitions), [`verify`](crate::Transactions::verify), [`end`](crate::Transactions::end) | for a program whose producers are elsewhere |
//! | ACLs, quotas, SCRAM, delegation tokens, client metrics | | [not here](#what-is-not-here-and-why) |
//!
//! # Tools
//!
//! The command-line tool `annals` is the package in `cli/`: `cargo install --path cli`. Some
//! commands only read; they work while another process has the directory open for writing. The
//! other commands open it for writing, and fail with exit code 2 until that process has closed it.
//!
//! | works beside a writer | opens for writing |
//! |---|---|
//! | `info`, `read`, `seek`, `verify`, `dump`, `consume` without `--group` | `append`, `produce`, `consume --group` |
//! | `topics list`, `topics describe`, `groups list`, `groups describe`, `transactions list`, `transactions describe`, `transactions find-hanging` | `topics create`, `topics alter` |
//! | `clean`, `truncate`, `delete-before`, `repair`, `topics delete`, `groups reset`, `groups delete`, `transactions abort`, `transactions force-terminate`, each without `--execute` | the same commands with `--execute` |
//!
//! | Kafka | here |
//! |---|---|
//! | `kafka-topics`, `kafka-configs` of topics | `annals topics` |
//! | `kafka-delete-records` | `annals delete-before`, of one partition |
//! | `kafka-console-producer` | `annals produce` |
//! | `kafka-console-consumer` | `annals consume`; `--isolation committed` is `--isolation-level read_committed` |
//! | `kafka-consumer-groups` | `annals groups` |
//! | `kafka-transactions` | `annals transactions` with `list`, `describe`, `find-hanging`, `abort` and `force-terminate` |
//! | `kafka-dump-log` | `annals dump`, of one file or one log. With `--records`, it decodes `__transaction_state` as `--transaction-log-decoder` does |
//!
//! # From a broker's directory to a store
//!
//! A store opens a broker's directory: segments, indexes, snapshots, checkpoints,
//! `partition.metadata`, committed offsets. The settings of topics are *not* in the directory,
//! because the controller keeps them. So until you alter it, a topic that comes from a broker
//! deletes nothing (`retention.ms=-1`) and is not compacted. Only `__consumer_offsets` and
//! `__transaction_state` are compacted from the beginning.
//!
//! 1. Stop all producers. Save the settings of all topics, which `kafka-configs --describe` lists,
//!    and the output of `kafka-get-offsets`: both commands need a running broker.
//! 2. Stop the broker, and wait until it has ended; otherwise `.kafka_cleanshutdown` is missing,
//!    and the store recovers all logs first. Take a copy of the directory, and leave the original.
//!    A store does not open a directory while a broker runs on it, and a broker does not start on
//!    the directory of an open store.
//! 3. Open the copy.
//! 4. Give each topic its saved settings.
//! 5. Compare the offsets with the saved output of `kafka-get-offsets`, and
//!    [verify](crate::Log::verify) each log. From then on, use the store like any other.
//!
//! ```
//! use annals::{Store, StoreConfig};
//! # let dir = tempfile::tempdir().unwrap();
//! # let copy = dir.path();
//! # for name in ["orders-0", "__consumer_offsets-0"] {
//! #     let log = annals::Log::open(copy.join(name), annals::LogConfig::default())?;
//! #     log.append(annals::Record::new("x").key("k"))?;
//! #     log.close()?;
//! # }
//!
//! let store = Store::open(copy, StoreConfig::default())?;
//! let orders = store.topic("orders")?;
//! assert_eq!(orders.config().get("retention.ms"), Some("-1"));
//! store.alter_topic("orders", orders.config().set("retention.ms", "3600000")?)?;
//! for topic in store.topics() {
//!     for log in topic.partitions().iter() {
//!         assert_eq!(log.verify()?, []);
//!     }
//! }
//! store.close()?;
//!
//! let store = Store::open(copy, StoreConfig::default())?;
//! assert_eq!(store.topic("orders")?.config().get("retention.ms"), Some("3600000"));
//! assert_eq!(store.topic("__consumer_offsets")?.config().get("cleanup.policy"), Some("compact"));
//! # store.close()?;
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! Partitions that were on other brokers are not in the directory. The partitions in the directory
//! are served; a lower number that is not there fails with
//! [`PartitionElsewhere`](crate::TopicError::PartitionElsewhere). Only the cluster knows how many
//! partitions a topic has: a store counts up to the highest number in the directory. As long as a
//! partition of a topic is elsewhere,
//!
//! - you must set the partition of each record that has a key, because with a wrong count, the key
//!   would lead to another partition than in the cluster. Records without a key go to the
//!   partitions that are in the directory;
//! - the topic cannot be altered, grown or deleted ([`Spread`](crate::TopicError::Spread)), and if
//!   it is `__consumer_offsets`, there are no groups;
//! - consumers of a group read the partitions that are in the directory, and nothing from the
//!   others.
//!
//! If only the last partitions are missing, nothing in the directory shows it, and the topic seems
//! to have fewer. So check the count. [`MissingPartition`](crate::TopicError::MissingPartition)
//! means that a partition *was* in the directory: `topic.properties` counts it, or a checkpoint
//! has a line for it and a partition with a higher number is there.
//!
//! # From a store to a broker
//!
//! A broker takes over the directory of a store in place. No file of a partition moves, groups
//! keep their offsets, and a small directory is served within seconds. A broker serves only the
//! partitions that its controller has assigned to it, and renames every other directory to
//! `-stray`. So the example `to_broker` writes the topics into the first records that a new
//! controller reads. These are the steps for one node that is both broker and controller:
//!
//! 1. [Close](crate::Store::close) the store, and take a copy of its directory.
//! 2. Write `server.properties`. `log.dirs` is the directory of the store, `metadata.log.dir` is
//!    another, new directory, and `node.id` is the one in the store's `meta.properties`.
//! 3. `kafka-storage format --ignore-formatted -t CLUSTER_ID -c server.properties`, with the
//!    `cluster.id` of the store's `meta.properties`. It writes `bootstrap.checkpoint` into the
//!    metadata directory.
//! 4. `cargo run --release --example to_broker -- DATA METADATA/bootstrap.checkpoint` adds the
//!    topics: their ids and settings, the directory of each partition, and the next producer id if
//!    the logs know ids of a broker.
//! 5. `kafka-server-start server.properties`. Compare the start and the end offset of each
//!    partition with `kafka-get-offsets`.
//!
//! To return, stop the broker and open the directory as a store. From then on you can move the
//! directory in both directions without these steps, because the controller knows its topics. If
//! the store created topics meanwhile, begin again at step 2 with a new metadata directory.
//!
//! To move records into an existing cluster, copy them with clients: produce to the cluster what a
//! [consumer](crate::Consumer) reads here, or mirror from a broker that has taken over the
//! directory.
//!
//! The test `broker_takes_over_and_returns_store` (`tests/kafka/broker.rs`) does these steps with
//! Kafka 4.1: to the broker, back, and to the broker again, with Kafka's producers, groups and
//! settings.
//!
//! The files of the directory:
//!
//! | file | content | when the directory moves |
//! |---|---|---|
//! | `meta.properties` | the ids of the cluster, the node and the directory. A store creates random ids for a new directory, and keeps the ids it finds | stays: the broker reads the ids of the node and the cluster from it |
//! | `partition.metadata` | the id of the topic, the same in all its partitions | stays: `to_broker` gives the same id to the controller |
//! | the three checkpoints | one value for each log: durable below, starts at, compacted below. If the two lines of a log differ, they are ignored, and the next recovery or compaction takes longer. In `log-start-offset-checkpoint` this is an error, because deleted records would reappear without the start | stay: each side takes over the checkpoints of the other |
//! | `leader-epoch-checkpoint` | the offset at which each leader epoch began | stays: the store continues with the latest epoch, and the broker with a higher one |
//! | `replication-offset-checkpoint` | the high watermark of each log: all replicas have everything below | stays: the logs of a store are the only copies, unless they are [replicated](crate::LogConfig::replicated), and keep the lines of a broker as they are |
//! | `.kafka_cleanshutdown` | marks that the logs were closed cleanly, and by which side | stays: each side removes it before it writes |
//! | `topic.properties`, `producer-ids.properties`, `….recent` | files of the store; brokers ignore them | stay, for the way back |
//!
//! [`format`](mod@super::format#a-directory-of-topics) describes every byte of them. The tests in
//! `tests/kafka/agreement/` check, log by log, that Kafka's own classes read, continue and
//! compact the logs that annals writes, and the reverse.
