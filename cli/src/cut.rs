//! `truncate` and `delete-before`: they show what they would remove, and remove it with
//! `--execute`.

use crate::args::{DeleteBeforeArgs, TruncateArgs};
use crate::failure::{DAMAGED, Failure, note, warn};
use crate::notices::Notices;
use crate::output::{Output, counted};
use crate::rehearsal::Rehearsal;
use crate::salvage::Salvage;
use crate::verify;
use annals::record::BatchHeader;
use annals::{Corruption, Error, Log, LogConfig, Offset, OnCorruption, Recovery};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Serialize)]
struct Ends {
    start: Offset,
    end: Offset,
}

/// The ends that the log would have, and the number of records that would be removed.
#[derive(Serialize)]
struct Preview {
    start: Offset,
    end: Offset,
    records_removed: u64,
    executed: bool,
}

pub fn truncate(args: &TruncateArgs, output: &mut Output) -> Result<ExitCode, Failure> {
    // Opening for writing would create a log if there is none.
    let (looked, _) = at_most_damaged_from(args.to, |choice| {
        Log::open_read_only(&args.dir, LogConfig::default().on_corruption(choice))
    })?;
    if args.execute {
        drop(looked);
        let (_, ends) = truncate_log(&args.dir, args.to, true)?;
        output.json(&ends)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (start, end) = (looked.offsets().start, args.to);
    // A reader fails for an offset that is not in the log.
    looked.reader(end)?;
    drop(looked);
    let problems = tell_problems(&args.dir)?;
    let rehearsal = Rehearsal::of(&args.dir)?;
    let (found, _) = truncate_log(rehearsal.dir(), args.to, false)
        .map_err(|failure| rehearsal.failed(failure))?;
    if let Some((path, position)) = &found.truncated_at {
        warn(&format!(
            "{} of damage, and of what comes after it, would be removed from byte {position} of {} on and in later files",
            counted(found.truncated_bytes, "byte"),
            rehearsal.original(path).display(),
        ));
    }
    // A batch that reaches beyond the new end is removed as a whole.
    let goes = |header: &BatchHeader| if header.last_offset() >= end { u64::MAX } else { 0 };
    let records_removed = count(&args.dir, start, goes)?;
    preview(output, &Preview { start, end, records_removed, executed: false })?;
    Ok(problems)
}

/// Truncates the log in a directory, which may be damaged at and above `to`. With `tells`, warns
/// of everything that the opening removes.
fn truncate_log(dir: &Path, to: Offset, tells: bool) -> Result<(Recovery, Ends), Failure> {
    let (log, damage) = at_most_damaged_from(to, |choice| {
        let notices = match choice {
            OnCorruption::Truncate => Notices::OF_DAMAGE,
            _ => Notices::OF_RECOVERY,
        };
        let config = LogConfig::default().on_corruption(choice);
        Log::open(dir, if tells { config.listener(Arc::new(notices)) } else { config })
    })?;
    if let Some(damage) = damage.filter(|_| tells) {
        warn(&damage.to_string());
    }
    let (found, result) = (log.recovery().clone(), log.truncate_to(to));
    Ok((found, finish(log, result.map_err(Failure::within(dir)))?))
}

/// Opens a log that may be damaged at and above an offset, because that part is removed anyway.
fn at_most_damaged_from(
    offset: Offset,
    open: impl Fn(OnCorruption) -> annals::Result<Log>,
) -> annals::Result<(Log, Option<Corruption>)> {
    match open(OnCorruption::Fail) {
        Err(Error::Corrupt(damage)) if damage.offset.is_some_and(|found| found >= offset) => {
            Ok((open(OnCorruption::Truncate)?, Some(*damage)))
        }
        opened => Ok((opened?, None)),
    }
}

pub fn delete_before(args: &DeleteBeforeArgs, output: &mut Output) -> Result<ExitCode, Failure> {
    let looked = Log::open_read_only(&args.dir, LogConfig::default())?;
    let (offsets, before) = (looked.offsets(), args.offset);
    if args.execute {
        drop(looked);
        let config = LogConfig::default().listener(Arc::new(Notices::OF_RECOVERY));
        let ends = delete_records(&args.dir, before, config)?;
        output.json(&ends)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (start, end) = (before.max(offsets.start), offsets.end);
    looked.reader(start)?;
    drop(looked);
    let problems = tell_problems(&args.dir)?;
    let rehearsal = Rehearsal::of(&args.dir)?;
    delete_records(rehearsal.dir(), before, LogConfig::default())
        .map_err(|failure| rehearsal.failed(failure))?;
    let goes = |header: &BatchHeader| before.saturating_sub(header.base_offset);
    let records_removed = count(&args.dir, offsets.start, goes)?;
    preview(output, &Preview { start, end, records_removed, executed: false })?;
    Ok(problems)
}

fn delete_records(dir: &Path, before: Offset, config: LogConfig) -> Result<Ends, Failure> {
    let log = Log::open(dir, config)?;
    let result = log.delete_before(before).map(drop);
    finish(log, result.map_err(Failure::within(dir)))
}

/// Warns of all damage, because damaged records are not counted, and returns the exit code for it.
fn tell_problems(dir: &Path) -> Result<ExitCode, Failure> {
    let problems = verify::problems(dir)?;
    problems.iter().for_each(|problem| warn(&problem.to_string()));
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DAMAGED) })
}

/// Counts the records to remove from the sound batches; `goes` limits them for each batch.
fn count(dir: &Path, start: Offset, goes: impl Fn(&BatchHeader) -> u64) -> Result<u64, Failure> {
    let mut records = 0u64;
    let mut batches = Salvage::from(dir, start)?.quiet();
    while let Some(batch) = batches.next_batch()? {
        if !batch.header().is_control() {
            let all = u64::from(batch.header().record_count.cast_unsigned());
            records = records.saturating_add(goes(batch.header()).min(all));
        }
    }
    Ok(records)
}

fn preview(output: &mut Output, report: &Preview) -> Result<(), Failure> {
    output.json(report)?;
    note("this only shows what would be removed; add --execute to remove it");
    Ok(())
}

/// Closes the log even after a failure, and returns its ends.
fn finish(log: Log, result: Result<(), Failure>) -> Result<Ends, Failure> {
    let offsets = log.offsets();
    let closed = log.close();
    result?;
    closed?;
    Ok(Ends { start: offsets.start, end: offsets.end })
}
