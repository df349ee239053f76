//! `clean`: one pass of maintenance. It runs on a copy, to show what it would do, or with
//! `--execute` on the log.

use crate::args::CleanArgs;
use crate::failure::{Failure, note};
use crate::notices::Notices;
use crate::output::{Output, spinner};
use crate::rehearsal::Rehearsal;
use crate::verify::{segment_file, segments};
use annals::fs::DiskFs;
use annals::inspect::{BatchScanner, ScanItem};
use annals::{
    CleanupPolicy, Clock as _, CompactionReport, Event, Listener, Log, LogConfig,
    MaintenanceReport, ManualClock, Offset, SystemClock, Timestamp,
};
use serde::Serialize;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

#[derive(Serialize)]
struct Report {
    segments_removed: usize,
    bytes_removed: u64,
    records_kept: u64,
    records_removed: u64,
    tombstones_removed: u64,
    start: Offset,
    end: Offset,
    /// Printed only if it is `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    executed: Option<bool>,
}

pub fn run(args: &CleanArgs, output: &mut Output) -> Result<(), Failure> {
    refuse_idle(args)?;
    // Opening for writing would create a log if there is none.
    drop(Log::open_read_only(&args.dir, config(args))?);
    if args.execute {
        return clean_in(&args.dir, args, output);
    }
    let rehearsal = Rehearsal::of(&args.dir)?;
    clean_in(rehearsal.dir(), args, output).map_err(|failure| rehearsal.failed(failure))?;
    note("this only shows what would be removed; add --execute to remove it");
    Ok(())
}

fn clean_in(dir: &Path, args: &CleanArgs, output: &mut Output) -> Result<(), Failure> {
    let trouble = Arc::new(Trouble::default());
    let log = Log::open(dir, config(args).listener(trouble.clone()))?;
    let progress = spinner("cleaning");
    let result = clean(dir, args, &log);
    progress.finish_and_clear();
    let closed = log.close();
    output.json(&result?)?;
    closed?;
    match trouble.0.get() {
        Some(first) => Err(Failure::refused(first)),
        None => Ok(()),
    }
}

/// Rejects options that the policy ignores.
fn refuse_idle(args: &CleanArgs) -> Result<(), Failure> {
    let (deletes, compacts) = (args.policy.deletes(), args.policy.compacts());
    let options = [
        ("--retention-ms", args.retention_ms.is_some(), deletes),
        ("--retention-bytes", args.retention_bytes.is_some(), deletes),
        ("--delete-retention-ms", args.delete_retention_ms.is_some(), compacts),
        ("--min-lag-ms", args.min_lag_ms.is_some(), compacts),
    ];
    let Some((option, ..)) = options.iter().find(|(_, given, works)| *given && !works) else {
        return Ok(());
    };
    let (done, policy) = if deletes { ("compacted", "delete") } else { ("deleted", "compact") };
    Err(Failure::usage(format!(
        "{option}: nothing is {done} with --policy {policy}; take --policy delete,compact"
    )))
}

/// Returns the options to open the log with. Their clock stands still, so that the whole pass
/// happens at one moment.
fn config(args: &CleanArgs) -> LogConfig {
    let now = args.now.map_or_else(|| SystemClock::new().now(), Timestamp::from_millis);
    let mut config = args.config.to_config(None);
    config = config.cleanup_policy(args.policy).clock(Arc::new(ManualClock::new(now)));
    if let Some(millis) = args.retention_ms {
        config = config.retention_age(Duration::from_millis(millis));
    }
    if let Some(bytes) = args.retention_bytes {
        config = config.retention_bytes(bytes);
    }
    if let Some(millis) = args.delete_retention_ms {
        config = config.delete_retention(Duration::from_millis(millis));
    }
    if let Some(millis) = args.min_lag_ms {
        config = config.min_compaction_lag(Duration::from_millis(millis));
    }
    config
}

fn clean(dir: &Path, args: &CleanArgs, log: &Log) -> Result<Report, Failure> {
    let before = records(dir, log)?;
    let (compacted, maintained) = pass(args.policy, log).map_err(Failure::within(dir))?;
    let records_kept = records(dir, log)?;
    let offsets = log.offsets();
    Ok(Report {
        segments_removed: compacted.segments_removed.saturating_add(maintained.segments_deleted),
        bytes_removed: compacted.bytes_removed.saturating_add(maintained.bytes_deleted),
        records_kept,
        records_removed: before.saturating_sub(records_kept),
        tombstones_removed: compacted.tombstones_removed,
        start: offsets.start,
        end: offsets.end,
        executed: (!args.execute).then_some(false),
    })
}

fn pass(policy: CleanupPolicy, log: &Log) -> annals::Result<(CompactionReport, MaintenanceReport)> {
    let compacted = if policy.compacts() { log.compact()? } else { CompactionReport::default() };
    // Everything that can be compacted is compacted already, so this only deletes.
    Ok((compacted, log.maintain()?))
}

/// Counts the records of the log by the headers of its batches, because the report of a pass does
/// not count the records of deleted segments.
fn records(dir: &Path, log: &Log) -> Result<u64, Failure> {
    let offsets = log.offsets();
    let mut records = 0u64;
    for base in segments(dir)? {
        let mut batches =
            BatchScanner::open(&DiskFs, &segment_file(dir, base, "log"))?.headers_only();
        while let Some(piece) = batches.next().transpose()? {
            let ScanItem::Batch(found) = piece else { continue };
            let header = &found.header;
            let is_there = (offsets.start..offsets.end).contains(&header.last_offset());
            if is_there && !header.is_control() {
                records = records.saturating_add(u64::try_from(header.record_count).unwrap_or(0));
            }
        }
    }
    Ok(records)
}

/// The first event that kept the pass from completing.
#[derive(Debug, Default)]
struct Trouble(OnceLock<String>);

impl Listener for Trouble {
    fn on_event(&self, event: &Event) {
        let what = match event {
            Event::CorruptionFound(corruption) => corruption.to_string(),
            Event::CleanupFailed { path, error } => {
                format!("cannot remove {}: {error}; the next opening retries", path.display())
            }
            _ => return Notices::OF_RECOVERY.on_event(event),
        };
        self.0.set(what).ok();
    }
}
