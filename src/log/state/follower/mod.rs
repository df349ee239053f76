//! The files of a log that another process writes, as far as they have been read.
//!
//! Nothing is locked and nothing is changed. A batch that is half written does not read as a batch
//! yet, so the end of the log is the last batch whose checksum is right. An [anchor] shows whether
//! the log was truncated.

pub(crate) mod anchor;
pub(crate) mod open_txns;

use crate::error::{Error, Result};
use crate::fs::File;
use crate::log::files::listing::{Listing, end_of_replacement};
use crate::log::state::follower::anchor::{Anchor, KnownBatch, LastBatches};
use crate::log::state::follower::open_txns::OpenTxns;
use crate::record::BatchHeader;
use crate::segment::index::{IndexCadence, Indexes};
use crate::segment::name::{Kind, SegmentFile};
use crate::segment::recovered::{Recovered, RecoveryObserver as _};
use crate::segment::scan::{BatchStream, Step};
use crate::segment::txn_index::TxnIndex;
use crate::segment::{Segment, SegmentDir};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64};
use crate::types::Offset;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// The part of a read-only log that follows what its writer does.
pub(crate) struct Follow {
    /// The files seen so far. Held while they are looked at. `None` once the log is closed.
    pub(crate) files: Mutex<Option<Follower>>,
    /// Whether a thread looks at the files for waiting tails.
    pub(crate) watched: AtomicBool,
    /// Counts the failed looks of that thread. Each waiting tail then looks itself, and gets the
    /// error.
    pub(crate) failed_looks: AtomicU64,
}

impl Follow {
    pub(crate) fn new(follower: Follower) -> Follow {
        let (watched, failed_looks) = (AtomicBool::new(false), AtomicU64::new(0));
        Follow { files: Mutex::new(Some(follower)), watched, failed_looks }
    }
}

/// The known state of the files.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) segment: Arc<Segment>,
    /// Its file, which stays readable when its name is gone.
    file: Arc<dyn File>,
    indexes: Arc<Indexes>,
    cadence: IndexCadence,
    stream: BatchStream,
    /// The position up to which the last segment's file is known to hold batches.
    pub(crate) position: u64,
    pub(crate) end: Offset,
    /// The last batches, which show whether the log was truncated; none in a log without batches.
    pub(crate) anchor: Anchor,
    /// Counts the truncations that were noticed.
    pub(crate) truncations: u64,
    transactions: OpenTxns,
    /// The aborted transactions of the last segment.
    pub(crate) aborted: Arc<TxnIndex>,
    /// How many of them readers were told about.
    pub(crate) announced: usize,
    pub(crate) ends: ReplacementEnds,
    /// The files that do not belong to the log, and their lengths.
    pub(crate) strays: Vec<(SegmentFile, u64)>,
}

impl Follower {
    pub(crate) fn new(
        dir: &Arc<SegmentDir>,
        base: Offset,
        scan: Scan,
        transactions: OpenTxns,
        ends: ReplacementEnds,
    ) -> Result<Follower> {
        let Scan { found, last } = scan;
        let indexes = Arc::new(found.indexes);
        let largest = found.cadence.largest.0;
        let file = dir.open_log(base)?;
        let segment = Arc::new(Segment::active(
            Arc::clone(dir),
            base,
            &file,
            found.valid_bytes,
            largest,
            Arc::clone(&indexes),
        ));
        let mut anchor = Anchor::default();
        for &(position, header) in last.iter() {
            anchor.push(KnownBatch { segment: Arc::clone(&segment), position, header });
        }
        let mut follower = Follower {
            aborted: segment.aborted()?,
            announced: 0,
            stream: BatchStream::new(Arc::clone(&file), found.valid_bytes, found.end),
            segment,
            file,
            indexes,
            cadence: found.cadence,
            position: found.valid_bytes,
            end: found.end,
            anchor,
            truncations: 0,
            transactions,
            ends,
            strays: Vec::new(),
        };
        follower.add_aborted();
        Ok(follower)
    }

