//! What associations are adjusted for: the swept values of a run, and its training loss.

use crate::report::results::{ComparedRun, Run};
use crate::study::experiment::Plan;
use crate::study::metric::measures;
use crate::study::plan::number;

/// The value of every swept key in the configuration of a run, and its training loss: in evaluation mode at the comparison
/// point if that is measured, else at the end of training. None if one is not a number.
pub(super) fn covariates(plan: &Plan, run: &ComparedRun) -> Option<Vec<f64>> {
    let configuration = toml::Value::try_from(&run.run.planned.configuration).ok()?;
    let swept = plan.sweeps.values().map(|sweep| value_at(&configuration, &sweep.key));
    let loss = run.value(measures::EVALUATION_LOSS).or(run.run.final_loss);
    swept.chain([loss]).collect()
}

/// The number at a dotted key.
fn value_at(configuration: &toml::Value, key: &str) -> Option<f64> {
    let found = key.split('.').try_fold(configuration, |tree, part| tree.get(part))?;
    number(found)
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
