//! What associations are adjusted for: the swept values of a run, and its training loss.

use crate::report::results::{ComparedRun, Run};
use crate::study::experiment::{Experiment, Plan};
use crate::study::metric::measures;
use crate::study::plan::number;
use crate::study::settings;

/// The swept settings of a run, and its training loss: in evaluation mode at the comparison point if that is measured, else at
/// the end of training. None if one is not known.
///
/// A sweep of one key of numbers gives the number in the configuration of the run. Any other sweep gives an indicator for each of
/// its levels, except for the level of the runs that are outside of this sweep, if they have one of them.
pub(super) fn covariates(experiment: &Experiment, run: &ComparedRun) -> Option<Vec<f64>> {
    let planned = &run.run.planned;
    let configuration = toml::Table::try_from(&planned.configuration).ok()?;
    let mut found = Vec::new();
    for (name, sweep) in &experiment.plan.sweeps {
        match sweep.number_key() {
            Some(key) => {
                found.push(number(settings::find(&configuration, key).or_else(|| settings::default_of(key))?)?)
            }
            None => {
                let reference = base_level(experiment, name);
                let others = (0..sweep.values.len()).filter(|level| Some(*level) != reference);
                found.extend(others.map(|level| f64::from(u8::from(planned.value_in(name) == Some(level)))));
            }
        }
    }
    found.push(run.value(measures::EVALUATION_LOSS).or(run.run.final_loss)?);
    Some(found)
}

/// The level of a sweep that the settings of the file have without it.
fn base_level(experiment: &Experiment, name: &str) -> Option<usize> {
    let sweep = experiment.plan.sweeps.get(name)?;
    let base = experiment.configuration(0, None).ok()?;
    (0..sweep.values.len()).find(|level| experiment.configuration(0, Some((name, *level))).ok().as_ref() == Some(&base))
}

/// The names of the covariates, for people.
pub(super) fn names(plan: &Plan) -> String {
    let mut names: Vec<&str> = plan.sweeps.values().map(|sweep| sweep.label.as_str()).collect();
    names.push("training loss");
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// The seeds of these runs, in ascending order.
pub(crate) fn seeds<'a>(runs: impl IntoIterator<Item = &'a Run>) -> Vec<u64> {
    let mut seeds: Vec<u64> = runs.into_iter().map(|run| run.planned.configuration.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    seeds
}
