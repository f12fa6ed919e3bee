//! The mediation table of a sweep of the GC penalty: λ → GC → NC → accuracy.

use serde::Serialize;
use statistics::{ChangeScale, Effect, MediationEffects, SeedValue, mediation_effects};

use super::results::{Results, Run};
use super::table::Table;
use super::verdict::{Size, seeds};
use crate::study::metric::{Metric, Scale, measures};
use crate::task::Task;

/// The key that a sweep of interventions varies.
const PENALTY: &str = "train.gc_penalty";

/// How the effects are computed.
pub(crate) const METHOD: &str = "Within each seed, by least squares on the position of λ in the sweep (0 for the smallest, 1 for the \
    largest), with logarithms of GC and NC and accuracies in points: a is the effect of λ on the mediator, b the slope of the \
    outcome on the mediator given λ, the indirect effect is a·b, the direct effect is that of λ given the mediator, and the \
    total effect is their sum. Means over seeds with Student's t-intervals. λ is an intervention, the mediator is not: b is an \
    effect only if nothing else moves mediator and outcome together.";

/// The literature of the method.
pub(crate) const SOURCE: &str = "Baron and Kenny 1986; MacKinnon, Warsi and Dwyer 1995";

/// The effects of a penalty on outcomes through mediators.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Mediation {
    /// The name of the sweep.
    pub(crate) sweep: String,
    /// Its label.
    pub(crate) label: String,
    /// How the effects are computed.
    pub(crate) method: &'static str,
    /// The literature of the method.
    pub(crate) source: &'static str,
    /// The paths, each with the runs at the end of training.
    pub(crate) paths: Vec<MediatedPath>,
}

/// The effect of λ on an outcome through a mediator.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct MediatedPath {
    /// The mediator.
    pub(crate) mediator: Metric,
    /// The outcome.
    pub(crate) outcome: Metric,
    /// Number of runs.
    pub(crate) runs: usize,
    /// Number of seeds.
    pub(crate) seeds: usize,
    /// a: the effect of λ on the mediator, over the sweep.
    pub(crate) on_mediator: Size,
    /// b: the effect of a doubling of the mediator on the outcome, given λ.
    pub(crate) of_mediator: Size,
    /// a·b: the effect on the outcome through the mediator, over the sweep.
    pub(crate) indirect: Size,
    /// The effect on the outcome given the mediator, over the sweep.
    pub(crate) direct: Size,
    /// The total effect on the outcome, over the sweep.
    pub(crate) total: Size,
}

/// The mediation table; none without a sweep of the GC penalty or without enough runs.
pub(crate) fn mediation(results: &Results) -> Option<Mediation> {
    let plan = &results.experiment.plan;
    let (name, sweep) = plan.sweeps.iter().find(|(_, sweep)| sweep.number_key() == Some(PENALTY))?;
    let pairs: &[(Metric, Metric)] = match plan.task {
        Task::Transfer => &[
            (measures::GC, measures::NC),
            (measures::GC, measures::TARGET_NC),
            (measures::NC, measures::TARGET_NC),
            (measures::GC, measures::NEAREST_MEAN_ACCURACY),
            (measures::NC, measures::NEAREST_MEAN_ACCURACY),
            (measures::TARGET_NC, measures::NEAREST_MEAN_ACCURACY),
        ],
        Task::Classification => &[
            (measures::GC, measures::NC),
            (measures::GC, measures::TEST_ACCURACY),
            (measures::NC, measures::TEST_ACCURACY),
        ],
    };
    let runs: Vec<(u64, usize, &Run)> = results
        .runs
        .iter()
        .filter(|run| run.counts())
        .filter_map(|run| Some((run.planned.configuration.seed, run.planned.value_in(name)?, run)))
        .collect();
    let numbers = sweep.numbers();
    let level = plan.rules.confidence;
    let paths: Vec<MediatedPath> = pairs.iter().filter_map(|pair| path(&runs, *pair, &numbers, level)).collect();
    let (label, sweep) = (sweep.label.clone(), name.clone());
    (!paths.is_empty()).then_some(Mediation { sweep, label, method: METHOD, source: SOURCE, paths })
}

