//! Awaiting durability, and what a sync touches.

use annals::fs::{Fault, FaultFs, Fs, MemFs, Operation, Rule};
use annals::{Error, ErrorKind, FlushFuture, Log, LogConfig, Offset};
use std::path::Path;
use std::pin::Pin;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake};
use std::time::Duration;
use support::{DIR, name};

fn open(fs: impl Fs) -> Log {
    Log::open(DIR, LogConfig::default().index_interval_bytes(0).fs(fs)).unwrap()
}

fn three(log: &Log) {
    for n in 0..3 {
        log.append(n.to_string()).unwrap();
    }
}

/// The result of a future once it is woken: a timeout alone would poll it once more at the end.
async fn resolve(future: FlushFuture) -> annals::Result<Offset> {
    let task = tokio::spawn(future);
    tokio::time::timeout(Duration::from_secs(10), task).await.unwrap().unwrap()
}

/// The files that a flush syncs.
fn synced(fs: &FaultFs, log: &Log) -> Vec<String> {
    fs.clear_trace();
    log.flush().unwrap();
    let calls = fs.trace().into_iter().filter(|call| call.operation == Operation::SyncData);
    calls.map(|call| call.path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

/// Such a future never resolved, and the thread that syncs for it went round without pause:
/// it waited for an offset that the log no longer reached.
#[tokio::test]
async fn flush_future_resolves_after_truncation() {
    let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new())).unwrap();
    for n in 0..5 {
        log.append(n.to_string()).unwrap();
    }
    let flushed = log.flush_async();
    log.truncate_to(2).unwrap();
    assert_eq!(resolve(flushed).await.unwrap(), 2);
}

/// A failed sync is the answer to every task that awaits it. A sync that was not tried, for lack
/// of a descriptor, was retried without end, and the log was not poisoned, so that no caller
/// learned of it.
#[tokio::test]
async fn flush_futures_resolve_when_sync_fails() {
    for (operation, number) in [(Operation::SyncData, 5), (Operation::Open, 24)] {
        let fs = FaultFs::new(MemFs::new());
        let log = open(fs.clone());
        log.append("closed").unwrap();
        log.roll().unwrap();
        let rule = fs.add_rule(Rule::new(operation, Fault::Errno(number)));
        let flushed = [0, 1].map(|_| {
            log.append("active").unwrap();
            log.flush_async()
        });
        for future in flushed {
            let outcome = resolve(future).await.map_err(|error| error.kind());
            let expected = match operation {
                Operation::Open => outcome == Err(ErrorKind::TooManyFiles),
                _ => matches!(outcome, Err(ErrorKind::Io | ErrorKind::Poisoned)),
            };
            assert!(expected, "{outcome:?}");
        }
        fs.remove_rule(rule);
        assert_eq!(log.flush_async().await.is_ok(), operation == Operation::Open);
    }
}

/// Tells what is durable when it is woken.
struct Tells(Log, Sender<Offset>);

impl Wake for Tells {
    fn wake(self: Arc<Self>) {
        self.1.send(self.0.offsets().durable).unwrap();
    }
}

/// A task that starts to wait during a sync is woken by the next sync, because the running one
/// does not cover its records.
#[test]
fn woken_flush_future_is_durable() {
    let fs = FaultFs::new(MemFs::new());
    let log = open(fs.clone());
    log.append("first").unwrap();
    let (tell, told) = channel();
    let waker = Arc::new(Tells(log.clone(), tell)).into();
    let second = Arc::new(OnceLock::new());
    let (during, kept) = (log.clone(), Arc::clone(&second));
    let during = std::sync::Mutex::new((during, waker));
    let come = Fault::call(move |_| {
        let (log, waker) = &*during.lock().unwrap();
        log.append("second").unwrap();
        let mut future = log.flush_async();
        assert!(Pin::new(&mut future).poll(&mut Context::from_waker(waker)).is_pending());
        kept.set(std::sync::Mutex::new(future)).unwrap();
    });
    fs.add_rule(Rule::new(Operation::SyncData, come).nth(1));
    assert!(support::block_on(log.flush_async()).unwrap() >= 1);
    assert_eq!(told.recv_timeout(Duration::from_secs(10)).unwrap(), 2);
    let mut second = second.get().unwrap().lock().unwrap();
    let again = Pin::new(&mut *second).poll(&mut Context::from_waker(std::task::Waker::noop()));
    assert!(matches!(again, Poll::Ready(Ok(2))));
}

/// Synced and closed segments are not synced again; the indexes of the active segment are not
/// synced at all.
#[test]
fn flush_syncs_only_changed_files() {
    let memory = MemFs::new();
    let log = open(memory.clone());
    three(&log);
    drop(log);
    // Opened again, the active segment has index files.
    let fs = FaultFs::new(memory.kill());
    let log = open(fs.clone());
    log.append("3").unwrap();
    assert_eq!(synced(&fs, &log), [name(0, "log")]);
    log.append("4").unwrap();
    log.roll().unwrap();
    log.append("5").unwrap();
    let closed = [name(0, "log"), name(0, "index"), name(0, "timeindex")];
    assert_eq!(synced(&fs, &log), [&closed[..], &[name(5, "log")]].concat());
    log.append("6").unwrap();
    assert_eq!(synced(&fs, &log), [name(5, "log")]);
}

/// A missing index is rebuilt when it is needed; an index that cannot be opened may be one that is
/// not synced.
#[test]
fn flush_fails_when_index_cannot_open() {
    for extension in ["index", "timeindex"] {
        for (fault, kind) in [
            (None, None),
            (Some(5), Some(ErrorKind::Io)),
            (Some(24), Some(ErrorKind::TooManyFiles)),
        ] {
            let fs = FaultFs::new(MemFs::new());
            let log = open(fs.clone());
            three(&log);
            log.roll().unwrap();
            log.append("3").unwrap();
            let file = name(0, extension);
            match fault {
                None => fs.remove(&Path::new(DIR).join(file)).unwrap(),
                Some(number) => {
                    fs.add_rule(Rule::new(Operation::Open, Fault::Errno(number)).path(file));
                }
            }
            let flushed = log.flush();
            assert_eq!(flushed.as_ref().err().map(Error::kind), kind, "{flushed:?}");
            // For want of a descriptor alone nothing is lost.
            fs.clear_rules();
            assert_eq!(log.flush().is_ok(), fault != Some(5));
        }
    }
}
