//! `repair`: moves the damaged bytes out of a log, and keeps them and everything else.

use crate::args::RepairArgs;
use crate::failure::{DAMAGED, Failure, note, warn};
use crate::notices::Notices;
use crate::output::{Output, counted, spinner};
use crate::rehearsal::Rehearsal;
use crate::verify;
use annals::{
    CorruptionKind, Event, Listener, Log, LogConfig, Offset, Offsets, OnCorruption, Recovery,
};
use serde::Serialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

#[derive(Serialize)]
struct Moved {
    file: PathBuf,
    position: u64,
    bytes: u64,
    /// The first of the offsets that lost their records, if any did.
    first_offset: Option<Offset>,
    last_offset: Option<Offset>,
    problem: String,
    /// The file that holds the bytes now.
    moved_to: PathBuf,
}

pub fn run(args: &RepairArgs, output: &mut Output) -> Result<ExitCode, Failure> {
    // Opening for writing would create a log if there is none.
    verify::segments(&args.dir)?;
    let config = LogConfig::default().on_corruption(OnCorruption::Truncate);
    drop(Log::open_read_only(&args.dir, config)?);
    if !args.execute {
        return rehearse(&args.dir, output);
    }
    let config = LogConfig::default().listener(Arc::new(Notices::OF_RECOVERY));
    let (found, ends) = repair(&args.dir, config)?;
    for path in remove_derived(&args.dir)? {
        warn(&format!("{} was removed: {DERIVED}", path.display()));
    }
    for moved in found.quarantined {
        let had_any = !moved.offsets.is_empty();
        output.json(&Moved {
            file: moved.segment,
            position: moved.position,
            bytes: moved.bytes,
            first_offset: had_any.then_some(moved.offsets.start),
            last_offset: had_any.then_some(moved.offsets.end.saturating_sub(1)),
            problem: moved.reason.to_string(),
            moved_to: moved.path,
        })?;
    }
    warn(&format!("the log starts at {} and ends at {}", ends.start, ends.end));
    Ok(ExitCode::SUCCESS)
}

const DERIVED: &str = "it contradicts the log, and is made from it again when it is needed";

/// Removes indexes and snapshots that contradict the log in a directory.
fn remove_derived(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut paths: Vec<PathBuf> = verify::problems(dir)?
        .iter()
        .filter(|problem| problem.is_of_derived_file())
        .map(|problem| problem.path().to_owned())
        .collect();
    paths.dedup();
    for path in &paths {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => {
                removed.map_err(|e| Failure::io(format!("remove {}", path.display()), &e))?;
            }
        }
    }
    Ok(paths)
}

/// A listener that collects the offsets whose records are missing without a trace.
#[derive(Debug, Default)]
struct Missing(Mutex<Vec<CorruptionKind>>);

impl Listener for Missing {
    fn on_event(&self, event: &Event) {
        if let (Event::CorruptionFound(corruption), Ok(mut missing)) = (event, self.0.lock()) {
            missing.push(corruption.reason.clone());
        }
    }
}

/// Moves the damage out of the log in a directory. Returns what the opening did, and the log's
/// ends.
fn repair(dir: &Path, config: LogConfig) -> Result<(Recovery, Offsets), Failure> {
    let progress = spinner("repairing");
    let log = Log::open(dir, config.on_corruption(OnCorruption::Quarantine))?;
    progress.finish_and_clear();
    let (found, ends) = (log.recovery().clone(), log.offsets());
    log.close()?;
    Ok((found, ends))
}

/// Prints the problems, and what would become of each damaged byte.
fn rehearse(dir: &Path, output: &mut Output) -> Result<ExitCode, Failure> {
    let problems = verify::problems(dir)?;
    for problem in &problems {
        output.json(problem)?;
    }
    let rehearsal = Rehearsal::of(dir)?;
    let missing = Arc::new(Missing::default());
    let config = LogConfig::default().listener(Arc::clone(&missing) as Arc<dyn Listener>);
    let (found, ends) =
        repair(rehearsal.dir(), config).map_err(|failure| rehearsal.failed(failure))?;
    for path in remove_derived(rehearsal.dir()).map_err(|failure| rehearsal.failed(failure))? {
        warn(&format!("{} would be removed: {DERIVED}", rehearsal.original(&path).display()));
    }
    for reason in missing.0.lock().map_or_else(|_| Vec::new(), |mut all| std::mem::take(&mut *all))
    {
        if let CorruptionKind::OffsetsMissing { from, to } = reason {
            warn(&format!("offsets {from} to {} would have no records", to.saturating_sub(1)));
        }
    }
    for moved in &found.quarantined {
        let had = &moved.offsets;
        if !had.is_empty() {
            let last = had.end.saturating_sub(1);
            warn(&format!("offsets {} to {last} would have no records", had.start));
        }
        warn(&format!(
            "{} at byte {} of {} would be moved to {}",
            counted(moved.bytes, "byte"),
            moved.position,
            rehearsal.original(&moved.segment).display(),
            rehearsal.original(&moved.path).display(),
        ));
    }
    if let Some((path, position)) = &found.truncated_at {
        warn(&format!(
            "{} of writes that were cut short would be removed from byte {position} of {} on and in later files",
            counted(found.truncated_bytes, "byte"),
            rehearsal.original(path).display(),
        ));
    }
    if problems.is_empty() && found.quarantined.is_empty() && found.truncated_at.is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    warn(&format!("the log would start at {} and end at {}", ends.start, ends.end));
    note("this only shows what would be changed; add --execute to change it");
    Ok(ExitCode::from(DAMAGED))
}
