//! The runs of an experiment: those of all sweeps and seeds, each run once.

use anyhow::Result;

use super::configuration::Configuration;
use super::experiment::Experiment;

/// The keys that the description of every run names.
const DESCRIBED: [&str; 4] = ["train.learning_rate", "train.batch_size", "train.l2", "train.gc_penalty"];

/// One run and its positions in the sweeps.
#[derive(Debug, Clone)]
pub(crate) struct PlannedRun {
    /// Name of its folder.
    pub(crate) key: String,
    /// Its configuration.
    pub(crate) configuration: Configuration,
    /// Its positions in the sweeps.
    pub(crate) positions: Vec<SweepPosition>,
    /// The levels of sweeps that its description does not name otherwise, such as `optimiser AdamW`.
    pub(crate) levels: Vec<String>,
}

/// The position of a run in a sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SweepPosition {
    /// Name of the sweep.
    pub(crate) sweep: String,
    /// Index of its value.
    pub(crate) value: usize,
}

impl PlannedRun {
    /// The index of the run's value in a sweep, if it belongs to it.
    pub(crate) fn value_in(&self, sweep: &str) -> Option<usize> {
        self.positions.iter().find(|position| position.sweep == sweep).map(|position| position.value)
    }

    /// The settings in which runs differ, for people.
    pub(crate) fn description(&self) -> String {
        let train = &self.configuration.train;
        let penalty = if train.gc_penalty > 0.0 { format!(" · λ {}", train.gc_penalty) } else { String::new() };
        let decay = if train.decay > 0.0 { format!(" · decay {}", train.decay) } else { String::new() };
        let levels: String = self.levels.iter().map(|level| format!(" · {level}")).collect();
        format!(
            "lr {} · batch {} · L2 {}{decay}{penalty}{levels} · seed {}",
            train.learning_rate, train.batch_size, train.l2, self.configuration.seed
        )
    }
}

/// Every run of the experiment once: by seed, then sweep in the order of the columns, then value. Without a sweep there is
/// one run per seed.
pub(crate) fn runs(experiment: &Experiment) -> Result<Vec<PlannedRun>> {
    let mut runs: Vec<PlannedRun> = Vec::new();
    for &seed in &experiment.plan.seeds {
        if experiment.plan.sweeps.is_empty() {
            let configuration = experiment.configuration(seed, None)?;
            runs.push(PlannedRun {
                key: configuration.key()?,
                configuration,
                positions: Vec::new(),
                levels: Vec::new(),
            });
        }
        for name in sweep_names(experiment) {
            let Some(sweep) = experiment.plan.sweeps.get(&name) else { continue };
            for (index, level) in sweep.names().into_iter().enumerate() {
                let configuration = experiment.configuration(seed, Some((&name, index)))?;
                let position = SweepPosition { sweep: name.clone(), value: index };
                let described = sweep.number_key().is_some_and(|key| DESCRIBED.contains(&key));
                add(&mut runs, configuration, position, (!described).then(|| format!("{} {level}", sweep.label)))?;
            }
        }
    }
    Ok(runs)
}

/// The sweeps of the figure, then the others.
fn sweep_names(experiment: &Experiment) -> Vec<String> {
    let columns = &experiment.plan.report.columns;
    let others = experiment.plan.sweeps.keys().filter(|name| !columns.contains(name));
    columns.iter().chain(others).cloned().collect()
}

fn add(
    runs: &mut Vec<PlannedRun>,
    configuration: Configuration,
    position: SweepPosition,
    level: Option<String>,
) -> Result<()> {
    let key = configuration.key()?;
    match runs.iter_mut().find(|run| run.key == key) {
        Some(shared) => {
            shared.positions.push(position);
            shared.levels.extend(level);
        }
        None => {
            let levels = level.into_iter().collect();
            runs.push(PlannedRun { key, configuration, positions: vec![position], levels });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experiment(set: &[&str]) -> Experiment {
        let set: Vec<String> = set.iter().map(|text| (*text).to_owned()).collect();
        Experiment::resolve("fig1", "quick", None, Some(&[0, 1]), &set).unwrap()
    }

    #[test]
    fn a_run_that_three_sweeps_share_is_planned_once_per_seed() {
        let experiment = experiment(&[
            "train.learning_rate=0.1",
            "train.batch_size=32",
            "train.l2=0.0",
            "sweeps.learning-rate.values=[0.01, 0.1]",
            "sweeps.batch-size.values=[32, 64, 128]",
            "sweeps.l2.values=[0, 1e-3]",
        ]);
        let runs = runs(&experiment).unwrap();
        // 2 + 3 + 2 values share one run, so five runs a seed.
        assert_eq!(runs.len(), 10);
        let shared: Vec<_> = runs.iter().filter(|run| run.positions.len() == 3).collect();
        assert_eq!(shared.len(), 2);
        assert_eq!(shared[0].value_in("learning-rate"), Some(1));
        assert_eq!(shared[0].value_in("batch-size"), Some(0));
        assert_eq!(shared[0].value_in("l2"), Some(0));
    }

    #[test]
    fn the_key_depends_on_the_settings_of_the_run_alone() {
        let (one, two) = (experiment(&[]), experiment(&["rules.resamples=500"]));
        let key = |experiment: &Experiment| experiment.configuration(0, None).unwrap().key().unwrap();
        assert_eq!(key(&one), key(&two));
        assert_ne!(key(&one), key(&experiment(&["measure.gc_probes=77"])));
    }
}
