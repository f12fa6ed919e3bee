//! Verdicts on synthetic runs, for which every statistic is known.

use super::*;
use crate::report::decomposition::decomposition;
use crate::report::mediation::mediation;
use crate::report::results::RunStatus;
use crate::study::experiment::{ComparisonPoint, Direction, Experiment};
use crate::study::frozen::Frozen;
use crate::study::measurement::{Measured, Measurement, MeasuringPoint};
use crate::study::metric::{Metric, measures};
use crate::study::store::Verified;
use crate::study::sweep::{self, PlannedRun};

/// Number of classes.
const CLASSES: usize = 64;

/// Runs in which `value` gives each metric at each share of training.
fn results(
    experiment: Experiment,
    value: impl Fn(&PlannedRun, f64, Metric) -> Option<f64>,
    status: impl Fn(&PlannedRun) -> RunStatus,
) -> Results {
    let planned = sweep::runs(&experiment).unwrap();
    let run = |planned: PlannedRun| {
        let point = |share: f64| Measurement {
            measuring_point: MeasuringPoint::Schedule { share },
            step: (share * 900.0) as usize,
            epoch: share * 5.0,
            train_loss: (share > 0.0).then_some(4.2 - 2.0 * share),
            values: Metric::standard()
                .into_iter()
                .filter_map(|metric| Some((metric, Measured::new(value(&planned, share, metric)?, Some(0.01), 256))))
                .collect(),
            estimates: Vec::new(),
            layers: Vec::new(),
        };
        Run {
            status: status(&planned),
            measurements: planned.configuration.measure.schedule.iter().map(|share| point(*share)).collect(),
            trained_on: Some((CLASSES, 6400)),
            final_loss: Some(if planned.configuration.train.learning_rate < 0.03 { 3.0 } else { 1.0 }),
            record: None,
            verified: Verified::Signed,
            planned,
        }
    };
    let runs = planned.into_iter().map(run).collect();
    Results { experiment, frozen: Frozen { sha256: String::new(), before: None, changes: Vec::new() }, runs }
}

fn experiment(seeds: &[u64], more: &[&str]) -> Experiment {
    let mut settings: Vec<String> =
        vec!["sweeps.learning-rate.values=[0.02, 0.1, 0.2, 0.4]".to_owned(), "rules.trained_below=0.5".to_owned()];
    settings.extend(more.iter().map(|text| (*text).to_owned()));
    Experiment::resolve("fig4", "quick", None, Some(seeds), &settings).unwrap()
}

/// A number of a run that looks random and is the same every time.
fn noise(run: &PlannedRun, purpose: u64) -> f64 {
    let key = run.key.bytes().fold(purpose, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    streams::standard_normal(&mut streams::stream(key, "verdict/tests", 0), 1)[0]
}

/// GC falls strongly with the learning rate and the penalty, target NC with GC, the accuracy rises; NC rises with the rate.
fn lively(run: &PlannedRun, share: f64, metric: Metric) -> Option<f64> {
    let train = &run.configuration.train;
    let strength = train.learning_rate.powf(-0.5) * (train.batch_size as f64 / 32.0).sqrt()
        / (1.0 + 500.0 * train.l2 + 500.0 * train.gc_penalty);
    let gc = 60.0 * strength * (0.2 + share) * (1.0 + 0.02 * noise(run, 1));
    match metric.key() {
        "gc" => Some(gc),
        "geometric_collapse" => Some(gc / 2.5),
        "pairwise_geometric_collapse" => Some(gc / 80.0),
        "nc" => Some(3.0 * train.learning_rate.powf(0.3) * (1.5 - share) * (1.0 + 0.01 * noise(run, 2))),
        "mean_inverse_squared_distance" => Some(0.01),
        "variance_over_gc" => Some(lively(run, share, measures::NC)? / (0.01 * gc)),
        "mean_variance" => Some(0.3 * gc),
        "poincare_constant" => Some(0.2 * (1.0 + 0.001 * noise(run, 3))),
        "target_nc" => Some(gc.powf(0.2) * (1.0 + 0.01 * noise(run, 4))),
        "nearest_mean_accuracy" => Some(0.6 - 0.02 * gc.ln() + 0.001 * noise(run, 5)),
        "ridge_accuracy" => Some(0.5),
        "evaluation_loss" => Some(4.0 * (if train.learning_rate < 0.03 { -0.6 } else { -1.0 } * share).exp()),
        "nearest_mean_error" => Some(0.4),
        "nearest_mean_bound" => Some(1.0 + gc),
        "cantelli_bound" => Some(0.3 + 0.005 * share),
        "test_nc" => Some(1.0),
        "test_bound" => Some(0.999),
        _ => None,
    }
}

fn counted_run(_: &PlannedRun) -> RunStatus {
    RunStatus::Counted
}

fn trend<'a>(findings: &'a [Finding], sweep: &str, metric: Metric, comparison: ComparisonPoint) -> &'a Finding {
    let about = |finding: &&Finding| {
        finding.kind == ClaimKind::Trend
            && finding.sweep.as_deref() == Some(sweep)
            && finding.metrics == [metric]
            && finding.comparison == Some(comparison)
    };
    findings.iter().find(about).unwrap()
}

