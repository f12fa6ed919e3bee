//! What the second pass computes for a few hundred rows at a time, from one product of deviations with means and head.
//!
//! With d = x − μ_i of a sample of class i and t_j = d·(μ_i − μ_j), everything is a function of t, ‖d‖² and the
//! distances of the means: ‖x − μ_j‖² = ‖d‖² + 2 t_j + d_ij², and the head's scores are W d + (W μ_i + b).

use std::ops::Range;

use faer::{MatMut, MatRef};

use crate::batch::{deviate, squared_distance};
use crate::class_order::ClassOrder;
use crate::features::{Element, Labelled};
use crate::head::Head;
use crate::pairs::Pairs;

/// Sums over the samples of one class that passed by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
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
    /// Σ_x of the squared influence on Σ of CDNVs, of inverse squared distances, of complexities over distances.
    pub(crate) influence: [f64; 3],
}

impl Tally {
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

/// What does not change while samples pass by.
pub(crate) struct Frame<'a> {
    pub(crate) pairs: &'a Pairs,
    /// Raw means, row-major, in the order of the rows of `pairs`.
    pub(crate) means: &'a [f64],
    /// Row of `pairs` of every class.
    pub(crate) position: &'a [Option<usize>],
    /// Variance of each row of `pairs`; `None` for a class of one sample.
    pub(crate) variances: &'a [Option<f64>],
    /// Complexity of each row of `pairs`, or nothing.
    pub(crate) complexity: Option<&'a [f64]>,
    pub(crate) head: Option<&'a Head>,
    /// Rows of the whitening, row-major [rank, width]; empty when none is asked for.
    pub(crate) whitening: &'a [f64],
    /// Longest centred mean, longest raw mean and longest weight row: scales of rounding errors.
    pub(crate) longest: [f64; 3],
}

/// The stacked matrix with which deviations are multiplied: centred means, weights, whitening.
pub(crate) struct Basis<T> {
    rows: Vec<T>,
    count: usize,
}

impl<T: Element> Basis<T> {
    pub(crate) fn new(frame: &Frame<'_>) -> Self {
        let width = frame.pairs.width;
        let weight = frame.head.map_or(&[][..], Head::weight);
        let stacked = frame.pairs.centred.iter().chain(weight).chain(frame.whitening);
        let rows: Vec<T> = stacked.map(|&value| T::narrow(value)).collect();
        Self { count: rows.len() / width, rows }
    }
}

/// Memory that one task reuses from tile to tile.
pub(crate) struct Scratch<T> {
    deviations: Vec<T>,
    projections: Vec<f64>,
}

impl<T: Element> Scratch<T> {
    pub(crate) fn new() -> Self {
        Self { deviations: Vec::new(), projections: Vec::new() }
    }
}

/// Tallies a stretch of the class order; returns (class, tally) for each run of one class.
pub(crate) fn tally_tile<E: Element>(
    frame: &Frame<'_>,
    basis: &Basis<E>,
    data: &Labelled<'_, E>,
    order: &ClassOrder,
    stretch: Range<usize>,
    scratch: &mut Scratch<E>,
) -> Vec<(usize, Tally)> {
    let width = data.width;
    let rows = &order.rows[stretch];
    scratch.deviations.resize(rows.len() * width, E::narrow(0.0));
    scratch.projections.resize(rows.len() * basis.count, 0.0);
    scratch.projections.fill(0.0);
    let class_of = |row: u32| data.labels[row as usize] as usize;
    for (deviation, &row) in scratch.deviations.chunks_exact_mut(width).zip(rows) {
        if let Some(at) = frame.position[class_of(row)] {
            deviate(data.row(row as usize), &frame.means[at * width..(at + 1) * width], deviation);
        }
    }
    E::add_product(
        MatMut::from_row_major_slice_mut(&mut scratch.projections, rows.len(), basis.count),
        MatRef::from_row_major_slice(&scratch.deviations, rows.len(), width),
        MatRef::from_row_major_slice(&basis.rows, basis.count, width).transpose(),
    );
    let mut tallies = Vec::new();
    let mut start = 0;
    for run in rows.chunk_by(|&left, &right| class_of(left) == class_of(right)) {
        let class = class_of(run[0]);
        if let Some(at) = frame.position[class] {
            let context = Context::new(frame, at);
            let mut tally = Tally::default();
            for (offset, &row) in run.iter().enumerate() {
                let at = start + offset;
                let sample = Sample {
                    row: data.row(row as usize),
                    deviation: &scratch.deviations[at * width..(at + 1) * width],
                    projections: &scratch.projections[at * basis.count..(at + 1) * basis.count],
                };
                context.tally(&sample, &mut tally);
            }
            tallies.push((class, tally));
        }
        start += run.len();
    }
    tallies
}

