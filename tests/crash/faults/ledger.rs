//! The promise of a log after calls that failed: it has each record that was acknowledged, and
//! none that was not sent.

use annals::record::BatchBuilder;
use annals::{
    Appended, Error, Log, ProducerId, ProducerStateError, Record, Result, Sequence, Timestamp,
};
use support::sim::check_producers;
use support::{Model, Rec, read_all};

/// The content that the log must have, and what it may have besides since a call failed.
#[derive(Clone, Default)]
pub(super) struct Ledger {
    /// Acknowledged, in the order of offsets.
    pub(super) model: Model,
    /// Every record that was ever tried.
    tried: Vec<Rec>,
    /// A truncation failed: records from there on may be gone.
    pub(super) cut: Option<u64>,
    /// A deletion at the front failed: the log may begin anywhere above where it did.
    deleting: bool,
    /// Where truncations may have left offsets without records.
    targets: Vec<u64>,
    /// Each append flushes: one that failed may be there.
    pub(super) flushes: bool,
    /// The batches of a producer that numbers its records, those that failed among them.
    pub(super) numbered: Vec<Vec<Rec>>,
}

impl Ledger {
    fn try_next(&mut self, end: u64, n: u64) -> Vec<Rec> {
        let count = self.tried.len() as u64;
        let recs: Vec<Rec> = (0..n)
            .map(|i| Rec {
                offset: end + i,
                time: (count as i64 * 31) % 97,
                key: None,
                value: Some(format!("{}-{}", count + i, "y".repeat(70)).into_bytes()),
            })
            .collect();
        self.tried.extend(recs.clone());
        recs
    }

    pub(super) fn append(&mut self, log: &Log, n: u64) -> Result<()> {
        let end = log.offsets().end;
        let recs = self.try_next(end, n);
        let records = recs.iter().map(|rec| {
            Record::new(rec.value.clone().unwrap()).timestamp(Timestamp::from_millis(rec.time))
        });
        let appended = log.append_all(records.collect::<Vec<_>>())?;
        assert_eq!(appended.first, end);
        self.model.append(recs);
        Ok(())
    }

    /// Appends a numbered batch, and again if that fails, and once more when it is there.
    pub(super) fn send(&mut self, log: &Log, n: u64) -> Result<()> {
        let end = log.offsets().end;
        let recs = self.try_next(end, n);
        let sequence = self.numbered.iter().map(Vec::len).sum::<usize>() as Sequence;
        self.numbered.push(recs.clone());
        let first = send(log, sequence, &recs);
        let sent = match first {
            Ok(sent) => sent,
            // It may be there although it failed.
            Err(first) => send(log, sequence, &recs).map_err(|_| first)?,
        };
        assert_eq!((sent.first, sent.last), (end, end + n - 1));
        self.model.append(recs.clone());
        let again = send(log, sequence, &recs)?;
        assert!(again.duplicate && (again.first, again.last) == (sent.first, sent.last));
        Ok(())
    }

    /// A killed producer resends everything: stored batches are recognised, and the rest is
    /// appended.
    pub(super) fn send_all_again(&self, log: &Log) {
        check_producers(log);
        let mut sequence = 0;
        for recs in &self.numbered {
            match send(log, sequence, recs) {
                Ok(_) => {}
                // It was stored too long ago to be told from a late resend.
                Err(Error::Producer(ProducerStateError::OutOfOrder { expected, .. })) => {
                    assert!(expected > sequence, "{expected} is expected, and {sequence} rejected");
                }
                Err(error) => panic!("{error}"),
            }
            sequence += recs.len() as Sequence;
        }
        let sent: Vec<_> = self.numbered.iter().flatten().map(|rec| &rec.value).collect();
        let found = read_all(log);
        let found = found.iter().map(|rec| &rec.value).filter(|value| sent.contains(value));
        assert!(found.eq(sent.iter().copied()), "each number once, in order");
        check_producers(log);
    }

    pub(super) fn flush(&mut self, log: &Log) -> Result<()> {
        let durable = log.flush()?;
        assert_eq!(durable, self.model.end);
        self.model.durable = durable;
        Ok(())
    }

