//! Tests in a process whose address space is limited.

use std::process::Command;

/// The variable that marks the limited process.
const LIMITED: &str = "DAMAGED_INPUTS_LIMITED";

/// Whether this process is one that [`run_in_limited_memory`] started.
///
/// ```
/// assert!(!damaged_inputs::is_limited());
/// ```
pub fn is_limited() -> bool {
    std::env::var_os(LIMITED).is_some()
}

/// Runs an ignored test of this test binary in a process of limited address space. A larger allocation ends that process.
///
/// `test` is the full name of the test, which returns at once unless [`is_limited`]. Linux only: elsewhere nothing is run.
///
/// # Panics
/// The test fails, or there is no ignored test of this name.
///
/// ```no_run
/// // #[test] #[ignore = "the other test starts it with limited memory"]
/// fn read_everything() {
///     if damaged_inputs::is_limited() {
///         // read damaged files
///     }
/// }
/// // #[test]
/// fn damaged_files_do_not_fill_the_memory() {
///     damaged_inputs::run_in_limited_memory("read_everything", 4 << 20);
/// }
/// ```
#[allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
pub fn run_in_limited_memory(test: &str, kilobytes: u64) {
    if !cfg!(target_os = "linux") {
        return;
    }
    let script = format!("ulimit -v {kilobytes} && exec \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(LIMITED, "1")
        .env("RAYON_NUM_THREADS", "2")
        .output()
        .unwrap();
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && printed.contains("test result: ok. 1 passed"), "{printed}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "the test below starts it with limited memory"]
    fn takes_no_gibibyte() {
        if is_limited() {
            let mut bytes: Vec<u8> = Vec::new();
            assert!(bytes.try_reserve_exact(1 << 30).is_err());
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_limit_holds_and_a_missing_test_is_noticed() {
        run_in_limited_memory("limited_memory::tests::takes_no_gibibyte", 1 << 19);
        assert!(std::panic::catch_unwind(|| run_in_limited_memory("no_such_test", 1 << 19)).is_err());
    }
}
