use super::snapshot::{decode, encode, fits, is_possible};
use super::*;
use crate::error::ProducerStateError;
use crate::random::SplitMix64;
use crate::record::{BatchBuilder, BatchRef};
use std::collections::BTreeMap;

const T0: i64 = 1_700_000_000_000;
const NOW: Timestamp = Timestamp::from_millis(T0);

/// Returns the header of a batch as stored in the log.
fn batch(
    id: ProducerId,
    epoch: ProducerEpoch,
    sequence: Sequence,
    count: i32,
    base: Offset,
) -> BatchHeader {
    let mut builder = BatchBuilder::new();
    builder.producer(id, epoch, sequence).base_offset(base);
    for _ in 0..count {
        builder.push(Timestamp::from_millis(T0 + base as i64), None, Some(b"v")).unwrap();
    }
    *BatchRef::parse(builder.finish().unwrap()).unwrap().header()
}

fn marker(id: ProducerId, epoch: ProducerEpoch, base: Offset) -> BatchHeader {
    BatchHeader { attributes: 0x30, ..batch(id, epoch, -1, 1, base) }
}

/// Batches arrive in the order of their offsets, one per millisecond.
fn heard_at(header: &BatchHeader) -> Timestamp {
    Timestamp::from_millis(T0 + header.base_offset as i64)
}

/// Does what a log does with the batch of a client.
fn append(
    producers: &mut Producers,
    header: &BatchHeader,
) -> Result<Option<BatchSeen>, ProducerStateError> {
    let found = producers.check(header, Origin::Client)?;
    if found.is_none() {
        producers.note(header, heard_at(header));
    }
    Ok(found)
}

#[test]
fn last_five_batches_are_recognised() {
    let mut producers = Producers::none(0);
    for n in 0..5 {
        let header = batch(7, 2, n * 5, 5, n as u64 * 5);
        assert_eq!(append(&mut producers, &header), Ok(None));
    }
    assert_eq!(producers.end(), 25);
    let again = append(&mut producers, &batch(7, 2, 5, 5, 25)).unwrap().unwrap();
    assert_eq!((again.first_offset, again.last_offset), (5, 9));
    // Only with the same numbers.
    let refused =
        |found| Err(ProducerStateError::OutOfOrder { producer_id: 7, expected: 25, found });
    assert_eq!(append(&mut producers, &batch(7, 2, 5, 4, 25)), refused(5));
    assert_eq!(append(&mut producers, &batch(7, 2, 26, 1, 25)), refused(26));
    assert_eq!(append(&mut producers, &batch(7, 2, 25, 5, 25)), Ok(None));
    let refused =
        |found| Err(ProducerStateError::OutOfOrder { producer_id: 7, expected: 30, found });
    assert_eq!(append(&mut producers, &batch(7, 2, 0, 5, 30)), refused(0));
    assert_eq!(append(&mut producers, &batch(7, 2, 5, 5, 30)).unwrap().unwrap().first_offset, 5);
}

#[test]
fn sequence_wraps_to_zero_after_last() {
    let mut producers = Producers::none(0);
    let wraps = batch(1, 0, 2_147_483_640, 10, 0);
    assert_eq!(append(&mut producers, &wraps), Ok(None));
    assert_eq!(producers.states()[0].last_sequence, 1);
    assert!(append(&mut producers, &batch(1, 0, 1, 1, 10)).is_err());
    assert_eq!(append(&mut producers, &wraps).unwrap().unwrap().last_offset, 9);
    let mut restored = Producers::restore(&decode(&encode(&producers.states())).unwrap(), 10, NOW);
    assert_eq!(append(&mut restored, &wraps).unwrap().unwrap().first_offset, 0);
    for producers in [&mut producers, &mut restored] {
        assert_eq!(append(producers, &batch(1, 0, 2, i32::from(i16::MAX), 10)), Ok(None));
        let next = batch(1, 0, 2 + i32::from(i16::MAX), 1, 40_000);
        assert_eq!(append(producers, &next), Ok(None));
    }
    let mut producers = Producers::none(0);
    assert_eq!(append(&mut producers, &batch(1, 0, i32::MAX, 1, 0)), Ok(None));
    assert_eq!(append(&mut producers, &batch(1, 0, 0, 1, 1)), Ok(None));
}

