//! Reports on run folders with synthetic numbers, for which every verdict and every mark is known.

use std::fs;

use super::results::{Results, RunStatus};
use super::verdict::{ClaimKind, Verdict, findings};
use super::*;
use crate::provenance::Stopwatch;
use crate::study::experiment::ComparisonPoint;
use crate::study::measurement::{LayerMeasures, Measured, Measurement, MeasuringPoint, RunOutcome};
use crate::study::metric::{Metric, measures};
use crate::study::store::RunFolder;
use crate::study::sweep;

/// Number of classes of the synthetic data set.
const CLASSES: usize = 64;

pub(super) fn experiment() -> Experiment {
    let settings = ["sweeps.learning-rate.values=[0.005, 0.02, 0.1, 0.4]", "measure.layers=[]"];
    Experiment::resolve("fig4", "quick", None, Some(&[0, 1]), &settings.map(str::to_owned)).unwrap()
}

/// Synthetic values: GC falls with the learning rate and L2 and rises with the batch size, target NC likewise but less,
/// and accuracy in the other direction, with a little noise by seed.
fn values(run: &PlannedRun, share: f64) -> Vec<(Metric, f64)> {
    let train = &run.configuration.train;
    let wobble = 1.0 + 0.02 * (run.configuration.seed as f64 - 0.5) * (1.0 + train.learning_rate.ln().sin());
    let noise = train.learning_rate.powf(-0.8) * (train.batch_size as f64 / 32.0) / (1.0 + 300.0 * train.l2);
    let noise = noise / (1.0 + 500.0 * train.gc_penalty);
    let gc = 60.0 * noise * (0.2 + share) * wobble;
    let target = 2.5 + 0.35 * (noise.ln() + 2.0) * share + 1.5 * (1.0 - share) * wobble;
    let accuracy = (0.42 + 0.25 * share - 0.015 * noise.ln()) * wobble;
    let (nc, inverse) = (1.0 + gc.ln() / 5.0, 0.01 * gc.powf(-0.4) / wobble);
    vec![
        (measures::GC, gc),
        (measures::GEOMETRIC_COLLAPSE, gc / 2.5),
        (measures::PAIRWISE_GEOMETRIC_COLLAPSE, gc / 80.0),
        (measures::NC, nc),
        (measures::POINCARE_CONSTANT, 0.2),
        (measures::TEST_NC, 0.5),
        (measures::TEST_BOUND, 0.75),
        (measures::NEAREST_MEAN_ERROR, 0.4),
        (measures::NEAREST_MEAN_BOUND, 1.0 + 600.0 * gc),
        (measures::TARGET_NC, target),
        (measures::NEAREST_MEAN_ACCURACY, accuracy),
        (measures::RIDGE_ACCURACY, accuracy + 0.02),
        (measures::EVALUATION_LOSS, 4.2 - if train.learning_rate == 0.005 { 0.3 } else { 2.0 } * share),
        (measures::MEAN_INVERSE_SQUARED_DISTANCE, inverse),
        (measures::VARIANCE_OVER_GC, nc / (gc * inverse)),
        (measures::MEAN_VARIANCE, nc / inverse),
    ]
}

fn measured(run: &PlannedRun, measuring_point: MeasuringPoint, share: f64) -> Measurement {
    let values = values(run, share);
    Measurement {
        measuring_point,
        step: (share * 900.0) as usize,
        epoch: share * 3.0,
        train_loss: (share > 0.0).then_some(4.2 - 2.0 * share),
        values: values.into_iter().map(|(metric, value)| (metric, Measured::new(value, Some(0.01), 256))).collect(),
        estimates: Vec::new(),
        layers: run.configuration.measure.layers.iter().enumerate().map(layer).collect(),
    }
}

/// Synthetic measures of a layer: GC falls and collapse progresses from the input to the features.
fn layer((index, name): (usize, &String)) -> LayerMeasures {
    let depth = 1.0 + index as f64;
    let measured = |value: f64| Measured::new(value, Some(0.01), 256);
    LayerMeasures {
        layer: name.clone(),
        outputs: 64,
        gc: measured(500.0 / depth),
        nc_unbiased: measured(4.0 / depth),
        target_nc_unbiased: Some(measured(6.0 / depth)),
        probe_accuracy: measured(0.1 + 0.1 * depth),
    }
}

