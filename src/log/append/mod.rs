//! Appending a batch.
//!
//! 1. Without a lock: encode the records, or validate a batch that was encoded elsewhere and
//!    compress it with the codec of the log, if that is another one. Check the size.
//! 2. Take the writer lock. If it is taken, or batches are queued, a small batch is queued for the
//!    next thread that gets the lock: see [`group`].
//! 3. Check the producer. A batch that is stored already returns its offsets, and writes nothing.
//! 4. Read the clock for the append time, if the log uses append times.
//! 5. [Roll](roll) if the segment has no room for the batch, or is too old.
//! 6. Stamp the leader epoch and the offsets, write the batch with one call, add index entries,
//!    record the producer.
//! 7. If the batch opens a transaction, lower the last stable offset to its start. Publish the
//!    bytes of the segment, then the end of the log: from here on, readers see the batch. Store a
//!    [snapshot](producers) of the producers, if one is due.
//! 8. Release the lock. Then wake the waiters, deliver the events, and flush if that is due.
//!
//! A [marker] takes the same way, and raises the last stable offset at the end of it. So do the
//! offsets that a group commits [in a transaction](offsets). What another replica wrote is
//! [appended as it is](replicate).

pub(crate) mod group;
pub(crate) mod leader_epoch;
pub(crate) mod marker;
mod offsets;
pub(crate) mod producers;
pub(crate) mod replicate;
pub(crate) mod roll;

use crate::error::{Error, InvalidBatch, Result};
use crate::fs::WhenFull;
use crate::log::config::FOREVER;
use crate::log::inner::LogInner;
use crate::log::state::appended::Appended;
use crate::log::state::writer::Writer;
use crate::producer_state::{Origin, VerificationGuard};
use crate::record::{
    AppendRules, BatchBuilder, BatchHeader, BatchRef, Compression, DecodeBuffer, Record,
    RecordBatch, check_header, stamp_append_time, stamp_base_offset, stamp_create_time,
    stamp_leader_epoch, stamp_max_timestamp, validate_for_append,
};
use crate::segment::active::AppendFailure;
use crate::sync::MutexGuard;
use crate::types::{MAX_OFFSET, Offset, Timestamp, TimestampType};
use std::cell::Cell;

/// Removes the append time of another log, as Kafka does: this log's append time, or the
/// producer's timestamps, take its place.
fn with_create_time(batch: RecordBatch) -> Result<RecordBatch> {
    if batch.header().timestamp_type() == TimestampType::CreateTime {
        return Ok(batch);
    }
    batch.as_batch_ref().verify_checksum()?;
    let mut own = batch.into_bytes().to_vec();
    stamp_create_time(&mut own)?;
    Ok(RecordBatch::parse_unverified(own.into())?)
}

// While a thread's locals are destroyed, an append does without them.
crate::sync::thread_local! {
    /// A builder for appends of records, kept for its memory. Taken while in use, because an
    /// iterator of records may itself append to a log.
    static BUILDER: Cell<Option<Box<BatchBuilder>>> = const { Cell::new(None) };
    /// A buffer for reading compressed batches, kept in the same way.
    static SCRATCH: Cell<Option<Box<DecodeBuffer>>> = const { Cell::new(None) };
}

/// Memory kept from one append to the next goes back to the system above this size.
const KEPT_BYTES: usize = 4 << 20;

