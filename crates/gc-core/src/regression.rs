//! The regression estimator of a mean over a data set from a random part of it, without bias.
//!
//! Of N samples, m are measured (y_i, an unbiased estimate of ‖J‖²_F each), and covariates x_i are known for all. The measured ones
//! form groups. For a group of b samples, a slope β is fitted to the measured samples outside it. Given those, the group is
//! a simple random sample of the other N − m + b, so the total over the data set
//!
//! T = Σ_{outside} y + β·Σ_{not outside} x + (N − m + b)·(mean of y − β·x over the group)
//!
//! is unbiased whatever β is. The estimate is the mean of T over the groups, weighted by b, divided by N.
//!
//! **Source** Mickey, *Some finite population unbiased ratio and regression estimators*, Journal of the American Statistical
//! Association 54, 1959; variance of a regression estimator: Cochran, *Sampling Techniques*, 1977, §7.3 to 7.4, and Särndal,
//! Swensson and Wretman, *Model Assisted Survey Sampling*, 1992, §6.6, here with cross-fitted residuals.

/// Groups of the measured samples. With eight, each slope uses seven eighths of them.
const GROUPS: usize = 8;
/// Pivots below this share of a covariate's variance mean that it depends linearly on the others.
const DEPENDENT: f64 = 1e-9;

/// Sums over samples, of deviations from the first measured sample.
#[derive(Debug, Clone)]
struct Sums {
    count: f64,
    x: Vec<f64>,
    xx: Vec<f64>,
    xy: Vec<f64>,
    y: f64,
    yy: f64,
}

impl Sums {
    fn new(covariates: usize) -> Self {
        let zeros = vec![0.0; covariates];
        Self { count: 0.0, x: zeros.clone(), xx: vec![0.0; covariates * covariates], xy: zeros, y: 0.0, yy: 0.0 }
    }

    fn push(&mut self, x: &[f64], y: f64) {
        self.count += 1.0;
        self.y += y;
        self.yy += y * y;
        for (row, &value) in x.iter().enumerate() {
            self.x[row] += value;
            self.xy[row] += value * y;
            self.xx[row * x.len()..].iter_mut().zip(x).for_each(|(sum, other)| *sum += value * other);
        }
    }

    fn add(&mut self, other: &Self) {
        let sums = [(&mut self.x, &other.x), (&mut self.xx, &other.xx), (&mut self.xy, &other.xy)];
        for (sums, terms) in sums {
            sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        }
        (self.count, self.y, self.yy) = (self.count + other.count, self.y + other.y, self.yy + other.yy);
    }

    /// The slope of y on x by least squares, shrunk towards 0 where little is explained.
    ///
    /// The factor is 1 − 1/F for F > 1, else 0, with F the ratio of the explained to the residual mean square: of covariates
    /// without any relation to y about nothing remains.
    fn slope(&self) -> Vec<f64> {
        let (size, count) = (self.x.len(), self.count);
        let none = vec![0.0; size];
        let centred = |row: usize, column: usize| self.xx[row * size + column] - self.x[row] * self.x[column] / count;
        let products: Vec<f64> = (0..size).map(|row| self.xy[row] - self.x[row] * self.y / count).collect();
        let scales: Vec<f64> = (0..size).map(|row| centred(row, row).max(0.0).sqrt()).collect();
        // Correlations, so that the tolerance has no unit.
        let scaled = |row: usize, column: usize| centred(row, column) / (scales[row] * scales[column]);
        let Some((kept, factor)) = cholesky(size, &|row| scales[row] > 0.0, &scaled) else { return none };
        let right: Vec<f64> = kept.iter().map(|&row| products[row] / scales[row]).collect();
        let solved = solve(&factor, right);
        let explained: f64 = kept.iter().zip(&solved).map(|(&row, slope)| slope * products[row] / scales[row]).sum();
        let residual = (self.yy - self.y * self.y / count - explained).max(0.0);
        let freedom = count - 1.0 - kept.len() as f64;
        if freedom < 1.0 || explained <= 0.0 {
            return none;
        }
        let inverse_ratio = (residual / freedom) / (explained / kept.len() as f64);
        let shrink = (1.0 - inverse_ratio).max(0.0);
        let mut slope = none;
        kept.iter().zip(solved).for_each(|(&row, value)| slope[row] = shrink * value / scales[row]);
        slope
    }
}

/// The rows that do not depend linearly on earlier ones, and the Cholesky factor of their matrix, row by row.
fn cholesky(
    size: usize,
    varies: &dyn Fn(usize) -> bool,
    entry: &dyn Fn(usize, usize) -> f64,
) -> Option<(Vec<usize>, Vec<Vec<f64>>)> {
    let (mut kept, mut factor): (Vec<usize>, Vec<Vec<f64>>) = (Vec::new(), Vec::new());
    for row in (0..size).filter(|&row| varies(row)) {
        let mut line: Vec<f64> = Vec::with_capacity(kept.len() + 1);
        for (other, earlier) in kept.iter().zip(&factor) {
            let known: f64 = line.iter().zip(earlier).map(|(a, b)| a * b).sum();
            line.push((entry(row, *other) - known) / earlier[line.len()]);
        }
        let pivot = entry(row, row) - line.iter().map(|value| value * value).sum::<f64>();
        if pivot > DEPENDENT {
            line.push(pivot.sqrt());
            factor.push(line);
            kept.push(row);
        }
    }
    (!kept.is_empty()).then_some((kept, factor))
}

