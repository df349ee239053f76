//! `repair`: takes the damaged bytes out of a log, and keeps them and everything else.

use crate::args::RepairArgs;
use crate::failure::{DAMAGED, Failure, warn};
use crate::notices::Notices;
use crate::output::{Output, spinner};
use crate::verify;
use annals::{Log, LogConfig, Offset, OnCorruption};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Serialize)]
struct Moved {
    file: PathBuf,
    position: u64,
    bytes: u64,
    /// The offsets that have no record any more.
    first_offset: Offset,
    last_offset: Offset,
    problem: String,
    /// Where the bytes are now.
    moved_to: PathBuf,
}

pub fn run(args: &RepairArgs, output: &mut Output) -> Result<ExitCode, Failure> {
    if !args.execute {
        let problems = verify::problems(&args.dir)?;
        for problem in &problems {
            output.json(problem)?;
        }
        if problems.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        warn(
            "nothing was changed; --execute moves the damaged bytes to files beside their segments, and removes a write that was cut short",
        );
        return Ok(ExitCode::from(DAMAGED));
    }
    // Opening for writing would make a log where there is none.
    verify::segments(&args.dir)?;
    let config = LogConfig::default().listener(Arc::new(Notices));
    drop(Log::open_read_only(&args.dir, config.clone().on_corruption(OnCorruption::Truncate))?);
    let progress = spinner("repairing");
    let log = Log::open(&args.dir, config.on_corruption(OnCorruption::Quarantine))?;
    progress.finish_and_clear();
    for moved in &log.recovery().quarantined {
        output.json(&Moved {
            file: moved.segment.clone(),
            position: moved.position,
            bytes: moved.bytes,
            first_offset: moved.offsets.start,
            last_offset: moved.offsets.end.saturating_sub(1),
            problem: moved.reason.to_string(),
            moved_to: moved.path.clone(),
        })?;
    }
    log.close()?;
    Ok(ExitCode::SUCCESS)
}
