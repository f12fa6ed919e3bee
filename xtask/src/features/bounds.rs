//! Both sides of the theory's inequalities, on features of a file.

use std::collections::BTreeMap;

use anyhow::Result;
use candle_core::{DType, Tensor};
use collapse::{
    CdnvConvention, ClassMoments, CollapseChain, CollapseReport, NearestMeanBound, Scatter, Symmetry, collapse_chain,
    effective_poincare_constant, nearest_mean_bound, nearest_mean_bound_by_complexity,
};
use serde::Serialize;

use crate::output::Row;

/// The inequalities of these features.
#[derive(Serialize)]
pub(super) struct Bounds {
    /// NC ≤ c·pairwise ≤ c·mixture, with the smallest c of these classes; needs GC.
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<CollapseChain>,
    /// Why there is no chain although there is GC.
    #[serde(skip_serializing_if = "Option::is_none")]
    chain_undefined: Option<String>,
    /// On the error of the nearest-mean rule, for any distribution.
    nearest_mean: NearestMeanBound,
    /// The same for classes that are spherically symmetric.
    nearest_mean_spherical: NearestMeanBound,
    /// The first bound with NC replaced by c times the geometric collapse.
    #[serde(skip_serializing_if = "Option::is_none")]
    nearest_mean_by_complexity: Option<NearestMeanBound>,
}

impl Bounds {
    /// Computes the bounds for class means of `shots` samples each.
    ///
    /// # Errors
    /// Fewer than two classes, and features that are not finite.
    pub(super) fn new(
        features: &Tensor,
        labels: &[u32],
        gc: Option<&[f64]>,
        shots: usize,
        report: &CollapseReport,
    ) -> Result<Self> {
        let (classes, width) = (report.counts.classes, report.counts.features);
        let labels = dense(labels);
        let moments = moments(features, &labels)?;
        // The bounds are those of the plug-in in its halved form.
        let nc = collapse::cdnv(&moments, CdnvConvention::default())?.mean;
        let bound = |symmetry| nearest_mean_bound(nc, classes, shots, symmetry);
        let mut bounds = Self {
            chain: None,
            chain_undefined: None,
            nearest_mean: bound(Symmetry::General)?,
            nearest_mean_spherical: bound(Symmetry::Spherical(width))?,
            nearest_mean_by_complexity: None,
        };
        if let Some(gc) = gc {
            let gc = class_means(&moments, &labels, gc);
            let chain = effective_poincare_constant(&moments, &gc)
                .and_then(|constant| collapse_chain(&moments, &gc, constant.max));
            match chain {
                Ok(chain) => {
                    let collapse = chain.mixture / chain.constant;
                    bounds.chain = Some(chain);
                    bounds.nearest_mean_by_complexity = (chain.constant > 0.0)
                        .then(|| {
                            nearest_mean_bound_by_complexity(
                                chain.constant,
                                collapse,
                                classes,
                                shots,
                                Symmetry::General,
                            )
                        })
                        .transpose()?;
                }
                Err(reason) => bounds.chain_undefined = Some(reason.to_string()),
            }
        }
        Ok(bounds)
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut add = |name: &str, value: f64, meaning: &'static str| {
            rows.push(Row::measured(name, value, None, meaning));
        };
        if let Some(chain) = &self.chain {
            add("nc", chain.nc, "at most the next");
            add("c_pairwise", chain.pairwise, "c times the pairwise geometric collapse; at most the next");
            add("c_mixture", chain.mixture, "c times the geometric collapse with the mean GC of the classes");
            add("c", chain.constant, "smallest Poincaré constant that these classes allow");
        }
        let error = |bound: &NearestMeanBound, meaning: &'static str| {
            if bound.bound > 1.0 { "vacuous: above 1" } else { meaning }
        };
        let general = error(&self.nearest_mean, "on the error of the nearest-mean rule: 16 (K−1)(1 + 1/m) NC");
        add("nearest_mean", self.nearest_mean.bound, general);
        let spherical = error(&self.nearest_mean_spherical, "for spherically symmetric classes");
        add("nearest_mean_spherical", self.nearest_mean_spherical.bound, spherical);
        if let Some(bound) = &self.nearest_mean_by_complexity {
            add("nearest_mean_by_complexity", bound.bound, error(bound, "with c times the geometric collapse for NC"));
        }
        if let Some(reason) = &self.chain_undefined {
            rows.push(Row::text("chain", format!("undefined: {reason}")));
        }
        rows
    }
}

