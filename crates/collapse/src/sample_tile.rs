//! The second pass over a tile of a few hundred rows, from one product of deviations with means, head and whitening.
//!
//! With d = x − μ_i of a sample of class i and t_j = d·(μ_i − μ_j), everything is a function of t, ‖d‖² and the
//! distances of the means: ‖x − μ_j‖² = ‖d‖² + 2 t_j + d_ij², and the head's scores are W d + (W μ_i + b).

use std::ops::Range;

use crate::batch::deviations;
use crate::class_order::ClassOrder;
use crate::features::{Element, Labelled};
use crate::head::Head;
use crate::kernel::{along_axes, along_axis, near_highest, scaled_sum, squared_distance, squared_length};
use crate::pairs::Pairs;
use crate::products::{Panels, add_products, add_row_products};
use crate::unbiased::{self, VarianceEstimate};

/// A quantity whose mean over pairs has a standard error, as an index of the influences of a sample.
#[derive(Clone, Copy)]
pub(crate) enum Influence {
    /// The CDNV (halved form, divisor n).
    Cdnv,
    /// 1/d².
    Inverse,
    /// (GC_i + GC_j)/(2 d²).
    Complexity,
    /// The CDNV from unbiased variances and squared distances.
    UnbiasedCdnv,
    /// 1/D², D² the unbiased squared distance.
    UnbiasedInverse,
    /// (GC_i + GC_j)/(2 D²).
    UnbiasedComplexity,
}

impl Influence {
    const COUNT: usize = 6;
}

/// Sums over the samples of one class.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClassSums {
    pub(crate) samples: u64,
    /// Samples whose nearest mean is their own class's.
    pub(crate) nearest: u64,
    /// Samples whose highest score is their own class's.
    pub(crate) scored: u64,
    /// Samples on which nearest mean and highest score agree.
    pub(crate) agree: u64,
    /// Σ_x Σ_j t_j²/d_ij⁴ over pairs of classes that both vary.
    pub(crate) directional: f64,
    /// Σ_x ‖R d‖², R the whitening.
    pub(crate) whitened: f64,
    /// Σ_x of the squared influence of x on the sum over pairs of each [`Influence`].
    pub(crate) influence: [f64; Influence::COUNT],
}

impl ClassSums {
    pub(crate) fn join(&mut self, part: &Self) {
        self.samples += part.samples;
        self.nearest += part.nearest;
        self.scored += part.scored;
        self.agree += part.agree;
        self.directional += part.directional;
        self.whitened += part.whitened;
        self.influence.iter_mut().zip(part.influence).for_each(|(sum, part)| *sum += part);
    }
}

/// The inputs of the pass that are the same for all samples.
pub(crate) struct PassInputs<'a> {
    pub(crate) pairs: &'a Pairs,
    /// Raw means, row-major, in the order of the rows of `pairs`.
    pub(crate) means: &'a [f64],
    /// Variance of each row of `pairs`; `None` for a class of one sample.
    pub(crate) variances: &'a [Option<f64>],
    /// Samples of each row of `pairs` in the moments.
    pub(crate) counts: &'a [u64],
    /// Complexity of each row of `pairs`, if given.
    pub(crate) complexity: Option<&'a [f64]>,
    pub(crate) head: Option<&'a Head>,
    /// Rows of the whitening, row-major [rank, width]; empty without whitening.
    pub(crate) whitening: &'a [f64],
    /// For each row of `pairs` the factor of its samples' projections in their scatter; empty if that is not wanted.
    pub(crate) scales: &'a [f64],
    /// Longest centred mean, longest raw mean and longest weight row: scales of rounding errors.
    pub(crate) longest: [f64; 3],
}

/// The stacked matrix with which deviations are multiplied: centred means, weights, whitening.
pub(crate) struct Basis<T> {
    rows: Panels<T>,
}

impl<T: Element> Basis<T> {
    pub(crate) fn new(inputs: &PassInputs<'_>) -> Self {
        let width = inputs.pairs.width;
        let weight = inputs.head.map_or(&[][..], Head::weight);
        let mut stacked = inputs.pairs.centred.iter().chain(weight).chain(inputs.whitening);
        let numbers = inputs.pairs.centred.len() + weight.len() + inputs.whitening.len();
        let mut rows = Panels::with_capacity(numbers / width, width);
        loop {
            let panel: Vec<T> = stacked.by_ref().take(T::PANEL * width).map(|&value| T::narrow(value)).collect();
            if panel.is_empty() {
                return Self { rows };
            }
            rows.push_rows(&panel);
        }
    }
}

