//! Collapse of the features of one part.

use candle_core::Tensor;
use collapse::{ClassMoments, CollapseReport, Head, Scatter, Undefined};
use gc_core::Estimate;

use super::decomposed::{Factors, variances};
use super::forward::Forward;
use super::{Assembly, jackknife};
use crate::assessment::{Features, per_class};
use crate::{Error, Measured, Part, PartOf, Result};

impl Part {
    /// A part without labels: geometric complexity alone.
    pub(crate) fn unlabelled(gc: Option<Estimate>) -> Self {
        let samples = gc.as_ref().map_or(0, |gc| gc.samples);
        Self {
            samples,
            classes: 0,
            gc,
            features: None,
            moments: None,
            collapse: None,
            undefined: None,
            without_head: None,
            decomposition: None,
            loss: None,
            accuracy: None,
        }
    }
}

impl Assembly<'_> {
    /// Moments, the collapse report, the decomposition, and loss and accuracy of the head.
    pub(super) fn collapsed(
        &self,
        part: PartOf,
        classes: Option<usize>,
        forward: Forward,
        gc: Option<Estimate>,
    ) -> Result<Part> {
        let named = forward.labels.iter().max().map_or(0, |last| *last as usize + 1);
        let head = self.network.head.as_ref().filter(|_| part != PartOf::Target);
        let without_head =
            head.and_then(|head| other_head(head, classes, &forward.labels, forward.rows.dims().get(1).copied()));
        let head = head.filter(|_| without_head.is_none());
        let classes = head.map_or(0, Head::class_count).max(classes.unwrap_or(named));

        let failed = |source: collapse::Error| Error::Collapse { part: part.name(), source };
        let moments = moments(&forward.rows, &forward.labels, classes).map_err(failed)?;
        let (collapse, undefined) = match self.report(&forward, classes, head, gc.as_ref()) {
            Ok(report) => (Some(report), None),
            Err(reason) => (None, Some(reason.to_string())),
        };
        let decomposition = if self.options.decomposition {
            let measured = |gc: &Estimate| Measured::new(gc.value, gc.standard_error.total, gc.samples);
            let factors = Factors {
                moments: &moments,
                report: collapse.as_ref(),
                gc: gc.as_ref().map_or(Measured::maybe(None, None, 0), measured),
                gc_per_class: &per_class(gc.as_ref(), classes),
                samples: forward.labels.len(),
            };
            let parts = jackknife::moments_without_groups(&forward.rows, &forward.labels, classes)
                .map_err(|error| error.of(part))?;
            let parts: Option<Vec<[f64; 3]>> = parts.iter().map(variances).collect();
            Some(factors.decomposition(parts.and_then(|parts| jackknife::standard_errors(&parts))))
        } else {
            None
        };
        let of_head = self.head_results(part, &forward, classes)?;
        Ok(Part {
            samples: forward.labels.len(),
            classes,
            gc,
            moments: Some(moments),
            collapse,
            undefined,
            without_head,
            decomposition,
            loss: of_head.loss,
            accuracy: of_head.accuracy,
            features: Some(Features { rows: forward.rows, labels: forward.labels }),
        })
    }

    /// Every measure of collapse; those that need GC get the measured one where it is usable.
    fn report(
        &self,
        forward: &Forward,
        classes: usize,
        head: Option<&Head>,
        gc: Option<&Estimate>,
    ) -> collapse::Result<CollapseReport> {
        let plain = self.options.report.clone().with_class_count(classes);
        let per_class = gc.and_then(|gc| complete_per_class(gc, &forward.labels, classes));
        let of_gc = gc.and_then(|gc| gc.standard_error.total);
        let unmeasured = gc.is_some() && per_class.is_none();
        let with_gc =
            plain.clone().with_gc(gc.map(|gc| gc.value)).with_gc_std_error(of_gc).with_gc_per_class(per_class);
        let report = |options| collapse::report(&forward.rows, &forward.labels, head, options);
        let measured = report(&with_gc)
            .or_else(|reason| if gc.is_some() { report(&plain).map_err(|_| reason) } else { Err(reason) });
        let mut measured = measured?;
        if unmeasured {
            let reason = "geometric complexity was measured on no sample of some class; measure it on more samples";
            measured.undefined.extend(OF_CLASSES.map(|measure| Undefined::new(measure, reason)));
        }
        Ok(if of_gc.is_some() { measured } else { without_errors_of_complexity(measured) })
    }
}

/// The measures of a report that need the geometric complexity of every class.
const OF_CLASSES: [&str; 3] =
    ["pairwise_geometric_collapse", "pairwise_geometric_collapse_unbiased", "poincare_constant"];

/// The report without the standard errors that depend on that of GC, which is not known.
fn without_errors_of_complexity(mut report: CollapseReport) -> CollapseReport {
    let forms = &mut report.geometric;
    for error in [
        &mut forms.mixture_std_error,
        &mut forms.pairwise_std_error,
        &mut forms.mixture_unbiased_std_error,
        &mut forms.pairwise_unbiased_std_error,
    ] {
        *error = None;
    }
    report
}

/// The moments of features.
pub(super) fn moments(rows: &Tensor, labels: &[u32], classes: usize) -> collapse::Result<ClassMoments> {
    let width = rows.dims().get(1).copied().unwrap_or(0);
    let mut moments = ClassMoments::new(classes, width, Scatter::Trace);
    moments.update(rows, labels)?;
    Ok(moments)
}

/// GC of each class; none where no image of a labelled class was measured. The value of a class without images is never read.
fn complete_per_class(gc: &Estimate, labels: &[u32], classes: usize) -> Option<Vec<f64>> {
    let mut present = vec![false; classes];
    labels.iter().for_each(|label| present.get_mut(*label as usize).into_iter().for_each(|slot| *slot = true));
    let values = per_class(Some(gc), classes);
    let of_class = |(value, present): (f64, bool)| match present {
        true => Some(value).filter(|value| !value.is_nan()),
        false => Some(0.0),
    };
    values.into_iter().zip(present).map(of_class).collect()
}

/// The reason why a head cannot be compared with the class means of the data, if it cannot.
///
/// The head of a network for ImageNet has other classes than a folder of somebody's images, so that NC3 would compare each
/// row with the mean of another class.
fn other_head(head: &Head, known: Option<usize>, labels: &[u32], features: Option<usize>) -> Option<String> {
    let rows = head.class_count();
    let largest = labels.iter().max().copied().unwrap_or(0);
    match known {
        _ if features != Some(head.feature_count()) => {
            let features = features.unwrap_or(0);
            Some(format!("the head takes {} features, there are {features}", head.feature_count()))
        }
        Some(count) if count != rows => Some(format!("the head has {rows} classes, the data have {count}")),
        _ if largest as usize >= rows => Some(format!("the head has {rows} classes, a label is {largest}")),
        _ => None,
    }
}
