//! `verify`: everything that is wrong with a log.

use crate::args::DirArgs;
use crate::dump::Problem;
use crate::failure::Failure;
use crate::output::{Output, spinner};
use annals::fs::{DiskFs, EntryKind, Fs as _};
use annals::inspect::{self, Batches, FileKind, Piece};
use annals::{Corruption, Damage, Error, Log, LogConfig, LogStats, Offset};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How often the end is looked at again while a writer moves it.
const LOOKS: usize = 20;

pub fn run(args: &DirArgs, output: &mut Output) -> Result<ExitCode, Failure> {
    let log = Log::open_read_only(&args.dir, LogConfig::default())?;
    let progress = spinner("verifying");
    let mut problems: Vec<Problem> = log.verify()?.iter().map(Problem::from).collect();
    let stats = settle(&log, &args.dir)?;
    if let Some(active) = stats.segments.last() {
        let base = active.base_offset;
        check_tail(&segment_file(&args.dir, base, "log"), active.bytes, &stats, &mut problems)?;
        check_active_indexes(&args.dir, base, &mut problems)?;
    }
    check_files(&args.dir, stats.offsets.end, &mut problems)?;
    progress.finish_and_clear();
    for problem in &problems {
        output.json(problem)?;
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

pub fn segment_file(dir: &Path, base: Offset, extension: &str) -> PathBuf {
    dir.join(format!("{base:020}.{extension}"))
}

/// The log as it is when its active segment stands still: a batch that another process
/// is writing at this moment is no damage.
fn settle(log: &Log, dir: &Path) -> Result<LogStats, Failure> {
    let mut stats = log.stats()?;
    let mut before = None;
    for _ in 0..LOOKS {
        let Some(active) = stats.segments.last() else { break };
        let path = segment_file(dir, active.base_offset, "log");
        let bytes = Batches::open(&DiskFs, &path)?.file_bytes();
        if bytes == active.bytes || before == Some(bytes) {
            break;
        }
        before = Some(bytes);
        stats = log.stats()?;
    }
    Ok(stats)
}

/// What lies behind the last whole batch of the active segment: the log ends before it.
fn check_tail(
    path: &Path,
    end_of_batches: u64,
    stats: &LogStats,
    problems: &mut Vec<Problem>,
) -> Result<(), Failure> {
    let mut batches = Batches::open(&DiskFs, path)?.starting_at(end_of_batches);
    let left = batches.file_bytes().saturating_sub(end_of_batches);
    if left == 0 {
        return Ok(());
    }
    let known = problems.len();
    let mut note = |position, offset, reason| {
        problems.push(Problem::from(&Corruption {
            path: path.to_path_buf(),
            position,
            offset: Some(offset),
            reason,
        }));
    };
    while let Some(piece) = batches.next().transpose()? {
        match piece {
            Piece::Damaged(damaged) => {
                note(damaged.position, stats.offsets.end, damaged.reason.into());
            }
            Piece::Batch(found) => {
                if let Err(reason) = found.checksum {
                    note(found.position, found.header.base_offset, reason.into());
                }
            }
        }
    }
    if problems.len() == known {
        let reason = Damage::Malformed("what follows does not continue the offsets before it");
        problems.push(Problem::from(&Corruption {
            path: path.to_path_buf(),
            position: end_of_batches,
            offset: Some(stats.offsets.end),
            reason,
        }));
    }
    Ok(())
}

/// The indexes of the active segment, which a log reads only when it opens for writing.
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

/// The files beside the logs: leftovers of interrupted changes, and small files that are malformed.
fn check_files(dir: &Path, end: Offset, problems: &mut Vec<Problem>) -> Result<(), Failure> {
    let entries = DiskFs.list(dir).map_err(|e| Failure::io(format!("list {}", dir.display()), &e))?;
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
                let reason = Damage::MissingData { expected: entry.offset, found: end };
                problems.push(Problem::of_file(path, reason.to_string()));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
