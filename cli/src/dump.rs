//! `dump`: the content of any file of a log directory.

use crate::args::DumpArgs;
use crate::failure::Failure;
use crate::json::Shown;
use crate::output::Output;
use crate::transaction_state::{TransactionLine, is_transaction_state};
use annals::fs::{DiskFs, EntryKind, Fs as _};
use annals::inspect::{self, BatchScanner, DamagedRange, FileKind, ScanItem, ScannedBatch};
use annals::record::{ControlRecord, DecodeBuffer, EndTxnMarker, RecordRef};
use annals::{Corruption, CorruptionKind, Error, InvalidBatch, Offset, TimestampType};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The largest batch that the tool decodes; no broker takes a larger one.
pub const MAX_BATCH_BYTES: u64 = 256 << 20;

/// A problem of a file, as `verify` prints it.
#[derive(Debug, Serialize)]
pub struct Problem {
    file: String,
    position: u64,
    offset: Option<Offset>,
    problem: String,
}

impl Problem {
    pub fn of_file(path: &Path, problem: impl Into<String>) -> Problem {
        Problem {
            file: path.display().to_string(),
            position: 0,
            offset: None,
            problem: problem.into(),
        }
    }

    pub fn path(&self) -> &Path {
        Path::new(&self.file)
    }

    /// Returns whether the file is derived from the log, and rebuilt if it is missing.
    pub fn is_of_derived_file(&self) -> bool {
        let extension = self.path().extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("index" | "timeindex" | "snapshot"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is damaged at byte {}: {}", self.file, self.position, self.problem)
    }
}

impl From<&Corruption> for Problem {
    fn from(found: &Corruption) -> Problem {
        Problem {
            file: found.path.display().to_string(),
            position: found.position,
            offset: found.offset,
            problem: found.reason.to_string(),
        }
    }
}

#[derive(Serialize)]
struct BatchLine {
    base_offset: u64,
    last_offset: u64,
    count: i32,
    position: u64,
    bytes: usize,
    crc: String,
    valid: bool,
    compression: &'static str,
    timestamp_type: &'static str,
    base_timestamp: i64,
    max_timestamp: i64,
    leader_epoch: i32,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    transactional: bool,
    control: bool,
}

impl From<&ScannedBatch> for BatchLine {
    fn from(found: &ScannedBatch) -> BatchLine {
        let header = &found.header;
        BatchLine {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            count: header.record_count,
            position: found.position,
            bytes: header.size_bytes(),
            crc: format!("{:08x}", header.crc),
            valid: found.checksum.is_ok(),
            compression: header.codec().name(),
            timestamp_type: match header.timestamp_type() {
                TimestampType::CreateTime => "create",
                TimestampType::LogAppendTime => "append",
            },
            base_timestamp: header.base_timestamp.as_millis(),
            max_timestamp: header.max_timestamp.as_millis(),
            leader_epoch: header.leader_epoch,
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            transactional: header.is_transactional(),
            control: header.is_control(),
        }
    }
}

#[derive(Serialize)]
struct DamagedLine {
    position: u64,
    bytes: u64,
    valid: bool,
    problem: String,
}

/// A control record and its content.
#[derive(Serialize)]
struct ControlLine<'a> {
    #[serde(flatten)]
    record: Shown<'a>,
    control: &'static str,
    coordinator_epoch: Option<i32>,
}

pub fn run(args: &DumpArgs, output: &mut Output) -> Result<(), Failure> {
    let mut files = Vec::new();
    let mut dump = Dump { args, output, refused: None, others: 0 };
    for path in &args.paths {
        match files_of(path) {
            Ok(found) => files.extend(found),
            Err(failure) => dump.refuse(failure)?,
        }
    }
    let several = files.len() > 1;
    for path in &files {
        if several {
            dump.output.json(&json!({ "file": path.display().to_string() }))?;
        }
        if let Err(failure) = dump.file(path) {
            dump.refuse(failure)?;
        }
    }
    match (dump.refused, dump.others) {
        (None, _) => Ok(()),
        (Some(message), 0) => Err(Failure::Refused(message)),
        (Some(message), others) => {
            Err(Failure::Refused(format!("{message} (and {others} more, see above)")))
        }
    }
}

/// Returns the file itself, or the files of a directory that belong to a log.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = match DiskFs.list(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Ok(vec![path.to_path_buf()]);
        }
        Err(error) => {
            let what = format!("open {}", path.display());
            return Err(Failure::Refused(format!("cannot {what}: {error}; check the path")));
        }
    };
    let files = entries.into_iter().filter(|entry| entry.kind == EntryKind::File);
    let mut files: Vec<PathBuf> = files
        .map(|entry| path.join(entry.name))
        .filter(|path| FileKind::of(path).is_some())
        .collect();
    files.sort();
    if files.is_empty() {
        let reason = "it holds no file of a log; give the directory of one partition";
        return Err(Failure::Refused(format!("{}: {reason}", path.display())));
    }
    Ok(files)
}

