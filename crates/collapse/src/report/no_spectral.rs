//! NC1, VCI and RankMe in a build without the feature `faer`: undefined, with this reason.

use super::ReportOptions;
use super::measures::VariabilityMeasures;
use super::record::Gaps;
use crate::{ClassMoments, Error, Result, SamplePass};

pub(super) struct Spectral;

impl Spectral {
    pub(super) fn new(_: &ReportOptions, _: &ClassMoments) -> Result<Self> {
        Ok(Self)
    }

    pub(super) fn prepare<'m>(&self, pass: SamplePass<'m>) -> SamplePass<'m> {
        pass
    }

    pub(super) fn read(&mut self, _: &SamplePass<'_>) {}

    /// All of them `None`.
    pub(super) fn measure(self, _: &ClassMoments, undefined: &mut Gaps) -> Result<VariabilityMeasures> {
        for (measure, operation) in [("nc1", "within-class variability"), ("vci", "variability collapse index")] {
            undefined.keep::<f64>(measure, Err(Error::NeedsFaer { operation }));
        }
        Ok(VariabilityMeasures::default())
    }
}

pub(super) fn rank_me(_: &ReportOptions, _: &mut ClassMoments, undefined: &mut Gaps) -> Option<f64> {
    undefined.keep("rank_me", Err(Error::NeedsFaer { operation: "RankMe" }))
}
