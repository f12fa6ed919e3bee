//! Tables of images and labels.
#![no_main]

use std::cell::RefCell;
use std::sync::Once;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The parquet library panics on some invalid pages, and the reader catches that and gives an error. The fuzzer's panic
    // hook would end the process first. Without it, only an uncaught panic ends the process.
    static HOOK: Once = Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    // The reader needs a file.
    thread_local!(static FILE: RefCell<Option<tempfile::NamedTempFile>> = const { RefCell::new(None) });
    FILE.with_borrow_mut(|file| {
        let file = file.get_or_insert_with(|| tempfile::NamedTempFile::new().expect("a temporary file"));
        std::fs::write(file.path(), bytes).expect("a written file");
        datasets::fuzzing::parquet(file.path());
    });
});