impl LogInner {
    /// Encodes records as one batch and appends it.
    pub(crate) fn append_records(
        &self,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<Appended> {
        self.append_encoding(|builder, now| {
            for record in records {
                builder.push_record(&record, now)?;
                // An endless iterator must not allocate without end.
                if self.dynamic.compression().is_none() {
                    self.check_size(builder.size_bytes() as u64)?;
                }
            }
            Ok(())
        })
    }

    /// Encodes one record as a batch and appends it.
    pub(crate) fn append_record(&self, record: &Record) -> Result<Appended> {
        self.append_encoding(|builder, now| builder.push_record(record, now))
    }

    #[inline(always)]
    fn append_encoding(
        &self,
        encode: impl FnOnce(&mut BatchBuilder, Timestamp) -> Result<()>,
    ) -> Result<Appended> {
        self.state.check_writable()?;
        let mut builder = BUILDER.try_with(Cell::take).ok().flatten().unwrap_or_default();
        // The builder may come from an append to a log that compresses.
        builder.compression(self.dynamic.compression().unwrap_or(Compression::None));
        let now = self.clock().now();
        let appended =
            encode(&mut builder, now).and_then(|()| self.append_built(&mut builder, now));
        if builder.size_bytes() <= KEPT_BYTES {
            builder.clear();
            BUILDER.try_with(|kept| kept.set(Some(builder))).ok();
        }
        appended
    }

    /// Appends the content of a builder.
    pub(crate) fn append_builder(&self, builder: &mut BatchBuilder) -> Result<Appended> {
        self.state.check_writable()?;
        self.append_built(builder, self.clock().now())
    }

    /// Appends the content of a builder. The caller reads the clock, once for each append: reading
    /// it is a few percent of the append of one record.
    fn append_built(&self, builder: &mut BatchBuilder, now: Timestamp) -> Result<Appended> {
        if builder.is_empty() {
            return Ok(self.nothing_appended());
        }
        let (batch, header) = self.finish(builder, now)?;
        self.append_encoded(batch, header, None)
    }

    /// Appends the content of a builder, which the guard permits to open a transaction.
    pub(crate) fn append_builder_verified(
        &self,
        builder: &mut BatchBuilder,
        guard: VerificationGuard,
    ) -> Result<Appended> {
        self.state.check_writable()?;
        let (batch, header) = self.finish(builder, self.clock().now())?;
        self.append_encoded(batch, header, Some(guard))
    }

    /// Encodes the content of a builder, checked as the log requires.
    #[inline(always)]
    fn finish<'a>(
        &self,
        builder: &'a mut BatchBuilder,
        now: Timestamp,
    ) -> Result<(&'a mut [u8], BatchHeader)> {
        if let Some(compression) = self.dynamic.compression() {
            builder.compression(compression);
        }
        builder.check_records(&self.rules(now)).map_err(|error| self.named(error))?;
        let (batch, header) = builder.finish_with_header()?;
        check_header(&header)?;
        Ok((batch, header))
    }

    /// Appends a batch that was encoded elsewhere, after validating it as a leader does. A guard
    /// permits it to open a transaction.
    pub(crate) fn append_batch(
        &self,
        batch: RecordBatch,
        guard: Option<VerificationGuard>,
    ) -> Result<Appended> {
        self.state.check_writable()?;
        let batch = with_create_time(batch)?;
        let header = *batch.header();
        let limit = self.config.max_decompressed_bytes;
        let mut scratch = SCRATCH
            .try_with(Cell::take)
            .ok()
            .flatten()
            .filter(|scratch| scratch.limit_bytes() == limit)
            .unwrap_or_else(|| Box::new(DecodeBuffer::new(limit)));
        let rules = self.rules(self.clock().now());
        let checked = validate_for_append(batch.as_batch_ref(), &rules, &mut scratch);
        SCRATCH.try_with(|kept| kept.set(Some(scratch))).ok();
        let checked = checked.map_err(|error| self.named(error))?;
        // Read the option once, because it may be altered meanwhile.
        let recompress = self
            .dynamic
            .compression()
            .filter(|wanted| wanted.codec() != header.codec() && header.codec().is_available());
        if let Some(compression) = recompress {
            let mut rebuilt = self.reencode(batch.as_batch_ref(), compression)?;
            let header = BatchHeader::parse(&rebuilt)?;
            return self.append_encoded(&mut rebuilt, header, guard);
        }
        let max = (checked.records_checked && rules.timestamp_type == TimestampType::CreateTime)
            .then_some(checked.max_timestamp);
        // The caller may keep a clone, which must not change.
        match batch.into_bytes().try_into_mut() {
            Ok(mut own) => self.append_corrected(&mut own, header, max, guard),
            Err(shared) => self.append_corrected(&mut shared.to_vec(), header, max, guard),
        }
    }