#[test]
fn higher_epoch_fences_lower_epoch() {
    let mut producers = Producers::none(0);
    // For a new producer any number is valid: its first batches may have been deleted.
    assert_eq!(append(&mut producers, &batch(1, 3, 70, 5, 0)), Ok(None));
    let fenced = Err(ProducerStateError::Fenced { producer_id: 1, epoch: 2, current: 3 });
    assert_eq!(append(&mut producers, &batch(1, 2, 75, 5, 5)), fenced);
    // Even if the numbers are those of a stored batch.
    assert_eq!(append(&mut producers, &batch(1, 2, 70, 5, 5)), fenced);
    let skips = Err(ProducerStateError::OutOfOrder { producer_id: 1, expected: 0, found: 75 });
    assert_eq!(append(&mut producers, &batch(1, 4, 75, 5, 5)), skips);
    assert_eq!(append(&mut producers, &batch(1, 4, 0, 5, 5)), Ok(None));
    let fenced = Err(ProducerStateError::Fenced { producer_id: 1, epoch: 3, current: 4 });
    assert_eq!(append(&mut producers, &batch(1, 3, 70, 5, 10)), fenced);
    assert_eq!(append(&mut producers, &batch(2, 0, 0, 1, 10)), Ok(None));
    assert_eq!(producers.states().len(), 2);
}

#[test]
fn marker_ends_transaction_and_fences() {
    let mut producers = Producers::none(0);
    let open = BatchHeader { attributes: 0x10, ..batch(1, 0, 0, 3, 5) };
    assert_eq!(append(&mut producers, &open), Ok(None));
    let more = BatchHeader { attributes: 0x10, ..batch(1, 0, 3, 3, 8) };
    assert_eq!(append(&mut producers, &more), Ok(None));
    assert_eq!(producers.states()[0].current_txn_first_offset, 5);
    let outside = batch(1, 0, 6, 1, 11);
    let refused = ProducerStateError::InTransaction { producer_id: 1 };
    assert_eq!(append(&mut producers, &outside), Err(refused));
    let end = EndTxnMarker { committed: true, coordinator_epoch: 7 };
    producers.note_marker(&marker(1, 0, 11), &end, NOW);
    let state = producers.states()[0];
    assert_eq!((state.current_txn_first_offset, state.coordinator_epoch), (-1, 7));
    assert_eq!((state.last_sequence, state.last_offset), (5, 10));
    // A coordinator fences with a marker of a higher epoch: the numbers begin at 0 then.
    producers.note_marker(&marker(1, 1, 12), &end, NOW);
    assert!(matches!(
        producers.check(&outside, Origin::Client),
        Err(ProducerStateError::Fenced { .. })
    ));
    assert!(producers.check(&batch(1, 1, 6, 1, 13), Origin::Client).is_err());
    assert_eq!(producers.check(&batch(1, 1, 0, 1, 13), Origin::Client), Ok(None));
    let state = producers.states()[0];
    assert_eq!((state.last_sequence, state.last_offset, state.offset_delta), (-1, -1, 0));
    let restored = Producers::restore(&decode(&encode(&producers.states())).unwrap(), 13, NOW);
    assert_eq!(restored, producers);
}

#[test]
fn silent_producer_is_forgotten() {
    let mut producers = Producers::none(0);
    append(&mut producers, &batch(1, 0, 0, 1, 100)).unwrap();
    append(&mut producers, &batch(2, 0, 0, 1, 200)).unwrap();
    let open = BatchHeader { attributes: 0x10, ..batch(3, 0, 0, 1, 300) };
    append(&mut producers, &open).unwrap();
    let after = Duration::from_millis(1000);
    let ids = |producers: &Producers| -> Vec<_> {
        producers.states().iter().map(|state| state.producer_id).collect()
    };
    producers.expire(Timestamp::from_millis(T0 + 1099), after);
    assert_eq!(ids(&producers), [1, 2, 3]);
    producers.expire(Timestamp::from_millis(T0 + 1100), after);
    assert_eq!(ids(&producers), [2, 3]);
    producers.expire(Timestamp::from_millis(i64::MAX), after);
    assert_eq!(ids(&producers), [3]);
    assert_eq!(append(&mut producers, &batch(1, 0, 55, 1, 301)), Ok(None));
}

