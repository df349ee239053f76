//! Faults by rule, and the trace.

use crate::{kind, read};
use annals::fs::{CrashState, Fault, FaultFs, File, Fs, MemFs, OpenMode, Operation, Rule};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

fn start() -> (MemFs, FaultFs, Arc<dyn File>) {
    let memory = MemFs::new();
    let fs = FaultFs::new(memory.clone());
    let file = fs.open(Path::new("dir.log"), OpenMode::CreateNew).unwrap();
    file.write_all_at(&[0; 100], 0).unwrap();
    fs.clear_trace();
    (memory, fs, file)
}

const OPERATIONS: [Operation; 16] = [
    Operation::Open,
    Operation::CreateNew,
    Operation::List,
    Operation::CreateDir,
    Operation::Rename,
    Operation::Remove,
    Operation::SyncDir,
    Operation::Lock,
    Operation::Len,
    Operation::Read,
    Operation::Write,
    Operation::SetLen,
    Operation::Allocate,
    Operation::SyncData,
    Operation::SyncAll,
    Operation::View,
];

/// Every call there is, in that order.
fn call_all(fs: &FaultFs, file: &dyn File) -> Vec<Result<(), ErrorKind>> {
    fn done<T>(result: std::io::Result<T>) -> Result<(), ErrorKind> {
        result.map(drop).map_err(|error| error.kind())
    }
    vec![
        done(fs.open(Path::new("dir.log"), OpenMode::ReadWrite)),
        done(fs.open(Path::new("new"), OpenMode::CreateNew)),
        done(fs.list(Path::new("/"))),
        done(fs.create_dir(Path::new("d"))),
        done(fs.rename(Path::new("new"), Path::new("new2"))),
        done(fs.remove(Path::new("new2"))),
        done(fs.sync_dir(Path::new("/"))),
        done(fs.lock(Path::new("lock"))),
        done(file.len()),
        done(file.read_at(&mut [0; 10], 0)),
        done(file.write_at(&[0; 10], 0)),
        done(file.set_len(100)),
        done(file.allocate(100)),
        done(file.sync_data()),
        done(file.sync_all()),
        done(file.view(10)),
    ]
}

#[test]
fn operations_are_counted_and_traced() {
    let (_, fs, file) = start();
    assert!(call_all(&fs, &*file).iter().all(Result::is_ok));
    let trace = fs.trace();
    assert!(trace.iter().all(|call| call.is_ok()));
    let traced: Vec<_> = trace.iter().map(|call| call.operation).collect();
    assert_eq!(traced, OPERATIONS);
    for operation in OPERATIONS {
        assert_eq!(fs.count(operation), 1, "{operation:?}");
    }
}

#[test]
fn every_operation_can_fail() {
    for (index, operation) in OPERATIONS.into_iter().enumerate() {
        let (_, fs, file) = start();
        let rule = fs.add_rule(Rule::new(operation, Fault::Error(ErrorKind::TimedOut)));
        let results = call_all(&fs, &*file);
        assert_eq!(results[index], Err(ErrorKind::TimedOut), "{operation:?}");
        assert_eq!(fs.hit_count(rule), 1);
        assert_eq!(fs.trace()[index].result, Err(ErrorKind::TimedOut));
    }
}

#[test]
fn nth_call_rule_expires() {
    let mut n = 0;
    loop {
        n += 1;
        let (_, fs, file) = start();
        let rule = fs.add_rule(Rule::any(Fault::Error(ErrorKind::Other)).nth(n));
        let results = call_all(&fs, &*file);
        if fs.hit_count(rule) == 0 {
            break;
        }
        assert!(results.contains(&Err(ErrorKind::Other)));
        assert_eq!(fs.hit_count(rule), 1);
    }
    assert_eq!(n, 17);
}

