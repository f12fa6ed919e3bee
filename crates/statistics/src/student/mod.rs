//! Student's t distribution and, as its limit, the normal distribution.
//!
//! With w² = t²/ν, x = 1/(1 + w²), y = 1 − x, the probability beyond t is ½ I_x(ν/2, ½), where I is the regularized
//! incomplete beta function. Two expansions give it without cancellation for every ν:
//! - for t² ≤ 2, P(0 ≤ T ≤ t) = ½ I_y(½, ν/2) by its series of positive terms (DLMF 8.17.8);
//! - for t² > 2, the continued fraction of Didonato and Morris (Algorithm 708, ACM TOMS 1992, equation 9; the form is
//!   that of Boost.Math), whose coefficients use t²-sized quantities and never 1 − x.
//!
//! The factor 1/B(ν/2, ½) = Γ(ν/2 + ½)/(√π Γ(ν/2)) has its own expansion, as the difference of two log-gamma values loses
//! all digits for large ν. The quantile is Newton's iteration on the logarithm of the probability against ln t. That
//! function is concave, so the iteration converges from its first step on without a bracket.

use std::f64::consts::{LN_2, PI};

/// t² up to which the series is used, beyond it the continued fraction.
const CENTRE: f64 = 2.0;
/// Degrees of freedom beyond which the distribution equals the normal one to the last bit: the difference is t⁴/(4ν).
const NORMAL: f64 = 1e30;
/// Terms of either expansion; far fewer are needed for every argument (at most about 120).
const TERMS: usize = 10_000;

/// P(T ≤ t) for Student's t with `degrees_of_freedom` ν.
///
/// **Conventions** ν > 0, fractional or infinite (then the normal distribution); NaN for any other ν and for t NaN.
/// The relative error is below 1e-12, in the lower tail too.
///
/// **Source** Abramowitz and Stegun, 26.7.1; see [`student_t_survival`] for the upper tail.
///
/// ```
/// // One degree of freedom is the Cauchy distribution: ½ + atan(1)/π.
/// assert!((statistics::student_t_cdf(1.0, 1.0) - 0.75).abs() < 1e-15);
/// ```
pub fn student_t_cdf(t: f64, degrees_of_freedom: f64) -> f64 {
    student_t_survival(-t, degrees_of_freedom)
}

/// P(T > t) for Student's t with `degrees_of_freedom` ν.
///
/// **Conventions** as for [`student_t_cdf`]; the relative error holds in the upper tail.
///
/// ```
/// // scipy.stats.t.sf(10, 5), SciPy 1.17.
/// let found = statistics::student_t_survival(10.0, 5.0);
/// assert!((found / 8.547378787148181e-05 - 1.0).abs() < 1e-12);
/// ```
pub fn student_t_survival(t: f64, degrees_of_freedom: f64) -> f64 {
    let Some(student) = Student::new(degrees_of_freedom) else { return f64::NAN };
    if t < 0.0 { 1.0 - student.log_survival(-t).exp() } else { student.log_survival(t).exp() }
}

/// ln P(T > t) for Student's t, for t ≥ 0; it stays finite where the probability itself would be 0.
///
/// **Conventions** NaN for t < 0; otherwise as for [`student_t_cdf`].
///
/// ```
/// // scipy.stats.norm.logsf(100), SciPy 1.17.
/// let found = statistics::student_t_log_survival(100.0, f64::INFINITY);
/// assert!((found / -5005.524208694205 - 1.0).abs() < 1e-12);
/// ```
pub fn student_t_log_survival(t: f64, degrees_of_freedom: f64) -> f64 {
    match Student::new(degrees_of_freedom) {
        Some(student) if t >= 0.0 => student.log_survival(t),
        _ => f64::NAN,
    }
}

