//! NC1, VCI and RankMe in a build without the feature `faer`: undefined, with this reason.

use super::ReportOptions;
use super::record::Gaps;
use crate::{ClassMoments, Error, Result, SamplePass};

/// NC1, its trace and rank, and VCI: always `None`.
#[derive(Default)]
pub(super) struct SpectralMeasures {
    pub(super) nc1: Option<f64>,
    pub(super) nc1_trace: Option<f64>,
    pub(super) nc1_rank: Option<usize>,
    pub(super) vci: Option<f64>,
}

pub(super) struct Spectral;

impl Spectral {
    pub(super) fn new(_: &ReportOptions, _: &ClassMoments) -> Result<Self> {
        Ok(Self)
    }

    pub(super) fn prepare<'m>(&self, pass: SamplePass<'m>) -> SamplePass<'m> {
        pass
    }

    pub(super) fn read(&mut self, _: &SamplePass<'_>) {}

    pub(super) fn measure(self, _: &ClassMoments, undefined: &mut Gaps) -> Result<SpectralMeasures> {
        for (measure, operation) in [("nc1", "within-class variability"), ("vci", "variability collapse index")] {
            undefined.keep::<f64>(measure, Err(Error::NeedsFaer { operation }));
        }
        Ok(SpectralMeasures::default())
    }
}

pub(super) fn rank_me(_: &ReportOptions, _: &mut ClassMoments, undefined: &mut Gaps) -> Option<f64> {
    undefined.keep("rank_me", Err(Error::NeedsFaer { operation: "RankMe" }))
}
