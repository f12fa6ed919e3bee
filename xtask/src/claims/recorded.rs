//! The claims of an experiment that are recorded in the book's folder of results.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// A recorded claim.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Claim {
    /// The claim in words.
    pub(super) claim: String,
    /// The comparison point in words.
    pub(super) comparison: String,
    pub(super) seeds: usize,
    statistic: Option<f64>,
    interval_low: Option<f64>,
    interval_high: Option<f64>,
    pub(super) verdict: String,
    primary: bool,
    size: Option<f64>,
    size_low: Option<f64>,
    size_high: Option<f64>,
    size_unit: String,
}

/// The primary claims of `NAME-claims.csv`, in its order.
///
/// # Errors
/// A file that is missing or no table of claims, and one without primary claims.
pub(super) fn primary(folder: &Path, name: &str) -> Result<Vec<Claim>> {
    let path = folder.join(format!("{name}-claims.csv"));
    let mut reader = csv::Reader::from_path(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let claims: Vec<Claim> = reader
        .deserialize()
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} is no table of claims", path.display()))?;
    let primary: Vec<Claim> = claims.into_iter().filter(|claim| claim.primary).collect();
    anyhow::ensure!(!primary.is_empty(), "{} has no primary claim", path.display());
    Ok(primary)
}

impl Claim {
    /// The size with its interval, or the statistic of a claim without a size; none for a vacuous claim.
    pub(super) fn number(&self) -> Option<String> {
        if self.verdict == "vacuous" {
            return None;
        }
        let with =
            |value: Option<f64>, low: Option<f64>, high: Option<f64>, shown: fn(f64) -> String, unit: [&str; 2]| {
                let interval = low.zip(high).map(|(low, high)| format!(" [{}, {}]", shown(low), shown(high)));
                Some(format!("{}{}{}{}", unit[0], shown(value?), unit[1], interval.unwrap_or_default()))
            };
        match self.size {
            Some(_) if self.size_unit.starts_with("factor") => {
                with(self.size, self.size_low, self.size_high, |value| digits(value, 3), ["×", ""])
            }
            Some(_) => with(self.size, self.size_low, self.size_high, signed, ["", " points"]),
            None => with(self.statistic, self.interval_low, self.interval_high, |value| digits(value, 3), ["", ""]),
        }
    }
}

/// A number with at most this many significant digits, without trailing zeros.
fn digits(value: f64, count: usize) -> String {
    let rounded = format!("{value:.*e}", count - 1).parse().unwrap_or(value);
    let text = if rounded == 0.0 || (1e-4..1e6).contains(&f64::abs(rounded)) {
        format!("{rounded}")
    } else {
        format!("{rounded:e}")
    };
    text.replace('-', "−")
}

/// A number of percentage points with two digits and its sign.
fn signed(value: f64) -> String {
    let text = digits(value, 2);
    if value > 0.0 { format!("+{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(size: Option<f64>, unit: &str, verdict: &str) -> Claim {
        Claim {
            claim: "larger a → lower b".to_owned(),
            comparison: "equal epochs".to_owned(),
            seeds: 5,
            statistic: Some(0.96784),
            interval_low: Some(0.9349),
            interval_high: Some(1.0),
            verdict: verdict.to_owned(),
            primary: true,
            size,
            size_low: size.map(|_| -4.62),
            size_high: size.map(|_| 0.683),
            size_unit: unit.to_owned(),
        }
    }

    #[test]
    fn numbers_are_sizes_or_statistics_with_their_intervals() {
        let number = |size, unit, verdict| claim(size, unit, verdict).number();
        assert_eq!(number(Some(12.349), "factor", "holds").unwrap(), "×12.3 [−4.62, 0.683]");
        assert_eq!(number(Some(1.0), "factor per doubling", "fails").unwrap(), "×1 [−4.62, 0.683]");
        assert_eq!(number(Some(-1.96), "points", "undecided").unwrap(), "−2 points [−4.6, +0.68]");
        assert_eq!(number(None, "", "holds").unwrap(), "0.968 [0.935, 1]");
        assert_eq!(number(None, "", "vacuous"), None);
        assert_eq!(digits(0.000_012_345, 3), "1.23e−5");
        assert_eq!((digits(0.0, 3), digits(1082.4, 3)), ("0".to_owned(), "1080".to_owned()));
    }
}