#[test]
fn snapshot_has_kafkas_format() {
    let state = ProducerState {
        producer_id: 4000,
        producer_epoch: 2,
        last_sequence: 9,
        last_offset: 109,
        offset_delta: 9,
        last_timestamp: Timestamp::from_millis(T0),
        coordinator_epoch: -1,
        current_txn_first_offset: -1,
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let one = "000198cffc68000000010000000000000fa0000200000009000000000000006d000000090000018bcfe56800ffffffffffffffffffffffff";
    assert_eq!(hex(&encode(&[state])), one);
    assert_eq!(hex(&encode(&[])), "000148674bc700000000");
    assert_eq!(decode(&encode(&[state])), Ok(vec![state]));
    let mut hostile = encode(&[state]);
    hostile[6..10].copy_from_slice(&i32::MAX.to_be_bytes());
    let crc = crate::record::crc32c(&hostile[6..]);
    hostile[2..6].copy_from_slice(&crc.to_be_bytes());
    assert!(decode(&hostile).is_err());
    let bytes = encode(&[state, state]);
    for cut in 0..bytes.len() {
        assert!(decode(&bytes[..cut]).is_err(), "{cut}");
    }
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(decode(&damaged).is_err(), "{at}");
    }
}

#[test]
fn impossible_snapshot_is_rejected() {
    let state = Producers::default();
    assert!(is_possible(&state.states(), 0));
    let mut producers = Producers::none(0);
    append(&mut producers, &batch(1, 0, 7, 3, 5)).unwrap();
    let state = producers.states()[0];
    assert!(is_possible(&[state], 8) && !is_possible(&[state], 7));
    for wrong in [
        ProducerState { producer_id: -1, ..state },
        ProducerState { offset_delta: -1, ..state },
        ProducerState { offset_delta: 8, ..state },
        ProducerState { current_txn_first_offset: 8, ..state },
    ] {
        assert!(!is_possible(&[state, wrong], 8), "{wrong:?}");
    }
    let only_a_marker =
        ProducerState { last_sequence: -1, last_offset: -1, offset_delta: 0, ..state };
    assert!(is_possible(&[only_a_marker], 8));
    assert!(fits(1_458_888) && !fits(1_458_889));
}

/// The documentation of limits calculates with this size, one more byte, and a table that is
/// between seven sixteenths and seven eighths full.
#[test]
fn producer_takes_few_hundred_bytes() {
    assert!(size_of::<(ProducerId, Producer)>() <= 248);
}