/// The rows of a batch in the order of their classes.
pub(crate) struct Rows<'a> {
    pub(crate) order: &'a ClassOrder,
    /// Slot in `order.classes` of every position of the order.
    pub(crate) slots: &'a [u32],
    /// Row of `pairs` of every slot.
    pub(crate) places: &'a [usize],
}

/// Classes whose terms are computed at once, by one product of that many means with all means and weights: two panels in f64.
const GROUP: usize = 48;

/// Stretches of the class order, tile by tile, with the memory that all tiles share.
pub(crate) struct Task<'a, E, T> {
    inputs: &'a PassInputs<'a>,
    basis: &'a Basis<T>,
    data: &'a Labelled<'a, E>,
    ordered: &'a Rows<'a>,
    deviations: Vec<T>,
    /// The deviations as the product reads them.
    packed: Panels<T>,
    projections: Vec<f64>,
    decisions: Vec<f64>,
    /// The scaled projections on the means of all rows so far, row-major; empty unless they are wanted.
    projected: Vec<T>,
    /// Terms of the next classes of the task, in descending order of their rows of `pairs`.
    terms: Vec<ClassTerms<'a>>,
}

impl<'a, E: Element, T: Element> Task<'a, E, T> {
    pub(crate) fn new(
        inputs: &'a PassInputs<'a>,
        basis: &'a Basis<T>,
        data: &'a Labelled<'a, E>,
        ordered: &'a Rows<'a>,
    ) -> Self {
        Self {
            inputs,
            basis,
            data,
            ordered,
            deviations: Vec::new(),
            packed: Panels::new(data.width),
            projections: Vec::new(),
            decisions: Vec::new(),
            projected: Vec::new(),
            terms: Vec::new(),
        }
    }

    /// The scaled projections on the means of the last stretch, in the order of the rows.
    pub(crate) fn take_projected(&mut self) -> Vec<T> {
        std::mem::take(&mut self.projected)
    }

    /// Sums over a stretch of the class order in tiles of `rows` rows: (row of `pairs`, sums) for each run of one class.
    ///
    /// The error is a class with a sample whose deviation is not finite.
    pub(crate) fn accumulate(&mut self, stretch: Range<usize>, rows: usize) -> Result<Vec<(usize, ClassSums)>, usize> {
        // Which classes share a product is decided anew, so that it does not depend on earlier stretches.
        self.terms.clear();
        if !self.inputs.scales.is_empty() {
            self.projected.reserve(stretch.len() * self.inputs.pairs.classes.len());
        }
        let mut sums = Vec::new();
        for start in stretch.clone().step_by(rows) {
            self.accumulate_tile(start..stretch.end.min(start + rows), stretch.end, &mut sums)?;
        }
        Ok(sums)
    }

    /// The row of `pairs` of a position of the order.
    fn row_of_pairs(&self, at: usize) -> usize {
        self.ordered.places[self.ordered.slots[at] as usize]
    }

    fn accumulate_tile(
        &mut self,
        tile: Range<usize>,
        end: usize,
        sums: &mut Vec<(usize, ClassSums)>,
    ) -> Result<(), usize> {
        let (width, count) = (self.data.width, self.basis.rows.vectors());
        let rows = &self.ordered.order.rows[tile.clone()];
        self.deviations.resize(rows.len() * width, T::narrow(0.0));
        self.projections.clear();
        self.projections.resize(rows.len() * count, 0.0);
        let mean = |slot: u32| &self.inputs.means[self.ordered.places[slot as usize] * width..][..width];
        deviations(self.data, rows, &self.ordered.slots[tile.clone()], mean, &mut self.deviations);
        self.packed.replace_by_rows(&self.deviations);
        add_products(&mut self.projections, &self.packed, &self.basis.rows);
        let mut start = tile.start;
        while start < tile.end {
            let row = self.row_of_pairs(start);
            let run = (start..tile.end).take_while(|&at| self.row_of_pairs(at) == row).count();
            self.require_terms(row, start, end);
            let mut class_sums = ClassSums::default();
            for at in start..start + run {
                let offset = at - tile.start;
                let sample = Sample {
                    row: self.data.row(self.ordered.order.rows[at] as usize),
                    deviation: &self.deviations[offset * width..(offset + 1) * width],
                    projections: &self.projections[offset * count..(offset + 1) * count],
                };
                let terms = &self.terms[self.terms.len() - 1];
                if let Some(scale) = self.inputs.scales.get(row) {
                    let means = &sample.projections[..self.inputs.pairs.classes.len()];
                    self.projected.extend(means.iter().map(|value| T::narrow(value * scale)));
                }
                if !terms.accumulate(&sample, &mut self.decisions, &mut class_sums) {
                    return Err(terms.class);
                }
            }
            sums.push((row, class_sums));
            start += run;
        }
        Ok(())
    }

