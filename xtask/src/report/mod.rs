//! Reports: tables, charts, verdicts and a page from run folders. Nothing here trains or measures.

pub(crate) mod chart;
mod columns;
mod csv;
mod decomposition;
mod digest;
mod estimates;
mod from_paper;
mod index;
mod interpolation;
mod markdown;
mod mediation;
mod page;
mod parquet;
mod results;
mod table;
mod tensorboard;
mod verdict;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::files::write_whole;
use crate::study::experiment::Experiment;
use crate::study::sweep::PlannedRun;

pub(crate) use index::{IndexError, write_index};
pub(crate) use results::Results;
pub(crate) use table::{Table, signed, spread, three_digits};

/// The files of a report, and its summary for the terminal.
pub(crate) struct Written {
    /// Tables of the results, as text.
    pub(crate) summary: String,
    /// The page.
    pub(crate) page: PathBuf,
    /// The figure as a file of its own.
    pub(crate) figure: PathBuf,
    /// The measurements as CSV.
    pub(crate) measurements: PathBuf,
    /// The claims as CSV.
    pub(crate) claims: PathBuf,
}

/// Optional files.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extras {
    /// Event files for TensorBoard.
    pub(crate) tensorboard: bool,
    /// Whether an index of all reports is written into the parent folder, so that the page links to it.
    pub(crate) indexed: bool,
}

/// Reads the runs in `folder` and writes the report into it.
pub(crate) fn write(
    experiment: Experiment,
    planned: Vec<PlannedRun>,
    folder: &Path,
    extras: Extras,
) -> Result<Written> {
    let text = experiment.to_toml()?;
    let results = Results::read(experiment, planned, folder)?;
    let findings = verdict::findings(&results);
    let columns = chart::columns(&results);
    let at = |name: &str| folder.join(name);
    let written = Written {
        summary: summary(&results, &findings),
        page: at("report.html"),
        figure: at("figure.svg"),
        measurements: at("measurements.csv"),
        claims: at("claims.csv"),
    };
    let plan = &results.experiment.plan;
    let figure = chart::standalone(
        &columns,
        &format!("{}: {}", plan.figure, plan.title),
        &format!("{}{}", page::note(&results), dashed(&results)),
    );
    let decomposition = decomposition::decomposition(&results).map(|found| {
        let panels = chart::decomposition(&results, &found);
        (found, panels)
    });
    let mediation = mediation::mediation(&results);
    let page = page::page(&page::Page {
        results: &results,
        findings: &findings,
        columns: &columns,
        scatters: &chart::scatters(&results),
        courses: &chart::course_plots(&results),
        decomposition: decomposition.as_ref().filter(|(found, _)| !found.shares.is_empty()),
        mediation: mediation.as_ref(),
        layers: chart::by_layer(&results).as_ref(),
        indexed: extras.indexed,
        experiment: text.clone(),
    });
    write_whole(&at("experiment.toml"), text.as_bytes())?;
    let measured = columns::measurements(&results);
    write_whole(&written.measurements, &csv::file(&measured)?)?;
    write_whole(&at("measurements.parquet"), &parquet::file(&measured)?)?;
    write_whole(&written.claims, &csv::claims(&findings)?)?;
    write_whole(&at("claims.json"), serde_json::to_string_pretty(&findings)?.as_bytes())?;
    if let Some((found, _)) = &decomposition {
        write_whole(&at("decomposition.csv"), &found.csv()?)?;
        write_whole(&at("decomposition.json"), serde_json::to_string_pretty(found)?.as_bytes())?;
    }
    if let Some(found) = &mediation {
        write_whole(&at("mediation.csv"), &found.csv()?)?;
        write_whole(&at("mediation.json"), serde_json::to_string_pretty(found)?.as_bytes())?;
    }
    if results.experiment.plan.measure.estimators.is_some() {
        let estimates = columns::estimates(&results);
        write_whole(&at("estimates.csv"), &csv::file(&estimates)?)?;
        write_whole(&at("estimates.parquet"), &parquet::file(&estimates)?)?;
    }
    if !results.experiment.plan.measure.layers.is_empty() {
        let layers = columns::layers(&results);
        write_whole(&at("layers.csv"), &csv::file(&layers)?)?;
        write_whole(&at("layers.parquet"), &parquet::file(&layers)?)?;
    }
    write_whole(&at("summary.md"), markdown::summary(&results, &findings).as_bytes())?;
    write_whole(&written.figure, figure.into_string().as_bytes())?;
    write_whole(&written.page, page.as_bytes())?;
    if extras.tensorboard {
        tensorboard::write(&results, folder)?;
    }
    digest::Digest::of(&results, &findings).write(folder)?;
    Ok(written)
}

/// The meaning of dashed curves, if there are any.
fn dashed(results: &Results) -> &'static str {
    let drawn = |run: &results::Run| !run.counts() && run.trained_on.is_some();
    if results.runs.iter().any(drawn) { "; dashed: with runs that a rule excludes from verdicts" } else { "" }
}

/// The tables of the decomposition of NC and of the mediation, each only if it is measured.
fn explanations(results: &Results) -> Vec<Table> {
    let task = results.experiment.plan.task;
    let decomposition = decomposition::decomposition(results).map(|found| found.table());
    let mediation = mediation::mediation(results).map(|found| found.table(task));
    decomposition.into_iter().chain(mediation).collect()
}

fn summary(results: &Results, findings: &[verdict::Finding]) -> String {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(from_paper::line(results).map(|line| format!("{line}\n")));
    parts.extend(results.frozen.warning().map(|warning| format!("The experiment file: {warning}\n")));
    let lead: Vec<String> = verdict::lead(results, findings)
        .iter()
        .map(|sentence| format!("  {}: {}.", sentence.verdict.word(), sentence.text))
        .collect();
    if !lead.is_empty() {
        parts.push(format!("Primary claims\n{}\n", lead.join("\n")));
    }
    parts.extend(verdict::short_tables(results, findings).iter().map(Table::text));
    parts.extend(explanations(results).iter().map(Table::text));
    parts.extend(table::sweeps(results, findings).iter().map(Table::text));
    parts.extend(table::courses(results).iter().map(Table::text));
    parts.extend(table::layers(results).iter().map(Table::text));
    parts.extend(estimates::tables(results).iter().map(Table::text));
    let excluded = verdict::exclusions(results);
    if !excluded.is_empty() {
        let lines: Vec<String> = excluded.iter().map(|(run, why)| format!("  {run}: {why}")).collect();
        parts.push(format!("Excluded from verdicts\n{}\n", lines.join("\n")));
    }
    parts.join("\n")
}

#[cfg(test)]
mod tests;