/// Writes every run of the plan; the largest learning rate of seed 1 diverges, and the smallest is under-trained.
pub(super) fn synthetic(folder: &Path, planned: &[PlannedRun]) {
    for run in planned {
        let at = RunFolder::of(folder, &run.key);
        at.create(&run.configuration).unwrap();
        let diverges = run.configuration.seed == 1 && run.configuration.train.learning_rate == 0.4;
        for share in run.configuration.measure.schedule.iter().copied().filter(|share| !diverges || *share < 0.4) {
            at.append(&measured(run, MeasuringPoint::Schedule { share }, share)).unwrap();
        }
        for level in [0.9, 0.75] {
            at.append(&measured(run, MeasuringPoint::LossLevel { level }, 1.1 - level)).unwrap();
        }
        let final_loss = if run.configuration.train.learning_rate == 0.005 { 3.9 } else { 2.2 };
        let outcome = if diverges {
            RunOutcome::Diverged { classes: CLASSES, images: 9600, step: 400 }
        } else {
            RunOutcome::Completed { classes: CLASSES, images: 9600, final_loss }
        };
        at.finish(&run.configuration, &outcome, &Stopwatch::start().record(1), &[]).unwrap();
    }
}

fn results(folder: &Path) -> Results {
    let experiment = experiment();
    let planned = sweep::runs(&experiment).unwrap();
    synthetic(folder, &planned);
    Results::read(experiment, planned, folder).unwrap()
}

#[test]
fn verdicts_are_those_of_the_synthetic_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let results = results(folder.path());
    let findings = findings(&results);
    let trend = |sweep: &str, metric: Metric, comparison: ComparisonPoint| {
        let about = |finding: &&verdict::Finding| {
            finding.kind == ClaimKind::Trend
                && finding.sweep.as_deref() == Some(sweep)
                && finding.metrics == [metric]
                && finding.comparison == Some(comparison)
        };
        findings.iter().find(about).unwrap()
    };
    let batch = trend("batch-size", measures::GC, ComparisonPoint::EqualEpochs);
    assert_eq!((batch.verdict, batch.runs, batch.excluded), (Verdict::Holds, 8, 0));
    assert!(batch.statistic.unwrap() > 0.9 && batch.interval.unwrap().0 > 0.0);
    let matched = trend("l2", measures::NC, ComparisonPoint::EqualLoss);
    assert_eq!((matched.verdict, matched.level), (Verdict::Holds, Some(0.6)));
    // Two under-trained runs and a diverged one leave five of eight.
    let rate = trend("learning-rate", measures::GC, ComparisonPoint::EqualEpochs);
    assert_eq!((rate.verdict, rate.runs, rate.excluded), (Verdict::Undecided, 5, 3));
    assert!(rate.with_excluded.unwrap() < -0.9);
    let accuracy = trend("batch-size", measures::NEAREST_MEAN_ACCURACY, ComparisonPoint::EqualEpochs);
    assert!(accuracy.statistic.unwrap() < 0.0);
    let inequality = findings.iter().find(|finding| finding.kind == ClaimKind::Inequality).unwrap();
    assert_eq!((inequality.verdict, inequality.statistic), (Verdict::Holds, Some(1.0)));
}

#[test]
fn a_contradicted_claim_fails() {
    let folder = tempfile::tempdir().unwrap();
    let mut results = results(folder.path());
    let plan = &mut results.experiment.plan;
    for direction in plan.claims.trends.iter_mut().flat_map(|trend| trend.sweeps.values_mut()) {
        *direction = match direction {
            crate::study::experiment::Direction::Rises => crate::study::experiment::Direction::Falls,
            crate::study::experiment::Direction::Falls => crate::study::experiment::Direction::Rises,
            crate::study::experiment::Direction::Unchanged => crate::study::experiment::Direction::Unchanged,
        };
    }
    let findings = findings(&results);
    let batch = findings
        .iter()
        .find(|finding| finding.metrics == [measures::GC] && finding.sweep.as_deref() == Some("batch-size"));
    assert_eq!(batch.unwrap().verdict, Verdict::Fails);
}

