//! Each piece of work compared with the raw limit of the machine, by turns in one run: ours,
//! limit, ours, limit. The result is the median of the ratios of neighbours, because a shared
//! machine is faster at one moment than at another.
//!
//! `cargo bench --bench ratios` prints a table in Markdown. Words after `--` choose rows; a word
//! that ends in `$` must match the end of a row's name. `--test` runs a little of everything and
//! measures no speed. `RATIOS_PAIRS` is the number of pairs, 7 by default. With `RATIOS_LARGE`,
//! the logs that are opened have 1 GiB instead of 256 MiB.
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

use annals::{IsolationLevel, LogConfig};
use pairs::{Run, Unit};
use std::time::Duration;
use work::Filled;

fn main() {
    let run = Run::from_environment();
    run.head("limit");
    append_batches(&run);
    append_each(&run);
    durable(&run);
    reads(&run);
    isolation(&run);
    opening(&run);
    many_logs(&run);
}

fn append_batches(run: &Run) {
    for (records, value_bytes, batches, target) in
        [(100, 1024, 1300, "0.85"), (1000, 100, 1300, "0.65")]
    {
        let values = work::values(records * value_bytes);
        let batches = run.size(batches);
        let unit = Unit::Bytes(values.len() as u64 * batches);
        let limit = || limit::append(work::fresh_dir().path(), &values, batches);
        type Append = fn(&annals::Log, &[u8], usize, u64) -> Duration;
        let ways: [(&str, Append, &str); 2] = [
            ("append_builder", work::append_builder, target),
            ("append_all", work::append_all, ""),
        ];
        for (name, append, target) in ways {
            let ours = || {
                let dir = work::fresh_dir();
                let log = work::open(dir.path(), LogConfig::default());
                append(&log, &values, value_bytes, batches)
            };
            let name = format!("append {records} x {value_bytes} B, {name}");
            run.row(&name, target, unit, ours, limit);
        }
    }
}

fn append_each(run: &Run) {
    let value: &[u8] = work::values(100).leak();
    let count = run.size(320_000);
    let unit = Unit::Calls(count);
    let ours = |threads| {
        let dir = work::fresh_dir();
        let log = work::open(dir.path(), LogConfig::default());
        work::append_each(&log, value, count, threads)
    };
    run.row(
        "append 100 B each",
        "0.75",
        unit,
        || ours(1),
        || limit::append(work::fresh_dir().path(), value, count),
    );
    run.row(
        "append 100 B each, against writes of a whole batch",
        "",
        unit,
        || ours(1),
        || {
            // The headers of the batch and of its record surround the value.
            limit::append(work::fresh_dir().path(), &work::values(100 + 61 + 8), count)
        },
    );
    for threads in [2, 4, 16] {
        let target = if threads == 4 { "1.00" } else { "" };
        let name = format!("append 100 B each, {threads} threads, against ours with 1");
        run.row(&name, target, unit, || ours(threads), || ours(1));
    }
}

fn durable(run: &Run) {
    let value = work::values(1024);
    for preallocate in [true, false] {
        let place = if preallocate { "preallocated" } else { "growing" };
        let reserved = if preallocate { 64 << 20 } else { 0 };
        let config = || {
            let config = LogConfig::default().preallocate(preallocate);
            if preallocate { config.segment_bytes(reserved) } else { config }
        };
        for threads in [1, 2, 4, 16] {
            let rounds = run.size(if threads == 1 { 300 } else { 200 });
            let unit = Unit::Calls(rounds * threads as u64);
            let target = match threads {
                1 => "0.85",
                16 => "0.95",
                _ => "",
            };
            let ours = || {
                let dir = work::fresh_dir();
                let log = work::open(dir.path(), config());
                work::append_durable(&log, &value, rounds, threads)
            };
            let raw = || {
                let dir = work::fresh_dir();
                if threads == 1 {
                    limit::durable(dir.path(), &value, rounds, reserved)
                } else {
                    limit::durable_threads(dir.path(), &value, rounds, threads, reserved)
                }
            };
            let name = format!("durable 1 KiB, {threads} threads, {place}");
            run.row(&name, if preallocate { target } else { "" }, unit, ours, raw);
            if threads == 16 && preallocate {
                let name = format!("{name}, against one thread's groups");
                let group = threads as u64;
                run.row(&name, "", unit, ours, || {
                    let dir = work::fresh_dir();
                    limit::durable_grouped(dir.path(), &value, rounds, group, reserved)
                });
            }
        }
    }
}

