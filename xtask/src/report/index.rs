//! The index page of all reports in a folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart;
use super::digest::Digest;
use super::page::STYLE;
use crate::files::write_whole;
use crate::provenance::duration;
use crate::study::experiment::Experiment;

/// An experiment without a complete report, or a folder whose digest cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IndexError {
    /// Name of the experiment or of the folder.
    pub(crate) name: String,
    /// The error.
    pub(crate) reason: String,
}

/// A report in the index.
struct Entry {
    folder: String,
    digest: Digest,
}

/// Writes `index.html` for the reports in the folders of `root`; `errors` are the experiments that ended with an error.
pub(crate) fn write_index(root: &Path, errors: &[IndexError]) -> Result<PathBuf> {
    let (entries, unreadable) = read(root)?;
    let errors: Vec<&IndexError> = errors.iter().chain(&unreadable).collect();
    let path = root.join("index.html");
    write_whole(&path, page(&entries, &errors).into_string().as_bytes())?;
    Ok(path)
}

/// The reports in the order of the paper, and the folders whose digests cannot be read.
fn read(root: &Path) -> Result<(Vec<Entry>, Vec<IndexError>)> {
    let (mut entries, mut unreadable) = (Vec::new(), Vec::new());
    let folders = std::fs::read_dir(root).with_context(|| format!("cannot read the folder {}", root.display()))?;
    for folder in folders {
        let path = folder.with_context(|| format!("cannot read the folder {}", root.display()))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match Digest::read(&path) {
            Some(Ok(digest)) => entries.push(Entry { folder: name, digest }),
            Some(Err(error)) => unreadable.push(IndexError { name, reason: format!("{error:#}") }),
            None => {}
        }
    }
    let position = |digest: &Digest| Experiment::names().position(|name| name == digest.name).unwrap_or(usize::MAX);
    entries.sort_by_key(|entry| (position(&entry.digest), entry.folder.clone()));
    unreadable.sort();
    Ok((entries, unreadable))
}

fn page(entries: &[Entry], errors: &[&IndexError]) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="data:,";
                title { "Reproduction: all experiments" }
                style { (PreEscaped(chart::STYLE)) (PreEscaped(STYLE)) }
            }
            body {
                header.top {
                    p.quiet.small style="margin:0" {
                        "Munn, Dherin, Gonzalvo (2024), " a href="https://arxiv.org/abs/2405.15706" { "arXiv 2405.15706" }
                    }
                    h1 { "The impact of geometric complexity on neural collapse: what was reproduced" }
                    p.quiet { "The primary claims of each experiment, in words; all claims are in its report." }
                }
                main {
                    @if !errors.is_empty() { (error_list(errors)) }
                    (overview(entries))
                    div.plots.cards { @for entry in entries { (card(entry)) } }
                }
                footer.quiet.small {
                    p { "Each report is one page; its figure, numbers and verdicts are files beside it." }
                }
            }
        }
    }
}

fn error_list(errors: &[&IndexError]) -> Markup {
    html! {
        section aria-labelledby="errors" {
            h2 #errors { "Experiments with errors" }
            ul { @for error in errors { li { b { (error.name) } ": " (error.reason) } } }
        }
    }
}

fn overview(entries: &[Entry]) -> Markup {
    html! {
        section aria-labelledby="overview" {
            h2 #overview { "Overview" }
            div.wide tabindex="0" role="region" aria-label="All experiments" {
                table {
                    caption { "All experiments" }
                    thead { tr {
                        th.words scope="col" { "experiment" } th.words scope="col" { "paper" } th.words scope="col" { "preset" }
                        th.words scope="col" { "data" } th scope="col" { "runs" } th scope="col" { "excluded" }
                        th scope="col" { "hold" } th scope="col" { "fail" } th scope="col" { "negligible" }
                        th scope="col" { "vacuous" } th scope="col" { "undecided" }
                        th scope="col" { "process time" }
                    } }
                    tbody { @for Entry { folder, digest } in entries {
                        tr {
                            th.words scope="row" { a href=(link(folder)) { (digest.name) } }
                            td.words { (digest.figure) }
                            td.words { (digest.preset) }
                            td.words { (digest.data) }
                            td { (digest.runs) }
                            td { (digest.excluded) }
                            td.holds { (digest.holds) }
                            td.fails { (digest.fails) }
                            td { (digest.negligible) }
                            td { (digest.vacuous) }
                            td.undecided { (digest.undecided) }
                            td { (duration(digest.seconds)) }
                        }
                    } }
                }
            }
        }
    }
}

fn card(Entry { folder, digest }: &Entry) -> Markup {
    html! {
        figure {
            h2 { a href=(link(folder)) { (digest.title) } }
            p.quiet.small { (digest.figure) " · " (digest.name) " · preset " (digest.preset) " · data " (digest.data) }
            ul.lead {
                @for claim in &digest.primary {
                    li { (claim.claim) ": " span class=(format!("verdict {}", claim.verdict)) { (claim.verdict) } ". " span.quiet { (claim.size) } }
                }
            }
            // Hidden from screen readers: the heading is the same link, and the report describes its figure.
            a href=(link(folder)) tabindex="-1" aria-hidden="true" {
                img src=(format!("{folder}/figure.svg")) alt="";
            }
        }
    }
}

fn link(folder: &str) -> String {
    format!("{folder}/report.html")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::digest::PrimaryClaim;

    #[test]
    fn reports_are_in_the_order_of_the_paper_and_errors_are_listed() {
        let root = tempfile::tempdir().unwrap();
        for name in ["gc-penalty", "fig2", "fig1"] {
            let digest = Digest {
                name: name.to_owned(),
                title: format!("About {name}"),
                figure: "Fig.".to_owned(),
                preset: "quick".to_owned(),
                data: "glyphs".to_owned(),
                runs: 2,
                excluded: 1,
                holds: 3,
                fails: 1,
                undecided: 0,
                negligible: 1,
                vacuous: 2,
                primary: vec![PrimaryClaim {
                    claim: "larger <b> → lower GC".to_owned(),
                    verdict: "holds".to_owned(),
                    size: "×0.72 over the sweep, [0.66, 0.79].".to_owned(),
                }],
                seconds: 60.0,
            };
            std::fs::create_dir(root.path().join(name)).unwrap();
            digest.write(&root.path().join(name)).unwrap();
        }
        std::fs::create_dir(root.path().join("broken")).unwrap();
        std::fs::write(root.path().join("broken/digest.json"), "{").unwrap();
        let error = IndexError { name: "mini-imagenet".to_owned(), reason: "no such <host>".to_owned() };
        let page = std::fs::read_to_string(write_index(root.path(), &[error]).unwrap()).unwrap();
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is not in {page}"));
        assert!(at("About fig1") < at("About fig2") && at("About fig2") < at("About gc-penalty"));
        assert!(
            page.contains("no such &lt;host&gt;")
                && page.contains("larger &lt;b&gt; → lower GC")
                && page.contains("×0.72")
                && page.contains("broken")
        );
        assert!(page.contains("href=\"fig1/report.html\"") && !page.contains("<script"));
    }
}
