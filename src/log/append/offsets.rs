//! Appending the offsets that a group commits in a transaction.
//!
//! The coordinator of the groups appends them for the producer of the transaction. It does not
//! count batches: each begins at sequence number 0, whichever it is. So a batch is never a
//! duplicate, and none is missing. All other checks apply: the epoch, and on a log that verifies
//! transactions, the permission to open one.

use crate::error::Result;
use crate::log::inner::LogInner;
use crate::log::state::appended::Appended;
use crate::producer_state::{Origin, VerificationGuard};
use crate::record::BatchBuilder;

impl LogInner {
    /// Appends the content of a builder for the producer that it names.
    pub(crate) fn append_from_coordinator(
        &self,
        builder: &mut BatchBuilder,
        guard: VerificationGuard,
    ) -> Result<Appended> {
        self.state.check_writable()?;
        let (batch, header) = self.finish(builder, self.clock().now())?;
        self.check_size(batch.len() as u64)?;
        self.append_holding(self.appends.writer.lock(), |writer| {
            self.check_producer(writer, &header, Origin::Coordinator, Some(guard))?;
            self.append_next(writer, batch, &header)
        })
    }
}
