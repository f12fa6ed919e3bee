//! The lead of the report: one sentence of verdict, then the primary claims in words with their sizes.

use maud::{Markup, html};

use super::Page;
use crate::report::verdict::{Finding, Verdict};

/// The order of verdicts on the page: what speaks against the paper first, what holds last.
pub(crate) const ORDER: [Verdict; 5] =
    [Verdict::Fails, Verdict::Negligible, Verdict::Vacuous, Verdict::Undecided, Verdict::Holds];

/// The findings in the order of the page; equal verdicts stay in the order of the file.
pub(super) fn ordered<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Vec<&'a Finding> {
    let mut ordered: Vec<&Finding> = findings.into_iter().collect();
    ordered.sort_by_key(|finding| ORDER.iter().position(|verdict| *verdict == finding.verdict));
    ordered
}

/// The verdict in one sentence, from the primary claims with the words of their verdicts. It names the claims and does not
/// count them.
pub(crate) fn sentence(claims: &[(String, String)]) -> String {
    let part = |verdict: &Verdict| -> Option<String> {
        let named: Vec<&str> =
            claims.iter().filter(|(_, word)| word == verdict.word()).map(|(claim, _)| claim.as_str()).collect();
        (!named.is_empty()).then(|| format!("{} {}", predicate(*verdict), listed(&named)))
    };
    let parts: Vec<String> = ORDER.iter().filter_map(part).collect();
    if parts.is_empty() {
        return "The experiment file names no primary claim, so there is no verdict on the paper.".to_owned();
    }
    format!("These runs {}.", parts.join("; they "))
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

/// Claims in quotation marks, the last one after “and”.
fn listed(claims: &[&str]) -> String {
    let quoted: Vec<String> = claims.iter().map(|claim| format!("“{claim}”")).collect();
    match quoted.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => quoted.concat(),
    }
}

/// The sentence, the primary claims, and a warning about a changed file.
pub(super) fn lead(page: &Page) -> Markup {
    let primary: Vec<&Finding> = ordered(page.findings.iter().filter(|finding| finding.primary));
    let words: Vec<(String, String)> =
        primary.iter().map(|finding| (finding.claim.clone(), finding.verdict.word().to_owned())).collect();
    html! {
        section aria-labelledby="verdict" {
            h2.hidden #verdict { "Verdict" }
            p.sentence { (sentence(&words)) }
            @if !primary.is_empty() {
                ul.lead aria-label="Primary claims of the paper" {
                    @for finding in primary {
                        li {
                            (verdict(finding)) " "
                            span { (linked(page, finding)) ". " span.quiet { (finding.size_words()) } }
                        }
                    }
                }
            }
            @if let Some(warning) = page.results.frozen.warning() {
                p role="note" { b { "The experiment file: " } (warning) }
            }
        }
    }
}

/// The word of a verdict.
pub(super) fn verdict(finding: &Finding) -> Markup {
    let word = finding.verdict.word();
    html! { span class=(format!("verdict {word}")) title=(finding.reason) { (word) } }
}

/// The claim, as a link to its panel if there is one.
fn linked(page: &Page, finding: &Finding) -> Markup {
    let panel = match (&finding.sweep, &finding.metrics[..]) {
        (Some(sweep), [metric]) => Some(format!("{sweep}-{}", metric.name())),
        (None, [x, y]) => Some(format!("scatter-{}-{}", x.name(), y.name())),
        _ => None,
    };
    let exists = |id: &String| page.has_panel(id);
    html! {
        @if let Some(id) = panel.filter(exists) { a href=(format!("#{id}")) { (finding.claim) } } @else { (finding.claim) }
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
            "These runs contradict “b”; they cannot test “e”; they do not decide “d”; they support “a” and “c”."
        );
        assert_eq!(text.matches(". ").count(), 0, "one sentence");
        assert_eq!(
            sentence(&claims(&[("a", "fails"), ("b", "fails"), ("c", "fails")])),
            "These runs contradict “a”, “b” and “c”."
        );
        assert!(sentence(&[]).contains("no primary claim"));
    }
}
