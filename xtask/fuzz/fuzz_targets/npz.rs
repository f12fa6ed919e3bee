//! Arrays of NumPy in zip archives.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xtask::fuzzing::npz(bytes));