#[test]
fn rule_selects_by_call_number() {
    let (_, fs, file) = start();
    let fails = |rule: Rule| -> Vec<bool> {
        let id = fs.add_rule(rule);
        let fails: Vec<_> = (0..6).map(|_| file.len().is_err()).collect();
        assert_eq!(fs.hit_count(id), fails.iter().filter(|fails| **fails).count() as u64);
        fs.remove_rule(id);
        assert_eq!(fs.hit_count(id), 0);
        fails
    };
    let rule = || Rule::new(Operation::Len, Fault::Error(ErrorKind::Other));
    assert_eq!(fails(rule()), [true; 6]);
    assert_eq!(fails(rule().nth(2)), [false, true, false, false, false, false]);
    assert_eq!(fails(rule().from_nth(5)), [false, false, false, false, true, true]);
    assert_eq!(fails(rule().chance(0.0, 1)), [false; 6]);
    assert_eq!(fails(rule().chance(1.0, 1)), [true; 6]);
    let some = fails(rule().chance(0.5, 1));
    assert_eq!(some, fails(rule().chance(0.5, 1)), "the same seed");
    assert!((2..40).any(|seed| fails(rule().chance(0.5, seed)) != some), "other seeds");
}

#[test]
fn rule_selects_by_path_and_operation() {
    let (_, fs, file) = start();
    let error = || Fault::Error(ErrorKind::Other);
    fs.add_rule(Rule::new(Operation::Len, error()).path(".index"));
    file.len().unwrap();
    fs.add_rule(Rule::new(Operation::Len, error()).or(Operation::View).path(".log"));
    assert!(file.len().is_err());
    assert!(file.view(1).is_err());
    file.sync_data().unwrap();
    fs.clear_rules();
    file.len().unwrap();
    // A rename counts by either name, a call on an open file by the name it was opened by.
    fs.add_rule(Rule::any(error()).path("target"));
    assert!(fs.rename(Path::new("dir.log"), Path::new("target")).is_err());
    fs.clear_rules();
    fs.rename(Path::new("dir.log"), Path::new("target")).unwrap();
    fs.add_rule(Rule::any(error()).path("target"));
    file.len().unwrap();
    assert!(fs.rename(Path::new("target"), Path::new("dir.log")).is_err());
    // Any is not narrowed by naming one.
    fs.add_rule(Rule::any(error()).or(Operation::Len));
    assert!(file.sync_all().is_err());
}

#[test]
fn first_rule_applies_and_all_count() {
    let (_, fs, file) = start();
    let first = fs.add_rule(Rule::new(Operation::Len, Fault::Error(ErrorKind::TimedOut)).nth(2));
    let second = fs.add_rule(Rule::new(Operation::Len, Fault::Error(ErrorKind::Other)).from_nth(2));
    file.len().unwrap();
    assert_eq!(kind(file.len()), ErrorKind::TimedOut);
    assert_eq!(kind(file.len()), ErrorKind::Other);
    assert_eq!((fs.hit_count(first), fs.hit_count(second)), (1, 1));
}

#[test]
fn error_numbers_are_kept() {
    let (_, fs, _) = start();
    fs.add_rule(Rule::new(Operation::Open, Fault::Errno(24)));
    let error = fs.open(Path::new("dir.log"), OpenMode::ReadOnly).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(24));
}

