//! CSV files. They contain no time and no host, so that equal runs give equal files.

use anyhow::Result;

use super::columns::Column;
use super::verdict::{Finding, Size, SizeOver, correction_words};

/// A file of columns with their names.
pub(crate) fn file(columns: &[Column]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns.iter().map(|column| &column.name))?;
    let lines = columns.first().map_or(0, |column| column.values.len());
    for line in 0..lines {
        writer.write_record(columns.iter().map(|column| column.values.written(line)))?;
    }
    Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
}

/// The shortest text that is parsed to the same number; empty for none.
fn written(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// The columns of the claims.
const CLAIM_COLUMNS: [&str; 39] = [
    "claim",
    "kind",
    "sweep",
    "comparison",
    "runs",
    "seeds",
    "excluded",
    "statistic",
    "interval_low",
    "interval_high",
    "permutation_p_value",
    "size_p_value",
    "p_value",
    "corrected_p_value",
    "correction",
    "claims_in_correction",
    "decision_level",
    "smallest_p_value",
    "confidence",
    "comparison_level",
    "statistic_with_excluded",
    "verdict",
    "reason",
    "primary",
    "source",
    "size",
    "size_low",
    "size_high",
    "size_unit",
    "size_from",
    "size_to",
    "trained_size",
    "trained_size_low",
    "trained_size_high",
    "trained_size_from",
    "trained_size_to",
    "granulated_coefficient",
    "sign_error",
    "largest_ratio",
];

fn claim(finding: &Finding) -> Vec<String> {
    let (size, trained) = (finding.size, finding.trained_size);
    let change = |size: Option<Size>| written(size.map(|size| size.change));
    let low = |size: Option<Size>| written(size.and_then(|size| Some(size.interval?.0)));
    let high = |size: Option<Size>| written(size.and_then(|size| Some(size.interval?.1)));
    // The ends of a contrast are the names of its levels.
    let end = |size: Option<Size>, index: usize| match (&finding.levels, size.and_then(|size| size.range())) {
        (Some(levels), _) => size.and_then(|_| levels.get(index).cloned()).unwrap_or_default(),
        (None, range) => written(range.map(|(from, to)| [from, to][index])),
    };
    let (from, to) = (|size: Option<Size>| end(size, 0), |size: Option<Size>| end(size, 1));
    let unit = size.map_or_else(String::new, |size| match size.over {
        SizeOver::Sweep { .. } | SizeOver::Contrast => size.unit.word().to_owned(),
        SizeOver::Doubling => format!("{} per doubling", size.unit.word()),
    });
    vec![
        finding.claim.clone(),
        finding.kind.word().to_owned(),
        finding.sweep.clone().unwrap_or_default(),
        super::table::comparison(finding),
        finding.runs.to_string(),
        finding.seeds.to_string(),
        finding.excluded.to_string(),
        written(finding.statistic),
        written(finding.interval.map(|(low, _)| low)),
        written(finding.interval.map(|(_, high)| high)),
        written(finding.permutation_p_value),
        written(finding.size_p_value),
        written(finding.p_value),
        written(finding.corrected_p_value),
        finding.correction.map_or("", correction_words).to_owned(),
        finding.family.to_string(),
        written(finding.decision_level),
        written(finding.smallest_p_value),
        finding.confidence.to_string(),
        written(finding.level),
        written(finding.with_excluded),
        finding.verdict.word().to_owned(),
        finding.reason.clone(),
        finding.primary.to_string(),
        finding.source.clone().unwrap_or_default(),
        change(size),
        low(size),
        high(size),
        unit,
        from(size),
        to(size),
        change(trained),
        low(trained),
        high(trained),
        from(trained),
        to(trained),
        written(finding.granulated_coefficient),
        written(finding.sign_error),
        written(finding.largest_ratio),
    ]
}

/// The claims: one line per claim.
pub(crate) fn claims(findings: &[Finding]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(CLAIM_COLUMNS)?;
    for finding in findings {
        writer.write_record(claim(finding))?;
    }
    Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
}