    pub(super) fn truncate(&mut self, log: &Log, target: u64) -> Result<()> {
        self.cut = Some(target.min(self.cut.unwrap_or(target)));
        self.targets.push(target);
        match log.truncate_to(target) {
            Ok(()) => {
                self.model.truncate(target);
                self.model.durable = target;
                self.cut = None;
                let kept = |recs: &Vec<Rec>| recs.iter().all(|rec| rec.offset < target);
                self.numbered.retain(kept);
                Ok(())
            }
            Err(error) => {
                let kept = self.model.batches.iter().map(|b| b.last().unwrap().offset + 1);
                let kept = kept.filter(|end| *end <= target).max().unwrap_or(0);
                self.model.durable = self.model.durable.min(kept);
                Err(error)
            }
        }
    }

    /// Deletes what `delete` does, which says where the log begins then.
    pub(super) fn delete(&mut self, log: &Log, delete: impl Fn(&Log) -> Result<u64>) -> Result<()> {
        self.deleting = true;
        let start = delete(log)?;
        assert_eq!(log.offsets().start, start);
        self.model.delete_before(start);
        self.deleting = false;
        Ok(())
    }

    /// Everything durable is there, nothing that was never tried, and no hole.
    pub(super) fn check(&self, log: &Log) {
        let found = read_all(log);
        let (start, end) = (log.offsets().start, log.offsets().end);
        let is_known = start == self.model.start || (self.deleting && start > self.model.start);
        assert!(is_known, "begins at {start}, not at {}", self.model.start);
        assert!(end >= self.model.durable, "ends at {end}, {} was durable", self.model.durable);
        let model = self.model.from(start);
        for want in model.records().take_while(|rec| rec.offset < self.model.durable) {
            assert!(found.contains(want), "record {} was durable and is gone", want.offset);
        }
        assert!(found.iter().all(|rec| self.tried.contains(rec)), "a record nobody appended");
        let mut next = start;
        for rec in &found {
            let follows =
                rec.offset == next || (rec.offset > next && self.targets.contains(&rec.offset));
            assert!(follows, "a hole before {}", rec.offset);
            next = rec.offset + 1;
        }
        assert_eq!(log.verify().unwrap(), []);
    }

    pub(super) fn check_open(&self, log: &Log) -> Result<()> {
        for record in log.reader(log.offsets().start)?.records() {
            assert!(self.tried.contains(&record?.into()));
        }
        Ok(())
    }

    /// After a failed call: either the log works as before, or it says that it is poisoned. Says
    /// which.
    pub(super) fn check_after(&mut self, log: &Log, error: &Error) -> bool {
        let _ = log.offsets();
        match log.append("after") {
            Ok(offset) => {
                self.tried.push(Rec { offset, time: 0, key: None, value: Some(b"after".to_vec()) });
                let time = log.get(offset).unwrap().unwrap().timestamp.as_millis();
                self.tried.last_mut().unwrap().time = time;
                let durable = log.flush().unwrap();
                assert_eq!(durable, offset + 1);
                let may_differ = self.cut.is_some() || (self.flushes && offset > self.model.end);
                assert!(may_differ || offset == self.model.end, "{error}");
                let found = read_all(log);
                assert!(found.iter().all(|rec| self.tried.contains(rec)));
                false
            }
            Err(Error::Poisoned { .. }) => {
                assert!(matches!(log.flush(), Err(Error::Poisoned { .. })));
                assert!(matches!(log.roll(), Err(Error::Poisoned { .. })));
                assert!(matches!(log.truncate_to(0), Err(Error::Poisoned { .. })));
                assert!(log.clone().close().is_err(), "a poisoned log does not close in order");
                true
            }
            Err(other) => panic!("after {error}: {other}"),
        }
    }
}

/// The producer that numbers its records.
const PRODUCER: ProducerId = 7;

fn send(log: &Log, sequence: Sequence, recs: &[Rec]) -> Result<Appended> {
    let mut builder = BatchBuilder::new();
    builder.producer(PRODUCER, 0, sequence);
    for rec in recs {
        builder.push(Timestamp::from_millis(rec.time), None, rec.value.as_deref()).unwrap();
    }
    log.append_batch(builder.build().unwrap())
}
