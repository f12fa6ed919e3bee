//! The rules of verdicts, in words.

use maud::{Markup, html};

use crate::report::results::Results;
use crate::study::experiment::ComparisonPoint;
use crate::study::metric::Scale;

/// The rules in words, with the numbers of the experiment file.
pub(super) fn rules(results: &Results) -> Markup {
    let plan = &results.experiment.plan;
    let rules = &plan.rules;
    let correlated = !plan.claims.trends.is_empty() || !plan.claims.associations.is_empty();
    let compared = |at: ComparisonPoint| plan.claims.comparisons().any(|comparison| comparison == at);
    let (matched, steps) = (compared(ComparisonPoint::EqualLoss), compared(ComparisonPoint::EqualSteps));
    html! {
        @if correlated {
            p {
                "The statistic of a trend or an association is Spearman's rank correlation ρ over runs; its interval is the "
                (format!("{:.0} % percentile interval of {} resamples of the runs. ", rules.confidence * 100.0, rules.resamples))
                "A claim " b { "holds" } " when the whole interval lies on the claimed side of zero, " b { "fails" } " when it lies on "
                "the other side, and is " b { "undecided" } " otherwise, and also whenever a two-sided permutation test finds a ρ as "
                "large by chance with a probability above " (format!("{:.2}. ", 1.0 - rules.confidence))
                "No correction is made for the number of claims. "
                "The size of a trend is the slope of the log of the metric (of the accuracy, in points) on the log of the swept value "
                "within each seed, over the range of the values that count in every seed, averaged over seeds with Student's t-interval; "
                "in a sweep with a value of 0, the change from the smallest to the largest value. A trend is " b { "negligible" } " when the interval of its size lies within "
                (format!("×{:.3} to ×{:.3}, or ±{} points of an accuracy.", 1.0 / rules.negligible_factor, rules.negligible_factor, rules.negligible_points))
            }
        }
        @if correlated && plan.metrics().any(|metric| metric.scale() == Scale::Percent) {
            p {
                "An accuracy is " b { "saturated" } " at " (format!("{} %", rules.saturated_above * 100.0)) " or above; a claim about "
                "accuracies of which more than half are saturated is undecided. Such runs count everywhere else."
            }
        }
        @if !plan.claims.inequalities.is_empty() {
            p {
                "The statistic of an inequality is the share of measured points after the initialisation that satisfy it, averaged "
                "over runs: it holds at 1, and fails when the bootstrap interval over runs lies below 1. It is " b { "vacuous" } " when the bound is "
                "at or above the largest possible value of the other side at every point, so that it could not have been violated."
            }
        }
        @if !plan.claims.courses.is_empty() {
            p {
                "The statistic of a course is Spearman's ρ over the scheduled points of one run, averaged over runs; it holds or "
                "fails when the bootstrap interval over runs lies on one side of zero."
            }
        }
        @if plan.claims.coverage {
            p {
                "The statistic of an estimator is the share of its estimates whose stated "
                (format!("{:.0} %", crate::study::estimator::STATED_LEVEL * 100.0))
                " interval contains the exact value, averaged over runs. It holds when the bootstrap interval over runs lies at or above "
                (format!("{:.2}", crate::study::estimator::STATED_LEVEL - rules.coverage_tolerance))
                ", and fails when it lies below."
            }
        }
        p {
            "A run is " b { "diverged" } " when its training loss or a weight is no longer finite, and " b { "under-trained" }
            " when its training loss ends above " (rules.under_trained_above) " ln k, the loss of a uniform guess among k classes "
            "being ln k. Both are shown everywhere and excluded from verdicts; “with excluded” is the statistic with them. "
            "All rules were in the experiment file before the runs."
        }
        @if matched {
            p {
                "Equal loss compares runs where their training loss in evaluation mode, on fixed training images, first falls to "
                (plan.rules.equal_loss_level) " ln k, by log-linear interpolation between measured points."
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
