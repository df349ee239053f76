//! Replicates a log to a follower, and lets the follower take over.
//!
//! Both logs are in this process here. Between processes, the arguments and results of these calls
//! are what a protocol carries, such as Kafka's `Fetch` and `OffsetForLeaderEpoch`.
//!
//! ```text
//! cargo run --example replica
//! ```

#![allow(clippy::print_stdout, reason = "a program for a person to run")]

use annals::fs::MemFs;
use annals::{IsolationLevel, Log, LogConfig, ReadLimits, Result, StartAt};

fn open(name: &str) -> Result<Log> {
    Log::open(name, LogConfig::default().replicated(true).fs(MemFs::new()))
}

/// Copies what the follower lacks, and tells both logs how far the other one is.
fn replicate(leader: &Log, follower: &Log) -> Result<()> {
    // A replica reads to the end of the log; all others stop at the high watermark.
    let view = leader.isolated(IsolationLevel::LogEnd);
    loop {
        let from = follower.offsets().end;
        // The fetch from an offset says that the follower has everything below.
        leader.set_high_watermark(from.max(leader.offsets().high_watermark))?;
        let fetched = view.read(from, ReadLimits::bytes(1 << 20))?;
        follower.append_as_follower(&fetched.bytes)?;
        follower.set_high_watermark(leader.offsets().high_watermark)?;
        if fetched.is_empty() {
            return Ok(());
        }
    }
}

/// Removes from a follower what its leader does not have, before it copies the rest.
fn agree(leader: &Log, follower: &Log) -> Result<()> {
    while let Some(latest) = follower.leader_epochs()?.last().copied() {
        let offsets = follower.offsets();
        match leader.epoch_end_offset(latest.epoch)? {
            Some(known) if known.epoch == latest.epoch => {
                return follower.truncate_to(known.end_offset.min(offsets.end));
            }
            // The leader does not know the epoch, so none of its records is there.
            _ => follower.truncate_to(latest.start_offset.max(offsets.start))?,
        }
    }
    Ok(())
}

fn values(log: &Log) -> Result<Vec<String>> {
    let mut reader = log.reader(StartAt::Earliest)?;
    let mut values = Vec::new();
    while let Some(record) = reader.next_record()? {
        values.extend(record.value_str().map(str::to_owned));
    }
    Ok(values)
}

fn main() -> Result<()> {
    let (one, two) = (open("one/orders-0")?, open("two/orders-0")?);
    one.set_leader_epoch(0)?;
    for value in ["order 1", "order 2"] {
        one.append(value)?;
    }
    replicate(&one, &two)?;

    // This record reaches no other replica, so no reader sees it.
    one.append("order 3, lost with its leader")?;
    assert_eq!(values(&one)?, ["order 1", "order 2"]);

    // The first leader is gone. The other replica leads from here on, and what it has is what
    // counts: it is the only one that is left.
    two.set_leader_epoch(1)?;
    two.set_high_watermark(two.offsets().end)?;
    two.append("order 3, of the next leader")?;

    // The first one comes back as a follower.
    agree(&two, &one)?;
    replicate(&two, &one)?;
    for log in [&one, &two] {
        println!("{:?}", values(log)?);
        assert_eq!(values(log)?, ["order 1", "order 2", "order 3, of the next leader"]);
        assert_eq!((log.epoch_of(1)?, log.epoch_of(2)?), (Some(0), Some(1)));
    }
    Ok(())
}