    /// Appends a batch after setting its largest timestamp from its records, because some clients
    /// leave that out.
    fn append_corrected(
        &self,
        batch: &mut [u8],
        mut header: BatchHeader,
        max: Option<Timestamp>,
        guard: Option<VerificationGuard>,
    ) -> Result<Appended> {
        if let Some(max) = max.filter(|max| *max != header.max_timestamp) {
            stamp_max_timestamp(batch, max)?;
            header = BatchHeader::parse(batch)?;
        }
        self.append_encoded(batch, header, guard)
    }

    /// Returns a batch with the same records and producer fields and another codec.
    fn reencode(&self, batch: BatchRef<'_>, compression: Compression) -> Result<Vec<u8>> {
        let header = batch.header();
        let mut builder = BatchBuilder::new();
        builder
            .compression(compression)
            .producer(header.producer_id, header.producer_epoch, header.base_sequence)
            .transactional(header.is_transactional());
        let mut scratch = DecodeBuffer::new(self.config.max_decompressed_bytes);
        for (delta, record) in (0..).zip(batch.records(&mut scratch)?) {
            builder.push_record_ref(delta, &record?)?;
        }
        builder.build_bytes()
    }

    #[inline(always)]
    pub(crate) fn rules(&self, now: Timestamp) -> AppendRules {
        self.dynamic.rules(now)
    }

    pub(crate) fn nothing_appended(&self) -> Appended {
        let end = self.state.end();
        Appended {
            first: end,
            last: end.saturating_sub(1),
            append_time: Timestamp::NONE,
            duplicate: false,
        }
    }

    /// Assigns offsets to a batch that is complete except for them, and writes it.
    #[inline(always)]
    fn append_encoded(
        &self,
        batch: &mut [u8],
        header: BatchHeader,
        guard: Option<VerificationGuard>,
    ) -> Result<Appended> {
        self.check_size(batch.len() as u64)?;

        if guard.is_some() {
            // Once for each transaction, so it need not wait with others.
            return self.append_holding(self.appends.writer.lock(), |writer| {
                self.append_checked(writer, batch, &header, guard)
            });
        }
        match self.appends.writer.try_lock() {
            Some(slot) if self.appends.queue.is_empty() => self.append_alone(slot, batch, &header),
            slot => self.append_or_queue(slot, batch, &header),
        }
    }

    /// Writes a batch with the writer lock held.
    #[inline(always)]
    pub(crate) fn append_alone(
        &self,
        slot: MutexGuard<'_, Option<Writer>>,
        batch: &mut [u8],
        header: &BatchHeader,
    ) -> Result<Appended> {
        self.append_holding(slot, |writer| self.append_locked(writer, batch, header))
    }

    /// Appends with the writer lock held, releases it, and does what is to be done without it.
    #[inline(always)]
    pub(crate) fn append_holding(
        &self,
        slot: MutexGuard<'_, Option<Writer>>,
        append: impl FnOnce(&mut Writer) -> Result<Appended>,
    ) -> Result<Appended> {
        let held = self.dir.events.hold_own();
        // Released before the events are delivered, also when user-supplied code panics.
        let mut slot = slot;
        let appended = self.append_under_lock(slot.as_mut(), append);
        let is_due = |writer: &mut Writer| self.flush_is_due(writer);
        let flush = appended.is_ok() && slot.as_mut().is_some_and(is_due);
        drop(slot);
        if appended.is_ok() {
            self.state.waiters.notify();
        }
        held.deliver();
        self.flush_if_due(appended?, flush)
    }

