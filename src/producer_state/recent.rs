//! The content of a `.recent` file: the state of producers that a snapshot leaves out.
//!
//! Kafka's snapshot has the last batch of each producer. A client that had five batches in flight
//! and lost the answers may resend all of them, so this file keeps the four earlier batches, and
//! the time at which each producer was heard. It identifies its snapshot by the checksum of that
//! file, and has an entry for each producer in it, in the same order. It is never required:
//! without it, the batches are read from the log.
//!
//! ```text
//! version 2 | CRC-32C of the rest 4 | checksum of the snapshot 4 | for each producer:
//!   heard, minus that of the previous entry | number of earlier batches
//!   | for each of these, the latest first:
//!     sequence numbers up to the next batch | offsets up to the next batch
//!     | last offset minus the first | timestamp, minus that of the next batch
//! ```
//!
//! Numbers in entries are varints, as in a record.

use super::snapshot::{HEADER_BYTES, MAX_BYTES, VERSION_BYTES, before};
use super::window::{BATCHES, BatchSeen, Window};
use super::{Producer, ProducerState, Producers};
use crate::record::crc32c;
use crate::record::varint::{read_i64, write, zigzag};
use crate::types::{Offset, Timestamp};

const VERSION: i16 = 0;
/// The size of the version, the checksum, and the checksum of the snapshot.
const FRONT_BYTES: usize = 10;

const MISFIT: &str = "it does not fit its snapshot";

/// Encodes the file beside a snapshot. Returns `None` if it would be too large to be read again.
pub(crate) fn encode(
    producers: &Producers,
    states: &[ProducerState],
    snapshot: &[u8],
) -> Option<Vec<u8>> {
    let mut bytes = VERSION.to_be_bytes().to_vec();
    bytes.extend([0; 4]);
    bytes.extend(checksum_of(snapshot)?);
    let mut put = |number: i64| write(&mut bytes, zigzag(number));
    let mut heard_before = 0i64;
    for state in states {
        let producer = producers.known.get(&state.producer_id)?;
        let heard = producer.heard.as_millis();
        put(heard.wrapping_sub(heard_before));
        heard_before = heard;
        put(producer.window.earlier().count() as i64);
        let Some(mut next) = BatchSeen::restore(state) else { continue };
        for seen in producer.window.earlier() {
            put(i64::from(next.first_sequence).wrapping_sub(i64::from(seen.last_sequence)));
            put(next.first_offset.wrapping_sub(seen.last_offset).cast_signed());
            put(i64::from(seen.offset_delta()));
            put(next.timestamp.as_millis().wrapping_sub(seen.timestamp.as_millis()));
            next = *seen;
        }
    }
    let crc = crc32c(bytes.get(6..)?);
    bytes.get_mut(2..6)?.copy_from_slice(&crc.to_be_bytes());
    (bytes.len() as u64 <= MAX_BYTES).then_some(bytes)
}

/// Decodes the producers of a snapshot and the file beside it, or returns the problem of that
/// file. A time after `now` counts as `now`: the clock was ahead when it was stored.
pub(crate) fn restore(
    bytes: &[u8],
    states: &[ProducerState],
    snapshot: &[u8],
    end: Offset,
    now: Timestamp,
) -> Result<Producers, &'static str> {
    let (Some(version), Some(crc), Some(of)) = (bytes.get(..2), bytes.get(2..6), bytes.get(6..10))
    else {
        return Err("it is too short");
    };
    if version != VERSION.to_be_bytes() {
        return Err("its version is not 0");
    }
    if crc != crc32c(bytes.get(6..).unwrap_or_default()).to_be_bytes() {
        return Err("its checksum does not match");
    }
    if Some(of) != checksum_of(snapshot) {
        return Err("it belongs to another snapshot");
    }
    let mut producers = Producers::restore(states, end, now);
    let mut rest = bytes.get(FRONT_BYTES..).unwrap_or_default();
    let mut heard = Timestamp::from_millis(0);
    for state in states {
        let producer = producers.known.get_mut(&state.producer_id).ok_or(MISFIT)?;
        recall(producer, &mut rest, state, &mut heard).ok_or(MISFIT)?;
        producer.heard = heard.min(now);
    }
    if rest.is_empty() { Ok(producers) } else { Err(MISFIT) }
}

/// Takes the entry of a producer off the front.
fn recall(
    producer: &mut Producer,
    rest: &mut &[u8],
    state: &ProducerState,
    heard: &mut Timestamp,
) -> Option<()> {
    let since = read_i64(rest)?;
    *heard = Timestamp::from_millis(heard.as_millis().checked_add(since)?);
    let count = usize::try_from(read_i64(rest)?).ok().filter(|count| *count < BATCHES)?;
    let mut window = [const { None::<BatchSeen> }; BATCHES];
    let last = BatchSeen::restore(state);
    let mut next = last;
    for slot in window.iter_mut().take(count) {
        next = Some(earlier(rest, &next?)?);
        *slot = next;
    }
    producer.window = Window::default();
    let in_order = window.iter().flatten().rev().chain(&last);
    in_order.for_each(|seen| producer.window.push(*seen));
    Some(())
}

/// Takes the batch before `next` off the front.
fn earlier(rest: &mut &[u8], next: &BatchSeen) -> Option<BatchSeen> {
    let sequences = read_i64(rest)?;
    let offsets = Offset::try_from(read_i64(rest)?).ok().filter(|offsets| *offsets > 0)?;
    let delta = i32::try_from(read_i64(rest)?).ok().filter(|delta| *delta >= 0)?;
    let times = read_i64(rest)?;
    let last_sequence = i64::from(next.first_sequence).checked_sub(sequences)?;
    let last_sequence = i32::try_from(last_sequence).ok().filter(|sequence| *sequence >= 0)?;
    let last_offset = next.first_offset.checked_sub(offsets)?;
    Some(BatchSeen {
        first_sequence: before(last_sequence, delta),
        last_sequence,
        first_offset: last_offset.checked_sub(Offset::try_from(delta).ok()?)?,
        last_offset,
        timestamp: Timestamp::from_millis(next.timestamp.as_millis().checked_sub(times)?),
    })
}

/// Returns the bytes of the checksum of a snapshot.
fn checksum_of(snapshot: &[u8]) -> Option<&[u8]> {
    snapshot.get(..HEADER_BYTES)?.get(VERSION_BYTES..VERSION_BYTES.saturating_add(4))
}
