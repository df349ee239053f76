//! The raw limits of the machine: the time that a loop of system calls and a checksum takes for
//! the same work, with nothing in between. Each function returns its duration.
//!
//! The preparation is not counted, as on the library's side.

use annals::fs::{DiskFs, Fs, OpenMode};
use annals::record::crc32c;
use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The number of bytes that a raw scan reads at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// Creates an empty file, with room for `reserved` bytes if that is not 0.
fn create(path: &Path, reserved: u64) -> File {
    let file = DiskFs.open(path, OpenMode::CreateNew).unwrap();
    if reserved > 0 {
        file.allocate(reserved).unwrap();
    }
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// Checksums a chunk and writes it, `count` times.
pub fn append(dir: &Path, chunk: &[u8], count: u64) -> Duration {
    let file = create(&dir.join("raw"), 0);
    let start = Instant::now();
    for at in 0..count {
        black_box(crc32c(black_box(chunk)));
        file.write_all_at(chunk, at * chunk.len() as u64).unwrap();
    }
    start.elapsed()
}

/// Checksums a chunk and writes it, with an `fdatasync` after each write.
pub fn durable(dir: &Path, chunk: &[u8], count: u64, reserved: u64) -> Duration {
    let file = create(&dir.join("raw"), reserved);
    // The log's side has also synced a file of this name earlier.
    file.sync_all().unwrap();
    let start = Instant::now();
    for at in 0..count {
        black_box(crc32c(black_box(chunk)));
        file.write_all_at(chunk, at * chunk.len() as u64).unwrap();
        file.sync_data().unwrap();
    }
    start.elapsed()
}

/// Makes one `fdatasync` for each group of writes, all from one thread. No hand-over between
/// threads can be faster.
pub fn durable_grouped(
    dir: &Path,
    chunk: &[u8],
    groups: u64,
    group: u64,
    reserved: u64,
) -> Duration {
    let file = create(&dir.join("raw"), reserved);
    file.sync_all().unwrap();
    let start = Instant::now();
    for at in 0..groups * group {
        black_box(crc32c(black_box(chunk)));
        file.write_all_at(chunk, at * chunk.len() as u64).unwrap();
        if at % group == group - 1 {
            file.sync_data().unwrap();
        }
    }
    start.elapsed()
}

/// Makes one `fdatasync` for each group of writes, each write from its own thread: all threads
/// write, one syncs, all continue.
pub fn durable_threads(
    dir: &Path,
    chunk: &[u8],
    rounds: u64,
    threads: usize,
    reserved: u64,
) -> Duration {
    let file = create(&dir.join("raw"), reserved);
    file.sync_all().unwrap();
    let place = AtomicU64::new(0);
    let barrier = Barrier::new(threads);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..rounds {
                    black_box(crc32c(black_box(chunk)));
                    let at = place.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                    file.write_all_at(chunk, at).unwrap();
                    if barrier.wait().is_leader() {
                        file.sync_data().unwrap();
                    }
                    barrier.wait();
                }
            });
        }
    });
    start.elapsed()
}

/// Reads files from start to end, and checksums their bytes.
pub fn scan(paths: &[PathBuf]) -> Duration {
    let mut buffer = vec![0; CHUNK_BYTES];
    let start = Instant::now();
    for path in paths {
        let file = File::open(path).unwrap();
        let mut at = 0;
        loop {
            let read = file.read_at(&mut buffer, at).unwrap();
            if read == 0 {
                break;
            }
            black_box(crc32c(black_box(&buffer[..read])));
            at += read as u64;
        }
    }
    start.elapsed()
}

/// Reads and checksums pieces of a file whose positions are known.
pub fn point_reads(path: &Path, places: &[(u64, usize)]) -> Duration {
    let file = File::open(path).unwrap();
    let mut buffer = vec![0; places.iter().map(|(_, len)| *len).max().unwrap_or(0)];
    let start = Instant::now();
    for &(at, len) in places {
        file.read_exact_at(&mut buffer[..len], at).unwrap();
        black_box(crc32c(black_box(&buffer[..len])));
    }
    start.elapsed()
}

/// Writes to many files in turn, `rounds` times.
pub fn many_files(dir: &Path, chunk: &[u8], files: usize, rounds: u64) -> Duration {
    let files: Vec<File> = (0..files).map(|n| create(&dir.join(n.to_string()), 0)).collect();
    let start = Instant::now();
    for round in 0..rounds {
        for file in &files {
            black_box(crc32c(black_box(chunk)));
            file.write_all_at(chunk, round * chunk.len() as u64).unwrap();
        }
    }
    start.elapsed()
}

/// Does the least work that a compaction of files needs. Reads the files twice and checksums all
/// bytes both times. Writes the `kept` bytes, checksummed, to a new file, and syncs it and two
/// small files. Then removes files like those that were read. Returns the duration without and
/// with the removal.
pub fn compact(paths: &[PathBuf], dir: &Path, kept: u64) -> (Duration, Duration) {
    let chunk = vec![b'a'; CHUNK_BYTES];
    let copy = |path: &PathBuf| {
        let copy = dir.join(path.file_name().unwrap());
        std::fs::copy(path, &copy).unwrap();
        File::open(&copy).unwrap().sync_all().unwrap();
        copy
    };
    let old: Vec<PathBuf> = paths.iter().map(copy).collect();
    let start = Instant::now();
    scan(paths);
    scan(paths);
    let file = create(&dir.join("raw"), 0);
    let mut at = 0;
    while at < kept {
        let bytes = &chunk[..CHUNK_BYTES.min((kept - at) as usize)];
        black_box(crc32c(black_box(bytes)));
        file.write_all_at(bytes, at).unwrap();
        at += bytes.len() as u64;
    }
    file.sync_all().unwrap();
    for name in ["raw.index", "raw.timeindex"] {
        let file = create(&dir.join(name), 0);
        file.write_all_at(&chunk[..4096], 0).unwrap();
        file.sync_all().unwrap();
    }
    let done = start.elapsed();
    (done, done + unlink(&old))
}

/// Removes files.
pub fn unlink(paths: &[PathBuf]) -> Duration {
    let start = Instant::now();
    for path in paths {
        std::fs::remove_file(path).unwrap();
    }
    start.elapsed()
}