fn reads(run: &Run) {
    for (records, value_bytes, target) in [(100, 1024, "0.85"), (1000, 100, "0.60")] {
        let name = |work: &str| format!("{work}, {records} x {value_bytes} B");
        let works = ["scan borrowed", "scan owned", "get at random", "time lookup at random"];
        if !works.iter().any(|work| run.wants(&name(work))) {
            continue;
        }
        let filled = Filled::new(run.size(2500), records, value_bytes);
        let unit = Unit::Bytes(filled.bytes());
        let paths = filled.segments();
        let raw = || limit::scan(&paths);
        run.row(
            &name("scan borrowed"),
            target,
            unit,
            || work::scan_borrowed(&filled.log, filled.records()),
            raw,
        );
        run.row(
            &name("scan owned"),
            "",
            unit,
            || work::scan_owned(&filled.log, filled.records()),
            raw,
        );
        if value_bytes != 100 {
            continue;
        }
        let offsets = filled.offsets(run.size(8000) as usize);
        let places = filled.places(&offsets);
        let unit = Unit::Calls(offsets.len() as u64);
        let raw = || limit::point_reads(&paths[0], &places);
        run.row(&name("get at random"), "0.80", unit, || work::get(&filled.log, &offsets), raw);
        let times: Vec<u64> = offsets.iter().map(|offset| offset / 1000).collect();
        run.row(&name("time lookup at random"), "", unit, || work::times(&filled.log, &times), raw);
    }
}

/// Compares the isolation levels with each other, and not with the machine.
fn isolation(run: &Run) {
    let [all, committed] = [IsolationLevel::ReadUncommitted, IsolationLevel::ReadCommitted];
    let name = "scan committed against uncommitted, 100 x 100 B";
    if run.wants(name) {
        let filled = Filled::new(run.size(20_000), 100, 100);
        let scan = |level| work::scan_at(&filled.log, level, filled.records());
        let unit = Unit::Bytes(filled.bytes());
        run.row(name, "1.00", unit, || scan(committed), || scan(all));
    }
    let name = "scan committed against uncommitted, 1 % aborted";
    if run.wants(name) {
        let dir = work::fresh_dir();
        let log = work::open(dir.path(), LogConfig::default());
        let transactions = run.size(20_000);
        let shown = work::fill_transactions(&log, transactions, 100);
        let unit = Unit::Calls(transactions);
        let scan = || work::scan_at(&log, committed, shown);
        run.row(name, "0.90", unit, scan, || work::scan_at(&log, all, transactions * 100));
    }
}

fn opening(run: &Run) {
    if !run.wants("open after a clean close") && !run.wants("open after a kill") {
        return;
    }
    let large = std::env::var_os("RATIOS_LARGE").is_some();
    let batches = run.size(if large { 10_400 } else { 2600 });
    let filled = Filled::new(batches, 100, 1024);
    let small = Filled::new(batches.div_ceil(16), 100, 1024);
    let mib = filled.bytes() >> 20;
    let (bytes, paths) = (filled.bytes(), filled.segments());
    let Filled { dir, log, .. } = filled;
    let Filled { dir: small_dir, log: small_log, .. } = small;
    // Drop the log without closing it, so that the next opening finds it as after a kill. The
    // bytes are synced; otherwise the opening would wait for the disk to write them.
    drop(log);
    let killed = || {
        // Opening makes the bytes durable and moves the recovery point to the end. Without a
        // recovery point, it reads everything.
        work::forget_recovery_point(dir.path());
        work::reopen(dir.path(), false).0
    };
    let name = format!("open after a kill, {mib} MiB");
    run.row(&name, "0.80", Unit::Bytes(bytes), killed, || limit::scan(&paths));
    let (_, log) = work::reopen(dir.path(), false);
    log.close().unwrap();
    small_log.close().unwrap();
    let reopen = |dir: &std::path::Path| {
        let (took, log) = work::reopen(dir, true);
        log.close().unwrap();
        took
    };
    let name = format!("open after a clean close, {mib} MiB, against a 16th of it");
    run.row(&name, "1.00", Unit::Calls(1), || reopen(dir.path()), || reopen(small_dir.path()));
}

fn many_logs(run: &Run) {
    let name = "1,000 logs, 100 B each in turn";
    if !run.wants(name) {
        return;
    }
    let value: &[u8] = work::values(100).leak();
    let count = run.size(1000).max(100) as usize;
    let rounds = run.size(100);
    let mut held = (0, 0);
    run.row(
        name,
        "0.60",
        Unit::Calls(count as u64 * rounds),
        || {
            let dir = work::fresh_dir();
            let before = (entries("/proc/self/fd"), entries("/proc/self/task"));
            let logs = work::open_many(dir.path(), count);
            let took = work::append_many(&logs, value, rounds);
            held = (entries("/proc/self/fd") - before.0, entries("/proc/self/task") - before.1);
            took
        },
        || limit::many_files(work::fresh_dir().path(), value, count, rounds),
    );
    let each = held.0 as f64 / count as f64;
    println!("| {count} logs: descriptors a log | {each:.2} | | | at most 3 |");
    println!("| {count} logs: threads | {} | | | 0 |", held.1);
}

/// Returns the number of entries of a directory; 0 if it does not exist.
fn entries(dir: &str) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}
