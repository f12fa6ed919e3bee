//! The lead of the report: the primary claims in words, each with its verdict and size.

use maud::{Markup, html};

use super::Page;
use crate::report::verdict::Finding;

/// The primary claims; a sentence without them.
pub(super) fn lead(page: &Page) -> Markup {
    let primary: Vec<&Finding> = page.findings.iter().filter(|finding| finding.primary).collect();
    html! {
        @if primary.is_empty() {
            p { "The experiment file has no primary claims; all of its claims are exploratory." }
        } @else {
            ul.lead aria-label="Primary claims of the paper" {
                @for finding in primary {
                    @let word = finding.verdict.word();
                    li {
                        (finding.claim) ": " span class=(format!("verdict {word}")) { (word) } ". "
                        span.quiet { (finding.size_words()) }
                    }
                }
            }
        }
        @if let Some(warning) = page.results.frozen.warning() {
            p role="note" { b { "The experiment file: " } (warning) }
        }
    }
}