#[test]
fn short_reads_and_writes_complete() {
    let (memory, fs, _) = start();
    let short = Rule::new(Operation::Read, Fault::ShortIo(3)).or(Operation::Write);
    fs.add_rule(short.or(Operation::SyncData)); // which cannot be short
    let file = fs.open(Path::new("b"), OpenMode::CreateNew).unwrap();
    fs.clear_trace();
    let bytes: Vec<u8> = (0..100).collect();
    assert_eq!(file.write_at(&bytes, 0).unwrap(), 3);
    file.write_all_at(&bytes, 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!(fs.count(Operation::Write), 1 + 34);
    assert_eq!(read(&fs, "b").unwrap(), bytes);
    assert_eq!(fs.count(Operation::Read), 34);
    assert_eq!(read(&memory, "b").unwrap(), bytes);
    fs.clear_rules();
    fs.add_rule(Rule::new(Operation::Read, Fault::ShortIo(0)));
    assert_eq!(kind(read(&fs, "b")), ErrorKind::UnexpectedEof);
    fs.add_rule(Rule::new(Operation::Write, Fault::ShortIo(0)));
    assert_eq!(kind(file.write_all_at(&bytes, 0)), ErrorKind::WriteZero);
}

#[test]
fn write_can_fail_partway() {
    let (memory, fs, file) = start();
    let fault = Fault::PartialWrite { written: 5, kind: ErrorKind::StorageFull };
    fs.add_rule(Rule::new(Operation::Write, fault).nth(1));
    assert_eq!(kind(file.write_all_at(&[1; 8], 0)), ErrorKind::StorageFull);
    assert_eq!(read(&memory, "dir.log").unwrap()[..8], [1, 1, 1, 1, 1, 0, 0, 0]);
    assert_eq!(fs.trace()[0].result, Err(ErrorKind::StorageFull));
    file.write_all_at(&[1; 8], 0).unwrap();
}

#[test]
fn flipped_bit_is_stable() {
    let flips = |seed| -> Vec<Vec<u8>> {
        let (memory, fs, file) = start();
        fs.add_rule(Rule::new(Operation::Read, Fault::FlipBit { seed }).or(Operation::View));
        let mut reads: Vec<_> = (0..3).map(|_| read(&fs, "dir.log").unwrap()).collect();
        reads.push(file.view(100).unwrap().to_vec());
        for bytes in &reads {
            assert_eq!(bytes.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
        }
        assert_eq!(read(&memory, "dir.log").unwrap(), [0; 100]);
        // Nothing to flip.
        assert_eq!(file.read_at(&mut [], 0).unwrap(), 0);
        assert_eq!(file.read_at(&mut [0; 4], 500).unwrap(), 0);
        reads
    };
    assert_eq!(flips(1), flips(1));
    assert_ne!(flips(1), flips(2));
    assert_ne!(flips(1)[0], flips(1)[1]);
}

#[test]
fn failed_or_ignored_sync_persists_nothing() {
    let (memory, fs, file) = start();
    fs.sync_dir(Path::new("/")).unwrap();
    fs.add_rule(Rule::new(Operation::SyncData, Fault::Error(ErrorKind::Other)).nth(1));
    fs.add_rule(Rule::new(Operation::SyncData, Fault::IgnoreSilently));
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap(); // what Linux answers after it dropped the pages
    assert_eq!(read(&memory.crash(CrashState::SyncedOnly), "dir.log").unwrap(), b"");
    file.sync_all().unwrap();
    assert_eq!(read(&memory.crash(CrashState::SyncedOnly), "dir.log").unwrap(), [0; 100]);
}

#[test]
fn ignored_call_changes_nothing() {
    let (memory, fs, file) = start();
    fs.add_rule(Rule::any(Fault::IgnoreSilently));
    fs.rename(Path::new("dir.log"), Path::new("b")).unwrap();
    fs.remove(Path::new("dir.log")).unwrap();
    fs.remove(Path::new("nothing")).unwrap();
    fs.create_dir(Path::new("d")).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    assert_eq!(file.write_at(&[1; 7], 0).unwrap(), 7);
    file.set_len(3).unwrap();
    file.allocate(1000).unwrap();
    assert_eq!(file.len().unwrap(), 100);
    assert_eq!(read(&memory, "dir.log").unwrap(), [0; 100]);
    assert_eq!(memory.list(Path::new("/")).unwrap().len(), 1);
}

#[test]
fn hook_blocks_one_sync_only() {
    let (memory, fs, file) = start();
    fs.sync_dir(Path::new("/")).unwrap();
    let (reached, at_gate) = mpsc::channel();
    let (open_gate, gate) = mpsc::channel::<()>();
    let both = Mutex::new((reached, gate));
    let hold = Fault::call(move |call| {
        let both = both.lock().unwrap();
        both.0.send(call.clone()).unwrap();
        both.1.recv().unwrap();
    });
    fs.add_rule(Rule::new(Operation::SyncData, hold));
    fs.clear_trace();
    std::thread::scope(|scope| {
        let sync = scope.spawn(|| file.sync_data());
        let call = at_gate.recv().unwrap();
        assert_eq!((call.operation, &*call.path), (Operation::SyncData, Path::new("dir.log")));
        // Blocked before it had any effect; everything else continues, the rules included.
        file.write_all_at(&[1; 4], 0).unwrap();
        assert_eq!(fs.count(Operation::SyncData), 1);
        assert_eq!(read(&memory.crash(CrashState::SyncedOnly), "dir.log").unwrap(), b"");
        open_gate.send(()).unwrap();
        sync.join().unwrap().unwrap();
    });
    let operations: Vec<_> = fs.trace().iter().map(|call| call.operation).collect();
    assert_eq!(operations, [Operation::Write, Operation::SyncData]);
    let saved = read(&memory.crash(CrashState::SyncedOnly), "dir.log").unwrap();
    assert_eq!(saved[..5], [1, 1, 1, 1, 0]);
}

#[test]
fn hook_and_fault_share_one_call() {
    let (_, fs, file) = start();
    let seen = Arc::new(Mutex::new(0));
    let also = Arc::clone(&seen);
    fs.add_rule(Rule::new(Operation::Len, Fault::Error(ErrorKind::Other)));
    let hook = fs.add_rule(Rule::any(Fault::call(move |_| *also.lock().unwrap() += 1)));
    assert!(file.len().is_err());
    assert_eq!((*seen.lock().unwrap(), fs.hit_count(hook)), (1, 1));
}

#[test]
fn trace_records_calls_and_results() {
    let (_, fs, file) = start();
    file.write_all_at(&[1; 20], 90).unwrap();
    assert_eq!(file.read_at(&mut [0; 50], 100).unwrap(), 10);
    file.set_len(40).unwrap();
    fs.rename(Path::new("dir.log"), Path::new("b")).unwrap();
    assert_eq!(kind(fs.remove(Path::new("dir.log"))), ErrorKind::NotFound);
    let trace = fs.trace();
    let shape: Vec<_> =
        trace.iter().map(|call| (call.operation, call.at, call.len, call.result)).collect();
    let expected = [
        (Operation::Write, 90, 20, Ok(20)),
        (Operation::Read, 100, 50, Ok(10)),
        (Operation::SetLen, 0, 40, Ok(0)),
        (Operation::Rename, 0, 0, Ok(0)),
        (Operation::Remove, 0, 0, Err(ErrorKind::NotFound)),
    ];
    assert_eq!(shape, expected);
    assert_eq!(trace[3].to.as_deref(), Some(Path::new("b")));

    fs.record_trace(false);
    file.len().unwrap();
    assert_eq!((fs.trace().len(), fs.count(Operation::Len)), (5, 1));
    fs.clear_trace();
    assert_eq!((fs.trace().len(), fs.count(Operation::Len)), (0, 0));
}

#[test]
fn faults_apply_to_lock_file() {
    let (_, fs, _) = start();
    let lock = fs.lock(Path::new("lock")).unwrap();
    fs.add_rule(Rule::new(Operation::Write, Fault::Error(ErrorKind::StorageFull)).path("lock"));
    assert_eq!(kind(lock.file().write_at(b"1", 0)), ErrorKind::StorageFull);
    assert_eq!(kind(fs.lock(Path::new("lock"))), ErrorKind::WouldBlock);
    drop(lock);
    fs.lock(Path::new("lock")).unwrap();
}
