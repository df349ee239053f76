//! Compaction and retention: their speed compared with the raw limit of the machine, their effect
//! on appends and reads that run meanwhile, and their memory. Both sides take turns in one run, as
//! in `ratios`, with the same arguments.
#![allow(
    missing_docs,
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking and prints what it found"
)]

mod limit;
mod pairs;
mod work;

use annals::{Log, LogConfig, Maintainer, MaintainerConfig};
use pairs::{Run, Unit, median};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use std::time::{Duration, Instant};
use work::Keyed;

/// Counts allocations of this size or more. The key map is one of them; no allocation of an append
/// is.
const COUNTED_BYTES: usize = 16 << 10;

static HELD: AtomicIsize = AtomicIsize::new(0);
static MOST: AtomicIsize = AtomicIsize::new(0);

struct Counting;

fn count(bytes: isize) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    MOST.fetch_max(held, Ordering::Relaxed);
}

// SAFETY: every call is passed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= COUNTED_BYTES {
            count(layout.size() as isize);
        }
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= COUNTED_BYTES {
            count(layout.size() as isize);
        }
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if layout.size() >= COUNTED_BYTES {
            count(-(layout.size() as isize));
        }
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        let counted = |bytes: usize| if bytes >= COUNTED_BYTES { bytes as isize } else { 0 };
        if layout.size().max(bytes) >= COUNTED_BYTES {
            count(counted(bytes) - counted(layout.size()));
        }
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns a log of 2,000,000 small records, most of them superseded.
fn superseded(run: &Run) -> Keyed {
    let records = run.size(2_000_000);
    Keyed { records, value_bytes: 100, keys: records.div_ceil(20), batch: 1000 }
}

/// Returns a log of 400,000 records of 1 KiB, all of which stay.
fn distinct(run: &Run) -> Keyed {
    let records = run.size(400_000);
    Keyed { records, value_bytes: 1024, keys: records, batch: 100 }
}

fn main() {
    let run = Run::from_environment();
    run.head("limit, or without");
    compaction(&run);
    beside_compaction(&run);
    retention(&run.at_most(3));
    memory(&run);
    quiet(&run);
}

fn compaction(run: &Run) {
    for (keyed, what) in [(superseded(run), "1 in 20 kept"), (distinct(run), "all kept")] {
        let name = format!("compact {} x {} B, {what}", keyed.records, keyed.value_bytes);
        let with =
            format!("{name}, until the old files are closed, against the limit with them removed");
        if !run.wants(&with) {
            continue;
        }
        let dir = work::fresh_dir();
        let log = work::open(dir.path(), work::compacted());
        keyed.fill(&log);
        let mut paths = work::segments(&dir.path().join("bench-0"));
        let _active = paths.pop();
        let kept = Cell::new(0);
        let ours = || {
            let dir = work::fresh_dir();
            let log = work::open(dir.path(), work::compacted());
            keyed.fill(&log);
            let took = work::compact(&log, &keyed);
            kept.set(work::segments(&dir.path().join("bench-0")).iter().map(bytes).sum());
            // A closed log has freed all segments that were removed.
            let start = Instant::now();
            log.close().unwrap();
            (took, took + start.elapsed())
        };
        let raw = || limit::compact(&paths, work::fresh_dir().path(), kept.get());
        let pairs: Vec<_> = (0..run.pairs).map(|_| (ours(), raw())).collect();
        let unit = Unit::Bytes(paths.iter().map(bytes).sum());
        let (mut ours, mut raw) = (pairs.iter(), pairs.iter());
        run.row(&name, "0.40", unit, || ours.next().unwrap().0.0, || raw.next().unwrap().1.0);
        let (mut ours, mut raw) = (pairs.iter(), pairs.iter());
        run.row(&with, "", unit, || ours.next().unwrap().0.1, || raw.next().unwrap().1.1);
    }
}

fn bytes(path: &PathBuf) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

/// Does work while another thread compacts the log again and again.
fn while_compacting<T>(log: &Log, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    let begun = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                begun.store(true, Ordering::Relaxed);
                log.compact().unwrap();
            }
        });
        while !begun.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })
}

fn beside_compaction(run: &Run) {
    for (batch, value_bytes, calls) in [(1, 100, 400_000), (100, 1024, 3000)] {
        let name = match batch {
            1 => "100 B each".to_owned(),
            _ => format!("{batch} x {value_bytes} B"),
        };
        let shares = [("median", 500, ""), ("p99", 990, "at most 2"), ("p99.9", 999, "")];
        if !shares
            .iter()
            .any(|(share, ..)| run.wants(&format!("append {name} while compacting, {share}")))
        {
            continue;
        }
        let stored =
            Keyed { records: run.size(1_000_000), keys: run.size(100_000), ..superseded(run) };
        let calls = run.size(calls);
        let append = |compacting: bool| {
            let dir = work::fresh_dir();
            let log = work::open(dir.path(), work::compacted().segment_bytes(64 << 20));
            stored.fill(&log);
            let append = || work::append_keyed(&log, calls, batch, value_bytes, stored.keys);
            if compacting { while_compacting(&log, append) } else { append() }
        };
        let mut pairs = Vec::new();
        for _ in 0..run.pairs {
            pairs.push((append(true), append(false)));
        }
        for (share, thousandth, target) in shares {
            let at = |took: &[Duration]| took[took.len() * thousandth / 1000];
            let (mut with, mut without) = (pairs.iter(), pairs.iter());
            run.row(
                &format!("append {name} while compacting, {share}"),
                target,
                Unit::Latency,
                || at(&with.next().unwrap().0),
                || at(&without.next().unwrap().1),
            );
        }
    }
    scan_beside_compaction(run);
}

