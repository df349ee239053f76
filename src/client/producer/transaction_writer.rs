//! Appending the batches of a transaction.
//!
//! The first batch of a transaction in a partition needs the coordinator, which adds the partition
//! to the transaction, and a permission of the log. A batch that fails for good makes the
//! transaction fail: no later batch is written under other numbers.

use crate::callback;
use crate::client::producer::batch::Batch;
use crate::client::producer::sequence::SequenceState;
use crate::client::producer::transaction_manager::TransactionManager;
use crate::client::producer::writer::{BatchWriter, listener_panicked};
use crate::error::{Error, ProduceError, ProducerStateError, Result};
use crate::log::Appended;

impl BatchWriter<'_> {
    /// Appends a batch under the next numbers of the open transaction. No lock is held.
    #[cold]
    pub(super) fn append_in_transaction(
        &self,
        transactions: &TransactionManager,
        batch: &mut Batch,
        sequence: &mut SequenceState,
    ) -> Result<Appended> {
        let number = batch.transaction;
        let who = transactions.writer(number).ok_or(ProduceError::TransactionAborted)?;
        sequence.continue_as(who);
        let records = batch.builder.len();
        let at = self.queue.topic_partition();
        let (mut asked_again, mut in_doubt) = (false, false);
        loop {
            sequence.stamp(&mut batch.builder);
            batch.builder.transactional(true);
            let (log, builder) = (&batch.log, &mut batch.builder);
            let appended = callback::call(|| {
                if !sequence.is_at_start() {
                    return log.append_builder(builder);
                }
                let guard = transactions.admit(number, &at, log)?;
                log.append_builder_verified(builder, guard)
            });
            match appended {
                Ok(Ok(appended)) => {
                    sequence.advance(records);
                    return Ok(appended);
                }
                // The partition was reopened or created anew since the permission.
                Ok(Err(Error::Producer(ProducerStateError::NotInTransaction { .. })))
                    if !asked_again =>
                {
                    transactions.dismiss(&at);
                    asked_again = true;
                }
                Ok(Err(error)) => return Err(transactions.explain(number, &at, error)),
                // A listener panicked, before or after the batch was written. If it was written,
                // the log knows its numbers.
                Err(_) if !in_doubt => in_doubt = true,
                Err(_) => return Err(listener_panicked("append to", &batch.topic())),
            }
        }
    }
}
