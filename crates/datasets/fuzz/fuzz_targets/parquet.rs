//! Tables of images and labels.
#![no_main]

use std::cell::RefCell;
use std::sync::Once;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The parquet library panics on some of what a page may claim; the reader catches that and gives an error. The
    // fuzzer's hook would end the process before: without it, only a panic that nobody catches does.
    static HOOK: Once = Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    // The reader takes a file, whose length it trusts.
    thread_local!(static FILE: RefCell<Option<tempfile::NamedTempFile>> = const { RefCell::new(None) });
    FILE.with_borrow_mut(|file| {
        let file = file.get_or_insert_with(|| tempfile::NamedTempFile::new().expect("a place for a file"));
        std::fs::write(file.path(), bytes).expect("room for a file");
        datasets::fuzzing::parquet(file.path());
    });
});