struct Sample<'a, E> {
    row: &'a [E],
    deviation: &'a [E],
    projections: &'a [f64],
}

/// What all samples of one class share.
struct Context<'a> {
    frame: &'a Frame<'a>,
    class: usize,
    at: usize,
    /// d_ij² to every row of `pairs`, zero to itself and to coincident means.
    squared: Vec<f64>,
    /// 1/d_ij⁴ where both classes vary, else 0.
    quartic: Vec<f64>,
    /// (Var_i + Var_j)/d_ij⁴, likewise.
    spread: Vec<f64>,
    /// 1/d_ij⁴ and (GC_i + GC_j)/d_ij⁴ wherever the means differ, else 0.
    inverse: Vec<f64>,
    complex: Vec<f64>,
    variance: f64,
    /// Σ_j 1/(2 d_ij²) over classes that vary.
    half_inverse: f64,
    /// W μ_i + b.
    offsets: Vec<f64>,
}

impl<'a> Context<'a> {
    fn new(frame: &'a Frame<'a>, at: usize) -> Self {
        let count = frame.pairs.classes.len();
        let squared = frame.pairs.squared_from(at);
        let varies = |row: usize| frame.variances[at].zip(frame.variances[row]);
        let apart = |row: usize| row != at && squared[row] > 0.0;
        let over = |row: usize, numerator: f64| numerator / (squared[row] * squared[row]);
        let both = |row: usize| varies(row).filter(|_| apart(row));
        let quartic: Vec<f64> = (0..count).map(|row| both(row).map_or(0.0, |_| over(row, 1.0))).collect();
        let spread = (0..count).map(|row| both(row).map_or(0.0, |(here, there)| over(row, here + there))).collect();
        let inverse = (0..count).map(|row| if apart(row) { over(row, 1.0) } else { 0.0 }).collect();
        let complex = |gc: &[f64], row: usize| if apart(row) { over(row, gc[at] + gc[row]) } else { 0.0 };
        let complex = frame.complexity.map(|gc| (0..count).map(|row| complex(gc, row)).collect()).unwrap_or_default();
        let half_inverse = (0..count).filter_map(|row| both(row).map(|_| 0.5 / squared[row])).sum();
        let mean = &frame.means[at * frame.pairs.width..(at + 1) * frame.pairs.width];
        let offset = |head: &Head, class: usize| head.offset(class) + dot(head.row(class), mean);
        let offsets = frame
            .head
            .map(|head| (0..head.class_count()).map(|class| offset(head, class)).collect())
            .unwrap_or_default();
        let variance = frame.variances[at].unwrap_or(0.0);
        let class = frame.pairs.classes[at];
        Self { frame, class, at, squared, quartic, spread, inverse, complex, variance, half_inverse, offsets }
    }

