//! The transactions of a producer, as its callers use them.

use crate::callback;
use crate::client::producer::accumulator::PartitionQueue;
use crate::client::producer::callbacks::Callback;
use crate::client::producer::inner::ProducerInner;
use crate::client::producer::record::{ProducerRecord, RecordMetadata};
use crate::client::producer::send_handle::SendHandle;
use crate::client::producer::transaction::Begin;
use crate::client::producer::transaction_manager::TransactionManager;
use crate::client::producer::writer::listener_panicked;
use crate::client::producer::{Producer, thread_marks};
use crate::error::{Error, ProduceError, Result, TransactionError};
use crate::group::{ConsumerGroupMetadata, OffsetAndMetadata};
use crate::transaction::Outcome;
use crate::types::TopicPartition;
use std::sync::Arc;

impl ProducerInner {
    fn transactions(&self) -> Result<&TransactionManager> {
        if self.context.is_closed() {
            return Err(ProduceError::Closed.into());
        }
        let transactions = self.context.transactions.as_ref();
        transactions.ok_or_else(|| TransactionError::NotTransactional.into())
    }

    fn init_transactions(&self) -> Result<()> {
        let transactions = self.transactions()?;
        if !transactions.change(|state| state.start_init())? {
            return Ok(());
        }
        let initialized = callback::call(|| transactions.init(&self.context.store));
        let identity = initialized.as_ref().ok().and_then(|done| done.as_ref().ok()).copied();
        transactions.change(|state| state.finish_init(identity));
        initialized.unwrap_or_else(|panicked| panicked.resume()).map(drop)
    }

    fn begin_transaction(&self) -> Result<()> {
        let transactions = self.transactions()?;
        while let Begin::EndFirst(outcome) = transactions.change(|state| state.begin())? {
            self.end_transaction(transactions, outcome)?;
        }
        Ok(())
    }

    /// Commits the open transaction. That waits for records, so a thread that writes them cannot.
    fn commit_transaction(&self) -> Result<()> {
        let transactions = self.transactions()?;
        if thread_marks::is_writing() {
            return Err(ProduceError::WhileWriting.into());
        }
        self.end_transaction(transactions, Outcome::Commit)
    }

    /// Ends the open transaction. No record joins it once this has begun.
    fn end_transaction(&self, transactions: &TransactionManager, outcome: Outcome) -> Result<()> {
        let queues = {
            let listed = self.listed.lock();
            transactions.change(|state| state.start_end(outcome))?;
            listed.clone()
        };
        let ended = callback::call(|| {
            match outcome {
                Outcome::Commit => self.write_transaction(transactions)?,
                Outcome::Abort => self.drop_transaction(&queues),
            }
            transactions.end(outcome, self.context.clock())
        });
        // A listener panicked. The next call finds out whether the transaction is decided.
        let mut panic = None;
        let ended = ended.unwrap_or_else(|panicked| {
            panic = Some(panicked);
            Err(listener_panicked("end", "a transaction"))
        });
        let ended = transactions.change(|state| state.finish_end(outcome, ended));
        panic.map_or(ended, |panicked| panicked.resume())
    }

    /// Writes all batches of the transaction.
    fn write_transaction(&self, transactions: &TransactionManager) -> Result<()> {
        let flushed = self.flush(None);
        match transactions.change(|state| state.failure()) {
            Some(failure) => Err(failure.into()),
            None if !flushed? => Err(ProduceError::WhileWriting.into()),
            None => Ok(()),
        }
    }

    /// Drops the batches of the transaction that are not written, and waits for those that are
    /// being written: after the marker, they would come too late.
    fn drop_transaction(&self, queues: &[Arc<PartitionQueue>]) {
        for queue in queues {
            self.abort(queue, &ProduceError::TransactionAborted);
        }
        // A listener or a waker that this thread calls while it writes must not wait for itself.
        // A batch in flight is appended before the marker, or rejected by the log.
        if thread_marks::is_writing() {
            return;
        }
        for queue in queues {
            self.wait_for_writer(queue);
            // A batch that was to be retried is back in the queue.
            self.abort(queue, &ProduceError::TransactionAborted);
        }
    }