fn inequality(findings: &[Finding], greater: Metric) -> &Finding {
    let about = |finding: &&Finding| finding.kind == ClaimKind::Inequality && finding.metrics[1] == greater;
    findings.iter().find(about).unwrap()
}

#[test]
fn a_trend_has_evidence_size_correction_and_a_size_of_trained_runs() {
    let results = results(experiment(&[0, 1, 2], &[]), lively, counted_run);
    let findings = findings(&results);
    let gc = trend(&findings, "learning-rate", measures::GC, ComparisonPoint::EqualEpochs);
    assert!(gc.primary && gc.verdict == Verdict::Holds, "{gc:?}");
    assert_eq!((gc.statistic, gc.runs, gc.seeds, gc.correction), (Some(-1.0), 12, 3, Some(Correction::Holm)));
    assert!((gc.permutation_p_value.unwrap() - 2.0 / 24f64.powi(3)).abs() < 1e-15);
    assert_eq!(gc.p_value, Some(gc.permutation_p_value.unwrap().max(gc.size_p_value.unwrap())));
    assert_eq!(gc.family, results.experiment.plan.claims.primary_count());
    assert!(gc.corrected_p_value.unwrap() >= gc.p_value.unwrap());
    // GC ∝ rate^−1/2: from 0.02 to 0.4 the factor is 20^−1/2 = 0.2236. The runs at 0.02 ended at 3.0/ln 64 = 0.72 ln k.
    let (size, trained) = (gc.size.unwrap(), gc.trained_size.unwrap());
    assert!((size.change - 20f64.powf(-0.5)).abs() < 0.02 && size.range() == Some((0.02, 0.4)), "{size:?}");
    assert!((trained.change - 0.5).abs() < 0.02 && trained.range() == Some((0.1, 0.4)), "{trained:?}");
    // NC rises with the rate, against the claim; exploratory claims are corrected apart.
    let nc = trend(&findings, "learning-rate", measures::NC, ComparisonPoint::EqualEpochs);
    assert_eq!(
        (nc.verdict, nc.correction, nc.decision_level),
        (Verdict::Fails, Some(Correction::BenjaminiHochberg), Some(0.1))
    );
    // The same accuracy in every run: no variation, and the reason in words.
    let ridge = trend(&findings, "learning-rate", measures::RIDGE_ACCURACY, ComparisonPoint::EqualEpochs);
    assert_eq!(ridge.verdict, Verdict::Undecided);
    assert_eq!(ridge.reason, "`ridge_accuracy` is the same in all runs of each seed");
}

#[test]
fn the_claim_that_nothing_changes_holds_within_the_margin_and_fails_with_a_trend() {
    let results = results(experiment(&[0, 1, 2], &[]), lively, counted_run);
    let findings = findings(&results);
    let constant = trend(&findings, "learning-rate", measures::POINCARE_CONSTANT, ComparisonPoint::EqualEpochs);
    assert_eq!((constant.direction, constant.verdict), (Some(Direction::Unchanged), Verdict::Holds), "{constant:?}");
    assert!(constant.claim.contains("→ the same"), "{}", constant.claim);
    let ratio = trend(&findings, "learning-rate", measures::VARIANCE_OVER_GC, ComparisonPoint::EqualEpochs);
    assert_eq!(ratio.verdict, Verdict::Fails, "{ratio:?}");
}