    /// Makes the terms of a row of `pairs` the last of `terms`. Those of the following classes are computed with it.
    fn require_terms(&mut self, row: usize, start: usize, end: usize) {
        while self.terms.last().is_some_and(|terms| terms.at != row) {
            self.terms.pop();
        }
        if self.terms.is_empty() {
            let mut rows: Vec<usize> = Vec::new();
            for at in start..end {
                let next = self.row_of_pairs(at);
                if rows.last() != Some(&next) {
                    if rows.len() == GROUP {
                        break;
                    }
                    rows.push(next);
                }
            }
            self.terms = ClassTerms::group(self.inputs, &rows);
            self.terms.reverse();
        }
    }
}

struct Sample<'a, E, T> {
    row: &'a [E],
    deviation: &'a [T],
    projections: &'a [f64],
}

/// Terms that are the same for all samples of one class.
struct ClassTerms<'a> {
    inputs: &'a PassInputs<'a>,
    class: usize,
    at: usize,
    /// −d_ij² to every row of `pairs`; zero for the class itself and for coincident means.
    away: Vec<f64>,
    /// 1/d_ij⁴ where both classes vary, else 0.
    quartic: Vec<f64>,
    /// (Var_i + Var_j)/d_ij⁴ where both classes vary, else 0.
    spread: Vec<f64>,
    /// 1/d_ij⁴ and (GC_i + GC_j)/d_ij⁴ wherever the means differ, else 0.
    inverse: Vec<f64>,
    complex: Vec<f64>,
    unbiased_cdnv: UnbiasedTerms,
    unbiased_inverse: UnbiasedTerms,
    unbiased_complex: Option<UnbiasedTerms>,
    variance: f64,
    /// Σ_j 1/(2 d_ij²) over classes that vary.
    half_inverse: f64,
    /// W μ_i + b.
    offsets: Vec<f64>,
}

impl<'a> ClassTerms<'a> {
    /// Terms of some rows of `pairs`, by one product with all means and one with all weights.
    fn group(inputs: &'a PassInputs<'a>, rows: &[usize]) -> Vec<Self> {
        let (count, width) = (inputs.pairs.classes.len(), inputs.pairs.width);
        let squared = inputs.pairs.squared_from(rows);
        let mut offsets = Vec::new();
        if let Some(head) = inputs.head {
            let means: Vec<f64> = rows.iter().flat_map(|row| &inputs.means[row * width..][..width]).copied().collect();
            offsets = (0..rows.len() * head.class_count()).map(|at| head.offset(at % head.class_count())).collect();
            add_row_products(&mut offsets, &means, head.weight(), width);
        }
        let scores = offsets.len() / rows.len().max(1);
        let each = |(index, &row): (usize, &usize)| {
            let squared = &squared[index * count..(index + 1) * count];
            Self::new(inputs, row, squared, offsets[index * scores..(index + 1) * scores].to_vec())
        };
        rows.iter().enumerate().map(each).collect()
    }