/// The mean of GC over the samples of each class.
fn class_means(moments: &ClassMoments, labels: &[u32], gc: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; moments.class_count()];
    labels.iter().zip(gc).for_each(|(class, gc)| sums[*class as usize] += gc);
    sums.iter().zip(moments.counts()).map(|(sum, count)| sum / *count as f64).collect()
}

fn moments(features: &Tensor, labels: &[u32]) -> Result<ClassMoments> {
    let classes = labels.iter().max().map_or(0, |largest| *largest as usize + 1);
    let mut moments = ClassMoments::new(classes, features.dim(1)?, Scatter::Trace);
    let values: Vec<f64> = features.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
    moments.update_slice(&values, labels)?;
    Ok(moments)
}

/// The labels numbered without gaps: a number for each class would be memory for classes that do not occur.
fn dense(labels: &[u32]) -> Vec<u32> {
    let numbers: BTreeMap<u32, u32> = labels.iter().map(|label| (*label, 0)).collect();
    let numbers: BTreeMap<u32, u32> = numbers.into_keys().zip(0..).collect();
    labels.iter().map(|label| numbers[label]).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use collapse::ReportOptions;

    use super::*;

    fn bounds(labels: &[u32; 4], gc: Option<[f64; 4]>) -> Bounds {
        let features = Tensor::new(&[[-1f64], [1.0], [8.0], [12.0]], &Device::Cpu).unwrap();
        let report = collapse::report(&features, labels, None, &ReportOptions::default()).unwrap();
        Bounds::new(&features, labels, gc.as_ref().map(|gc| &gc[..]), 4, &report).unwrap()
    }

    #[test]
    fn the_chain_and_the_bounds_by_hand() {
        // Variances 1 and 4 over GC 2 and 1: c = 4. 1/d² = 1/100. NC = 5/200, 4·3/200, 4·(2·1.5/2)/100.
        for labels in [[0, 0, 1, 1], [7, 7, 4_000_000_000, 4_000_000_000]] {
            let found = bounds(&labels, Some([1.0, 3.0, 1.0, 1.0]));
            let chain = found.chain.unwrap();
            assert!((chain.nc - 0.025).abs() < 1e-15 && (chain.pairwise - 0.06).abs() < 1e-15, "{chain:?}");
            assert!((chain.mixture - 0.06).abs() < 1e-15 && (chain.constant - 4.0).abs() < 1e-15, "{chain:?}");
            // 16 (2 − 1)(1 + 1/4) NC, in one dimension the same for symmetric classes.
            assert!((found.nearest_mean.bound - 0.5).abs() < 1e-14);
            assert_eq!(found.nearest_mean.bound, found.nearest_mean_spherical.bound);
            assert!((found.nearest_mean_by_complexity.unwrap().bound - 1.2).abs() < 1e-14);
            assert_eq!(found.rows().len(), 7);
        }
    }

    #[test]
    fn without_gc_there_is_no_chain_and_without_a_constant_its_reason() {
        let found = bounds(&[0, 0, 1, 1], None);
        assert!(found.chain.is_none() && found.chain_undefined.is_none() && found.rows().len() == 2);
        let found = bounds(&[0, 0, 1, 1], Some([0.0, 0.0, 1.0, 1.0]));
        assert!(found.chain.is_none() && found.chain_undefined.unwrap().contains("geometric complexity"));
    }
}