/// The solution of L Lᵀ z = `right`.
fn solve(factor: &[Vec<f64>], mut right: Vec<f64>) -> Vec<f64> {
    for row in 0..factor.len() {
        let known: f64 = factor[row][..row].iter().zip(&right).map(|(a, b)| a * b).sum();
        right[row] = (right[row] - known) / factor[row][row];
    }
    for row in (0..factor.len()).rev() {
        let known: f64 = (row + 1..factor.len()).map(|later| factor[later][row] * right[later]).sum();
        right[row] = (right[row] - known) / factor[row][row];
    }
    right
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

/// Measured samples with their covariates, and the covariates of all samples seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct CrossFit {
    /// Covariates and value of the first measured sample.
    origin: Option<(Vec<f64>, f64)>,
    groups: Vec<Sums>,
    measured: usize,
    /// Samples of the data set seen so far, and the sum of their covariates' deviations from the origin.
    seen: usize,
    all: Vec<f64>,
}

/// The variance of the measured values around the regression.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Residuals {
    pub(crate) variance: f64,
    pub(crate) degrees_of_freedom: f64,
}

impl CrossFit {
    /// Adds a measured sample.
    pub(crate) fn push(&mut self, covariates: &[f64], value: f64) {
        let (first, origin) = self.origin.get_or_insert_with(|| (covariates.to_vec(), value));
        let deviations: Vec<f64> = covariates.iter().zip(first.iter()).map(|(x, first)| x - first).collect();
        let value = value - *origin;
        if self.groups.is_empty() {
            self.groups = vec![Sums::new(covariates.len()); GROUPS];
        }
        self.groups[self.measured % GROUPS].push(&deviations, value);
        self.measured += 1;
        self.count(&deviations);
    }

    /// Adds a sample of the data set that is not measured.
    pub(crate) fn see(&mut self, covariates: &[f64]) {
        let Some((first, _)) = &self.origin else { return };
        let deviations: Vec<f64> = covariates.iter().zip(first).map(|(x, first)| x - first).collect();
        self.count(&deviations);
    }

    fn count(&mut self, deviations: &[f64]) {
        self.seen += 1;
        self.all.resize(deviations.len(), 0.0);
        self.all.iter_mut().zip(deviations).for_each(|(sum, value)| *sum += value);
    }

    /// Each group that has samples, with the sums over the measured samples outside it and the slope fitted to them.
    fn folds(&self) -> impl Iterator<Item = (&Sums, Sums, Vec<f64>)> {
        let filled = self.groups.iter().enumerate().filter(|(_, group)| group.count > 0.0);
        filled.map(|(index, group)| {
            let mut outside = Sums::new(self.all.len());
            let others = self.groups.iter().enumerate().filter(|(other, _)| *other != index);
            others.for_each(|(_, other)| outside.add(other));
            let slope = if outside.count > 0.0 { outside.slope() } else { vec![0.0; self.all.len()] };
            (group, outside, slope)
        })
    }

    /// The estimate of the mean over all samples seen; NaN without a measured sample.
    pub(crate) fn mean(&self) -> f64 {
        let (total, measured) = (self.seen as f64, self.measured as f64);
        let Some((_, origin)) = &self.origin else { return f64::NAN };
        let of_fold = |(group, outside, slope): (&Sums, Sums, Vec<f64>)| {
            let open: Vec<f64> = self.all.iter().zip(&outside.x).map(|(all, x)| all - x).collect();
            let residual = (group.y - dot(&slope, &group.x)) / group.count;
            let sum = outside.y + dot(&slope, &open) + (total - outside.count) * residual;
            group.count / measured * sum / total
        };
        origin + self.folds().map(of_fold).sum::<f64>()
    }

