//! Using the crate from an async executor: what blocks a thread, what does not, and how to call
//! what does.
//!
//! There is no async runtime in this crate, and it needs none. Most calls take microseconds and
//! are made straight from a task. A call that blocks its thread also blocks every other task that
//! the executor would run there.
//!
//! # What blocks
//!
//! | call | blocks for | from a task |
//! |---|---|---|
//! | [`Producer::send`](crate::Producer::send), `send_and_forget`, `send_with`, also of [`TopicProducer`](crate::TopicProducer) and `TypedProducer` | nothing, while the buffer has room, except that a thread that fills a batch writes it. When the buffer is full: until there is room, up to [`max_block`](crate::ProducerConfig::max_block), 60 seconds by default | set `max_block` to zero and retry later, or `spawn_blocking` |
//! | [`SendHandle::wait`](crate::SendHandle::wait), `wait_for` | until the record is sent, as [`Acks`](crate::Acks) has it; up to [`delivery_timeout`](crate::ProducerConfig::delivery_timeout) on a full disk | await the [`SendHandle`](crate::SendHandle) |
//! | [`Producer::flush`](crate::Producer::flush), `close`, `close_within`, the drop of the last handle | until all that was sent is written, or has failed; flush and close also for callbacks | await the handles first; then `spawn_blocking` |
//! | [`Consumer::poll`](crate::Consumer::poll) | until there are records, up to its timeout | `Duration::ZERO`, or a thread of its own |
//! | [`Consumer::commit`](crate::Consumer::commit), `close` | a write, and an fsync where the store is set so | `spawn_blocking` |
//! | [`Tail::next_record`](crate::Tail::next_record), [`Tail::next_batch`](crate::Tail::next_batch) | until there is more, up to the timeout | `tail.next().await` |
//! | [`Log::append`](crate::Log::append), [`Log::read`](crate::Log::read), [`Reader`](crate::Reader) | a copy to or from the page cache; the disk if what is read is not cached | call it; `spawn_blocking` for long scans |
//! | [`Log::flush`](crate::Log::flush), an append that is set to flush, [`Acks::Flushed`](crate::Acks::Flushed) when waited for | an fsync: milliseconds | `flush_async().await` |
//! | [`Log::open`](crate::Log::open), [`Store::open`](crate::Store::open), `close`, `create_topic`, `delete_topic`, `maintain`, `compact`, `verify` | file work, from milliseconds to as long as it takes to read the logs | `spawn_blocking` |
//!
//! # What does not block
//!
//! - `SendHandle` is a [`Future`]. When it is awaited, the producer's thread writes the batch and
//!   wakes the task. Dropping it takes nothing back.
//! - With the cargo feature `futures`, [`Tail`](crate::Tail) is a `Stream`: `tail.next().await` with `StreamExt`,
//!   `tail.try_next().await?` with `TryStreamExt`. It holds no thread while it waits.
//! - With the same feature, `Log::flush_async` returns a future that resolves once the records are durable. Tasks that
//!   await it at the same time share an fsync.
//! - [`Tail::poll_next`](crate::Tail::poll_next) does the same without the feature, for a hand-written future.
//!
//! A waker is called by the thread that made the task ready, such as one that appends. If a waker
//! panics, the other tasks are woken all the same.
//!
//! # From a task
//!
//! A send that must not block is given no time to wait, and its result is awaited. If the buffer
//! is full, [`is_retryable`](crate::Error::is_retryable) is true: give other tasks a turn and
//! send again, or send from `spawn_blocking`.
//!
//! ```
//! use annals::{ErrorKind, Producer, ProducerConfig, RecordMetadata, Result, Store, StoreConfig, TopicConfig};
//! use std::time::Duration;
//!
//! async fn send(producer: &Producer, value: &str) -> Result<RecordMetadata> {
//!     loop {
//!         match producer.send(("orders", value)) {
//!             Ok(handle) => return handle.await,
//!             Err(error) if error.kind() == ErrorKind::TimedOut => {
//!                 tokio::time::sleep(Duration::from_millis(10)).await;
//!             }
//!             Err(error) => return Err(error),
//!         }
//!     }
//! }
//!
//! # let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
//! # runtime.block_on(async {
//! let store = Store::in_memory(StoreConfig::default())?;
//! store.create_topic("orders", TopicConfig::default())?;
//! let producer = store.producer(ProducerConfig::default().max_block(Duration::ZERO))?;
//! let sent = send(&producer, "paid").await?;
//! assert_eq!(sent.offset, Some(0));
//! # Ok::<(), annals::Error>(())
//! # }).unwrap();
//! ```
//!
//! What blocks for long has a thread of its own, and talks to tasks over a channel. A consumer
//! belongs to one thread at a time; its [`waker`](crate::Consumer::waker) ends a poll that waits:
//!
//! ```
//! use annals::{AutoOffsetReset, ConsumerConfig, Store, StoreConfig, TopicConfig};
//! use std::time::Duration;
//!
//! # let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
//! # runtime.block_on(async {
//! let store = Store::in_memory(StoreConfig::default())?;
//! let topic = store.create_topic("orders", TopicConfig::default())?;
//! topic.partition(0)?.append("paid")?;
//!
//! let config = ConsumerConfig::new("billing").auto_offset_reset(AutoOffsetReset::Earliest);
//! let mut consumer = store.consumer(config)?;
//! consumer.subscribe(["orders"])?;
//! let waker = consumer.waker();
//! let polling = tokio::task::spawn_blocking(move || {
//!     let mut seen = 0;
//!     loop {
//!         let records = consumer.poll(Duration::from_secs(60))?;
//!         if records.is_woken() {
//!             consumer.close()?;
//!             return Ok::<usize, annals::Error>(seen);
//!         }
//!         seen += records.len();
//!     }
//! });
//! // ... and when the program ends:
//! waker.wake();
//! polling.await.unwrap()?;
//! # Ok::<(), annals::Error>(())
//! # }).unwrap();
//! ```
//!
//! In a [callback](crate::Producer::send_with) of a producer there is no task to block. Let it
//! hand the result to a task, over a channel that does not block, or await the handle instead.
