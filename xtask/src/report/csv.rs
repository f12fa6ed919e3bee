//! CSV files. They contain no time and no host, so that equal runs give equal files.

use anyhow::Result;

use super::columns::Column;
use super::verdict::Finding;

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

/// The claims: one line per claim.
pub(crate) fn claims(findings: &[Finding]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "claim",
        "sweep",
        "comparison",
        "runs",
        "excluded",
        "statistic",
        "interval_low",
        "interval_high",
        "p_value",
        "statistic_with_excluded",
        "verdict",
        "reason",
        "primary",
        "size",
        "size_low",
        "size_high",
        "size_unit",
        "size_from",
        "size_to",
        "seeds",
    ])?;
    for finding in findings {
        writer.write_record([
            finding.claim.clone(),
            finding.sweep.clone().unwrap_or_default(),
            super::table::comparison(finding),
            finding.runs.to_string(),
            finding.excluded.to_string(),
            written(finding.statistic),
            written(finding.interval.map(|(low, _)| low)),
            written(finding.interval.map(|(_, high)| high)),
            written(finding.p_value),
            written(finding.with_excluded),
            finding.verdict.word().to_owned(),
            finding.reason.clone(),
            finding.primary.to_string(),
            written(finding.size.map(|size| size.change)),
            written(finding.size.and_then(|size| Some(size.interval?.0))),
            written(finding.size.and_then(|size| Some(size.interval?.1))),
            finding.size.map_or_else(String::new, |size| size.unit.word().to_owned()),
            written(finding.size.map(|size| size.range.0)),
            written(finding.size.map(|size| size.range.1)),
            finding.size.map_or_else(String::new, |size| size.seeds.to_string()),
        ])?;
    }
    Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
}
