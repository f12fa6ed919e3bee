//! The claims of an experiment that are recorded in the book's folder of results.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;

use crate::output::wrapped_lines;
use crate::report::{signed, three_digits};

/// Columns of a block of code.
const COLUMNS: usize = 98;

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
    #[serde(default)]
    trained_size: Option<f64>,
    #[serde(default)]
    trained_size_low: Option<f64>,
    #[serde(default)]
    trained_size_high: Option<f64>,
    #[serde(default)]
    corrected_p_value: Option<f64>,
}

/// The claims of `NAME-claims.csv`, in its order.
///
/// # Errors
/// A file that is missing or no table of claims.
fn all(folder: &Path, name: &str) -> Result<Vec<Claim>> {
    let path = folder.join(format!("{name}-claims.csv"));
    let mut reader = csv::Reader::from_path(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let claims = reader.deserialize().collect::<Result<_, _>>();
    claims.with_context(|| format!("{} is no table of claims", path.display()))
}

/// The primary claims of `NAME-claims.csv`, in its order.
///
/// # Errors
/// A file that is missing or no table of claims, and one without primary claims.
pub(super) fn primary(folder: &Path, name: &str) -> Result<Vec<Claim>> {
    let primary: Vec<Claim> = all(folder, name)?.into_iter().filter(|claim| claim.primary).collect();
    anyhow::ensure!(!primary.is_empty(), "{name}-claims.csv has no primary claim");
    Ok(primary)
}

/// One claim in words at a comparison point in words: unless named, at equal epochs or at the only one that it has.
///
/// # Errors
/// Those of the file, and a claim that it does not have.
pub(super) fn one(folder: &Path, name: &str, claim: &str, comparison: Option<&str>) -> Result<Claim> {
    let mut found: Vec<Claim> = all(folder, name)?.into_iter().filter(|own| own.claim == claim).collect();
    if let Some(comparison) = comparison {
        found.retain(|own| own.comparison == comparison);
    } else if found.len() > 1 {
        found.retain(|own| own.comparison == "equal epochs");
    }
    let place = comparison.map_or_else(String::new, |comparison| format!(" at {comparison}"));
    let found = <[Claim; 1]>::try_from(found);
    let [claim] = found.map_err(|found| anyhow!("{name}-claims.csv has {} claims “{claim}”{place}", found.len()))?;
    Ok(claim)
}

/// How many claims have each verdict, such as `53 hold, 16 fail, 5 are negligible and 36 are undecided`.
///
/// # Errors
/// Those of the file.
pub(super) fn counts(folder: &Path, name: &str) -> Result<String> {
    let claims = all(folder, name)?;
    let count = |verdict: &str| claims.iter().filter(|claim| claim.verdict == verdict).count();
    let words = [
        ("holds", "holds", "hold"),
        ("fails", "fails", "fail"),
        ("negligible", "is negligible", "are negligible"),
        ("vacuous", "is vacuous", "are vacuous"),
        ("undecided", "is undecided", "are undecided"),
    ];
    let phrases: Vec<String> = words
        .iter()
        .filter_map(|(verdict, one, many)| match count(verdict) {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        })
        .collect();
    let listed = match phrases.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        phrases => phrases.join(""),
    };
    Ok(format!("of all {} claims {listed}", claims.len()))
}

/// The recorded terminal output of a command, `NAME-output.txt`, as a block of code with its lines wrapped.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn output(folder: &Path, name: &str) -> Result<String> {
    let path = folder.join(format!("{name}-output.txt"));
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    // Lines that fit keep their columns.
    let wrapped = |line: &str| match line.chars().count() {
        0..=COLUMNS => vec![line.to_owned()],
        _ => wrapped_lines(line, COLUMNS, "    "),
    };
    let lines: Vec<String> = text.lines().flat_map(wrapped).collect();
    Ok(format!("\n\n```text\n{}\n```\n\n", lines.join("\n")))
}

impl Claim {
    /// The size with its interval, or the statistic of a claim without a size; none for a vacuous claim.
    pub(super) fn number(&self) -> Option<String> {
        if self.verdict == "vacuous" {
            return None;
        }
        self.size()
            .or_else(|| with_interval(self.statistic, [self.interval_low, self.interval_high], three_digits, ["", ""]))
    }

    /// The size with its interval, as the report writes it.
    pub(super) fn size(&self) -> Option<String> {
        self.sized(self.size, [self.size_low, self.size_high])
    }

    /// The size among trained runs with its interval.
    pub(super) fn trained(&self) -> Option<String> {
        self.sized(self.trained_size, [self.trained_size_low, self.trained_size_high])
    }

