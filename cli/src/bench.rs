//! `bench`: appending and reading back, beside a raw write of the same bytes.

use crate::args::{BenchArgs, ConfigArgs, Sync};
use crate::failure::Failure;
use crate::output::{Output, spinner};
use annals::record::BatchBuilder;
use annals::{Clock, Error, Log, Offset, SystemClock};
use indicatif::ProgressBar;
use serde::Serialize;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The size of the pool that values are cut from, so that they differ.
const POOL_BYTES: usize = 64 << 10;

#[derive(Serialize)]
struct Report {
    records: u64,
    batches: u64,
    bytes: u64,
    append: Timed,
    read: Rate,
    raw: Timed,
    /// The speed of appending as a share of the speed of the raw write.
    ratio: f64,
}

#[derive(Serialize)]
struct Rate {
    seconds: f64,
    mb_per_s: f64,
    records_per_s: f64,
}

impl Rate {
    fn new(bytes: u64, records: u64, took: Duration) -> Rate {
        let seconds = took.as_secs_f64().max(1e-9);
        Rate {
            seconds: round(seconds),
            mb_per_s: round(bytes as f64 / 1e6 / seconds),
            records_per_s: round(records as f64 / seconds),
        }
    }
}

/// A rate, and the time of one batch in microseconds.
#[derive(Serialize)]
struct Timed {
    #[serde(flatten)]
    rate: Rate,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
}

impl Timed {
    fn new(rate: Rate, mut nanos: Vec<u64>) -> Timed {
        nanos.sort_unstable();
        let at = |thousandths: usize| {
            let rank = nanos.len().saturating_mul(thousandths).div_ceil(1000).saturating_sub(1);
            round(nanos.get(rank).copied().unwrap_or(0) as f64 / 1e3)
        };
        Timed { rate, p50_us: at(500), p99_us: at(990), p999_us: at(999) }
    }
}

fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn nanos_since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

pub fn run(args: &BenchArgs, output: &mut Output) -> Result<(), Failure> {
    let log = Log::open(&args.dir, ConfigArgs::default().to_config(args.compression))?;
    let result = measure(args, &log);
    let closed = log.close();
    let report = result?;
    closed?;
    output.json(&report)
}

fn measure(args: &BenchArgs, log: &Log) -> Result<Report, Failure> {
    let before = log.offsets().end;
    let bytes_before = log.stats()?.bytes;
    let pool = pool((args.value_bytes as usize).saturating_mul(2).max(POOL_BYTES));
    let progress = spinner("appending");
    let started = Instant::now();
    let nanos = append(args, log, &pool)?;
    if args.sync == Sync::End {
        log.flush()?;
    }
    let took = started.elapsed();
    let bytes = log.stats()?.bytes.saturating_sub(bytes_before);
    let batches = nanos.len() as u64;
    let append = Timed::new(Rate::new(bytes, args.records, took), nanos);
    let read = read_back(args, log, before, bytes, &progress)?;
    progress.set_message("writing the same bytes raw");
    let raw = raw(args, bytes, batches)?;
    progress.finish_and_clear();
    let ratio = round(append.rate.mb_per_s / raw.rate.mb_per_s.max(1e-9));
    Ok(Report { records: args.records, batches, bytes, append, read, raw, ratio })
}

/// Returns bytes that compress about as well as text.
fn pool(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'a' | (state % 16) as u8
    };
    (0..bytes).map(letter).collect()
}

/// Appends the records from several threads, and returns the time of each batch.
fn append(args: &BenchArgs, log: &Log, pool: &[u8]) -> Result<Vec<u64>, Failure> {
    let threads = u64::from(args.threads);
    let share = |thread: u64| {
        let extra = u64::from(thread < args.records % threads);
        args.records.checked_div(threads).unwrap_or(0).saturating_add(extra)
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || append_share(args, log, pool, share(thread))))
            .collect();
        let mut all = Vec::new();
        for worker in workers {
            let taken = worker.join();
            let taken = taken.map_err(|_| Failure::refused("a thread broke down"))?;
            all.append(&mut taken.map_err(too_large)?);
        }
        Ok(all)
    })
}

/// Names the options that decide the size of a batch, because `bench` has none for the limit.
fn too_large(error: Error) -> Failure {
    match error {
        Error::BatchTooLarge { bytes, limit, .. } => Failure::refused(format!(
            "a batch of {bytes} bytes is over the limit of {limit}; lower --batch-records or --value-bytes"
        )),
        other => other.into(),
    }
}

fn append_share(args: &BenchArgs, log: &Log, pool: &[u8], records: u64) -> Result<Vec<u64>, Error> {
    let clock = SystemClock::new();
    let mut builder = BatchBuilder::new();
    let mut nanos = Vec::new();
    let value_bytes = args.value_bytes as usize;
    let mut left = records;
    let mut from = 0usize;
    while left > 0 {
        builder.clear();
        let count = left.min(args.batch_records);
        let now = clock.now();
        for _ in 0..count {
            let upto = from.saturating_add(value_bytes);
            builder.push(now, None, Some(pool.get(from..upto).unwrap_or_default()))?;
            from = upto.saturating_add(1);
            if from.saturating_add(value_bytes) > pool.len() {
                from %= value_bytes.max(1);
            }
        }
        let started = Instant::now();
        let appended = log.append_builder(&mut builder)?;
        if args.sync == Sync::Batch {
            log.flush_through(appended.last)?;
        }
        nanos.push(nanos_since(started));
        left = left.saturating_sub(count);
    }
    Ok(nanos)
}

fn read_back(
    args: &BenchArgs,
    log: &Log,
    from: Offset,
    bytes: u64,
    progress: &ProgressBar,
) -> Result<Rate, Failure> {
    progress.set_message("reading back");
    let started = Instant::now();
    let mut records = 0u64;
    let mut reader = log.reader(from)?;
    while let Some(mut batch) = reader.next_batch()? {
        for record in batch.records()? {
            std::hint::black_box(record.map_err(Error::from)?);
            records = records.saturating_add(1);
        }
    }
    let took = started.elapsed();
    if records < args.records {
        let wanted = args.records;
        return Err(Failure::Refused(format!(
            "only {records} of {wanted} appended records were read back"
        )));
    }
    Ok(Rate::new(bytes, records, took))
}

/// Removes the file on drop, however the measurement ends.
struct RawFile(PathBuf);

impl Drop for RawFile {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

/// Writes the same number of bytes with the same number of calls and syncs to a file beside the
/// directory.
fn raw(args: &BenchArgs, bytes: u64, batches: u64) -> Result<Timed, Failure> {
    let mut path = args.dir.clone().into_os_string();
    path.push(format!(".raw-{}", std::process::id()));
    let path = PathBuf::from(path);
    let fail = |e| Failure::io(format!("write {}", path.display()), &e);
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(fail)?;
    let remove = RawFile(path.clone());
    let size = usize::try_from(bytes.div_ceil(batches.max(1))).unwrap_or(usize::MAX);
    let block = pool(size);
    let mut nanos = Vec::new();
    let started = Instant::now();
    for _ in 0..batches {
        let one = Instant::now();
        file.write_all(&block).map_err(fail)?;
        if args.sync == Sync::Batch {
            file.sync_data().map_err(fail)?;
        }
        nanos.push(nanos_since(one));
    }
    if args.sync == Sync::End {
        file.sync_data().map_err(fail)?;
    }
    let took = started.elapsed();
    close(file, remove);
    Ok(Timed::new(Rate::new(bytes, args.records, took), nanos))
}

fn close(file: File, remove: RawFile) {
    drop(file);
    drop(remove);
}
