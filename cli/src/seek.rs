//! `seek`.

use crate::args::SeekArgs;
use crate::failure::Failure;
use crate::output::Output;
use annals::{Log, LogConfig, Timestamp};
use serde::Serialize;

#[derive(Serialize)]
struct Found {
    offset: u64,
    timestamp: i64,
}

pub fn seek(args: &SeekArgs, output: &mut Output) -> Result<(), Failure> {
    let log = Log::open_read_only(&args.dir, LogConfig::default())?;
    let found = log.offset_for_time(Timestamp::from_millis(args.time))?;
    output.json(&found.map(|(offset, at)| Found { offset, timestamp: at.as_millis() }))
}
