//! The limit of the address space, which batch systems set (`ulimit -v`), and the number of threads that fit into it.
//!
//! faer multiplies matrices on x86-64, and reserves twice the size of the last-level caches for every thread that does. The pages are
//! not used, but they count towards the limit, and an allocation beyond it would end the process by a signal.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Result, bail};

use crate::output::note;

/// Address space of everything but the threads' reserves: the program, the allocator's first arena of 1 GiB, and the data.
const BASE: u64 = 2 << 30;
/// Size of the caches where the system does not report it.
const UNREPORTED: u64 = 64 << 20;

/// Where the address space is limited, starts as many threads as fit. Results do not depend on the number of threads.
///
/// # Errors
/// A limit that is too small for one thread.
pub(crate) fn start_fitting_threads() -> Result<()> {
    if limit().is_none() {
        return Ok(());
    }
    // The main thread is one of them, so that it needs no reserve beside theirs.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(fitting_threads(usual_threads())?).use_current_thread();
    // It fails where there are threads already: an earlier command in this process has started as many as fit.
    _ = pool.build_global();
    Ok(())
}

/// The number of threads that fit into the address space, at most `wanted`. A smaller number is noted on standard error.
///
/// # Errors
/// A limit that is too small for one thread.
pub(crate) fn fitting_threads(wanted: usize) -> Result<usize> {
    let Some(limit) = limit() else { return Ok(wanted) };
    let reserve = reserve();
    let gibibytes = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    match fitting(limit, reserve) {
        0 => bail!(
            "the address space is limited to {} (`ulimit -v`), and {} are needed: {} for each thread that multiplies matrices, which \
             are reserved and not used, and {} for everything else; raise the limit",
            gibibytes(limit),
            gibibytes(BASE + reserve),
            gibibytes(reserve),
            gibibytes(BASE)
        ),
        threads if threads < wanted => {
            note!(
                "the address space is limited to {} (`ulimit -v`), and each thread reserves up to {}: {threads} of {wanted} threads",
                gibibytes(limit),
                gibibytes(reserve)
            );
            Ok(threads)
        }
        _ => Ok(wanted),
    }
}

/// The threads that fit beside everything else.
fn fitting(limit: u64, reserve: u64) -> usize {
    usize::try_from(limit.saturating_sub(BASE) / reserve.max(1)).unwrap_or(usize::MAX)
}

/// The number of threads that rayon starts.
fn usual_threads() -> usize {
    let stated = std::env::var("RAYON_NUM_THREADS").ok().and_then(|text| text.parse().ok()).filter(|count| *count > 0);
    stated.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// The limit in bytes; `None` where there is none.
fn limit() -> Option<u64> {
    stated_limit(&fs::read_to_string("/proc/self/limits").ok()?)
}

/// The soft limit of the address space in the text of `/proc/self/limits`.
fn stated_limit(limits: &str) -> Option<u64> {
    limits.lines().find_map(|line| line.strip_prefix("Max address space"))?.split_whitespace().next()?.parse().ok()
}

/// What one thread reserves: on x86-64 twice the size of all last-level caches.
fn reserve() -> u64 {
    if cfg!(target_arch = "x86_64") { 2 * last_level_caches().unwrap_or(UNREPORTED) } else { 0 }
}

/// The sum of the sizes of the caches of level 3, each counted once.
fn last_level_caches() -> Option<u64> {
    let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
    for cpu in fs::read_dir("/sys/devices/system/cpu").ok()?.flatten() {
        for index in fs::read_dir(cpu.path().join("cache")).into_iter().flatten().flatten() {
            let fact = |name: &str| fs::read_to_string(index.path().join(name)).unwrap_or_default().trim().to_owned();
            if fact("level") == "3"
                && let Some(size) = bytes(&fact("size"))
            {
                sizes.insert(fact("shared_cpu_list"), size);
            }
        }
    }
    (!sizes.is_empty()).then(|| sizes.values().sum())
}

/// A size such as `32768K`.
fn bytes(size: &str) -> Option<u64> {
    let (number, unit) = match size.strip_suffix(['K', 'M', 'G']) {
        Some(number) => (number, size.as_bytes()[number.len()]),
        None => (size, b' '),
    };
    let shift = match unit {
        b'K' => 10,
        b'M' => 20,
        b'G' => 30,
        _ => 0,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_first_number_of_its_line() {
        let text = "Max cpu time              unlimited            unlimited            seconds\n\
                    Max address space         4294967296           unlimited            bytes\n";
        assert_eq!(stated_limit(text), Some(4 << 30));
        assert_eq!(stated_limit(&text.replace("4294967296", "unlimited")), None);
        assert_eq!(stated_limit(""), None);
    }

    #[test]
    fn as_many_threads_fit_as_have_room_for_their_reserve() {
        let reserve = 960 << 20;
        assert_eq!([1 << 20, 2 << 30, 3 << 30, 4 << 30].map(|limit| fitting(limit, reserve)), [0, 0, 1, 2]);
        // Without a reserve only the base is needed.
        assert_eq!([fitting(BASE, 0), fitting(BASE + 5, 0)], [0, 5]);
    }

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(
            ["32768K", "480M", "1G", "64", "x", ""].map(bytes),
            [Some(32 << 20), Some(480 << 20), Some(1 << 30), Some(64), None, None]
        );
    }
}
