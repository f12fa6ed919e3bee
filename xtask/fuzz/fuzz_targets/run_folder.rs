//! The files of a run.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xtask::fuzzing::run_folder(bytes));
