#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| annals_fuzz::targets::txn_index::txn_index(data));