    fn new(inputs: &'a PassInputs<'a>, at: usize, squared: &[f64], offsets: Vec<f64>) -> Self {
        let count = squared.len();
        let varies = |row: usize| inputs.variances[at].zip(inputs.variances[row]);
        let apart = |row: usize| row != at && squared[row] > 0.0;
        let over = |row: usize, numerator: f64| numerator / (squared[row] * squared[row]);
        let both = |row: usize| varies(row).filter(|_| apart(row));
        let quartic: Vec<f64> = (0..count).map(|row| both(row).map_or(0.0, |_| over(row, 1.0))).collect();
        let spread = (0..count).map(|row| both(row).map_or(0.0, |(here, there)| over(row, here + there))).collect();
        let inverse = (0..count).map(|row| if apart(row) { over(row, 1.0) } else { 0.0 }).collect();
        let complex = |gc: &[f64], row: usize| if apart(row) { over(row, gc[at] + gc[row]) } else { 0.0 };
        let complex = inputs.complexity.map(|gc| (0..count).map(|row| complex(gc, row)).collect()).unwrap_or_default();
        let half_inverse = (0..count).filter_map(|row| both(row).map(|_| 0.5 / squared[row])).sum();
        let variance_of = |row: usize| VarianceEstimate::new(inputs.variances[row], inputs.counts[row]).variance;
        let unbiased = |derivative: f64, numerator: &dyn Fn(usize) -> f64| {
            UnbiasedTerms::new(inputs, at, squared, derivative, numerator)
        };
        let unbiased_cdnv = unbiased(1.0, &|row| variance_of(at) + variance_of(row));
        let unbiased_inverse = unbiased(0.0, &|_| 2.0);
        let unbiased_complex = inputs.complexity.map(|gc| unbiased(0.0, &|row| gc[at] + gc[row]));
        let away = squared.iter().map(|squared| -squared).collect();
        let variance = inputs.variances[at].unwrap_or(0.0);
        let class = inputs.pairs.classes[at];
        Self {
            inputs,
            class,
            at,
            away,
            quartic,
            spread,
            inverse,
            complex,
            unbiased_cdnv,
            unbiased_inverse,
            unbiased_complex,
            variance,
            half_inverse,
            offsets,
        }
    }

    /// Adds a sample to the sums, and returns true, if its deviation is finite.
    fn accumulate<E: Element, T: Element>(
        &self,
        sample: &Sample<'_, E, T>,
        decisions: &mut Vec<f64>,
        sums: &mut ClassSums,
    ) -> bool {
        let count = self.away.len();
        let (projections, rest) = sample.projections.split_at(count);
        let (scores, whitened) = rest.split_at(self.offsets.len());
        let own = projections[self.at];
        let square = squared_length(sample.deviation);
        if !square.is_finite() {
            return false;
        }
        let factors: [&[f64]; 5] =
            [&self.quartic, &self.spread, &self.inverse, &self.unbiased_cdnv.of_means, &self.unbiased_inverse.of_means];
        let [directional, spread, inverse, unbiased_cdnv, unbiased_inverse] = along_axes(own, projections, factors);
        let complex: f64 = self.complex.iter().zip(projections).map(|(factor, other)| factor * (own - other)).sum();
        let excess = square - self.variance;
        let influence = [
            self.half_inverse * excess - spread,
            -2.0 * inverse,
            -complex,
            self.unbiased_cdnv.of_variance * excess - unbiased_cdnv,
            self.unbiased_inverse.of_variance * excess - unbiased_inverse,
            self.unbiased_complex
                .as_ref()
                .map_or(0.0, |terms| terms.of_variance * excess - along_axis(own, projections, &terms.of_means)),
        ];
        sums.samples += 1;
        sums.directional += directional;
        sums.whitened += whitened.iter().map(|value| value * value).sum::<f64>();
        sums.influence.iter_mut().zip(influence).for_each(|(sum, value)| *sum += value * value);
        let nearest = self.nearest(sample, projections, square.sqrt(), decisions);
        sums.nearest += u64::from(nearest == self.class);
        if let Some(head) = self.inputs.head {
            let best = self.highest(head, sample, scores, square.sqrt(), decisions);
            sums.scored += u64::from(best == self.class);
            sums.agree += u64::from(best == nearest);
        }
        true
    }

    /// Bound on the rounding error of one projection of a deviation of unit length on a vector of unit length.
    fn rounding<T: Element>(&self) -> f64 {
        (self.inputs.pairs.width.min(512) + 4) as f64 * T::EPSILON
    }

    /// Bound on the rounding error of a product of unit vectors that is summed in f64.
    fn fine(&self) -> f64 {
        (self.inputs.pairs.width + 8) as f64 * f64::EPSILON
    }

    /// The class of the nearest mean. Near ties of the fast distances are computed again in f64; an exact tie goes to the
    /// lowest class, as in argmin.
    fn nearest<E: Element, T: Element>(
        &self,
        sample: &Sample<'_, E, T>,
        projections: &[f64],
        length: f64,
        decisions: &mut Vec<f64>,
    ) -> usize {
        let [centred, raw, _] = self.inputs.longest;
        let bound =
            4.0 * self.rounding::<T>() * length * centred + 4.0 * self.fine() * (centred + length) * (raw + length);
        let width = self.inputs.pairs.width;
        let exact = |row: usize| -squared_distance(sample.row, &self.inputs.means[row * width..(row + 1) * width]);
        // −‖x − μ_j‖² up to a constant that is the same for all j: 2 d·m_j − d_ij².
        decisions.resize(projections.len(), 0.0);
        scaled_sum(decisions, 2.0, projections, &self.away);
        self.inputs.pairs.classes[highest_of(decisions, exact, bound)]
    }

