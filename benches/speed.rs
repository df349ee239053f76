//! The work of `ratios` under criterion, to follow one figure over time. Each group has the
//! library and the raw limit. For ratios of the two, use `ratios`.
#![allow(
    missing_docs,
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark fails by panicking"
)]

mod limit;
mod work;

use annals::record::{BatchBuilder, BatchRef, Compression, DecodeBuffer};
use annals::{Codec, LogConfig, Timestamp};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use work::Filled;

/// Adds up the times that `run` measures. The amount of work in a run does not depend on
/// criterion.
macro_rules! measured {
    ($group:expr, $name:expr, $run:expr) => {
        $group.bench_function($name, |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| $run).sum())
        })
    };
}

fn append(criterion: &mut Criterion) {
    for (records, value_bytes) in [(100, 1024), (1000, 100)] {
        let values = work::values(records * value_bytes);
        let mut group = criterion.benchmark_group(format!("append {records} x {value_bytes} B"));
        group.sample_size(10).throughput(Throughput::Bytes(values.len() as u64 * 100));
        let open = |dir: &tempfile::TempDir| work::open(dir.path(), LogConfig::default());
        measured!(group, "append_builder", {
            let dir = work::fresh_dir();
            work::append_builder(&open(&dir), &values, value_bytes, 100)
        });
        measured!(group, "append_all", {
            let dir = work::fresh_dir();
            work::append_all(&open(&dir), &values, value_bytes, 100)
        });
        measured!(group, "limit", limit::append(work::fresh_dir().path(), &values, 100));
        group.finish();
    }
}

fn append_each(criterion: &mut Criterion) {
    let value: &[u8] = work::values(100).leak();
    let mut group = criterion.benchmark_group("append 100 B each");
    group.sample_size(10).throughput(Throughput::Elements(16_000));
    for threads in [1, 2, 4, 16] {
        measured!(group, format!("{threads} threads"), {
            let dir = work::fresh_dir();
            let log = work::open(dir.path(), LogConfig::default());
            work::append_each(&log, value, 16_000, threads)
        });
    }
    measured!(group, "limit", limit::append(work::fresh_dir().path(), value, 16_000));
    group.finish();
}

fn durable(criterion: &mut Criterion) {
    const ROOM: u64 = 16 << 20;
    let value = work::values(1024);
    let mut group = criterion.benchmark_group("durable 1 KiB");
    group.sample_size(10);
    for threads in [1, 2, 4, 16] {
        group.throughput(Throughput::Elements(10 * threads as u64));
        for preallocate in [true, false] {
            let place = if preallocate { "preallocated" } else { "growing" };
            measured!(group, format!("{threads} threads, {place}"), {
                let dir = work::fresh_dir();
                let config = LogConfig::default().segment_bytes(ROOM).preallocate(preallocate);
                work::append_durable(&work::open(dir.path(), config), &value, 10, threads)
            });
            measured!(group, format!("limit, {threads} threads, {place}"), {
                let room = if preallocate { ROOM } else { 0 };
                limit::durable_threads(work::fresh_dir().path(), &value, 10, threads, room)
            });
        }
    }
    group.finish();
}

fn read(criterion: &mut Criterion) {
    for (records, value_bytes) in [(100, 1024), (1000, 100)] {
        let filled = Filled::new(160, records, value_bytes);
        let paths = filled.segments();
        let mut group = criterion.benchmark_group(format!("read {records} x {value_bytes} B"));
        group.sample_size(10).throughput(Throughput::Bytes(filled.bytes()));
        let (log, count) = (&filled.log, filled.records());
        measured!(group, "borrowed", work::scan_borrowed(log, count));
        measured!(group, "owned", work::scan_owned(log, count));
        measured!(group, "limit", limit::scan(&paths));
        let offsets = filled.offsets(100);
        let places = filled.places(&offsets);
        let times: Vec<u64> = offsets.iter().map(|offset| offset / records as u64).collect();
        group.throughput(Throughput::Elements(offsets.len() as u64));
        measured!(group, "get", work::get(log, &offsets));
        measured!(group, "offset_for_time", work::times(log, &times));
        measured!(group, "limit of get", limit::point_reads(&paths[0], &places));
        group.finish();
    }
}

fn codecs(criterion: &mut Criterion) {
    let values = work::values(100 * 1000);
    let mut group = criterion.benchmark_group("codec, 1000 x 100 B");
    group.sample_size(10).throughput(Throughput::Bytes(values.len() as u64));
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        if !codec.is_available() {
            continue;
        }
        let mut builder = BatchBuilder::new();
        builder.compression(Compression::of(codec));
        group.bench_function(format!("encode {codec}"), |bencher| {
            bencher.iter(|| {
                builder.clear();
                for value in values.chunks(100) {
                    builder.push(Timestamp::from_millis(1), None, Some(value)).unwrap();
                }
                black_box(builder.finish().unwrap().len())
            });
        });
        let batch = builder.finish().unwrap().to_vec();
        let mut scratch = DecodeBuffer::default();
        group.bench_function(format!("decode {codec}"), |bencher| {
            bencher.iter(|| {
                let batch = BatchRef::parse(&batch).unwrap();
                batch
                    .records(&mut scratch)
                    .unwrap()
                    .filter(|record| black_box(record).is_ok())
                    .count()
            });
        });
    }
    group.finish();
}

fn open(criterion: &mut Criterion) {
    let filled = Filled::new(160, 100, 1024);
    let (bytes, paths) = (filled.bytes(), filled.segments());
    let Filled { dir, log, .. } = filled;
    drop(log);
    let mut group = criterion.benchmark_group("open 16 MiB");
    group.sample_size(10).throughput(Throughput::Bytes(bytes));
    measured!(group, "after a kill", {
        work::forget_recovery_point(dir.path());
        work::reopen(dir.path(), false).0
    });
    measured!(group, "limit", limit::scan(&paths));
    work::reopen(dir.path(), false).1.close().unwrap();
    measured!(group, "after a clean close", {
        let (took, log) = work::reopen(dir.path(), true);
        log.close().unwrap();
        took
    });
    group.finish();
}

fn many_logs(criterion: &mut Criterion) {
    let value: &[u8] = work::values(100).leak();
    let mut group = criterion.benchmark_group("100 logs in turn");
    group.sample_size(10).throughput(Throughput::Elements(10_000));
    measured!(group, "100 appends each", {
        let dir = work::fresh_dir();
        work::append_many(&work::open_many(dir.path(), 100), value, 100)
    });
    measured!(group, "limit", limit::many_files(work::fresh_dir().path(), value, 100, 100));
    group.finish();
}

criterion_group!(speed, append, append_each, durable, read, codecs, open, many_logs);
criterion_main!(speed);