/// Compares producers that resend, skip, and return with other epochs with a list of all stored
/// batches.
#[test]
fn each_sequence_number_is_stored_once() {
    for seed in 0..300u64 {
        let mut random = SplitMix64(seed);
        let mut producers = Producers::none(0);
        let mut stored: BTreeMap<ProducerId, Vec<(ProducerEpoch, Sequence, i32, Offset)>> =
            BTreeMap::new();
        let mut end = 0;
        for _ in 0..200 {
            let id = random.below(4) as ProducerId;
            let of = stored.entry(id).or_default();
            let (epoch, next) =
                of.last().map_or((0, 0), |(epoch, first, count, _)| (*epoch, first + count));
            let (epoch, first, count) = match random.below(8) {
                0 => (epoch + 1, 0, 1 + random.below(4) as i32),
                1 => (epoch, next + 1 + random.below(3) as i32, 1),
                2 => ((epoch - 1).max(0), next, 1),
                3 | 4 if !of.is_empty() => {
                    let (epoch, first, count, _) = of[random.below(of.len() as u64) as usize];
                    (epoch, first, count)
                }
                _ => (epoch, next, 1 + random.below(4) as i32),
            };
            let header = batch(id, epoch, first, count, end);
            let known: Vec<_> = of.iter().rev().take(5).collect();
            let current = of.last().map(|last| last.0);
            let repeated = known
                .iter()
                .find(|known| {
                    (known.0, known.1, known.2) == (epoch, first, count) && Some(epoch) == current
                })
                .map(|known| known.3);
            let follows = current.is_none_or(|current| {
                (epoch == current && first == next) || (epoch > current && first == 0)
            });
            match append(&mut producers, &header) {
                Ok(Some(seen)) => assert_eq!(Some(seen.first_offset), repeated, "seed {seed}"),
                Ok(None) => {
                    assert!(follows && repeated.is_none(), "seed {seed}");
                    of.push((epoch, first, count, end));
                    end += count as u64;
                }
                Err(_) => assert!(!follows && repeated.is_none(), "seed {seed}"),
            }
            if random.below(10) == 0 {
                assert_eq!(through_files(&producers), producers, "seed {seed}");
                let kept = decode(&encode(&producers.states())).unwrap();
                let alone = Producers::restore(&kept, producers.end(), NOW);
                assert_eq!(alone.states(), producers.states());
                for header in [&header, &batch(id, epoch, first + count, 1, end)] {
                    // A snapshot alone has one batch of each producer: what it takes for a
                    // repetition is one.
                    let (before, after) = (
                        producers.check(header, Origin::Client),
                        alone.check(header, Origin::Client),
                    );
                    assert!(after == before || matches!((&before, &after), (Ok(Some(_)), Err(_))));
                }
            }
        }
    }
}

/// Returns the state after a snapshot and the file beside it were stored and read.
fn through_files(producers: &Producers) -> Producers {
    let states = producers.states();
    let snapshot = encode(&states);
    let beside = recent::encode(producers, &states, &snapshot).unwrap();
    let far = Timestamp::from_millis(i64::MAX);
    recent::restore(&beside, &decode(&snapshot).unwrap(), &snapshot, producers.end(), far).unwrap()
}

#[test]
fn recent_batches_survive_round_trip() {
    let mut producers = Producers::none(0);
    append(&mut producers, &batch(1, 0, i32::MAX - 2, 2, 0)).unwrap();
    append(&mut producers, &batch(1, 0, i32::MAX, 3, 7)).unwrap();
    append(&mut producers, &batch(1, 0, 2, 1, 30)).unwrap();
    append(&mut producers, &batch(9, 4, 70, 5, 31)).unwrap();
    producers.note_marker(
        &marker(5, 0, 40),
        &EndTxnMarker { committed: true, coordinator_epoch: 1 },
        NOW,
    );
    assert_eq!(through_files(&producers), producers);
    assert_eq!(through_files(&Producers::none(3)), Producers::none(3));
}

/// A `.recent` file that is damaged, forged or of another snapshot makes no batch known that is
/// not in the log.
#[test]
fn recent_batches_of_other_snapshot_are_ignored() {
    let mut producers = Producers::none(0);
    for n in 0..5 {
        append(&mut producers, &batch(7, 2, n * 5, 5, n as u64 * 5)).unwrap();
    }
    let states = producers.states();
    let snapshot = encode(&states);
    let beside = recent::encode(&producers, &states, &snapshot).unwrap();
    let restore = |beside: &[u8], states: &[ProducerState], snapshot: &[u8]| {
        recent::restore(beside, states, snapshot, 25, NOW)
    };
    assert!(restore(&beside, &states, &snapshot).is_ok());
    let mut damaged = beside.clone();
    for at in 0..beside.len() {
        assert!(restore(&beside[..at], &states, &snapshot).is_err(), "{at}");
        damaged[at] ^= 1;
        assert!(restore(&damaged, &states, &snapshot).is_err(), "{at}");
        damaged[at] ^= 1;
    }
    let other = [ProducerState { last_sequence: 23, ..states[0] }];
    assert_eq!(restore(&beside, &other, &encode(&other)), Err("it belongs to another snapshot"));
    // Also with the right checksums.
    for at in 10..beside.len() {
        for value in 0..=255 {
            let mut forged = beside.clone();
            forged[at] = value;
            let crc = crate::record::crc32c(&forged[6..]);
            forged[2..6].copy_from_slice(&crc.to_be_bytes());
            let Ok(restored) = restore(&forged, &states, &snapshot) else { continue };
            let window = restored.known[&7].window;
            assert!(window.earlier().all(|seen| seen.last_offset < 20), "{at} {value}");
        }
    }
}

