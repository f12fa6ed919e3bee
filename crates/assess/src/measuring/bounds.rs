//! The nearest-mean error of the test images and the bounds on it.

use candle_core::Tensor;
use collapse::{Symmetry, nearest_mean_bound};
use fewshot::{Episode, LabelledFeatures, MarginBounds, Task, margin_bounds};

use super::defined;
use super::jackknife::{groups, standard_errors};
use crate::assessment::Features;
use crate::{Bounds, Measured, Part, Result};

/// The error of the nearest-mean classifier with the training means on test images, and all bounds on it; none without labels.
pub(super) fn measure(train: &Part, test: &Part) -> Result<Option<Bounds>> {
    let (Some(images), Some(support), Some(moments)) = (&test.features, &train.features, &train.moments) else {
        return Ok(None);
    };
    let samples = test.samples;
    let plain = |value: Option<f64>| Measured::maybe(value, None, samples);
    let constant = train.decomposition.as_ref().and_then(|factors| factors.poincare_constant.value);
    let of_test = test.decomposition.as_ref();
    let times = |form: Option<f64>| constant.zip(form).map(|(constant, form)| constant * form);
    let nc = of_test.and_then(|factors| factors.nc.value);
    let by_gc = times(of_test.and_then(|factors| factors.geometric_collapse.value));
    let pairwise = times(of_test.and_then(|factors| factors.pairwise_geometric_collapse.value));

    let classes = moments.class_count();
    let shots = train.samples.checked_div(classes).unwrap_or(0);
    let spherical = Symmetry::Spherical(images.rows.dim(1)?);
    let bound = |nc: Option<f64>, symmetry: Symmetry| {
        let bound = nc.and_then(|nc| defined(nearest_mean_bound(nc, classes, shots, symmetry)));
        plain(bound.map(|bound| bound.bound))
    };
    let error = defined(collapse::nearest_mean_error(moments, &images.rows, &images.labels));
    let [cantelli, directional] = by_margins(support, images, moments.classes());
    Ok(Some(Bounds {
        nc: plain(pairwise),
        error: error.map_or_else(|| plain(None), |error| Measured::new(error.error, Some(error.std_error), samples)),
        by_nc: bound(nc, Symmetry::General),
        by_gc: bound(by_gc, Symmetry::General),
        spherical_by_nc: bound(nc, spherical),
        spherical_by_gc: bound(by_gc, spherical),
        cantelli,
        directional,
    }))
}

/// The bounds from the margins of the test images to the training means, with standard errors by the jackknife.
fn by_margins(train: &Features, test: &Features, classes: &[usize]) -> [Measured; 2] {
    let groups = groups(&test.labels);
    let number = groups.iter().max().map_or(0, |last| last + 1);
    let bounds = Support::new(train, test, classes).and_then(|support| {
        let without = |left_out: usize| support.bounds(|query| groups[query] != left_out);
        let all = support.bounds(|_| true)?;
        let parts: Option<Vec<[f64; 2]>> = (0..number).map(|group| without(group).map(pair)).collect();
        Some((pair(all), parts.and_then(|parts: Vec<[f64; 2]>| standard_errors(&parts))))
    });
    let samples = test.labels.len();
    [0, 1].map(|index| {
        bounds.map_or_else(
            || Measured::maybe(None, None, samples),
            |(value, error)| Measured::new(value[index], error.map(|error| error[index]), samples),
        )
    })
}

fn pair(bounds: MarginBounds) -> [f64; 2] {
    [bounds.cantelli, bounds.directional]
}

/// One episode of all classes, with the training images as support and the test images as queries.
struct Support {
    features: LabelledFeatures,
    classes: Vec<u32>,
    support: Vec<Vec<usize>>,
    /// Number of support images; the queries follow them.
    count: usize,
}

impl Support {
    /// None where the features cannot form an episode.
    fn new(train: &Features, test: &Features, classes: &[usize]) -> Option<Self> {
        let rows = defined(Tensor::cat(&[&train.rows, &test.rows], 0))?;
        let labels = [train.labels.as_slice(), test.labels.as_slice()].concat();
        let count = train.labels.len();
        let classes: Vec<u32> = classes.iter().map(|class| *class as u32).collect();
        let rows_of = |class: &u32| (0..count).filter(|row| labels[*row] == *class).collect();
        let support = classes.iter().map(rows_of).collect();
        Some(Self { features: defined(LabelledFeatures::from_tensor(&rows, &labels))?, classes, support, count })
    }

    /// The bounds from the queries that are kept.
    fn bounds(&self, keep: impl Fn(usize) -> bool) -> Option<MarginBounds> {
        let labels = &self.features.labels()[self.count..];
        let of_class = |class: &u32| {
            let own = (0..labels.len()).filter(|query| labels[*query] == *class && keep(*query));
            own.map(|query| self.count + query).collect()
        };
        let queries = self.classes.iter().map(of_class).collect();
        let episode = Episode::new(self.classes.clone(), self.support.clone(), queries).ok()?;
        Some(margin_bounds(&Task::new(&self.features, &episode).ok()?))
    }
}
