//! Provenance of results: program, machine, time and duration. This is the only module that reads the clock, and nothing
//! here enters a result.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Version of this workspace.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that the program was built from, if it was known.
pub(crate) const COMMIT: Option<&str> = option_env!("REPRODUCE_COMMIT");

/// The provenance of some work, saved beside its results.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Provenance {
    /// Version of this workspace.
    pub(crate) version: String,
    /// The commit that the program was built from, if it was known.
    #[serde(default)]
    pub(crate) commit: Option<String>,
    /// Version of candle in the program.
    #[serde(default)]
    pub(crate) candle: Option<String>,
    /// Name of the machine, if the system reports it.
    pub(crate) host: String,
    /// Operating system and processor family.
    pub(crate) platform: String,
    /// Model of the processor, if the system reports it.
    #[serde(default)]
    pub(crate) processor: Option<String>,
    /// Widest vector instructions that the kernels use; the last digits of a result depend on them.
    #[serde(default)]
    pub(crate) instructions: Option<String>,
    /// Threads of the process.
    pub(crate) threads: usize,
    /// Seconds since 1970-01-01 UTC at the start.
    pub(crate) started: u64,
    /// Wall-clock seconds from start to end.
    pub(crate) seconds: f64,
}

/// What computed a result, without the machine's name and the time.
#[derive(Debug, Serialize)]
pub(crate) struct ComputedBy<'a> {
    version: &'a str,
    commit: Option<&'a str>,
    candle: Option<&'a str>,
    platform: &'a str,
    processor: Option<&'a str>,
    instructions: Option<&'a str>,
    threads: usize,
}

impl Provenance {
    /// What computed the result.
    pub(crate) fn computed_by(&self) -> ComputedBy<'_> {
        ComputedBy {
            version: &self.version,
            commit: self.commit.as_deref(),
            candle: self.candle.as_deref(),
            platform: &self.platform,
            processor: self.processor.as_deref(),
            instructions: self.instructions.as_deref(),
            threads: self.threads,
        }
    }
}

/// A stopwatch.
pub(crate) struct Stopwatch {
    started: u64,
    since: std::time::Instant,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { started: now(), since: std::time::Instant::now() }
    }

    /// Seconds since 1970-01-01 UTC at the start.
    pub(crate) fn started(&self) -> u64 {
        self.started
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.since.elapsed().as_secs_f64()
    }

    /// The provenance of the work since the start.
    pub(crate) fn record(&self, threads: usize) -> Provenance {
        Provenance {
            version: VERSION.to_owned(),
            commit: COMMIT.map(str::to_owned),
            candle: option_env!("REPRODUCE_CANDLE").map(str::to_owned),
            host: host(),
            platform: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
            processor: processor(),
            instructions: instructions().map(str::to_owned),
            threads,
            started: self.started,
            seconds: (self.seconds() * 1e3).round() / 1e3,
        }
    }
}

/// Seconds since 1970-01-01 UTC; 0 if the clock is set to an earlier time.
#[allow(clippy::disallowed_methods, reason = "this is the module that the ban points to")]
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// Name of this machine.
pub(crate) fn host() -> String {
    std::env::var("HOSTNAME")
        .ok()
        .or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok())
        .map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
}

/// Model of the processor, from `/proc`.
pub(crate) fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'))?.1.trim();
    (!model.is_empty()).then(|| model.to_owned())
}

/// The widest vector instructions that the kernels use on this machine.
fn instructions() -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return Some("AVX-512");
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            return Some("AVX2");
        }
    }
    cfg!(target_arch = "aarch64").then_some("NEON")
}

/// A date and time such as `2026-11-24 01:30 UTC`.
pub(crate) fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3600, rest % 3600 / 60)
}

/// A date and time such as `2026-11-24T01:30:00Z`, as ISO 8601 writes it.
pub(crate) fn iso(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest % 3600 / 60, rest % 60)
}

/// Year, month and day of a day count since 1970-01-01 in the proleptic Gregorian calendar.
///
/// Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// A duration for people: `45 s`, `3 min 05 s`, `2 h 07 min`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..=89 => format!("{whole} s"),
        90..=5_399 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_agree_with_the_calendar() {
        assert_eq!(utc(0), "1970-01-01 00:00 UTC");
        // 2024-02-29 is day 19782: 54 years of 365 days, 13 leap days, 31 days of January, 28 of February.
        assert_eq!(utc(19_782 * 86_400 + 3_661), "2024-02-29 01:01 UTC");
        assert_eq!(utc(1_795_478_400), "2026-11-24 00:00 UTC");
        assert_eq!(iso(19_782 * 86_400 + 3_661), "2024-02-29T01:01:01Z");
    }

    #[test]
    fn a_record_has_the_versions_and_an_older_one_can_be_read() {
        let record = Stopwatch::start().record(3);
        assert!(record.candle.is_some_and(|version| version.starts_with("0.")));
        assert!(cfg!(not(target_os = "linux")) || record.processor.is_some());
        let older = r#"{"version":"0.1.0","host":"a","platform":"linux-x86_64","threads":1,"started":7,"seconds":1.5}"#;
        let older: Provenance = serde_json::from_str(older).unwrap();
        assert_eq!((older.commit, older.instructions, older.started), (None, None, 7));
    }

    #[test]
    fn durations_are_in_fitting_units() {
        assert_eq!(duration(44.6), "45 s");
        assert_eq!(duration(185.0), "3 min 05 s");
        assert_eq!(duration(7_630.0), "2 h 07 min");
    }
}
