//! An allocator that counts, for tests that bound what a call may allocate.
//!
//! A test binary installs it: `#[global_allocator] static COUNTING: Counting = Counting;`.
//! It counts by thread, so that tests that run at the same time do not disturb each other, and
//! for the whole process, for a test that runs in [a process of its own](crate::process).
#![allow(unsafe_code, reason = "the trait of allocators is unsafe")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering};

/// The most that one hostile kibibyte may allocate.
pub const MOST: usize = 64 << 20;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

static ALLOCATIONS: AtomicI64 = AtomicI64::new(0);
static BYTES: AtomicI64 = AtomicI64::new(0);

/// The system's allocator, counting.
#[derive(Debug)]
pub struct Counting;

fn count(allocations: i64, bytes: i64) {
    ALLOCATIONS.fetch_add(allocations, Ordering::Relaxed);
    BYTES.fetch_add(bytes, Ordering::Relaxed);
    // The counters of a thread that is ending are gone, and no test asks for them.
    LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        PEAK.try_with(|peak| peak.set(peak.get().max(live.get()))).ok();
    })
    .ok();
}

fn count_call() {
    CALLS.try_with(|calls| calls.set(calls.get() + 1)).ok();
}

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_call();
        count(1, layout.size() as i64);
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_call();
        count(1, layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-1, -(layout.size() as i64));
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_call();
        // Old and new exist at once while the bytes are moved.
        count(1, size as i64);
        count(-1, -(layout.size() as i64));
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// How many allocations the process holds, and their bytes.
pub fn process() -> (i64, i64) {
    assert_installed();
    (ALLOCATIONS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed))
}

/// How many bytes this thread allocated and did not free.
pub fn live_bytes() -> i64 {
    assert_installed();
    LIVE.get()
}

/// How many times this thread allocates during a call.
pub fn allocations(call: impl FnOnce()) -> u64 {
    assert_installed();
    let before = CALLS.get();
    call();
    CALLS.get() - before
}

/// How many bytes more this thread holds after a call than before, while its result lives.
pub fn held<T>(call: impl FnOnce() -> T) -> (i64, T) {
    let before = live_bytes();
    let result = call();
    (LIVE.get() - before, result)
}

/// The most this thread allocated during a call beyond what it had before, in bytes.
pub fn peak_of<T>(call: impl FnOnce() -> T) -> (T, usize) {
    assert_installed();
    let before = LIVE.get();
    PEAK.set(before);
    let result = call();
    (result, usize::try_from(PEAK.get() - before).unwrap_or(0))
}

/// Runs a call on an input of so many bytes, and fails if it allocates more than hostile bytes
/// may.
pub fn bounded<T>(input_bytes: usize, call: impl FnOnce() -> T) -> T {
    let (result, taken) = peak_of(call);
    let most = MOST * input_bytes.div_ceil(1024).max(1);
    assert!(taken <= most, "{input_bytes} bytes of input took {taken} of memory");
    result
}

/// The most memory this process has had at once, in bytes; 0 where the system does not say.
pub fn process_peak() -> u64 {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return 0 };
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Without the allocator every bound would hold.
fn assert_installed() {
    assert!(BYTES.load(Ordering::Relaxed) > 0, "the binary does not install `Counting`");
}
