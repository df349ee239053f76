//! Checking an index against its log.

use super::{
    BatchScanner, FileKind, OffsetEntries, OffsetEntry, ScanItem, ScannedBatch, TimeEntries,
    corruption,
};
use crate::error::{Corruption, CorruptionKind, Error, Result};
use crate::fs::Fs;
use crate::types::Timestamp;
use std::path::Path;

/// Checks every entry of an offset or time index against the log beside it, and reports each entry
/// that contradicts the log.
///
/// It makes one pass over both and reads only headers, so the log itself may be damaged. Files of
/// other kinds are ignored. The [module](crate::inspect) has an example.
///
/// # Errors
/// [`Error::Io`], also if there is no log beside the index. Problems of the index are reported,
/// and not returned as errors.
pub fn check_index(fs: &dyn Fs, path: &Path, report: &mut dyn FnMut(Corruption)) -> Result<()> {
    let log = path.with_file_name(log_name(path));
    match FileKind::of(path) {
        Some(FileKind::OffsetIndex) => check_offsets(fs, path, &log, report),
        Some(FileKind::TimeIndex) => check_times(fs, path, &log, report),
        _ => Ok(()),
    }
}

/// Returns the name of the log file with the same base and the same stage.
fn log_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    for extension in [".timeindex", ".index"] {
        if let Some((base, stage)) = name.rsplit_once(extension) {
            return format!("{base}.log{stage}");
        }
    }
    name.into_owned()
}

/// The batches of a log with readable headers, in order.
struct Headers(BatchScanner);

impl Headers {
    fn next(&mut self) -> Result<Option<ScannedBatch>> {
        for piece in self.0.by_ref() {
            if let ScanItem::Batch(batch) = piece? {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }
}

/// Returns the next entry. The end of the file within an entry is reported, and ends the entries.
fn take<T>(
    entries: &mut impl Iterator<Item = Result<T>>,
    report: &mut dyn FnMut(Corruption),
) -> Result<Option<T>> {
    match entries.next().transpose() {
        Err(Error::Corrupt(corruption)) => {
            report(*corruption);
            Ok(None)
        }
        other => other,
    }
}

fn check_offsets(
    fs: &dyn Fs,
    path: &Path,
    log: &Path,
    report: &mut dyn FnMut(Corruption),
) -> Result<()> {
    let mut headers = Headers(BatchScanner::open(fs, log)?.headers_only());
    let mut entries = OffsetEntries::open(fs, path)?;
    let mut batch = headers.next()?;
    let mut before: Option<OffsetEntry> = None;
    let mut next = take(&mut entries, report)?;
    let mut number = 0u64;
    while let Some(entry) = next {
        next = take(&mut entries, report)?;
        let ordered = before
            .is_none_or(|before| entry.offset > before.offset && entry.position > before.position);
        let mut found = false;
        if ordered {
            before = Some(entry);
            while batch.is_some_and(|batch| batch.position < entry.position) {
                batch = headers.next()?;
            }
            let begins = batch.is_some_and(|batch| batch.position == entry.position);
            // An append of several batches has one entry: the position of the first, and the last
            // offset of the last.
            let upto = next.map_or(u64::MAX, |next| next.position).max(entry.position);
            while begins && !found {
                let Some(current) =
                    batch.filter(|batch| batch.position == entry.position || batch.position < upto)
                else {
                    break;
                };
                found = current.header.last_offset() == entry.offset;
                if current.header.last_offset() >= entry.offset {
                    break;
                }
                batch = headers.next()?;
            }
        }
        if !found {
            let what = if ordered {
                "no append begins at its position and ends with its offset"
            } else {
                "it does not lie after the previous entry"
            };
            let damage = CorruptionKind::IndexEntry { entry: number, what };
            report(corruption(path, number.saturating_mul(8), Some(entry.offset), damage));
        }
        number = number.saturating_add(1);
    }
    Ok(())
}

fn check_times(
    fs: &dyn Fs,
    path: &Path,
    log: &Path,
    report: &mut dyn FnMut(Corruption),
) -> Result<()> {
    let mut headers = Headers(BatchScanner::open(fs, log)?.headers_only());
    let mut entries = TimeEntries::open(fs, path)?;
    let mut largest = Timestamp::NONE;
    let mut batch: Option<ScannedBatch> = None;
    let mut number = 0u64;
    let mut before = None;
    while let Some(entry) = take(&mut entries, report)? {
        let ordered = before.is_none_or(|before| entry.offset > before);
        if ordered {
            before = Some(entry.offset);
            while batch.is_none_or(|batch| batch.header.last_offset() < entry.offset) {
                let Some(next) = headers.next()? else { break };
                largest = largest.max(next.header.max_timestamp);
                batch = Some(next);
            }
        }
        let ends = batch.is_some_and(|batch| batch.header.last_offset() == entry.offset);
        if !ordered || !ends || largest != entry.timestamp {
            let what = "the batch that ends with its offset has another timestamp, or an earlier batch has a later one";
            let damage = CorruptionKind::IndexEntry { entry: number, what };
            report(corruption(path, number.saturating_mul(12), Some(entry.offset), damage));
        }
        number = number.saturating_add(1);
    }
    Ok(())
}
