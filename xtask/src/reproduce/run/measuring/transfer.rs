//! The measures of the target classes, which training never sees.

use anyhow::Result;
use fewshot::{EpisodeSampler, HeadKind, LabelledFeatures, episode_margin_bounds};

use super::{MeasuredFeatures, Values, neural_collapse, plain, unbiased_collapse};
use crate::study::configuration::FewShot;
use crate::study::measurement::Measured;
use crate::study::metric::Metric;

/// Enters GC, collapse and few-shot accuracy of the target classes, and the bounds on the few-shot error.
pub(super) fn enter(target: &MeasuredFeatures, few_shot: &FewShot, seed: u64, values: &mut Values) -> Result<()> {
    values.insert(Metric::TargetGc, target.gc);
    values.insert(Metric::TargetNc, neural_collapse(target));
    values.insert(Metric::TargetNcUnbiased, unbiased_collapse(target));
    let FewShot { way, shot, query, episodes, ridge } = *few_shot;
    let metrics = [Metric::NearestMeanAccuracy, Metric::RidgeAccuracy];
    let heads = ["ncm".parse::<HeadKind>()?, ridge_head(ridge)?];
    let features = LabelledFeatures::from_tensor(&target.rows, &target.labels)?;
    let sampler = EpisodeSampler::fixed(&target.labels, way, shot, query, seed)?;
    let evaluation = fewshot::evaluate(&features, &sampler, episodes, &heads)?;
    for (metric, head) in metrics.into_iter().zip(&evaluation.heads) {
        let accuracy = &head.accuracy;
        values.insert(metric, Measured::new(accuracy.mean, Some(accuracy.standard_error), episodes));
        if metric == Metric::NearestMeanAccuracy {
            let error = Measured::new(1.0 - accuracy.mean, Some(accuracy.standard_error), episodes);
            values.insert(Metric::TargetNearestMeanError, error);
        }
    }
    let bounds = episode_margin_bounds(&features, &sampler, episodes).ok();
    for (metric, bound) in [
        (Metric::TargetCantelliBound, bounds.as_ref().map(|bounds| &bounds.cantelli)),
        (Metric::TargetDirectionalBound, bounds.as_ref().map(|bounds| &bounds.directional)),
    ] {
        let measured = |bound: &fewshot::MeanEstimate| Measured::new(bound.mean, Some(bound.standard_error), episodes);
        values.insert(metric, bound.map_or_else(|| plain(None, episodes), measured));
    }
    Ok(())
}

/// The ridge head with this penalty, a multiple of the mean diagonal entry of the support features' Gram matrix.
pub(super) fn ridge_head(ridge: f64) -> Result<HeadKind> {
    Ok(format!("ridge:{ridge}*gram").parse()?)
}