    /// The mean square of the differences between measured values and their prediction from the samples outside their group.
    ///
    /// A prediction from n values has error variance σ²(1 + 1/n), or more by the error of the slope. The first factor is
    /// divided out, and the error of the slope remains. `None` for fewer than two groups.
    pub(crate) fn residuals(&self) -> Option<Residuals> {
        if self.measured < 2 {
            return None;
        }
        let squares = |(group, outside, slope): (&Sums, Sums, Vec<f64>)| {
            let size = slope.len();
            let shift = (dot(&slope, &outside.x) - outside.y) / outside.count;
            let quadratic: f64 = (0..size).map(|row| slope[row] * dot(&group.xx[row * size..][..size], &slope)).sum();
            let centred = group.yy - 2.0 * dot(&slope, &group.xy) + quadratic;
            let sum = centred + 2.0 * shift * (group.y - dot(&slope, &group.x)) + group.count * shift * shift;
            sum.max(0.0) * outside.count / (outside.count + 1.0)
        };
        let variance = self.folds().map(squares).sum::<f64>() / self.measured as f64;
        let degrees_of_freedom = (self.measured as f64 - 1.0 - self.all.len() as f64).max(1.0);
        Some(Residuals { variance, degrees_of_freedom })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(sample: &[usize], x: &[[f64; 2]], y: &[f64]) -> CrossFit {
        let mut fit = CrossFit::default();
        sample.iter().for_each(|&unit| fit.push(&x[unit], y[unit]));
        (0..y.len()).filter(|unit| !sample.contains(unit)).for_each(|unit| fit.see(&x[unit]));
        fit
    }

    /// All ordered samples of `size` of `count` units.
    fn ordered(count: usize, size: usize) -> Vec<Vec<usize>> {
        if size == 0 {
            return vec![Vec::new()];
        }
        let longer = |sample: &Vec<usize>| -> Vec<Vec<usize>> {
            let free = (0..count).filter(|unit| !sample.contains(unit));
            free.map(|unit| sample.iter().copied().chain([unit]).collect()).collect()
        };
        ordered(count, size - 1).iter().flat_map(longer).collect()
    }

    #[test]
    fn the_mean_over_all_samples_is_that_of_the_data_set() {
        // No line fits these values, so an estimator with a slope from the whole sample would be biased.
        let x = [[0.0, 1.0], [1.0, 0.5], [2.0, -1.0], [3.5, 2.0], [7.0, 0.0], [8.0, 1.5], [12.0, 3.0]];
        let y = [1.0, 0.0, 7.0, 9.0, 60.0, 50.0, 150.0];
        let samples = ordered(7, 5);
        let estimates: Vec<f64> = samples.iter().map(|sample| fitted(sample, &x, &y).mean()).collect();
        let mean = estimates.iter().sum::<f64>() / estimates.len() as f64;
        assert_eq!(estimates.len(), 2_520);
        assert!((mean - 277.0 / 7.0).abs() < 1e-10, "{mean}");
        let plain = |sample: &Vec<usize>| sample.iter().map(|&unit| y[unit]).sum::<f64>() / 5.0;
        assert!(samples.iter().zip(&estimates).any(|(sample, found)| (plain(sample) - found).abs() > 1.0));
    }

    #[test]
    fn a_linear_relation_leaves_no_error() {
        let x: Vec<[f64; 2]> = (0..40).map(|i| [f64::from(i), f64::from(i * i % 7)]).collect();
        let y: Vec<f64> = x.iter().map(|x| 1e6 + 3.0 * x[0] - 2.0 * x[1]).collect();
        let fit = fitted(&(0..20).collect::<Vec<_>>(), &x, &y);
        let mean = y.iter().sum::<f64>() / 40.0;
        assert!((fit.mean() / mean - 1.0).abs() < 1e-12, "{}", fit.mean());
        assert!(fit.residuals().unwrap().variance < 1e-6);
    }

    #[test]
    fn a_covariate_that_is_constant_or_twice_another_changes_nothing() {
        let y: Vec<f64> = (0..30).map(|i| f64::from(i * i % 11) + f64::from(i)).collect();
        let with = |second: &dyn Fn(f64) -> f64| {
            let x: Vec<[f64; 2]> = (0..30).map(|i| [f64::from(i), second(f64::from(i))]).collect();
            fitted(&(0..18).collect::<Vec<_>>(), &x, &y).mean()
        };
        assert_eq!(with(&|_| 4.0), with(&|x| 2.0 * x));
    }

    #[test]
    fn covariates_without_a_relation_leave_the_plain_mean_nearly_alone() {
        let draws = streams::standard_normal(&mut streams::stream(1, "test/regression", 0), 3_000);
        let x: Vec<[f64; 2]> = (0..1_000).map(|i| [draws[i], draws[1_000 + i]]).collect();
        let fit = fitted(&(0..200).collect::<Vec<_>>(), &x, &draws[2_000..]);
        let plain = draws[2_000..2_200].iter().sum::<f64>() / 200.0;
        // The standard error of the mean is 0.07.
        assert!((fit.mean() - plain).abs() < 0.01, "{} {plain}", fit.mean());
        assert!((fit.residuals().unwrap().variance - 1.0).abs() < 0.3);
    }

    #[test]
    fn a_measured_data_set_has_its_own_mean() {
        let x: Vec<[f64; 2]> = (0..11).map(|i| [f64::from(i), 1.0]).collect();
        let y: Vec<f64> = (0..11).map(|i| f64::from(i).powi(2)).collect();
        let fit = fitted(&(0..11).collect::<Vec<_>>(), &x, &y);
        assert!((fit.mean() - 35.0).abs() < 1e-12);
        assert!(CrossFit::default().mean().is_nan() && CrossFit::default().residuals().is_none());
    }
}
