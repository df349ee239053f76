//! `seek` and `truncate`.

use crate::args::{SeekArgs, TruncateArgs};
use crate::failure::Failure;
use crate::output::Output;
use annals::{Error, Log, LogConfig, OnCorruption, Timestamp};
use serde::Serialize;

#[derive(Serialize)]
struct Found {
    offset: u64,
    timestamp: i64,
}

#[derive(Serialize)]
struct Ends {
    start: u64,
    end: u64,
}

pub fn seek(args: &SeekArgs, output: &mut Output) -> Result<(), Failure> {
    let log = Log::open_read_only(&args.dir, LogConfig::default())?;
    let found = log.offset_for_time(Timestamp::from_millis(args.time))?;
    output.json(&found.map(|(offset, at)| Found { offset, timestamp: at.as_millis() }))
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
    let result = log.truncate_to(args.to);
    let offsets = log.offsets();
    let closed = log.close();
    result.map_err(Failure::within(&args.dir))?;
    closed?;
    output.json(&Ends { start: offsets.start, end: offsets.end })
}