#[test]
fn the_lead_has_claims_that_fail_first_and_sizes_in_words() {
    let mut results = results(experiment(&[0, 1, 2], &[]), lively, counted_run);
    for trend in &mut results.experiment.plan.claims.trends {
        trend.primary = if trend.metrics.contains(&measures::NC) && trend.sweeps.contains_key("l2") {
            vec![measures::GC, measures::NC]
        } else {
            Vec::new()
        };
    }
    let findings = findings(&results);
    let lead = lead(&results, &findings);
    assert_eq!((lead[0].verdict, lead[1].verdict), (Verdict::Fails, Verdict::Holds));
    let first = &lead[0].text;
    assert!(first.starts_with("learning rate 0.02 → 0.4 multiplies source NC by 2."), "{first}");
    assert!(first.contains('[') && first.contains("claimed: lower)") && first.contains("at equal epochs"), "{first}");
    assert!(first.contains("(trained runs alone, 0.1 → 0.4"), "{first}");
    assert!(lead[0].evidence[0].contains("corrected") && lead[0].evidence[0].contains("Holm, 6 claims, level 0.05"));
    let tables = tables(&results, &findings);
    assert_eq!(tables.len(), 2, "one table of primary and one of exploratory claims");
    assert!(
        tables[0].caption.starts_with("Primary claims; 95 % intervals over seeds; p corrected over 6 claims by Holm")
    );
    let verdicts: Vec<&str> = tables[1].rows.iter().map(|row| row.last().unwrap().as_str()).collect();
    let first_held = verdicts.iter().position(|word| *word == "holds").unwrap();
    assert!(verdicts[first_held..].iter().all(|word| *word != "fails"), "{verdicts:?}");
    assert!(tables[1].rows.iter().any(|row| row[0].contains("(Hui, Belkin and Nakkiran 2022")));
    let short = short_tables(&results, &findings);
    assert_eq!(short[0].rows, tables[0].rows);
    assert!(
        short[1].rows.iter().all(|row| row.last().unwrap() != "undecided")
            && short[1].rows.len() < tables[1].rows.len()
    );
    assert!(short[1].caption.ends_with("the undecided ones are in summary.md"), "{}", short[1].caption);
    // No primary claim is an association: the table has no column for them.
    assert!(
        !tables[0].header.contains(&"granulated".to_owned()) && tables[1].header.contains(&"granulated".to_owned())
    );
}

#[test]
fn associations_count_each_run_once_and_are_adjusted() {
    let results = results(experiment(&[0, 1, 2], &[]), lively, counted_run);
    let findings = findings(&results);
    let about = |x: Metric, y: Metric| {
        findings.iter().find(|finding| finding.kind == ClaimKind::Association && finding.metrics == [x, y]).unwrap()
    };
    let found = about(measures::GC, measures::TARGET_NC);
    assert_eq!((found.runs, found.seeds, found.sweep.as_deref()), (results.runs.len(), 3, None));
    assert_eq!(found.claim, "lower source GC ↔ lower target NC, given swept values and loss");
    assert!(found.granulated_coefficient.unwrap() > 0.5 && found.sign_error.unwrap() < 0.5, "{found:?}");
    assert!(found.sign_error_in.as_ref().unwrap().contains("sweep, seed"));
    assert!(found.size.unwrap().range().is_none() && found.per_seed.len() == 3);
    // The ridge accuracy is the same in every run.
    let flat = about(measures::GC, measures::RIDGE_ACCURACY);
    assert_eq!(flat.verdict, Verdict::Undecided);
    assert_eq!(
        flat.reason,
        "5-shot accuracy, ridge does not vary within seeds given batch size, λ, L2, learning rate and training loss"
    );
}

#[test]
fn courses_are_over_seeds() {
    let results = results(experiment(&[0, 1, 2], &[]), lively, counted_run);
    let findings = findings(&results);
    let course = findings.iter().find(|finding| finding.kind == ClaimKind::Course).unwrap();
    // Along training GC rises and NC falls in every run.
    assert_eq!((course.metrics.as_slice(), course.statistic), (&[measures::GC, measures::NC][..], Some(-1.0)));
    assert_eq!((course.verdict, course.runs, course.seeds), (Verdict::Fails, results.runs.len(), 3));
    // Five points in each of three seeds: 2/120³.
    assert!((course.smallest_p_value.unwrap() - 2.0 / 120f64.powi(3)).abs() < 1e-15, "{course:?}");
}

