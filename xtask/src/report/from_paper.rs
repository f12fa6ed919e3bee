//! How a run differs from the paper: the settings beside those of the preset `paper`.

use serde::Serialize;

use super::chart::plain;
use super::results::Results;
use crate::study::experiment::{Experiment, Plan};

/// A setting that differs from the paper's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    /// What is set.
    pub(crate) setting: &'static str,
    /// Its value here.
    pub(crate) here: String,
    /// Its value in the preset `paper`, which is the paper's where the paper states it.
    pub(crate) paper: String,
}

/// The settings of network, data, images, epochs and seeds that differ from the preset `paper` of the same experiment; empty
/// for an experiment without that preset.
pub(crate) fn differences(results: &Results) -> Vec<Difference> {
    let experiment = &results.experiment;
    match Experiment::resolve(&experiment.name, "paper", None, None, &[]) {
        Ok(paper) => between(&experiment.plan, &paper.plan),
        Err(_) => Vec::new(),
    }
}

/// The differences in one line; none without any.
pub(crate) fn line(results: &Results) -> Option<String> {
    let parts: Vec<String> = differences(results)
        .iter()
        .map(|found| format!("{} {} instead of {}", found.setting, found.here, found.paper))
        .collect();
    (!parts.is_empty()).then(|| format!("This run differs from the paper: {}.", parts.join("; ")))
}

fn between(here: &Plan, paper: &Plan) -> Vec<Difference> {
    let compared = |setting, of: fn(&Plan) -> String| Difference { setting, here: of(here), paper: of(paper) };
    let all = [
        compared("network", network),
        compared("data", |plan| plan.data.set.clone()),
        compared(
            "classes",
            |plan| if plan.data.classes == 0 { "all".to_owned() } else { plan.data.classes.to_string() },
        ),
        compared("training images per class", |plan| plan.data.train_images_per_class.to_string()),
        compared("epochs", |plan| plain(plan.train.epochs)),
        compared("seeds", |plan| plan.seeds.len().to_string()),
    ];
    all.into_iter().filter(|found| found.here != found.paper).collect()
}

fn network(plan: &Plan) -> String {
    let model = &plan.model;
    let width = if model.width == 1.0 { String::new() } else { format!(" at width {}", plain(model.width)) };
    // Only the VGG family leaves the choice.
    let norm = match (model.architecture.starts_with("vgg"), model.batch_norm) {
        (false, _) | (_, None) => "",
        (true, Some(true)) => " with batch norm",
        (true, Some(false)) => " without batch norm",
    };
    format!("{}{width}{norm}", model.architecture)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(name: &str, preset: &str) -> Plan {
        Experiment::resolve(name, preset, None, None, &[]).unwrap().plan
    }

    #[test]
    fn network_data_images_epochs_and_seeds_are_compared() {
        let found = between(&plan("fig1", "quick"), &plan("fig1", "paper"));
        let settings: Vec<&str> = found.iter().map(|found| found.setting).collect();
        assert_eq!(settings, ["network", "data", "classes", "training images per class", "epochs", "seeds"]);
        assert_eq!(found[0].here, "vgg-small with batch norm");
        assert_eq!((found[0].paper.as_str(), found[1].paper.as_str()), ("vgg13 without batch norm", "cifar10"));
        assert!(between(&plan("fig1", "paper"), &plan("fig1", "paper")).is_empty());
    }
}
