//! The second level: accuracy over several models or seeds.

use serde::Serialize;

use super::Evaluation;
use crate::bootstrap::resampled_model_means;
use crate::interval::{RunningMean, check_values, mean_with};
use crate::{Error, MeanEstimate, Result};

/// The accuracies of several models (training seeds) together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AcrossModels {
    /// How many models.
    pub models: usize,
    /// Whether all models were evaluated on the same episodes.
    pub same_episodes: bool,
    /// Each head.
    pub heads: Vec<HeadAcrossModels>,
    /// Each pair of heads (earlier − later), paired by model and episode. `head` reads `first - second`.
    pub differences: Vec<HeadAcrossModels>,
}

/// One head over several models.
///
/// **Definition** with M models, A_m the mean accuracy of model m over its episodes: the mean of the A_m, its standard
/// error from their spread (divisor M − 1, over √M), the t-interval with M − 1 degrees. The bootstrap interval
/// resamples models and episodes both; where the models share their episodes, one draw of episodes serves all models
/// of a resample.
///
/// **Conventions** the t-interval speaks of further models on these episodes (or on new ones, where each model had its
/// own).
///
/// **Source** the two-level bootstrap on shared episodes: Owen, The pigeonhole bootstrap, Annals of Applied Statistics
/// 2007.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeadAcrossModels {
    /// The head, or the difference of two.
    pub head: String,
    /// The mean over models.
    pub accuracy: MeanEstimate,
    /// Standard deviation of the models' accuracies, as observed (episode noise included).
    pub between_models: f64,
    /// Root mean square of the models' standard errors over episodes: the part of it that episode noise explains.
    pub within_models: f64,
}

/// Combines the evaluations of several models with the same heads.
///
/// **Errors** [`Error::TooFewValues`] for fewer than two models, [`Error::UnknownHead`] where their heads differ.
///
/// ```
/// use fewshot::{EpisodeSampler, LabelledFeatures, NearestMean, across_models, evaluate};
/// let labels: Vec<u32> = (0..60).map(|i| i % 3).collect();
/// let sampler = EpisodeSampler::fixed(&labels, 3, 5, 10, 1)?;
/// let mut evaluations = Vec::new();
/// for seed in 0..4 {
///     let noise = streams::standard_normal(&mut streams::stream(seed, "docs/noise", 0), 60);
///     let values = noise.iter().enumerate().map(|(i, noise)| (i % 3) as f64 + noise).collect();
///     let features = LabelledFeatures::from_f64(values, 1, labels.clone())?;
///     evaluations.push(evaluate(&features, &sampler, 100, &[NearestMean])?);
/// }
/// let together = across_models(&evaluations)?;
/// assert!(together.same_episodes && together.models == 4);
/// assert_eq!(together.heads[0].accuracy.samples, 4);
/// # fewshot::Result::Ok(())
/// ```
pub fn across_models(evaluations: &[Evaluation]) -> Result<AcrossModels> {
    let [first, rest @ ..] = evaluations else {
        return Err(Error::TooFewValues { statistic: "a mean over models", needed: 2, got: 0 });
    };
    let names: Vec<&str> = first.heads.iter().map(|head| head.head.as_str()).collect();
    for other in rest {
        if let Some(head) = other.heads.iter().find(|head| !names.contains(&head.head.as_str())) {
            let present = names.iter().map(|&name| name.to_owned()).collect();
            return Err(Error::UnknownHead { head: head.head.clone(), present });
        }
    }
    let same_episodes = rest.iter().all(|other| other.episodes_checksum == first.episodes_checksum);
    let accuracies = |name: &str| -> Result<Vec<Vec<f64>>> {
        evaluations.iter().map(|evaluation| Ok(evaluation.head(name)?.per_episode.clone())).collect()
    };
    let combine = |head: String, values: &[Vec<f64>]| combine(head, values, same_episodes, first);
    let mut heads = Vec::new();
    let mut differences = Vec::new();
    for (position, name) in names.iter().enumerate() {
        let values = accuracies(name)?;
        heads.push(combine((*name).to_owned(), &values)?);
        for other in &names[position + 1..] {
            let differ: Vec<Vec<f64>> = values
                .iter()
                .zip(accuracies(other)?)
                .map(|(a, b)| a.iter().zip(b).map(|(a, b)| a - b).collect())
                .collect();
            differences.push(combine(format!("{name} - {other}"), &differ)?);
        }
    }
    Ok(AcrossModels { models: evaluations.len(), same_episodes, heads, differences })
}

/// `values[model][episode]` to a mean over models.
fn combine(head: String, values: &[Vec<f64>], same_episodes: bool, first: &Evaluation) -> Result<HeadAcrossModels> {
    let mut models = RunningMean::default();
    let mut squared_errors = 0.0;
    let mut means = Vec::with_capacity(values.len());
    for accuracies in values {
        let mut episodes = RunningMean::default();
        accuracies.iter().for_each(|&accuracy| episodes.push(accuracy));
        squared_errors += episodes.standard_error().unwrap_or(0.0).powi(2);
        models.push(episodes.mean);
        means.push(episodes.mean);
    }
    check_values("a mean over models", &means, 2)?;
    let columns: Vec<&[f64]> = values.iter().map(Vec::as_slice).collect();
    let resampled = resampled_model_means(&columns, same_episodes, &first.settings);
    Ok(HeadAcrossModels {
        head,
        accuracy: mean_with(&means, resampled, &first.settings)?,
        between_models: models.standard_deviation().unwrap_or(0.0),
        within_models: (squared_errors / values.len() as f64).sqrt(),
    })
}
