//! The state that all parts of a producer share: options, clock, buffer, flags, counters. It does
//! not know the queues and topics.

use crate::callback;
use crate::client::producer::buffer::Buffer;
use crate::client::producer::config::{Acks, ProducerConfig};
use crate::client::producer::sender_thread::SenderThread;
use crate::client::producer::sequence::SequenceState;
use crate::client::producer::transaction_manager::TransactionManager;
use crate::clock::Clock;
use crate::error::Result;
use crate::event::Event;
use crate::record::BatchBuilder;
use crate::store::topics::Store;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::types::FIRST_STORE_PRODUCER_ID;
use std::sync::Arc;

/// The number of spare builders that are kept.
const SPARES: usize = 16;
/// The memory that a spare builder may hold.
const SPARE_BYTES: usize = 1 << 20;

/// The part of a producer that does not know its queues and topics.
pub(super) struct ProducerContext {
    pub(super) store: Store,
    pub(super) config: ProducerConfig,
    clock: Arc<dyn Clock>,
    pub(super) buffer: Buffer,
    pub(super) sender_thread: SenderThread,
    /// The first epoch and sequence number for a new partition.
    pub(super) first_sequence: SequenceState,
    /// The seed for the choice of partitions. It differs for each producer.
    pub(super) seed: u64,
    /// Set while the list of queues is locked, so that no queue is added to it afterwards.
    closed: AtomicBool,
    /// Set when failed batches are no longer retried.
    aborted: AtomicBool,
    /// Builders that are kept for their memory. Leaf lock.
    spare_builders: Mutex<Vec<BatchBuilder>>,
    pub(super) counters: Counters,
    /// Set if the producer has a transactional id.
    pub(super) transactions: Option<TransactionManager>,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) records: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) errors: AtomicU64,
}

impl ProducerContext {
    pub(super) fn new(store: Store, config: ProducerConfig) -> Result<ProducerContext> {
        let id = store.new_producer_id()?;
        let clock = Arc::clone(store.clock());
        let transactions = TransactionManager::new(&config);
        // The numbers of a transactional producer come with each transaction.
        let is_numbered = config.idempotence && transactions.is_none();
        let first_sequence = if is_numbered { SequenceState::new(id) } else { SequenceState::NONE };
        Ok(ProducerContext {
            store,
            clock,
            buffer: Buffer::new(config.buffer_bytes),
            sender_thread: SenderThread::new(),
            first_sequence,
            seed: (id ^ FIRST_STORE_PRODUCER_ID).cast_unsigned().rotate_left(32),
            closed: AtomicBool::new(false),
            aborted: AtomicBool::new(false),
            spare_builders: Mutex::default(),
            counters: Counters::default(),
            transactions,
            config,
        })
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Returns whether a record counts as sent once it is accepted.
    pub(super) fn acks_none(&self) -> bool {
        self.config.acks == Acks::None
    }

    #[inline]
    pub(super) fn has_interceptors(&self) -> bool {
        !self.config.interceptors.is_empty()
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Closes the producer; returns false if it was closed already. The caller holds the lock of
    /// the list of queues.
    pub(super) fn set_closed(&self) -> bool {
        !self.closed.swap(true, Ordering::AcqRel)
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Acquire)
    }

    pub(super) fn set_aborted(&self) {
        self.aborted.store(true, Ordering::Release);
    }

    /// Returns the part of the buffer that a batch takes whose first record has this size.
    pub(super) fn reservation(&self, size: u64) -> u64 {
        size.max(self.config.batch_bytes as u64)
    }

    /// Calls the listener of the store. If it panics, the event counts as delivered.
    pub(super) fn emit(&self, event: &Event) {
        callback::call(|| self.store.events().emit(event)).ok();
    }

    pub(super) fn spare_builder(&self) -> BatchBuilder {
        self.spare_builders.lock().pop().unwrap_or_default()
    }

    /// Keeps a builder for a later batch, unless it holds too much memory.
    pub(super) fn keep_builder(&self, mut builder: BatchBuilder) {
        if builder.size_bytes() <= SPARE_BYTES {
            builder.clear();
            let mut spares = self.spare_builders.lock();
            if spares.len() < SPARES {
                spares.push(builder);
            }
        }
    }
}
