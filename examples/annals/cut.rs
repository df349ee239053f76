//! `truncate` and `delete-before`: each says what it would remove, and removes it with `--execute`.

use crate::args::{DeleteBeforeArgs, TruncateArgs};
use crate::failure::{Failure, warn};
use crate::notices::Notices;
use crate::output::Output;
use crate::salvage::Salvage;
use annals::record::BatchHeader;
use annals::{Error, Log, LogConfig, Offset, OnCorruption};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

#[derive(Serialize)]
struct Ends {
    start: Offset,
    end: Offset,
}

/// The ends of the log as they would be, and what would go.
#[derive(Serialize)]
struct Preview {
    start: Offset,
    end: Offset,
    records_removed: u64,
    executed: bool,
}

pub fn truncate(args: &TruncateArgs, output: &mut Output) -> Result<(), Failure> {
    // Opening for writing would make a log where there is none.
    let looked = at_most_damaged_from(args.to, |config| Log::open_read_only(&args.dir, config))?;
    let offsets = looked.offsets();
    if !args.execute {
        let (start, end) = (offsets.start, args.to);
        // Fails for an offset that is not in the log.
        looked.reader(end)?;
        // A batch that reaches beyond the new end goes as a whole.
        let records_removed =
            count(
                &args.dir,
                start,
                |header| {
                    if header.last_offset() >= end { u64::MAX } else { 0 }
                },
            )?;
        return preview(output, &Preview { start, end, records_removed, executed: false });
    }
    drop(looked);
    let log = at_most_damaged_from(args.to, |config| Log::open(&args.dir, config))?;
    let result = log.truncate_to(args.to).map_err(Failure::within(&args.dir));
    finish(log, result, output)
}

/// Opens a log that may be damaged from an offset on, as that is to go anyway.
fn at_most_damaged_from(
    offset: Offset,
    open: impl Fn(LogConfig) -> annals::Result<Log>,
) -> annals::Result<Log> {
    match open(config()) {
        Err(Error::Corrupt(damage)) if damage.offset.is_some_and(|found| found >= offset) => {
            open(config().on_corruption(OnCorruption::Truncate))
        }
        opened => opened,
    }
}

pub fn delete_before(args: &DeleteBeforeArgs, output: &mut Output) -> Result<(), Failure> {
    let looked = Log::open_read_only(&args.dir, LogConfig::default())?;
    let offsets = looked.offsets();
    let before = args.offset;
    let goes = |header: &BatchHeader| before.saturating_sub(header.base_offset);
    if !args.execute {
        let (start, end) = (before.max(offsets.start), offsets.end);
        looked.reader(start)?;
        let records_removed = count(&args.dir, offsets.start, goes)?;
        return preview(output, &Preview { start, end, records_removed, executed: false });
    }
    drop(looked);
    let log = Log::open(&args.dir, config())?;
    let result = log.delete_before(args.offset).map(drop);
    finish(log, result.map_err(Failure::within(&args.dir)), output)
}

fn config() -> LogConfig {
    LogConfig::default().listener(Arc::new(Notices))
}

/// How many records of sound batches go, where at most so many of a batch do.
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
    warn("nothing was removed; --execute removes it");
    Ok(())
}

/// Closes the log whatever came of it, and prints its ends.
fn finish(log: Log, result: Result<(), Failure>, output: &mut Output) -> Result<(), Failure> {
    let offsets = log.offsets();
    let closed = log.close();
    result?;
    closed?;
    output.json(&Ends { start: offsets.start, end: offsets.end })
}