    fn tally<E: Element>(&self, sample: &Sample<'_, E>, tally: &mut Tally) {
        let count = self.squared.len();
        let (projections, rest) = sample.projections.split_at(count);
        let (scores, whitened) = rest.split_at(self.offsets.len());
        let own = projections[self.at];
        let length: f64 = sample.deviation.iter().map(|&value| value.wide() * value.wide()).sum();
        let (mut directional, mut spread, mut inverse) = (0.0, 0.0, 0.0);
        let factors = self.quartic.iter().zip(&self.spread).zip(&self.inverse);
        for (other, ((quartic, spreading), inverting)) in projections.iter().zip(factors) {
            let along = own - other;
            directional += quartic * along * along;
            spread += spreading * along;
            inverse += inverting * along;
        }
        let complex: f64 = self.complex.iter().zip(projections).map(|(factor, other)| factor * (own - other)).sum();
        let influence = [self.half_inverse * (length - self.variance) - spread, -2.0 * inverse, -complex];
        tally.samples += 1;
        tally.directional += directional;
        tally.whitened += whitened.iter().map(|value| value * value).sum::<f64>();
        tally.influence.iter_mut().zip(influence).for_each(|(sum, value)| *sum += value * value);
        let nearest = self.nearest(sample, projections, length.sqrt());
        tally.nearest += u64::from(nearest == self.class);
        if let Some(head) = self.frame.head {
            let best = self.highest(head, sample, scores, length.sqrt());
            tally.scored += u64::from(best == self.class);
            tally.agree += u64::from(best == nearest);
        }
    }

    /// Error of one projection of a deviation of unit length on a vector of unit length.
    fn rounding<E: Element>(&self) -> f64 {
        (self.frame.pairs.width.min(512) + 4) as f64 * E::EPSILON
    }

    /// Error of a product of unit vectors that is summed in f64.
    fn fine(&self) -> f64 {
        (self.frame.pairs.width + 8) as f64 * f64::EPSILON
    }

    /// The class of the nearest mean. The fast distances settle all but near ties; those are measured again in f64, and
    /// an exact tie goes to the lowest class, as argmin has it.
    fn nearest<E: Element>(&self, sample: &Sample<'_, E>, projections: &[f64], length: f64) -> usize {
        let own = projections[self.at];
        let relative = |row: usize| self.squared[row] + 2.0 * (own - projections[row]);
        let [centred, raw, _] = self.frame.longest;
        let bound =
            4.0 * self.rounding::<E>() * length * centred + 4.0 * self.fine() * (centred + length) * (raw + length);
        let width = self.frame.pairs.width;
        let exact = |row: usize| -squared_distance(sample.row, &self.frame.means[row * width..(row + 1) * width]);
        let row = highest_of(self.squared.len(), |row| -relative(row), exact, bound);
        self.frame.pairs.classes[row]
    }

    /// The class of the highest score, by the same rule.
    fn highest<E: Element>(&self, head: &Head, sample: &Sample<'_, E>, scores: &[f64], length: f64) -> usize {
        let [_, raw, weight] = self.frame.longest;
        let bound = self.rounding::<E>() * length * weight + 2.0 * self.fine() * weight * (raw + length);
        let exact = |class: usize| {
            let product: f64 =
                head.row(class).iter().zip(sample.row).map(|(weight, &value)| weight * value.wide()).sum();
            product + head.offset(class)
        };
        highest_of(scores.len(), |class| scores[class] + self.offsets[class], exact, bound)
    }
}

/// The first index of the highest `exact` value, when `fast` differs from it (up to a common constant) by at most
/// `bound`: only indices that `fast` cannot rule out are looked at again.
fn highest_of(count: usize, fast: impl Fn(usize) -> f64, exact: impl Fn(usize) -> f64, bound: f64) -> usize {
    let (mut best, mut top, mut second) = (0, f64::NEG_INFINITY, f64::NEG_INFINITY);
    for index in 0..count {
        let value = fast(index);
        if value > top {
            second = top;
            (best, top) = (index, value);
        } else if value > second {
            second = value;
        }
    }
    if second < top - 2.0 * bound {
        return best;
    }
    let mut found = (best, f64::NEG_INFINITY);
    for index in (0..count).filter(|&index| fast(index) >= top - 2.0 * bound) {
        let value = exact(index);
        if value > found.1 {
            found = (index, value);
        }
    }
    found.0
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_tie_is_decided_by_the_exact_value_and_a_tie_by_the_lowest_index() {
        let (fast, exact) = ([1.0, 1.05, 0.2], [1.02, 1.01, 0.25]);
        assert_eq!(highest_of(3, |i| fast[i], |i| exact[i], 0.05), 0);
        assert_eq!(highest_of(3, |i| fast[i], |i| exact[i], 0.01), 1);
        assert_eq!(highest_of(3, |_| 0.0, |i| [1.0, 2.0, 2.0][i], 1e-9), 1);
    }
}
