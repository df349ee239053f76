use super::*;

const TOOK: Duration = Duration::from_micros(100);

#[test]
fn leader_never_waits_when_alone() {
    let mut batcher = SyncBatcher::default();
    for n in 1..10 {
        batcher.join(n, false, &mut None);
        assert_eq!(batcher.patience(), None);
        batcher.begin(n);
        batcher.end(TOOK);
    }
}

#[test]
fn leader_expects_released_and_waiting_threads() {
    let mut batcher = SyncBatcher::default();
    let (mut first, mut second) = (None, None);
    batcher.join(1, false, &mut first);
    batcher.begin(1);
    batcher.join(2, true, &mut second);
    batcher.end(TOOK);
    // The second leads, having been counted, and waits for the first to come back.
    batcher.join(2, false, &mut second);
    assert_eq!(batcher.patience(), Some(TOOK));
    batcher.join(3, true, &mut first);
    assert!(batcher.is_complete());
    batcher.waited();
    batcher.begin(3);
    // A thread that asks for what is already being synced is released with the others.
    batcher.join(3, true, &mut None);
    batcher.end(TOOK);
    assert_eq!(batcher.expected, 3);
}

/// A disk that stalled for half a minute must not make the next flush wait as long.
#[test]
fn wait_is_short_after_slow_sync() {
    let mut batcher = SyncBatcher::default();
    let (mut one, mut other) = (None, None);
    batcher.join(1, false, &mut one);
    batcher.begin(1);
    batcher.join(2, true, &mut other);
    batcher.end(Duration::from_secs(30));
    assert!(!batcher.is_complete());
    assert_eq!(batcher.patience(), Some(LONGEST_WAIT));
}

#[test]
fn leader_waits_rarely_after_vain_waits() {
    let mut batcher = SyncBatcher::default();
    let mut waited = 0;
    batcher.join(0, false, &mut None);
    for n in 0..1000u64 {
        if batcher.patience().is_some() {
            waited += 1;
            batcher.waited();
        }
        batcher.begin(2 * n);
        batcher.join(2 * n + 1, true, &mut None);
        batcher.end(TOOK);
        batcher.begin(2 * n + 1);
        batcher.join(2 * n + 2, true, &mut None);
        batcher.end(TOOK);
    }
    assert!((5..40).contains(&waited), "{waited}");
}