    /// Appends with the writer lock held.
    #[inline(always)]
    fn append_under_lock(
        &self,
        writer: Option<&mut Writer>,
        append: impl FnOnce(&mut Writer) -> Result<Appended>,
    ) -> Result<Appended> {
        self.state.check_writable()?;
        append(writer.ok_or_else(|| self.state.closed())?)
    }

    /// Flushes if `flush` says that the log's options require it after this append.
    #[inline(always)]
    pub(crate) fn flush_if_due(&self, appended: Appended, flush: bool) -> Result<Appended> {
        if flush {
            // A resent batch may lie far below the records to be flushed.
            let end = appended.last.saturating_add(1);
            self.flush_below(if appended.duplicate { self.state.end() } else { end })?;
        }
        Ok(appended)
    }

    #[inline(always)]
    fn check_size(&self, bytes: u64) -> Result<()> {
        let limit = self.dynamic.max_message_bytes();
        if bytes > limit {
            return Err(self.too_large(bytes, limit, "max_message_bytes"));
        }
        self.check_segment_size(bytes)
    }

    #[inline(always)]
    pub(crate) fn check_segment_size(&self, bytes: u64) -> Result<()> {
        let limit = self.dynamic.segment_bytes();
        if bytes > limit {
            return Err(self.too_large(bytes, limit, "segment_bytes"));
        }
        Ok(())
    }

    #[cold]
    fn named(&self, error: Error) -> Error {
        error.of_log(self.state.location())
    }

    #[cold]
    fn too_large(&self, bytes: u64, limit: u64, option: &'static str) -> Error {
        Error::BatchTooLarge { log: Some(self.state.location()), bytes, limit, option }
    }

    #[inline(always)]
    pub(crate) fn append_locked(
        &self,
        writer: &mut Writer,
        batch: &mut [u8],
        header: &BatchHeader,
    ) -> Result<Appended> {
        self.append_checked(writer, batch, header, None)
    }

    #[inline(always)]
    fn append_checked(
        &self,
        writer: &mut Writer,
        batch: &mut [u8],
        header: &BatchHeader,
        guard: Option<VerificationGuard>,
    ) -> Result<Appended> {
        if header.has_producer()
            && let Some(repeated) = self.check_producer(writer, header, Origin::Client, guard)?
        {
            return Ok(repeated);
        }
        self.append_next(writer, batch, header)
    }

    /// Appends a batch that is the next one of its producer.
    #[inline(always)]
    fn append_next(
        &self,
        writer: &mut Writer,
        batch: &mut [u8],
        header: &BatchHeader,
    ) -> Result<Appended> {
        let (appended, max_timestamp) = self.write_locked(writer, batch, header)?;
        if header.has_producer() {
            let header = BatchHeader { base_offset: appended.first, max_timestamp, ..*header };
            self.note_producer(writer, &header);
        }
        self.publish(writer, appended.last.saturating_add(1));
        self.store_producers_if_due(writer);
        Ok(appended)
    }

    /// Records the producer of a batch that was written and is not published yet.
    #[cold]
    fn note_producer(&self, writer: &mut Writer, header: &BatchHeader) {
        writer.tracked.note(header);
        if header.is_transactional() {
            // Before the end moves, so that a reader that sees the batch sees its open transaction.
            self.state.set_first_unstable(writer.tracked.first_unstable());
        }
    }