#[test]
fn an_inequality_fails_by_one_point_beyond_its_error_and_a_trivial_bound_is_vacuous() {
    let results = results(experiment(&[0, 1], &[]), lively, counted_run);
    let findings = findings(&results);
    let vacuous = inequality(&findings, measures::NEAREST_MEAN_BOUND);
    assert_eq!((vacuous.verdict, vacuous.statistic), (Verdict::Vacuous, Some(1.0)));
    // 0.4 ≤ 0.3 + 0.005 t with standard errors 0.01 on both sides: the distance is at least six errors of 0.0141.
    let violated = inequality(&findings, measures::CANTELLI_BOUND);
    assert_eq!((violated.verdict, violated.statistic), (Verdict::Fails, Some(0.0)));
    assert!((violated.largest_ratio.unwrap() - 0.4 / 0.3005).abs() < 1e-3, "{violated:?}");
    // 1 ≤ 0.999 is violated by a tenth of its error.
    let close = inequality(&findings, measures::TEST_BOUND);
    assert_eq!((close.verdict, close.statistic), (Verdict::Undecided, Some(0.0)));
    assert!(close.reason.contains("within the error"), "{}", close.reason);
    let missing = inequality(&findings, measures::DIRECTIONAL_BOUND);
    assert_eq!(missing.reason, "`directional_bound` is not measured in these runs");
}

#[test]
fn an_inequality_that_is_a_theorem_for_its_images_is_vacuous_though_its_bound_is_below_one() {
    let satisfied = |run: &PlannedRun, share: f64, metric: Metric| match metric.key() {
        "cantelli_bound" => Some(0.5),
        _ => lively(run, share, metric),
    };
    let findings = findings(&results(experiment(&[0, 1], &[]), satisfied, counted_run));
    let theorem = inequality(&findings, measures::CANTELLI_BOUND);
    assert_eq!((theorem.verdict, theorem.statistic), (Verdict::Vacuous, Some(1.0)));
    assert!(theorem.reason.contains("a theorem") && theorem.reason.contains("below 1"), "{}", theorem.reason);
}

#[test]
fn one_seed_and_too_few_values_are_named() {
    let one_seed = results(experiment(&[0], &[]), lively, counted_run);
    let found = findings(&one_seed);
    let gc = trend(&found, "learning-rate", measures::GC, ComparisonPoint::EqualEpochs);
    assert_eq!(gc.reason, "one seed has no interval: run at least two");
    assert!((gc.size.unwrap().change - 20f64.powf(-0.5)).abs() < 0.02 && gc.size.unwrap().interval.is_none());
    let few = experiment(&[0, 1, 2], &["sweeps.learning-rate.values=[0.1, 0.4]"]);
    let found = findings(&results(few, lively, counted_run));
    let gc = trend(&found, "learning-rate", measures::GC, ComparisonPoint::EqualEpochs);
    // 2/2!³ = 0.25, times 8 claims.
    assert!(
        gc.reason.starts_with("too few values for its test: the smallest p-value that 6 runs of 3 seeds"),
        "{}",
        gc.reason
    );
    assert_eq!((gc.smallest_p_value, gc.verdict), (Some(0.25), Verdict::Undecided));
}

#[test]
fn the_measured_metrics_are_those_that_a_run_has() {
    let some = results(experiment(&[0, 1], &[]), lively, |_| RunStatus::Unfinished);
    let measured = some.metrics();
    assert!(!measured.is_empty() && measured.len() < Metric::all().len());
    assert!(Metric::all().into_iter().all(|metric| some.has(metric) == measured.contains(&metric)));
    assert!(some.has(measures::GC) && !some.has(measures::TARGET_DIRECTIONAL_BOUND));
}