    /// Aborts the open transaction of a producer that is being closed, if there is one.
    pub(super) fn close_transaction(&self) {
        let Some(transactions) = &self.context.transactions else { return };
        // If that fails, the store aborts it after its timeout.
        callback::call(|| self.end_transaction(transactions, Outcome::Abort).ok()).ok();
    }
}

impl Producer {
    /// Takes the [`transactional_id`](crate::ProducerConfig::transactional_id) over. Call it
    /// before the first transaction; [`transaction`](Self::transaction) calls it, too.
    ///
    /// A previous producer with the id, in this process or an earlier one, is fenced: its calls
    /// fail with [`TransactionError::Fenced`]. Its open transaction is aborted, and one that is
    /// being committed is completed first. With the id taken over already, nothing happens.
    ///
    /// ```
    /// use annals::{ErrorKind, ProducerConfig, Store, StoreConfig};
    ///
    /// let store = Store::in_memory(StoreConfig::default())?;
    /// let billing = || store.producer(ProducerConfig::default().transactional_id("billing-1"));
    /// let (old, new) = (billing()?, billing()?);
    /// old.init_transactions()?;
    /// new.init_transactions()?;
    /// new.begin_transaction()?;
    /// # store.create_topic("bills", annals::TopicConfig::default())?;
    /// old.begin_transaction()?;
    /// old.send(("bills", "12.50"))?;
    /// let error = old.commit_transaction().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Fenced);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::Transaction`] with [`NotTransactional`](TransactionError::NotTransactional),
    ///   [`InvalidTimeout`](TransactionError::InvalidTimeout),
    ///   [`AlreadyOpen`](TransactionError::AlreadyOpen). With
    ///   [`Concurrent`](TransactionError::Concurrent) or
    ///   [`Completing`](TransactionError::Completing), repeat the call: the previous transaction
    ///   of the id is being completed.
    /// - [`Error::Io`] and other errors of the store's topic `__transaction_state`;
    ///   [`Error::StoreClosed`]; [`ProduceError::Closed`].
    pub fn init_transactions(&self) -> Result<()> {
        self.handle.inner.init_transactions()
    }

