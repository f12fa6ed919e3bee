//! Tables of images and labels.
#![no_main]

use std::cell::RefCell;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The reader takes a file, whose length it trusts.
    thread_local!(static FILE: RefCell<Option<tempfile::NamedTempFile>> = const { RefCell::new(None) });
    FILE.with_borrow_mut(|file| {
        let file = file.get_or_insert_with(|| tempfile::NamedTempFile::new().expect("a place for a file"));
        std::fs::write(file.path(), bytes).expect("room for a file");
        datasets::fuzzing::parquet(file.path());
    });
});
