//! Standard errors by the jackknife: the images of every class are divided into groups, and each group is left out in turn.
//!
//! **Source** B. Efron, *The Jackknife, the Bootstrap and Other Resampling Plans*, 1982, chapter 3: with g groups and the
//! values θ_1, …, θ_g without one group each, the squared standard error is (g − 1)/g · Σ (θ_i − θ̄)².

use candle_core::{DType, Tensor};
use collapse::{ClassMoments, Element, Scatter};

use crate::{Error, PartOf};

/// Number of groups; fewer if a class has fewer images.
const GROUPS: usize = 8;

/// An error of tensors or of moments, before the part is known.
#[derive(Debug)]
pub(super) enum Failure {
    Tensor(candle_core::Error),
    Moments(collapse::Error),
}

impl Failure {
    pub(super) fn of(self, part: PartOf) -> Error {
        match self {
            Self::Tensor(error) => Error::Tensor(error),
            Self::Moments(source) => Error::Collapse { part: part.name(), source },
        }
    }
}

impl From<candle_core::Error> for Failure {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor(error)
    }
}

impl From<collapse::Error> for Failure {
    fn from(error: collapse::Error) -> Self {
        Self::Moments(error)
    }
}

/// The group of each row: rows of the same class are assigned to the groups in turn. Fewer groups if a class has fewer rows.
pub(super) fn groups(labels: &[u32]) -> Vec<usize> {
    let mut counts: std::collections::BTreeMap<u32, usize> = std::collections::BTreeMap::new();
    let places: Vec<usize> = labels
        .iter()
        .map(|label| {
            let count = counts.entry(*label).or_default();
            *count += 1;
            *count - 1
        })
        .collect();
    let number = counts.values().copied().min().unwrap_or(0).clamp(1, GROUPS);
    places.into_iter().map(|place| place % number).collect()
}

/// The moments of all rows without one group, for every group.
pub(super) fn moments_without_groups(
    rows: &Tensor,
    labels: &[u32],
    classes: usize,
) -> Result<Vec<ClassMoments>, Failure> {
    let width = rows.dim(1)?;
    match rows.dtype() {
        DType::F64 => without_groups::<f64>(&rows.flatten_all()?.to_vec1()?, width, labels, classes),
        _ => without_groups::<f32>(&rows.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?, width, labels, classes),
    }
}

fn without_groups<E: Element>(
    values: &[E],
    width: usize,
    labels: &[u32],
    classes: usize,
) -> Result<Vec<ClassMoments>, Failure> {
    let groups = groups(labels);
    let number = groups.iter().max().map_or(0, |last| last + 1);
    let empty = || ClassMoments::new(classes, width, Scatter::Trace);
    let mut parts = Vec::with_capacity(number);
    for group in 0..number {
        let own: Vec<usize> = (0..labels.len()).filter(|row| groups[*row] == group).collect();
        let features: Vec<E> = own.iter().flat_map(|row| &values[row * width..][..width]).copied().collect();
        let labels: Vec<u32> = own.iter().map(|row| labels[*row]).collect();
        let mut part = empty();
        part.update_slice(&features, &labels)?;
        parts.push(part);
    }
    let without = |left_out: usize| -> Result<ClassMoments, Failure> {
        let mut rest = empty();
        for (group, part) in parts.iter().enumerate() {
            if group != left_out {
                rest.merge(part)?;
            }
        }
        Ok(rest)
    };
    (0..number).map(without).collect()
}

/// The standard errors of several statistics, from their values without one group each; none for fewer than two groups.
pub(super) fn standard_errors<const N: usize>(values: &[[f64; N]]) -> Option<[f64; N]> {
    if values.len() < 2 {
        return None;
    }
    let count = values.len() as f64;
    Some(std::array::from_fn(|index| {
        let mean = values.iter().map(|value| value[index]).sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value[index] - mean).powi(2)).sum();
        ((count - 1.0) / count * squares).sqrt()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_error_of_a_mean_is_that_of_the_textbook() {
        // With groups of one value, the jackknife of a mean is s/√n.
        let values = [1.0, 2.0, 4.0, 5.0, 9.0];
        let total: f64 = values.iter().sum();
        let without: Vec<[f64; 1]> = values.iter().map(|value| [(total - value) / 4.0]).collect();
        let variance = values.iter().map(|value| (value - total / 5.0).powi(2)).sum::<f64>() / 4.0;
        assert!((standard_errors(&without).unwrap()[0] - (variance / 5.0).sqrt()).abs() < 1e-12);
        assert_eq!(standard_errors(&without[..1]), None);
    }

    #[test]
    fn every_row_is_in_one_group_and_left_out_once() {
        let labels = [0, 1, 0, 1, 0, 1, 0];
        assert_eq!(groups(&labels), [0, 0, 1, 1, 2, 2, 0]);
        let rows: Vec<f32> = (0..7).map(|row| row as f32).collect();
        let rows = Tensor::from_vec(rows, (7, 1), &candle_core::Device::Cpu).unwrap();
        let without = moments_without_groups(&rows, &labels, 2).unwrap();
        assert_eq!(without.len(), 3);
        assert_eq!(without.iter().map(ClassMoments::sample_count).sum::<u64>(), 14);
        // Without the first group: rows 2 and 4 of class 0, rows 3 and 5 of class 1.
        assert_eq!((without[0].mean(0), without[0].mean(1)), (Some(&[3.0][..]), Some(&[4.0][..])));
    }
}