    /// Begins a transaction. All records that any handle of the producer sends belong to it, until
    /// [`commit_transaction`](Self::commit_transaction) or
    /// [`abort_transaction`](Self::abort_transaction).
    ///
    /// Nothing is stored yet. The timeout begins with the first batch that is written, or with the
    /// first offset. [`transaction`](Self::transaction) begins and ends a transaction for you.
    ///
    /// If the end of the previous transaction could not be completed, it is completed first.
    ///
    /// ```
    /// use annals::{ProducerConfig, Store, StoreConfig, TopicConfig};
    ///
    /// let store = Store::in_memory(StoreConfig::default())?;
    /// let orders = store.create_topic("orders", TopicConfig::default())?.partition(0)?;
    /// let producer = store.producer(ProducerConfig::default().transactional_id("shop-1"))?;
    /// producer.init_transactions()?;
    ///
    /// producer.begin_transaction()?;
    /// producer.send(("orders", "paid"))?;
    /// producer.flush()?;
    /// assert_eq!(orders.offsets().last_stable, 0); // readers of committed records wait
    /// producer.commit_transaction()?;
    /// assert_eq!(orders.offsets().last_stable, 2); // the record and a marker
    ///
    /// producer.begin_transaction()?;
    /// producer.send(("orders", "never seen"))?;
    /// producer.abort_transaction()?;
    /// assert_eq!(orders.offsets().end, 2); // it was not even written
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::Transaction`] with [`NotTransactional`](TransactionError::NotTransactional),
    ///   [`NotInitialized`](TransactionError::NotInitialized),
    ///   [`AlreadyOpen`](TransactionError::AlreadyOpen), [`Fenced`](TransactionError::Fenced);
    ///   [`Concurrent`](TransactionError::Concurrent) while another thread ends the previous
    ///   transaction.
    /// - As [`commit_transaction`](Self::commit_transaction), for the end of the previous one.
    pub fn begin_transaction(&self) -> Result<()> {
        self.handle.inner.begin_transaction()
    }

    /// Adds the positions of a consumer to the transaction: they are committed with its records,
    /// or not at all. So a record that was read counts as read exactly if its results are visible.
    ///
    /// The offsets are those of the next records to read, as in
    /// [`commit_offsets`](crate::Consumer::commit_offsets). `group` comes from
    /// [`group_metadata`](crate::Consumer::group_metadata) of the consumer, which must not commit
    /// on its own: set [`enable_auto_commit(false)`](crate::ConsumerConfig::enable_auto_commit).
    ///
    /// ```
    /// use annals::{AutoOffsetReset, ConsumerConfig, IsolationLevel, ProducerConfig};
    /// use annals::{Store, StoreConfig, TopicConfig, TopicPartition};
    /// use std::time::Duration;
    ///
    /// let store = Store::in_memory(StoreConfig::default())?;
    /// store.create_topic("orders", TopicConfig::default())?.partition(0)?.append("apple")?;
    /// let bills = store.create_topic("bills", TopicConfig::default())?.partition(0)?;
    /// let config = ConsumerConfig::new("billing")
    ///     .auto_offset_reset(AutoOffsetReset::Earliest)
    ///     .isolation_level(IsolationLevel::ReadCommitted)
    ///     .enable_auto_commit(false);
    /// let mut consumer = store.consumer(config)?;
    /// consumer.subscribe(["orders"])?;
    /// let producer = store.producer(ProducerConfig::default().transactional_id("billing-1"))?;
    ///
    /// let orders = TopicPartition::new("orders", 0);
    /// let records = consumer.poll(Duration::ZERO)?;
    /// producer.transaction(|tx| {
    ///     for order in &records {
    ///         tx.send(("bills", format!("one {}", order.value_str().unwrap_or_default())))?;
    ///     }
    ///     let next = consumer.position(&orders)?;
    ///     tx.send_offsets([(orders.clone(), next)], &consumer.group_metadata()?)
    /// })?;
    /// assert_eq!(bills.get(0)?.unwrap().value_str(), Some("one apple"));
    /// assert_eq!(consumer.committed(&orders)?, Some(1.into()));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::Consume`] with [`CommitFailed`](crate::ConsumeError::CommitFailed), if the
    ///   consumer is not a member of its group any more: another one may read the same records, so
    ///   the transaction can only be aborted.
    /// - As [`Log::append`](crate::Log::append), for the topic `__consumer_offsets`. If the error
    ///   is [retryable](Error::is_retryable), the call may be repeated; otherwise, abort.
    /// - [`Error::Transaction`] with [`NotTransactional`](TransactionError::NotTransactional),
    ///   [`NoTransaction`](TransactionError::NoTransaction),
    ///   [`MustAbort`](TransactionError::MustAbort), [`Expired`](TransactionError::Expired),
    ///   [`Fenced`](TransactionError::Fenced).
    pub fn send_offsets_to_transaction(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, impl Into<OffsetAndMetadata>)>,
        group: &ConsumerGroupMetadata,
    ) -> Result<()> {
        let offsets = offsets.into_iter().map(|(at, offset)| (at, offset.into())).collect();
        self.handle.inner.transactions()?.commit_offsets(&offsets, group)
    }

    /// Writes all records of the transaction, and commits it: readers of committed records see all
    /// of them from now on, and the offsets are those of the group.
    ///
    /// With [`Acks::Flushed`](crate::Acks::Flushed), the transaction is whole after a loss of
    /// power, too; with [`Acks::Written`](crate::Acks::Written), after a process crash.
    ///
    /// # Errors
    ///
    /// [`Error::Transaction`] with:
    ///
    /// | variant | what to do |
    /// |---|---|
    /// | [`MustAbort`](TransactionError::MustAbort) | a record failed, or the coordinator has aborted the transaction for a producer that takes over: abort, and begin again |
    /// | [`Expired`](TransactionError::Expired) | abort, and begin again |
    /// | [`PartitionGone`](TransactionError::PartitionGone) | abort, and begin again |
    /// | [`Fenced`](TransactionError::Fenced) | close the producer |
    /// | [`InvalidIdMapping`](TransactionError::InvalidIdMapping) | close the producer |
    /// | [`Completing`](TransactionError::Completing) | it is committed, and a partition cannot get its marker yet: commit again to wait for it, or begin the next transaction |
    /// | [`Concurrent`](TransactionError::Concurrent) | another thread is in such a call: repeat it |
    /// | [`NoTransaction`](TransactionError::NoTransaction) | none is open: it was ended already |
    ///
    /// [`ProduceError::WhileWriting`] in a [listener](crate::Listener) or a waker, if this thread
    /// writes records: it would wait for itself. The transaction stays open.
    ///
    /// Another error, such as [`Error::Io`] for a full disk, decides nothing: commit again, or
    /// abort.
    pub fn commit_transaction(&self) -> Result<()> {
        self.handle.inner.commit_transaction()
    }

    /// Aborts the transaction: no reader of committed records ever sees its records, and its
    /// offsets do not count. Records that are not written yet are dropped; their handles and
    /// callbacks get [`ProduceError::TransactionAborted`].
    ///
    /// The call waits for threads that write records or add offsets at present. In a
    /// [listener](crate::Listener) that such a thread calls, it does not: their calls then fail, or
    /// end before the abort.
    ///
    /// # Errors
    ///
    /// [`Error::Transaction`]: [`NoTransaction`](TransactionError::NoTransaction),
    /// [`Fenced`](TransactionError::Fenced), [`InvalidIdMapping`](TransactionError::InvalidIdMapping),
    /// [`InvalidState`](TransactionError::InvalidState) if it is committed.
    /// After any other error the transaction is still to be aborted: repeat the call, or begin the
    /// next transaction, which aborts it first. If you do neither, the store aborts it after its
    /// timeout.
    pub fn abort_transaction(&self) -> Result<()> {
        let inner = &self.handle.inner;
        inner.end_transaction(inner.transactions()?, Outcome::Abort)
    }

    /// Runs `work` in a transaction, and commits it if `work` returns `Ok`. If `work` returns an
    /// error or panics, or if the commit fails, the transaction is aborted.
    ///
    /// The first call takes the id over, as [`init_transactions`](Self::init_transactions) does.
    /// While `work` runs, all records that any handle of the producer sends belong to the
    /// transaction, on any thread. Do not call `commit_transaction` or `abort_transaction` in
    /// `work`: the transaction has ended then, and `transaction` fails with
    /// [`NoTransaction`](TransactionError::NoTransaction), also after a commit.
    ///
    /// A record that `send` rejects is not in the transaction, and does not end it: return the
    /// error, to abort. A record that fails later does: the commit then fails with
    /// [`MustAbort`](TransactionError::MustAbort).
    ///
    /// ```
    /// use annals::{ProducerConfig, Store, StoreConfig, TopicConfig};
    ///
    /// let store = Store::in_memory(StoreConfig::default())?;
    /// let topic = store.create_topic("transfers", TopicConfig::default().partitions(2))?;
    /// let producer = store.producer(ProducerConfig::default().transactional_id("bank-1"))?;
    ///
    /// producer.transaction(|tx| {
    ///     tx.send(annals::ProducerRecord::new("transfers", "ada -5").partition(0))?;
    ///     tx.send(annals::ProducerRecord::new("transfers", "bob +5").partition(1))
    /// })?;
    /// let failed: Result<(), Box<dyn std::error::Error>> = producer.transaction(|tx| {
    ///     tx.send(("transfers", "eve -9"))?;
    ///     Err("eve has not got 9".into())
    /// });
    /// assert!(failed.is_err());
    /// let stored: u64 = topic.partitions().iter().map(|log| log.offsets().end).sum();
    /// assert_eq!(stored, 4); // two records, and a marker in each partition
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - The error of `work`.
    /// - As [`init_transactions`](Self::init_transactions) and
    ///   [`begin_transaction`](Self::begin_transaction); nothing was sent.
    /// - As [`commit_transaction`](Self::commit_transaction). The transaction is aborted: if the
    ///   kind is [`Abortable`](crate::ErrorKind::Abortable), or the error is
    ///   [retryable](Error::is_retryable), call `transaction` again. With a committed transaction
    ///   that cannot be [completed](TransactionError::Completing) yet, the call succeeds; the next
    ///   transaction waits for that.
    pub fn transaction<T, E: From<Error>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.init_transactions()?;
        self.begin_transaction()?;
        let mut transaction = Transaction { producer: self, is_ended: false };
        let done = work(&transaction)?;
        match self.commit_transaction() {
            Err(Error::Transaction(error)) if is_committed(&error) => {}
            committed => committed?,
        }
        transaction.is_ended = true;
        Ok(done)
    }
}

