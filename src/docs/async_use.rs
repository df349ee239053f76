//! Using the crate from an async executor: which calls block a thread, which do not, and how to
//! call each kind from a task.
//!
//! This crate has no async runtime and needs none. Most calls take microseconds, and you can make
//! them directly from a task. A call that blocks its thread also blocks every other task that the
//! executor would run there.
//!
//! # Calls that block
//!
//! | call | blocks for | from a task |
//! |---|---|---|
//! | [`Producer::send`](crate::Producer::send), `send_and_forget`, `send_with_callback`, also of [`TopicProducer`](crate::TopicProducer) and `TypedProducer` | not at all while the buffer has room, except that the thread whose record fills a batch writes the batch. When the buffer is full, until there is room, up to [`max_block`](crate::ProducerConfig::max_block), 60 seconds by default | set `max_block` to zero and [retry until a deadline](#sending), or `spawn_blocking` |
//! | [`SendHandle::wait`](crate::SendHandle::wait), `wait_timeout` | until the record counts as sent, which [`Acks`](crate::Acks) defines; up to [`delivery_timeout`](crate::ProducerConfig::delivery_timeout) on a full disk | await the [`SendHandle`](crate::SendHandle) |
//! | [`Producer::flush`](crate::Producer::flush), `close`, `close_timeout`, the drop of the last handle | until everything that was sent is written or has failed; `flush` and `close` also until the callbacks have run | await the handles first; then `spawn_blocking` |
//! | [`Producer::transaction`](crate::Producer::transaction), `init_transactions`, `send_offsets_to_transaction`, `commit_transaction`, `abort_transaction` | the writes of its records, offsets, markers and state, and their fsyncs with [`Acks::Flushed`](crate::Acks::Flushed); up to `max_block` while the previous transaction of the id is being completed | `spawn_blocking` |
//! | [`Consumer::poll`](crate::Consumer::poll) | until there are records, up to its timeout | `Duration::ZERO`, or [a thread of its own](#a-consumer-and-its-tasks) |
//! | [`Consumer::commit`](crate::Consumer::commit), `close`, the drop of a consumer | a write, and an fsync with [`flush_commits`](crate::ConsumerConfig::flush_commits) | `spawn_blocking`, or the thread that polls |
//! | [`Tail::next_record`](crate::Tail::next_record), [`Tail::next_batch`](crate::Tail::next_batch) | until there is another record, up to the timeout | [`tail.next().await`](#following-a-log-in-a-task) |
//! | [`Log::append`](crate::Log::append) and its variants | a copy to the page cache. It waits for the appends of other threads; for a roll, which creates the files of a segment and writes a snapshot of the producers; and for a truncation, which syncs what it changed, and may read the log | call it; `spawn_blocking` if the log is truncated while you append |
//! | [`Log::read`](crate::Log::read), [`Reader`](crate::Reader) | a copy from the page cache, or the disk if the data is not cached; never an append | call it; `spawn_blocking` for long scans |
//! | [`Log::flush`](crate::Log::flush), an append that is set to flush, [`Acks::Flushed`](crate::Acks::Flushed) when waited for | an fsync: milliseconds | `flush_async().await` for a flush; `spawn_blocking` for such an append; await the handle for `Acks::Flushed` |
//! | [`Log::open`](crate::Log::open), [`Store::open`](crate::Store::open), `close`, `create_topic`, `delete_topic`, `maintain`, `compact`, `verify` | file work, from milliseconds to as long as it takes to read the logs | `spawn_blocking` |
//! | the drop of the last handle of a [`Log`](crate::Log) or a [`Store`](crate::Store); topics, readers, tails and clients count as handles | closing its files, without a flush; for a store, also until its maintenance threads have ended: each stops after at most 256 KiB more of a pass | `close` in `spawn_blocking`, before the last handle is dropped |
//!
//! # Calls that do not block
//!
//! - [`SendHandle`](crate::SendHandle) is a [`Future`]. When you await it, the producer's thread
//!   writes the batch and wakes the task.
//! - With the cargo feature `futures`, [`Tail`](crate::Tail) is a `Stream`: `tail.next().await`
//!   with `StreamExt`, `tail.try_next().await?` with `TryStreamExt`. It holds no thread while it
//!   waits.
//! - With the same feature, `Log::flush_async` returns a future that resolves once everything
//!   appended before the call is durable. Tasks that await it at the same time share an fsync.
//! - [`Tail::poll_next`](crate::Tail::poll_next) is for a future written by hand, and needs no
//!   feature.
//!
//! The thread that makes a task ready, for example by an append, calls the task's waker. If a
//! waker panics, the other tasks are still woken.
//!
//! # Cancelling
//!
//! You can drop each of these futures at any `await`, for instance in `select!` or in a timeout:
//!
//! | future | dropped before it is ready | to continue |
//! |---|---|---|
//! | `tail.next()`, `tail.try_next()` | loses no record: the tail moves only when it returns one | call it again |
//! | [`SendHandle`](crate::SendHandle) | cancels nothing: the record is still written, or still fails. Its result is lost with the handle | poll `&mut handle` in `select!`, and keep the handle |
//! | `flush_async()` | cancels nothing and promises nothing: the fsync may happen or not | call it again: it covers the same records |
//!
//! So do not resend a record because a timeout dropped its handle: it may be stored twice.
//!
//! ```
//! # #[cfg(feature = "futures")] {
//! use annals::{ProducerConfig, StartAt, Store, StoreConfig, TopicConfig};
//! use futures_util::{FutureExt, StreamExt};
//!
//! # let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
//! # runtime.block_on(async {
//! let store = Store::in_memory(StoreConfig::default())?;
//! let log = store.create_topic("orders", TopicConfig::default())?.partition(0)?;
//! let producer = store.producer(ProducerConfig::default())?;
//!
//! // `now_or_never` polls a future once, and drops it.
//! let mut tail = log.tail(StartAt::Earliest)?;
//! assert!(tail.next().now_or_never().is_none());
//! producer.send(("orders", "paid"))?.now_or_never();
//! let record = tail.next().await.expect("the log is open")?;
//! assert_eq!(record.value_str(), Some("paid")); // sent, and not lost by the tail
//!
//! log.flush_async().now_or_never();
//! assert_eq!(log.flush_async().await?, 1);
//! # Ok::<(), annals::Error>(())
//! # }).unwrap();
//! # }
//! ```
//!
//! # Following a log in a task
//!
//! The task below ends when it is told to stop, or when the log is closed, because the stream then
//! ends for good. A log is also closed when its partition is
//! [reopened](crate::Store::reopen_partition), or when its topic is deleted. So do not let the
//! task end silently. When the stream has ended, call [`next_record`](crate::Tail::next_record),
//! which then fails at once with [`Closed`](crate::Error::Closed) and the
//! [reason](crate::CloseReason). After a reopening, take a new tail from the new log.
//!
//! An error does not end the stream, and the next call returns the same error again. For example,
//! if the next record was deleted or truncated, every call returns
//! [`OffsetOutOfRange`](crate::Error::OffsetOutOfRange) until you [`seek`](crate::Tail::seek). So
//! a loop that only logs the error never ends. Seek, or leave the loop:
//!
//! ```
//! # #[cfg(feature = "futures")] {
//! use annals::{CloseReason, Error, Offset, OnCorruption, Result, StartAt, Store, StoreConfig};
//! use annals::{StoredRecord, Tail, TopicConfig};
//! use futures_util::StreamExt;
//! use tokio::sync::{mpsc, oneshot};
//!
//! /// Passes records on until it is told to stop, or the log is closed for some reason. Returns
//! /// the offset to go on from, and the reason.
//! async fn follow(
//!     mut tail: Tail,
//!     records: mpsc::Sender<StoredRecord>,
//!     mut stop: oneshot::Receiver<()>,
//! ) -> Result<(Offset, Option<CloseReason>)> {
//!     loop {
//!         let next = tokio::select! {
//!             _ = &mut stop => break,
//!             next = tail.next() => next, // cancel-safe
//!         };
//!         match next {
//!             None => {
//!                 let Err(Error::Closed { reason, .. }) = tail.next_record(None) else { continue };
//!                 return Ok((tail.offset(), Some(reason)));
//!             }
//!             Some(Ok(record)) => {
//!                 if records.send(record).await.is_err() {
//!                     break; // no task takes records any more
//!                 }
//!             }
//!             Some(Err(Error::OffsetOutOfRange { start, end, .. })) => {
//!                 tail.seek(tail.offset().clamp(start, end))?; // the nearest offset there is
//!             }
//!             Some(Err(error)) => return Err(error), // damage, or an error of the disk
//!         }
//!     }
//!     Ok((tail.offset(), None))
//! }
//!
//! # let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
//! # runtime.block_on(async {
//! let store = Store::in_memory(StoreConfig::default())?;
//! let log = store.create_topic("orders", TopicConfig::default())?.partition(0)?;
//! log.append_all(["a", "b", "c"].map(Into::into))?;
//! let tail = log.tail(StartAt::Earliest)?;
//! log.delete_before(2)?; // the next record of the tail is gone
//!
//! let (to_task, mut records) = mpsc::channel(100);
//! let (stop, stopped) = oneshot::channel();
//! # let _stop = stop;
//! let following = tokio::spawn(follow(tail, to_task.clone(), stopped));
//! assert_eq!(records.recv().await.unwrap().value_str(), Some("c"));
//! log.append("d")?;
//! assert_eq!(records.recv().await.unwrap().value_str(), Some("d"));
//!
//! // The new log of a partition needs a new tail.
//! let log = store.reopen_partition("orders", 0, OnCorruption::Fail)?;
//! let (next, reason) = following.await.unwrap()?;
//! assert_eq!((next, reason), (4, Some(CloseReason::Reopened)));
//! let (stop, stopped) = oneshot::channel();
//! let following = tokio::spawn(follow(log.tail(next)?, to_task, stopped));
//!
//! // ... and when the program ends:
//! stop.send(()).ok();
//! assert_eq!(following.await.unwrap()?, (4, None));
//! # Ok::<(), annals::Error>(())
//! # }).unwrap();
//! # }
//! ```
//!
//! A tail that is behind the end of the log is always ready. In the program above, the task yields
//! when the channel is full. If the body of your loop awaits nothing that yields, call
//! `tokio::task::yield_now().await` now and then; without it, the task reads the whole backlog
//! before another task gets its thread. Or read the backlog with a [`Reader`](crate::Reader) in
//! `spawn_blocking`, and begin the tail at [`Reader::offset`](crate::Reader::offset).
//!
//! # Sending
//!
//! In a task, set [`max_block`](crate::ProducerConfig::max_block) to zero, so that `send` never
//! blocks, and await the handle. While the buffer is full, `send` fails with
//! [`TimedOut`](crate::ErrorKind::TimedOut): let other tasks run, and retry. While the disk is
//! full, the buffer stays full, so set a deadline. Your deadline applies until the record is in
//! the buffer. From then on, [`delivery_timeout`](crate::ProducerConfig::delivery_timeout)
//! applies: when it has passed, the handle fails.
//!
//! ```
//! use annals::{ErrorKind, Producer, ProducerConfig, RecordMetadata, Result, Store, StoreConfig, TopicConfig};
//! use std::time::{Duration, Instant};
//!
//! async fn send(producer: &Producer, value: &str, patience: Duration) -> Result<RecordMetadata> {
//!     let deadline = Instant::now() + patience;
//!     let handle = loop {
//!         match producer.send(("orders", value)) {
//!             Ok(handle) => break handle,
//!             Err(error) if error.kind() == ErrorKind::TimedOut && Instant::now() < deadline => {
//!                 tokio::time::sleep(Duration::from_millis(10)).await;
//!             }
//!             Err(error) => return Err(error), // a full buffer names the cause
//!         }
//!     };
//!     handle.await
//! }
//!
//! # let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
//! # runtime.block_on(async {
//! let store = Store::in_memory(StoreConfig::default())?;
//! store.create_topic("orders", TopicConfig::default())?;
//! let producer = store.producer(ProducerConfig::default().max_block(Duration::ZERO))?;
//! let sent = send(&producer, "paid", Duration::from_secs(5)).await?;
//! assert_eq!(sent.offset, Some(0));
//! # Ok::<(), annals::Error>(())
//! # }).unwrap();
//! ```
//!
//! # A consumer and its tasks
//!
//! A poll may block for long, so it needs a thread of its own, which talks to tasks over channels.
//! A consumer belongs to one thread at a time, and only that thread can commit. So the tasks send
//! back the offsets that they have finished, and the thread commits them. The consumer's
//! [`waker`](crate::Consumer::waker) ends the poll that the thread waits in, so that the thread
//! looks at the channel at once.
//!
//! With automatic commits off, a record is committed after its task has finished it, and never
//! before. If the program dies in between, the next consumer of the group reads the record again:
//! each record is processed *at least once*.
//!
//! A commit that fails with a [retryable](crate::Error::is_retryable) error, on a full disk or in
//! a rebalance, must not end the service: keep the offsets, and commit them in the next round.
//!
//! ```
//! use annals::{AutoOffsetReset, ConsumerConfig, ConsumerRecord, OffsetAndMetadata};
//! use annals::{Store, StoreConfig, TopicConfig, TopicPartition};
//! use std::{collections::BTreeMap, sync::mpsc, time::Duration};
//!
//! async fn bill(record: &ConsumerRecord) { /* the work of the service */ }
//!
//! # let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
//! # runtime.block_on(async {
//! let store = Store::in_memory(StoreConfig::default())?;
//! let topic = store.create_topic("orders", TopicConfig::default())?;
//! topic.partition(0)?.append_all(["a", "b", "c"].map(Into::into))?;
//!
//! let config = ConsumerConfig::new("billing")
//!     .auto_offset_reset(AutoOffsetReset::Earliest)
//!     .enable_auto_commit(false); // commit what is finished, not what was polled
//! let mut consumer = store.consumer(config)?;
//! consumer.subscribe(["orders"])?;
//! let waker = consumer.waker();
//! let (to_task, mut orders) = tokio::sync::mpsc::channel::<ConsumerRecord>(100);
//! let (finished, commits) = mpsc::channel::<(TopicPartition, OffsetAndMetadata)>();
//!
//! let polling = tokio::task::spawn_blocking(move || {
//!     let mut offsets = BTreeMap::new(); // the last of each partition stays
//!     loop {
//!         for record in consumer.poll(Duration::from_secs(1))? {
//!             if to_task.blocking_send(record).is_err() {
//!                 break; // the task has ended
//!             }
//!         }
//!         let ended = loop {
//!             match commits.try_recv() {
//!                 Ok((partition, next)) => drop(offsets.insert(partition, next)),
//!                 Err(error) => break error == mpsc::TryRecvError::Disconnected,
//!             }
//!         };
//!         // Partitions may have moved to another member meanwhile: it reads those records again.
//!         let assigned = consumer.assignment();
//!         offsets.retain(|partition, _| assigned.contains(partition));
//!         match consumer.commit_offsets(offsets.clone()) {
//!             Ok(()) => offsets.clear(),
//!             Err(error) if error.is_retryable() && !ended => {} // the next round has them, too
//!             Err(error) => return Err(error),
//!         }
//!         if ended {
//!             return consumer.close();
//!         }
//!     }
//! });
//!
//! let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
//! # let mut stop = Some(stop);
//! let billing = tokio::spawn(async move {
//!     loop {
//!         let record = tokio::select! {
//!             record = orders.recv() => record,
//!             _ = &mut stopped => None,
//!         };
//!         let Some(record) = record else { break };
//!         bill(&record).await; // first the work, then the word that it is done
//!         let partition = TopicPartition::new(record.topic.clone(), record.partition);
//!         finished.send((partition, (record.offset + 1).into())).ok();
//!         waker.wake();
//! #       if record.offset == 2 { stop.take().unwrap().send(()).unwrap(); }
//!     }
//!     drop(finished); // the thread commits what is left, and closes the consumer
//!     waker.wake();
//! });
//! // ... and when the program ends: `stop.send(())`
//! billing.await.unwrap();
//! polling.await.unwrap()?;
//!
//! let offsets = store.admin().describe_group("billing")?.offsets;
//! assert_eq!(offsets[&TopicPartition::new("orders", 0)].committed.offset, 3);
//! # Ok::<(), annals::Error>(())
//! # }).unwrap();
//! ```
//!
//! A single task finishes its records in the order in which it received them, so the last offset
//! of each partition is the right one to commit. With several tasks, give each partition to one of
//! them, or commit only up to the first record that is not finished. If a record cannot be
//! processed, do not send its offset, and stop the consumer. Otherwise the next commit of its
//! partition covers that record.
//!
//! `poll(..)?` ends the thread when one partition cannot be read. To continue with the others,
//! match on [`ConsumeError::Partition`](crate::ConsumeError::Partition), report it, and poll
//! again. If the damaged partition is the only one, each poll fails at once, so wait between two
//! polls.
//!
//! If `bill` panics, nothing wakes the thread. It ends after its current poll, up to a second
//! later.
//!
//! When the task falls behind, the thread waits in `blocking_send`. If it waits for longer than
//! [`max_poll_interval`](crate::ConsumerConfig::max_poll_interval), 5 minutes by default, the
//! group assigns the partitions to another member. To stay below it, lower
//! [`max_poll_records`](crate::ConsumerConfig::max_poll_records).
//!
//! # Callbacks of a producer
//!
//! A [callback](crate::Producer::send_with_callback) of a producer runs on a thread that sends,
//! waits or flushes, or on a thread that the producer starts for callbacks; it does not run in a
//! task. Let it pass the result to a task over a channel that does not block, or await the handle
//! instead.