/// One path; none where a seed has too few runs, or λ explains the mediator completely.
fn path(
    runs: &[(u64, usize, &Run)],
    (mediator, outcome): (Metric, Metric),
    values: &[f64],
    level: f64,
) -> Option<MediatedPath> {
    let value = |run: &Run, metric: Metric| {
        let value = run.last()?.value(metric)?;
        let scaled = if metric.scale() == Scale::Percent { 100.0 * value } else { value.ln() };
        Some(scaled).filter(|scaled| scaled.is_finite())
    };
    let last = (values.len().checked_sub(1)? as f64).max(1.0);
    let (mut found, mut count): (Vec<(u64, MediationEffects)>, usize) = (Vec::new(), 0);
    for seed in seeds(runs.iter().map(|(_, _, run)| *run)) {
        let own = runs.iter().filter(|(of, ..)| *of == seed);
        let points: Vec<[f64; 3]> = own
            .filter_map(|(_, index, run)| Some([*index as f64 / last, value(run, mediator)?, value(run, outcome)?]))
            .collect();
        let column = |index: usize| points.iter().filter_map(|point| point.get(index).copied()).collect::<Vec<f64>>();
        if let Ok(effects) = mediation_effects(&column(0), &column(1), &column(2)) {
            found.push((seed, effects));
            count += points.len();
        }
    }
    let over = |of: &dyn Fn(&MediationEffects) -> f64| {
        let values = found.iter().map(|(seed, effects)| SeedValue { seed: *seed, value: of(effects) });
        Effect::over_seeds(values.collect(), level).ok()
    };
    let scale = |metric: Metric| {
        if metric.scale() == Scale::Percent { ChangeScale::Difference } else { ChangeScale::Factor }
    };
    let range = (*values.first()?, *values.last()?);
    let size = |effect: &Effect, metric: Metric| Size::of(effect, range, scale(metric), values);
    Some(MediatedPath {
        mediator,
        outcome,
        runs: count,
        seeds: found.len(),
        on_mediator: size(&over(&|effects| effects.on_mediator)?, mediator),
        of_mediator: Size::of_doubling(&over(&|effects| effects.of_mediator)?, scale(outcome)),
        indirect: size(&over(&|effects| effects.indirect)?, outcome),
        direct: size(&over(&|effects| effects.direct)?, outcome),
        total: size(&over(&|effects| effects.total)?, outcome),
    })
}

impl Mediation {
    /// The paths as a table.
    pub(crate) fn table(&self, task: Task) -> Table {
        let header = ["path", "runs", "λ on mediator", "doubling of mediator", "indirect", "direct", "total"];
        let row = |path: &MediatedPath| {
            let names = format!("{} → {} → {}", self.label, task.label_of(path.mediator), task.label_of(path.outcome));
            let mut row = vec![names, path.runs.to_string()];
            row.extend(path.sizes().map(|(_, size)| times(&size)));
            row
        };
        Table {
            caption: format!("Mediation of the penalty, over its sweep at equal epochs ({})", self.source),
            header: header.map(str::to_owned).to_vec(),
            rows: self.paths.iter().map(row).collect(),
            summed: false,
        }
    }

    /// The paths as CSV: a line for each effect.
    pub(crate) fn csv(&self) -> anyhow::Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record([
            "sweep",
            "mediator",
            "outcome",
            "effect",
            "runs",
            "seeds",
            "size",
            "size_low",
            "size_high",
            "size_unit",
        ])?;
        for path in &self.paths {
            for (effect, size) in path.sizes() {
                let end = |end: Option<f64>| end.map_or_else(String::new, |end| end.to_string());
                writer.write_record([
                    self.sweep.clone(),
                    path.mediator.key().to_owned(),
                    path.outcome.key().to_owned(),
                    effect.to_owned(),
                    path.runs.to_string(),
                    path.seeds.to_string(),
                    size.change.to_string(),
                    end(size.interval.map(|interval| interval.0)),
                    end(size.interval.map(|interval| interval.1)),
                    size.unit.word().to_owned(),
                ])?;
            }
        }
        Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
    }
}

impl MediatedPath {
    /// The effects with their names in CSV.
    fn sizes(&self) -> [(&'static str, Size); 5] {
        [
            ("on_mediator", self.on_mediator),
            ("of_mediator_per_doubling", self.of_mediator),
            ("indirect", self.indirect),
            ("direct", self.direct),
            ("total", self.total),
        ]
    }
}

fn times(size: &Size) -> String {
    if size.unit.word() == "factor" { format!("×{}", size.number()) } else { size.number() }
}
