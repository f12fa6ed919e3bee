//! The section of provenance: the program, the machines, the files of the data set.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::scrolling;
use crate::provenance::{self, Provenance, duration};
use crate::report::results::Results;

/// The provenance of the finished runs. It is not part of the results, and equal runs may differ in it.
pub(super) fn provenance(results: &Results) -> Markup {
    let records: Vec<_> = results.runs.iter().filter_map(|run| run.record.as_ref()).collect();
    let distinct = |fact: fn(&Provenance) -> String| -> String {
        let all: BTreeSet<String> = records.iter().map(|record| fact(&record.work)).collect();
        if all.is_empty() { "–".to_owned() } else { all.into_iter().collect::<Vec<_>>().join("; ") }
    };
    let seconds: f64 = records.iter().map(|record| record.work.seconds).sum();
    let last = records.iter().map(|record| record.work.started.saturating_add(record.work.seconds as u64)).max();
    let files: BTreeSet<(String, String)> = records.iter().flat_map(|record| &record.data).map(checksum).collect();
    let facts = [
        ("program", distinct(program)),
        ("machine", distinct(machine)),
        ("finished runs", format!("{}, {} of process time", records.len(), duration(seconds))),
        ("signatures", signatures(results)),
        ("last finished", last.map_or_else(|| "–".to_owned(), provenance::utc)),
    ];
    html! {
        section aria-labelledby="provenance" {
            h2 #provenance { "Provenance" }
            (scrolling("Program and machine", html! {
                table.facts {
                    caption { "Program and machine" }
                    tbody { @for (name, fact) in &facts { tr { th scope="row" { (name) } td.words { (fact) } } } }
                }
            }))
            @if files.is_empty() {
                p.quiet.small { "The program draws the images; there are no data files." }
            } @else {
                (scrolling("Files of the data set", html! {
                    table {
                        caption { "Files of the data set" }
                        thead { tr { th.words scope="col" { "file" } th.words scope="col" { "SHA-256" } } }
                        tbody { @for (file, sum) in &files { tr { th.words scope="row" { (file) } td.words { code { (sum) } } } } }
                    }
                }))
            }
        }
    }
}

/// The number of runs that match their signatures, and of unsigned ones.
fn signatures(results: &Results) -> String {
    let done = results.runs.iter().filter(|run| run.verified.is_done()).count();
    match results.unsigned() {
        0 => format!("the results of all {done} finished runs match their signatures"),
        unsigned => format!(
            "{unsigned} of {done} finished runs are unsigned: an earlier version wrote their results, and alterations \
             cannot be detected; the others match their signatures"
        ),
    }
}

fn checksum(file: &crate::study::store::DataFile) -> (String, String) {
    (file.file.clone(), file.sha256.clone().unwrap_or_else(|| "not computed".to_owned()))
}

fn program(record: &Provenance) -> String {
    let commit = record.commit.as_ref().map_or_else(String::new, |commit| format!(" (commit {commit})"));
    let candle = record.candle.as_ref().map_or_else(String::new, |candle| format!(", candle {candle}"));
    format!("version {}{commit}{candle}", record.version)
}

fn machine(record: &Provenance) -> String {
    let processor = record.processor.as_ref().map_or_else(String::new, |model| format!(", {model}"));
    let instructions = record.instructions.as_ref().map_or_else(String::new, |set| format!(", {set}"));
    format!("{} ({}{processor}{instructions})", record.host, record.platform)
}
