//! The Hub's descriptions of repositories.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| datasets::fuzzing::listing(bytes));
