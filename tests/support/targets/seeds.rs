//! The seeds of the targets: batches and logs of other programs, and logs of this crate.

use super::directories::{DIR, config, input_of};
use super::files::sound;
use super::{Choices, repair};
use crate::{Chance, files};
use annals::fs::MemFs;
use annals::record::{BatchBuilder, BatchHeader};
use annals::{Log, OnCorruption, Timestamp};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The size of the largest file that is used. Larger files show nothing that smaller ones do not.
const MOST_BYTES: usize = 1500;

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors")
}

fn read_all(dir: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, found);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
}

fn below(folder: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = BTreeMap::new();
    read_all(&vectors().join(folder), &mut found);
    found.into_iter().filter(|(_, bytes)| bytes.len() <= MOST_BYTES).collect()
}

fn batches() -> Vec<Vec<u8>> {
    let all = ["batches", "bad", "legacy"].map(below).into_iter().flatten();
    all.map(|(_, bytes)| bytes).chain(packed()).filter(|bytes| bytes.len() <= MOST_BYTES).collect()
}

/// Returns batches compressed in every form that clients write.
fn packed() -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(vectors().join("bytes.txt")).unwrap();
    let digits = text.lines().filter_map(|line| line.strip_prefix("B "));
    let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap();
    digits.map(|digits| digits.as_bytes().chunks(2).map(byte).collect()).collect()
}

fn with_front(front: &[u8], bytes: &[u8]) -> Vec<u8> {
    [front, bytes].concat()
}

fn own(extension: &str) -> Vec<Vec<u8>> {
    let files = files(&sound().closed, DIR);
    let wanted = files.into_iter().filter(|(name, _)| name.ends_with(extension));
    wanted.map(|(_, bytes)| bytes).collect()
}

/// Returns the bytes of a log with one batch of each kind.
fn mixed() -> Vec<u8> {
    let mut offset = 0u64;
    let mut log = Vec::new();
    for mut batch in batches() {
        let Ok(header) = BatchHeader::parse(&batch) else { continue };
        if super::batches::decode(&batch).is_some() && log.len() + batch.len() < 3000 {
            batch[..8].copy_from_slice(&offset.to_be_bytes());
            offset += header.offset_count();
            log.extend(batch);
        }
    }
    repair(&mut log);
    log
}

/// Returns batches in which a few keys occur again and again, with tombstones.
fn keyed() -> Vec<u8> {
    let mut log = Vec::new();
    for n in 0..12u8 {
        let mut builder = BatchBuilder::new();
        builder.base_offset(u64::from(n) * 3);
        for i in 0..3 {
            let value = [n, i];
            let value = (n % 4 != i).then_some(value.as_slice());
            let time = Timestamp::from_millis(i64::from(n) * 10 + i64::from(i));
            builder.push(time, Some(&[(n + i * 2) % 5]), value).unwrap();
        }
        log.extend_from_slice(builder.finish().unwrap());
    }
    log
}

/// Returns the files of two segments with batches of two producers, and the snapshot between them:
/// after a kill, and after a close. The second segment begins at offset 7.
fn numbered() -> [BTreeMap<String, Vec<u8>>; 2] {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs, OnCorruption::Fail)).unwrap();
    let send = |id: i64, sequence: i32, count: i32| {
        let mut builder = BatchBuilder::new();
        builder.producer(id, 0, sequence);
        for _ in 0..count {
            builder.push(Timestamp::from_millis(1_000), None, Some(b"v")).unwrap();
        }
        log.append_batch(builder.build().unwrap()).unwrap();
    };
    send(1, 0, 3);
    send(2, i32::MAX, 2);
    send(1, 3, 2);
    log.roll().unwrap();
    send(2, 1, 1);
    send(1, 5, 2);
    log.flush().unwrap();
    let killed = fs.kill();
    log.close().unwrap();
    [&killed, &fs].map(|fs| {
        let mut files = files(fs, DIR);
        files.insert(".lock".into(), LOCK.to_vec());
        files
    })
}

/// A lock file without the number of this process, so that a mutation is the same in every run.
const LOCK: &[u8] = b"process 1\nboot boot-1\n";

/// Returns the seeds of a target.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let sound = sound();
    match target {
        "batch" => {
            batches().iter().flat_map(|b| [with_front(&[0], b), with_front(&[3], b)]).collect()
        }
        "codec" => {
            let packed = batches().into_iter().filter_map(|batch| {
                let codec = batch.get(22)? & 7;
                let count = *batch.get(60)?;
                (1..=4).contains(&codec).then(|| with_front(&[codec - 1, 10, count], &batch[61..]))
            });
            packed.collect()
        }
        "records" => {
            let plain = batches().into_iter().filter(|b| b.len() > 61 && b[22] & 7 == 0);
            let plain = plain.map(|batch| {
                let count = i32::from_be_bytes(batch[57..61].try_into().unwrap()).clamp(0, 2000);
                with_front(&[(count << 20).to_be_bytes().as_slice(), &[0]].concat(), &batch[61..])
            });
            plain.collect()
        }
        "roundtrip" => {
            let batches = batches().into_iter().map(|batch| with_front(&[0], &batch));
            batches
                .chain((0..8).map(|seed| with_front(&[seed * 2 + 1], &noise(seed, 90))))
                .collect()
        }
        "segment" => {
            let logs = own(".log").into_iter().chain([mixed()]);
            let logs = logs.chain(below("logs").into_iter().map(|(_, bytes)| bytes));
            logs.flat_map(|log| [1, 5, 7, 13].map(|flags| with_front(&[flags], &log))).collect()
        }
        "compaction" => {
            let logs = own(".log").into_iter().chain([mixed(), keyed()]);
            logs.flat_map(|log| [1, 3, 5].map(|flags| with_front(&[flags], &log))).collect()
        }
        "directory" => {
            let both = [&sound.closed, &sound.killed].map(|fs| files(fs, DIR));
            let both = both.into_iter().map(as_small);
            both.chain(numbered())
                .flat_map(|files| [0, 1, 3].map(|flags| input_of(flags, &files)))
                .collect()
        }
        "offset_index" => indexes(".index"),
        "time_index" => indexes(".timeindex"),
        "checkpoints" => checkpoints(),
        "replicate" => {
            let all = own(".log").into_iter().chain([mixed(), keyed()]);
            all.flat_map(|log| [0, 6, 7].map(|flags| with_front(&[flags, 0, 7, 0, 80], &log)))
                .collect()
        }
        "transaction_state" => transaction_states(),
        _ => (0..24).map(|seed| noise(seed, 150)).collect(),
    }
}