fn scan_beside_compaction(run: &Run) {
    let name = "scan 100 x 1024 B while compacting";
    if !run.wants(name) {
        return;
    }
    let stored = Keyed { records: run.size(200_000), keys: run.size(200_000), ..distinct(run) };
    let dir = work::fresh_dir();
    let log = work::open(dir.path(), work::compacted().segment_bytes(64 << 20));
    stored.fill(&log);
    let bytes = work::segments(&dir.path().join("bench-0")).iter().map(bytes).sum::<u64>();
    let rounds = if run.test { 1 } else { 10 };
    let scan = || (0..rounds).map(|_| work::scan_borrowed(&log, stored.records)).sum();
    run.row(name, "0.50", Unit::Bytes(bytes * rounds), || while_compacting(&log, scan), scan);
}

fn retention(run: &Run) {
    let segments = run.size(10_000);
    let name = format!("delete {segments} segments");
    if !run.wants(&name) {
        return;
    }
    let fill = || {
        let dir = work::fresh_dir();
        // A batch of one record fills a segment.
        let config = LogConfig::default().segment_bytes(200).retention_bytes(1);
        let log = work::open(dir.path(), config);
        for _ in 0..=segments {
            log.append(annals::Record::new([b'a'; 100].as_slice())).unwrap();
        }
        log.flush().unwrap();
        (log, dir)
    };
    let each = Cell::new(Vec::new());
    let ours = || {
        let (log, _dir) = fill();
        let start = Instant::now();
        let report = log.maintain().unwrap();
        let took = start.elapsed();
        assert!(report.segments_deleted as u64 >= segments);
        let mut all = each.take();
        all.push(took.as_secs_f64() * 1e6 / report.segments_deleted as f64);
        each.set(all);
        took
    };
    let raw = || {
        let (log, dir) = fill();
        drop(log);
        let entries = std::fs::read_dir(dir.path().join("bench-0")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut paths: Vec<_> = paths
            .filter(|path| {
                path.extension()
                    .is_some_and(|ext| ext == "log" || ext == "index" || ext == "timeindex")
            })
            .collect();
        paths.sort();
        limit::unlink(&paths)
    };
    run.row(&name, "", Unit::Calls(1), ours, raw);
    let each = each.take();
    println!("| {name}: each | {:.1} us | | | |", median(&each));
}

/// Measures the processor time of an idle process with a thousand logs and one maintainer,
/// compared with the same process without the maintainer.
fn quiet(run: &Run) {
    let count = run.size(1000);
    let name = format!("CPU of {count} logs in quiet ten seconds");
    if !run.wants(&name) {
        return;
    }
    let spent = |maintainer: Option<&Maintainer>| {
        let dir = work::fresh_dir();
        let logs: Vec<_> = (0..count)
            .map(|n| {
                let config = if n % 2 == 0 { work::compacted() } else { LogConfig::default() };
                let log = Log::open(dir.path().join(format!("bench-{n}")), config).unwrap();
                log.append(annals::Record::new("v").key("k")).unwrap();
                log.roll().unwrap();
                log.append(annals::Record::new("v").key("k")).unwrap();
                if let Some(maintainer) = maintainer {
                    maintainer.add(&log).unwrap();
                }
                log
            })
            .collect();
        let nothing_left = |m: &Maintainer| m.stats().waiting + m.stats().running == 0;
        while !maintainer.is_none_or(nothing_left) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let before = cpu();
        std::thread::sleep(Duration::from_millis(if run.test { 100 } else { 10_000 }));
        let spent = cpu().map(|after| after.saturating_sub(before.unwrap_or_default()));
        drop(logs);
        spent
    };
    // One round a second; the default is one every 15 seconds.
    let config = MaintainerConfig::default().interval(Duration::from_secs(1));
    let maintainer = Maintainer::new(config).unwrap();
    let (with, without) = (spent(Some(&maintainer)), spent(None));
    let show = |spent: Option<Duration>| spent.map_or("?".to_owned(), |spent| format!("{spent:?}"));
    println!("| {name}, ten rounds | {} | {} | | |", show(with), show(without));
}

/// Returns the processor time of this process so far, in hundredths of a second, if the system
/// reports it.
fn cpu() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok());
    Some(Duration::from_millis(ticks.sum::<u64>() * 10))
}

/// Measures the peak memory of compacting a log with this many keys, above its baseline.
fn memory(run: &Run) {
    if !run.wants("memory of the map") {
        return;
    }
    let most = |keys: u64| {
        let dir = work::fresh_dir();
        let config = work::compacted().dedupe_buffer_bytes(1 << 30);
        let log = work::open(dir.path(), config);
        let keyed = Keyed { records: keys, value_bytes: 1, keys, batch: 1000 };
        keyed.fill(&log);
        let before = HELD.load(Ordering::Relaxed);
        MOST.store(before, Ordering::Relaxed);
        work::compact(&log, &keyed);
        (MOST.load(Ordering::Relaxed) - before) as f64
    };
    for keys in [1000, 100_000, 1_000_000, 10_000_000] {
        let keys = run.size(keys);
        let bytes = most(keys);
        println!(
            "| memory of the map and the pass, {keys} keys | {:.1} MB | | {:.1} B a key | |",
            bytes / 1e6,
            bytes / keys as f64
        );
    }
}
