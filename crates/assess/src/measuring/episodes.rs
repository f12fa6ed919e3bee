//! Few-shot accuracy, the bounds on the few-shot error, and transfer scores.

use fewshot::{EpisodeSampler, Head, LabelledFeatures, MeanEstimate, episode_margin_bounds, transfer_scores};

use super::defined;
use crate::assessment::Features;
use crate::options::FewShot;
use crate::{Error, FewShotResult, Measured, Part, PartOf, Result, TransferResult};

/// The accuracy of all heads over the same episodes; with the nearest mean among them, the bounds on its error.
pub(super) fn measure(name: PartOf, part: &Part, settings: &FewShot) -> Result<FewShotResult> {
    let what = "few-shot episodes";
    let Features { rows, labels } = labelled(name, part, what)?;
    let failed = |source| Error::FewShot { part: name.name(), what, source };
    let FewShot { way, shot, query, episodes, seed, ref heads } = *settings;
    let features = LabelledFeatures::from_tensor(rows, labels).map_err(failed)?;
    let sampler = EpisodeSampler::fixed(labels, way, shot, query, seed).map_err(failed)?;
    let evaluation = fewshot::evaluate(&features, &sampler, episodes, heads).map_err(failed)?;
    let bounded = heads.iter().any(|head| head.name() == "ncm");
    let bounds = bounded.then(|| defined(episode_margin_bounds(&features, &sampler, episodes)));
    let measured = |bound: &MeanEstimate| Measured::new(bound.mean, Some(bound.standard_error), episodes);
    let of = |bound: fn(&fewshot::EpisodeMarginBounds) -> &MeanEstimate| {
        let bounds = bounds.as_ref()?.as_ref();
        Some(bounds.map_or_else(|| Measured::maybe(None, None, episodes), |bounds| measured(bound(bounds))))
    };
    let (cantelli_bound, directional_bound) = (of(|bounds| &bounds.cantelli), of(|bounds| &bounds.directional));
    Ok(FewShotResult { evaluation, cantelli_bound, directional_bound })
}

/// The transfer scores.
pub(super) fn transfer(name: PartOf, part: &Part) -> Result<TransferResult> {
    let what = "transfer scores";
    let Features { rows, labels } = labelled(name, part, what)?;
    let failed = |source| Error::FewShot { part: name.name(), what, source };
    let features = LabelledFeatures::from_tensor(rows, labels).map_err(failed)?;
    Ok(match transfer_scores(&features) {
        Ok(scores) => TransferResult { scores: Some(scores), undefined: None, samples: part.samples },
        Err(reason) => TransferResult { scores: None, undefined: Some(reason.to_string()), samples: part.samples },
    })
}

fn labelled<'a>(name: PartOf, part: &'a Part, what: &'static str) -> Result<&'a Features> {
    part.features.as_ref().ok_or(Error::Unlabelled { part: name.name(), what, batch: 0 })
}