struct Dump<'a> {
    args: &'a DumpArgs,
    output: &'a mut Output,
    /// The first file or batch that could not be read, reported at the end.
    refused: Option<String>,
    others: u64,
}

impl Dump<'_> {
    /// Records what could not be read, so that the rest is still dumped.
    fn refuse(&mut self, failure: Failure) -> Result<(), Failure> {
        match failure {
            Failure::Refused(message) if self.refused.is_none() => self.refused = Some(message),
            Failure::Refused(_) => self.others = self.others.saturating_add(1),
            other => return Err(other),
        }
        Ok(())
    }

    fn problem(&mut self, found: &Corruption) -> Result<(), Failure> {
        self.output.json(&Problem::from(found))?;
        self.refuse(Failure::refused(Error::Corrupt(Box::new(found.clone())).to_string()))
    }

    fn file(&mut self, path: &Path) -> Result<(), Failure> {
        match FileKind::of(path) {
            Some(FileKind::Log) => self.log(path),
            Some(FileKind::OffsetIndex) => {
                for entry in inspect::OffsetEntries::open(&DiskFs, path)? {
                    let entry = entry?;
                    self.output
                        .json(&json!({ "offset": entry.offset, "position": entry.position }))?;
                }
                self.index(path)
            }
            Some(FileKind::TimeIndex) => {
                for entry in inspect::TimeEntries::open(&DiskFs, path)? {
                    let entry = entry?;
                    let timestamp = entry.timestamp.as_millis();
                    self.output.json(&json!({ "timestamp": timestamp, "offset": entry.offset }))?;
                }
                self.index(path)
            }
            Some(FileKind::TxnIndex) => self.transactions(path),
            Some(FileKind::Snapshot) => self.snapshot(path),
            Some(FileKind::Recent) => self.recent(path),
            Some(_) => self.small(path),
            None => {
                let known =
                    "give a .log, .index, .timeindex, .txnindex, .snapshot, .recent or checkpoint";
                let path = path.display();
                Err(Failure::Refused(format!("{path} is not a file of a log by its name; {known}")))
            }
        }
    }

    fn index(&mut self, path: &Path) -> Result<(), Failure> {
        if !self.args.deep {
            return Ok(());
        }
        let mut result = Ok(());
        let mut report = |found: Corruption| {
            if result.is_ok() {
                result = self.problem(&found);
            }
        };
        let checked = inspect::check_index(&DiskFs, path, &mut report);
        result?;
        Ok(checked?)
    }

    fn transactions(&mut self, path: &Path) -> Result<(), Failure> {
        for entry in inspect::TxnEntries::open(&DiskFs, path)? {
            let entry = entry?;
            self.output.json(&json!({
                "version": entry.version,
                "producer_id": entry.producer_id,
                "first_offset": entry.first_offset,
                "last_offset": entry.last_offset,
                "last_stable_offset": entry.last_stable_offset,
            }))?;
        }
        Ok(())
    }

    fn snapshot(&mut self, path: &Path) -> Result<(), Failure> {
        for producer in inspect::producer_snapshot(&DiskFs, path)? {
            self.output.json(&json!({
                "producer_id": producer.producer_id,
                "producer_epoch": producer.producer_epoch,
                "last_sequence": producer.last_sequence,
                "last_offset": producer.last_offset,
                "offset_delta": producer.offset_delta,
                "last_timestamp": producer.last_timestamp.as_millis(),
                "coordinator_epoch": producer.coordinator_epoch,
                "current_txn_first_offset": producer.current_txn_first_offset,
            }))?;
        }
        Ok(())
    }

    fn recent(&mut self, path: &Path) -> Result<(), Failure> {
        for batch in inspect::recent_batches(&DiskFs, path)? {
            self.output.json(&json!({
                "producer_id": batch.producer_id,
                "heard": batch.heard.as_millis(),
                "first_sequence": batch.first_sequence,
                "last_sequence": batch.last_sequence,
                "first_offset": batch.first_offset,
                "last_offset": batch.last_offset,
                "timestamp": batch.timestamp.as_millis(),
            }))?;
        }
        Ok(())
    }

    fn small(&mut self, path: &Path) -> Result<(), Failure> {
        match FileKind::of(path) {
            Some(FileKind::OffsetCheckpoint) => {
                for entry in inspect::offset_checkpoint(&DiskFs, path)? {
                    let (topic, partition) = (entry.topic, entry.partition);
                    let line =
                        json!({ "topic": topic, "partition": partition, "offset": entry.offset });
                    self.output.json(&line)?;
                }
            }
            Some(FileKind::EpochCheckpoint) => {
                for entry in inspect::epoch_checkpoint(&DiskFs, path)? {
                    let (epoch, start) = (entry.epoch, entry.start_offset);
                    self.output.json(&json!({ "epoch": epoch, "start_offset": start }))?;
                }
            }
            Some(FileKind::ShutdownMarker) => {
                let marker = inspect::shutdown_marker(&DiskFs, path)?;
                let members = marker.members.into_iter();
                let members: Map<String, Value> =
                    members.map(|(name, number)| (name, number.into())).collect();
                self.output.json(&members)?;
            }
            Some(FileKind::PartitionMetadata) => {
                let metadata = inspect::partition_metadata(&DiskFs, path)?;
                let (version, topic_id) = (metadata.version, metadata.topic_id);
                self.output.json(&json!({ "version": version, "topic_id": topic_id }))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn log(&mut self, path: &Path) -> Result<(), Failure> {
        let mut batches = BatchScanner::open(&DiskFs, path)?;
        let mut scratch = DecodeBuffer::default();
        let mut lowest = 0;
        while let Some(piece) = batches.next().transpose()? {
            match piece {
                ScanItem::Damaged(damaged) => self.damaged(path, &damaged)?,
                ScanItem::Batch(found) => {
                    self.output.json(&BatchLine::from(&found))?;
                    let base = found.header.base_offset;
                    if self.args.deep && base < lowest {
                        let reason =
                            CorruptionKind::OffsetsNotIncreasing { expected: lowest, found: base };
                        self.problem(&corruption(path, &found, reason))?;
                    }
                    lowest = found.header.next_offset();
                    self.records(path, &batches, &found, &mut scratch)?;
                }
            }
        }
        Ok(())
    }

    fn damaged(&mut self, path: &Path, damaged: &DamagedRange) -> Result<(), Failure> {
        self.output.json(&DamagedLine {
            position: damaged.position,
            bytes: damaged.bytes,
            valid: false,
            problem: damaged.reason.to_string(),
        })?;
        self.refuse(Failure::batch(path, damaged.position, damaged.reason))
    }

    /// Prints or checks the records of a batch, if asked for.
    fn records(
        &mut self,
        path: &Path,
        batches: &BatchScanner,
        found: &ScannedBatch,
        scratch: &mut DecodeBuffer,
    ) -> Result<(), Failure> {
        if !self.args.records && !self.args.deep {
            return Ok(());
        }
        if let Err(reason) = found.checksum {
            if self.args.deep {
                self.problem(&corruption(path, found, reason.into()))?;
            }
            return Ok(());
        }
        if found.header.size_bytes() as u64 > MAX_BATCH_BYTES {
            let reason = InvalidBatch::DecompressedTooLarge { limit: MAX_BATCH_BYTES };
            return self.problem(&corruption(path, found, reason.into()));
        }
        let batch = batches.read(found, MAX_BATCH_BYTES)?;
        let view = batch.as_batch_ref();
        let records = match view.records(scratch) {
            Ok(records) => records,
            Err(reason) => return self.problem(&corruption(path, found, reason.into())),
        };
        for record in records {
            match record {
                Err(reason) => return self.problem(&corruption(path, found, reason.into())),
                Ok(_) if !self.args.records => {}
                Ok(record) if found.header.is_control() => {
                    let control = ControlRecord::parse(record.key, record.value);
                    let control = match control {
                        Ok(control) => control,
                        Err(reason) => {
                            return self.problem(&corruption(path, found, reason.into()));
                        }
                    };
                    self.output.json(&ControlLine {
                        record: Shown::from(&record),
                        control: control_name(&control),
                        coordinator_epoch: control.marker.map(epoch_of),
                    })?;
                }
                Ok(record) if is_transaction_state(path) => self.transaction(path, &record)?,
                Ok(record) => self.output.json(&Shown::from(&record))?,
            }
        }
        Ok(())
    }

    /// Prints a record of `__transaction_state`.
    fn transaction(&mut self, path: &Path, record: &RecordRef<'_>) -> Result<(), Failure> {
        let (line, malformed) = TransactionLine::decode(record);
        self.output.json(&line)?;
        let Some(reason) = malformed else { return Ok(()) };
        let (path, offset) = (path.display(), record.offset);
        let message = format!("{path}: the record at offset {offset} is no transaction: {reason}");
        self.refuse(Failure::Refused(message))
    }
}

fn epoch_of(marker: EndTxnMarker) -> i32 {
    marker.coordinator_epoch
}

fn control_name(control: &ControlRecord) -> &'static str {
    match control.control_type.id() {
        0 => "abort",
        1 => "commit",
        2 => "leader-change",
        3 => "snapshot-header",
        4 => "snapshot-footer",
        5 => "kraft-version",
        6 => "kraft-voters",
        _ => "unknown",
    }
}

fn corruption(path: &Path, found: &ScannedBatch, reason: CorruptionKind) -> Corruption {
    let (position, offset) = (found.position, Some(found.header.base_offset));
    Corruption { path: path.to_path_buf(), position, offset, reason }
}
