//! The index page of all reports in a folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use maud::{DOCTYPE, Markup, html};

use super::digest::Digest;
use super::page::{head, sentence};
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
            (head("Reproduction: all experiments"))
            body {
                header.top #top {
                    h1 { "The impact of geometric complexity on neural collapse: what was reproduced" }
                    p.quiet {
                        "Munn, Dherin, Gonzalvo (2024), " a href="https://arxiv.org/abs/2405.15706" { "arXiv 2405.15706" } ". "
                        "The primary claims of each experiment, those that fail first; all claims, figures and tables are in its report."
                    }
                    nav.small aria-label="Experiments" {
                        @for Entry { folder, digest } in entries { a href=(format!("#{}", anchor(folder))) { (digest.name) } " " }
                    }
                }
                main {
                    @if !errors.is_empty() { (error_list(errors)) }
                    div.cards { @for entry in entries { (card(entry)) } }
                }
                footer.quiet.small {
                    p { "Each report is one page; its figure, numbers and verdicts are files beside it." }
                    p { a href="#top" { "↑ top" } }
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

fn card(Entry { folder, digest }: &Entry) -> Markup {
    html! {
        article id=(anchor(folder)) {
            h2 { a href=(link(folder)) { (digest.title) } }
            p.quiet.small { (facts(digest)) }
            @if let Some(differences) = &digest.differences {
                p.small { (differences) }
            }
            @if digest.primary.is_empty() { p { (sentence(&[])) } }
            ul.lead {
                @for claim in &digest.primary {
                    li {
                        span class=(format!("verdict {}", claim.verdict)) { (claim.verdict) } " "
                        span { (claim.claim) ". " span.quiet { (claim.size) } }
                    }
                }
            }
            // Hidden from screen readers: the heading is the same link, and the report describes its figure.
            a href=(link(folder)) tabindex="-1" aria-hidden="true" {
                img src=(format!("{folder}/figure.svg")) alt="" loading="lazy";
            }
        }
    }
}

/// Where the results are from, in one line.
fn facts(digest: &Digest) -> String {
    let excluded = match digest.excluded {
        0 => String::new(),
        excluded => format!(", {excluded} excluded by a rule"),
    };
    format!(
        "{} · {} · preset {} · data {} · {} runs{excluded} · {} of process time",
        digest.figure,
        digest.name,
        digest.preset,
        digest.data,
        digest.runs,
        duration(digest.seconds)
    )
}

/// The id of a card.
fn anchor(folder: &str) -> String {
    format!("report-{folder}")
}

fn link(folder: &str) -> String {
    format!("{folder}/report.html")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::digest::PrimaryClaim;

    fn claim(claim: &str, verdict: &str) -> PrimaryClaim {
        PrimaryClaim {
            claim: claim.to_owned(),
            verdict: verdict.to_owned(),
            size: "×0.72 over the sweep, [0.66, 0.79].".to_owned(),
        }
    }

    fn digest(name: &str) -> Digest {
        Digest {
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
            primary: vec![claim("larger L2 → lower NC", "fails"), claim("larger <b> → lower GC", "holds")],
            differences: Some("This run differs from the paper: network vgg-small instead of <resnet18>.".to_owned()),
            seconds: 60.0,
        }
    }

    #[test]
    fn reports_are_in_the_order_of_the_paper_and_errors_are_listed() {
        let root = tempfile::tempdir().unwrap();
        for name in ["gc-penalty", "fig2", "fig1"] {
            std::fs::create_dir(root.path().join(name)).unwrap();
            digest(name).write(&root.path().join(name)).unwrap();
        }
        std::fs::create_dir(root.path().join("broken")).unwrap();
        std::fs::write(root.path().join("broken/digest.json"), "{").unwrap();
        let error = IndexError { name: "mini-imagenet".to_owned(), reason: "no such <host>".to_owned() };
        let page = std::fs::read_to_string(write_index(root.path(), &[error]).unwrap()).unwrap();
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is not in {page}"));
        assert!(at("About fig1") < at("About fig2") && at("About fig2") < at("About gc-penalty"));
        assert!(page.contains("no such &lt;host&gt;") && page.contains("broken"));
        assert!(page.contains("href=\"fig1/report.html\"") && !page.contains("<script"));
    }

    #[test]
    fn a_card_has_the_differences_and_what_fails_first() {
        let card = card(&Entry { folder: "f\"g".to_owned(), digest: digest("fig1") }).into_string();
        assert!(card.contains("network vgg-small instead of &lt;resnet18&gt;."), "{card}");
        assert!(card.contains("href=\"f&quot;g/report.html\"") && card.contains("×0.72"), "{card}");
        assert!(card.find("larger L2 → lower NC. ").unwrap() < card.find("larger &lt;b&gt; → lower GC. ").unwrap());
        assert!(!card.contains("claims"), "a count of claims: {card}");
    }
}
