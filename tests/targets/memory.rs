//! Counts what each thread has allocated, so that a test can say how much one input took.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// One hostile kibibyte may take no more.
pub const MOST: usize = 64 << 20;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

#[derive(Debug)]
pub struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(by: isize) {
    // While a thread ends its counters are gone, and nobody asks for them.
    LIVE.try_with(|live| {
        live.set(live.get() + by);
        PEAK.try_with(|peak| peak.set(peak.get().max(live.get()))).ok();
    })
    .ok();
}

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new are there at once while the bytes are moved.
        count(size as isize);
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// The most this thread allocated during a call beyond what it had before, in bytes.
pub fn peak_of<T>(call: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = call();
    (result, usize::try_from(PEAK.get() - before).unwrap_or(0))
}

/// Runs a call on an input of so many bytes, and fails if it takes more than hostile bytes may.
pub fn bounded<T>(input_bytes: usize, call: impl FnOnce() -> T) -> T {
    let (result, taken) = peak_of(call);
    let most = MOST * input_bytes.div_ceil(1024).max(1);
    assert!(taken <= most, "{input_bytes} bytes of input took {taken} of memory");
    result
}