#[test]
fn exclusions_are_counted_and_named() {
    let none = results(experiment(&[0, 1], &[]), lively, |_| RunStatus::Unfinished);
    let found = findings(&none);
    assert!(found.iter().all(|finding| finding.verdict == Verdict::Undecided && finding.statistic.is_none()));
    let trends = found.iter().filter(|finding| finding.metrics.iter().all(|metric| none.metrics().contains(metric)));
    let excluded = |finding: &Finding| {
        finding.reason.strip_prefix("all runs are excluded: ").is_some_and(|why| why.ends_with(" unfinished"))
    };
    assert!(trends.into_iter().all(excluded), "{found:?}");
    // One run of seed 1 is left in the learning-rate sweep: its block is dropped and counted.
    let single = results(experiment(&[0, 1, 2], &[]), lively, |run| {
        let lost = run.configuration.seed == 1 && run.configuration.train.learning_rate != 0.4;
        if lost { RunStatus::Diverged { step: 3 } } else { RunStatus::Counted }
    });
    let found = findings(&single);
    let gc = trend(&found, "learning-rate", measures::GC, ComparisonPoint::EqualEpochs);
    assert_eq!((gc.runs, gc.seeds, gc.single_runs, gc.excluded), (9, 2, 1, 3));
    assert!(gc.with_excluded.unwrap() < -0.9);
    // Every seed has two runs, but no two values are common to all.
    let disjoint = results(experiment(&[0, 1], &[]), lively, |run| {
        let low = run.configuration.train.learning_rate < 0.15;
        if low == (run.configuration.seed == 0) { RunStatus::Counted } else { RunStatus::Unfinished }
    });
    let found = findings(&disjoint);
    let gc = trend(&found, "learning-rate", measures::GC, ComparisonPoint::EqualEpochs);
    assert_eq!(gc.reason, "fewer than two swept values have a counted run in every seed");
    assert_eq!((gc.verdict, gc.statistic), (Verdict::Undecided, Some(-1.0)));
}

#[test]
fn metrics_that_are_not_measured_and_levels_that_no_run_reaches_are_named() {
    let without = |run: &PlannedRun, share: f64, metric: Metric| {
        if metric == measures::TARGET_NC { None } else { lively(run, share, metric) }
    };
    let found = findings(&results(experiment(&[0, 1], &[]), without, counted_run));
    let target = trend(&found, "learning-rate", measures::TARGET_NC, ComparisonPoint::EqualEpochs);
    assert_eq!(target.reason, "`target_nc` is not measured in these runs");
    // The evaluation loss ends at 4/e = 1.47, which is 0.35 ln 64.
    let low = experiment(&[0, 1], &["rules.equal_loss_level=0.1"]);
    let found = findings(&results(low, lively, counted_run));
    let gc = trend(&found, "learning-rate", measures::GC, ComparisonPoint::EqualLoss);
    assert_eq!(gc.reason, "no counted run reached a training loss of 0.1 ln k in evaluation mode");
    let unmeasured = |run: &PlannedRun, share: f64, metric: Metric| {
        if metric == measures::EVALUATION_LOSS { None } else { lively(run, share, metric) }
    };
    let found = findings(&results(experiment(&[0, 1], &[]), unmeasured, counted_run));
    let gc = trend(&found, "learning-rate", measures::GC, ComparisonPoint::EqualLoss);
    assert_eq!(gc.reason, "equal loss cannot be found: `evaluation_loss` is not measured in these runs");
}

