//! Working on many items with several threads.

use crate::fs::{Fs, Place, Turns};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, thread};

/// Up to this number of short jobs, the calling thread does all of them.
const FEW: usize = 4;

/// Applies `work` to each item, on up to `threads` threads including this one. The results are in
/// the order of the items.
///
/// A file system that chooses the [order of calls](crate::fs::FaultFs::interleave) learns of all
/// threads before the first one starts.
pub(crate) fn in_parallel<T: Sync, R: Send>(
    fs: &dyn Fs,
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let helpers = threads.min(items.len()).saturating_sub(1);
    if helpers == 0 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let take = || {
        let mut mine = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { break };
            mine.push((at, work(item)));
        }
        done.lock().append(&mut mine);
    };
    let turns = fs.turns();
    let place = || turns.as_ref().map(Turns::place);
    let in_turn = |place: Option<Place>| match place {
        Some(place) => place.fill(take),
        None => take(),
    };
    let (mine, others) = (place(), (0..helpers).map(|_| place()).collect::<Vec<_>>());
    thread::scope(|scope| {
        for place in others {
            let helper = thread::Builder::new().name("annals-open".to_owned());
            // If a thread cannot be started, the others do its work.
            helper.spawn_scoped(scope, move || in_turn(place)).ok();
        }
        in_turn(mine);
        if let Some(turns) = &turns {
            turns.step_aside();
        }
    });
    if let Some(turns) = &turns {
        turns.step_back();
    }
    let mut done = done.into_inner();
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Applies `work` to each item like [`in_parallel`], but with at most one thread for each [`FEW`]
/// items. Starting a thread takes longer than a few short jobs, and not all of the memory that a
/// thread has used is released when it ends.
pub(crate) fn in_few_threads<T: Sync, R: Send>(
    fs: &dyn Fs,
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    // When the order of calls is explored, use all the threads that there could be.
    let most = if fs.turns().is_some() { threads } else { items.len().div_ceil(FEW) };
    in_parallel(fs, threads.min(most), items, work)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::MemFs;

    #[test]
    fn results_keep_item_order() {
        for threads in [1, 2, 7] {
            for count in [0, 1, 2, 100] {
                let items: Vec<usize> = (0..count).collect();
                let expected: Vec<usize> = items.iter().map(|item| item * 3).collect();
                assert_eq!(in_parallel(&MemFs::new(), threads, &items, |item| item * 3), expected);
            }
        }
    }

    #[test]
    fn no_thread_starts_for_few_items() {
        let caller = thread::current().id();
        for count in 0..=FEW {
            let items: Vec<usize> = (0..count).collect();
            let on = in_few_threads(&MemFs::new(), 8, &items, |_| thread::current().id());
            assert!(on.iter().all(|thread| *thread == caller), "{count} items");
        }
    }
}