    /// The class of the highest score. Near ties of the fast scores are computed again in f64; an exact tie goes to the lowest
    /// class.
    fn highest<E: Element, T: Element>(
        &self,
        head: &Head,
        sample: &Sample<'_, E, T>,
        scores: &[f64],
        length: f64,
        decisions: &mut Vec<f64>,
    ) -> usize {
        let [_, raw, weight] = self.inputs.longest;
        let bound = self.rounding::<T>() * length * weight + 2.0 * self.fine() * weight * (raw + length);
        let exact = |class: usize| {
            let product: f64 =
                head.row(class).iter().zip(sample.row).map(|(weight, &value)| weight * value.wide()).sum();
            product + head.offset(class)
        };
        decisions.resize(scores.len(), 0.0);
        scaled_sum(decisions, 1.0, scores, &self.offsets);
        highest_of(decisions, exact, bound)
    }
}

/// Derivatives of the sum over j of N_ij/(2 D_ij²) for the class i of one row, D_ij² = d_ij² − s_i²/n_i − s_j²/n_j.
struct UnbiasedTerms {
    /// N_ij/D_ij⁴ for every j, the factor of d·(μ_i − μ_j) with the sign reversed; 0 where the pair has no value.
    of_means: Vec<f64>,
    /// Factor of ‖d‖² − Var_i.
    of_variance: f64,
}

impl UnbiasedTerms {
    /// The terms for `numerator(j)` = N_ij, of which `derivative` is ∂N_ij/∂s_i².
    ///
    /// ∂/∂s_i² of the quotient is (∂N_ij/∂s_i²)/(2 D_ij²) + N_ij/(2 n_i D_ij⁴), because D_ij² contains −s_i²/n_i; s_i² is
    /// n/(n − 1) times Var_i.
    fn new(
        inputs: &PassInputs<'_>,
        at: usize,
        squared: &[f64],
        derivative: f64,
        numerator: &dyn Fn(usize) -> f64,
    ) -> Self {
        let estimate = |row: usize| VarianceEstimate::new(inputs.variances[row], inputs.counts[row]);
        let own = estimate(at);
        let mut of_variance = 0.0;
        let of_mean = |row: usize| {
            let varies = inputs.variances[at].is_some() && inputs.variances[row].is_some();
            let distance = unbiased::squared_distance(squared[row], own, estimate(row));
            if row == at || !varies || squared[row] == 0.0 || distance <= 0.0 {
                return 0.0;
            }
            let factor = numerator(row) / (distance * distance);
            of_variance += (derivative / distance + factor / own.samples) / 2.0;
            factor
        };
        let of_means = (0..squared.len()).map(of_mean).collect();
        // Without a second sample there is no variance, and the sum above is 0.
        Self { of_means, of_variance: of_variance * own.samples / (own.samples - 1.0).max(1.0) }
    }
}

/// The first index of the highest `exact` value, given that `fast` differs from `exact` by a common constant and an error
/// of at most `bound`. `exact` is computed only where `fast` leaves the decision open.
fn highest_of(fast: &[f64], exact: impl Fn(usize) -> f64, bound: f64) -> usize {
    let margin = 2.0 * bound;
    let (top, near) = near_highest(fast, margin);
    if near == 1 {
        return fast.iter().position(|&value| value == top).unwrap_or(0);
    }
    let mut found = (0, f64::NEG_INFINITY);
    for index in (0..fast.len()).filter(|&index| fast[index] >= top - margin) {
        let value = exact(index);
        if value > found.1 {
            found = (index, value);
        }
    }
    found.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_tie_is_decided_by_the_exact_value_and_a_tie_by_the_lowest_index() {
        let (fast, exact) = ([1.0, 1.05, 0.2], [1.02, 1.01, 0.25]);
        assert_eq!(highest_of(&fast, |i| exact[i], 0.05), 0);
        assert_eq!(highest_of(&fast, |i| exact[i], 0.01), 1);
        assert_eq!(highest_of(&[0.0; 3], |i| [1.0, 2.0, 2.0][i], 1e-9), 1);
    }
}