#[test]
fn the_decomposition_and_the_mediation_are_those_of_the_synthetic_numbers() {
    let results = results(experiment(&[0, 1, 2], &[]), lively, counted_run);
    let found = decomposition(&results).unwrap();
    let rate = found.shares.iter().find(|shares| shares.sweep.as_deref() == Some("learning-rate")).unwrap();
    // NC ∝ rate^0.3, GC ∝ rate^−0.5, mean 1/d² constant: shares −5/3, 0 and 8/3.
    for (share, expected) in rate.terms.iter().zip([-5.0 / 3.0, 0.0, 8.0 / 3.0]) {
        assert!((share.share - expected).abs() < 0.1, "{rate:?}");
    }
    let sums = found.shares.iter().map(|shares| shares.terms.iter().map(|term| term.share).sum::<f64>());
    assert!(sums.into_iter().all(|sum| (sum - 1.0).abs() < 1e-9));
    assert_eq!(found.points.len(), results.runs.len() * results.experiment.plan.measure.schedule.len());
    let csv = String::from_utf8(found.csv().unwrap()).unwrap();
    assert_eq!(csv.lines().count(), found.points.len() + 1);
    let found = mediation(&results).unwrap();
    assert_eq!(found.sweep, "gc-penalty");
    let path =
        found.paths.iter().find(|path| path.outcome == measures::TARGET_NC && path.mediator == measures::GC).unwrap();
    // Target NC ∝ GC^0.2: a doubling of GC multiplies it by 2^0.2, and the whole effect goes through GC.
    assert!((path.of_mediator.change - 2f64.powf(0.2)).abs() < 0.05, "{path:?}");
    let (indirect, direct, total) = (path.indirect.change, path.direct.change, path.total.change);
    assert!((indirect * direct / total - 1.0).abs() < 1e-9 && indirect < 0.95, "{path:?}");
    let csv = String::from_utf8(found.csv().unwrap()).unwrap();
    assert_eq!(csv.lines().count(), 5 * found.paths.len() + 1);
}

#[test]
fn the_terminal_says_first_how_the_run_differs_and_whether_the_file_has_changed() {
    let mut results = results(experiment(&[0, 1, 2], &[]), lively, counted_run);
    results.frozen.before = Some("before".to_owned());
    results.frozen.changes = vec!["`rules.confidence` is 0.95, before the first run 0.9".to_owned()];
    let text = crate::report::summary(&results, &findings(&results));
    assert!(text.starts_with("This run differs from the paper: network vgg-small"), "{text}");
    let at = |needle: &str| text.find(needle).unwrap_or_else(|| panic!("{needle} is not in {text}"));
    assert!(at("has changed since the first run") < at("Primary claims\n"));
    assert!(
        at("Primary claims\n") < at("Primary claims; 95 % intervals") && at("corrected p") < at("Exploratory claims;")
    );
    assert!(at("Exploratory claims;") < at("share of each term in the variance of log NC"));
    assert!(text.contains("Mediation of the penalty") && text.contains("λ → source GC → target NC"), "{text}");
    let markdown = crate::report::markdown::summary(&results, &findings(&results));
    let at = |needle: &str| markdown.find(needle).unwrap_or_else(|| panic!("{needle} is not in {markdown}"));
    assert!(
        at("This run differs from the paper") < at("## Primary claims") && at("## Primary claims") < at("## Rules")
    );
}

#[test]
fn a_sentence_about_a_sweep_says_what_it_did_to_gc() {
    let results = results(experiment(&[0, 1, 2], &[]), lively, counted_run);
    let lead = lead(&results, &findings(&results));
    let penalty =
        lead.iter().find(|sentence| sentence.text.starts_with("λ 0 → 0.01 multiplies target NC by 0.")).unwrap();
    // 1/(1 + 500 · 0.01) = 0.167.
    assert!(penalty.text.contains("; it multiplies source GC by 0.1"), "{}", penalty.text);
    let rate = lead.iter().find(|sentence| sentence.text.starts_with("learning rate")).unwrap();
    assert!(!rate.text.contains("it multiplies"), "{}", rate.text);
}

#[test]
fn the_primary_trends_of_every_preset_have_enough_values_and_seeds_to_be_decided() {
    for name in Experiment::names() {
        for preset in Experiment::presets(name).unwrap() {
            let plan = Experiment::resolve(name, &preset, None, None, &[]).unwrap().plan;
            let claims = &plan.claims;
            let trends: usize = claims.trends.iter().map(|trend| trend.primary.len() * trend.sweeps.len()).sum();
            let contrasts: usize = claims.contrasts.iter().map(|contrast| contrast.primary.len()).sum();
            let tested = trends
                + contrasts
                + claims.associations.iter().filter(|claim| claim.primary).count()
                + claims.courses.iter().filter(|claim| claim.primary).count();
            for trend in claims.trends.iter().filter(|trend| !trend.primary.is_empty()) {
                for sweep in trend.sweeps.keys() {
                    let sizes = vec![plan.sweeps[sweep].values.len(); plan.seeds.len()];
                    let smallest = tested as f64 * statistics::smallest_trend_p_value(&sizes);
                    assert!(smallest <= 1.0 - plan.rules.confidence, "{name} {preset} {sweep}: {sizes:?}, {smallest}");
                }
            }
        }
    }
}