    /// Writes a batch to the end of the log, rolling before that if need be. It is not published.
    /// Returns its place and its largest timestamp.
    #[inline(always)]
    fn write_locked(
        &self,
        writer: &mut Writer,
        batch: &mut [u8],
        header: &BatchHeader,
    ) -> Result<(Appended, Timestamp)> {
        let first = self.state.end_for_writer();
        let delta = u64::try_from(header.last_offset_delta).unwrap_or(0);
        let last = first.saturating_add(delta);
        if last > MAX_OFFSET {
            return Err(InvalidBatch::RuleViolation("the log has no offsets left").into());
        }
        let bytes = batch.len() as u64;
        let mut append_time = Timestamp::NONE;
        let mut max_timestamp = header.max_timestamp;
        if self.dynamic.timestamp_type() == TimestampType::LogAppendTime {
            // Read the clock under the lock, or append times would not rise with offsets.
            append_time = self.clock().now();
            stamp_append_time(batch, append_time)?;
            max_timestamp = append_time;
        }
        if self.must_roll(writer, bytes, max_timestamp, last, 1) {
            self.roll_locked(writer, first, WhenFull::Fail)?;
        }
        if writer.leader_epoch != writer.assigned_epoch {
            self.assign_epoch(writer, first)?;
        }
        stamp_leader_epoch(batch, writer.leader_epoch)?;
        stamp_base_offset(batch, first)?;
        let written = self.poison_on_unwind("append to", || writer.log.append(batch));
        let position = written.map_err(|failure| self.not_appended(failure))?;
        if position == 0 {
            writer.first_timestamp = max_timestamp;
        }
        writer.cadence.note(&writer.indexes, position, bytes, last, max_timestamp);
        Ok((Appended { first, last, append_time, duplicate: false }, max_timestamp))
    }

    /// Stores a snapshot of the producers, if one is due.
    #[inline(always)]
    pub(crate) fn store_producers_if_due(&self, writer: &mut Writer) {
        if writer.tracked.is_due(writer.log.position()) {
            self.store_due_producers(writer);
        }
    }

    /// Stores a snapshot of the producers in the middle of a segment.
    #[cold]
    fn store_due_producers(&self, writer: &mut Writer) {
        let (segment, position) = (writer.segment.base, writer.log.position());
        self.store_producers(&mut writer.tracked, segment, position);
    }

    /// Checks that the batch is the next one of its producer; if it was stored before, returns its
    /// offsets.
    #[cold]
    fn check_producer(
        &self,
        writer: &mut Writer,
        header: &BatchHeader,
        origin: Origin,
        guard: Option<VerificationGuard>,
    ) -> Result<Option<Appended>> {
        let (now, after) = (self.clock().monotonic(), self.config.producer_id_expiration);
        let repeated = writer.tracked.check(header, origin, now, after)?;
        if repeated.is_none() && header.is_transactional() && self.config.transactions.verify {
            writer.tracked.check_verified(header, guard)?;
        }
        Ok(repeated.map(|seen| Appended {
            first: seen.first_offset,
            last: seen.last_offset,
            append_time: match self.dynamic.timestamp_type() {
                TimestampType::LogAppendTime => seen.timestamp,
                TimestampType::CreateTime => Timestamp::NONE,
            },
            duplicate: true,
        }))
    }

    #[cold]
    pub(crate) fn not_appended(&self, failure: AppendFailure) -> Error {
        if !failure.rolled_back {
            self.poison(&failure.error);
        }
        failure.error
    }

    /// Publishes the written records up to this offset to readers.
    #[inline(always)]
    pub(crate) fn publish(&self, writer: &Writer, end: Offset) {
        writer.segment.publish(writer.log.position(), writer.cadence.largest.0);
        self.state.set_end(end);
    }

    #[inline(always)]
    pub(crate) fn flush_is_due(&self, writer: &mut Writer) -> bool {
        if self.dynamic.flush_messages() == u64::MAX && self.dynamic.flush_interval() >= FOREVER {
            return false;
        }
        self.flush_is_due_now(writer)
    }

    #[cold]
    fn flush_is_due_now(&self, writer: &mut Writer) -> bool {
        let unflushed = self.state.end().saturating_sub(self.state.durable());
        let now = self.clock().monotonic();
        let due = unflushed >= self.dynamic.flush_messages()
            || now.saturating_sub(writer.flushed) >= self.dynamic.flush_interval();
        if due {
            writer.flushed = now;
        }
        due
    }
}
