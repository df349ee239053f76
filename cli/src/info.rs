//! `info`: the log at a glance.

use crate::args::DirArgs;
use crate::dump::Problem;
use crate::failure::{DAMAGED, Failure, warn};
use crate::holes::holes;
use crate::output::Output;
use crate::salvage::{Salvage, start_of};
use crate::scan::{Transactions, marker};
use crate::verify::{segment_file, segments as segment_bases};
use annals::fs::DiskFs;
use annals::inspect::{self, BatchScanner, OffsetEntries, ScanItem, ScannedBatch, TimeEntries};
use annals::{Error, Log, LogConfig, Offset, ProducerId, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// The largest control batch that is read; a larger one holds no marker.
const MARKER_BYTES: u64 = 64 << 10;

#[derive(Serialize)]
struct Info {
    start: Offset,
    end: Offset,
    durable: Offset,
    high_watermark: Offset,
    last_stable: Offset,
    segments: Vec<SegmentLine>,
    bytes: u64,
    producers: Vec<Producer>,
    /// Whether the log was closed cleanly, and not opened for writing since.
    clean: bool,
    recovery_point: Option<Offset>,
    /// The bytes that opening the log for writing would truncate.
    torn_bytes: u64,
    /// The damage; `verify` reports more.
    damaged: Option<Problem>,
}

#[derive(Serialize)]
struct SegmentLine {
    base_offset: Offset,
    bytes: u64,
    first_offset: Option<Offset>,
    last_offset: Option<Offset>,
    first_timestamp: Option<i64>,
    last_timestamp: Option<i64>,
    largest_timestamp: i64,
    offset_index_entries: usize,
    time_index_entries: usize,
}

#[derive(Serialize)]
struct Producer {
    producer_id: ProducerId,
    producer_epoch: i16,
    last_sequence: i32,
    last_offset: i64,
    last_timestamp: i64,
    current_txn_first_offset: i64,
}

pub fn run(args: &DirArgs, output: &mut Output) -> Result<ExitCode, Failure> {
    let (start, end, damaged) = match Log::open_read_only(&args.dir, LogConfig::default()) {
        Ok(log) => {
            let found = holes(&args.dir, &log)?;
            found.iter().for_each(|hole| warn(&hole.to_string()));
            (log.offsets().start, log.offsets().end, found.first().map(Problem::from))
        }
        Err(Error::Corrupt(damage)) => {
            warn(&format!("{damage}; `annals read` prints what is sound around it"));
            let start = start_of(&args.dir);
            let mut batches = Salvage::from(&args.dir, start)?.quiet();
            while batches.next_batch()?.is_some() {}
            (start, batches.offset(), Some(Problem::from(&*damage)))
        }
        Err(error) => return Err(error.into()),
    };
    let mut survey = Survey::default();
    let mut segments = Vec::new();
    let mut torn_bytes = 0;
    for base in segment_bases(&args.dir)? {
        let (line, torn) = survey.segment(&args.dir, base, end)?;
        segments.push(line);
        torn_bytes = if damaged.is_some() { 0 } else { torn };
    }
    let clean = exists(inspect::shutdown_marker(&DiskFs, &args.dir.join(".kafka_cleanshutdown")))?
        .is_some();
    let checkpoint = |name: &str| {
        let entries = exists(inspect::offset_checkpoint(&DiskFs, &args.dir.join(name)))?;
        Ok::<_, Failure>(entries.and_then(|entries| Some(entries.first()?.offset)))
    };
    let recovery_point = checkpoint("recovery-point-offset-checkpoint")?;
    let high_watermark = checkpoint("replication-offset-checkpoint")?.unwrap_or(end);
    let durable = recovery_point.unwrap_or(start);
    let code = if damaged.is_some() { ExitCode::from(DAMAGED) } else { ExitCode::SUCCESS };
    output.json(&Info {
        start,
        end,
        durable: if clean { end } else { durable.clamp(start.min(end), end) },
        high_watermark: high_watermark.clamp(start.min(end), end),
        last_stable: survey.transactions.last_stable(end),
        bytes: segments.iter().map(|segment| segment.bytes).sum(),
        segments,
        producers: survey.producers(),
        clean,
        recovery_point,
        torn_bytes,
        damaged,
    })?;
    Ok(code)
}

/// Returns `None` if the file is missing or malformed, as a log then ignores it, too.
fn exists<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Corrupt(_)) => Ok(None),
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Counts the entries of an index; a missing file has none.
fn count<T>(
    entries: Result<impl Iterator<Item = Result<T, Error>>, Error>,
) -> Result<usize, Error> {
    let mut count = 0usize;
    for entry in exists(entries)?.into_iter().flatten() {
        if exists(entry)?.is_some() {
            count = count.saturating_add(1);
        }
    }
    Ok(count)
}