/// The example of recipes with runs in which each level has its factor on GC and NC, and the seeds differ by more than the levels.
fn recipes(seeds: &[u64], factor: fn(&PlannedRun, Metric) -> f64) -> Results {
    let experiment = Experiment::resolve("recipes", "quick", None, Some(seeds), &[]).unwrap();
    let value = move |run: &PlannedRun, share: f64, metric: Metric| match metric.key() {
        "gc" | "nc" | "gc_over_variance" | "test_nc" => {
            let seed = f64::from(run.configuration.seed as u32 + 1);
            Some(seed * factor(run, metric) * (1.0 + share) * (1.0 + 0.01 * noise(run, 7)))
        }
        "test_accuracy" => Some(0.5 + 0.1 * factor(run, metric)),
        "evaluation_loss" => Some(4.0 * (1.0 - 0.9 * share)),
        _ => None,
    };
    results(experiment, value, counted_run)
}

fn is_vit(run: &PlannedRun) -> bool {
    run.configuration.model.architecture == "vit-mini-cifar"
}

fn contrast<'a>(findings: &'a [Finding], to: &str, metric: Metric) -> &'a Finding {
    let about = |finding: &&Finding| {
        finding.levels.as_ref().is_some_and(|levels| levels[1] == to) && finding.metrics == [metric]
    };
    findings.iter().find(about).unwrap()
}

#[test]
fn a_contrast_compares_two_levels_within_seeds() {
    let results = recipes(&[0, 1, 2, 3, 4], |run, metric| match metric.key() {
        "gc_over_variance" if is_vit(run) => 2.0,
        "nc" if is_vit(run) => 0.5,
        _ => 1.0,
    });
    let found = findings(&results);
    let vit = contrast(&found, "ViT", measures::GC_OVER_VARIANCE);
    assert_eq!((vit.kind, vit.verdict, vit.primary), (ClaimKind::Contrast, Verdict::Holds, true), "{vit:?}");
    assert_eq!((vit.runs, vit.seeds, vit.statistic, vit.excluded), (10, 5, Some(1.0), 0));
    assert_eq!(vit.claim, "ViT instead of VGG → higher GC over variance within classes");
    assert!((vit.size.unwrap().change - 2.0).abs() < 0.05, "{vit:?}");
    // 3 primary claims and 5 seeds: 3 · 2/2⁵ is above 0.05, so the t-test over seeds decides alone.
    assert_eq!((vit.family, vit.permutation_p_value, vit.p_value), (3, None, vit.size_p_value));
    // Exploratory, at 0.1: 9 · 2/2⁵ is above it too.
    let nc = contrast(&found, "ViT", measures::NC);
    assert_eq!((nc.verdict, nc.permutation_p_value, nc.statistic), (Verdict::Fails, None, Some(-1.0)));
    // With nine seeds 9 · 2/2⁹ is below 0.05, and the sign flips take part.
    let many = recipes(&[0, 1, 2, 3, 4, 5, 6, 7, 8], |run, metric| match metric.key() {
        "nc" if is_vit(run) => 0.5,
        _ => 1.0,
    });
    let many = findings(&many);
    let flipped = contrast(&many, "ViT", measures::NC);
    assert_eq!((flipped.verdict, flipped.permutation_p_value), (Verdict::Fails, Some(2.0 / 512.0)), "{flipped:?}");
    // No difference beyond one percent: negligible.
    let gc = contrast(&found, "crop and flip", measures::GC);
    assert_eq!(gc.verdict, Verdict::Negligible, "{gc:?}");
    let lead = lead(&results, &found);
    let sentence = lead.iter().find(|sentence| sentence.text.starts_with("architecture VGG → ViT multiplies")).unwrap();
    assert!(
        sentence.text.contains("GC over variance within classes by 2.") && sentence.text.ends_with("at equal epochs"),
        "{sentence:?}"
    );
    let summary = crate::report::markdown::summary(&results, &found);
    assert!(summary.contains("A contrast compares two levels of a sweep"), "{summary}");
    let csv = String::from_utf8(crate::report::csv::claims(&found).unwrap()).unwrap();
    let line = csv.lines().find(|line| {
        line.starts_with("ViT instead of VGG → higher GC over variance within classes,contrast,architecture")
    });
    assert!(line.unwrap().contains(",VGG,ViT,"), "{line:?}");
    // The table of a sweep of categories has their names and no correlation.
    let tables = crate::report::table::sweeps(&results, &found);
    let table = tables.iter().find(|table| table.caption.starts_with("Sweep of the architecture")).unwrap();
    let names: Vec<&str> = table.rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(names, ["initial network", "VGG", "ResNet", "ViT"]);
}

