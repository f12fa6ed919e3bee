//! Checks of large allocations before they are made.

use crate::{Error, Result};

/// From this size on a request without a stated limit is compared with the available memory.
const LARGE: u128 = 64 << 20;

/// Memory that an operation is about to take.
pub(crate) struct Request {
    pub(crate) operation: &'static str,
    /// What needs the memory, with its sizes.
    pub(crate) what: String,
    /// Bytes in all, which a stated limit covers.
    pub(crate) total: u128,
    /// Bytes to be allocated now, which must be available.
    pub(crate) added: u128,
    /// The option that avoids the request.
    pub(crate) avoid: &'static str,
}

impl Request {
    /// Compares the request with a stated limit in bytes, or else with the available memory.
    ///
    /// **Errors** [`Error::Memory`].
    pub(crate) fn check(&self, stated: Option<u64>) -> Result<()> {
        match stated {
            Some(limit) if self.total > u128::from(limit) => Err(self.error(self.total, limit)),
            Some(_) => Ok(()),
            None if self.added < LARGE => Ok(()),
            None => match available() {
                Some(bytes) if self.added > u128::from(bytes) => Err(self.error(self.added, bytes)),
                _ => Ok(()),
            },
        }
    }

    fn error(&self, needed: u128, limit: u64) -> Error {
        let needed = u64::try_from(needed).unwrap_or(u64::MAX);
        Error::Memory { operation: self.operation, what: self.what.clone(), needed, limit, avoid: self.avoid }
    }
}

/// Reserves room for further numbers.
///
/// **Errors** [`Error::Memory`] when the allocator refuses.
pub(crate) fn reserve(numbers: &mut Vec<f64>, further: usize, request: &Request) -> Result<()> {
    numbers.try_reserve(further).map_err(|_| request.error(request.added, available().unwrap_or(0)))
}

/// Bytes that the system reports as available; `None` where it does not report them.
fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok()?.checked_mul(1024)
}