/// Returns the first two segments under names that the target knows.
fn as_small(files: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    files
        .into_iter()
        .filter(|(name, _)| !name.starts_with("000") || name.contains("0000."))
        .map(|(name, bytes)| match name.as_str() {
            ".lock" => (name, LOCK.to_vec()),
            _ => (name, bytes),
        })
        .collect()
}

fn indexes(extension: &str) -> Vec<Vec<u8>> {
    let of_each = (0u8..).zip(own(extension));
    of_each.flat_map(|(n, index)| [0, 1].map(|kind| with_front(&[n << 2 | kind], &index))).collect()
}

fn checkpoints() -> Vec<Vec<u8>> {
    let epochs = "0\n2\n0 0\n2 30\n";
    let metadata = "version: 0\ntopic_id: hJ9xQ2BiRy2zOoMUGxJ6Sg\n";
    let lock = "process 1\nboot boot-1\n";
    let point = "0\n1\nt 0 16\n";
    let marker = own(".kafka_cleanshutdown").concat();
    let snapshot = below("logs")
        .into_iter()
        .find(|(path, _)| path.extension().is_some_and(|e| e == "snapshot"));
    let snapshot = snapshot.map(|(_, bytes)| bytes).unwrap_or_default();
    let texts = [
        point.into(),
        "0\n1\nt 0 0\n".into(),
        marker,
        lock.into(),
        epochs.into(),
        metadata.into(),
        snapshot,
        own(".txnindex").concat(),
        "0\n2\nt 0 9\nt 0 9\n".into(),
    ];
    let texts = (0u8..)
        .zip(texts)
        .flat_map(|(n, text)| [0, 1].map(|kind| with_front(&[n << 1 | kind], &text)));
    texts.collect()
}

/// Returns records of `__transaction_state`: an id without a transaction, an ongoing transaction
/// in each version, and a prepared one with tagged fields.
fn transaction_states() -> Vec<Vec<u8>> {
    let key = b"\0\0\0\x05txn-1";
    let front = b"\0\0\0\0\0\0\x0f\xa0\0\x02\0\0\xea\x60";
    let times = b"\0\0\x01\x8b\xcf\xe5\x68\0\0\0\x01\x8b\xcf\xe5\x67\xfb";
    let classic = b"\0\0\0\x01\0\x06orders\0\0\0\x02\0\0\0\0\0\0\0\x03";
    let flexible = b"\x02\x07orders\x03\0\0\0\0\0\0\0\x03\0";
    let tags = b"\x03\0\x08\0\0\0\0\0\0\x0f\xa0\x01\x08\0\0\0\0\0\0\x13\x88\x02\x02\0\x02";
    let values: [(u8, u8, &[u8], &[u8]); 5] = [
        (0, 0, &[0xff; 4], &[]),
        (1, 0, &[0], &[0]),
        (0, 1, classic, &[]),
        (1, 1, flexible, &[0]),
        (1, 2, flexible, tags),
    ];
    let values = values.map(|(version, state, partitions, tags)| {
        let value = [&[0, version], front.as_slice(), &[state], partitions, times, tags].concat();
        [&[key.len() as u8], key.as_slice(), &value].concat()
    });
    values.to_vec()
}

fn noise(seed: u8, bytes: usize) -> Vec<u8> {
    let mut chance = Chance(seed.into());
    (0..bytes).map(|_| chance.next() as u8).collect()
}

/// Returns a mutation of an input, as a fuzzer without feedback would make it.
pub fn mutate(input: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=chance.below(3) {
        if bytes.is_empty() {
            bytes.push(chance.next() as u8);
        }
        let at = chance.below(bytes.len() as u64) as usize;
        match chance.below(8) {
            0 | 1 => bytes[at] ^= 1 << chance.below(8),
            2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][chance.below(5) as usize],
            3 => {
                let number = [i32::MIN, i32::MAX, -1, 0, 1 << 20][chance.below(5) as usize];
                let wide = number.to_be_bytes();
                bytes[at..].iter_mut().zip(wide).for_each(|(byte, new)| *byte = new);
            }
            4 => bytes.truncate(at),
            5 => {
                let upto = (at + 1 + chance.below(40) as usize).min(bytes.len());
                bytes.drain(at..upto);
            }
            6 => {
                let upto = (at + 1 + chance.below(100) as usize).min(bytes.len());
                let again = bytes[at..upto].to_vec();
                let to = chance.below(bytes.len() as u64 + 1) as usize;
                bytes.splice(to..to, again);
            }
            _ => {
                let upto = (at + 1 + chance.below(40) as usize).min(bytes.len());
                bytes[at..upto].fill([0, 0x80, 0xff][chance.below(3) as usize]);
            }
        }
    }
    bytes
}

/// Returns the first byte of an input, which decides how the rest is read.
pub fn front(input: &[u8]) -> u8 {
    Choices(input).byte()
}
