//! User-supplied code may use another log while a log calls it: each log's listener hears of that
//! log alone, and of all that happened to it.

use annals::fs::{Fault, FaultFs, MemFs, Rule};
use annals::{CleanupPolicy, Event, Listener, Log, LogConfig, Record};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use support::{DIR, Heard};

/// The end of the other log, different from all offsets of the first one.
const OTHER_END: u64 = 100;

fn log_with_records(fs: FaultFs, count: u64, listener: Option<Arc<Heard>>) -> Log {
    let config = LogConfig::default().fs(fs).cleanup_policy(CleanupPolicy::CompactAndDelete);
    let config = match listener {
        Some(listener) => config.listener(listener),
        None => config,
    };
    let log = Log::open(DIR, config.flush_messages(u64::MAX)).unwrap();
    for n in 0..count {
        log.append(Record::new("value").key(format!("{}", n % 3))).unwrap();
    }
    log
}

fn take(heard: &Heard) -> Vec<Event> {
    std::mem::take(&mut *heard.0.lock().unwrap())
}

fn is_of_other(event: &Event) -> bool {
    matches!(event, Event::SegmentRolled { base_offset: OTHER_END, .. })
}

type Act = fn(&Log);

/// Each call that holds its events back until its locks are released.
const ACTS: [(&str, Act); 7] = [
    ("append", |log| drop(log.append(Record::new("x").key("k")).unwrap())),
    ("roll", |log| log.roll().unwrap()),
    ("flush", |log| drop(log.flush().unwrap())),
    ("truncate", |log| log.truncate_to(8).unwrap()),
    ("delete", |log| drop(log.delete_before(3).unwrap())),
    ("compact", |log| drop(log.compact().unwrap())),
    ("close", |log| log.clone().close().unwrap()),
];

/// Events that a thread held back went to the listener of the log that happened to be the outer
/// one, and were lost if that had none.
#[test]
fn events_reach_own_listener_when_nested() {
    for (name, act) in ACTS {
        for has_listener in [true, false] {
            let outer_heard = Arc::new(Heard::default());
            let fs = FaultFs::new(MemFs::new());
            let outer = log_with_records(fs.clone(), 10, has_listener.then(|| outer_heard.clone()));
            outer.roll().unwrap();
            outer.append(Record::new("x").key("k")).unwrap();
            let heard = Arc::new(Heard::default());
            let other =
                log_with_records(FaultFs::new(MemFs::new()), OTHER_END, Some(heard.clone()));
            fs.add_rule(Rule::any(Fault::call(move |_| other.roll().unwrap())).nth(1));
            act(&outer);
            let own = take(&heard);
            assert!(matches!(&own[..], [event] if is_of_other(event)), "{name}: {own:?}");
            let outer = take(&outer_heard);
            assert!(!outer.iter().any(is_of_other), "{name}: {outer:?}");
            assert!(name == "append" || outer.is_empty() != has_listener, "{name}: {outer:?}");
        }
    }
}

/// The events of an append that panicked were lost, and with them those of another log.
#[test]
fn events_are_delivered_when_append_panics() {
    let outer_heard = Arc::new(Heard::default());
    let fs = FaultFs::new(MemFs::new());
    let outer = log_with_records(fs.clone(), 10, Some(outer_heard.clone()));
    let heard = Arc::new(Heard::default());
    let other = log_with_records(FaultFs::new(MemFs::new()), OTHER_END, Some(heard.clone()));
    let panics = Fault::call(move |_| {
        other.roll().unwrap();
        panic!("on purpose");
    });
    fs.add_rule(Rule::any(panics).nth(1));
    let append = AssertUnwindSafe(|| outer.append(Record::new("x").key("k")));
    assert!(catch_unwind(append).is_err());
    assert_eq!(take(&heard).len(), 1);
    // A write that panicked may have left a part of the batch.
    let own = take(&outer_heard);
    assert!(matches!(&own[..], [Event::Poisoned { .. }]), "{own:?}");
    // Nothing is left for the next log that this thread uses.
    let next_heard = Arc::new(Heard::default());
    let next = log_with_records(FaultFs::new(MemFs::new()), 1, Some(next_heard.clone()));
    next.roll().unwrap();
    assert_eq!(take(&next_heard).len(), 1);
    assert!(take(&heard).is_empty() && take(&outer_heard).is_empty());
}

/// Panics at each event, after recording it.
#[derive(Debug, Default)]
struct Panics(Mutex<Vec<Event>>);

impl Listener for Panics {
    fn on_event(&self, event: &Event) {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).push(event.clone());
        panic!("on purpose");
    }
}

/// The panic of one log's listener reaches the call that caused it, and takes no event from
/// another log.
#[test]
fn other_listener_hears_when_first_panics() {
    let panics = Arc::new(Panics::default());
    let fs = FaultFs::new(MemFs::new());
    let config = LogConfig::default().fs(fs.clone()).listener(panics.clone());
    let outer = Log::open(DIR, config).unwrap();
    outer.append("x").unwrap();
    let heard = Arc::new(Heard::default());
    let other = log_with_records(FaultFs::new(MemFs::new()), OTHER_END, Some(heard.clone()));
    let also_panics = Arc::new(Panics::default());
    let config = LogConfig::default().fs(MemFs::new()).listener(also_panics.clone());
    let third = Log::open(DIR, config).unwrap();
    third.append("x").unwrap();
    let use_others = Fault::call(move |_| {
        third.roll().unwrap();
        other.roll().unwrap();
    });
    fs.add_rule(Rule::any(use_others).nth(1));
    assert!(catch_unwind(AssertUnwindSafe(|| outer.roll())).is_err());
    assert_eq!(take(&heard).len(), 1);
    assert_eq!(also_panics.0.lock().unwrap_or_else(|e| e.into_inner()).len(), 1);
    assert_eq!(panics.0.lock().unwrap_or_else(|e| e.into_inner()).len(), 1);
    outer.append("y").unwrap();
}
