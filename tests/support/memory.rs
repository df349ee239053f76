//! An allocator that counts, for tests that limit the memory that a call may allocate.
//!
//! A test binary installs it: `#[global_allocator] static COUNTING: Counting = Counting;`.
//! It counts for each thread, so that tests that run at the same time do not disturb each other.
//! It also counts for the whole process, for a test that runs in [its own
//! process](crate::process).
#![allow(unsafe_code, reason = "the trait of allocators is unsafe")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering};

/// The most bytes that a call may allocate for each KiB of hostile input.
pub const MOST: usize = 64 << 20;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

static ALLOCATIONS: AtomicI64 = AtomicI64::new(0);
static BYTES: AtomicI64 = AtomicI64::new(0);

/// The system's allocator, with counters.
#[derive(Debug)]
pub struct Counting;

fn count(allocations: i64, bytes: i64) {
    ALLOCATIONS.fetch_add(allocations, Ordering::Relaxed);
    BYTES.fetch_add(bytes, Ordering::Relaxed);
    // The counters of a thread that is ending no longer exist, and no test reads them.
    LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        PEAK.try_with(|peak| peak.set(peak.get().max(live.get()))).ok();
    })
    .ok();
}

fn count_call() {
    CALLS.try_with(|calls| calls.set(calls.get() + 1)).ok();
}

// SAFETY: every call is passed unchanged to the system's allocator, and counting allocates
// nothing.
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

/// Returns the number of live allocations of the process, and their bytes.
pub fn process() -> (i64, i64) {
    assert_installed();
    (ALLOCATIONS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed))
}

/// Returns the number of bytes that this thread has allocated and not freed.
pub fn live_bytes() -> i64 {
    assert_installed();
    LIVE.get()
}

/// Returns the number of allocations that this thread makes during a call.
pub fn allocations(call: impl FnOnce()) -> u64 {
    assert_installed();
    let before = CALLS.get();
    call();
    CALLS.get() - before
}

/// Returns how many more bytes this thread holds after a call than before, while its result lives.
pub fn held<T>(call: impl FnOnce() -> T) -> (i64, T) {
    let before = live_bytes();
    let result = call();
    (LIVE.get() - before, result)
}

/// Returns the peak of the bytes that this thread holds during a call, above those it held before.
pub fn peak_of<T>(call: impl FnOnce() -> T) -> (T, usize) {
    assert_installed();
    let before = LIVE.get();
    PEAK.set(before);
    let result = call();
    (result, usize::try_from(PEAK.get() - before).unwrap_or(0))
}

/// Runs a call on an input of `input_bytes` bytes. Fails if it allocates more than [`MOST`]
/// allows.
pub fn bounded<T>(input_bytes: usize, call: impl FnOnce() -> T) -> T {
    let (result, taken) = peak_of(call);
    let most = MOST * input_bytes.div_ceil(1024).max(1);
    assert!(taken <= most, "{input_bytes} bytes of input took {taken} of memory");
    result
}

/// Returns the peak memory of this process in bytes; 0 if the system does not report it.
pub fn process_peak() -> u64 {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return 0 };
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Fails if the allocator is not installed: without it, every limit would seem to hold.
fn assert_installed() {
    assert!(BYTES.load(Ordering::Relaxed) > 0, "the binary does not install `Counting`");
}
