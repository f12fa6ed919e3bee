//! The nearest-mean error of the test images and the bounds on it.

use anyhow::Result;
use candle_core::Tensor;
use collapse::{CdnvConvention, Symmetry, nearest_mean_bound};
use fewshot::{Episode, LabelledFeatures, MarginBounds, Task, margin_bounds};

use super::jackknife::{groups, standard_errors};
use super::{MeasuredFeatures, Values, defined, plain};
use crate::study::measurement::Measured;
use crate::study::metric::Metric;

/// Enters the error of the nearest-mean classifier with the training means on test images, and all bounds on it.
///
/// `constant` is the effective Poincaré constant of the training images.
pub(super) fn enter(
    train: &MeasuredFeatures,
    test: &MeasuredFeatures,
    constant: Option<f64>,
    values: &mut Values,
) -> Result<()> {
    let samples = test.labels.len();
    let error = defined(collapse::nearest_mean_error(&train.moments, &test.rows, &test.labels));
    let error = error.map_or_else(|| plain(None, samples), |e| Measured::new(e.error, Some(e.std_error), samples));
    values.insert(Metric::NearestMeanError, error);
    by_variance(train, test, constant, values)?;
    by_margins(train, test, values);
    Ok(())
}

/// The bounds from the NC of the test images, and from c times their geometric collapse.
fn by_variance(
    train: &MeasuredFeatures,
    test: &MeasuredFeatures,
    constant: Option<f64>,
    values: &mut Values,
) -> Result<()> {
    let classes = train.moments.class_count();
    let nc = defined(collapse::cdnv(&test.moments, CdnvConvention::default())).map(|cdnv| cdnv.mean);
    let form = test.gc.value.and_then(|gc| defined(collapse::geometric_collapse(&test.moments, gc)));
    let by_gc = constant.zip(form).map(|(constant, form)| constant * form.value);
    let shots = train.labels.len() / classes;
    let spherical = Symmetry::Spherical(test.rows.dim(1)?);
    for (metric, nc, symmetry) in [
        (Metric::NearestMeanBound, nc, Symmetry::General),
        (Metric::NearestMeanGcBound, by_gc, Symmetry::General),
        (Metric::SphericalBound, nc, spherical),
        (Metric::SphericalGcBound, by_gc, spherical),
    ] {
        let bound = nc.and_then(|nc| defined(nearest_mean_bound(nc, classes, shots, symmetry)));
        values.insert(metric, plain(bound.map(|bound| bound.bound), test.labels.len()));
    }
    Ok(())
}

/// The bounds from the margins of the test images to the training means, with standard errors by the jackknife.
fn by_margins(train: &MeasuredFeatures, test: &MeasuredFeatures, values: &mut Values) {
    let groups = groups(&test.labels);
    let number = groups.iter().max().map_or(0, |last| last + 1);
    let bounds = Support::new(train, test).ok().and_then(|support| {
        let without = |left_out: usize| support.bounds(|query| groups[query] != left_out);
        let all = support.bounds(|_| true)?;
        let parts: Option<Vec<[f64; 2]>> = (0..number).map(|group| without(group).map(pair)).collect();
        Some((pair(all), parts.and_then(|parts: Vec<[f64; 2]>| standard_errors(&parts))))
    });
    for (index, metric) in [Metric::CantelliBound, Metric::DirectionalBound].into_iter().enumerate() {
        let measured = bounds.map_or_else(
            || plain(None, test.labels.len()),
            |(value, error)| Measured::new(value[index], error.map(|error| error[index]), test.labels.len()),
        );
        values.insert(metric, measured);
    }
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
    fn new(train: &MeasuredFeatures, test: &MeasuredFeatures) -> Result<Self> {
        let rows = Tensor::cat(&[&train.rows, &test.rows], 0)?;
        let labels = [train.labels.as_slice(), test.labels.as_slice()].concat();
        let count = train.labels.len();
        let classes: Vec<u32> = train.moments.classes().iter().map(|class| *class as u32).collect();
        let rows_of = |class: &u32| (0..count).filter(|row| labels[*row] == *class).collect();
        let support = classes.iter().map(rows_of).collect();
        Ok(Self { features: LabelledFeatures::from_tensor(&rows, &labels)?, classes, support, count })
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