#[test]
fn saturated_accuracies_leave_their_own_claims_undecided() {
    let folder = tempfile::tempdir().unwrap();
    let mut results = results(folder.path());
    let before = findings(&results);
    results.experiment.plan.rules.saturated_above = 0.5;
    let after = findings(&results);
    let accuracies = [measures::NEAREST_MEAN_ACCURACY, measures::RIDGE_ACCURACY];
    for (before, after) in before.iter().zip(&after) {
        if after.reason.contains("saturated") {
            assert!(after.metrics.iter().any(|metric| accuracies.contains(metric)), "{}", after.claim);
            assert_eq!((after.verdict, after.statistic), (Verdict::Undecided, before.statistic));
        } else {
            assert_eq!((after.verdict, &after.reason), (before.verdict, &before.reason), "{}", after.claim);
        }
    }
    assert!(before.iter().any(|finding| finding.verdict == Verdict::Holds && finding.metrics.contains(&accuracies[0])));
    assert!(after.iter().any(|finding| finding.reason == "8 of 8 accuracies are saturated, at 50 % or above"));
}

#[test]
fn statuses_follow_the_rules_and_an_unreadable_folder_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let experiment = experiment();
    let planned = sweep::runs(&experiment).unwrap();
    synthetic(folder.path(), &planned);
    let broken = RunFolder::of(folder.path(), &planned[2].key);
    fs::write(broken.path().join("done"), "not JSON").unwrap();
    fs::remove_dir_all(RunFolder::of(folder.path(), &planned[5].key).path()).unwrap();
    let results = Results::read(experiment, planned, folder.path()).unwrap();
    let status = |index: usize| &results.runs[index].status;
    assert!(matches!(status(0), RunStatus::UnderTrained { share } if (share - 3.9 / 64f64.ln()).abs() < 1e-12));
    assert_eq!(*status(1), RunStatus::Counted);
    assert!(matches!(status(2), RunStatus::Failed { reason } if reason.contains("done")));
    assert_eq!(*status(5), RunStatus::Unfinished);
    assert!(results.runs.iter().any(|run| run.status == RunStatus::Diverged { step: 400 }));
    let summary = summary(&results, &findings(&results));
    assert!(summary.contains("Excluded from verdicts") && summary.contains("diverged at step 400"), "{summary}");
}

#[test]
fn the_report_is_complete_self_contained_and_reproducible() {
    let folder = tempfile::tempdir().unwrap();
    let planned = sweep::runs(&experiment()).unwrap();
    synthetic(folder.path(), &planned);
    let write =
        || write(experiment(), planned.clone(), folder.path(), Extras { tensorboard: true, indexed: true }).unwrap();
    let written = write();
    let page = fs::read_to_string(&written.page).unwrap();
    let figure = fs::read_to_string(&written.figure).unwrap();
    let csv = fs::read_to_string(&written.measurements).unwrap();
    for needle in ["<script", "src=\"http", "url(", "@import", "NaN", "inf"] {
        assert!(!page.contains(&format!("{needle}\"")) && !figure.contains(needle), "{needle}");
    }
    // The panels of the figure with training loss and NC added, the two of the decomposition, four courses, and four scatter plots.
    let plan = experiment().plan;
    let (columns, panels) = (plan.report.columns.len(), plan.report.columns.len() * plan.report.rows.len());
    assert_eq!(
        page.matches("role=\"img\"").count(),
        panels + 2 * columns + 2 + plan.claims.courses.len() + plan.report.scatter.len()
    );
    assert_eq!(figure.matches("text-anchor=\"end\">epochs").count(), panels);
    for fact in ["version ", "candle 0.", std::env::consts::ARCH, "The program draws the images"] {
        assert!(page.contains(fact), "{fact} is missing");
    }
    assert!(figure.matches("class=\"axis\"").count() > 27);
    let lines: usize =
        planned.iter().map(|run| RunFolder::of(folder.path(), &run.key).measurements().unwrap().len()).sum();
    assert_eq!(csv.lines().count(), lines + 1);
    write();
    assert_eq!(fs::read_to_string(&written.measurements).unwrap(), csv);
    assert_eq!(fs::read_to_string(&written.figure).unwrap(), figure);
    if let Ok(keep) = std::env::var("REPORT_SAMPLE") {
        fs::write(Path::new(&keep).join("report.html"), page).unwrap();
        fs::write(Path::new(&keep).join("figure.svg"), figure).unwrap();
        fs::write(Path::new(&keep).join("summary.txt"), &written.summary).unwrap();
    }
}