    /// The corrected p-value of a claim that is decided by one.
    pub(super) fn corrected_p(&self) -> Option<String> {
        self.corrected_p_value.map(|p| if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") })
    }

    fn sized(&self, size: Option<f64>, ends: [Option<f64>; 2]) -> Option<String> {
        if self.size_unit.starts_with("factor") {
            with_interval(size, ends, three_digits, ["×", ""])
        } else {
            with_interval(size, ends, points, ["", " points"])
        }
    }

    /// The size without its interval.
    pub(super) fn change(&self) -> Option<String> {
        self.size().map(|size| size.split(" [").next().unwrap_or_default().to_owned())
    }

    /// The statistic with its interval, as the report writes it.
    pub(super) fn statistic(&self) -> Option<String> {
        with_interval(self.statistic, [self.interval_low, self.interval_high], signed, ["", ""])
    }

    /// The factor of the change, also of a decrease, as `48-fold`.
    pub(super) fn fold(&self) -> Option<String> {
        let factor = self.size.filter(|size| *size > 0.0 && self.size_unit.starts_with("factor"))?;
        let factor = factor.max(factor.recip());
        Some(if factor < 10.0 { format!("{factor:.1}-fold") } else { format!("{factor:.0}-fold") })
    }
}

fn with_interval(
    value: Option<f64>,
    [low, high]: [Option<f64>; 2],
    shown: fn(f64) -> String,
    [before, after]: [&str; 2],
) -> Option<String> {
    let shown = |value| shown(value).replace('-', "−");
    let interval = low.zip(high).map(|(low, high)| format!(" [{}, {}]", shown(low), shown(high)));
    Some(format!("{before}{}{after}{}", shown(value?), interval.unwrap_or_default()))
}

/// A number of percentage points.
fn points(value: f64) -> String {
    format!("{value:+.1}")
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
            trained_size: size.map(|size| 0.5 * size),
            trained_size_low: None,
            trained_size_high: None,
            corrected_p_value: Some(0.0123),
        }
    }

    #[test]
    fn numbers_are_sizes_or_statistics_with_their_intervals() {
        let number = |size, unit, verdict| claim(size, unit, verdict).number();
        assert_eq!(number(Some(12.349), "factor", "holds").unwrap(), "×12.3 [−4.62, 0.683]");
        assert_eq!(number(Some(1.0), "factor per doubling", "fails").unwrap(), "×1.00 [−4.62, 0.683]");
        assert_eq!(number(Some(-1.96), "points", "undecided").unwrap(), "−2.0 points [−4.6, +0.7]");
        assert_eq!(number(None, "", "holds").unwrap(), "0.968 [0.935, 1.00]");
        assert_eq!(number(None, "", "vacuous"), None);
        assert_eq!(number(Some(0.000_012_345), "factor", "holds").unwrap(), "×1.23e−5 [−4.62, 0.683]");
    }

    #[test]
    fn statistics_have_signs_and_factors_are_also_folds() {
        let fold = |size, unit| claim(Some(size), unit, "holds").fold();
        assert_eq!((fold(0.0208, "factor"), fold(7.84, "factor")), (Some("48-fold".into()), Some("7.8-fold".into())));
        assert_eq!((fold(-2.0, "points"), claim(None, "", "holds").fold()), (None, None));
        assert_eq!(claim(None, "", "holds").statistic().unwrap(), "+0.97 [+0.93, +1.00]");
        assert_eq!(claim(None, "", "holds").size(), None);
        let trend = claim(Some(0.02), "factor", "holds");
        assert_eq!(
            (trend.trained().unwrap(), trend.corrected_p().unwrap()),
            ("×0.0100".to_owned(), "0.012".to_owned())
        );
        let certain = Claim { corrected_p_value: Some(2e-5), ..trend };
        assert_eq!(certain.corrected_p().unwrap(), "< 0.001");
    }

    #[test]
    fn the_recorded_output_states_the_recorded_sizes() {
        let folder = crate::anchors::workspace().unwrap().join(super::super::RESULTS);
        let output = std::fs::read_to_string(folder.join("fig4-quick-output.txt")).unwrap();
        for claim in primary(&folder, "fig4-quick").unwrap() {
            let size = claim.size().unwrap();
            assert!(output.contains(size.trim_start_matches('×')), "{}: {size}", claim.claim);
        }
    }

    #[test]
    fn an_output_is_wrapped() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("e-output.txt"), format!("a   b\n  {}\n", "word ".repeat(24))).unwrap();
        let block = output(folder.path(), "e").unwrap();
        assert!(block.starts_with("\n\n```text\na   b\n  word word") && block.ends_with("\n```\n\n"), "{block}");
        assert!(block.lines().all(|line| line.len() <= COLUMNS) && block.contains("\n    word"), "{block}");
    }

    #[test]
    fn a_claim_is_found_by_its_words_and_its_comparison_point() {
        let folder = tempfile::tempdir().unwrap();
        let header = "claim,comparison,seeds,statistic,interval_low,interval_high,verdict,primary,size,size_low,size_high,size_unit";
        let rows = "a,equal epochs,5,1,,,holds,true,2,,,factor\na,equal steps,5,1,,,fails,false,3,,,factor\n\
                    b,all points,5,1,,,holds,false,,,,\nc,equal steps,5,1,,,holds,false,,,,\nc,equal loss,5,1,,,undecided,false,,,,\n";
        std::fs::write(folder.path().join("e-claims.csv"), format!("{header}\n{rows}")).unwrap();
        let find = |claim: &str, comparison| one(folder.path(), "e", claim, comparison);
        assert_eq!(find("a", None).unwrap().size().unwrap(), "×2.00");
        assert_eq!(find("a", Some("equal steps")).unwrap().size().unwrap(), "×3.00");
        assert_eq!(find("b", None).unwrap().comparison, "all points");
        for (claim, comparison, reason) in [
            ("c", None, "0 claims “c”"),
            ("d", None, "0 claims “d”"),
            ("a", Some("equal loss"), "0 claims “a” at equal loss"),
        ] {
            let error = find(claim, comparison).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert_eq!(counts(folder.path(), "e").unwrap(), "of all 5 claims 3 hold, 1 fails and 1 is undecided");
    }
}
