//! Every byte of every file, with a worked example for each kind of file.
//!
//! The batches, the two indexes and the names are Kafka's. So are the formats of the small files; where
//! this crate keeps one beside the segments that a broker keeps one directory higher, this page says so.
//! All integers are big-endian. A *varint* is a signed number, zig-zag encoded, in groups of seven bits, the
//! low group first.
//!
//! # Names
//!
//! A log is one directory. The text after the last `-` of its name is the partition, what precedes it the
//! topic: `orders-3`. Any other name counts as partition 0 of a topic of that name; this matters only for
//! the checkpoint files.
//!
//! | name | what | kept by |
//! |---|---|---|
//! | `00000000000000000000.log` | batches; the name is the *base offset*, 20 digits: no record in it is below | every segment |
//! | `….index` | offset index | every closed segment; the active one when the log is closed |
//! | `….timeindex` | time index | the same |
//! | `.lock` | locked while a process has the log open for writing | once created, always |
//! | `….snapshot` | the [producers](#snapshot) as of this offset | each roll, every 64 MiB, and a close if there are any |
//! | `.kafka_cleanshutdown` | the log was closed in order | from [`close`](crate::Log::close) to the next opening |
//! | `recovery-point-offset-checkpoint` | everything below was synced | every log |
//! | `log-start-offset-checkpoint` | the log starts here, inside its first segment; the line stands twice, see [durability](super::durability#what-opening-does) | each deletion from the front |
//! | `cleaner-offset-checkpoint` | below it each key is in the log once; the line stands twice, too | each pass of compaction |
//! | `….deleted` | truncated or compacted away; removed when its last reader is done, or by the next opening | truncation, compaction |
//! | `….cleaned`, `….swap` | a replacement being written; complete. The next opening removes the one and puts the other in place | [compaction](super::cleanup) |
//! | `….tmp` | a small file or index being replaced; removed by the next opening | this crate |
//!
//! `….txnindex`, `leader-epoch-checkpoint` and `partition.metadata` are Kafka's too. They are known, and left
//! as they are. Any other name is left alone and reported in [`Recovery::unknown_files`](crate::Recovery::unknown_files).
//!
//! # A batch
//!
//! | at | field | type | meaning |
//! |---|---|---|---|
//! | 0 | base offset | i64 | the offset of its first record |
//! | 8 | length | i32 | the bytes after this field: at least 49 |
//! | 12 | leader epoch | i32 | who appended it; -1 unknown |
//! | 16 | magic | i8 | 2 |
//! | 17 | checksum | u32 | CRC-32C of everything from byte 21 on |
//! | 21 | attributes | i16 | see below |
//! | 23 | last offset delta | i32 | its last offset less its base offset |
//! | 27 | base timestamp | i64 | what the records' times refer to |
//! | 35 | max timestamp | i64 | the latest, or the time the log took it |
//! | 43 | producer id | i64 | -1 none |
//! | 51 | producer epoch | i16 | -1 none |
//! | 53 | base sequence | i32 | -1 none |
//! | 57 | count | i32 | how many records follow |
//! | 61 | records | | one after the other, compressed as a whole if the attributes say so |
//!
//! Offset, length, epoch and magic lie outside the checksum. So a log gives a batch its place without
//! computing anything again.
//!
//! | attribute bits | meaning |
//! |---|---|
//! | 0-2 | codec: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd |
//! | 3 | timestamps: 0 the producer's, 1 the log's (every record reads as `max timestamp`) |
//! | 4 | part of a transaction |
//! | 5 | control records, which no reader of records is shown |
//! | 6 | the base timestamp holds a delete horizon |
//!
//! # A record
//!
//! | field | type | meaning |
//! |---|---|---|
//! | length | varint | the bytes that follow |
//! | attributes | i8 | 0 |
//! | timestamp delta | varint, 64 bits | its time less the base timestamp |
//! | offset delta | varint | its offset less the base offset |
//! | key length, key | varint, bytes | -1: no key, which is not an empty one |
//! | value length, value | varint, bytes | -1: no value |
//! | header count | varint | then for each: name length, name (UTF-8), value length or -1, value |
//!
//! Two records at offsets 7 and 8, a quarter of a second apart. The second has no value:
//!
//! ```
//! use annals::{Record, Timestamp, record::BatchBuilder};
//! # fn hex(bytes: &[u8]) -> String {
//! #     bytes.iter().map(|byte| format!("{byte:02x}")).collect()
//! # }
//!
//! let at = Timestamp::from_millis;
//! let mut builder = BatchBuilder::new();
//! builder.base_offset(7);
//! let now = at(0); // for records without a time: there are none
//! builder.push_record(&Record::new("v").key("k").header("h", "x").timestamp(at(1_700_000_000_000)), now)?;
//! builder.push_record(&Record::tombstone("k").timestamp(at(1_700_000_000_250)), now)?;
//!
//! assert_eq!(hex(builder.finish()?), [
//!     "0000000000000007", // base offset 7
//!     "00000047",         // 71 bytes follow
//!     "ffffffff",         // leader epoch -1
//!     "02",               // magic
//!     "af61051f",         // checksum of all that follows
//!     "0000",             // attributes: no codec, the producer's time
//!     "00000001",         // last offset delta: it ends with offset 8
//!     "0000018bcfe56800", // base timestamp 1,700,000,000,000
//!     "0000018bcfe568fa", // max timestamp, 250 later
//!     "ffffffffffffffff", // no producer id,
//!     "ffff",             // no epoch,
//!     "ffffffff",         // no sequence
//!     "00000002",         // 2 records
//!     //
//!     "18",               // 12 bytes follow
//!     "00",               // attributes
//!     "00",               // timestamp delta 0
//!     "00",               // offset delta 0
//!     "026b",             // key: 1 byte, "k"
//!     "0276",             // value: 1 byte, "v"
//!     "02",               // 1 header
//!     "0268",             // its name: 1 byte, "h"
//!     "0278",             // its value: 1 byte, "x"
//!     //
//!     "10",               // 8 bytes follow
//!     "00",               // attributes
//!     "f403",             // timestamp delta 250
//!     "02",               // offset delta 1
//!     "026b",             // key: "k"
//!     "01",               // value: -1, none
//!     "00",               // no headers
//! ].concat());
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! # A segment: `.log`
//!
//! Batches, back to back, with nothing before, between or behind them. The offsets of each lie above those
//! of the one before. They may leave gaps. An active segment whose room is reserved
//! ([`preallocate`](crate::LogConfig::preallocate)) has zeros behind its last batch.
//!
//! Three appends of one record each, in a log that was closed:
//!
//! ```
//! use annals::fs::{File, Fs, MemFs, Open};
//! use annals::{Log, LogConfig, Record, Timestamp};
//! use std::path::Path;
//! # fn hex(bytes: &[u8]) -> String {
//! #     bytes.iter().map(|byte| format!("{byte:02x}")).collect()
//! # }
//!
//! let fs = MemFs::new();
//! let config = LogConfig::default().fs(fs.clone()).index_interval_bytes(0);
//! let log = Log::open("orders-3", config)?;
//! for second in 0..3 {
//!     let at = Timestamp::from_millis(1_700_000_000_000 + second * 1_000);
//!     log.append(Record::new("v").timestamp(at))?;
//! }
//! log.close()?;
//!
//! let read = |name: &str| -> std::io::Result<Vec<u8>> {
//!     let file = fs.open(&Path::new("orders-3").join(name), Open::ReadOnly)?;
//!     Ok(file.view(file.len()?)?.as_slice().to_vec())
//! };
//! # (|| -> std::io::Result<()> {
//! assert_eq!(hex(&read("00000000000000000000.log")?), [
//!     // position 0: 69 bytes, base offset 0
//!     "0000000000000000", "00000039", "ffffffff", "02", "d3f2ac75", "0000", "00000000",
//!     "0000018bcfe56800", "0000018bcfe56800", "ffffffffffffffff", "ffff", "ffffffff", "00000001",
//!     "0e", "00", "00", "00", "01", "0276", "00",
//!     // position 69: base offset 1
//!     "0000000000000001", "00000039", "ffffffff", "02", "e3eaec48", "0000", "00000000",
//!     "0000018bcfe56be8", "0000018bcfe56be8", "ffffffffffffffff", "ffff", "ffffffff", "00000001",
//!     "0e", "00", "00", "00", "01", "0276", "00",
//!     // position 138: base offset 2
//!     "0000000000000002", "00000039", "ffffffff", "02", "71411359", "0000", "00000000",
//!     "0000018bcfe56fd0", "0000018bcfe56fd0", "ffffffffffffffff", "ffff", "ffffffff", "00000001",
//!     "0e", "00", "00", "00", "01", "0276", "00",
//! ].concat());
//! # Ok(()) })().unwrap();
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! # The indexes: `.index` and `.timeindex`
//!
//! Entries back to back, both columns rising. Offsets are relative to the segment's base.
//!
//! | offset index: 8 bytes | time index: 12 bytes |
//! |---|---|
//! | i32 relative offset: the *last* offset of an append | i64 timestamp: the largest of the segment so far |
//! | i32 position: where that append *began* | i32 relative offset: the last offset of the batch that had it |
//!
//! An append adds an entry to both if more than `index.interval.bytes` were written since the last entries,
//! not counting itself. So a segment's first append never has one. When a segment is closed, the time index
//! gets a last entry for the largest timestamp of all. A time that is not above that of the entry before is left out.
//!
//! A broker reserves room for an index while its segment is active; here the files hold entries only.
//! Times below 0 have no entries.
//!
//! The log above had an interval of 0, so every append but the first has entries:
//!
//! ```
//! # use annals::fs::{File, Fs, MemFs, Open};
//! # use annals::{Log, LogConfig, Record, Timestamp};
//! # use std::path::Path;
//! # fn hex(bytes: &[u8]) -> String {
//! #     bytes.iter().map(|byte| format!("{byte:02x}")).collect()
//! # }
//! # let fs = MemFs::new();
//! # let config = LogConfig::default().fs(fs.clone()).index_interval_bytes(0);
//! # let log = Log::open("orders-3", config)?;
//! # for second in 0..3 {
//! #     let at = Timestamp::from_millis(1_700_000_000_000 + second * 1_000);
//! #     log.append(Record::new("v").timestamp(at))?;
//! # }
//! # log.close()?;
//! # let read = |name: &str| -> std::io::Result<Vec<u8>> {
//! #     let file = fs.open(&Path::new("orders-3").join(name), Open::ReadOnly)?;
//! #     Ok(file.view(file.len()?)?.as_slice().to_vec())
//! # };
//! # (|| -> std::io::Result<()> {
//! assert_eq!(hex(&read("00000000000000000000.index")?), [
//!     "00000001", "00000045", // the append that ended with offset 1 began at 69
//!     "00000002", "0000008a", // the one that ended with offset 2, at 138
//! ].concat());
//!
//! assert_eq!(hex(&read("00000000000000000000.timeindex")?), [
//!     "0000018bcfe56be8", "00000001", // up to offset 1 nothing is later than 1,700,000,001,000
//!     "0000018bcfe56fd0", "00000002", // up to offset 2, than 1,700,000,002,000
//! ].concat());
//! # Ok(()) })().unwrap();
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! # Snapshot
//!
//! `00000000000000000109.snapshot` holds what the log knew of its producers when it ended at 109: from there on, the headers of the
//! batches say the rest. Without one, or with one whose checksum is wrong, an opening reads further back.
//!
//! | at | field | type | meaning |
//! |---|---|---|---|
//! | 0 | version | i16 | 1 |
//! | 2 | checksum | u32 | CRC-32C of all that follows |
//! | 6 | count | i32 | as many entries of 46 bytes |
//! | 0 | producer id | i64 | |
//! | 8 | producer epoch | i16 | |
//! | 10 | last sequence | i32 | of its last batch; -1 if only a marker was seen |
//! | 14 | last offset | i64 | the same |
//! | 22 | offset delta | i32 | last offset less first offset of that batch |
//! | 26 | timestamp | i64 | its largest |
//! | 34 | coordinator epoch | i32 | of the last marker; -1 none |
//! | 38 | transaction's first offset | i64 | where its open transaction began; -1 none |
//!
//! ```
//! # use annals::fs::{File, Fs, MemFs, Open};
//! # use annals::{Log, LogConfig, Timestamp, record::BatchBuilder};
//! # use std::path::Path;
//! # fn hex(bytes: &[u8]) -> String {
//! #     bytes.iter().map(|byte| format!("{byte:02x}")).collect()
//! # }
//! # let fs = MemFs::new();
//! # let config = LogConfig::default().fs(fs.clone()).producer_id_expiration(std::time::Duration::MAX);
//! # let log = Log::open("orders-3", config)?;
//! let mut builder = BatchBuilder::new();
//! builder.producer(4000, 2, 5);
//! for second in 0..3 {
//!     let at = Timestamp::from_millis(1_700_000_000_000 + second * 1_000);
//!     builder.push(at, None, Some(b"v"))?;
//! }
//! log.append_batch(builder.build()?)?;
//! log.roll()?;
//! # let read = |name: &str| -> std::io::Result<Vec<u8>> {
//! #     let file = fs.open(&Path::new("orders-3").join(name), Open::ReadOnly)?;
//! #     Ok(file.view(file.len()?)?.as_slice().to_vec())
//! # };
//! # (|| -> std::io::Result<()> {
//! assert_eq!(hex(&read("00000000000000000003.snapshot")?), [
//!     "0001", "9c87be4e",    // version, checksum
//!     "00000001",            // one producer:
//!     "0000000000000fa0",    // 4000
//!     "0002",                // epoch 2
//!     "00000007",            // its last record had sequence number 7,
//!     "0000000000000002",    // and offset 2,
//!     "00000002",            // in a batch that began two offsets before,
//!     "0000018bcfe56fd0",    // at 1,700,000,002,000
//!     "ffffffff",            // no marker was seen
//!     "ffffffffffffffff",    // no transaction is open
//! ].concat());
//! # Ok(()) })().unwrap();
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! # The small files
//!
//! **Checkpoints** are text: a version, a count, and a line for each entry. A broker keeps one for all its
//! logs in the directory above; here each log has its own, with one line. A malformed one is reported
//! ([`Event::CheckpointIgnored`](crate::Event::CheckpointIgnored)) and counts as none, which costs a longer recovery.
//!
//! **`.kafka_cleanshutdown`** is Kafka's JSON with members of our own, which a broker ignores. They say which log
//! was closed: if the last segment has not the base and length they give, somebody else wrote since; if the
//! checksum does not match, the marker is damaged. In both cases the log is recovered as after a crash.
//!
//! | member | meaning |
//! |---|---|
//! | `version`, `brokerEpoch` | Kafka's: 0, and -1 for none |
//! | `activeSegment`, `activeBytes` | base offset and length of the last segment |
//! | `endOffset` | the end of the log |
//! | `largestTimestamp`, `largestTimestampOffset` | the last segment's, and the last offset of that batch |
//! | `firstTimestamp` | the largest of the segment's first batch: its age counts from there |
//! | `bytesSinceIndexEntry` | so that the next entries come where they would have come |
//! | `offsetIndexEntries`, `timeIndexEntries` | how many entries the last segment's indexes have |
//! | `producers` | how many [producers](#snapshot) the log knows; when none, no snapshot is read |
//! | `segments` | the base offset and length of each segment in turn, if there are at most 20,000: one that is missing between others, or shorter now, is damage |
//! | `checksum` | CRC-32C of all bytes before its comma |
//!
//! **`.lock`** is empty or two lines: the process that has or had the log open, and the name of the machine's
//! run ([`Fs::boot_id`](crate::fs::Fs::boot_id)). The lock itself is the operating system's; the text is for
//! error messages and for [recovery](super::durability#did-the-machine-stop).
//!
//! The same log once more:
//!
//! ```
//! # use annals::fs::{File, Fs, MemFs, Open};
//! # use annals::{Log, LogConfig, Record, Timestamp};
//! # use std::path::Path;
//! # let fs = MemFs::new();
//! # let config = LogConfig::default().fs(fs.clone()).index_interval_bytes(0);
//! # let log = Log::open("orders-3", config)?;
//! # for second in 0..3 {
//! #     let at = Timestamp::from_millis(1_700_000_000_000 + second * 1_000);
//! #     log.append(Record::new("v").timestamp(at))?;
//! # }
//! # log.close()?;
//! # let read = |name: &str| -> std::io::Result<Vec<u8>> {
//! #     let file = fs.open(&Path::new("orders-3").join(name), Open::ReadOnly)?;
//! #     Ok(file.view(file.len()?)?.as_slice().to_vec())
//! # };
//! # (|| -> std::io::Result<()> {
//! let text = |name| Ok::<_, std::io::Error>(String::from_utf8_lossy(&read(name)?).into_owned());
//! assert_eq!(text("recovery-point-offset-checkpoint")?, "0\n1\norders 3 3\n");
//! assert_eq!(text(".kafka_cleanshutdown")?, concat!(
//!     r#"{"version":0,"brokerEpoch":-1,"activeSegment":0,"activeBytes":207,"endOffset":3,"#,
//!     r#""largestTimestamp":1700000002000,"largestTimestampOffset":2,"firstTimestamp":1700000000000,"#,
//!     r#""bytesSinceIndexEntry":69,"offsetIndexEntries":2,"timeIndexEntries":2,"producers":0,"segments":[0,207],"checksum":978353051}"#,
//! ));
//! assert_eq!(text(".lock")?, format!("process {}\nboot boot-1\n", std::process::id()));
//! # Ok(()) })().unwrap();
//! # Ok::<(), annals::Error>(())
//! ```
