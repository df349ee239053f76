//! Splitting a batch that its log rejects as too large, because the limit was lowered while the
//! batch waited. Kafka: KIP-126.
//!
//! The parts share the outcome of the batch, because the handles of its records point there. The
//! outcome is known once the results of all parts are known.

use crate::client::producer::batch::{Batch, RECORD_OVERHEAD_BYTES};
use crate::client::producer::callbacks::Pending;
use crate::client::producer::outcome::Part;
use crate::error::Result;
use crate::record::{BatchBuilder, RecordRef};
use std::sync::Arc;

/// Returns the largest size of a record in any batch.
fn size_of(record: &RecordRef<'_>) -> usize {
    let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let content = length(record.key).saturating_add(length(record.value));
    let headers = record.headers.encoded().len();
    content.saturating_add(headers).saturating_add(RECORD_OVERHEAD_BYTES as usize)
}

impl Batch {
    /// Splits the batch into at least two, in order. Each is at most `limit` bytes large unless it
    /// has a single record. Records keep their timestamps. A batch of one record is returned as it
    /// is.
    pub(super) fn split(
        mut self,
        limit: usize,
        mut spare: impl FnMut() -> BatchBuilder,
    ) -> Vec<Batch> {
        match self.split_records(limit, &mut spare) {
            Ok(builders) if builders.len() > 1 => self.into_parts(builders),
            _ => vec![self],
        }
    }

    fn split_records(
        &mut self,
        limit: usize,
        spare: &mut impl FnMut() -> BatchBuilder,
    ) -> Result<Vec<BatchBuilder>> {
        // The log has rejected the batch even if it seems small enough: halve it then.
        let fits = self.builder.size_bytes() <= limit;
        let most = if fits { self.builder.len().div_ceil(2) } else { usize::MAX };
        let mut parts = vec![spare()];
        for record in self.builder.records()? {
            let record = record?;
            let is_full = parts.last().is_none_or(|part| {
                let size = part.size_bytes().saturating_add(size_of(&record));
                !part.is_empty() && (size > limit || part.len() >= most)
            });
            if is_full {
                parts.push(spare());
            }
            if let Some(part) = parts.last_mut() {
                part.push_record_ref(i32::try_from(part.len()).unwrap_or(i32::MAX), &record)?;
            }
        }
        Ok(parts)
    }

    fn into_parts(self, builders: Vec<BatchBuilder>) -> Vec<Batch> {
        let total = self.part.map_or(self.builder.len() as u32, |part| part.total);
        let mut first = self.part.map_or(0, |part| part.first);
        let mut before = 0u32;
        let mut pending = self.pending.into_iter().peekable();
        let mut parts = Vec::with_capacity(builders.len());
        for builder in builders {
            let records = builder.len() as u32;
            let end = before.saturating_add(records);
            let mut own = Vec::new();
            while let Some(one) = pending.next_if(|one| one.index < end) {
                own.push(Pending { index: one.index.saturating_sub(before), ..one });
            }
            parts.push(Batch {
                builder,
                outcome: Arc::clone(&self.outcome),
                log: self.log.clone(),
                reserved: 0,
                part: Some(Part { first, total }),
                pending: own,
                ..self
            });
            (before, first) = (end, first.saturating_add(records));
        }
        // The bytes in the buffer are released with the last part.
        if let Some(last) = parts.last_mut() {
            last.reserved = self.reserved;
        }
        parts
    }
}