    /// Adds the aborted transactions that were found to the index of the last segment.
    fn add_aborted(&mut self) {
        self.transactions.take_aborted().into_iter().for_each(|one| self.aborted.push(one));
    }

    /// Returns the start of the earliest transaction that is open, or that not all replicas know
    /// as completed.
    pub(crate) fn first_unstable(&self) -> Option<Offset> {
        self.transactions.first_unstable()
    }

    /// Sets the high watermark of a replicated log.
    pub(crate) fn set_high_watermark(&mut self, offset: Offset) {
        self.transactions.set_high_watermark(offset);
    }

    /// Adds the batches that were appended to the last segment. Returns false if the log was
    /// truncated meanwhile; then nothing that was read in the last step was added.
    ///
    /// While the segment has no records, another file that has got its name looks the same. So the
    /// file is opened anew. If it has more batches, the segment becomes a new one, because readers
    /// may hold the old file.
    pub(crate) fn take_new_batches(&mut self) -> Result<bool> {
        let mut is_anew = !self.anchor.has_records_in(&self.segment);
        if is_anew {
            self.file = match self.segment.open_file() {
                Err(error) if error.is_not_found() => return Ok(false),
                opened => opened?,
            };
        }
        let path = self.segment.path(Kind::Log);
        let fail = |error| Error::io("read", &path, error);
        let bytes = self.file.len().map_err(fail)?;
        self.stream.seek(Arc::clone(&self.file), self.position, self.end);
        let mut fills = self.stream.fills();
        loop {
            let step = match self.stream.advance(bytes, Offset::MAX) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                step => step.map_err(fail)?,
            };
            let was_read = std::mem::replace(&mut fills, self.stream.fills()) != fills;
            let ends = !matches!(step, Step::Batch(_));
            if (was_read || ends) && !self.is_unchanged()? {
                return Ok(false);
            }
            let Step::Batch(header) = step else { break };
            let (at, size) = (self.stream.position(), header.size_bytes() as u64);
            let (last, time) = (header.last_offset(), header.max_timestamp);
            self.cadence.note(&self.indexes, at, size, last, time);
            if let Some(batch) = self.stream.batch()
                && self.transactions.batch(&batch).is_err()
            {
                // The marker in it cannot be read. A read of the batch reports the damage.
                break;
            }
            if std::mem::take(&mut is_anew) {
                self.segment = Arc::new(self.segment.with_file(&self.file, &self.indexes));
            }
            self.add_aborted();
            self.position = at.saturating_add(size);
            self.end = header.next_offset();
            let segment = Arc::clone(&self.segment);
            self.anchor.push(KnownBatch { segment, position: at, header });
        }
        self.segment.publish(self.position, self.cadence.largest.0);
        Ok(true)
    }

    /// Returns whether everything that is known of the log is still in it.
    fn is_unchanged(&self) -> Result<bool> {
        Ok(self.anchor.lost()?.is_empty())
    }
}

/// The ends of the replacements that are not in place yet. Each was read whole to find its end. A
/// writer that died leaves them there until the log is opened for writing.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReplacementEnds(BTreeMap<(SegmentFile, u64), Offset>);

impl ReplacementEnds {
    pub(crate) fn of(&mut self, dir: &SegmentDir, file: SegmentFile, len: u64) -> Result<Offset> {
        if let Some(end) = self.0.get(&(file, len)) {
            return Ok(*end);
        }
        let end = end_of_replacement(dir, file)?;
        self.0.insert((file, len), end);
        Ok(end)
    }

    /// Forgets the replacements that are gone.
    pub(crate) fn retain(&mut self, listing: &Listing) {
        self.0.retain(|known, _| listing.replacements().any(|there| there == *known));
    }
}

/// The result of a scan of the last segment, and its last batches with their positions.
pub(crate) struct Scan {
    pub(crate) found: Recovered,
    pub(crate) last: LastBatches<(u64, BatchHeader)>,
}