#[test]
fn contrasts_say_why_they_are_undecided() {
    let same = recipes(&[0, 1, 2], |_, _| 1.0);
    let found = findings(&same);
    assert!(found.iter().all(|finding| finding.verdict != Verdict::Holds), "{found:?}");
    let accuracy = contrast(&found, "crop and flip", measures::TEST_ACCURACY);
    assert_eq!((accuracy.verdict, accuracy.size.unwrap().change), (Verdict::Negligible, 0.0));
    // Seed 1 has a run at one level only, seed 2 at none.
    let mut lost = recipes(&[0, 1, 2], |_, _| 1.0);
    for run in &mut lost.runs {
        let seed = run.planned.configuration.seed;
        if seed == 2 || (seed == 1 && is_vit(&run.planned)) {
            run.status = RunStatus::Diverged { step: 1 };
        }
    }
    let found = findings(&lost);
    let vit = contrast(&found, "ViT", measures::NC);
    assert_eq!((vit.seeds, vit.single_runs, vit.excluded), (1, 1, 3), "{vit:?}");
    assert_eq!(vit.reason, "one seed has no interval: run at least two");
    for run in &mut lost.runs {
        run.status = RunStatus::Unfinished;
    }
    let all = findings(&lost);
    let excluded = |finding: &&Finding| finding.reason.starts_with("all runs are excluded: ");
    assert_eq!(all.iter().filter(excluded).count(), all.len());
}

/// The base of `vit` is AdamW, so that none of the levels of the sweeps of SGD is that of the runs outside of them.
#[test]
fn every_level_has_an_indicator_unless_the_base_has_it() {
    let experiment = Experiment::resolve("vit", "quick", None, Some(&[0]), &[]).unwrap();
    let loss = |_: &PlannedRun, _, metric: Metric| (metric.key() == "evaluation_loss").then_some(0.5);
    let results = results(experiment, loss, counted_run);
    let all: Vec<&Run> = results.runs.iter().collect();
    let (at, _) = across_runs::compared(&results, &all, ComparisonPoint::EqualEpochs);
    let of = |sweep: &str, level: usize| {
        let run = at.iter().find(|run| run.run.planned.value_in(sweep) == Some(level)).unwrap();
        covariates::covariates(&results.experiment, run).unwrap()
    };
    let base = of("learning-rate", 2);
    // Three numbers, four levels of each sweep of SGD, one of two optimisers, the loss.
    assert_eq!(base.len(), 3 + 4 + 4 + 1 + 1);
    assert_eq!(of("optimizer", 1), base);
    for level in [0, 1, 3] {
        let run = of("sgd-learning-rate", level);
        assert_eq!(run.iter().zip(&base).filter(|(one, none)| **one == 1.0 && **none == 0.0).count(), 1, "{level}");
    }
}

#[test]
fn associations_take_categories_as_indicators() {
    let results = results(
        Experiment::resolve("vit", "quick", None, Some(&[0, 1, 2]), &[]).unwrap(),
        |run, share, metric| match metric.key() {
            "gc" => Some((1.0 + share) * (0.3 * noise(run, 1)).exp()),
            "nc" => Some((1.0 + share) * (0.3 * noise(run, 1) + 0.01 * noise(run, 2)).exp()),
            "evaluation_loss" => Some(2.0 - share + 0.01 * noise(run, 3)),
            _ => None,
        },
        counted_run,
    );
    let found = findings(&results);
    let gc = found.iter().find(|finding| finding.kind == ClaimKind::Association && finding.primary).unwrap();
    assert_eq!((gc.verdict, gc.runs, gc.seeds), (Verdict::Holds, 51, 3), "{gc:?}");
}
