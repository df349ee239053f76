//! `truncate` and `delete-before`.

use crate::args::{DeleteBeforeArgs, TruncateArgs};
use crate::failure::Failure;
use crate::output::Output;
use annals::{Error, Log, LogConfig, OnCorruption};
use serde::Serialize;

#[derive(Serialize)]
struct Ends {
    start: u64,
    end: u64,
}

pub fn truncate(args: &TruncateArgs, output: &mut Output) -> Result<(), Failure> {
    // Opening for writing would make a log where there is none.
    let cutting = LogConfig::default().on_corruption(OnCorruption::Truncate);
    drop(Log::open_read_only(&args.dir, cutting.clone())?);
    let log = match Log::open(&args.dir, LogConfig::default()) {
        // What is damaged from the offset on is to go anyway.
        Err(Error::Corrupt(damage)) if damage.offset.is_some_and(|offset| offset >= args.to) => {
            Log::open(&args.dir, cutting)?
        }
        opened => opened?,
    };
    let result = log.truncate_to(args.to).map_err(Failure::within(&args.dir));
    finish(log, result, output)
}

pub fn delete_before(args: &DeleteBeforeArgs, output: &mut Output) -> Result<(), Failure> {
    drop(Log::open_read_only(&args.dir, LogConfig::default())?);
    let log = Log::open(&args.dir, LogConfig::default())?;
    let result = log.delete_before(args.offset).map(drop);
    finish(log, result.map_err(Failure::within(&args.dir)), output)
}

/// Closes the log whatever came of it, and prints its ends.
fn finish(log: Log, result: Result<(), Failure>, output: &mut Output) -> Result<(), Failure> {
    let offsets = log.offsets();
    let closed = log.close();
    result?;
    closed?;
    output.json(&Ends { start: offsets.start, end: offsets.end })
}
