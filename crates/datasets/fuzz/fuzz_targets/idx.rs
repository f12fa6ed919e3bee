//! IDX files, plain or gzipped.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| datasets::fuzzing::idx(bytes));
