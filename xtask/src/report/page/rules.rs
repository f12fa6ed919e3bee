//! The rules of verdicts, in words.

use maud::{Markup, html};

use crate::report::results::Results;
use crate::report::verdict;
use crate::study::experiment::ComparisonPoint;

/// The rules in words, with the numbers of the experiment file.
pub(super) fn rules(results: &Results) -> Markup {
    let compared =
        |at: ComparisonPoint| results.experiment.plan.claims.comparisons().any(|comparison| comparison == at);
    let (matched, steps) = (compared(ComparisonPoint::EqualLoss), compared(ComparisonPoint::EqualSteps));
    html! {
        @for rule in verdict::rules(results) { p { (rule) } }
        @if matched {
            p {
                "Equal loss compares runs where their training loss in evaluation mode, on fixed training images, first falls to "
                (results.experiment.plan.rules.equal_loss_level) " ln k, by log-linear interpolation between measured points."
            }
        }
        @if steps {
            p {
                "Equal steps compares runs after as many steps as the run with the largest batches takes in all; those with smaller "
                "batches have then seen fewer images."
            }
        }
    }
}
