//! Indices of weights in several files.
#![no_main]

#[allow(dead_code)] // each target uses one reader
#[path = "../readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| readers::index(bytes));