/// The clock was ahead when the producer was heard: it is remembered as long as others.
#[test]
fn producer_heard_in_future_expires_after_opening() {
    let mut producers = Producers::none(0);
    let year = Duration::from_secs(365 * 24 * 3600);
    let ahead = Timestamp::from_millis(T0 + year.as_millis() as i64);
    producers.note(&batch(1, 0, 0, 1, 0), ahead);
    let states = producers.states();
    let snapshot = encode(&states);
    let beside = recent::encode(&producers, &states, &snapshot).unwrap();
    let mut producers = recent::restore(&beside, &states, &snapshot, 1, NOW).unwrap();
    let after = Duration::from_millis(1000);
    producers.expire(Timestamp::from_millis(T0 + 999), after);
    assert_eq!(producers.len(), 1);
    producers.expire(Timestamp::from_millis(T0 + 1000), after);
    assert_eq!(producers.len(), 0);
}

#[test]
fn table_shrinks_when_producers_are_forgotten() {
    let mut producers = Producers::none(0);
    let fill = |producers: &mut Producers| {
        for id in 0..10_000 {
            producers.note(&batch(id, 0, 0, 1, 0), NOW);
        }
    };
    fill(&mut producers);
    producers.expire(Timestamp::from_millis(T0 + 1), Duration::from_millis(1));
    assert!(producers.known.capacity() < 100);
    fill(&mut producers);
    (0..10_000).for_each(|id| assert!(producers.forget(id) && !producers.forget(id)));
    assert!(producers.known.capacity() < 100);
}

/// The client that closes a producer forgets it, which must neither decide a transaction nor let
/// an older instance of the producer in.
#[test]
fn transactional_producer_is_not_forgotten() {
    let mut producers = Producers::none(0);
    let open = BatchHeader { attributes: 0x10, ..batch(1, 1, 0, 3, 5) };
    assert_eq!(append(&mut producers, &open), Ok(None));
    assert!(!producers.forget(1));
    assert_eq!(producers.first_undecided(), Some(5));
    let end = EndTxnMarker { committed: true, coordinator_epoch: 0 };
    producers.note_marker(&marker(1, 2, 8), &end, NOW);
    assert!(!producers.forget(1));
    let older = batch(1, 1, 3, 1, 9);
    assert!(matches!(
        producers.check(&older, Origin::Client),
        Err(ProducerStateError::Fenced { .. })
    ));
    // Silence ends it, as that of any other producer.
    producers.expire(Timestamp::from_millis(T0 + 10_000), Duration::from_millis(1));
    assert_eq!(producers.len(), 0);
}

/// The earliest open transaction is known without a search, whatever opens and ends transactions.
#[test]
fn first_undecided_follows_transactions() {
    for seed in 0..200u64 {
        let mut producers = Producers::none(0);
        let mut open = BTreeMap::new();
        let mut state = seed;
        for base in 0..60 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let id = (state >> 33) as ProducerId % 4;
            match state >> 60 {
                0..6 => {
                    let header = BatchHeader { attributes: 0x10, ..batch(id, 0, 0, 1, base) };
                    producers.note(&header, NOW);
                    open.entry(id).or_insert(base);
                }
                6..11 => {
                    let end = EndTxnMarker { committed: base % 2 == 0, coordinator_epoch: 0 };
                    let first = producers.note_marker(&marker(id, 0, base), &end, NOW);
                    assert_eq!(first, open.remove(&id));
                }
                11 => drop(producers.forget(id)),
                12 => producers.expire(Timestamp::from_millis(i64::MAX), Duration::ZERO),
                13 => producers = Producers::restore(&producers.states(), producers.end(), NOW),
                _ => producers = through_files(&producers),
            }
            assert_eq!(producers.first_undecided(), open.values().min().copied(), "{seed} {base}");
        }
    }
}
