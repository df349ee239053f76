//! Every byte of every file, with a worked example for each kind of file.
//!
//! The batches, the two indexes and the names are Kafka's. So are the formats of the small files; where
//! a log that is opened by itself keeps one beside its segments that a broker keeps one directory higher, this page says so.
//! A [directory of topics](#a-directory-of-topics) has them where a broker has them.
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
//! | `….recent` | what the snapshot of this offset [leaves out](#recent-batches): ours | each snapshot with a producer |
//! | `.kafka_cleanshutdown` | the log was closed in order | from [`close`](crate::Log::close) to the next opening |
//! | `recovery-point-offset-checkpoint` | everything below was synced; the line stands twice, see [durability](super::durability#what-opening-does) | every log |
//! | `log-start-offset-checkpoint` | the log starts here, inside its first segment; the line stands twice, too | each deletion from the front |
//! | `cleaner-offset-checkpoint` | below it each key is in the log once; the line stands twice, too | each pass of compaction |
//! | `….deleted` | truncated or compacted away; removed when its last reader is done, or by the next opening | truncation, compaction |
//! | `….cleaned`, `….swap` | a replacement being written; complete. The next opening removes the one and puts the other in place | [compaction](super::cleanup) |
//! | `….tmp` | a small file or index being replaced; removed by the next opening | this crate |
//! | `.reserved-room-for-a-full-disk-0` to `-3` | [room set aside](super::durability#a-full-disk): ours, and left alone by a broker | every opening for writing, if there is room |
//!
//! `….txnindex` is Kafka's too: the aborted transactions of a segment. A log here adds none, but where it
//! recovers or truncates a segment, it brings the index in line with the markers that are left.
//! `leader-epoch-checkpoint` and `partition.metadata` are Kafka's too, `topic.properties` is a store's. They are known, and left
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
//! # Compressed records
//!
//! Clients in other languages compress in forms that Kafka's own client never writes. All that Kafka's
//! Java client reads is read here, with the exceptions in the last column:
//!
//! | codec | written | read | differs from Kafka |
//! |---|---|---|---|
//! | gzip | one member | any number of members, with any header fields; then bytes that are no member | the CRC-16 of a member's header is not compared |
//! | snappy | the frame of Java's library, in blocks of 32 KiB | the same with any version and any block size, several frames, or one bare block | |
//! | LZ4 | one frame of independent blocks of 64 KiB | any number of frames; then bytes that are no frame | Kafka reads the first frame only, and rejects skippable frames and linked blocks. A second frame must be whole, and its records must be in the count |
//! | Zstandard | one frame | any number of frames, skippable ones among them | a window above 128 MiB is read, which Kafka rejects; a last frame that is cut off is an error, which Kafka ignores |
//!
//! The checksum of the batch covers the compressed bytes. Checksums inside them are compared as Kafka does: those of gzip
//! members, LZ4 blocks and Zstandard frames are, that of an LZ4 frame's content is not.
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
//! | header count | varint | then for each: name length, name (any bytes, usually UTF-8), value length or -1, value |
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
//! of the one before. Appends leave no offset out; compaction does. Where it would leave one out at the
//! end of a segment, it keeps a batch without records there, so that recovery can tell removed offsets from
//! lost ones. A truncation into a batch and a quarantine do the same. An active segment whose room is reserved
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
//! # Recent batches
//!
//! `00000000000000000109.recent` holds what the snapshot of the same offset has no room for. It is a
//! file of ours: a broker pays no attention to it, and it is never needed. It counts only beside the
//! snapshot whose checksum it names. Its entries are those of the snapshot's producers, in the same
//! order, and their numbers are varints, as in a record.
//!
//! | field | type | meaning |
//! |---|---|---|
//! | version | i16 | 0 |
//! | checksum | u32 | CRC-32C of all that follows |
//! | snapshot | u32 | the checksum of the snapshot |
//! | heard | varint | when a batch of the producer last arrived, in milliseconds; less that of the entry before |
//! | count | varint | the batches before its last one: at most 4, the latest first, each of four numbers |
//! | sequence numbers | varint | the first of the batch after it, less its last |
//! | offsets | varint | the same of offsets: at least 1 |
//! | offset delta | varint | its last offset less its first |
//! | timestamp | varint | that of the batch after it, less its own |
//!
//! # The small files
//!
//! **Checkpoints** are text: a version, a count, and a line for each entry. A broker keeps one for all its
//! logs in the directory above, and so does a store; a log that belongs to neither has its own, with one line. A malformed
//! one is reported ([`Event::CheckpointIgnored`](crate::Event::CheckpointIgnored)) and counts as none, which costs a longer
//! recovery or compaction. That of the log's start is an error: without it, deleted records would be back.
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
//! run ([`Fs::boot_id`](crate::fs::Fs::boot_id)). A log of a store has none of its own. The lock itself is the operating system's: on Linux both that of `flock` and that of
//! `fcntl`, which is the one that brokers take. The [directory is locked](super::limits#who-may-have-it-open) as well. The text is for
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
//! assert_eq!(text("recovery-point-offset-checkpoint")?, "0\n2\norders 3 3\norders 3 3\n");
//! assert_eq!(text(".kafka_cleanshutdown")?, concat!(
//!     r#"{"version":0,"brokerEpoch":-1,"activeSegment":0,"activeBytes":207,"endOffset":3,"#,
//!     r#""largestTimestamp":1700000002000,"largestTimestampOffset":2,"firstTimestamp":1700000000000,"#,
//!     r#""bytesSinceIndexEntry":69,"offsetIndexEntries":2,"timeIndexEntries":2,"producers":0,"segments":[0,207],"checksum":978353051}"#,
//! ));
//! assert_eq!(text(".lock")?, format!("process {}\nboot boot-1\n", std::process::id()));
//! # Ok(()) })().unwrap();
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! # A directory of topics
//!
//! A [`Store`](crate::Store) keeps what a broker keeps in one of its `log.dirs`: a directory for each partition, and the small files above them, once for all.
//!
//! | name | what | kept by |
//! |---|---|---|
//! | `<topic>-<partition>/` | a log, as above, without small files of its own but the next two | [`create_topic`](crate::Store::create_topic), [`add_partitions`](crate::Store::add_partitions) |
//! | `<topic>-<partition>/partition.metadata` | the id of the topic: Kafka's | from before the first record |
//! | `<topic>-0/topic.properties` | how many partitions the topic has, and how it is set up: ours | each change of the topic |
//! | `<topic>-<partition>.<32 digits>-delete/` | a log that is being removed; the next opening finishes it | [`delete_topic`](crate::Store::delete_topic) |
//! | `…-stray/`, `…-future/`, `__cluster_metadata-…/`, `remote-log-index-cache/` | a broker's; left alone | |
//! | `meta.properties` | whose directory it is: Kafka's | the first opening; one that is there stays |
//! | `.lock` | one process at a time | once created, always |
//! | the three checkpoints | a line for each log | as above |
//! | `.kafka_cleanshutdown` | all logs were closed in order, and how each of them was | from [`close`](crate::Store::close) to the next opening |
//! | `.reserved-room-for-a-full-disk-0` to `-3` | as above, for all logs | every opening, if there is room |
//! | `producer-ids.properties` | which ids of producers were given out: ours | the first producer, and each thousand after it |
//!
//! Other directories, such as `lost+found`, are left alone and [listed](crate::Store::unknown_directories); a broker refuses them.
//! Other files are left alone.
//!
//! A directory whose name is that of a partition is one if `topic.properties` counts it, a
//! checkpoint has a line for it, or a file of a log is in it. An empty one is neither a
//! partition nor in the way of one: it is listed with the others, and a topic that gets a
//! partition of that name takes it. One with other files is an error, and so is one with a log
//! beyond the partitions that `topic.properties` counts, unless it has a `partition.metadata`,
//! as a broker that adds a partition writes it.
//!
//! The files that end in `.properties` are Java's text: a key, `=`, and a value in each line; `#` begins a comment.
//!
//! **`topic.properties`** has `partitions`, and what the topic sets [itself](crate::TopicConfig), by Kafka's keys. While partitions are being made it
//! says `state=creating`, and while they are being removed `state=deleting`: with the write of that line a topic is there, or gone, and opening does
//! what a crash left undone of the rest. Beside `state=creating` it has `topic.id`: the id is durable before the first partition gets it.
//! As the file decides what is deleted, nothing in it is guessed at: a line that is not understood takes the topic offline. A topic without
//! that file is a broker's: it has the partitions that are there, and forgets nothing until it is told to; `__consumer_offsets` and
//! `__transaction_state` are compacted.
//!
//! **`meta.properties`**: `version=1`, `node.id`, `cluster.id` and `directory.id`; or `version=0` and `broker.id`, of an old broker. Ids are 16 bytes, as 22
//! characters of URL-safe base64. What else is in it stays.
//!
//! **`producer-ids.properties`** says where the next thousand of ids begins. It is written, durably, before the first of a thousand is given out; a crash
//! loses the rest of them. Without it ids begin above all of a store that the logs know. They begin at
//! [`FIRST_STORE_PRODUCER_ID`](crate::FIRST_STORE_PRODUCER_ID), as a broker gives out those from 0 on.
//!
//! **Lines that stand twice.** No checksum covers a checkpoint, and one wrong digit in it could delete records or keep
//! them for ever. So each log has two equal lines in each of these files, and if they differ, neither is believed. A
//! broker writes one line, which shows that it had the log last. It reads both, and takes the second.
//!
//! **`.kafka_cleanshutdown`** has a member `logs`: the name of each log's directory, and for it the members told above, with a checksum of their own. A log
//! that is not in it, or not as it says, is recovered; the others are not read.
//!
//! ```
//! use annals::fs::{File, Fs, MemFs, Open};
//! use annals::*;
//! use std::path::Path;
//!
//! let fs = MemFs::new();
//! let store = Store::open("data", StoreConfig::default().fs(fs.clone()).maintenance(None))?;
//! let config = TopicConfig::default().partitions(2).set("retention.ms", "-1")?;
//! let orders = store.create_topic("orders", config)?;
//! for second in 0..3 {
//!     let at = Timestamp::from_millis(1_700_000_000_000 + second * 1_000);
//!     orders.partition(1)?.append(Record::new("v").timestamp(at))?;
//! }
//! orders.partition(1)?.delete_before(2)?;
//! assert_eq!(store.new_producer_id()?, FIRST_STORE_PRODUCER_ID);
//! store.close()?;
//!
//! let text = |name: &str| -> std::io::Result<String> {
//!     let file = fs.open(&Path::new("data").join(name), Open::ReadOnly)?;
//!     Ok(String::from_utf8_lossy(file.view(file.len()?)?.as_slice()).into_owned())
//! };
//! # (|| -> std::io::Result<()> {
//! assert_eq!(text("orders-0/topic.properties")?, "partitions=2\nretention.ms=-1\n");
//! assert_eq!(text("orders-1/partition.metadata")?, format!("version: 0\ntopic_id: {}", orders.id()));
//! assert_eq!(text("producer-ids.properties")?, "next.producer.id=4611686018427388904\n");
//! assert_eq!(
//!     text("recovery-point-offset-checkpoint")?,
//!     "0\n4\norders 0 0\norders 0 0\norders 1 3\norders 1 3\n"
//! );
//! assert_eq!(text("log-start-offset-checkpoint")?, "0\n2\norders 1 2\norders 1 2\n");
//! assert_eq!(text(".kafka_cleanshutdown")?, concat!(
//!     r#"{"version":0,"brokerEpoch":-1,"logs":{"#,
//!     r#""orders-0":{"version":0,"brokerEpoch":-1,"activeSegment":0,"activeBytes":0,"endOffset":0,"#,
//!     r#""largestTimestamp":-1,"largestTimestampOffset":0,"firstTimestamp":-1,"bytesSinceIndexEntry":0,"#,
//!     r#""offsetIndexEntries":0,"timeIndexEntries":0,"producers":0,"segments":[0,0],"checksum":1820140101},"#,
//!     r#""orders-1":{"version":0,"brokerEpoch":-1,"activeSegment":0,"activeBytes":207,"endOffset":3,"#,
//!     r#""largestTimestamp":1700000002000,"largestTimestampOffset":2,"firstTimestamp":1700000000000,"#,
//!     r#""bytesSinceIndexEntry":207,"offsetIndexEntries":0,"timeIndexEntries":1,"producers":0,"segments":[0,207],"checksum":793233157}}}"#,
//! ));
//! for line in ["version=1", "node.id=1"] {
//!     assert!(text("meta.properties")?.lines().any(|found| found == line));
//! }
//! # Ok(()) })().unwrap();
//! # Ok::<(), Error>(())
//! ```
//!
//! # What groups have committed: `__consumer_offsets`
//!
//! An ordinary topic of the store, compacted, with 50 partitions. A group is kept in one of them: the hash that Java has for its name, without the sign, by their number.
//! A committed offset and what is known of a group are records, each under its key; a record without a value says that it is
//! forgotten. A text is its length in two bytes and as many bytes of UTF-8, with -1 as length for none. `bytes` have a length of four.
//!
//! | record | key | value, of version 3 |
//! |---|---|---|
//! | an offset | i16 1, group, topic, i32 partition | i16 3, i64 offset, i32 leader epoch (-1: unknown), text of the metadata, i64 when it was committed |
//! | a group | i16 2, group | i16 3, text of the protocol type, i32 generation, text of the assignor or none, text of the leader's id or none, i64 when its state changed, i32 how many members; each: text of its id, of its instance or none, of its client, of its host, i32 longest time between polls, i32 session timeout, bytes of what it subscribes to, bytes of what was assigned to it |
//!
//! Both numbers of a version are read as far as Kafka has written any: 0 to 4 of the values, 0 to 2 of the keys. Of a commit all offsets are in one batch: they hold, or none does.
//!
//! The offset 42, committed by `g1` for partition 3 of `orders`:
//!
//! ```
//! use annals::*;
//! use std::{collections::BTreeMap, sync::Arc};
//! # fn hex(bytes: Option<&[u8]>) -> String {
//! #     bytes.unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect()
//! # }
//!
//! let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
//! let store = Store::in_memory(StoreConfig::default().clock(clock))?;
//! store.create_topic("orders", TopicConfig::default().partitions(4))?;
//! let mut consumer = store.consumer(ConsumerConfig::new("g1"))?;
//! let at = OffsetAndMetadata { offset: 42, leader_epoch: Some(7), metadata: "m".into() };
//! consumer.commit_offsets(BTreeMap::from([(TopicPartition::new("orders", 3), at)]))?;
//!
//! let kept = store.topic("__consumer_offsets")?.partition(42)?; // 3242, the hash of "g1", by 50
//! let record = kept.get(0)?.unwrap();
//! assert_eq!(hex(record.key.as_deref()), [
//!     "0001",             // version: a committed offset
//!     "0002", "6731",     // the group, "g1"
//!     "0006", "6f7264657273", // the topic, "orders"
//!     "00000003",         // the partition
//! ].concat());
//! assert_eq!(hex(record.value.as_deref()), [
//!     "0003",             // version
//!     "000000000000002a", // the next offset to read is 42
//!     "00000007",         // the leader epoch of the last that was read
//!     "0001", "6d",       // the metadata, "m"
//!     "0000018bcfe56800", // committed at 1,700,000,000,000
//! ].concat());
//! # Ok::<(), Error>(())
//! ```
