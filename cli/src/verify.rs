//! `verify`: everything that is wrong with a log.

use crate::args::DirArgs;
use crate::dump::Problem;
use crate::failure::{DAMAGED, Failure};
use crate::holes::holes;
use crate::output::{Output, spinner};
use crate::salvage::Salvage;
use annals::fs::{DiskFs, EntryKind, Fs as _};
use annals::inspect::{self, BatchScanner, FileKind, ScanItem};
use annals::{
    Corruption, CorruptionKind, Error, Log, LogConfig, Offset, OnCorruption, StartAt, Unsupported,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How often to look at the end again while a writer moves it.
const LOOKS: usize = 20;

pub fn run(args: &DirArgs, output: &mut Output) -> Result<ExitCode, Failure> {
    let problems = problems(&args.dir)?;
    for problem in &problems {
        output.json(problem)?;
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DAMAGED) })
}

/// Returns everything that is wrong with the log in a directory.
pub fn problems(dir: &Path) -> Result<Vec<Problem>, Failure> {
    // Damage must not keep the log from opening, because this function reports it.
    let config = LogConfig::default().on_corruption(OnCorruption::Truncate);
    let log = match Log::open_read_only(dir, config) {
        // A format that no Kafka has written is a damaged byte, or comes from a future version.
        Err(Error::Unsupported(Unsupported::MessageFormat(magic))) if !matches!(magic, 0 | 1) => {
            return problems_of_files(dir);
        }
        opened => opened?,
    };
    let progress = spinner("verifying");
    let found = log.verify()?;
    let mut problems: Vec<Problem> = found.iter().map(Problem::from).collect();
    // `Log::verify` has reported segments that are missing since the log was closed.
    let missing = holes(dir, &log)?;
    let is_new = |hole: &&Corruption| !found.iter().any(|known| known.offset == hole.offset);
    problems.extend(missing.iter().filter(is_new).map(Problem::from));
    // A file with a base offset above the end is no segment, and is reported already.
    let ends = log.offsets().end;
    let last = segments(dir)?.into_iter().rfind(|base| *base <= ends);
    let end = if let Some(base) = last {
        check_active_indexes(dir, base, &mut problems)?;
        check_tail(&log, &segment_file(dir, base, "log"), &mut problems)?
    } else {
        log.offsets().end
    };
    // Sound batches after damage are not lost.
    let end = if problems.is_empty() { end } else { end.max(end_of_sound(dir, end)?) };
    check_files(dir, end, &mut problems)?;
    progress.finish_and_clear();
    Ok(problems)
}

/// Checks each log file by itself, for files that do not open as a log.
fn problems_of_files(dir: &Path) -> Result<Vec<Problem>, Failure> {
    let mut problems = Vec::new();
    for base in segments(dir)? {
        let path = segment_file(dir, base, "log");
        for piece in BatchScanner::open(&DiskFs, &path)? {
            let (position, offset, reason) = match piece? {
                ScanItem::Damaged(gap) => (gap.position, None, gap.reason),
                ScanItem::Batch(found) => match found.checksum {
                    Ok(()) => continue,
                    Err(reason) => (found.position, Some(found.header.base_offset), reason),
                },
            };
            let (path, reason) = (path.clone(), reason.into());
            problems.push(Problem::from(&Corruption { path, position, offset, reason }));
        }
    }
    Ok(problems)
}

/// Returns the offset after the last sound batch.
fn end_of_sound(dir: &Path, from: Offset) -> Result<Offset, Failure> {
    let mut batches = Salvage::from(dir, from)?.quiet();
    while batches.next_batch()?.is_some() {}
    Ok(batches.offset())
}

pub fn segment_file(dir: &Path, base: Offset, extension: &str) -> PathBuf {
    dir.join(format!("{base:020}.{extension}"))
}

/// Returns the base offsets of the log files of a directory, in order.
pub fn segments(dir: &Path) -> Result<Vec<Offset>, Failure> {
    let entries =
        DiskFs.list(dir).map_err(|e| Failure::io(format!("list {}", dir.display()), &e))?;
    let files = entries.into_iter().filter(|entry| entry.kind == EntryKind::File);
    let mut bases: Vec<Offset> = files
        .filter_map(|entry| {
            let digits = entry.name.strip_suffix(".log")?;
            if digits.len() == 20 { digits.parse().ok() } else { None }
        })
        .collect();
    bases.sort_unstable();
    Ok(bases)
}

