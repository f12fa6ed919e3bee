//! Files of decoded images.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| datasets::fuzzing::decoded(bytes));
