//! Transactions: records in any number of partitions, and committed offsets, that count together
//! or not at all.
//!
//! # A service that loses and doubles nothing
//!
//! A service reads orders, sends invoices, and commits the offsets of the orders that it has read.
//! If it dies between the last two steps, the next process reads the orders again and sends the
//! invoices a second time. In a transaction, invoices and offsets become visible in one step:
//!
//! ```
//! use annals::*;
//! use std::time::Duration;
//!
//! let store = Store::in_memory(StoreConfig::default())?;
//! let orders = store.create_topic("orders", TopicConfig::default())?.partition(0)?;
//! let invoices = store.create_topic("invoices", TopicConfig::default())?.partition(0)?;
//! orders.append("two apples")?;
//!
//! let config = ConsumerConfig::new("billing")
//!     .auto_offset_reset(AutoOffsetReset::Earliest)
//!     .isolation_level(IsolationLevel::ReadCommitted)
//!     .enable_auto_commit(false);
//! let mut consumer = store.consumer(config)?;
//! consumer.subscribe(["orders"])?;
//! let producer = store.producer(ProducerConfig::default().transactional_id("billing-1"))?;
//!
//! let records = consumer.poll(Duration::ZERO)?;
//! producer.transaction(|tx| {
//!     for order in &records {
//!         let text = format!("invoice for {}", order.value_str().unwrap_or_default());
//!         tx.send(("invoices", text))?;
//!     }
//!     tx.send_offsets(records.next_offsets(), &consumer.group_metadata()?)
//! })?;
//!
//! let committed = invoices.isolated(IsolationLevel::ReadCommitted);
//! assert_eq!(committed.get(0)?.unwrap().value_str(), Some("invoice for two apples"));
//! assert_eq!(consumer.committed(&("orders", 0).into())?, Some(1.into()));
//! # Ok::<(), Error>(())
//! ```
//!
//! After a failed transaction, go back to the committed offsets before the next poll. Otherwise the
//! next transaction commits offsets behind records that have no invoice:
//!
//! ```
//! # use annals::*;
//! fn go_back(consumer: &mut Consumer) -> Result<()> {
//!     for partition in consumer.assignment() {
//!         match consumer.committed(&partition)? {
//!             Some(committed) => consumer.seek(&partition, committed.offset)?,
//!             None => consumer.seek_to_beginning([partition])?, // as `AutoOffsetReset::Earliest`
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! Or end the process, or close the consumer, and create a new one. The example `exactly_once` is
//! killed at random while it runs, and each new process begins at the committed offsets.
//!
//! # What is stored when
//!
//! | step | in the partitions | in `__transaction_state` |
//! |---|---|---|
//! | `init_transactions`, or the first `transaction` | | `Empty`: its producer id and its epoch |
//! | the first batch for a partition | | `Ongoing`, with the partition; before the batch |
//! | batches | records of the transaction | |
//! | offsets | records in `__consumer_offsets`, which are pending | `Ongoing`, with that partition |
//! | commit, abort | | `PrepareCommit` or `PrepareAbort`: the decision |
//! | | a marker in each | |
//! | | | `CompleteCommit` or `CompleteAbort` |
//!
//! A commit with four partitions takes four markers and two records of state, and one to add the
//! partitions, if they are added together. So collect as many records in a transaction as your
//! readers can wait for. [`docs::format`](mod@super::format) has the bytes. They are Kafka's: a
//! broker completes what a store has decided, and the reverse.
//!
//! # What a transaction survives
//!
//! | failure | with [`Acks::Written`](crate::Acks::Written) | with [`Acks::Flushed`](crate::Acks::Flushed) |
//! |---|---|---|
//! | the process dies before the decision | aborted by the next opening | the same |
//! | the process dies after the decision | completed by the next opening | the same |
//! | power is lost before the commit returns | each partition on its own: records that were not flushed may be lost | whole, or aborted |
//! | power is lost after the commit has returned | as above | committed |
//! | the disk is full, or a partition is offline, after the decision | the call fails with [`Completing`](crate::TransactionError::Completing); the markers follow when they can be written | the same |
//!
//! With `Acks::Flushed`, a commit makes the records durable, then the decision, then the markers.
//! Kafka has no such level: a broker leaves durability to its replicas.
//!
//! # When a call fails
//!
//! [`Error::kind`](crate::Error::kind) says what to do:
//!
//! | kind | what it means | what to do |
//! |---|---|---|
//! | [`Abortable`](crate::ErrorKind::Abortable) | the transaction cannot be committed: a record failed, or it took longer than its timeout | abort it, and begin again |
//! | [`Fenced`](crate::ErrorKind::Fenced) | another producer has taken the id over, or the id has expired | close this producer |
//! | [`Busy`](crate::ErrorKind::Busy) | this transaction, or the previous one of the id, is decided and being completed | repeat the call |
//! | [`Rebalancing`](crate::ErrorKind::Rebalancing), from `send_offsets` | another consumer may have the partitions | abort, and poll again |
//! | [`InvalidInput`](crate::ErrorKind::InvalidInput) | the calls are in the wrong order | correct the program |
//! | any other | nothing is decided | repeat the call, or abort |
//!
//! [`Producer::transaction`](crate::Producer::transaction) aborts for you, also if the closure
//! panics.
//!
//! # One producer for each transactional id
//!
//! A transactional id names a place in your service, such as `billing-1`, and not a process. A
//! producer that initializes itself with the id fences its predecessor. So a process that was
//! believed dead, and comes back, cannot write into the transactions of its successor. Its calls
//! fail with [`Fenced`](crate::TransactionError::Fenced), and its batches are rejected by the logs.
//! This holds over restarts, and after a broker had the directory. Two producers that work at the
//! same time need two ids.
//!
//! # What holds readers back
//!
//! A reader of committed records stops at the last stable offset: the first record of the earliest
//! transaction that is still open in that partition. Records after it wait, also those without a
//! transaction. A consumer also waits before it takes over a committed offset that is pending.
//!
//! | question | answer |
//! |---|---|
//! | how far can readers read? | [`Offsets::last_stable`](crate::Offsets::last_stable), compared with [`high_watermark`](crate::Offsets::high_watermark) |
//! | which transactions of a log are open? | [`Log::hanging_transactions`](crate::Log::hanging_transactions) with a duration of zero |
//! | which are going on in the store? | [`Transactions::list`](crate::Transactions::list), [`describe`](crate::Transactions::describe) |
//! | which ones does nothing end? | [`Transactions::find_hanging`](crate::Transactions::find_hanging), `annals transactions DIR find-hanging` |
//! | how do I end one of those? | [`Transactions::abort_hanging`](crate::Transactions::abort_hanging), `annals transactions DIR abort` |
//! | how do I end the transaction of a producer that does not return? | [`Transactions::fence`](crate::Transactions::fence), `annals transactions DIR force-terminate` |
//!
//! The store aborts a transaction that takes longer than its producer's
//! [`transaction_timeout`](crate::ProducerConfig::transaction_timeout).
//! [`Transactions`](crate::Transactions#timeouts) lists the calls that check the timeouts.
//!
//! Retention does not wait for an open transaction. Compaction does: see
//! [`docs::cleanup`](super::cleanup#transactions).
//!
//! # How many
//!
//! A transactional id takes about 450 bytes of memory, about 750 with a transaction in one
//! partition, and less than 1 KiB with one in four. In each log that it writes to, its producer
//! takes about 400 bytes more. The id goes after
//! [`id_expiration`](crate::TransactionCoordinatorConfig::id_expiration), the producer after
//! [`producer_id_expiration`](crate::LogConfig::producer_id_expiration).
//!
//! An opening after a crash aborts what was going on, 10,000 transactions in a round: a round syncs
//! each partition once, so the number of partitions counts, not that of transactions.
//!
//! # Producers elsewhere
//!
//! A broker has producers behind a network. [`Transactions`](crate::Transactions) has their calls
//! under Kafka's names, and [`Log::begin_verification`](crate::Log::begin_verification) and
//! [`append_verified`](crate::Log::append_verified) keep late batches out.
