//! The rules of verdicts, in words and with the numbers of the experiment file.

use models::train::Divergence;

use crate::report::results::Results;
use crate::study::metric::Scale;

/// The rules, a paragraph for each kind of claim in the experiment file.
pub(crate) fn rules(results: &Results) -> Vec<String> {
    let plan = &results.experiment.plan;
    let (claims, rules) = (&plan.claims, &plan.rules);
    let (level, rate) = (1.0 - rules.confidence, rules.false_discovery_rate);
    let confidence = 100.0 * rules.confidence;
    let mut words = Vec::new();
    if !claims.trends.is_empty()
        || !claims.contrasts.is_empty()
        || !claims.associations.is_empty()
        || !claims.courses.is_empty()
    {
        words.push(format!(
            "The unit of replication is the seed. The p-value of a claim is the larger of two: that of a permutation test within \
             seeds, and that of Student's t-test of the size over seeds. It is corrected for the number of claims: by Holm over the \
             primary claims, at {level:.2}; by Benjamini and Hochberg over the exploratory ones, at {rate:.2}. A claim holds (fails) \
             when its corrected p-value is at most that level and its rank correlation and the whole {confidence:.0} % interval of \
             its size lie on the claimed (other) side. Everything else is undecided."
        ));
    }
    if !claims.trends.is_empty() {
        words.push(format!(
            "The statistic of a trend is the mean over seeds of Spearman's rank correlation with the swept value within each seed. \
             Its size is the slope of the log of the metric (of an accuracy, in points) on the log of the swept value within each \
             seed, over the values that all seeds have, with Student's t-interval over seeds; in a sweep with a value of 0, the \
             change from end to end. Trained alone: over the values whose runs all ended at or below {} ln k. A trend is negligible \
             when the interval of its size lies within ×{:.3} to ×{:.3}, or ±{} points.",
            rules.trained_below,
            1.0 / rules.negligible_factor,
            rules.negligible_factor,
            rules.negligible_points
        ));
    }
    if !claims.contrasts.is_empty() {
        words.push(format!(
            "A contrast compares two levels of a sweep within each seed. Its statistic is the mean over seeds of the sign of the \
             change, and its size the mean change of the log of the metric (of an accuracy, in points), with Student's t-interval \
             over seeds. The permutation test exchanges the two runs of a seed; it takes part where its smallest p-value, 2/2^S \
             for S seeds, times the number of claims is at most the level; otherwise the p-value is that of the t-test alone. \
             A contrast is negligible when the interval of its size lies within ×{:.3} to ×{:.3}, or ±{} points.",
            1.0 / rules.negligible_factor,
            rules.negligible_factor,
            rules.negligible_points
        ));
    }
    if !claims.associations.is_empty() {
        words.push(
            "The statistic of an association is the rank correlation over all runs within seeds, given the value of every swept \
             key and the training loss; each run counts once. Its size is the slope within each seed, given the same. Beside it \
             are the granulated coefficient (the mean over sweeps of Kendall's τ within sweep and seed; Jiang et al. 2020) and the \
             largest share of wrongly ordered pairs (Dziugaite et al. 2020)."
                .to_owned(),
        );
    }
    if !claims.courses.is_empty() {
        words.push(
            "The statistic of a course is Spearman's rank correlation along the training of each run after the initial network, \
             averaged over the runs of each seed and then over seeds."
                .to_owned(),
        );
    }
    if !claims.inequalities.is_empty() {
        words.push(format!(
            "An inequality fails when one measured point violates it by more than its own error (at {confidence:.0} %, corrected \
             for the number of points). It is vacuous when the bound is at or above the largest possible value of the other side \
             at every point, so that it could not have been violated, and when it is a theorem for the images that are measured."
        ));
    }
    if claims.coverage {
        words.push(format!(
            "The statistic of an estimator is the share of its {:.0} % intervals that contain the exact value, averaged over seeds. \
             The claim holds when the whole interval of this share lies at or above {:.2}, and fails when it lies below.",
            100.0 * crate::study::estimator::STATED_LEVEL,
            crate::study::estimator::STATED_LEVEL - rules.coverage_tolerance
        ));
    }
    if plan.metrics().any(|metric| metric.scale() == Scale::Percent) {
        words.push(format!(
            "An accuracy is saturated at {} % or above; a claim about accuracies of which more than half are saturated is undecided.",
            100.0 * rules.saturated_above
        ));
    }
    words.push(format!(
        "A run is diverged when a training loss is above {} or not finite, or a gradient or feature is not finite. It is under-trained when its \
         training loss in evaluation mode ends above {} ln k; ln k is the loss of a uniform guess among k classes. Both are shown everywhere and \
         excluded from verdicts.",
        Divergence::default().largest_loss,
        rules.under_trained_above
    ));
    words
}
