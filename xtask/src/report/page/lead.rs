//! The lead of the report: one sentence of verdict, then the primary claims in words with their sizes.

use maud::{Markup, html};

use super::Page;
use crate::report::verdict::{self, Finding, LeadSentence, Verdict};

/// The order of verdicts on the page: what fails before what holds, then the others.
const ORDER: [Verdict; 5] = [Verdict::Fails, Verdict::Holds, Verdict::Negligible, Verdict::Vacuous, Verdict::Undecided];

/// The verdict in one sentence, from the primary claims with the words of their verdicts. It names the claims and does not
/// count them.
pub(crate) fn sentence(claims: &[(String, String)]) -> String {
    let of = |verdict: &Verdict| -> Vec<&str> {
        claims.iter().filter(|(_, word)| word == verdict.word()).map(|(claim, _)| claim.as_str()).collect()
    };
    let found: Vec<(Verdict, Vec<&str>)> =
        ORDER.into_iter().map(|verdict| (verdict, of(&verdict))).filter(|(_, named)| !named.is_empty()).collect();
    match &found[..] {
        [] => "The experiment file names no primary claim, so there is no verdict on the paper.".to_owned(),
        [(verdict, named)] if named.len() > 1 => format!("These runs {}.", of_all(*verdict)),
        _ => {
            let part = |(verdict, named): &(Verdict, Vec<&str>)| format!("{} {}", predicate(*verdict), listed(named));
            format!("These runs {}.", found.iter().map(part).collect::<Vec<_>>().join("; they "))
        }
    }
}

fn predicate(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "support",
        Verdict::Fails => "contradict",
        Verdict::Negligible => "find a negligible change for",
        Verdict::Vacuous => "cannot test",
        Verdict::Undecided => "do not decide",
    }
}

/// The same verdict on all claims.
fn of_all(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "support every primary claim",
        Verdict::Fails => "contradict every primary claim",
        Verdict::Negligible => "find negligible changes for every primary claim",
        Verdict::Vacuous => "cannot test any primary claim",
        Verdict::Undecided => "do not decide any primary claim",
    }
}

/// What joins the two sides of a claim.
const JOINTS: [&str; 3] = [" → ", " ≤ ", " goes with "];

/// Claims in quotation marks, the last one after “and”. Claims with the same left side are one.
fn listed(claims: &[&str]) -> String {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for claim in claims {
        let sides = JOINTS.iter().find_map(|joint| Some((*joint, claim.split_once(joint)?)));
        let (left, right) =
            sides.map_or_else(|| ((*claim).to_owned(), ""), |(joint, (left, right))| (format!("{left}{joint}"), right));
        match groups.iter_mut().find(|(known, _)| *known == left) {
            Some((_, rights)) => rights.push(right),
            None => groups.push((left, vec![right])),
        }
    }
    let quoted = groups
        .iter()
        .map(|(left, rights)| format!("“{left}{}”", joined(rights.iter().map(|right| (*right).to_owned()).collect())));
    joined(quoted.collect())
}

/// `a`, `a and b`, `a, b and c`.
fn joined(parts: Vec<String>) -> String {
    match parts.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => parts.concat(),
    }
}

/// The sentence, the primary claims, and a warning about a changed file.
pub(super) fn lead(page: &Page) -> Markup {
    let primary = page.findings.iter().filter(|finding| finding.primary);
    let words: Vec<(String, String)> =
        primary.map(|finding| (finding.claim.clone(), finding.verdict.word().to_owned())).collect();
    let sentences = verdict::lead(page.results, page.findings);
    html! {
        section aria-labelledby="verdict" {
            h2.hidden #verdict { "Verdict" }
            p.sentence { (sentence(&words)) }
            @if !sentences.is_empty() {
                ul.lead aria-label="Primary claims" {
                    @for sentence in &sentences {
                        li { (word(sentence.verdict, &sentence.claims.join("; "))) " " span { (capital(&sentence.text)) ". " (link(page, sentence)) } }
                    }
                }
            }
            @if let Some(warning) = page.results.frozen.warning() {
                p role="note" { b { "The experiment file: " } (warning) }
            }
        }
    }
}

/// The word of a verdict; more about it when the pointer is on it.
pub(super) fn word(verdict: Verdict, more: &str) -> Markup {
    let word = verdict.word();
    html! { span class=(format!("verdict {word}")) title=(more) { (word) } }
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    // A variable such as λ stays small.
    match characters.next().filter(char::is_ascii_lowercase) {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => text.to_owned(),
    }
}

/// A link to the panel of the first claim of a sentence that has one.
fn link(page: &Page, sentence: &LeadSentence) -> Markup {
    let about = |finding: &&Finding| finding.primary && sentence.claims.contains(&finding.claim);
    let panels = page.findings.iter().filter(about).filter_map(panel);
    let found = panels.into_iter().find(|id| page.has_panel(id));
    html! { @if let Some(id) = found { a.small href=(format!("#{id}")) { "figure" } } }
}

/// The id of the panel that shows a claim.
fn panel(finding: &Finding) -> Option<String> {
    match (&finding.sweep, &finding.metrics[..]) {
        (Some(sweep), [metric]) => Some(format!("{sweep}-{}", metric.key())),
        (None, [x, y]) if finding.kind == verdict::ClaimKind::Course => Some(format!("course-{}-{}", x.key(), y.key())),
        (None, [x, y]) => Some(format!("scatter-{}-{}", x.key(), y.key())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(claims: &[(&str, &str)]) -> Vec<(String, String)> {
        claims.iter().map(|(claim, word)| ((*claim).to_owned(), (*word).to_owned())).collect()
    }

    #[test]
    fn the_sentence_names_what_fails_first_and_counts_nothing() {
        let text =
            sentence(&claims(&[("a", "holds"), ("b", "fails"), ("c", "holds"), ("d", "undecided"), ("e", "vacuous")]));
        assert_eq!(
            text,
            "These runs contradict “b”; they support “a” and “c”; they cannot test “e”; they do not decide “d”."
        );
        assert_eq!(text.matches(". ").count(), 0, "one sentence");
        let same = [("x → a", "fails"), ("x → b", "fails"), ("y → c", "fails"), ("d", "holds")];
        assert_eq!(sentence(&claims(&same)), "These runs contradict “x → a and b” and “y → c”; they support “d”.");
        assert_eq!(sentence(&claims(&same[..3])), "These runs contradict every primary claim.");
        assert_eq!(sentence(&claims(&same[3..])), "These runs support “d”.");
        assert!(sentence(&[]).contains("no primary claim"));
    }
}