/// The t with P(T ≤ t) = `probability` for Student's t with `degrees_of_freedom` ν.
///
/// **Conventions** ν > 0, fractional or infinite. `probability` 0 and 1 give ∓∞; NaN outside [0, 1] and for any other ν.
/// For ν ≥ 1 the relative error is below 1e-10 (tested from ν = 1 to 1e9 and ∞, and for tails down to 1e-100).
///
/// ```
/// // scipy.stats.t.ppf(0.975, ν), SciPy 1.17.
/// assert!((statistics::student_t_quantile(0.975, 2.5) / 3.5746548420036817 - 1.0).abs() < 1e-10);
/// assert_eq!(statistics::student_t_quantile(0.5, 3.0), 0.0);
/// ```
pub fn student_t_quantile(probability: f64, degrees_of_freedom: f64) -> f64 {
    let Some(student) = Student::new(degrees_of_freedom) else { return f64::NAN };
    match probability {
        p if !(0.0..=1.0).contains(&p) => f64::NAN,
        p if p < 0.5 => -student.quantile(p, 0.5 - p),
        p => student.quantile(1.0 - p, p - 0.5),
    }
}

/// P(Z ≤ z) for the normal distribution of mean 0 and variance 1.
///
/// ```
/// // scipy.stats.norm.cdf(-1.96), SciPy 1.17.
/// assert!((statistics::normal_cdf(-1.96) / 0.02499789514822042 - 1.0).abs() < 1e-12);
/// ```
pub fn normal_cdf(z: f64) -> f64 {
    student_t_cdf(z, f64::INFINITY)
}

/// The z with P(Z ≤ z) = `probability` for the normal distribution of mean 0 and variance 1.
///
/// ```
/// // scipy.stats.norm.ppf(0.975), SciPy 1.17.
/// assert!((statistics::normal_quantile(0.975) / 1.959963984540054 - 1.0).abs() < 1e-12);
/// ```
pub fn normal_quantile(probability: f64) -> f64 {
    student_t_quantile(probability, f64::INFINITY)
}

/// The distribution with its constants.
struct Student {
    /// ν.
    degrees: f64,
    /// ln(Γ(ν/2 + ½)/(√π Γ(ν/2))) = −ln B(ν/2, ½).
    log_constant: f64,
}

/// t with the functions of t that both expansions use.
struct Point {
    t: f64,
    x: f64,
    y: f64,
    /// ln x^{ν/2} = −(ν/2) ln(1 + t²/ν).
    log_power: f64,
    /// ln y^½.
    log_root: f64,
}

impl Student {
    fn new(degrees: f64) -> Option<Self> {
        if degrees.is_nan() || degrees <= 0.0 {
            return None;
        }
        let degrees = degrees.min(NORMAL);
        Some(Self { degrees, log_constant: log_gamma_ratio(0.5 * degrees) - 0.5 * PI.ln() })
    }

    fn point(&self, t: f64) -> Point {
        let w = t / self.degrees.sqrt();
        let square = w * w;
        // For large w, ln(1 + w²) = 2 ln w + ln(1 + w⁻²): w² itself may overflow.
        let log = if w < 1.0 { square.ln_1p() } else { 2.0 * w.ln() + square.recip().ln_1p() };
        let log_y = 2.0 * w.ln() - log;
        Point {
            t,
            x: 1.0 / (1.0 + square),
            y: 1.0 / (1.0 + square.recip()),
            log_power: -0.5 * self.degrees * log,
            log_root: 0.5 * log_y,
        }
    }

    /// ln P(0 ≤ T ≤ t): ½ I_y(½, ν/2) = x^{ν/2} y^½/B · Σ_n Π_{i<n} (ν/2 + ½ + i)/(3/2 + i) · yⁿ.
    fn log_centre(&self, point: &Point) -> f64 {
        let half = 0.5 * self.degrees;
        let (mut term, mut sum) = (1.0, 1.0);
        for i in 0..TERMS {
            let i = i as f64;
            // (ν/2 + ½ + i) y as a sum of two bounded products.
            term *= (half * point.y + (0.5 + i) * point.y) / (1.5 + i);
            sum += term;
            if term < sum * f64::EPSILON * 0.25 {
                break;
            }
        }
        point.log_power + point.log_root + self.log_constant + sum.ln()
    }

    /// ln P(T > t) for t ≥ 0.
    fn log_survival(&self, t: f64) -> f64 {
        if t.is_nan() {
            return f64::NAN;
        }
        if t == f64::INFINITY {
            return f64::NEG_INFINITY;
        }
        if t == 0.0 {
            return -LN_2;
        }
        let point = self.point(t);
        if t * t <= CENTRE {
            return (0.5 - self.log_centre(&point).exp()).ln();
        }
        point.log_power + point.log_root + self.log_constant - self.fraction(&point).ln() - LN_2
    }

