//! Where the numbers come from: the program, the machines, the files of the data set.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::scrolling;
use crate::record::{self, Record, duration};
use crate::report::results::Results;

/// What the records of the finished runs say; all of it is outside the results, and equal runs may differ in it.
pub(super) fn provenance(results: &Results) -> Markup {
    let records: Vec<_> = results.runs.iter().filter_map(|run| run.record.as_ref()).collect();
    let distinct = |told: fn(&Record) -> String| -> String {
        let all: BTreeSet<String> = records.iter().map(|record| told(&record.work)).collect();
        if all.is_empty() { "–".to_owned() } else { all.into_iter().collect::<Vec<_>>().join("; ") }
    };
    let seconds: f64 = records.iter().map(|record| record.work.seconds).sum();
    let last = records.iter().map(|record| record.work.started.saturating_add(record.work.seconds as u64)).max();
    let files: BTreeSet<(String, String)> = records.iter().flat_map(|record| &record.data).map(checksum).collect();
    let facts = [
        ("program", distinct(program)),
        ("machine", distinct(machine)),
        ("finished runs", format!("{}, {} of process time", records.len(), duration(seconds))),
        ("last finished", last.map_or_else(|| "–".to_owned(), record::utc)),
    ];
    html! {
        section aria-labelledby="provenance" {
            h2 #provenance { "Provenance" }
            (scrolling("Program and machine", html! {
                table.facts {
                    caption { "Program and machine" }
                    tbody { @for (name, told) in &facts { tr { th scope="row" { (name) } td.words { (told) } } } }
                }
            }))
            @if files.is_empty() {
                p.quiet.small { "The images are drawn by the program; there are no files of data." }
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

fn checksum(file: &crate::reproduce::store::DataFile) -> (String, String) {
    (file.file.clone(), file.sha256.clone().unwrap_or_else(|| "not taken".to_owned()))
}

fn program(record: &Record) -> String {
    let commit = record.commit.as_ref().map_or_else(String::new, |commit| format!(" (commit {commit})"));
    let candle = record.candle.as_ref().map_or_else(String::new, |candle| format!(", candle {candle}"));
    format!("version {}{commit}{candle}", record.version)
}

fn machine(record: &Record) -> String {
    let processor = record.processor.as_ref().map_or_else(String::new, |model| format!(", {model}"));
    let instructions = record.instructions.as_ref().map_or_else(String::new, |set| format!(", {set}"));
    format!("{} ({}{processor}{instructions})", record.host, record.platform)
}
