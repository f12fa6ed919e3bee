//! Contrasts: a metric at two levels of a sweep, with seeds as blocks.

use statistics::{ChangeScale, Correction, DecisionRules, SeedPair, SeedValue, paired_contrast};

use super::across_runs::{compared, saturated, saturation};
use super::claim::Claim;
use super::covariates::seeds;
use super::size::{Size, margin};
use super::{ClaimKind, Finding, permutations, reasons};
use crate::report::chart::level_names;
use crate::report::results::{ComparedRun, Results, Run};
use crate::study::experiment::{ComparisonPoint, Contrast, Direction, Rules, Sweep};
use crate::study::metric::{Metric, Scale};

/// A claim for each metric and comparison of each claimed contrast. `families` are the numbers of the
/// primary and of the exploratory claims of the experiment that have a test.
pub(super) fn contrasts(results: &Results, families: [usize; 2]) -> Vec<Claim> {
    let plan = &results.experiment.plan;
    let mut claims = Vec::new();
    for contrast in &plan.claims.contrasts {
        let Some(sweep) = plan.sweeps.get(&contrast.sweep) else { continue };
        let (Some(from), Some(to)) = (sweep.level(&contrast.from), sweep.level(&contrast.to)) else { continue };
        for comparison in &contrast.comparisons {
            for metric in &contrast.metrics {
                let about =
                    OneContrast { contrast, sweep, levels: [from, to], metric: *metric, comparison: *comparison };
                claims.push(about.claim(results, families));
            }
        }
    }
    claims
}

/// The claim about one metric at one comparison point.
struct OneContrast<'a> {
    contrast: &'a Contrast,
    sweep: &'a Sweep,
    /// The indices of the two levels.
    levels: [usize; 2],
    metric: Metric,
    comparison: ComparisonPoint,
}

impl OneContrast<'_> {
    fn claim(&self, results: &Results, families: [usize; 2]) -> Claim {
        let (plan, rules) = (&results.experiment.plan, &results.experiment.plan.rules);
        let names = level_names(self.sweep);
        let [from, to] = self.levels.map(|level| names.get(level).cloned().unwrap_or_default());
        let goes = self.contrast.direction.comparative();
        let words = format!("{to} instead of {from} → {goes} {}", plan.task.label_of(self.metric));
        let all: Vec<&Run> = self.runs(results);
        let runs: Vec<&Run> = all.iter().copied().filter(|run| run.counts()).collect();
        let (at, level) = compared(results, &runs, self.comparison);
        let (pairs, single) = self.pairs(&at);
        let mut finding = Finding::new(words, ClaimKind::Contrast, vec![self.metric], rules.confidence);
        finding.source.clone_from(&self.contrast.source);
        finding.sweep = Some(self.contrast.sweep.clone());
        finding.levels = Some([from, to]);
        finding.direction = Some(self.contrast.direction);
        (finding.comparison, finding.level) = (Some(self.comparison), level);
        (finding.runs, finding.excluded) = (2 * pairs.len(), all.len() - runs.len());
        (finding.seeds, finding.single_runs) = (pairs.len(), single);
        let first = self.contrast.comparisons.first() == Some(&self.comparison);
        finding.primary = first && self.contrast.primary.contains(&self.metric);
        let found = pairs.len() + single;
        if let Some(reason) = reasons::without_runs(results, &all, &finding.metrics, finding.comparison, found) {
            return Claim::untested(finding, reason);
        }
        if pairs.is_empty() {
            return Claim::untested(finding, "no seed has a counted run at both levels".to_owned());
        }
        let tested = self.test(finding, &pairs, rules, families);
        self.finish(tested, &at, &all, rules)
    }

    /// The runs at either level.
    fn runs<'b>(&self, results: &'b Results) -> Vec<&'b Run> {
        let own = |run: &&Run| self.level_of(run).is_some();
        results.runs.iter().filter(own).collect()
    }

    /// 0 for a run at the first level, 1 for one at the second.
    fn level_of(&self, run: &Run) -> Option<usize> {
        let level = run.planned.value_in(&self.contrast.sweep)?;
        self.levels.iter().position(|own| *own == level)
    }

    /// The metric of each seed at both levels, and the number of seeds that have it at one level only.
    fn pairs(&self, at: &[ComparedRun]) -> (Vec<SeedPair>, usize) {
        let factor = if self.metric.scale() == Scale::Percent { 100.0 } else { 1.0 };
        let (mut pairs, mut single) = (Vec::new(), 0);
        for seed in seeds(at.iter().map(|at| at.run)) {
            let value = |level: usize| {
                let own = |at: &&ComparedRun| {
                    at.run.planned.configuration.seed == seed && self.level_of(at.run) == Some(level)
                };
                Some(factor * at.iter().find(own)?.value(self.metric)?)
            };
            match (value(0), value(1)) {
                (Some(from), Some(to)) => pairs.push(SeedPair { seed, from, to }),
                (None, None) => {}
                _ => single += 1,
            }
        }
        (pairs, single)
    }

    fn test(
        &self,
        mut finding: Finding,
        pairs: &[SeedPair],
        rules: &Rules,
        [primary, exploratory]: [usize; 2],
    ) -> Claim {
        let scale = self.scale();
        let found = match paired_contrast(pairs, scale, rules.confidence, &permutations(rules)) {
            Ok(found) => found,
            Err(error) => return Claim::untested(finding, error.to_string()),
        };
        let sign = |seed: &SeedValue| SeedValue { seed: seed.seed, value: seed.value.signum() };
        finding.per_seed = found.effect.per_seed.iter().map(sign).collect();
        finding.size = Some(Size::of_contrast(&found.effect, scale));
        let (family, correction, level) = if finding.primary {
            (primary, Correction::Holm, 1.0 - rules.confidence)
        } else {
            (exploratory, Correction::BenjaminiHochberg, rules.false_discovery_rate)
        };
        let how = DecisionRules { correction, level };
        let positive = self.contrast.direction == Direction::Rises;
        Claim::tested(finding, found.claim_test(positive, Some(margin(scale, rules)), &how, family))
    }

    /// Adds the size from trained runs alone, and a reason that prevents a verdict.
    fn finish(&self, mut claim: Claim, at: &[ComparedRun], all: &[&Run], rules: &Rules) -> Claim {
        let trained = |run: &&Run| run.counts() && run.final_share().is_some_and(|share| share <= rules.trained_below);
        if all.iter().all(trained) {
            claim.finding.trained_size = claim.finding.size;
        }
        // A saturated accuracy hides changes, so it can neither show a change nor that it is negligible.
        let saturated = saturated(at, &claim.finding.metrics, rules);
        if 2 * saturated > at.len() {
            claim.prevented = Some(saturation(saturated, at.len(), rules));
        }
        claim
    }

    fn scale(&self) -> ChangeScale {
        if self.metric.scale() == Scale::Percent { ChangeScale::Difference } else { ChangeScale::Factor }
    }
}