fn is_committed(error: &TransactionError) -> bool {
    matches!(error, TransactionError::Completing { decision: "committed", .. })
}

/// The open transaction of [`Producer::transaction`], which has an example.
///
/// Threads that the closure waits for may use it as well.
#[derive(Debug)]
pub struct Transaction<'a> {
    producer: &'a Producer,
    is_ended: bool,
}

impl Transaction<'_> {
    /// Sends a record in the transaction, as [`Producer::send`] does.
    ///
    /// # Errors
    ///
    /// As [`Producer::send`]. [`Error::Transaction`] with
    /// [`MustAbort`](TransactionError::MustAbort), [`Expired`](TransactionError::Expired) or
    /// [`Fenced`](TransactionError::Fenced), if an earlier record failed.
    #[inline]
    pub fn send(&self, record: impl Into<ProducerRecord>) -> Result<SendHandle> {
        self.producer.send(record)
    }

    /// Sends a record, and calls `callback` with its result, as [`Producer::send_with_callback`]
    /// does. The result tells whether the record is written, and not whether the transaction is
    /// committed.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_with_callback(
        &self,
        record: impl Into<ProducerRecord>,
        callback: impl FnOnce(Result<&RecordMetadata, &Error>) + Send + 'static,
    ) -> Result<SendHandle> {
        let callback: Callback = Box::new(callback);
        self.producer.handle.inner.send(record.into(), Some(callback))
    }

    /// Adds the positions of a consumer to the transaction, as
    /// [`Producer::send_offsets_to_transaction`] does.
    ///
    /// # Errors
    ///
    /// As [`Producer::send_offsets_to_transaction`].
    pub fn send_offsets(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, impl Into<OffsetAndMetadata>)>,
        group: &ConsumerGroupMetadata,
    ) -> Result<()> {
        self.producer.send_offsets_to_transaction(offsets, group)
    }

    /// Returns the producer, for its other ways to send. Everything that it sends is in the
    /// transaction.
    #[must_use]
    pub fn producer(&self) -> &Producer {
        self.producer
    }
}

/// Aborts the transaction unless it is committed, also while a panic unwinds.
impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.is_ended {
            // An abort that fails is repeated by the next call, or done by the store.
            callback::call(|| self.producer.abort_transaction().ok()).ok();
        }
    }
}