    /// The continued fraction b₀ + a₁/(b₁ + a₂/(b₂ + …)) by which x^a y^b/B(a, b) is divided for I_x(a, b), with a = ν/2
    /// and b = ½; by Lentz's method.
    fn fraction(&self, point: &Point) -> f64 {
        let (a, b) = (0.5 * self.degrees, 0.5);
        let Point { x, y, .. } = *point;
        let difference = a * y - b * x;
        let denominator = |m: f64| {
            m + m * (b - m) * x / (a + 2.0 * m - 1.0)
                + (a + m) / (a + 2.0 * m + 1.0) * (difference + 1.0 + m * (2.0 - x))
        };
        let mut fraction = a / (a + 1.0) * (difference + 1.0);
        let (mut c, mut d) = (fraction, 0.0);
        for m in 1..TERMS {
            let m = m as f64;
            let below = a + 2.0 * m - 1.0;
            let numerator = (a + m - 1.0) / below * ((a + b + m - 1.0) / below) * m * (b - m) * x * x;
            let denominator = denominator(m);
            d = 1.0 / (denominator + numerator * d);
            c = denominator + numerator / c;
            fraction *= c * d;
            if (c * d - 1.0).abs() < f64::EPSILON {
                break;
            }
        }
        fraction
    }

    /// ln of the density at t.
    fn log_density(&self, point: &Point) -> f64 {
        // f(t) = Γ(ν/2 + ½)/(√(νπ) Γ(ν/2)) (1 + t²/ν)^{−(ν + 1)/2}, and ½ ln(1 + t²/ν) = ln w − ln y^½ with w = t/√ν.
        self.log_constant + point.log_power + point.log_root - point.t.ln()
    }

    /// The t ≥ 0 with P(T > t) = `tail` and P(0 ≤ T ≤ t) = `centre`; the smaller of the two is solved for.
    fn quantile(&self, tail: f64, centre: f64) -> f64 {
        if centre <= 0.0 {
            return 0.0;
        }
        if tail <= 0.0 {
            return f64::INFINITY;
        }
        let by_tail = tail < centre;
        let target = if by_tail { tail.ln() } else { centre.ln() };
        let log_probability = |t: f64| match by_tail {
            true => self.log_survival(t),
            false if t * t <= CENTRE => self.log_centre(&self.point(t)),
            // Twice the solution at most: P(0 ≤ T ≤ t) ≤ ¼ keeps t below 1 for every ν ≥ 1.
            false => (0.5 - self.log_survival(t).exp()).ln(),
        };
        // The start lies to the right of the solution by less than its square, or within [0, 1].
        let mut t: f64 = if by_tail { 2.0 } else { centre };
        while by_tail && log_probability(t) > target && t < 1e150 {
            t *= t;
        }
        for _ in 0..200 {
            let value = log_probability(t);
            let sign = if by_tail { -1.0 } else { 1.0 };
            // d ln P/d ln t = ± t f(t)/P.
            let slope = sign * (self.log_density(&self.point(t)) + t.ln() - value).exp();
            let step = (target - value) / slope;
            t *= step.exp();
            // The iteration doubles the digits: the next step would be about 1e-18.
            if step.abs() < 1e-9 {
                break;
            }
        }
        t
    }
}

/// ln(Γ(a + ½)/Γ(a)).
///
/// **Source** Stirling's series of both (DLMF 5.11.8): ½ ln a + Σ_k (2^{−k} − 2) B_{k+1}/(k(k + 1) a^k) over odd k; for small a
/// after steps of Γ(a + ½)/Γ(a) = a/(a + ½) · Γ(a + 3/2)/Γ(a + 1).
fn log_gamma_ratio(a: f64) -> f64 {
    const FROM: f64 = 16.0;
    const SERIES: [f64; 5] = [-1.0 / 8.0, 1.0 / 192.0, -1.0 / 640.0, 17.0 / 14336.0, -31.0 / 18432.0];
    let (mut a, mut product) = (a, 1.0);
    while a < FROM {
        product *= a / (a + 0.5);
        a += 1.0;
    }
    let square = 1.0 / (a * a);
    let series = SERIES.iter().rev().fold(0.0, |sum, coefficient| sum * square + coefficient) / a;
    product.ln() + 0.5 * a.ln() + series
}

#[cfg(test)]
mod tests;
