//! Every byte of every file, with a worked example for each kind of file.
//!
//! The batches, the two indexes and the names are Kafka's, and so are the formats of the small
//! files. A broker keeps some of the small files one directory above the partitions. A [directory
//! of topics](#a-directory-of-topics) does the same; a log that you open without a store keeps
//! them beside its segments. All integers are big-endian. A *varint* is a signed number, zig-zag
//! encoded, in groups of seven bits, the low group first.
//!
//! # Names
//!
//! A log is one directory. The text after the last `-` of its name is the partition, and the text
//! before it is the topic: `orders-3`. Any other name counts as partition 0 of a topic of that
//! name; this matters only for the checkpoint files.
//!
//! | name | content | when |
//! |---|---|---|
//! | `00000000000000000000.log` | batches; the name is the *base offset*, 20 digits: no record in the file has a lower offset | for every segment |
//! | `….index` | offset index | for every closed segment; for the active one when the log is closed |
//! | `….timeindex` | time index | as for the offset index |
//! | `.lock` | locked while a process has the log open for writing | once created, always |
//! | `….snapshot` | the state of the [producers](#producers-snapshot) at this offset | at each roll, every 64 MiB, and at a close if there are producers |
//! | `….recent` | the state that the snapshot of this offset [leaves out](#recent-batches-of-producers-recent); not a file of Kafka | with each snapshot that has a producer |
//! | `.kafka_cleanshutdown` | the log was closed cleanly | from [`close`](crate::Log::close) to the next opening |
//! | `recovery-point-offset-checkpoint` | everything below this offset is durable; the line [stands twice](super::durability#what-opening-does) | for every log |
//! | `log-start-offset-checkpoint` | the log starts at this offset, inside its first segment; the line stands twice | at each deletion from the start of the log; at the first opening of a broker's log that begins above 0 |
//! | `leader-epoch-checkpoint` | the [leader epochs](#the-small-files) of the log, and where each began | once the log has an [epoch](crate::Log::set_leader_epoch) |
//! | `cleaner-offset-checkpoint` | below this offset, each key is in the log once; the line stands twice | at each pass of compaction |
//! | `replication-offset-checkpoint` | the [high watermark](crate::Log::set_high_watermark); the line stands twice | if the log is [replicated](crate::LogConfig::replicated), at each maintenance and at close, and when it is lowered |
//! | `….deleted` | a segment that was truncated or compacted away; removed when its last reader is done, or by the next opening | during truncation and compaction |
//! | `….cleaned`, `….swap` | `.cleaned`: a replacement that is incomplete; the next opening removes it. `.swap`: a complete one; the next opening puts it in place | during [compaction](super::cleanup) |
//! | `….tmp` | the new content of a small file or index; removed by the next opening | while annals replaces such a file |
//! | `.reserved-room-for-a-full-disk-0` to `-3` | [reserved room](super::durability#a-full-disk); not files of Kafka, and a broker leaves them alone | at every opening for writing, if there is room |
//!
//! `….txnindex` is a file of Kafka, too: the aborted transactions of a segment, in the order of
//! their markers. Each abort adds an entry, without an fsync of its own. A segment without an abort
//! has no such file. When the log is recovered or truncated, the index is made to match the markers
//! that are left. `partition.metadata` is a file of Kafka, and `topic.properties` is a file of a
//! store; a log does not change them. It leaves files with any other name alone, and reports them
//! in
//! [`Recovery::unknown_files`](crate::Recovery::unknown_files).
//!
//! # A batch
//!
//! | at | field | type | meaning |
//! |---|---|---|---|
//! | 0 | base offset | i64 | the offset of its first record |
//! | 8 | length | i32 | the bytes after this field: at least 49 |
//! | 12 | leader epoch | i32 | the epoch of the leader that appended it; -1 unknown |
//! | 16 | magic | i8 | 2 |
//! | 17 | checksum | u32 | CRC-32C of everything from byte 21 on |
//! | 21 | attributes | i16 | see below |
//! | 23 | last offset delta | i32 | its last offset minus its base offset |
//! | 27 | base timestamp | i64 | the records' timestamps are relative to it |
//! | 35 | max timestamp | i64 | the latest timestamp of its records, or the time of the append |
//! | 43 | producer id | i64 | -1 none |
//! | 51 | producer epoch | i16 | -1 none |
//! | 53 | base sequence | i32 | -1 none |
//! | 57 | count | i32 | how many records follow |
//! | 61 | records | | one after the other, compressed as a whole if the attributes say so |
//!
//! Offset, length, epoch and magic lie outside the checksum. So a log can assign offsets to a
//! batch without computing the checksum again.
//!
//! | attribute bits | meaning |
//! |---|---|
//! | 0-2 | codec: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd |
//! | 3 | timestamps: 0 the producer's, 1 the log's (every record reads as `max timestamp`) |
//! | 4 | part of a transaction |
//! | 5 | control records, which readers of records skip |
//! | 6 | the base timestamp holds a delete horizon |
//!
//! # Compressed records
//!
//! Clients in other languages compress in forms that Kafka's own client never writes. annals reads
//! everything that Kafka's Java client reads, with the exceptions in the last column:
//!
//! | codec | written | read | differs from Kafka |
//! |---|---|---|---|
//! | gzip | one member | any number of members, with any header fields; bytes after the last member are ignored | the CRC-16 of a member's header is not compared |
//! | snappy | the frame of Java's library, in blocks of 32 KiB | the same with any version and any block size, several frames, or one bare block | |
//! | LZ4 | one frame of independent blocks of 64 KiB | any number of frames; bytes after the last frame are ignored | Kafka reads the first frame only, and rejects skippable frames and linked blocks. Here, a second frame must be whole, and the count of the batch must include its records |
//! | Zstandard | one frame | any number of frames, including skippable ones | a window above 128 MiB is read; Kafka rejects it. A truncated last frame is an error; Kafka ignores it |
//!
//! The checksum of the batch covers the compressed bytes. As in Kafka, the checksums of gzip
//! members, LZ4 blocks and Zstandard frames are compared, and the checksum of an LZ4 frame's
//! content is not.
//!
//! # A record
//!
//! | field | type | meaning |
//! |---|---|---|
//! | length | varint | the bytes that follow |
//! | attributes | i8 | 0 |
//! | timestamp delta | varint, 64 bits | its timestamp minus the base timestamp |
//! | offset delta | varint | its offset minus the base offset |
//! | key length, key | varint, bytes | -1: no key, which differs from an empty key |
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
//! let now = at(0); // the time for records that have none; both records have one
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
//! A segment is a sequence of batches, with nothing before, between or after them. The offsets of
//! each batch are above the offsets of the batch before it. Appends skip no offset; compaction
//! does. If compaction would skip the last offset of a segment, it keeps a batch without records
//! there, so that recovery can tell removed offsets from lost ones. A truncation inside a batch
//! and a quarantine also leave such a batch. An active segment with reserved room
//! ([`preallocate`](crate::LogConfig::preallocate)) has zeros after its last batch.
//!
//! Three appends of one record each, in a log that was closed:
//!
//! ```
//! use annals::fs::{File, Fs, MemFs, OpenMode};
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
//!     let file = fs.open(&Path::new("orders-3").join(name), OpenMode::ReadOnly)?;
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
//! An index is a sequence of entries, and both columns increase. Offsets are relative to the base
//! offset of the segment.
//!
//! | offset index: 8 bytes | time index: 12 bytes |
//! |---|---|
//! | i32 relative offset: the *last* offset of an append | i64 timestamp: the largest of the segment so far |
//! | i32 position: where that append *began* | i32 relative offset: the last offset of the batch with that timestamp |
//!
//! An append adds an entry to both indexes if more than `index.interval.bytes` were written since
//! the last entries, not counting the append itself. So the first append of a segment never gets
//! an entry when it is written. When a segment is closed, the time index gets a last entry for the
//! largest timestamp of the segment. A timestamp that is not above the timestamp of the previous
//! entry gets no entry.
//!
//! A broker reserves room for an index while its segment is active. The index files of annals hold
//! entries only. Timestamps below 0 have no entries.
//!
//! The log above had an interval of 0, so every append but the first has entries:
//!
//! ```
//! # use annals::fs::{File, Fs, MemFs, OpenMode};
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
//! #     let file = fs.open(&Path::new("orders-3").join(name), OpenMode::ReadOnly)?;
//! #     Ok(file.view(file.len()?)?.as_slice().to_vec())
//! # };
//! # (|| -> std::io::Result<()> {
//! assert_eq!(hex(&read("00000000000000000000.index")?), [
//!     "00000001", "00000045", // the append that ended with offset 1 began at 69
//!     "00000002", "0000008a", // the append that ended with offset 2 began at 138
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
//! # Producers: `.snapshot`
//!
//! `00000000000000000109.snapshot` holds the state of the producers when the log ended at 109.
//! Opening reads the headers of the batches from that offset on. If the snapshot is missing, or
//! its checksum is wrong, opening reads from an earlier point.
//!
//! | at | field | type | meaning |
//! |---|---|---|---|
//! | 0 | version | i16 | 1 |
//! | 2 | checksum | u32 | CRC-32C of all that follows |
//! | 6 | count | i32 | the number of entries of 46 bytes that follow; positions below are in the entry |
//! | 0 | producer id | i64 | |
//! | 8 | producer epoch | i16 | |
//! | 10 | last sequence | i32 | of its last batch; -1 if the log has only a transaction marker of the producer |
//! | 14 | last offset | i64 | of its last batch |
//! | 22 | offset delta | i32 | last offset minus first offset of that batch |
//! | 26 | timestamp | i64 | the largest timestamp of that batch |
//! | 34 | coordinator epoch | i32 | of the last marker; -1 none |
//! | 38 | transaction's first offset | i64 | where its open transaction began; -1 none |
//!
//! ```
//! # use annals::fs::{File, Fs, MemFs, OpenMode};
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
//! #     let file = fs.open(&Path::new("orders-3").join(name), OpenMode::ReadOnly)?;
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
//! # Recent batches of producers: `.recent`
//!
//! `00000000000000000109.recent` holds state for which the format of the snapshot has no room. It
//! is not a file of Kafka's: a broker ignores it, and opening works without it. It is valid only
//! beside the snapshot whose checksum it names. It has an entry for each producer of the snapshot,
//! in the same order. The numbers in an entry are varints, as in a record.
//!
//! | field | type | meaning |
//! |---|---|---|
//! | version | i16 | 0 |
//! | checksum | u32 | CRC-32C of all that follows |
//! | snapshot | u32 | the checksum of the snapshot |
//! | heard | varint | when a batch of the producer last arrived, in milliseconds, minus that of the previous entry |
//! | count | varint | the number of batches before the last one, at most 4. They follow, the latest first, with four numbers each |
//! | sequence numbers | varint | the first sequence number of the batch after it, minus its own last one |
//! | offsets | varint | the first offset of the batch after it, minus its own last one: at least 1 |
//! | offset delta | varint | its last offset minus its first |
//! | timestamp | varint | the timestamp of the batch after it, minus its own |
//!
//! # The small files
//!
//! **Checkpoints** are text: a version, a count, and a line for each entry. A broker and a store
//! keep one of each kind for all their logs, in the directory above; a log that belongs to neither
//! has its own. A malformed checkpoint is reported
//! ([`Event::CheckpointIgnored`](crate::Event::CheckpointIgnored)) and ignored, which makes the
//! next recovery or compaction longer. A malformed checkpoint of the log's start is an error:
//! without it, deleted records would reappear.
//!
//! **`leader-epoch-checkpoint`** is text, too, and stands beside the segments: the version 0, a
//! count, and a line `epoch start-offset` for each epoch. Both numbers rise from line to line. An
//! epoch is in the file, durably, before the first batch that carries it is written. If the file
//! is malformed or lacks epochs, it is reported and rebuilt from the headers of all batches.
//!
//! **`.kafka_cleanshutdown`** is Kafka's JSON with additional members, which a broker ignores.
//! They describe the log that was closed. If the last segment does not have the base offset and
//! length that they name, another program has written since. If the checksum does not match, the
//! marker is damaged. In both cases the log is recovered as after a crash.
//!
//! | member | meaning |
//! |---|---|
//! | `version`, `brokerEpoch` | Kafka's: 0, and -1 for none |
//! | `activeSegment`, `activeBytes` | base offset and length of the last segment |
//! | `endOffset` | the end of the log |
//! | `largestTimestamp`, `largestTimestampOffset` | the largest timestamp of the last segment, and the last offset of its batch |
//! | `firstTimestamp` | the largest timestamp of the segment's first batch: the age of the segment counts from it |
//! | `bytesSinceIndexEntry` | the bytes since the last entries, so that the next ones keep the interval |
//! | `offsetIndexEntries`, `timeIndexEntries` | how many entries the last segment's indexes have |
//! | `producers` | how many [producers](#producers-snapshot) the log knows; if the number is 0, no snapshot is read |
//! | `epochEntries` | how many leader epochs the log has; missing if it has none. If their file has fewer, it is rebuilt |
//! | `segments` | the base offset and length of each segment in turn, if there are at most 20,000; a segment that is missing between others, or is shorter now, is damage |
//! | `checksum` | CRC-32C of all bytes before its comma |
//!
//! **`.lock`** is empty, or has two lines: the process that has or had the log open, and the boot
//! id of the machine ([`Fs::boot_id`](crate::fs::Fs::boot_id)). This text is for error messages
//! and for [recovery](super::durability#a-dead-process-or-a-loss-of-power). A log of a store has
//! no such file of its own. The lock itself is a lock of the operating system: on Linux both a
//! `flock` lock and an `fcntl` lock, which brokers take. The [directory is
//! locked](super::limits#one-writer-many-readers) as well.
//!
//! The small files of the log above:
//!
//! ```
//! # use annals::fs::{File, Fs, MemFs, OpenMode};
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
//! #     let file = fs.open(&Path::new("orders-3").join(name), OpenMode::ReadOnly)?;
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
//! A [`Store`](crate::Store) keeps the same files as a broker in one of its `log.dirs`: a
//! directory for each partition, and above them one set of small files for all.
//!
//! | name | content | written by |
//! |---|---|---|
//! | `<topic>-<partition>/` | a log, as above; of the small files, it has only the next two | [`create_topic`](crate::Store::create_topic), [`add_partitions`](crate::Store::add_partitions) |
//! | `<topic>-<partition>/partition.metadata` | the id of the topic: a file of Kafka's | the creation of the partition, before its first record |
//! | `<topic>-0/topic.properties` | the number of partitions and the settings of the topic; not a file of Kafka's | each change of the topic |
//! | `<topic>-<partition>.<32 digits>-delete/` | a log that is being removed; the next opening finishes it | [`delete_topic`](crate::Store::delete_topic) |
//! | `…-stray/`, `…-future/`, `__cluster_metadata-…/`, `remote-log-index-cache/` | directories of a broker; left alone | |
//! | `meta.properties` | the ids of the cluster, the node and the directory: a file of Kafka's | the first opening; an existing file stays |
//! | `.lock` | locked while a process has the directory open for writing | once created, always |
//! | the three checkpoints | a line for each log | as above |
//! | `.kafka_cleanshutdown` | all logs were closed cleanly, and the state of each of them | from [`close`](crate::Store::close) to the next opening |
//! | `.reserved-room-for-a-full-disk-0` to `-3` | as above, for all logs | every opening, if there is room |
//! | `producer-ids.properties` | which ids of producers were assigned; not a file of Kafka's | the first producer after an opening, and each thousandth after it; the opening after a crash, if there are transactions |
//!
//! Other directories, such as `lost+found`, are left alone and
//! [listed](crate::Store::unknown_directories); a broker does not start with them. Other files are
//! left alone.
//!
//! A directory with the name of a partition is a partition if `topic.properties` counts it, if a
//! checkpoint has a line for it, or if it holds a file of a log. If none of these is true and the
//! directory is empty, it is left alone and listed, and a topic that gets a partition with this
//! name uses it. If it holds only other files, opening fails. A log beyond the partitions that
//! `topic.properties` counts is an error, too, unless it has a `partition.metadata`: a broker
//! writes one when it adds a partition.
//!
//! The files that end in `.properties` are in Java's text format: a key, `=`, and a value in each
//! line; `#` begins a comment.
//!
//! **`topic.properties`** has `partitions`, and the topic's [own settings](crate::TopicConfig), by
//! Kafka's keys. While partitions are being created it has `state=creating`, and while they are
//! being removed `state=deleting`. The write of that line decides whether the topic exists; after
//! a crash, opening finishes the rest. Beside `state=creating` it has `topic.id`, so that the id
//! is durable before the first partition gets it. The file decides what is deleted, so nothing in
//! it is guessed: a line that cannot be parsed takes the topic offline. A topic without this file
//! comes from a broker. It has the partitions that are in the directory, and deletes nothing until
//! you alter it; `__consumer_offsets` and `__transaction_state` are compacted.
//!
//! **`meta.properties`** has `version=1`, `node.id`, `cluster.id` and `directory.id`; or
//! `version=0` and `broker.id`, from an old broker. Ids are 16 bytes, as 22 characters of URL-safe
//! base64. Other entries are kept.
//!
//! **`producer-ids.properties`** has the id at which the next thousand begins. It is written,
//! durably, before the first id of a thousand is assigned; a crash loses the rest of that
//! thousand. Without the file, ids begin above all ids of a store that the logs know. The first id
//! is [`FIRST_STORE_PRODUCER_ID`](crate::FIRST_STORE_PRODUCER_ID), because a broker assigns ids
//! from 0 on. After a crash of a store with transactions, `first.transactional.producer.id` is the
//! id at which the next thousand began then. A transactional id with a lower producer id gets a new
//! one: a loss of power can take its last epochs from `__transaction_state`, while the partitions
//! know them.
//!
//! **Lines that stand twice.** No checksum covers a checkpoint, and one wrong digit in it could
//! delete records or keep them for ever. So each log has two equal lines in each of these files,
//! and if they differ, both are ignored. There is one exception: two recovery points that differ
//! by one count as the lower one, and mean that the start may be missing in its file ([on a full
//! disk](super::durability#a-full-disk)). A broker writes one line, which shows that a broker was
//! the last to open the log. If a broker finds two lines, it takes the second.
//!
//! **`.kafka_cleanshutdown`** has a member `logs`: the name of each log's directory, with the
//! members listed above and a checksum of their own. A log that is missing in it, or differs from
//! its entry, is recovered; the others are not read.
//!
//! ```
//! use annals::fs::{File, Fs, MemFs, OpenMode};
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
//!     let file = fs.open(&Path::new("data").join(name), OpenMode::ReadOnly)?;
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
//! # Committed offsets: `__consumer_offsets`
//!
//! `__consumer_offsets` is an ordinary topic of the store, compacted, with 50 partitions. Each
//! group is stored in one of them: the Java hash of its name, without the sign, modulo the number
//! of partitions. Each committed offset is a record with its own key, and so is the state of each
//! group; a tombstone deletes it. A text is a length of two bytes, and then that many bytes of
//! UTF-8; a length of -1 means none. `bytes` are a length of four bytes, and then that many bytes.
//!
//! | record | key | value, of version 3 |
//! |---|---|---|
//! | an offset | i16 1, group, topic, i32 partition | i16 3, i64 offset, i32 leader epoch (-1: unknown), text of the metadata, i64 time of the commit |
//! | a group | i16 2, group | i16 3, text of the protocol type, i32 generation, text of the assignor or none, text of the leader's id or none, i64 time of the last change of state, i32 number of members; for each: text of its id, of its instance or none, of its client, of its host, i32 longest time between polls, i32 session timeout, bytes of its subscription, bytes of its assignment |
//!
//! All versions that Kafka has written are read: 0 to 4 for values, 0 to 2 for keys. All offsets
//! of a commit are in one batch, so either all of them are stored or none.
//!
//! Offsets that are committed in a transaction are in a batch of its producer, which begins at
//! sequence number 0, as Kafka has it. They count once the marker of a commit follows, unless a
//! batch in between has committed another offset for the same key, or a tombstone.
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
//! let kept = store.topic("__consumer_offsets")?.partition(42)?; // 3242, the hash of "g1", modulo 50
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
//!
//! # Transactions: `__transaction_state`
//!
//! A store keeps this topic of a broker as it is, and
//! [`TransactionRecord`](crate::TransactionRecord) decodes its records. It is compacted. Each
//! producer with a transactional id has one key in it. The partition is found as for a group, by
//! the hash of the id.
//!
//! | record | key | value, of version 0 |
//! |---|---|---|
//! | a transactional id | i16 0, text of the id | i16 0, i64 producer id, i16 producer epoch, i32 timeout in milliseconds, i8 state, i32 number of topics or -1 for none; for each: text of its name, i32 number of partitions, i32 for each of them; i64 time of the record, i64 time at which the transaction began or -1 |
//!
//! The states are 0 `Empty`, 1 `Ongoing`, 2 `PrepareCommit`, 3 `PrepareAbort`, 4 `CompleteCommit`
//! and 5 `CompleteAbort`. A transaction is decided by the record with 2 or 3. The record with 4 or
//! 5 follows once each partition has its marker. The ids 6 and 7 are states that a broker has only
//! in memory.
//!
//! Version 1 has the same fields in Kafka's *flexible* form. Lengths and numbers of elements are
//! unsigned varints, one more than the number, and 0 for none. Each topic, and the value itself,
//! ends with *tagged fields*: their number, and for each of them its tag and its size, all as
//! unsigned varints, and its content. The value has up to three; a field with its default is left
//! out.
//!
//! | tag | field | type | default |
//! |---|---|---|---|
//! | 0 | the producer id of the previous transaction | i64 | -1 |
//! | 1 | the producer id of the next transaction, if the epochs are used up | i64 | -1 |
//! | 2 | the `transaction.version` of the client | i16 | 0 |
//!
//! ```
//! use annals::*;
//! # fn bytes(hex: &[&str]) -> Vec<u8> {
//! #     let digits: Vec<u32> = hex.concat().chars().filter_map(|c| c.to_digit(16)).collect();
//! #     digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
//! # }
//!
//! let key = bytes(&[
//!     "0000",               // version
//!     "0005", "74786e2d31", // the transactional id, "txn-1"
//! ]);
//! let value = bytes(&[
//!     "0001",             // version
//!     "0000000000000fa0", // the producer 4000
//!     "0003",             // its epoch, 3
//!     "0000ea60",         // aborted after 60 seconds
//!     "02",               // PrepareCommit
//!     "02",               // one topic,
//!     "07", "6f7264657273", "03", "00000000", "00000003", // "orders": two partitions, 0 and 3;
//!     "00",               // the topic has no tagged fields
//!     "0000018bcfe56800", // at 1,700,000,000,000
//!     "0000018bcfe567fb", // began 5 ms before
//!     "02",               // two tagged fields
//!     "00", "08", "0000000000000fa0", // the previous producer id is 4000, too
//!     "02", "02", "0002", // transaction.version=2
//! ]);
//! let record = TransactionRecord::decode(Some(&key), Some(&value)).unwrap().unwrap();
//! let transaction = record.metadata.unwrap();
//! assert_eq!(transaction.state, TransactionState::PrepareCommit);
//! assert_eq!(transaction.partitions.len(), 2);
//! assert_eq!((transaction.previous_producer_id, transaction.client_version), (Some(4000), 2));
//! ```
