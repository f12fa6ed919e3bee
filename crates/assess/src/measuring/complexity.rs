//! Geometric complexity of the images of one part.

use gc_core::{Estimate, FeatureMap, GeometricComplexity};

use super::Assembly;
use crate::data::BatchResult;
use crate::options::Stage;
use crate::{Batches, BoxError, Error, PartOf, Result};

impl Assembly<'_> {
    /// Geometric complexity with values per class where there are labels.
    pub(super) fn complexity(
        &self,
        part: PartOf,
        map: &dyn FeatureMap,
        settings: &GeometricComplexity,
        images: &dyn Batches,
    ) -> Result<Estimate> {
        let stage = Stage::Complexity(part);
        self.watcher.see(stage, 0)?;
        let mut source = images.batches();
        let first = source.next();
        let labelled = first.as_ref().is_some_and(|first| first.as_ref().is_ok_and(|batch| batch.labels.is_some()));
        let mut settings = settings.clone();
        if labelled {
            settings = settings.per_class();
        }
        let mut seen = 0;
        let watched = first.into_iter().chain(source).map(|batch: BatchResult| {
            let batch = batch?;
            self.watcher.see(stage, seen)?;
            seen += batch.inputs.dims().first().copied().unwrap_or(0);
            Ok::<_, BoxError>(batch)
        });
        let ignored = |_: &gc_core::Progress| ();
        let estimate = settings.measure_watched(map, watched, self.options.pass_watch.unwrap_or(&ignored));
        estimate.map_err(|source| self.watcher.error(stage, Error::Complexity { part: part.name(), source }))
    }
}