/// The facts that the headers of all batches hold.
#[derive(Default)]
struct Survey {
    transactions: Transactions,
    producers: BTreeMap<ProducerId, Producer>,
}

impl Survey {
    fn segment(
        &mut self,
        dir: &Path,
        base_offset: Offset,
        end: Offset,
    ) -> Result<(SegmentLine, u64), Failure> {
        let file = |extension| segment_file(dir, base_offset, extension);
        let mut line = SegmentLine {
            base_offset,
            bytes: 0,
            first_offset: None,
            last_offset: None,
            first_timestamp: None,
            last_timestamp: None,
            largest_timestamp: Timestamp::NONE.as_millis(),
            offset_index_entries: count(OffsetEntries::open(&DiskFs, &file("index")))?,
            time_index_entries: count(TimeEntries::open(&DiskFs, &file("timeindex")))?,
        };
        let mut batches = BatchScanner::open(&DiskFs, &file("log"))?.headers_only();
        while let Some(piece) = batches.next().transpose()? {
            let ScanItem::Batch(found) = piece else { continue };
            let header = &found.header;
            if header.base_offset >= end {
                break;
            }
            line.bytes = found.position.saturating_add(header.size_bytes() as u64);
            line.first_offset.get_or_insert(header.base_offset);
            line.last_offset = Some(header.last_offset());
            line.first_timestamp.get_or_insert(header.base_timestamp.as_millis());
            line.last_timestamp = Some(header.max_timestamp.as_millis());
            line.largest_timestamp = line.largest_timestamp.max(header.max_timestamp.as_millis());
            self.note(&batches, &found);
        }
        let torn = batches.file_bytes().saturating_sub(line.bytes);
        Ok((line, torn))
    }

    fn note(&mut self, batches: &BatchScanner, found: &ScannedBatch) {
        let header = &found.header;
        self.transactions.note_data(header);
        if header.is_control() {
            // A marker that cannot be decoded ends no transaction, as for a reader.
            let batch = batches.read(found, MARKER_BYTES);
            if let Ok(Some(control)) = batch.and_then(|batch| marker(&batch)) {
                self.transactions.note_marker(header, control.control_type);
            }
        }
        if !header.has_producer() {
            return;
        }
        let producer = self.producers.entry(header.producer_id).or_insert(Producer {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            last_sequence: -1,
            last_offset: -1,
            last_timestamp: -1,
            current_txn_first_offset: -1,
        });
        producer.producer_epoch = header.producer_epoch;
        producer.last_timestamp = header.max_timestamp.as_millis();
        if !header.is_control() {
            producer.last_sequence = header.last_sequence();
            producer.last_offset = header.last_offset().cast_signed();
        }
    }

    fn producers(self) -> Vec<Producer> {
        let open = &self.transactions;
        let since = |id| open.open_since(id).map_or(-1, Offset::cast_signed);
        self.producers
            .into_values()
            .map(|producer| Producer {
                current_txn_first_offset: since(producer.producer_id),
                ..producer
            })
            .collect()
    }
}