/// Reports bytes after the last whole batch of the active segment, and returns the end of the log.
///
/// Looks again until the file stops changing: a batch that another process is writing is no
/// damage.
fn check_tail(log: &Log, path: &Path, problems: &mut Vec<Problem>) -> Result<Offset, Failure> {
    let mut before = None;
    for _ in 0..LOOKS {
        let end = log.reader(StartAt::Latest)?.offset();
        let (bytes, found) = tail_problems(path, end)?;
        if found.is_empty() || before == Some((bytes, end)) {
            problems.extend(found.iter().map(Problem::from));
            return Ok(end);
        }
        before = Some((bytes, end));
    }
    Ok(log.offsets().end)
}

fn tail_problems(path: &Path, end: Offset) -> Result<(u64, Vec<Corruption>), Failure> {
    let mut batches = BatchScanner::open(&DiskFs, path)?;
    let mut found = Vec::new();
    let mut in_log = true;
    while let Some(piece) = batches.next().transpose()? {
        let (position, offset, reason) = match piece {
            ScanItem::Damaged(damaged) => (damaged.position, None, Some(damaged.reason)),
            ScanItem::Batch(batch) => {
                let base = batch.header.base_offset;
                in_log &= base < end;
                (batch.position, Some(base), batch.checksum.err())
            }
        };
        let reason = match reason {
            Some(reason) => reason.into(),
            // A sound batch after the end of the log is lost as well.
            None if !in_log && found.is_empty() => {
                CorruptionKind::Malformed("it does not continue the offsets before it")
            }
            None => continue,
        };
        in_log = false;
        found.push(Corruption {
            path: path.to_path_buf(),
            position,
            offset: offset.or(Some(end)),
            reason,
        });
    }
    Ok((batches.file_bytes(), found))
}

/// Checks the indexes of the active segment, which a log reads only when it opens for writing.
fn check_active_indexes(
    dir: &Path,
    base: Offset,
    problems: &mut Vec<Problem>,
) -> Result<(), Failure> {
    for extension in ["index", "timeindex"] {
        let path = segment_file(dir, base, extension);
        let mut report = |found: Corruption| problems.push(Problem::from(&found));
        match inspect::check_index(&DiskFs, &path, &mut report) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

/// Reports leftovers of interrupted changes, and malformed small files.
fn check_files(dir: &Path, end: Offset, problems: &mut Vec<Problem>) -> Result<(), Failure> {
    let entries =
        DiskFs.list(dir).map_err(|e| Failure::io(format!("list {}", dir.display()), &e))?;
    let files = entries.into_iter().filter(|entry| entry.kind == EntryKind::File);
    let names: BTreeSet<String> = files.map(|entry| entry.name).collect();
    for name in &names {
        let path = dir.join(name);
        let Some(kind) = FileKind::of(&path) else { continue };
        let stage = [".deleted", ".cleaned", ".swap", ".tmp"].iter().find(|s| name.ends_with(**s));
        if let Some(stage) = stage {
            let what = format!(
                "a leftover ({stage}) of an interrupted change; opening the log for writing settles it"
            );
            problems.push(Problem::of_file(&path, what));
            continue;
        }
        let is_index =
            matches!(kind, FileKind::OffsetIndex | FileKind::TimeIndex | FileKind::TxnIndex);
        let log = name.split_once('.').map(|(base, _)| format!("{base}.log"));
        if is_index && !log.is_some_and(|log| names.contains(&log)) {
            let what = "an index without its log; opening the log for writing removes it";
            problems.push(Problem::of_file(&path, what));
            continue;
        }
        match check_small(kind, &path, end, problems) {
            Err(Error::Corrupt(corruption)) => problems.push(Problem::from(&*corruption)),
            other => other?,
        }
    }
    Ok(())
}

fn check_small(
    kind: FileKind,
    path: &Path,
    end: Offset,
    problems: &mut Vec<Problem>,
) -> Result<(), Error> {
    match kind {
        FileKind::TxnIndex => {
            inspect::TxnEntries::open(&DiskFs, path)?.try_for_each(|entry| entry.map(drop))
        }
        FileKind::Snapshot => inspect::producer_snapshot(&DiskFs, path).map(drop),
        FileKind::EpochCheckpoint => inspect::epoch_checkpoint(&DiskFs, path).map(drop),
        FileKind::ShutdownMarker => inspect::shutdown_marker(&DiskFs, path).map(drop),
        FileKind::PartitionMetadata => inspect::partition_metadata(&DiskFs, path).map(drop),
        FileKind::OffsetCheckpoint => {
            let entries = inspect::offset_checkpoint(&DiskFs, path)?;
            let synced = path.file_name().is_some_and(|n| n == "recovery-point-offset-checkpoint");
            if let [entry] = entries.as_slice()
                && synced
                && entry.offset > end
            {
                let reason = CorruptionKind::MissingData { expected: entry.offset, found: end };
                problems.push(Problem::of_file(path, reason.to_string()));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
